//! An extender as most are: told every node that would do, it answers one.
//!
//! It speaks plain HTTP on loopback and decides nothing, which flatters it: ours speaks mTLS.

use std::net::SocketAddr;

use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// It ends when dropped.
pub(crate) struct Extender {
    address: SocketAddr,
    task: JoinHandle<()>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Args {
    node_names: Vec<String>,
}

impl Extender {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().route("/filter", post(filter));
        let routes = routes.layer(DefaultBodyLimit::disable());
        // Without it, each answer would wait 40 ms for an acknowledgement.
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Extender {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn filter(Json(args): Json<Args>) -> Json<Value> {
    Json(json!({
        "Nodes": null,
        "NodeNames": args.node_names.first().into_iter().collect::<Vec<_>>(),
        "FailedNodes": {},
        "FailedAndUnresolvableNodes": {},
        "Error": "",
    }))
}
