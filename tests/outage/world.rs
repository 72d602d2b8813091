//! A control plane with our policies, two nodes of four GPUs unless others are named, and questions
//! about what is in it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use prorata::api::{QueuedJob, State};
use prorata_controlplane::{Kubelet, KubeletOptions, Options, Process, nodes};
use serde_json::{Value, json};

use crate::cluster::controller::Site;
use crate::cluster::requests::{create, forget_what_always_differs, json as manifest};
use crate::cluster::{Cluster, from, job, pod};

/// How long a pod takes to end once it is deleted, where that matters.
pub(crate) const TERMINATION: Duration = Duration::from_secs(2);
pub(crate) const NODES: [&str; 2] = ["node-0001", "node-0002"];
/// By then what waited for the extender goes on once it answers again.
pub(crate) const GOES_ON_WITHIN: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(40);
const TENANT: &str =
    "apiVersion: prorata.dev/v1alpha1\nkind: Tenant\nmetadata: {name: red}\nspec: {}\n";

/// All that runs, but our controller.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) kubelet: Kubelet,
    /// What the API server stores, without anything of ours, of [`plain`] objects and of a Job
    /// with GPUs.
    pub(crate) without_us: Vec<Value>,
    pub(crate) site: Site,
}

impl World {
    pub(crate) async fn start(termination: Duration) -> Option<Self> {
        Self::start_with(termination, "").await
    }

    /// The same with more lines of configuration for our controller.
    pub(crate) async fn start_with(termination: Duration, configuration: &str) -> Option<Self> {
        let shape = nodes::Shape {
            gpus: 4,
            ..nodes::Shape::default()
        };
        let fleet = NODES.map(|name| (name.to_owned(), shape.clone()));
        Self::start_on(fleet, termination, configuration).await
    }

    /// The same with these nodes.
    pub(crate) async fn start_on(
        fleet: impl IntoIterator<Item = (String, nodes::Shape)>,
        termination: Duration,
        configuration: &str,
    ) -> Option<Self> {
        Self::start_as(Options::default(), fleet, termination, configuration).await
    }

    /// The same in a control plane that is like this.
    pub(crate) async fn start_as(
        mut options: Options,
        fleet: impl IntoIterator<Item = (String, nodes::Shape)>,
        termination: Duration,
        configuration: &str,
    ) -> Option<Self> {
        // As every kubelet does by default, of the time after which it is lost.
        let heartbeat = options.nodes_lost_after.map(|after| after / 5);
        let more = [
            "replicaset-controller",
            "deployment-controller",
            "statefulset-controller",
        ];
        options.controllers.extend(more.map(str::to_owned));
        let mut cluster = Cluster::start(options).await?;
        cluster.namespace("before", None).await;
        let mut without_us = plain(&cluster, "before").await;
        let jobs: Api<Job> = Api::namespaced(cluster.alice.clone(), "before");
        without_us.push(stored(&create(&jobs, &gang("gpu", 5)).await));
        cluster.install().await;
        cluster.apply(TENANT);
        nodes::create_all(&cluster.admin, fleet).await.unwrap();
        let site = Site::prepare_with(&cluster.plane, configuration);
        cluster
            .plane
            .start_scheduler(site.scheduler_config())
            .await
            .unwrap();
        let options = KubeletOptions {
            termination,
            heartbeat,
            ..KubeletOptions::default()
        };
        let kubelet = Kubelet::start(cluster.admin.clone(), options);
        // What was created to compare with does not run any more.
        for name in ["cpu", "gpu"] {
            jobs.delete(name, &kube::api::DeleteParams::background())
                .await
                .unwrap();
        }
        let pods: Api<Pod> = Api::namespaced(cluster.admin.clone(), "before");
        let now = kube::api::DeleteParams {
            grace_period_seconds: Some(0),
            ..kube::api::DeleteParams::default()
        };
        pods.delete("cpu", &now).await.unwrap();
        let world = Self {
            cluster,
            kubelet,
            without_us,
            site,
        };
        world
            .until("the objects to compare with are gone", async || {
                world.pods("before").await.is_empty()
            })
            .await;
        Some(world)
    }

    /// Starts our controller, and returns when it answers.
    pub(crate) async fn controller(&mut self) -> Process {
        self.site.start(&self.cluster.plane).await
    }

    pub(crate) async fn namespace(&self, name: &str, tenant: Option<&str>) {
        self.cluster.namespace(name, tenant).await;
    }

    pub(crate) fn jobs(&self, namespace: &str) -> Api<Job> {
        Api::namespaced(self.cluster.alice.clone(), namespace)
    }

    pub(crate) async fn job(&self, namespace: &str, name: &str) -> Job {
        self.jobs(namespace).get(name).await.unwrap()
    }

    pub(crate) async fn submit(&self, namespace: &str, job: &Job) -> Job {
        create(&self.jobs(namespace), job).await
    }

    pub(crate) async fn pods(&self, namespace: &str) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.cluster.admin.clone(), namespace);
        api.list(&ListParams::default()).await.unwrap().items
    }

    pub(crate) async fn pod(&self, namespace: &str, name: &str) -> Pod {
        let api: Api<Pod> = Api::namespaced(self.cluster.admin.clone(), namespace);
        api.get(name).await.unwrap()
    }

    /// Node of each pod of a Job that runs, in order.
    pub(crate) async fn nodes_of(&self, namespace: &str, job: &str) -> Vec<String> {
        let pods = self.pods(namespace).await;
        let running = pods
            .iter()
            .filter(|pod| phase(pod) == "Running" && belongs(pod, job));
        let mut nodes: Vec<String> = running
            .filter_map(|pod| pod.spec.as_ref()?.node_name.clone())
            .collect();
        nodes.sort();
        nodes
    }

    pub(crate) async fn pods_of(&self, namespace: &str, job: &str) -> usize {
        self.pods(namespace)
            .await
            .iter()
            .filter(|pod| belongs(pod, job))
            .count()
    }

    pub(crate) async fn record(&self, namespace: &str, job: &str) -> Option<QueuedJob> {
        let api: Api<QueuedJob> = Api::namespaced(self.cluster.alice.clone(), namespace);
        let all = api.list(&ListParams::default()).await.unwrap();
        all.items
            .into_iter()
            .find(|record| record.spec.job.name == job)
    }

    /// State and reason of a Job, as its record shows them.
    pub(crate) async fn stands(&self, namespace: &str, job: &str) -> Option<(State, String)> {
        let status = self.record(namespace, job).await?.status?;
        Some((status.state?, status.reason))
    }

    pub(crate) async fn until_stands(
        &self,
        namespace: &str,
        job: &str,
        state: State,
        reason: &str,
    ) {
        let what = format!("{namespace}/{job} is {state:?} ({reason})");
        let wanted = Some((state, reason.to_owned()));
        self.until(&what, async || self.stands(namespace, job).await == wanted)
            .await;
    }

    /// For whatever reason.
    pub(crate) async fn until_waiting(&self, namespace: &str, job: &str) {
        let what = format!("{namespace}/{job} waits");
        let waits = async || {
            let stands = self.stands(namespace, job).await;
            stands.is_some_and(|(state, _)| state == State::Waiting)
        };
        self.until(&what, waits).await;
    }

    pub(crate) async fn until_running(&self, namespace: &str, job: &str, on: &[&str]) {
        let what = format!("{namespace}/{job} runs on {on:?}");
        self.until(&what, async || self.nodes_of(namespace, job).await == on)
            .await;
    }

    /// Ends the pods of a running Job, and waits until it is complete and its record says so.
    pub(crate) async fn complete(&self, namespace: &str, job: &str) {
        self.kubelet.finish(namespace, job).await.unwrap();
        self.until(&format!("{namespace}/{job} is complete"), async || {
            is_complete(&self.job(namespace, job).await)
        })
        .await;
        if self.record(namespace, job).await.is_some() {
            self.until_stands(namespace, job, State::Finished, "Finished")
                .await;
        }
    }

    /// Our condition on a Job: status, reason, message.
    pub(crate) async fn condition(&self, namespace: &str, job: &str) -> Option<[String; 3]> {
        let conditions = self.job(namespace, job).await.status?.conditions?;
        let ours = conditions
            .into_iter()
            .find(|c| c.type_ == "prorata.dev/Admitted")?;
        Some([ours.status, ours.reason?, ours.message?])
    }

    /// Reason and note of every Event of ours about a Job.
    pub(crate) async fn events(&self, namespace: &str, job: &str) -> Vec<(String, String)> {
        self.events_of("Job", namespace, job).await
    }

    /// The same about an object of another kind.
    pub(crate) async fn events_of(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Vec<(String, String)> {
        let api: Api<Event> = Api::namespaced(self.cluster.admin.clone(), namespace);
        let events = api.list(&ListParams::default()).await.unwrap().items;
        let about = |event: &Event| {
            let regarding = event.regarding.as_ref();
            regarding
                .is_some_and(|o| o.kind.as_deref() == Some(kind) && o.name.as_deref() == Some(name))
                && event.reporting_controller.as_deref() == Some("prorata-controller")
        };
        let ours = events.into_iter().filter(about);
        ours.map(|e| (e.reason.unwrap_or_default(), e.note.unwrap_or_default()))
            .collect()
    }

    /// A pod on a node, beside which no pod of this Job may be.
    pub(crate) async fn repel(&self, namespace: &str, job: &str, node: &str) {
        let gang = json!({ "matchLabels": { "batch.kubernetes.io/job-name": job } });
        let term = json!({ "labelSelector": gang, "topologyKey": "kubernetes.io/hostname" });
        let mut repels = manifest(&pod("repels", 0));
        repels["spec"]["nodeName"] = json!(node);
        repels["spec"]["affinity"] = json!({
            "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] },
        });
        let pods: Api<Pod> = Api::namespaced(self.cluster.admin.clone(), namespace);
        create(&pods, &from(repels)).await;
        self.until("it runs there", async || {
            phase(&self.pod(namespace, "repels").await) == "Running"
        })
        .await;
    }

    /// Until an Event of ours tells of a Job for this reason, with this in its note. Events follow what
    /// they tell of.
    pub(crate) async fn until_told(&self, namespace: &str, job: &str, reason: &str, note: &str) {
        self.until_told_of("Job", namespace, job, reason, note)
            .await;
    }

    /// The same about an object of another kind.
    pub(crate) async fn until_told_of(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        reason: &str,
        note: &str,
    ) {
        let what = format!("{kind} {namespace}/{name} is told {reason}: {note}");
        self.until(&what, async || {
            let told = self.events_of(kind, namespace, name).await;
            told.iter()
                .any(|(because, of)| because == reason && of.contains(note))
        })
        .await;
    }

    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        self.until_within(what, PATIENCE, holds).await;
    }

    /// The same for what takes its time.
    pub(crate) async fn until_within(
        &self,
        what: &str,
        patience: Duration,
        holds: impl AsyncFn() -> bool,
    ) {
        let deadline = Instant::now() + patience;
        while !holds().await {
            assert!(
                Instant::now() < deadline,
                "not within {patience:?}: {what}\n{}",
                self.picture().await
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// No pod was ever on a node without room.
    pub(crate) fn assert_healthy(&mut self) {
        assert_eq!(self.kubelet.rejections(), []);
        self.cluster.plane.check().unwrap();
    }

    async fn picture(&self) -> String {
        let mut picture = String::new();
        let pods: Api<Pod> = Api::all(self.cluster.admin.clone());
        for pod in pods.list(&ListParams::default()).await.unwrap() {
            let node = pod
                .spec
                .as_ref()
                .and_then(|s| s.node_name.clone())
                .unwrap_or_default();
            let leaving = pod.metadata.deletion_timestamp.is_some();
            let name = (pod.namespace().unwrap(), pod.name_any());
            let _ = writeln!(
                picture,
                "pod {name:?} {} {node} leaving={leaving}",
                phase(&pod)
            );
        }
        let jobs: Api<Job> = Api::all(self.cluster.admin.clone());
        for job in jobs.list(&ListParams::default()).await.unwrap() {
            let suspend = job.spec.as_ref().and_then(|s| s.suspend);
            let annotations = job.annotations();
            let _ = writeln!(
                picture,
                "job {}/{} suspend={suspend:?} {annotations:?}",
                job.namespace().unwrap(),
                job.name_any()
            );
        }
        let records: Api<QueuedJob> = Api::all(self.cluster.admin.clone());
        for record in records.list(&ListParams::default()).await.unwrap() {
            let status = record
                .status
                .as_ref()
                .map(|s| (s.state, &s.reason, &s.message));
            let epoch = record.spec.admission.as_ref().map(|a| a.epoch);
            let _ = writeln!(
                picture,
                "record {}/{} {epoch:?} {status:?}",
                record.namespace().unwrap(),
                record.name_any()
            );
        }
        let log = self
            .cluster
            .plane
            .directory()
            .join("prorata-controller.log");
        let log = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        picture + &lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

/// A Job and a pod without GPUs: what the API server stores of them, without what differs between
/// any two objects.
pub(crate) async fn plain(cluster: &Cluster, namespace: &str) -> Vec<Value> {
    let (jobs, pods): (Api<Job>, Api<Pod>) = (
        Api::namespaced(cluster.alice.clone(), namespace),
        Api::namespaced(cluster.alice.clone(), namespace),
    );
    let mut pod = manifest(&pod("cpu", 0));
    pod["metadata"]["annotations"] = json!({ "prorata.dev/test-run-seconds": "0.1" });
    let (job, pod) = (
        create(&jobs, &job("cpu", 0)).await,
        create(&pods, &from(pod)).await,
    );
    vec![stored(&job), stored(&pod)]
}

pub(crate) fn stored<R: serde::Serialize>(object: &R) -> Value {
    let mut value = manifest(object);
    forget_what_always_differs(&mut value);
    value
}

/// A Job of so many pods of one GPU each, which run at the same time.
pub(crate) fn gang(name: &str, pods: usize) -> Job {
    let mut job = manifest(&job(name, 1));
    job["spec"]["parallelism"] = json!(pods);
    job["spec"]["completions"] = json!(pods);
    job["spec"]["completionMode"] = json!("Indexed");
    from(job)
}

/// The same with other fields set by JSON pointer of the parent, and key.
pub(crate) fn with(job: &Job, changes: &[(&str, &str, Value)]) -> Job {
    let mut job = manifest(job);
    for (parent, key, value) in changes {
        job.pointer_mut(parent).unwrap()[*key] = value.clone();
    }
    from(job)
}

pub(crate) fn is_complete(job: &Job) -> bool {
    let mut conditions = job
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    conditions.any(|c| c.type_ == "Complete" && c.status == "True")
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|s| s.phase.as_deref())
        .unwrap_or_default()
}

pub(crate) fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

fn belongs(pod: &Pod, job: &str) -> bool {
    pod.labels()
        .get("batch.kubernetes.io/job-name")
        .is_some_and(|name| name == job)
}
