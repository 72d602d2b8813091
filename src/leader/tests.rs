//! Candidates for one Lease, in an API server that keeps nothing else. Time is the runtime's own.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response};
use kube::client::ClientBuilder;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;

/// The Lease, and whether anybody gets an answer.
#[derive(Clone, Default)]
struct Server {
    lease: Arc<Mutex<Option<Value>>>,
    silent: Arc<Mutex<bool>>,
    version: Arc<Mutex<u64>>,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        Client::new(
            service_fn(move |request: Request<kube::client::Body>| {
                let server = server.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = to_bytes(Body::new(body), usize::MAX).await.unwrap();
                    if *server.silent.lock().unwrap() {
                        std::future::pending::<()>().await;
                    }
                    let (status, answer) = server.answer(&parts.method, &body);
                    let answer = Body::from(answer.to_string());
                    Ok::<_, Infallible>(Response::builder().status(status).body(answer).unwrap())
                }
            }),
            "default",
        )
    }

    fn answer(&self, method: &Method, body: &[u8]) -> (u16, Value) {
        let status = |code: u16| {
            let reason = if code == 404 { "NotFound" } else { "Conflict" };
            let status = json!({
                "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
                "message": reason, "reason": reason, "code": code,
            });
            (code, status)
        };
        let mut lease = self.lease.lock().unwrap();
        if *method == Method::GET {
            return lease
                .clone()
                .map_or_else(|| status(404), |lease| (200, lease));
        }
        let mut new: Value = serde_json::from_slice(body).unwrap();
        let based_on = &new["metadata"]["resourceVersion"];
        let is_current = match &*lease {
            Some(lease) => lease["metadata"]["resourceVersion"] == *based_on,
            None => *method == Method::POST,
        };
        if !is_current {
            return status(409);
        }
        let mut version = self.version.lock().unwrap();
        *version += 1;
        new["metadata"]["resourceVersion"] = json!(version.to_string());
        *lease = Some(new.clone());
        (200, new)
    }

    fn candidate(&self) -> (tokio::task::JoinHandle<()>, Tenure) {
        let (reign, tenure) = Reign::begin();
        let times = LeaderElection::default();
        let mut candidate = Candidate::new(self.client(), &times, reign, Metrics::default());
        let task = tokio::spawn(async move { candidate.run().await });
        (task, tenure)
    }
}

/// Waits until a tenure begins.
async fn begins(tenure: &mut Tenure) {
    while !tenure.is_held() {
        tenure.change().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_another_follows_once_it_is_gone() {
    let server = Server::default();
    let (first, mut leads) = server.candidate();
    leads.change().await;
    assert!(leads.is_held());
    let (_second, mut follows) = server.candidate();
    sleep(Duration::from_secs(120)).await;
    assert!(leads.is_held() && !follows.is_held());
    first.abort();
    assert!(follows.is_anothers() && !leads.is_anothers());
    let clock = Instant::now();
    begins(&mut follows).await;
    assert!(!leads.is_held() && !follows.is_anothers());
    let waited = clock.elapsed().as_secs();
    assert!((13..=19).contains(&waited), "after {waited} s");
}

/// The one that led knows it before another may begin.
#[tokio::test(start_paused = true)]
async fn there_are_never_two_while_nobody_can_renew() {
    let servers = [Server::default(), Server::default()];
    // Both have the same Lease, and only the first loses its connection.
    let second = Server {
        silent: Arc::default(),
        ..servers[0].clone()
    };
    let (_first, mut leads) = servers[0].candidate();
    leads.change().await;
    let (_second, mut follows) = second.candidate();
    sleep(Duration::from_secs(7)).await;
    *servers[0].silent.lock().unwrap() = true;
    let clock = Instant::now();
    while leads.is_held() {
        assert!(!follows.is_held());
        leads.change().await;
    }
    let ended = clock.elapsed();
    assert!(ended <= Duration::from_secs(10), "{ended:?}");
    begins(&mut follows).await;
    assert!(
        clock.elapsed() >= ended + Duration::from_secs(3),
        "with time to spare"
    );
    // The first is heard again, and does not take it back.
    *servers[0].silent.lock().unwrap() = false;
    sleep(Duration::from_secs(60)).await;
    assert!(follows.is_held() && !leads.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_given_back_is_taken_at_once() {
    let server = Server::default();
    let (reign, tenure) = Reign::begin();
    let times = LeaderElection::default();
    let mut first = Candidate::new(server.client(), &times, reign, Metrics::default());
    assert!(
        tokio::time::timeout(Duration::from_secs(3), first.run())
            .await
            .is_err()
    );
    assert!(tenure.is_held());
    first.resign().await;
    assert!(!tenure.is_held());
    let (_second, mut follows) = server.candidate();
    let clock = Instant::now();
    begins(&mut follows).await;
    assert!(clock.elapsed() < Duration::from_secs(1));
}

/// A Lease may have been left by one that has ended: only who renews it decides.
#[tokio::test(start_paused = true)]
async fn another_decides_once_it_is_seen_to_renew_and_until_it_no_longer_does() {
    let server = Server::default();
    let (first, mut leads) = server.candidate();
    begins(&mut leads).await;
    first.abort();
    let (_second, mut follows) = server.candidate();
    while !follows.is_held() {
        assert!(!follows.is_anothers());
        follows.change().await;
    }
    let (third, watches) = server.candidate();
    sleep(Duration::from_secs(5)).await;
    assert!(watches.is_anothers());
    third.abort();
    *server.silent.lock().unwrap() = true;
    sleep(Duration::from_secs(8)).await;
    assert!(!watches.is_anothers());
}

/// Before, within and after the tenure.
#[tokio::test(start_paused = true)]
async fn requests_pass_only_while_the_tenure_lasts() {
    let (reign, tenure) = Reign::begin();
    let service = service_fn(async |_: Request<kube::client::Body>| {
        sleep(Duration::from_secs(6)).await;
        let version = json!({
            "major": "1", "minor": "36", "gitVersion": "", "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
        });
        Ok::<_, tower::BoxError>(Response::new(Body::from(version.to_string())))
    });
    let builder = ClientBuilder::new(service, "default");
    let client = builder.with_layer(&fence::Fence(tenure)).build();
    let ask = async || {
        let clock = Instant::now();
        let answer = client.apiserver_version().await;
        (answer.is_ok(), clock.elapsed().as_secs())
    };
    assert_eq!(ask().await, (false, 0));
    reign.extend(Instant::now() + Duration::from_secs(10));
    assert_eq!(ask().await, (true, 6));
    assert_eq!(ask().await, (false, 4), "given up under way");
    assert_eq!(ask().await, (false, 0));
    // One that is renewed in time goes on.
    reign.extend(Instant::now() + Duration::from_secs(4));
    let (answer, ()) = tokio::join!(ask(), async {
        sleep(Duration::from_secs(2)).await;
        reign.extend(Instant::now() + Duration::from_secs(10));
    });
    assert_eq!(answer, (true, 6));
}
