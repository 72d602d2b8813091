//! A watcher beside the cluster: what the API server has of pods, nodes and the queue, looked at
//! whenever a pod or node changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use prorata::api::{GpuNode, Place, QueuedJob, State};
use prorata_controlplane::Kubelet;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::census::{self, phase};
use crate::cluster::Cluster;

/// How long nothing must have changed.
const QUIET: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(50);
/// For each pod: a loaded machine starts a few each second.
const PATIENCE_EACH: Duration = Duration::from_millis(500);
const PATIENCE_AT_LEAST: Duration = Duration::from_secs(120);

/// Namespace and name of a job.
pub(crate) type JobName = (String, String);

pub(crate) struct Watched {
    pods: Store<Pod>,
    nodes: Store<Node>,
    records: Store<QueuedJob>,
    gpu_nodes: Store<GpuNode>,
    kubelet: Arc<Kubelet>,
    /// When anything last changed.
    changed: Arc<Mutex<Instant>>,
    violations: Arc<Mutex<BTreeSet<String>>>,
    looks: Arc<AtomicU64>,
    patience: Duration,
    _watches: JoinSet<()>,
}

impl Watched {
    pub(crate) async fn new(cluster: &Cluster, kubelet: &Arc<Kubelet>, pods: u32) -> Self {
        let changed = Arc::new(Mutex::new(Instant::now()));
        let mut watches = JoinSet::new();
        let admin = &cluster.admin;
        let watched = Self {
            pods: follow(admin, &mut watches, &changed),
            nodes: follow(admin, &mut watches, &changed),
            records: follow(admin, &mut watches, &changed),
            gpu_nodes: follow(admin, &mut watches, &changed),
            kubelet: Arc::clone(kubelet),
            changed: Arc::clone(&changed),
            violations: Arc::default(),
            looks: Arc::default(),
            patience: PATIENCE_AT_LEAST.max(PATIENCE_EACH * pods),
            _watches: JoinSet::new(),
        };
        watched.pods.wait_until_ready().await.unwrap();
        watched.nodes.wait_until_ready().await.unwrap();
        watched.records.wait_until_ready().await.unwrap();
        watched.look_at_every_change(&mut watches);
        Self {
            _watches: watches,
            ..watched
        }
    }

    /// Takes a census whenever a pod or node has changed.
    fn look_at_every_change(&self, watches: &mut JoinSet<()>) {
        let (pods, nodes) = (self.pods.clone(), self.nodes.clone());
        let gpu_nodes = self.gpu_nodes.clone();
        let (kubelet, found) = (Arc::clone(&self.kubelet), Arc::clone(&self.violations));
        let (changed, looks) = (Arc::clone(&self.changed), Arc::clone(&self.looks));
        watches.spawn(async move {
            let mut seen = None;
            loop {
                let now = *changed.lock().unwrap();
                if seen != Some(now) {
                    seen = Some(now);
                    looks.fetch_add(1, Ordering::Relaxed);
                    // What a kubelet gives away it has taken back before.
                    let grants = kubelet.grants();
                    let (pods, nodes) = (pods.state(), nodes.state());
                    let pods: Vec<&Pod> = pods.iter().map(|pod| &**pod).collect();
                    let nodes: Vec<&Node> = nodes.iter().map(|node| &**node).collect();
                    let told = gpu_nodes.state();
                    let told: Vec<&GpuNode> = told.iter().map(|node| &**node).collect();
                    let wrong = census::violations((&nodes, &told), &pods, &grants);
                    found.lock().unwrap().extend(wrong);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }

    /// Everything that ever was as it must not be.
    pub(crate) fn violations(&self) -> BTreeSet<String> {
        self.violations.lock().unwrap().clone()
    }

    /// How often there was a look at everything.
    pub(crate) fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    /// Waits until this many jobs are on record, all pods that have a place run, and nothing has
    /// changed for a while.
    pub(crate) async fn until_settled(&self, jobs: usize) {
        let deadline = Instant::now() + self.patience;
        loop {
            tokio::time::sleep(POLL).await;
            let still = self.changed.lock().unwrap().elapsed() >= QUIET;
            let (records, places, running) = (
                self.records.state().len(),
                self.places().values().map(Vec::len).sum::<usize>(),
                self.running().len(),
            );
            if still && records == jobs && places == running && self.all_explained() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{records} of {jobs} jobs on record, {running} pods of {places} run"
            );
        }
    }

    /// Waits until the agents tell of every pod that has a slot, and of no other.
    pub(crate) async fn until_told(&self) {
        let deadline = Instant::now() + self.patience;
        loop {
            let granted: BTreeSet<String> = self
                .kubelet
                .grants()
                .into_iter()
                .filter(|grant| grant.ids.iter().any(|id| id.contains("::")))
                .map(|grant| grant.uid)
                .collect();
            let nodes = self.gpu_nodes.state();
            let gpus = nodes.iter().filter_map(|node| node.status.as_ref());
            let pods = gpus.flat_map(|status| status.gpus.iter().flat_map(|gpu| &gpu.pods));
            let told: BTreeSet<String> = pods.filter_map(|pod| pod.uid.clone()).collect();
            if told == granted {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the agents tell of {}, and {} have slots",
                told.len(),
                granted.len()
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// The places of each job that is admitted.
    pub(crate) fn places(&self) -> BTreeMap<JobName, Vec<Place>> {
        let admitted = self.admissions().into_iter();
        let held = admitted.filter(|(_, _, state)| *state == Some(State::Admitted));
        held.map(|(name, places, _)| (name, places)).collect()
    }

    /// Every job that was ever admitted with its places, in the order of admission.
    pub(crate) fn admissions(&self) -> Vec<(JobName, Vec<Place>, Option<State>)> {
        let records = self.records.state();
        let mut all: Vec<_> = records
            .iter()
            .filter_map(|record| {
                let admission = record.spec.admission.clone()?;
                let state = record.status.as_ref().and_then(|status| status.state);
                let name = (record.namespace()?, record.spec.job.name.clone());
                Some((admission.epoch, (name, admission.placement, state)))
            })
            .collect();
        all.sort_by_key(|(epoch, _)| *epoch);
        all.into_iter().map(|(_, admission)| admission).collect()
    }

    /// Every job on record.
    pub(crate) fn jobs(&self) -> BTreeSet<JobName> {
        let records = self.records.state();
        let names = records
            .iter()
            .filter_map(|record| Some((record.namespace()?, record.spec.job.name.clone())));
        names.collect()
    }

    /// Waits until a pod runs, or all are over: on a slow machine it is quiet before the next are let in.
    pub(crate) async fn until_any_runs(&self) {
        let deadline = Instant::now() + self.patience;
        while self.running().is_empty() && self.unfinished() > 0 {
            assert!(Instant::now() < deadline, "{:?}", self.reasons());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until more than so many jobs have been admitted, if any is left that could be.
    pub(crate) async fn until_more_than(&self, admitted: usize) {
        let deadline = Instant::now() + self.patience;
        let waits = |record: &Arc<QueuedJob>| record.spec.admission.is_none();
        while self.admissions().len() <= admitted && self.records.state().iter().any(waits) {
            assert!(Instant::now() < deadline, "{:?}", self.reasons());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until no pod has a device any more, by the kubelets, and none is bound, by the API server.
    pub(crate) async fn until_empty(&self) {
        let deadline = Instant::now() + self.patience;
        loop {
            let pods = self.pods.state();
            let bound = pods
                .iter()
                .filter(|pod| census::node_of(pod).is_some() && !census::is_over(pod));
            let (bound, granted) = (bound.count(), self.kubelet.grants().len());
            if bound + granted == 0 {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{bound} pods are bound, and {granted} have devices"
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Namespace, job, name and node of every pod that runs, in order.
    pub(crate) fn running(&self) -> Vec<Running> {
        let pods = self.pods.state();
        let running = pods.iter().filter(|pod| phase(pod) == "Running");
        let mut all: Vec<Running> = running.map(|pod| Running::of(pod)).collect();
        all.sort();
        all
    }

    /// How many pods are not over.
    pub(crate) fn unfinished(&self) -> usize {
        let records = self.records.state();
        let over = |r: &&Arc<QueuedJob>| {
            r.status.as_ref().and_then(|status| status.state) != Some(State::Finished)
        };
        records.iter().filter(over).count()
    }

    /// Why jobs wait, and how many for each reason.
    pub(crate) fn reasons(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for record in self.records.state() {
            let status = record.status.clone().unwrap_or_default();
            if status.state != Some(State::Finished) {
                *counts
                    .entry(format!("{}: {}", status.reason, status.message))
                    .or_default() += 1;
            }
        }
        counts
    }

    fn all_explained(&self) -> bool {
        let records = self.records.state();
        records
            .iter()
            .all(|record| record.status.as_ref().is_some_and(|s| s.state.is_some()))
    }
}

/// A pod that runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Running {
    pub(crate) namespace: String,
    /// The Job that made it; its own name if none did.
    pub(crate) job: String,
    pub(crate) index: usize,
    pub(crate) node: String,
    pub(crate) is_bare: bool,
}

impl Running {
    fn of(pod: &Pod) -> Self {
        let job = pod.labels().get("batch.kubernetes.io/job-name");
        let index = pod
            .annotations()
            .get("batch.kubernetes.io/job-completion-index");
        Self {
            namespace: pod.namespace().unwrap(),
            job: job.cloned().unwrap_or_else(|| pod.name_any()),
            index: index.map_or(0, |text| text.parse().unwrap()),
            node: census::node_of(pod).unwrap_or_default().to_owned(),
            is_bare: job.is_none(),
        }
    }
}

/// Keeps a copy of all objects of a kind, and notes when one changes.
fn follow<K>(client: &Client, watches: &mut JoinSet<()>, changed: &Arc<Mutex<Instant>>) -> Store<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .reflect(writer);
    let changed = Arc::clone(changed);
    watches.spawn(events.for_each(move |_| {
        *changed.lock().unwrap() = Instant::now();
        std::future::ready(())
    }));
    store
}
