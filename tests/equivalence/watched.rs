//! What the API server has of the cluster, and when nothing moves any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use prorata::api::{QueuedJob, State};
use prorata_controlplane::GPU;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::inputs::JobName;
use crate::cluster::Cluster;

/// How long nothing must have changed.
const QUIET: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_millis(25);
const PATIENCE: Duration = Duration::from_secs(60);
const GPUS_PER_NODE: u64 = 8;

/// A pod's place: its Job and completion index.
type Place = (JobName, u32);

/// The cluster as the API server tells it, kept up to date in the background.
pub(crate) struct Watched {
    jobs: Store<Job>,
    records: Store<QueuedJob>,
    pods: Store<Pod>,
    history: Arc<Mutex<History>>,
    _watches: JoinSet<()>,
}

/// What has been seen so far.
struct History {
    /// When anything last changed.
    changed: Instant,
    /// Every node that ever had the pod of a place, by UID of the pod.
    places: BTreeMap<Place, BTreeMap<String, String>>,
    /// Nodes that ever had more on them than they have room for.
    overfull: BTreeSet<String>,
}

impl Watched {
    pub(crate) async fn new(cluster: &Cluster) -> Self {
        let history = Arc::new(Mutex::new(History {
            changed: Instant::now(),
            places: BTreeMap::new(),
            overfull: BTreeSet::new(),
        }));
        let mut watches = JoinSet::new();
        let pods = follow(&cluster.admin, &mut watches, &history);
        let watched = Self {
            jobs: follow(&cluster.admin, &mut watches, &history),
            records: follow(&cluster.admin, &mut watches, &history),
            pods,
            history,
            _watches: watches,
        };
        watched.jobs.wait_until_ready().await.unwrap();
        watched.records.wait_until_ready().await.unwrap();
        watched.pods.wait_until_ready().await.unwrap();
        watched
    }

    /// Waits until every released Job runs whole and nothing has changed for a while.
    pub(crate) async fn until_quiet(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            tokio::time::sleep(POLL).await;
            self.note_places();
            let still = self.history.lock().unwrap().changed.elapsed() >= QUIET;
            let moving = self.moving();
            if still && moving.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "still moving: {moving:#?}");
        }
    }

    /// Waits until a Job's end has been taken note of.
    pub(crate) async fn until_ended(&self, job: &JobName) {
        let deadline = Instant::now() + PATIENCE;
        while self.state(job) != Some(State::Finished) {
            assert!(
                Instant::now() < deadline,
                "{job} does not end: {:?}",
                self.state(job)
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// The running Jobs, by namespace and name.
    pub(crate) fn running(&self) -> Vec<JobName> {
        let jobs = self.jobs.state();
        let running = jobs
            .iter()
            .filter(|job| is_released(job) && !has_ended(job));
        let mut names: Vec<_> = running
            .map(|job| name_of(&**job, &job.name_any()))
            .collect();
        names.sort();
        names
    }

    pub(crate) fn unfinished(&self) -> Vec<JobName> {
        let jobs = self.jobs.state();
        let unfinished = jobs.iter().filter(|job| !has_ended(job));
        unfinished
            .map(|job| name_of(&**job, &job.name_any()))
            .collect()
    }

    pub(crate) fn ended(&self) -> usize {
        self.jobs
            .state()
            .iter()
            .filter(|job| has_ended(job))
            .count()
    }

    /// Every Job with its recorded nodes, in the order of admission.
    pub(crate) fn admissions(&self) -> Vec<(JobName, Vec<String>)> {
        let mut admitted: Vec<_> = Vec::new();
        for record in self.records.state() {
            let admission = record.spec.admission.clone().unwrap();
            let nodes = admission
                .placement
                .into_iter()
                .map(|place| place.node)
                .collect();
            admitted.push((
                admission.epoch,
                (name_of(&*record, &record.spec.job.name), nodes),
            ));
        }
        admitted.sort();
        admitted
            .into_iter()
            .map(|(_, admission)| admission)
            .collect()
    }

    /// The node on which each pod of a Job was, by completion index.
    pub(crate) fn nodes_of(&self, job: &JobName) -> Vec<String> {
        let history = self.history.lock().unwrap();
        let of_job = history.places.iter().filter(|((name, _), _)| name == job);
        of_job
            .flat_map(|(_, nodes)| nodes.values().cloned())
            .collect()
    }

    /// How many pods the place had that had most.
    pub(crate) fn pods_per_place_max(&self) -> usize {
        let history = self.history.lock().unwrap();
        history
            .places
            .values()
            .map(BTreeMap::len)
            .max()
            .unwrap_or_default()
    }

    /// Nodes that were ever overfull.
    pub(crate) fn overfull(&self) -> BTreeSet<String> {
        self.history.lock().unwrap().overfull.clone()
    }

    /// UID and node of every pod that is bound.
    pub(crate) fn bound(&self) -> BTreeMap<String, String> {
        self.note_places();
        let bound = |pod: &Arc<Pod>| Some((pod.uid()?, node(pod)?.to_owned()));
        self.pods.state().iter().filter_map(bound).collect()
    }

    /// Whoever was bound is still there, where it was.
    pub(crate) fn assert_still_there(&self, before: &BTreeMap<String, String>) {
        let now = self.bound();
        for (uid, node) in before {
            assert_eq!(now.get(uid), Some(node), "pod {uid} stays where it was");
        }
    }

    fn state(&self, job: &JobName) -> Option<State> {
        let records = self.records.state();
        let is_its = |r: &&Arc<QueuedJob>| name_of(&***r, &r.spec.job.name) == *job;
        records.iter().find(is_its)?.status.as_ref()?.state
    }

    fn note_places(&self) {
        let mut history = self.history.lock().unwrap();
        let mut used: BTreeMap<String, u64> = BTreeMap::new();
        for pod in self.pods.state() {
            let job = pod.labels().get("batch.kubernetes.io/job-name");
            let Some((node, job)) = node(&pod).zip(job) else {
                continue;
            };
            if !matches!(phase(&pod), Some("Succeeded" | "Failed")) {
                *used.entry(node.to_owned()).or_default() += gpus(&pod);
            }
            let index = &pod.annotations()["batch.kubernetes.io/job-completion-index"];
            let place = (name_of(&*pod, job), index.parse().unwrap());
            history
                .places
                .entry(place)
                .or_default()
                .insert(pod.uid().unwrap(), node.to_owned());
        }
        let over = used.into_iter().filter(|(_, gpus)| *gpus > GPUS_PER_NODE);
        history.overfull.extend(over.map(|(node, _)| node));
    }

    /// Jobs that are released but do not run whole yet, or whose record lags behind.
    fn moving(&self) -> Vec<String> {
        let mut running: BTreeMap<JobName, i32> = BTreeMap::new();
        for pod in self
            .pods
            .state()
            .iter()
            .filter(|pod| phase(pod) == Some("Running"))
        {
            let job = &pod.labels()["batch.kubernetes.io/job-name"];
            *running.entry(name_of(&**pod, job)).or_default() += 1;
        }
        let records = self.records.state();
        let state = |r: &Arc<QueuedJob>| {
            (
                name_of(&**r, &r.spec.job.name),
                r.status.as_ref().and_then(|s| s.state),
            )
        };
        let states: BTreeMap<JobName, Option<State>> = records.iter().map(state).collect();
        let unsettled = |job: &Arc<Job>| {
            let name = name_of(&**job, &job.name_any());
            let state = states.get(&name).copied().flatten();
            let whole = running.get(&name).copied() == job.spec.as_ref()?.parallelism;
            let settled = match (has_ended(job), is_released(job)) {
                (true, _) => state == Some(State::Finished),
                (false, true) => whole && state == Some(State::Admitted),
                (false, false) => state == Some(State::Waiting),
            };
            (!settled).then(|| format!("{name}: {state:?}"))
        };
        self.jobs.state().iter().filter_map(unsettled).collect()
    }
}

/// Keeps a copy of all objects of a kind, and notes when one changes.
fn follow<K>(client: &Client, watches: &mut JoinSet<()>, history: &Arc<Mutex<History>>) -> Store<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let api: Api<K> = Api::all(client.clone());
    let events = watcher(api, watcher::Config::default())
        .default_backoff()
        .reflect(writer);
    let history = Arc::clone(history);
    watches.spawn(events.for_each(move |_| {
        history.lock().unwrap().changed = Instant::now();
        std::future::ready(())
    }));
    store
}

fn name_of(object: &impl ResourceExt, name: &str) -> JobName {
    JobName(object.namespace().unwrap(), name.to_owned())
}

fn is_released(job: &Job) -> bool {
    job.spec.as_ref().unwrap().suspend == Some(false)
}

fn has_ended(job: &Job) -> bool {
    let mut conditions = job
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    conditions.any(|c| c.type_ == "Complete" && c.status == "True")
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
    limits
        .map(|quantity| quantity.0.parse::<u64>().unwrap())
        .sum()
}
