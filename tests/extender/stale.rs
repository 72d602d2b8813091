//! What is answered when the API server has not been heard for a while. The runtime's clock is set
//! ahead between questions, which come over real connections.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use prorata::config;
use prorata::extender::{self, FilterPolicy};
use prorata::health;
use prorata::view::Views;
use prorata::watch::Kind;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::wire::{head, view};
use super::{NOT_READY, bodies};

const NODES: [&str; 2] = ["node-0001", "node-0003"];
const PATIENCE: Duration = Duration::from_secs(10);

/// A controller's two listeners, and the view that both answer by.
struct Answering {
    extender: SocketAddr,
    health: SocketAddr,
    views: Views,
}

impl Answering {
    /// Everything has been listed, at this moment.
    async fn start() -> Self {
        let (extender, health) = (free_address(), free_address());
        let views = Views::default();
        views.publish(view(3));
        Kind::ALL
            .into_iter()
            .for_each(|kind| views.heard().word(kind));
        let config = config::Extender {
            address: extender,
            tls: None,
            plain_http: true,
            probe: None,
        };
        let policy = FilterPolicy {
            gpu_resource: "nvidia.com/gpu".to_owned(),
        };
        let own = views.clone();
        tokio::spawn(async move { extender::serve(&config, policy, own).await });
        tokio::spawn(health::serve(health, views.clone()));
        let deadline = Instant::now() + PATIENCE;
        for address in [extender, health] {
            while TcpStream::connect(address).await.is_err() {
                assert!(Instant::now() < deadline, "{address} does not listen");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Self {
            extender,
            health,
            views,
        }
    }

    /// Status and body of what `/readyz` answers.
    async fn readyz(&self) -> (u16, String) {
        let request = "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        ask(self.health, request).await
    }

    async fn post(&self, path: &str, body: &str) -> Value {
        let (status, answer) = ask(self.extender, &(head(path, body) + body)).await;
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// The nodes that a pod without a plan may take, the refusal, and the best score.
    async fn told(&self) -> (Value, Value, u64) {
        let body = bodies::bare("free", 1, &NODES);
        let filtered = self.post("/filter", &body).await;
        let scored = self.post("/prioritize", &body).await;
        let scores = scored.as_array().unwrap().iter();
        let best = scores.map(|score| score["Score"].as_u64().unwrap()).max();
        (
            filtered["NodeNames"].clone(),
            filtered["Error"].clone(),
            best.unwrap(),
        )
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Sends a request whose answer ends the connection.
async fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn nothing_is_answered_by_what_is_stale() {
    let answering = Answering::start().await;
    let word = |kind| answering.views.heard().word(kind);
    let fresh = (json!(NODES), json!(""), 8);
    assert_eq!(answering.readyz().await, (200, "ok".to_owned()));
    assert_eq!(answering.told().await, fresh);

    pass(100).await;
    let others = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Job);
    others.for_each(word);
    assert_eq!(
        answering.readyz().await.0,
        200,
        "a connection is given time"
    );
    assert_eq!(answering.told().await, fresh);

    pass(60).await;
    let (status, why) = answering.readyz().await;
    assert_eq!(
        (status, why.as_str()),
        (503, "nothing was heard of Job for 160 s")
    );
    assert_eq!(answering.told().await, (json!([]), json!(NOT_READY), 0));

    word(Kind::Job);
    assert_eq!(answering.readyz().await.0, 200);
    assert_eq!(answering.told().await, fresh);
}

/// What operators own may be broken, or not be there at all.
#[tokio::test]
async fn kinds_of_operators_keep_nobody_waiting() {
    let answering = Answering::start().await;
    pass(160).await;
    let own = Kind::ALL
        .into_iter()
        .filter(|kind| kind.composite().is_none());
    own.for_each(|kind| answering.views.heard().word(kind));
    assert_eq!(answering.readyz().await.0, 200);
    let (nodes, error, _) = answering.told().await;
    assert_eq!((nodes, error), (json!(NODES), json!("")));
}
