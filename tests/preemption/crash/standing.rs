//! What stands in the cluster of a story, without what differs between any two: names, UIDs,
//! numbers of admissions, moments.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use prorata::api::labels::EPOCH;
use prorata::api::{QueuedJob, Tenant};
use prorata::translate::JOB_CONDITION;
use serde_json::{Value, json};

use super::{NAMESPACES, ROLES};
use crate::cluster::requests::{forget_what_always_differs, json as manifest};
use crate::outage::world::{World, phase};

/// Fields of objects that tell moments, or count changes.
const MOMENTS: [&str; 11] = [
    "at",
    "forecast",
    "lastTransitionTime",
    "lastProbeTime",
    "startTime",
    "completionTime",
    "deletionTimestamp",
    "generation",
    "observedGeneration",
    // Counted by Kubernetes while pods come and go.
    "uncountedTerminatedPods",
    "terminating",
];

/// Whoever takes over takes all jobs that it finds for new ones, and after those one that was evicted may
/// evict in turn: it waits for room like any other.
const LET_EVICT: [(&str, &str); 3] = [
    ("BackoffAfterPreemption", "CapacityFull"),
    ("it was evicted, and too little", "too little"),
    ("to start together again", "to start together"),
];

/// The objects of a story by kind and role: Jobs, records, pods, and what tenants show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing(BTreeMap<String, Value>);

impl Standing {
    /// As it is now; names of the story's objects end with `-{story}`.
    pub(super) async fn read(world: &World, story: &str) -> Self {
        let mut all = BTreeMap::new();
        for role in ROLES {
            let (namespace, name) = (namespace(role), format!("{role}-{story}"));
            let job = world.job(namespace, &name).await;
            let record = world.record(namespace, &name).await;
            let runs_by_record = epoch_of(&job) == record.as_ref().and_then(recorded);
            let record = record.map(|record| (record.spec, record.status));
            all.insert(format!("job {role}"), stored(&job));
            all.insert(format!("record {role}"), json!(record));
            all.insert(format!("runs by its record {role}"), json!(runs_by_record));
        }
        for namespace in NAMESPACES {
            let pods = world.pods(namespace).await;
            let told: BTreeMap<String, u32> =
                pods.iter()
                    .filter_map(place)
                    .fold(BTreeMap::new(), |mut told, place| {
                        *told.entry(place).or_default() += 1;
                        told
                    });
            all.insert(format!("pods in {namespace}"), json!(told));
        }
        let tenants: Api<Tenant> = Api::all(world.cluster.admin.clone());
        for tenant in tenants.list(&ListParams::default()).await.unwrap() {
            let name = tenant.metadata.name.clone().unwrap();
            all.insert(format!("tenant {name}"), json!(tenant.status));
        }
        Self::of(all, story)
    }

    /// What stands there, without what differs between any two stories.
    pub(super) fn of(mut all: BTreeMap<String, Value>, story: &str) -> Self {
        for value in all.values_mut() {
            forget_what_always_differs(value);
            forget(value, story);
        }
        let mut all = Self(all);
        all.number_admissions();
        all
    }

    /// Admissions by their order alone: one that a crash has kept from being recorded has a number
    /// as well.
    fn number_admissions(&mut self) {
        let mut numbers = BTreeSet::new();
        for value in self.0.values_mut() {
            epochs(value, &mut |epoch| _ = numbers.insert(*epoch));
        }
        let order: BTreeMap<i64, i64> = numbers.into_iter().zip(1..).collect();
        for value in self.0.values_mut() {
            epochs(value, &mut |epoch| *epoch = order[epoch]);
        }
    }

    /// What is another here than there, for people.
    pub(super) fn difference(&self, other: &Self) -> String {
        let keys: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let differing = keys
            .into_iter()
            .filter(|key| self.0.get(*key) != other.0.get(*key));
        let told = differing.map(|key| {
            let of = |all: &Self| serde_json::to_string_pretty(&all.0.get(key)).unwrap();
            format!("{key} is {}\nand was to be {}\n", of(self), of(other))
        });
        told.collect()
    }
}

/// Reasons of our Events about the Jobs of a story.
pub(super) async fn told(world: &World, story: &str) -> BTreeSet<(String, String)> {
    let mut told = BTreeSet::new();
    for role in ROLES {
        let name = format!("{role}-{story}");
        let events = world.events(namespace(role), &name).await;
        told.extend(
            events
                .into_iter()
                .map(|(reason, _)| (role.to_owned(), reason)),
        );
    }
    told
}

/// A Job, but for whether Kubernetes has seen that it was suspended before it was started. One that was
/// started late may never have waited as far as its new controller knows, and is told nothing then.
fn stored(job: &Job) -> Value {
    let mut job = manifest(job);
    let conditions = job["status"]["conditions"].as_array_mut();
    let is = |condition: &Value, kind: &str| condition["type"] == kind;
    if let Some(conditions) = conditions {
        let waits_no_more = |c: &Value| is(c, JOB_CONDITION) && c["status"] == "True";
        conditions.retain(|c| !is(c, "Suspended") && !waits_no_more(c));
    }
    job
}

/// The namespace of a role.
pub(super) fn namespace(role: &str) -> &'static str {
    if role == "claims" { "lab" } else { "red" }
}

/// Of which Job a pod is, where it is, and how far.
fn place(pod: &Pod) -> Option<String> {
    let labels = pod.metadata.labels.as_ref()?;
    let job = labels.get("batch.kubernetes.io/job-name")?;
    let node = pod.spec.as_ref()?.node_name.as_deref().unwrap_or("nowhere");
    let leaves = pod.metadata.deletion_timestamp.is_some();
    let (role, _) = job.rsplit_once('-')?;
    Some(format!(
        "{role} {} on {node}, leaving: {leaves}",
        phase(pod)
    ))
}

fn epoch_of(job: &Job) -> Option<i64> {
    job.metadata.annotations.as_ref()?.get(EPOCH)?.parse().ok()
}

fn recorded(record: &QueuedJob) -> Option<i64> {
    Some(record.spec.admission.as_ref()?.epoch)
}

/// Takes out of an object what differs between any two stories.
fn forget(value: &mut Value, story: &str) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !MOMENTS.contains(&key.as_str()));
            fields.values_mut().for_each(|value| forget(value, story));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| forget(item, story)),
        Value::String(text) => {
            *text = text.replace(&format!("-{story}"), "");
            for (after, before) in LET_EVICT {
                *text = text.replace(after, before);
            }
        }
        _ => {}
    }
}

/// Every number of an admission in an object.
fn epochs(value: &mut Value, seen: &mut impl FnMut(&mut i64)) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if [EPOCH, "epoch", "lastEpoch"].contains(&key.as_str()) {
                    let text = value.as_str().map(|text| text.parse().unwrap());
                    let mut epoch = text.or_else(|| value.as_i64()).unwrap();
                    seen(&mut epoch);
                    *value = json!(epoch);
                } else {
                    epochs(value, seen);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| epochs(item, seen)),
        _ => {}
    }
}
