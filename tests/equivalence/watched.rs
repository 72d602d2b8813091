//! What the API server has of the cluster, and when nothing moves any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use prorata::api::{QueuedJob, State};
use prorata_controlplane::GPU;
use serde::de::DeserializeOwned;

use super::cluster::Cluster;
use super::inputs::JobName;

/// How long nothing must have changed.
const QUIET: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_millis(25);
const PATIENCE: Duration = Duration::from_secs(60);
const GPUS_PER_NODE: u64 = 8;

/// A pod's place: its Job and completion index.
type Place = (JobName, u32);

/// The cluster as last listed.
pub(crate) struct Watched {
    client: Client,
    jobs: BTreeMap<JobName, Job>,
    records: BTreeMap<JobName, QueuedJob>,
    pods: Vec<Pod>,
    /// Every node that ever had the pod of a place, by UID of the pod.
    seen: BTreeMap<Place, BTreeMap<String, String>>,
}

impl Watched {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self {
            client: cluster.admin.clone(),
            jobs: BTreeMap::new(),
            records: BTreeMap::new(),
            pods: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Waits until every released Job runs whole and nothing has changed for a while.
    pub(crate) async fn until_quiet(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut since = Instant::now();
        let mut last = String::new();
        while since.elapsed() < QUIET {
            assert!(Instant::now() < deadline, "still moving: {:#?}", self.moving());
            tokio::time::sleep(POLL).await;
            let versions = self.refresh().await;
            if versions != last || !self.moving().is_empty() {
                last = versions;
                since = Instant::now();
            }
        }
    }

    /// Waits until a Job's end has been taken note of.
    pub(crate) async fn until_ended(&mut self, job: &JobName) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.refresh().await;
            let state = self.records.get(job).and_then(|r| r.status.as_ref()?.state);
            if state == Some(State::Finished) {
                return;
            }
            assert!(Instant::now() < deadline, "{job} does not end: {state:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// The first running Job by namespace and name.
    pub(crate) fn first_running(&self) -> Option<JobName> {
        let running = |(_, job): &(&JobName, &Job)| is_released(job) && !has_ended(job);
        self.jobs.iter().find(running).map(|(name, _)| name.clone())
    }

    pub(crate) fn unfinished(&self) -> Vec<JobName> {
        let unfinished = self.jobs.iter().filter(|(_, job)| !has_ended(job));
        unfinished.map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn ended(&self) -> BTreeSet<&JobName> {
        let ended = self.jobs.iter().filter(|(_, job)| has_ended(job));
        ended.map(|(name, _)| name).collect()
    }

    /// Every Job with its recorded nodes, in the order of admission.
    pub(crate) async fn admissions(&mut self) -> Vec<(JobName, Vec<String>)> {
        self.refresh().await;
        let mut admitted: Vec<_> = Vec::new();
        for (name, record) in &self.records {
            let admission = record.spec.admission.clone().unwrap();
            let nodes = admission.placement.into_iter().map(|place| place.node).collect();
            admitted.push((admission.epoch, (name.clone(), nodes)));
        }
        admitted.sort();
        admitted.into_iter().map(|(_, admission)| admission).collect()
    }

    /// The node on which each pod of a Job was, by completion index.
    pub(crate) fn nodes_of(&self, job: &JobName) -> Vec<String> {
        let of_job = self.seen.iter().filter(|((name, _), _)| name == job);
        of_job.flat_map(|(_, nodes)| nodes.values().cloned()).collect()
    }

    /// How many pods the place had that had most.
    pub(crate) fn pods_per_place_max(&self) -> usize {
        self.seen.values().map(BTreeMap::len).max().unwrap_or_default()
    }

    /// UID and node of every pod that is bound.
    pub(crate) async fn bound(&mut self) -> BTreeMap<String, String> {
        self.refresh().await;
        self.pods.iter().filter_map(|pod| Some((pod.uid()?, node(pod)?.to_owned()))).collect()
    }

    /// Whoever was bound is still there, where it was.
    pub(crate) async fn assert_still_there(&mut self, before: &BTreeMap<String, String>) {
        let now = self.bound().await;
        for (uid, node) in before {
            assert_eq!(now.get(uid), Some(node), "pod {uid} stays where it was");
        }
    }

    /// Lists everything, checks that no node is overfull, and gives the newest versions.
    async fn refresh(&mut self) -> String {
        let (jobs, records, pods) =
            tokio::join!(list::<Job>(&self.client), list::<QueuedJob>(&self.client), list::<Pod>(&self.client));
        self.jobs = jobs.into_iter().map(|job| (name_of(&job, &job.name_any()), job)).collect();
        let record = |r: QueuedJob| (name_of(&r, &r.spec.job.name), r);
        self.records = records.into_iter().map(record).collect();
        self.pods = pods;
        self.note_places();
        self.assert_room();
        let versions = self.pods.iter().filter_map(ResourceExt::resource_version);
        let versions = versions.chain(self.jobs.values().filter_map(ResourceExt::resource_version));
        let versions = versions.chain(self.records.values().filter_map(ResourceExt::resource_version));
        versions.max_by_key(|v| v.parse::<u64>().unwrap()).unwrap_or_default()
    }

    fn note_places(&mut self) {
        for pod in &self.pods {
            let Some((node, job)) = node(pod).zip(pod.labels().get("batch.kubernetes.io/job-name")) else {
                continue;
            };
            let index = &pod.annotations()["batch.kubernetes.io/job-completion-index"];
            let place = (name_of(pod, job), index.parse().unwrap());
            self.seen.entry(place).or_default().insert(pod.uid().unwrap(), node.to_owned());
        }
    }

    fn assert_room(&self) {
        let mut used: BTreeMap<&str, u64> = BTreeMap::new();
        for (node, pod) in self.pods.iter().filter_map(|pod| Some((node(pod)?, pod))) {
            if !matches!(phase(pod), Some("Succeeded" | "Failed")) {
                *used.entry(node).or_default() += gpus(pod);
            }
        }
        let over: Vec<_> = used.iter().filter(|(_, gpus)| **gpus > GPUS_PER_NODE).collect();
        assert!(over.is_empty(), "overfull nodes: {over:?}");
    }

    /// Jobs that are released but do not run whole yet, or whose record lags behind.
    fn moving(&self) -> Vec<String> {
        let unsettled = |(name, job): (&JobName, &Job)| {
            let state = self.records.get(name).and_then(|record| record.status.as_ref()?.state);
            let running = self.pods.iter().filter(|pod| belongs(pod, name) && phase(pod) == Some("Running"));
            let whole = running.count() == usize::try_from(job.spec.as_ref()?.parallelism?).ok()?;
            let settled = match (has_ended(job), is_released(job)) {
                (true, _) => state == Some(State::Finished),
                (false, true) => whole && state == Some(State::Running),
                (false, false) => state == Some(State::Waiting),
            };
            (!settled).then(|| format!("{name}: {state:?}"))
        };
        self.jobs.iter().filter_map(unsettled).collect()
    }
}

async fn list<K>(client: &Client) -> Vec<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::all(client.clone());
    api.list(&ListParams::default()).await.unwrap().items
}

fn name_of(object: &impl ResourceExt, name: &str) -> JobName {
    JobName(object.namespace().unwrap(), name.to_owned())
}

fn is_released(job: &Job) -> bool {
    job.spec.as_ref().unwrap().suspend == Some(false)
}

fn has_ended(job: &Job) -> bool {
    let mut conditions = job.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.any(|c| c.type_ == "Complete" && c.status == "True")
}

fn belongs(pod: &Pod, job: &JobName) -> bool {
    let name = pod.labels().get("batch.kubernetes.io/job-name");
    name.is_some_and(|name| *name == job.1) && pod.namespace().as_deref() == Some(job.namespace())
}

fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

fn gpus(pod: &Pod) -> u64 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let limits = containers.filter_map(|c| c.resources.as_ref()?.limits.as_ref()?.get(GPU));
    limits.map(|quantity| quantity.0.parse::<u64>().unwrap()).sum()
}
