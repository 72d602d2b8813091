//! Ordinary Jobs, and how many of their pods have a node.

use std::collections::HashSet;
use std::pin::pin;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Resource, ResourceExt as _};
use prorata::api::labels::PREEMPTIBLE;
use prorata_controlplane::GPU;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::from;

/// The namespaces of the Jobs, and the tenants where there are any.
pub(crate) const TEAMS: [&str; 4] = ["audio", "nlp", "robots", "vision"];

/// Of a Job, unless the command line says otherwise.
pub(crate) const PODS_PER_JOB: usize = 4;
const GPUS_PER_NODE: usize = 8;
/// They make connections, caches and heaps, and stay.
const WARM_UP_JOBS: usize = 12;
const CLIENTS: usize = 12;
const PATIENCE: Duration = Duration::from_secs(300);

/// What is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Jobs whose pods start together.
    Jobs,
    /// The same, created suspended.
    SuspendedJobs,
    /// As many pods that nobody made, each alone.
    Pods,
}

/// Jobs, or pods, that are created together.
pub(crate) struct Workload {
    form: Form,
    prefix: &'static str,
    jobs: usize,
    pods_per_job: usize,
}

impl Workload {
    pub(crate) const fn warm_up(form: Form) -> Self {
        Self {
            form,
            prefix: "warm-up",
            jobs: WARM_UP_JOBS,
            pods_per_job: PODS_PER_JOB,
        }
    }

    pub(crate) const fn measured(form: Form, jobs: usize, pods_per_job: usize) -> Self {
        Self {
            form,
            prefix: "train",
            jobs,
            pods_per_job,
        }
    }

    pub(crate) const fn pods(&self) -> usize {
        self.jobs * self.pods_per_job
    }

    /// How many objects its users create.
    pub(crate) const fn objects(&self) -> usize {
        match self.form {
            Form::Jobs | Form::SuspendedJobs => self.jobs,
            Form::Pods => self.pods(),
        }
    }

    /// Creates them as their users would, several at a time.
    pub(crate) async fn create(&self, client: &Client) {
        let create = |number: usize| async move {
            let name = format!("{}-{number:04}", self.prefix);
            let team = TEAMS[number % TEAMS.len()];
            let pods = self.pods_per_job;
            match self.form {
                Form::Jobs => create(client, team, &job(&name, pods)).await,
                Form::SuspendedJobs => create(client, team, &suspended_job(&name, pods)).await,
                Form::Pods => create(client, team, &pod(&name)).await,
            }
        };
        let creations = stream::iter(0..self.objects()).map(create);
        creations.buffer_unordered(CLIENTS).collect::<()>().await;
    }
}

/// Creates one object.
pub(crate) async fn create<R>(client: &Client, namespace: &str, object: &R)
where
    R: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    R: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let api: Api<R> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), object).await.unwrap();
}

/// How many Jobs of so many pods find room on so many nodes beside the warm-up.
pub(crate) const fn jobs_on(nodes: u32, pods_per_job: usize) -> usize {
    let pods = (nodes as usize * GPUS_PER_NODE).saturating_sub(WARM_UP_JOBS * PODS_PER_JOB);
    pods / pods_per_job
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

/// A Job of so many pods with a GPU each.
pub(crate) fn job(name: &str, pods: usize) -> Job {
    from(json!({
        "metadata": { "name": name },
        "spec": {
            "parallelism": pods,
            "completions": pods,
            "completionMode": "Indexed",
            "template": { "spec": pod_spec() },
        },
    }))
}

fn suspended_job(name: &str, pods: usize) -> Job {
    let mut job = job(name, pods);
    job.spec.get_or_insert_default().suspend = Some(true);
    job
}

/// A pod that may use what its tenant does not own, since its user does not mind its eviction.
fn pod(name: &str) -> Pod {
    let metadata = json!({ "name": name, "annotations": { PREEMPTIBLE: "true" } });
    from(json!({ "metadata": metadata, "spec": pod_spec() }))
}

fn pod_spec() -> Value {
    json!({
        "restartPolicy": "Never",
        "containers": [{
            "name": "main",
            "image": "train",
            "resources": { "requests": { "cpu": "2", "memory": "8Gi" }, "limits": { GPU: "1" } },
        }],
    })
}
