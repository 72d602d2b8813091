//! How long kube-scheduler waits for an answer of the extender: `POST /filter` over mTLS on one
//! connection that stays, as kube-scheduler asks, about few nodes and many:
//!
//! `cargo bench --bench filter`
//!
//! The server is the one that the controller runs, on threads of its own; the figures are what the
//! client measures, from the first byte of a question to the last of its answer. Nothing else is
//! asked meanwhile, and the client's own TLS and the loopback are part of them.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

#[path = "../tests/extender/bodies.rs"]
#[allow(dead_code, reason = "a benchmark uses a part of it")]
mod bodies;
#[path = "../tests/extender/wire.rs"]
#[allow(dead_code, reason = "a benchmark uses a part of it")]
mod wire;

use std::time::{Duration, Instant};

use serde_json::Value;

use wire::Server;

/// Names in a question.
const COUNTS: [usize; 4] = [1, 500, 1000, 5000];
/// Nodes of the cluster, whatever is asked.
const NODES: usize = 5000;
/// Questions that are not measured, before those that are.
const WARM_UP: usize = 50;
/// Questions that are measured for a line of the table, unless time is up before.
const QUESTIONS: usize = 5000;
/// Time for a line of the table.
const WITHIN: Duration = Duration::from_secs(1);

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("nothing is measured except by `cargo bench`");
        return;
    }
    let server = Server::start_with(NODES);
    println!("| names | pod | questions | p50 | p99 | most |");
    println!("|--:|---|--:|--:|--:|--:|");
    for count in COUNTS {
        let names: Vec<String> = (1..=count).map(wire::node_name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let of_job = |uid| bodies::of_job("red", uid, 0, &names);
        let waits = "Prorata: this pod's job has not been admitted";
        for (pod, question, fit, error) in [
            ("of an admitted job", of_job(bodies::TRAIN), 1, ""),
            ("of a job that waits", of_job("waiting-uid"), 0, waits),
            ("of no tenant", bodies::bare("free", 1, &names), count, ""),
        ] {
            let answer = server.value("/filter", &question);
            let fitting = answer["NodeNames"].as_array().map_or(0, Vec::len);
            assert_eq!(fitting, fit, "nodes for a pod {pod}: {}", answer["Error"]);
            assert_eq!(answer["Error"], Value::from(error));
            let times = measure(&server, &question);
            let [p50, p99, most] = [50, 99, 100].map(|part| millis(&times, part));
            let questions = times.len();
            println!(
                "| {count} | {pod} | {questions} | {p50:.3} ms | {p99:.3} ms | {most:.3} ms |"
            );
        }
    }
}

/// How long the answers took, in order of time taken.
fn measure(server: &Server, question: &str) -> Vec<Duration> {
    let mut connection = server.client().stay();
    let mut ask = || {
        let began = Instant::now();
        assert_eq!(connection.post("/filter", question).unwrap(), 200);
        began.elapsed()
    };
    for _ in 0..WARM_UP {
        ask();
    }
    let end = Instant::now() + WITHIN;
    let mut times: Vec<Duration> = std::iter::repeat_with(ask)
        .take(QUESTIONS)
        .take_while(|_| Instant::now() < end)
        .collect();
    times.sort_unstable();
    times
}

/// The time within which so many in a hundred were answered, in milliseconds.
fn millis(times: &[Duration], percent: usize) -> f64 {
    let index = (times.len() - 1) * percent / 100;
    times[index].as_secs_f64() * 1000.0
}
