//! Writes the node's own `GpuNode`, and only when what it says has changed.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::inventory::continued;
use crate::api::{GpuNode, GpuNodeSpec, GpuNodeStatus};

/// So often it is looked whether the object is still there and says what it should.
const RESYNC: Duration = Duration::from_secs(300);
/// The first pause after a failure, and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server said no, or nothing.
    #[error("the API server")]
    Api(#[from] kube::Error),
    /// There is no node of this name.
    #[error("there is no node `{0}`: name the one that this runs on by --node or $NODE_NAME")]
    NoNode(String),
}

/// Writes whatever is to be told, for ever.
pub async fn run(client: Client, node: &str, mut told: watch::Receiver<Option<GpuNodeStatus>>) {
    let mut pause = PAUSE;
    loop {
        let seen = told.borrow_and_update().clone();
        if let Some(seen) = seen {
            match write(&client, node, seen).await {
                Ok(true) => {
                    info!(node, "the GpuNode says something else now");
                    pause = PAUSE;
                }
                Ok(false) => pause = PAUSE,
                Err(error) => {
                    warn!(
                        node,
                        error = &error as &dyn std::error::Error,
                        "the GpuNode could not be written"
                    );
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                    continue;
                }
            }
        }
        // Nobody who tells any more: the process ends.
        if let Ok(Err(_)) = timeout(RESYNC, told.changed()).await {
            return;
        }
    }
}

/// Writes one status, and tells whether that was needed.
///
/// # Errors
/// When it could not be written; what it was based on may have changed.
pub async fn write(client: &Client, node: &str, seen: GpuNodeStatus) -> Result<bool, Error> {
    let api: Api<GpuNode> = Api::all(client.clone());
    let mut object = match api.get_opt(node).await? {
        Some(object) => object,
        None => create(&api, client, node).await?,
    };
    let wanted = continued(seen, object.status.as_ref(), object.metadata.generation);
    if object.status.as_ref() == Some(&wanted) {
        return Ok(false);
    }
    object.status = Some(wanted);
    api.replace_status(node, &PostParams::default(), &object)
        .await?;
    Ok(true)
}

/// It goes when its node goes.
async fn create(api: &Api<GpuNode>, client: &Client, node: &str) -> Result<GpuNode, Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let owner = nodes.get_opt(node).await?;
    let owner = owner.ok_or_else(|| Error::NoNode(node.to_owned()))?;
    let reference = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.to_owned(),
        uid: owner.uid().unwrap_or_default(),
        ..OwnerReference::default()
    };
    let object = GpuNode {
        metadata: ObjectMeta {
            name: Some(node.to_owned()),
            owner_references: Some(vec![reference]),
            ..ObjectMeta::default()
        },
        spec: GpuNodeSpec::default(),
        status: None,
    };
    Ok(api.create(&PostParams::default(), &object).await?)
}
