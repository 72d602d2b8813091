//! What the extender does not take on, and what it says then.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::bodies;
use super::wire::{Answer, Server};

const HALF: &str = "POST /filter HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
    Content-Length: 1000\r\nConnection: close\r\n\r\n{";

#[test]
fn plain_http_answers_whoever_asks() {
    let server = Server::start_plain();
    let answer = server.post_plain("/filter", bodies::POD_OF_JOB);
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("node-0001"), "{answer:?}");
}

/// 15,000 names of 300 letters do not fit, though the longest there may be have 253; those of a
/// real cluster do.
#[test]
fn a_body_beyond_the_limit_is_refused() {
    let server = Server::start(true);
    let body = |length: usize| {
        let names: Vec<String> = (0..15_000).map(|n| format!("{n:0length$}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        bodies::bare("free", 1, &names)
    };
    assert_eq!(server.post("/filter", &body(40)).unwrap().status, 200);
    assert_eq!(server.post("/filter", &body(300)).unwrap().status, 413);
}

/// kube-scheduler has given up by then.
#[test]
fn a_question_that_does_not_come_to_its_end_is_given_up() {
    let server = Server::start_plain();
    let clock = Instant::now();
    let mut socket = half(&server);
    let answer = Answer::read(&mut socket);
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("did not come in time"), "{answer:?}");
    assert!(clock.elapsed() >= Duration::from_secs(1));
}

/// On a slow machine the first may be given up before the last has come: then they come again.
#[test]
fn too_many_questions_are_refused_at_once_and_the_next_is_answered() {
    let server = Server::start_plain();
    let is_shed = || {
        let _pending: Vec<TcpStream> = (0..64).map(|_| half(&server)).collect();
        let answer = server.post_plain("/filter", bodies::POD_OF_JOB);
        answer.status == 503 && answer.body.contains("too many questions")
    };
    assert!((0..10).any(|_| is_shed()));
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.post_plain("/filter", bodies::POD_OF_JOB).status != 200 {
        assert!(Instant::now() < deadline, "still refused");
    }
}

fn half(server: &Server) -> TcpStream {
    let mut socket = server.socket();
    socket.write_all(HALF.as_bytes()).unwrap();
    socket
}
