//! Writes the node's own `GpuNode`, and only when what it says has changed.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::inventory::continued;
use crate::api::gpunode::{DRIVER_READY, Health};
use crate::api::{GpuNode, GpuNodeSpec, GpuNodeStatus};

/// So often it is looked whether the object is still there and says what it should.
const RESYNC: Duration = Duration::from_secs(300);
/// The first pause after a failure, and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// At least so long after a write nothing is written but what is worse: a card that comes and goes
/// makes two writes in this time at most.
const REST: Duration = Duration::from_secs(5);

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
    let mut last: Option<(Instant, GpuNodeStatus)> = None;
    loop {
        let seen = told.borrow_and_update().clone();
        let mut next = Instant::now() + RESYNC;
        if let Some(rested) = rested(last.as_ref(), seen.as_ref()) {
            next = rested;
        } else if let Some(seen) = seen {
            match write(&client, node, seen.clone()).await {
                Ok(is_written) => {
                    if is_written {
                        info!(node, "the GpuNode says something else now");
                        last = Some((Instant::now(), seen));
                    }
                    pause = PAUSE;
                }
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
        if let Ok(Err(_)) = timeout_at(next, told.changed()).await {
            return;
        }
    }
}

/// Until when what has been seen is not written yet, after what was written last.
fn rested(
    last: Option<&(Instant, GpuNodeStatus)>,
    seen: Option<&GpuNodeStatus>,
) -> Option<Instant> {
    let ((at, before), seen) = last.zip(seen)?;
    let until = *at + REST;
    let is_early = Instant::now() < until && !is_worse(seen, before);
    is_early.then_some(until)
}

/// Whether less work should be given to any GPU.
fn is_worse(seen: &GpuNodeStatus, before: &GpuNodeStatus) -> bool {
    let health = |index| {
        let mut same = before.gpus.iter().filter(move |gpu| gpu.index == index);
        same.next().map_or(Health::Healthy, |gpu| gpu.health)
    };
    let mut gpus = seen.gpus.iter();
    (is_ready(before) && !is_ready(seen))
        || gpus.any(|gpu| gpu.health as u8 > health(gpu.index) as u8)
}

fn is_ready(status: &GpuNodeStatus) -> bool {
    let mut conditions = status.conditions.iter();
    conditions.any(|condition| condition.type_ == DRIVER_READY && condition.status == "True")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::gpunode::Gpu;

    fn status(healths: &[Health]) -> GpuNodeStatus {
        let gpus = healths.iter().zip(0..).map(|(&health, index)| Gpu {
            index,
            health,
            ..Gpu::default()
        });
        GpuNodeStatus {
            gpus: gpus.collect(),
            ..GpuNodeStatus::default()
        }
    }

    #[test]
    fn after_a_write_only_what_is_worse_is_written_at_once() {
        let well = status(&[Health::Healthy; 2]);
        let sick = status(&[Health::Healthy, Health::Degraded]);
        let worse = status(&[Health::Healthy, Health::Lost]);
        let other = status(&[Health::Unhealthy, Health::Healthy]);
        let now = Instant::now();
        let waits = |before: &GpuNodeStatus, seen| {
            rested(Some(&(now, before.clone())), Some(seen)).is_some()
        };
        assert!(waits(&sick, &well), "what is better can wait");
        assert!(waits(&sick, &sick));
        assert!(!waits(&well, &sick));
        assert!(!waits(&sick, &worse));
        assert!(!waits(&worse, &other), "another one");
        let mut answers = well.clone();
        answers.conditions.push(ready());
        assert!(!waits(&answers, &well), "the driver is gone");
        assert!(rested(None, Some(&well)).is_none(), "nothing is written");
        let long_ago = now.checked_sub(REST).unwrap();
        assert!(rested(Some(&(long_ago, sick)), Some(&well)).is_none());
    }

    fn ready() -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition {
        serde_json::from_value(serde_json::json!({
            "type": DRIVER_READY, "status": "True", "reason": "Answers", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }))
        .unwrap()
    }
}
