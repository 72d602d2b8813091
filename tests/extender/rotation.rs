//! Certificates that change under way.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::bodies;
use super::wire::Server;

const PATIENCE: Duration = Duration::from_secs(20);

/// Certificate and key are replaced one after the other, and then the authorities: first both,
/// then the new one alone. Calls go on all the while, on one connection that stays and on new ones.
#[test]
fn no_call_fails_while_certificates_are_replaced() {
    let server = Server::start(true);
    let (stop, calls) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stays = server.client().stay();
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(stays.post("/filter", bodies::POD_OF_JOB).unwrap(), 200);
                calls.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let answer = server.post("/filter", bodies::POD_OF_JOB);
                assert_eq!(answer.map(|answer| answer.status), Ok(200));
                calls.fetch_add(1, Ordering::Relaxed);
            }
        });
        // A panic here must not leave the others running.
        let replaced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| replace(&server)));
        let before = calls.load(Ordering::Relaxed);
        until("calls go on", || {
            calls.load(Ordering::Relaxed) > before + 10
        });
        stop.store(true, Ordering::Relaxed);
        replaced.unwrap();
    });
}

fn replace(server: &Server) {
    let [certificate, key, clients] = server.files();
    let first = server.client().shown();
    // A key of another certificate for some time, and then half a certificate.
    let old = fs::read(&certificate).unwrap();
    server.renew();
    let new = fs::read(&certificate).unwrap();
    fs::write(&certificate, &old).unwrap();
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(server.client().shown(), first, "they do not fit together");
    fs::write(&certificate, &new[..new.len() / 2]).unwrap();
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(server.client().shown(), first, "half a file");
    fs::write(&certificate, &new).unwrap();
    let new = CertificateDer::from_pem_file(&certificate).unwrap();
    until("the new certificate is shown", || {
        server.client().shown() == new.as_ref()
    });
    assert!(key.exists());

    let other = server.another_authority();
    let renewed = other.issue_client("kube-scheduler").unwrap();
    let asks = || {
        let client = server.client().showing(renewed.clone());
        client.post("/filter", bodies::POD_OF_JOB).is_ok()
    };
    assert!(!asks(), "an authority that is not trusted yet");
    let both = [
        fs::read(&clients).unwrap(),
        fs::read(other.certificate()).unwrap(),
    ];
    fs::write(&clients, both.concat()).unwrap();
    until(
        "who shows a certificate of the new authority is let in",
        asks,
    );
}

/// Once the overlap ends, whoever kept the old certificate is not let in any more.
#[test]
fn an_authority_that_is_removed_is_not_trusted_any_more() {
    let server = Server::start(true);
    let other = server.another_authority();
    fs::copy(other.certificate(), &server.files()[2]).unwrap();
    until("the old authority is not trusted", || {
        server.post("/filter", bodies::POD_OF_JOB).is_err()
    });
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
