//! What is done with one pod, from its binding to its end.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt as _;
use tokio::sync::{mpsc, oneshot};

use super::devices::{Amounts, Devices};
use super::writer::Writer;
use super::{RUN_SECONDS, TERMINATION_SECONDS, status};

/// What every task of a pod shares.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) writer: Arc<Writer>,
    pub(super) devices: Arc<Mutex<Devices>>,
}

/// Where a pod stands, as the API server tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Bound, and not yet at its end.
    Alive,
    /// Deleted, but still to be ended.
    Leaving,
    /// Succeeded or Failed.
    Over,
}

impl Shared {
    /// Runs a pod until its time is up or its end is asked for. Whoever asked learns of the end
    /// by the drop of what was sent.
    pub(super) async fn live(
        self,
        pod: Pod,
        ip: Ipv4Addr,
        mut finish: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    ) {
        self.writer.connected(&pod).await;
        if phase(&pod) != "Running" {
            self.writer
                .patch_status(&pod, status::running(&pod, ip))
                .await;
        }
        let _done = match run_time(&pod) {
            Some(time) => tokio::time::timeout(time, finish.recv())
                .await
                .unwrap_or_default(),
            None => finish.recv().await,
        };
        // Before the status says so: the scheduler may bind the next pod at once.
        self.release(&pod);
        self.writer
            .patch_status(&pod, status::succeeded(&pod))
            .await;
    }

    /// Ends and removes a pod that was deleted.
    pub(super) async fn leave(self, pod: Pod, termination: Duration) {
        self.writer.connected(&pod).await;
        let own = seconds(&pod, TERMINATION_SECONDS);
        tokio::time::sleep(own.unwrap_or(termination)).await;
        self.release(&pod);
        // Its object outlives it, and must say that its containers are gone.
        if is_kept(&pod) && !matches!(phase(&pod), "Succeeded" | "Failed") {
            self.writer.patch_status(&pod, status::failed(&pod)).await;
        }
        self.writer.delete(&pod).await;
    }

    pub(super) fn release(&self, pod: &Pod) {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.release(node(pod), pod.metadata.uid.as_deref().unwrap_or_default());
    }
}

/// Whether a finalizer keeps the object of the pod, other than the one by which the Job controller
/// counts: that goes as soon as the pod is deleted.
fn is_kept(pod: &Pod) -> bool {
    let mut finalizers = pod.metadata.finalizers.iter().flatten();
    finalizers.any(|finalizer| finalizer != "batch.kubernetes.io/job-tracking")
}

pub(super) fn stage(pod: &Pod) -> Stage {
    if pod.metadata.deletion_timestamp.is_some() {
        Stage::Leaving
    } else if matches!(phase(pod), "Succeeded" | "Failed") {
        Stage::Over
    } else {
        Stage::Alive
    }
}

/// Whether a pod has a node and is still to be ended.
pub(super) fn is_due(pod: &Pod) -> bool {
    !node(pod).is_empty() && stage(pod) == Stage::Alive
}

/// The node of a pod, or nothing.
pub(super) fn node(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default()
}

/// The devices that a pod asks for, by resource. Fractions do not exist for an extended resource.
pub(super) fn devices(pod: &Pod) -> Amounts {
    let mut wanted = Amounts::new();
    for container in pod.spec.iter().flat_map(|spec| &spec.containers) {
        for (resource, count) in of_container(container) {
            *wanted.entry(resource).or_default() += count;
        }
    }
    wanted
}

fn of_container(container: &Container) -> Amounts {
    let resources = container.resources.as_ref();
    let requests = resources.and_then(|r| r.requests.as_ref());
    let limits = resources.and_then(|r| r.limits.as_ref());
    let mut wanted = limits.map(amounts).unwrap_or_default();
    wanted.extend(requests.map(amounts).unwrap_or_default());
    wanted
}

/// The devices among amounts of resources.
pub(super) fn amounts(all: &BTreeMap<String, Quantity>) -> Amounts {
    let devices = all.iter().filter(|(resource, _)| resource.contains('/'));
    let counts = devices.filter_map(|(resource, q)| Some((resource.clone(), q.0.parse().ok()?)));
    counts.collect()
}

fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

fn run_time(pod: &Pod) -> Option<Duration> {
    seconds(pod, RUN_SECONDS)
}

fn seconds(pod: &Pod, annotation: &str) -> Option<Duration> {
    let seconds = pod.annotations().get(annotation)?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}
