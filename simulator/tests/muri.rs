//! Orders by length: how they are kept, and mean completion times beside those that Muri's authors published for the same traces, both
//! read from the folder that `PRORATA_DATA` names. Where they are absent, the test says on stderr
//! that it checked nothing. A debug build checks one trace of four, unless `PRORATA_MURI=all`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod data;

use std::env;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use prorata_core::Order;
use prorata_simulator::run::{Check, run};
use prorata_simulator::scenario::Scenario;
use prorata_simulator::trace::Source;
use prorata_simulator::workload::draw;

use data::data;

const TRACES: [&str; 4] = ["trace3", "trace3_pr", "trace1", "trace1_pr"];

/// How far a mean may be from the published one, as a part of it.
const APART: f64 = 0.06;

#[test]
fn completion_times_are_within_six_percent_of_the_published_ones() {
    let Some(folder) = data("muri-philly-2022") else {
        return;
    };
    let published = fs::read_to_string(folder.join("published.csv")).unwrap();
    let all = !cfg!(debug_assertions) || env::var("PRORATA_MURI").is_ok_and(|v| v == "all");
    let traces = if all { TRACES.len() } else { 1 };
    for trace in &TRACES[..traces] {
        let scenario = with_trace(&folder.join(format!("{trace}.csv")));
        for (order, policy) in [(Order::Srtf, "SRTF"), (Order::Srsf, "SRSF")] {
            let theirs = mean_of(&published, policy, trace);
            let ours = mean_completion(&scenario, order);
            let ratio = ours / theirs;
            assert!(
                (ratio - 1.0).abs() <= APART,
                "{trace} under {policy}: {ours:.0} s, published {theirs:.0} s, ratio {ratio:.4}"
            );
        }
    }
}

/// When `a` ends, `c` fits if `b` leaves, and is before both `b` and `d`. So `d`
/// does not start in the half that is free then.
#[test]
fn nothing_starts_in_room_that_a_job_before_it_could_have() {
    let mut text = String::from(
        "apiVersion: sim.prorata.dev/v1alpha1\nkind: Scenario\nname: small\n\
        pools: {gpu: {count: 1, gpus: 8}}\ntenants: [{name: red}]\nworkload:\n",
    );
    for (name, gpus, seconds) in [
        ("a", 4, 100),
        ("b", 4, 9000),
        ("c", 8, 1000),
        ("d", 4, 9500),
    ] {
        text += &format!(
            "  - {{tenant: red, name: {name}, jobs: 1, arrivals: {{at: 0s}}, task: {{gpu: {gpus}}}, \
             duration: {{fixed: {seconds}s}}, checkpoint: 1s}}\n"
        );
    }
    let scenario = Scenario::parse("s.yaml", &text).unwrap();
    let ends: Vec<f64> = completions(&scenario, Order::Srtf);
    assert_eq!(ends, [100.0, 10_000.0, 1100.0, 10_600.0]);
}

/// In seconds.
fn mean_completion(scenario: &Scenario, order: Order) -> f64 {
    let completions = completions(scenario, order);
    #[expect(clippy::cast_precision_loss, reason = "there are few jobs")]
    let jobs = completions.len() as f64;
    completions.iter().sum::<f64>() / jobs
}

/// From the submission to the end of each job, in seconds.
fn completions(scenario: &Scenario, order: Order) -> Vec<f64> {
    let work = draw(scenario, scenario.seed);
    let on = &mut |_| ControlFlow::Continue(());
    let run = run(scenario, order, &work, Check::Debug, on).unwrap();
    assert_eq!(run.jobs.len(), work.len());
    let completions = run.jobs.iter().map(|fate| fate.completion().unwrap());
    completions.map(|span| span.as_secs_f64()).collect()
}

/// The published mean completion time, in seconds.
fn mean_of(published: &str, policy: &str, trace: &str) -> f64 {
    let row = format!("{policy},JCT,{trace},");
    let mut rows = published.lines().filter_map(|line| line.strip_prefix(&row));
    rows.next().unwrap().trim().parse().unwrap()
}

fn with_trace(trace: &Path) -> Scenario {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/muri.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let scenario = Scenario::parse(&file.display().to_string(), &text).unwrap();
    let source: Source = format!("muri:{}", trace.display()).parse().unwrap();
    scenario.with_trace(&source).unwrap()
}
