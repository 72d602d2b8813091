//! Everything that was stored of Jobs, their records and their pods, in the order in which etcd has it:
//! what is on record never adds up to more GPUs than a node has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource, ResourceExt as _};
use prorata::api::QueuedJob;
use prorata::api::labels::EPOCH;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::outage::world::{is_complete, node, phase};

/// What a node has.
const GPUS: usize = 4;

/// What has been seen: of Jobs of which each pod has one GPU.
#[derive(Default)]
struct Seen {
    /// With the version of each.
    states: Vec<(u64, State)>,
    /// From which version until which something may have been missed: a watch that is too old for the API
    /// server starts from a list, and knows no more what came before it.
    missed: Vec<(u64, u64)>,
    /// The newest version that each watch has told, by kind.
    newest: BTreeMap<String, u64>,
}

/// What an object says.
enum State {
    /// The UID of its Job, and what it has been given.
    Record(String, Option<Given>),
    /// Its UID, and whether it has a claim to what the admission of this number gave it.
    Job(String, i64, bool),
    /// Its own UID, its Job's, and where it runs; nothing where it does not.
    Pod(String, String, Option<String>),
    /// The UID of an object that is deleted.
    Gone(String),
}

/// An admission: its number, its places by node, and whether it is to leave them.
#[derive(Clone, Debug)]
struct Given {
    epoch: i64,
    nodes: BTreeMap<String, usize>,
    leaves: bool,
}

/// Follows what is stored until it is dropped.
pub(crate) struct History {
    seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

impl History {
    /// Begins with what there is.
    pub(crate) fn begin(client: &Client) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(client.clone(), Arc::clone(&seen), record));
        tasks.spawn(follow(client.clone(), Arc::clone(&seen), job));
        tasks.spawn(follow(client.clone(), Arc::clone(&seen), pod));
        Self {
            seen,
            _tasks: tasks,
        }
    }

    /// Goes through all of it in its order, as far as every watch has come. How many admissions it has
    /// looked at, and how many there were.
    pub(crate) fn assert_nothing_is_given_twice(&self) -> [usize; 2] {
        let mut seen = self.seen.lock().unwrap();
        seen.states.sort_by_key(|(version, _)| *version);
        let all = *seen.newest.values().min().unwrap();
        let (mut now, mut checked) = (Now::default(), 0);
        let (mut admissions, mut all_admissions) = (BTreeSet::new(), BTreeSet::new());
        for (version, state) in &seen.states {
            now.change(state);
            if let State::Record(_, Some(given)) = state {
                all_admissions.insert(given.epoch);
            }
            let is_known = |(from, until): &(u64, u64)| version <= from || version > until;
            if *version > all || !seen.missed.iter().all(is_known) {
                continue;
            }
            if let State::Record(_, Some(given)) = state {
                admissions.insert(given.epoch);
            }
            now.check(*version);
            checked += 1;
        }
        eprintln!(
            "{checked} of {} states, {} admissions, unseen {:?}",
            seen.states.len(),
            admissions.len(),
            seen.missed
        );
        [admissions.len(), all_admissions.len()]
    }
}

/// Notes each state of each object of a kind.
async fn follow<K>(client: Client, seen: Arc<Mutex<Seen>>, state: fn(&K) -> Option<State>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let events = watcher(Api::<K>::all(client), watcher::Config::default());
    let mut events = pin!(events.default_backoff());
    let kind = K::kind(&()).into_owned();
    // What there is as far as this watch knows, and what a list that is being read has of it.
    let (mut known, mut listed) = (BTreeSet::<String>::new(), BTreeSet::new());
    // What it had told when that list was begun.
    let mut told = None;
    while let Some(event) = events.next().await {
        let Ok(event) = event else {
            continue;
        };
        let mut seen = seen.lock().unwrap();
        match event {
            Event::Init => {
                listed.clear();
                told = seen.newest.get(&kind).copied();
            }
            Event::InitApply(object) => {
                listed.insert(object.uid().unwrap());
                seen.tell(&kind, version(&object), state(&object));
            }
            Event::InitDone => {
                let now = seen.states.iter().map(|(version, _)| *version).max();
                let now = now.unwrap_or_default();
                seen.missed.extend(told.map(|told| (told, now)));
                for uid in known.difference(&listed) {
                    seen.tell(&kind, now, Some(State::Gone(uid.clone())));
                }
                known.clone_from(&listed);
            }
            Event::Apply(object) => {
                known.insert(object.uid().unwrap());
                seen.tell(&kind, version(&object), state(&object));
            }
            Event::Delete(object) => {
                let uid = object.uid().unwrap();
                known.remove(&uid);
                seen.tell(&kind, version(&object), Some(State::Gone(uid)));
            }
        }
    }
}

fn version(object: &impl Resource) -> u64 {
    object
        .meta()
        .resource_version
        .as_ref()
        .unwrap()
        .parse()
        .unwrap()
}

impl Seen {
    fn tell(&mut self, kind: &str, version: u64, state: Option<State>) {
        let newest = self.newest.entry(kind.to_owned()).or_default();
        *newest = version.max(*newest);
        self.states.extend(state.map(|state| (version, state)));
    }
}

fn record(record: &QueuedJob) -> Option<State> {
    let spec = &record.spec;
    let given = spec.admission.as_ref().map(|admission| {
        let mut nodes = BTreeMap::new();
        for place in &admission.placement {
            *nodes.entry(place.node.clone()).or_default() += 1;
        }
        let leaves = |eviction: &prorata::api::Eviction| eviction.epoch == admission.epoch;
        Given {
            epoch: admission.epoch,
            nodes,
            leaves: spec.eviction.as_ref().is_some_and(leaves),
        }
    });
    Some(State::Record(spec.job.uid.clone(), given))
}

/// One that has been stopped again has only what its pods still have.
fn job(job: &Job) -> Option<State> {
    let epoch = job.annotations().get(EPOCH);
    let epoch = epoch.map_or(0, |text| text.parse().unwrap());
    let is_stopped = job.spec.as_ref()?.suspend == Some(true);
    Some(State::Job(
        job.uid()?,
        epoch,
        !is_stopped && !is_complete(job),
    ))
}

fn pod(pod: &Pod) -> Option<State> {
    let owner = pod.owner_references().first()?.uid.clone();
    let is_over = matches!(phase(pod), "Succeeded" | "Failed");
    let on = node(pod).filter(|_| !is_over).map(str::to_owned);
    Some(State::Pod(pod.uid()?, owner, on))
}

/// What is stored at a moment.
#[derive(Default)]
struct Now {
    given: BTreeMap<String, Given>,
    /// By Job: the admission that last started or stopped it, and whether it runs by it.
    jobs: BTreeMap<String, (i64, bool)>,
    /// By Job and pod: where it runs, if it does.
    pods: BTreeMap<String, BTreeMap<String, Option<String>>>,
}

impl Now {
    fn change(&mut self, state: &State) {
        match state {
            State::Record(job, Some(given)) => _ = self.given.insert(job.clone(), given.clone()),
            State::Record(job, None) => _ = self.given.remove(job),
            State::Job(job, epoch, runs) => _ = self.jobs.insert(job.clone(), (*epoch, *runs)),
            State::Pod(pod, job, on) => {
                let of_job = self.pods.entry(job.clone()).or_default();
                of_job.insert(pod.clone(), on.clone());
            }
            State::Gone(object) => {
                for pods in self.pods.values_mut() {
                    pods.remove(object);
                }
            }
        }
    }

    /// Places on record count until the last pod that they are for is over.
    fn check(&self, version: u64) {
        let mut held: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
        for (job, given) in &self.given {
            let places: usize = given.nodes.values().sum();
            let over = self
                .pods
                .get(job)
                .map_or(0, |pods| pods.values().filter(|on| on.is_none()).count());
            let (epoch, runs) = self.jobs.get(job).copied().unwrap_or_default();
            let is_over = epoch == given.epoch && (!runs || over >= places);
            if !given.leaves && !is_over {
                for (node, count) in &given.nodes {
                    held.entry(node).or_default().insert(job, *count);
                }
            }
        }
        for (job, pods) in &self.pods {
            let mut on: BTreeMap<&str, usize> = BTreeMap::new();
            for node in pods.values().flatten() {
                *on.entry(node).or_default() += 1;
            }
            for (node, count) in on {
                let of_job = held.entry(node).or_default().entry(job).or_default();
                *of_job = (*of_job).max(count);
            }
        }
        for (node, jobs) in held {
            let gpus: usize = jobs.values().sum();
            assert!(
                gpus <= GPUS,
                "{gpus} GPUs of {node} are given at version {version}: {jobs:?}"
            );
        }
    }
}
