//! Sets of equal pods that start together, and what makes them anew, as a model of a StatefulSet
//! whose pods name a gang. They run until their set is deleted.

use prorata::api::labels;
use serde_json::{Value, json};

use super::process::GPU;
use super::random::Random;
use super::store::{Author, Key, Kind, Store, key, str_at};
use super::users::TENANTS;

/// What its controller is called as the API server sees it.
const CONTROLLER: &str = "system:serviceaccount:kube-system:statefulset-controller";
/// Longer than any story.
const FOR_EVER_SECONDS: u64 = 1_000_000;

/// A set that is not deleted.
#[derive(Debug)]
pub(crate) struct Set {
    namespace: &'static str,
    name: String,
    size: u64,
    gpus: u64,
    /// Its user deletes it then.
    until_ms: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Sets(Vec<Set>);

impl Sets {
    /// A user makes one.
    pub(crate) fn submit(&mut self, store: &Store, random: &mut Random, name: &str) {
        self.0.push(Set {
            namespace: random.pick::<&str>(&TENANTS),
            name: name.to_owned(),
            size: random.between(2, 3),
            gpus: random.between(1, 2),
            until_ms: store.now_ms + random.between(10_000, 120_000),
        });
    }

    /// The sets that lack a pod, by name.
    pub(crate) fn due(&self, store: &Store) -> Vec<String> {
        let lacks = |set: &&Set| set.keys().any(|key| store.get(&key).is_none());
        self.0
            .iter()
            .filter(lacks)
            .map(|s| s.name.clone())
            .collect()
    }

    /// Makes one pod that a set lacks.
    pub(crate) fn mend(&self, store: &mut Store, name: &str) {
        let Some(set) = self.0.iter().find(|set| set.name == name) else {
            return;
        };
        if let Some(key) = set.keys().find(|key| store.get(key).is_none()) {
            store.create(key, set.pod(), Author::Kubernetes);
        }
    }

    /// Users delete those whose time has come; when all is calm, those that have run whole.
    pub(crate) fn delete_due(&mut self, store: &mut Store, is_calm: bool) {
        let now = store.now_ms;
        let is_due = |set: &mut Set| match is_calm {
            true => set.runs_whole(store),
            false => set.until_ms <= now,
        };
        let due: Vec<Set> = self.0.extract_if(.., is_due).collect();
        for key in due.iter().flat_map(Set::keys) {
            if store.get(&key).is_some() {
                store.delete(&key, Author::User);
            }
        }
    }

    /// One that has not run whole.
    pub(crate) fn unfinished(&self) -> Option<String> {
        let set = self.0.first()?;
        Some(format!(
            "set {}/{} has not run whole",
            set.namespace, set.name
        ))
    }
}

impl Set {
    fn keys(&self) -> impl Iterator<Item = Key> {
        (0..self.size).map(|n| key(Kind::Pod, self.namespace, &format!("{}-{n}", self.name)))
    }

    fn runs_whole(&self, store: &Store) -> bool {
        self.keys().all(|key| {
            store.get(&key).is_some_and(|pod| {
                str_at(pod, "/status/phase") == "Running"
                    && pod["metadata"]["deletionTimestamp"].is_null()
            })
        })
    }

    fn pod(&self) -> Value {
        let annotations = json!({
            labels::CREATED_BY: CONTROLLER,
            labels::GANG: self.name,
            labels::GANG_SIZE: self.size.to_string(),
            "seconds": FOR_EVER_SECONDS.to_string(),
        });
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "name": self.name, "controller": true,
            "uid": format!("set-{}", self.name),
        });
        let limits = json!({GPU: self.gpus.to_string()});
        json!({
            "metadata": {"annotations": annotations, "ownerReferences": [owner]},
            "spec": {
                "containers": [{"name": "c", "resources": {"limits": limits}}],
                "schedulingGates": [{"name": labels::GATE}],
            },
            "status": {"phase": "Pending"},
        })
    }
}

/// Whether a pod is of a set.
pub(crate) fn is_of_set(pod: &Value) -> bool {
    str_at(pod, "/metadata/ownerReferences/0/kind") == "StatefulSet"
}

/// What a pod holds room as, if it is of a set: all of a set hold it together.
pub(crate) fn holder(pod: &Value) -> Option<&str> {
    is_of_set(pod).then(|| str_at(pod, "/metadata/ownerReferences/0/name"))
}
