//! What the node's own `GpuNode` asks of the agent.

use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use tokio::sync::watch;
use tracing::warn;

use crate::api::GpuNode;

/// Follows the object for ever, and tells of which pods the clients of MPS are to be ended.
pub async fn follow(client: Client, node: &str, ask: watch::Sender<Vec<String>>) {
    let api: Api<GpuNode> = Api::all(client);
    let mut objects = watch_object(api, node).default_backoff().boxed();
    while let Some(object) = objects.next().await {
        match object {
            Ok(object) => {
                let wanted = object.map(|object| object.spec.end_clients_of);
                let wanted = wanted.unwrap_or_default();
                ask.send_if_modified(|asked| {
                    let is_new = *asked != wanted;
                    *asked = wanted;
                    is_new
                });
            }
            Err(error) => warn!(%error, "the watch of the GpuNode broke off"),
        }
    }
}
