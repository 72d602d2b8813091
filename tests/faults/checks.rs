//! What must hold in the API server's own truth: at each change, and at the end.

use std::collections::{BTreeMap, BTreeSet};

use prorata::api::labels;
use serde_json::Value;

use super::batch::{is_over, owner};
use super::faults::Faults;
use super::scheduler::{capacity, gpus};
use super::sets;
use super::store::{
    Author, Change, Key, Kind, Object, Store, bool_at, has_condition, str_at, u64_at, uid,
};
use super::users::{FREE, is_held};
use super::wire::{Knew, Sent};

/// What has been checked so far.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    until: usize,
    /// The places of each admission, by its job and epoch.
    admissions: BTreeMap<(String, u64), Value>,
    /// Admissions by which a pod that waited by itself has found its place elsewhere, by job and epoch:
    /// what is held for it is no longer what its record says.
    moved: BTreeSet<(String, u64)>,
    /// Since which version each node has been ready.
    ready: BTreeMap<Key, u64>,
    /// Up to which version whoever has just started a Job knew nodes, by the version of that.
    knew: BTreeMap<u64, u64>,
    /// Whether nobody acts on what is long past, and whether besides everybody hears of nodes in time.
    is_recent: bool,
    hears_of_nodes: bool,
}

impl Checks {
    /// Nothing has been checked yet.
    pub(crate) fn new(faults: &Faults) -> Self {
        Self {
            is_recent: faults.are_recent(),
            hears_of_nodes: faults.let_nodes_be_heard_of(),
            ..Self::default()
        }
    }

    /// Checks everything that has happened since the last time.
    pub(crate) fn look(&mut self, store: &Store) {
        let mut room_changes = false;
        for change in &store.log[self.until..] {
            match change.key.kind {
                Kind::Job => self.starts_as_it_may(store, change),
                Kind::QueuedJob => {
                    self.keeps_its_places(change);
                    keeps_what_runs(store, change);
                    counts_each_eviction(change);
                }
                Kind::Pod => self.moved.extend(moved(store, change)),
                Kind::Node => self.becomes_ready(change),
                _ => {}
            }
            room_changes |= matches!(change.key.kind, Kind::QueuedJob | Kind::Pod);
        }
        self.until = store.log.len();
        self.knew.clear();
        if room_changes {
            self.nothing_is_given_twice(store);
        }
    }

    /// Notes what the process knew that has made this change.
    pub(crate) fn sent(&mut self, change: &Change, knew: Knew) {
        self.knew.insert(change.version, knew.nodes);
    }

    /// Notes since when a node is ready.
    fn becomes_ready(&mut self, change: &Change) {
        let is_ready = |node: &Object| has_condition(node, "Ready");
        let was_ready = change.before.as_ref().is_some_and(is_ready);
        if !was_ready && change.after.as_ref().is_some_and(is_ready) {
            self.ready.insert(change.key.clone(), change.version);
        }
    }

    /// A Job starts by its record, and when Kubernetes has ended what it had before: on each node of
    /// which whoever starts it has heard that it is ready.
    fn starts_as_it_may(&self, store: &Store, change: &Change) {
        let (Some(before), Some(after)) = (&change.before, &change.after) else {
            return;
        };
        if !bool_at(before, "/spec/suspend") || bool_at(after, "/spec/suspend") {
            return;
        }
        starts_by_its_record(store, change);
        let knew = self.knew[&change.version];
        let holds = |pod: &Value| {
            let node_key = super::scheduler::node_key(str_at(pod, "/spec/nodeName"));
            let is_near = store.get(&node_key).is_some_and(|node| {
                let since = self.ready.get(&node_key).copied().unwrap_or_default();
                has_condition(node, "Ready") && since <= knew && is_bound_to(store, pod, node)
            });
            owner(pod) == uid(after) && is_near && !is_over(pod)
        };
        // What has just been started has none of its own yet.
        let is_new = change.version == store.version();
        let mut pods = store.all(Kind::Pod).filter(|_| self.is_recent && is_new);
        let left = pods.find(|(_, pod)| holds(pod));
        assert!(
            left.is_none(),
            "{:?} is started before {left:?} has ended",
            change.key
        );
    }

    /// The places of an admission never change.
    fn keeps_its_places(&mut self, change: &Change) {
        let Some(record) = &change.after else {
            return;
        };
        let epoch = u64_at(record, "/spec/admission/epoch");
        if epoch > 0 {
            let admission = (str_at(record, "/spec/job/uid").to_owned(), epoch);
            let places = &record["spec"]["admission"]["placement"];
            let known = self
                .admissions
                .entry(admission)
                .or_insert_with(|| places.clone());
            assert_eq!(
                known, places,
                "the places of epoch {epoch} of {:?}",
                change.key
            );
        }
    }

    /// On each node the pods have no more GPUs than there are; nor, where nobody acts on what is not so
    /// any more, do they together with the places of admissions in force whose pods are still to come.
    fn nothing_is_given_twice(&self, store: &Store) {
        let places = places(store, &self.moved);
        for (key, node) in store.all(Kind::Node) {
            let mut held: BTreeMap<&str, u64> = BTreeMap::new();
            let mut strangers = 0;
            for (pod_key, pod) in store.all(Kind::Pod) {
                if str_at(pod, "/spec/nodeName") == key.name && !is_over(pod) {
                    // kube-scheduler may have chosen room for them that was free then.
                    match pod_key.namespace == FREE || self.has_moved(store, pod_key, pod) {
                        true => strangers += gpus(pod),
                        false => *held.entry(holder(pod)).or_default() += gpus(pod),
                    }
                }
            }
            let taken = held.values().sum::<u64>() + strangers;
            let all = capacity(node);
            assert!(
                taken <= all,
                "node {}: pods have {taken} GPUs: {held:?}",
                key.name
            );
            for ((name, job), gpus) in places.iter().filter(|_| self.hears_of_nodes) {
                if *name == key.name {
                    let holds = held.entry(job).or_default();
                    *holds = (*holds).max(*gpus);
                }
            }
            let given: u64 = held.values().sum();
            assert!(
                given <= all,
                "node {}: {given} GPUs are given: {held:?}",
                key.name
            );
        }
    }

    /// Whether a pod waited by itself, and it or another of its set has found its place elsewhere:
    /// kube-scheduler takes any node for them whose room is free, as for a stranger.
    fn has_moved(&self, store: &Store, key: &Key, pod: &Value) -> bool {
        own_record(store, key, pod).is_some_and(|record| {
            let job = str_at(record, "/spec/job/uid").to_owned();
            let admission = (job, u64_at(record, "/spec/admission/epoch"));
            self.moved.contains(&admission)
        })
    }
}

/// Nobody overwrites what another has put on record before whoever sent this heard of it.
pub(crate) fn nothing_is_overwritten_unseen(store: &Store, change: &Change, sent: &Sent) {
    let Some(before) = &change.before else {
        return;
    };
    let version = str_at(before, "/metadata/resourceVersion");
    let version: usize = version.parse().unwrap();
    let is_known = version as u64 <= sent.knew.records || store.log[version - 1].by == change.by;
    let is_told = change.key.kind != Kind::QueuedJob || is_known;
    assert!(
        is_told,
        "{:?} overwrites what {:?} says by {:?}",
        change.by,
        change.key,
        store.log[version - 1].by
    );
}

/// While a Job runs by an admission, that is on record.
fn keeps_what_runs(store: &Store, change: &Change) {
    let (Some(before), Some(after)) = (&change.before, &change.after) else {
        return;
    };
    let admitted = "/spec/admission/epoch";
    let (was, is) = (u64_at(before, admitted), u64_at(after, admitted));
    let job = object(
        store,
        change.version,
        Kind::Job,
        str_at(before, "/spec/job/uid"),
    );
    let runs = |job: &Object| {
        !bool_at(job, "/spec/suspend") && epoch(job) == was && !has_condition(job, "Complete")
    };
    assert!(
        was == is || !job.as_ref().is_some_and(runs),
        "{:?} runs by epoch {was}, and its record says {is}",
        change.key
    );
}

/// However often a controller ends, none of the times that a job had to leave is forgotten.
fn counts_each_eviction(change: &Change) {
    let (Some(before), Some(after)) = (&change.before, &change.after) else {
        return;
    };
    let (count, ended) = ("/spec/evictions", "/spec/eviction/epoch");
    let ends = u64_at(after, ended);
    let leaves_anew = ends > 0
        && ends == u64_at(before, "/spec/admission/epoch")
        && ends != u64_at(before, ended);
    assert_eq!(
        u64_at(after, count),
        u64_at(before, count) + u64::from(leaves_anew),
        "evictions of {:?}",
        change.key
    );
}

/// Whoever starts a Job has put its admission on record before, and no user holds it.
fn starts_by_its_record(store: &Store, change: &Change) {
    let (Some(before), Some(after)) = (&change.before, &change.after) else {
        return;
    };
    assert!(
        matches!(change.by, Author::Controller(_)),
        "only the queue starts {:?}",
        change.key
    );
    assert!(
        !is_held(before),
        "{:?} was held, and is started",
        change.key
    );
    let epoch = epoch(after);
    let recorded = record(store, change.version, uid(after));
    let admitted = recorded
        .as_ref()
        .map(|record| u64_at(record, "/spec/admission/epoch"));
    assert_eq!(
        admitted,
        Some(epoch),
        "{:?} is started by an admission that is not on record",
        change.key
    );
}

/// Whether a pod was bound to this very node: one that was deleted and made anew runs nothing of what
/// was bound before.
fn is_bound_to(store: &Store, pod: &Value, node: &Value) -> bool {
    let mut backwards = store.log.iter().rev();
    let newest = backwards.find(|change| {
        let (before, after) = (&change.before, &change.after);
        let of = |object: &Value| after.as_ref().is_some_and(|a| uid(a) == uid(object));
        let is_bound = |o: &Object| !str_at(o, "/spec/nodeName").is_empty();
        let was_bound = before.as_ref().is_some_and(is_bound);
        match change.key.kind {
            Kind::Node => before.is_none() && of(node),
            Kind::Pod => !was_bound && after.as_ref().is_some_and(is_bound) && of(pod),
            _ => false,
        }
    });
    newest.is_some_and(|change| change.key.kind == Kind::Pod)
}

/// The epoch that last started a Job.
fn epoch(job: &Value) -> u64 {
    let text = job["metadata"]["annotations"][labels::EPOCH].as_str();
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// An object of this UID as it was.
fn object(store: &Store, version: u64, kind: Kind, of: &str) -> Option<Object> {
    let until = usize::try_from(version).unwrap();
    let mut log = store.log[..until].iter().rev();
    let theirs = |change: &&Change| {
        let object = change.after.as_ref().or(change.before.as_ref()).unwrap();
        change.key.kind == kind && uid(object) == of
    };
    log.find(theirs)?.after.clone()
}

/// The record of a Job as it was.
fn record(store: &Store, version: u64, job: &str) -> Option<Object> {
    let until = usize::try_from(version).unwrap();
    let mut log = store.log[..until].iter().rev();
    let theirs = |change: &&Change| {
        let object = change.after.as_ref().or(change.before.as_ref()).unwrap();
        change.key.kind == Kind::QueuedJob && str_at(object, "/spec/job/uid") == job
    };
    log.find(theirs)?.after.clone()
}

/// Whether a pod that waited by itself is on a node where it has no place.
fn is_elsewhere(store: &Store, key: &Key, pod: &Value) -> bool {
    let slots = own_record(store, key, pod)
        .and_then(|record| record["spec"]["admission"]["placement"].as_array());
    slots.is_some_and(|slots| {
        let mut nodes = slots.iter().map(|slot| str_at(slot, "/node"));
        nodes.all(|node| node != str_at(pod, "/spec/nodeName"))
    })
}

/// The record of a pod that waits by itself, alone or in its set.
fn own_record<'a>(store: &'a Store, key: &Key, pod: &Value) -> Option<&'a Object> {
    let is_its_own = |(record_key, record): &(&Key, &Object)| {
        let set = sets::holder(pod).is_some_and(|set| str_at(record, "/spec/job/name") == set);
        record_key.namespace == key.namespace
            && (set || str_at(record, "/spec/job/uid") == uid(pod))
    };
    let record = store.all(Kind::QueuedJob).find(is_its_own);
    record.map(|(_, record)| record)
}

/// The admission by which this pod was let go, if it has found its place elsewhere.
fn moved(store: &Store, change: &Change) -> Option<(String, u64)> {
    let pod = change.after.as_ref()?;
    let has_node = !str_at(pod, "/spec/nodeName").is_empty();
    let record = own_record(store, &change.key, pod)?;
    let job = str_at(record, "/spec/job/uid").to_owned();
    let is_moved = has_node && is_elsewhere(store, &change.key, pod);
    is_moved.then(|| (job, u64_at(record, "/spec/admission/epoch")))
}

/// UID of the job that a pod is of, or is itself.
fn holder(pod: &Value) -> &str {
    if let Some(set) = sets::holder(pod) {
        return set;
    }
    match owner(pod) {
        "" => uid(pod),
        job => job,
    }
}

/// The GPUs of admissions in force, by node and job. One that is on record to leave has no more than
/// its pods: none of it comes to the places that are still free, which may be another's by then.
fn places(store: &Store, moved: &BTreeSet<(String, u64)>) -> BTreeMap<(String, String), u64> {
    let mut places = BTreeMap::new();
    for (_, record) in store.all(Kind::QueuedJob) {
        let uid = str_at(record, "/spec/job/uid");
        let admitted = u64_at(record, "/spec/admission/epoch");
        if moved.contains(&(uid.to_owned(), admitted)) {
            continue;
        }
        let gpus = if let Some((_, job)) = store.find(Kind::Job, uid) {
            let stopped = bool_at(job, "/spec/suspend") && epoch(job) == admitted;
            let leaves = u64_at(record, "/spec/eviction/epoch") == admitted;
            if stopped || leaves || has_condition(job, "Complete") {
                continue;
            }
            gpus(&job["spec"]["template"])
        } else if let Some((_, pod)) = store.find(Kind::Pod, uid).filter(|(_, pod)| !is_over(pod)) {
            let leaves = u64_at(record, "/spec/eviction/epoch") == admitted;
            // It may have found its place elsewhere.
            if leaves || !str_at(pod, "/spec/nodeName").is_empty() {
                continue;
            }
            gpus(pod)
        } else {
            set_places(store, record, &mut places);
            continue;
        };
        let slots = &record["spec"]["admission"]["placement"];
        for slot in slots.as_array().into_iter().flatten() {
            let node = str_at(slot, "/node").to_owned();
            *places.entry((node, uid.to_owned())).or_default() += gpus;
        }
    }
    places
}

/// The same of a set.
fn set_places(store: &Store, record: &Value, places: &mut BTreeMap<(String, String), u64>) {
    let admitted = u64_at(record, "/spec/admission/epoch");
    let slots = record["spec"]["admission"]["placement"].as_array();
    let slots: Vec<&str> = slots
        .into_iter()
        .flatten()
        .map(|s| str_at(s, "/node"))
        .collect();
    let name = str_at(record, "/spec/job/name");
    let pods = store.all(Kind::Pod).map(|(_, pod)| pod);
    let pods: Vec<_> = pods
        .filter(|p| sets::holder(p) == Some(name) && !is_over(p))
        .collect();
    let leaves = u64_at(record, "/spec/eviction/epoch") == admitted;
    if leaves || pods.is_empty() {
        return;
    }
    for slot in slots {
        *places
            .entry((slot.to_owned(), name.to_owned()))
            .or_default() += gpus(pods[0]);
    }
}

/// What is still to come: nothing once every job is complete, and on record as finished.
pub(crate) fn unfinished(store: &Store) -> Option<String> {
    let alone = |pod: &Value| owner(pod).is_empty() && !is_over(pod);
    if let Some((key, _)) = store.all(Kind::Pod).find(|(_, pod)| alone(pod)) {
        return Some(format!("pod {}/{} is not over", key.namespace, key.name));
    }
    for (key, job) in store.all(Kind::Job) {
        if !has_condition(job, "Complete") {
            return Some(format!("{}/{} is not complete", key.namespace, key.name));
        }
        let mut records = store.all(Kind::QueuedJob).map(|(_, record)| record);
        let record = records.find(|record| str_at(record, "/spec/job/uid") == uid(job));
        let stands = record.map_or("", |record| str_at(record, "/status/state"));
        if stands != "Finished" {
            return Some(format!(
                "{}/{} is complete, and its record says `{stands}`",
                key.namespace, key.name
            ));
        }
    }
    None
}
