//! What pods say of themselves, followed at the API server, whatever becomes of them later.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::task::JoinHandle;

use crate::outage::world::node;

/// A pod that had a node. Moments are in milliseconds of Unix time, to the second.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) namespace: String,
    /// Its Job's name; its own where it is of none.
    pub(crate) job: String,
    /// Its Job's UID; its own where it is of none.
    pub(crate) uid: String,
    pub(crate) node: String,
    pub(crate) gpus: u64,
    /// When it was bound to its node.
    pub(crate) bound_ms: u64,
    /// When its container was over, or it was told to leave.
    pub(crate) over_ms: u64,
    /// Whether it was told to leave, as for another's job.
    pub(crate) had_to_leave: bool,
}

/// Follows all pods until it is dropped.
pub(crate) struct History {
    pods: Arc<Mutex<BTreeMap<String, Pod>>>,
    task: JoinHandle<()>,
}

impl History {
    pub(crate) fn follow(client: Client) -> Self {
        let pods: Arc<Mutex<BTreeMap<String, Pod>>> = Arc::default();
        let seen = pods.clone();
        let task = tokio::spawn(async move {
            let all = watcher(Api::<Pod>::all(client), watcher::Config::default());
            let mut events = pin!(all.default_backoff());
            while let Some(event) = events.next().await {
                if let Ok(Event::Apply(pod) | Event::InitApply(pod) | Event::Delete(pod)) = event {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.insert(pod.uid().unwrap(), pod);
                }
            }
        });
        Self { pods, task }
    }

    /// Those with GPUs that are over.
    pub(crate) fn lives(&self) -> Vec<Life> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.values().filter_map(life).collect()
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn life(pod: &Pod) -> Option<Life> {
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    let resources = spec.containers[0].resources.as_ref();
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    let gpus = limits?.get("nvidia.com/gpu")?.0.parse().unwrap();
    let mut conditions = status.conditions.iter().flatten();
    let bound = conditions.find(|c| c.type_ == "PodScheduled" && c.status == "True")?;
    let left = left(pod);
    let owner = pod.owner_references().first();
    Some(Life {
        namespace: pod.namespace().unwrap(),
        job: owner.map_or(pod.name_any(), |owner| owner.name.clone()),
        uid: owner.map_or(pod.uid().unwrap(), |owner| owner.uid.clone()),
        node: node(pod)?.to_owned(),
        gpus,
        bound_ms: ms(bound.last_transition_time.as_ref().unwrap()),
        over_ms: left.or_else(|| over(pod))?,
        had_to_leave: left.is_some(),
    })
}

/// When a pod was told to leave; it has a while for that.
fn left(pod: &Pod) -> Option<u64> {
    let until = ms(pod.metadata.deletion_timestamp.as_ref()?);
    let grace = pod
        .metadata
        .deletion_grace_period_seconds
        .unwrap_or_default();
    Some(until - u64::try_from(grace).unwrap() * 1000)
}

/// When the container of a pod was over.
fn over(pod: &Pod) -> Option<u64> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ended = statuses[0].state.as_ref()?.terminated.as_ref()?;
    Some(ms(ended.finished_at.as_ref()?))
}

fn ms(time: &Time) -> u64 {
    u64::try_from(time.0.as_millisecond()).unwrap()
}
