//! Ordinary Jobs, and how many of their pods have a node.

use std::collections::HashSet;
use std::pin::pin;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use prorata_controlplane::GPU;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::from;

/// The namespaces of the Jobs, and the tenants where there are any.
pub(crate) const TEAMS: [&str; 4] = ["audio", "nlp", "robots", "vision"];

const PODS_PER_JOB: usize = 4;
const GPUS_PER_NODE: usize = 8;
/// They make connections, caches and heaps, and stay.
const WARM_UP_JOBS: usize = 12;
const CLIENTS: usize = 12;
const PATIENCE: Duration = Duration::from_secs(300);

/// Jobs that are created together.
pub(crate) struct Workload {
    prefix: &'static str,
    jobs: usize,
}

impl Workload {
    pub(crate) const fn warm_up() -> Self {
        Self {
            prefix: "warm-up",
            jobs: WARM_UP_JOBS,
        }
    }

    pub(crate) const fn measured(jobs: usize) -> Self {
        Self {
            prefix: "train",
            jobs,
        }
    }

    pub(crate) const fn pods(&self) -> usize {
        self.jobs * PODS_PER_JOB
    }

    /// Creates them as their users would, several at a time.
    pub(crate) async fn create(&self, client: &Client) {
        let create = |number: usize| async move {
            let api: Api<Job> = Api::namespaced(client.clone(), TEAMS[number % TEAMS.len()]);
            let job = job(&format!("{}-{number:04}", self.prefix));
            api.create(&PostParams::default(), &job).await.unwrap();
        };
        let creations = stream::iter(0..self.jobs).map(create);
        creations.buffer_unordered(CLIENTS).collect::<()>().await;
    }
}

/// How many nodes so many Jobs need beside the warm-up.
pub(crate) fn nodes_for(jobs: usize) -> u32 {
    let gpus = (jobs + WARM_UP_JOBS) * PODS_PER_JOB;
    u32::try_from(gpus.div_ceil(GPUS_PER_NODE)).unwrap_or(u32::MAX)
}

/// The manifests of the tenants.
pub(crate) fn tenants() -> String {
    let tenant = |team| {
        format!(
            "---\napiVersion: prorata.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {team}}}\nspec: {{weight: 1}}\n"
        )
    };
    TEAMS.map(tenant).concat()
}

/// Counts pods with a node.
pub(crate) struct Bound {
    count: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

/// One watch of bound pods alone: the API server sends each once, when it is bound.
pub(crate) fn watch(client: &Client) -> Bound {
    let pods: Api<Pod> = Api::all(client.clone());
    let (sender, count) = watch::channel(0);
    let task = tokio::spawn(async move {
        let config = watcher::Config::default().fields("spec.nodeName!=");
        let mut events = pin!(watcher(pods, config).default_backoff().applied_objects());
        let mut seen = HashSet::new();
        while let Some(event) = events.next().await {
            seen.extend(event.unwrap().uid());
            sender.send_replace(seen.len());
        }
    });
    Bound { count, task }
}

impl Bound {
    /// Waits until so many have been seen.
    pub(crate) async fn until(&mut self, pods: usize) {
        let all = self.count.wait_for(|count| *count >= pods);
        let seen = tokio::time::timeout(PATIENCE, all).await;
        assert!(seen.is_ok(), "not {pods} pods bound after {PATIENCE:?}");
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn job(name: &str) -> Job {
    from(json!({
        "metadata": { "name": name },
        "spec": {
            "parallelism": PODS_PER_JOB,
            "completions": PODS_PER_JOB,
            "completionMode": "Indexed",
            "template": { "spec": {
                "restartPolicy": "Never",
                "containers": [{
                    "name": "main",
                    "image": "train",
                    "resources": { "requests": { "cpu": "2", "memory": "8Gi" }, "limits": { GPU: "1" } },
                }],
            } },
        },
    }))
}
