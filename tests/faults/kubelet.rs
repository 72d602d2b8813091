//! Every kubelet, and what cleans up after those that are gone, as a model.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::batch::is_over;
use super::random::Random;
use super::scheduler::runtime_ms;
use super::store::{Author, Key, Kind, Object, Store, key, set_condition, str_at, uid};

const BY: Author = Author::Kubernetes;

#[derive(Debug, Default)]
pub(crate) struct Kubelet {
    /// When the next thing happens to a pod, by UID; what it is tells its state.
    pods: BTreeMap<String, (Stage, u64)>,
    /// Nodes whose kubelet stands still.
    pub(crate) down: BTreeSet<String>,
    /// The version and the still kubelets of which `coming` is true.
    seen: Option<(u64, BTreeSet<String>)>,
    /// When something happens to which pod.
    coming: Vec<(Key, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starts,
    Runs,
    Ends,
    Orphaned,
}

impl Kubelet {
    /// The pods to which something happens. So many out of a thousand take long to end.
    pub(crate) fn due(&mut self, store: &Store, random: &mut Random, stubborn: u64) -> Vec<Key> {
        let seen = (store.version(), self.down.clone());
        if self.seen.as_ref() != Some(&seen) {
            self.coming = self.coming(store, random, stubborn);
            self.seen = Some(seen);
        }
        let due = self.coming.iter().filter(|(_, at)| *at <= store.now_ms);
        due.map(|(key, _)| key.clone()).collect()
    }

    fn coming(&mut self, store: &Store, random: &mut Random, stubborn: u64) -> Vec<(Key, u64)> {
        let mut coming = Vec::new();
        for (key, pod) in store.all(Kind::Pod) {
            let Some(stage) = self.stage(store, pod) else {
                continue;
            };
            let known = self.pods.get(uid(pod)).filter(|(known, _)| *known == stage);
            let at = match known {
                Some((_, at)) => *at,
                None => {
                    let at = store.now_ms + wait(stage, pod, random, stubborn);
                    self.pods.insert(uid(pod).to_owned(), (stage, at));
                    at
                }
            };
            coming.push((key.clone(), at));
        }
        coming
    }

    fn stage(&self, store: &Store, pod: &Object) -> Option<Stage> {
        let node = str_at(pod, "/spec/nodeName");
        let is_leaving = !pod["metadata"]["deletionTimestamp"].is_null();
        if node.is_empty() || (is_over(pod) && !is_leaving) {
            return None;
        }
        if is_over(pod) {
            // Somebody still wants to count it.
            return pod["metadata"]["finalizers"]
                .is_null()
                .then_some(Stage::Ends);
        }
        if store.get(&key(Kind::Node, "", node)).is_none() {
            return Some(Stage::Orphaned);
        }
        if self.down.contains(node) {
            return None;
        }
        Some(match (is_leaving, str_at(pod, "/status/phase")) {
            (true, _) => Stage::Ends,
            (false, "Pending") => Stage::Starts,
            _ => Stage::Runs,
        })
    }

    /// Something happens to a pod.
    pub(crate) fn act(&mut self, store: &mut Store, key: &Key, fails: bool) {
        let pod = store.get(key).unwrap().clone();
        let Some(stage) = self.stage(store, &pod) else {
            return;
        };
        let phase = match stage {
            Stage::Starts => "Running",
            Stage::Runs if !fails => "Succeeded",
            _ => "Failed",
        };
        if !is_over(&pod) {
            store.edit(key, BY, |pod| {
                pod["status"]["phase"] = phase.into();
                if stage == Stage::Orphaned {
                    set_condition(pod, json!({"type": "DisruptionTarget", "status": "True"}));
                }
            });
        }
        if stage == Stage::Orphaned {
            store.delete(key, BY);
        }
        let pod = store.get(key).unwrap();
        let leaves = !pod["metadata"]["deletionTimestamp"].is_null();
        if leaves && is_over(pod) && pod["metadata"]["finalizers"].is_null() {
            store.remove(key, BY);
        }
    }
}

fn wait(stage: Stage, pod: &Object, random: &mut Random, stubborn: u64) -> u64 {
    match stage {
        Stage::Starts => random.between(20, 1500),
        Stage::Runs => runtime_ms(pod),
        Stage::Ends if random.chance(stubborn) => random.between(20_000, 90_000),
        Stage::Ends => random.between(20, 4000),
        Stage::Orphaned => random.between(5000, 40_000),
    }
}
