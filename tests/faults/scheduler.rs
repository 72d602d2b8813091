//! kube-scheduler, as a model: it counts what nodes have and pods ask for, asks the extender, and
//! binds a moment later.

use std::collections::BTreeMap;

use prorata::api::extender_v1::Args;
use prorata::api::labels;
use serde_json::{Value, json};

use super::batch::{is_over, owner};
use super::process::{GPU, Process};
use super::random::Random;
use super::store::{
    Author, Key, Kind, Store, bool_at, has_condition, key, set_condition, str_at, uid,
};

const BY: Author = Author::Kubernetes;

#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    /// When a pod is tried again, and how often it was, by UID.
    later: BTreeMap<String, (u64, u32)>,
    /// Pods that could not be placed, and until when they are not tried again unless something
    /// happens in the cluster that may help, by UID.
    parked: BTreeMap<String, u64>,
    /// Changes that it has heard of.
    heard: usize,
    /// Pods that are about to be bound.
    bindings: Vec<Binding>,
    /// Pods without a node that may have one, by key and UID, as of a version.
    waiting: (u64, Vec<(Key, String)>),
}

/// A pod that is about to be bound.
#[derive(Debug)]
struct Binding {
    pod: Key,
    uid: String,
    node: String,
    at_ms: u64,
}

fn waits(pod: &Value) -> bool {
    let gates = pod["spec"]["schedulingGates"].as_array();
    str_at(pod, "/spec/nodeName").is_empty()
        && !is_over(pod)
        && pod["metadata"]["deletionTimestamp"].is_null()
        && gates.is_none_or(Vec::is_empty)
}

/// What nothing has happened for is tried again after this long all the same.
const FLUSH_MS: u64 = 300_000;

impl Scheduler {
    /// The pods to place.
    pub(crate) fn due(&mut self, store: &Store) -> Vec<Key> {
        self.hear(store);
        if self.waiting.0 != store.version() {
            let waiting = store.all(Kind::Pod).filter(|(_, pod)| waits(pod));
            let waiting = waiting.map(|(key, pod)| (key.clone(), uid(pod).to_owned()));
            self.waiting = (store.version(), waiting.collect());
        }
        let is_due = |(key, uid): &&(Key, String)| {
            let (later, _) = self.later.get(uid).copied().unwrap_or_default();
            let parked = self.parked.get(uid).copied().unwrap_or_default();
            let is_bound = self.bindings.iter().any(|binding| binding.pod == *key);
            later.max(parked) <= store.now_ms && !is_bound
        };
        let due = self.waiting.1.iter().filter(is_due);
        due.map(|(key, _)| key.clone()).collect()
    }

    /// Tries those again for which something may have changed: a node, a pod on one, or what the pod
    /// itself says.
    fn hear(&mut self, store: &Store) {
        for change in &store.log[self.heard..] {
            let (before, after) = (change.before.as_deref(), change.after.as_deref());
            let has_node = |pod: &Value| !str_at(pod, "/spec/nodeName").is_empty();
            match change.key.kind {
                Kind::Node => self.parked.clear(),
                Kind::Pod if before.is_some_and(has_node) || after.is_some_and(has_node) => {
                    self.parked.clear();
                }
                Kind::Pod => {
                    let said =
                        |pod: &Value| (pod["spec"].clone(), pod["metadata"]["annotations"].clone());
                    if before.map(said) != after.map(said) {
                        after.map(|pod| self.parked.remove(uid(pod)));
                    }
                }
                _ => {}
            }
        }
        self.heard = store.log.len();
    }

    /// The bindings whose time has come.
    pub(crate) fn bindings_due(&self, now_ms: u64) -> Vec<usize> {
        let all = self.bindings.iter().enumerate();
        all.filter_map(|(index, binding)| (binding.at_ms <= now_ms).then_some(index))
            .collect()
    }

    /// Looks for a node for a pod. So many out of a thousand are bound late.
    pub(crate) fn place(
        &mut self,
        store: &mut Store,
        key: &Key,
        extender: Option<&Process>,
        random: &mut Random,
        binds_late: u64,
    ) {
        let pod = store.get(key).unwrap().clone();
        let fitting: Vec<String> = store
            .all(Kind::Node)
            .filter(|(_, node)| self.fits(store, &pod, node))
            .map(|(node, _)| node.name.clone())
            .collect();
        let answer = match extender {
            _ if fitting.is_empty() => Ok(Vec::new()),
            None => Err("nobody answers".to_owned()),
            Some(process) => process.filter(&args(&pod, &fitting)),
        };
        let (_, tries) = self.later.get(uid(&pod)).copied().unwrap_or_default();
        let wait = random.between(100, 1000) << tries.min(4);
        let later = (store.now_ms + wait, tries + 1);
        self.later.insert(uid(&pod).to_owned(), later);
        match answer {
            Ok(names) if !names.is_empty() => {
                let node = random.pick(&names).clone();
                assert!(
                    fitting.contains(&node),
                    "the extender names a node that was not asked about"
                );
                let late = match random.chance(binds_late) {
                    true => random.between(500, 10_000),
                    false => 0,
                };
                self.bindings.push(Binding {
                    pod: key.clone(),
                    uid: uid(&pod).to_owned(),
                    node,
                    at_ms: store.now_ms + late,
                });
            }
            Ok(_) => {
                assert!(
                    !has_a_place(store, &pod, &fitting),
                    "{key:?} has its place, and is refused until something else happens"
                );
                let until = store.now_ms + FLUSH_MS;
                self.parked.insert(uid(&pod).to_owned(), until);
                refuse(store, key, "Unschedulable", "0/3 nodes are available");
            }
            Err(_) => refuse(store, key, "SchedulerError", "the extender does not answer"),
        }
    }

    /// Whether a node has what a pod asks for, and may have it.
    fn fits(&self, store: &Store, pod: &Value, node: &Value) -> bool {
        let name = str_at(node, "/metadata/name");
        let is_open = has_condition(node, "Ready") && !bool_at(node, "/spec/unschedulable");
        let about_to = self.bindings.iter().filter(|b| b.node == name);
        let about_to = about_to.filter_map(|b| Some(gpus(store.get(&b.pod)?)));
        let taken: u64 = taken(store, name) + about_to.sum::<u64>();
        is_open && names(pod, name) && taken + gpus(pod) <= capacity(node)
    }

    /// Binds a pod that was to be bound.
    pub(crate) fn bind(&mut self, store: &mut Store, binding: usize) {
        let Binding {
            pod: key,
            uid,
            node,
            ..
        } = self.bindings.remove(binding);
        let pod = store.get(&key).filter(|pod| self::uid(pod) == uid);
        let is_there =
            pod.is_some_and(|pod| pod["metadata"]["deletionTimestamp"].is_null() && !is_over(pod));
        if is_there {
            store.edit(&key, BY, |pod| {
                pod["spec"]["nodeName"] = node.into();
                set_condition(pod, json!({"type": "PodScheduled", "status": "True"}));
            });
        }
    }
}

/// Whether a pod is of a Job that runs by the admission on record, and kube-scheduler has nothing
/// against any of its nodes.
fn has_a_place(store: &Store, pod: &Value, fitting: &[String]) -> bool {
    let Some((_, job)) = store.find(Kind::Job, owner(pod)) else {
        return false;
    };
    let affinity = "/spec/affinity";
    let is_of_this_start = job["spec"]["template"].pointer(affinity) == pod.pointer(affinity);
    if bool_at(job, "/spec/suspend") || !is_of_this_start {
        return false;
    }
    let admission = store.all(Kind::QueuedJob).find_map(|(_, record)| {
        (str_at(record, "/spec/job/uid") == uid(job)).then(|| &record["spec"]["admission"])
    });
    let started_by = job["metadata"]["annotations"][labels::EPOCH].as_str();
    let admission = admission.filter(|a| started_by == Some(&a["epoch"].to_string()));
    let places = admission.and_then(|admission| admission["placement"].as_array());
    places.is_some_and(|places| {
        let mut nodes = places.iter().map(|place| str_at(place, "/node"));
        nodes.all(|node| fitting.iter().any(|name| name == node))
    })
}

fn refuse(store: &mut Store, key: &Key, reason: &str, message: &str) {
    store.edit(key, BY, |pod| {
        let condition = json!({
            "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
        });
        set_condition(pod, condition);
    });
}

fn args(pod: &Value, names: &[String]) -> Args {
    let args = json!({"Pod": pod, "Nodes": null, "NodeNames": names});
    // A raw part is read from a text only.
    serde_json::from_str(&args.to_string()).unwrap()
}

/// Whether the pod's required node affinity lets it on a node of this name.
fn names(pod: &Value, node: &str) -> bool {
    let required = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let Some(terms) = pod.pointer(required).and_then(Value::as_array) else {
        return true;
    };
    terms
        .iter()
        .any(|term| term["matchFields"][0]["values"][0] == node)
}

/// The GPUs that a pod asks for.
pub(crate) fn gpus(pod: &Value) -> u64 {
    let limits = &pod["spec"]["containers"][0]["resources"]["limits"];
    let text = limits[GPU].as_str().unwrap_or_default();
    text.parse().unwrap_or_default()
}

/// The GPUs that a node offers.
pub(crate) fn capacity(node: &Value) -> u64 {
    let text = node["status"]["allocatable"][GPU]
        .as_str()
        .unwrap_or_default();
    text.parse().unwrap_or_default()
}

/// The GPUs that pods on a node of this name have.
pub(crate) fn taken(store: &Store, node: &str) -> u64 {
    let there = |pod: &Value| str_at(pod, "/spec/nodeName") == node && !is_over(pod);
    let pods = store.all(Kind::Pod).filter(|(_, pod)| there(pod));
    pods.map(|(_, pod)| gpus(pod)).sum()
}

/// A node by its name.
pub(crate) fn node_key(name: &str) -> Key {
    key(Kind::Node, "", name)
}

/// How long a pod runs.
pub(crate) fn runtime_ms(pod: &Value) -> u64 {
    let seconds = str_at(pod, "/metadata/annotations/seconds");
    seconds.parse::<u64>().unwrap_or(1) * 1000
}
