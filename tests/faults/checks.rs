//! What must hold in the API server's own truth: at each change, and at the end.

use std::collections::BTreeMap;

use prorata::api::labels;
use serde_json::Value;

use super::batch::{is_over, owner};
use super::scheduler::{capacity, gpus};
use super::store::{Author, Change, Kind, Store, bool_at, has_condition, str_at, u64_at, uid};
use super::users::is_held;

/// What has been checked so far.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    until: usize,
    /// Whose each epoch is.
    epochs: BTreeMap<u64, String>,
}

impl Checks {
    /// Checks everything that has happened since the last time.
    pub(crate) fn look(&mut self, store: &Store) {
        let mut room_changes = false;
        for change in &store.log[self.until..] {
            match change.key.kind {
                Kind::Job => starts_by_its_record(store, change),
                Kind::QueuedJob => self.epoch_is_its_own(change),
                _ => {}
            }
            room_changes |= matches!(change.key.kind, Kind::QueuedJob | Kind::Pod);
        }
        self.until = store.log.len();
        if room_changes {
            nothing_is_given_twice(store);
        }
    }

    fn epoch_is_its_own(&mut self, change: &Change) {
        let Some(record) = &change.after else {
            return;
        };
        let epoch = u64_at(record, "/spec/admission/epoch");
        let job = str_at(record, "/spec/job/uid");
        if epoch > 0 {
            let known = self.epochs.entry(epoch).or_insert_with(|| job.to_owned());
            assert_eq!(known, job, "two jobs have the admission of epoch {epoch}");
        }
    }
}

/// Whoever starts a Job has put its admission on record before, and no user holds it.
fn starts_by_its_record(store: &Store, change: &Change) {
    let (Some(before), Some(after)) = (&change.before, &change.after) else {
        return;
    };
    let starts = bool_at(before, "/spec/suspend") && !bool_at(after, "/spec/suspend");
    if !starts {
        return;
    }
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

/// The epoch that last started a Job.
fn epoch(job: &Value) -> u64 {
    let text = job["metadata"]["annotations"][labels::EPOCH].as_str();
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The record of a Job as it was.
fn record(store: &Store, version: u64, job: &str) -> Option<super::store::Object> {
    let until = usize::try_from(version).unwrap();
    let mut log = store.log[..until].iter().rev();
    let theirs = |change: &&Change| {
        let object = change.after.as_ref().or(change.before.as_ref()).unwrap();
        change.key.kind == Kind::QueuedJob && str_at(object, "/spec/job/uid") == job
    };
    log.find(theirs)?.after.clone()
}

/// On each node: the pods that hold GPUs, and the places of admissions in force whose pods are
/// still to come, are together no more than there are.
fn nothing_is_given_twice(store: &Store) {
    let places = places(store);
    for (key, node) in store.all(Kind::Node) {
        let mut held: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, pod) in store.all(Kind::Pod) {
            if str_at(pod, "/spec/nodeName") == key.name && !is_over(pod) {
                *held.entry(owner(pod)).or_default() += gpus(pod);
            }
        }
        let taken: u64 = held.values().sum();
        assert!(
            taken <= capacity(node),
            "node {}: pods hold {taken} GPUs: {held:?}",
            key.name
        );
        for ((name, job), gpus) in &places {
            if *name == key.name {
                let holds = held.entry(job).or_default();
                *holds = (*holds).max(*gpus);
            }
        }
        let given: u64 = held.values().sum();
        assert!(
            given <= capacity(node),
            "node {}: {given} GPUs are given: {held:?}",
            key.name
        );
    }
}

/// The GPUs of admissions in force, by node and Job.
fn places(store: &Store) -> BTreeMap<(String, String), u64> {
    let mut places = BTreeMap::new();
    for (_, record) in store.all(Kind::QueuedJob) {
        let job = str_at(record, "/spec/job/uid");
        let Some((_, object)) = store.find(Kind::Job, job) else {
            continue;
        };
        let admitted = u64_at(record, "/spec/admission/epoch");
        let stopped = bool_at(object, "/spec/suspend") && epoch(object) == admitted;
        if stopped || has_condition(object, "Complete") {
            continue;
        }
        let gpus = gpus(&object["spec"]["template"]);
        let slots = record
            .pointer("/spec/admission/placement")
            .and_then(Value::as_array);
        for slot in slots.into_iter().flatten() {
            let node = str_at(slot, "/node").to_owned();
            *places.entry((node, job.to_owned())).or_default() += gpus;
        }
    }
    places
}

/// What is still to come: nothing once every Job is complete, and on record as finished.
pub(crate) fn unfinished(store: &Store) -> Option<String> {
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
