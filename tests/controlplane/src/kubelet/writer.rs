//! Writes to the API server, a limited number at once.

use std::io::{self, Write as _};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use super::{CutOff, life};

/// Writes for every node.
pub(super) struct Writer {
    client: Client,
    permits: Semaphore,
    cut_off: watch::Receiver<CutOff>,
}

enum Write {
    Status(Value),
    Delete,
}

/// How often a write is tried that fails for another reason than that the pod is gone.
const ATTEMPTS: u32 = 5;

impl Writer {
    pub(super) fn new(client: Client, in_flight: usize, cut_off: watch::Receiver<CutOff>) -> Self {
        Self {
            client,
            permits: Semaphore::new(in_flight),
            cut_off,
        }
    }

    /// Changes the status of a pod.
    pub(super) async fn patch_status(&self, pod: &Pod, status: Value) {
        self.insist(pod, Write::Status(status)).await;
    }

    /// Removes a pod that has ended.
    pub(super) async fn delete(&self, pod: &Pod) {
        self.insist(pod, Write::Delete).await;
    }

    /// Waits until the pod's node is on the network.
    pub(super) async fn connected(&self, pod: &Pod) {
        let mut cut_off = self.cut_off.clone();
        // Whoever could reconnect it is gone, and this task ends next.
        let _ = cut_off
            .wait_for(|nodes| !nodes.contains(life::node(pod)))
            .await;
    }

    /// Repeats a write until it succeeds or has become pointless, while the pod's node is on the network.
    async fn insist(&self, pod: &Pod, write: Write) {
        for attempt in 1..=ATTEMPTS {
            self.connected(pod).await;
            let _permit = self.permits.acquire().await;
            match self.attempt(pod, &write).await {
                Ok(()) => return,
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
                Err(error) if attempt == ATTEMPTS => {
                    let _ = writeln!(io::stderr(), "fake kubelet: {}: {error}", pod.name_any());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50 << attempt)).await,
            }
        }
    }

    /// The UID keeps a write from hitting another pod of the same name.
    async fn attempt(&self, pod: &Pod, write: &Write) -> kube::Result<()> {
        let name = pod.name_any();
        let uid = pod.metadata.uid.clone();
        let api: Api<Pod> =
            Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        match write {
            Write::Status(status) => {
                let patch = Patch::Strategic(json!({"metadata": {"uid": uid}, "status": status}));
                api.patch_status(&name, &PatchParams::default(), &patch)
                    .await?;
            }
            Write::Delete => {
                let parameters = DeleteParams {
                    grace_period_seconds: Some(0),
                    preconditions: Some(Preconditions {
                        uid,
                        resource_version: None,
                    }),
                    ..DeleteParams::default()
                };
                api.delete(&name, &parameters).await?;
            }
        }
        Ok(())
    }
}
