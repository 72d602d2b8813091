//! The objects that are kept for Tenants, as the API server last showed them, and the Tenants.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use kube::core::DynamicObject;
use kube::runtime::watcher;
use serde_json::Value;

use super::object::{Kind, Wanted};
use super::plan::Left;
use crate::api::labels;

/// What tells an object from all others.
pub type Key = (Kind, Option<String>, String);

/// The objects.
#[derive(Debug, Default)]
pub struct Store {
    objects: BTreeMap<Key, DynamicObject>,
    /// Those that are kept for a Tenant, by its name.
    by_team: BTreeMap<String, BTreeSet<Key>>,
    /// Kinds whose first list has come.
    listed: BTreeSet<Kind>,
    /// Objects of the list that is coming.
    coming: BTreeMap<Kind, BTreeSet<Key>>,
    /// The newest version that a watch has told of, by kind.
    seen: BTreeMap<Kind, u64>,
    /// Tenants about which something was learnt.
    touched: BTreeSet<String>,
}

impl Store {
    /// Takes up what a watch says.
    pub(super) fn take(&mut self, kind: Kind, event: watcher::Event<DynamicObject>) {
        if let watcher::Event::Apply(object) | watcher::Event::Delete(object) = &event {
            let seen = self.seen.entry(kind).or_default();
            *seen = version(object).max(*seen);
        }
        match event {
            watcher::Event::Init => {
                self.coming.insert(kind, BTreeSet::new());
            }
            watcher::Event::InitApply(object) => {
                let key = key(kind, &object);
                self.coming.entry(kind).or_default().insert(key);
                self.put(kind, object);
            }
            watcher::Event::InitDone => {
                let listed = self.coming.remove(&kind).unwrap_or_default();
                let gone = self
                    .objects
                    .keys()
                    .filter(|key| key.0 == kind && !listed.contains(*key));
                let gone: Vec<Key> = gone.cloned().collect();
                gone.iter().for_each(|key| self.remove(key));
                self.listed.insert(kind);
            }
            watcher::Event::Apply(object) => self.put(kind, object),
            watcher::Event::Delete(object) => {
                let key = key(kind, &object);
                let known = self.objects.get(&key);
                if known.is_some_and(|known| known.uid() == object.uid()) {
                    self.remove(&key);
                }
            }
        }
    }

    /// What a write was answered with, which the watch may not have told yet. If it has, it may
    /// have told of the object's end too.
    pub(super) fn answered(&mut self, kind: Kind, object: DynamicObject) {
        let seen = self.seen.get(&kind).copied().unwrap_or_default();
        if version(&object) > seen {
            self.put(kind, object);
        }
    }

    /// An object is like this now, unless something newer is known of it.
    pub fn put(&mut self, kind: Kind, mut object: DynamicObject) {
        object.metadata.managed_fields = None;
        let key = key(kind, &object);
        let known = self.objects.get(&key);
        let same = known.filter(|known| known.uid() == object.uid());
        if same.is_some_and(|known| version(known) >= version(&object)) {
            return;
        }
        self.remove(&key);
        self.touch(&object);
        if let Some(team) = object.labels().get(labels::TEAM) {
            let own = self.by_team.entry(team.clone()).or_default();
            own.insert(key.clone());
        }
        self.objects.insert(key, object);
    }

    /// An object is gone.
    fn remove(&mut self, key: &Key) {
        let Some(object) = self.objects.remove(key) else {
            return;
        };
        self.touch(&object);
        if let Some(team) = object.labels().get(labels::TEAM)
            && let Some(own) = self.by_team.get_mut(team)
        {
            own.remove(key);
            if own.is_empty() {
                self.by_team.remove(team);
            }
        }
    }

    fn touch(&mut self, object: &DynamicObject) {
        let team = object.labels().get(labels::TEAM);
        self.touched
            .insert(team.cloned().unwrap_or_else(|| object.name_any()));
    }

    /// Whether everything has been listed once.
    pub(super) fn is_complete(&self) -> bool {
        self.listed.len() == Kind::ALL.len()
    }

    /// The Tenants about which something was learnt since the last time.
    pub(super) fn touched(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.touched)
    }

    /// The Tenant of a name, unless it is a child that we keep.
    pub(super) fn tenant(&self, name: &str) -> Option<&DynamicObject> {
        let tenant = self.objects.get(&(Kind::Tenant, None, name.to_owned()))?;
        (!tenant.labels().contains_key(labels::TEAM)).then_some(tenant)
    }

    /// An object that is wanted, as it is.
    pub(super) fn find(&self, wanted: &Wanted) -> Option<&DynamicObject> {
        self.objects.get(&wanted.key())
    }

    /// Whether an object that a Tenant wants is there and carries another's label, or nobody's.
    pub(super) fn is_foreign(&self, team: &str, wanted: &Wanted) -> bool {
        let label = |found: &DynamicObject| found.labels().get(labels::TEAM).cloned();
        let found = self.find(wanted).map(label);
        found.is_some_and(|label| label.as_deref() != Some(team))
    }

    /// Everything that is kept for a Tenant.
    pub(super) fn of_team(&self, team: &str) -> impl Iterator<Item = (&Key, &DynamicObject)> {
        let own = self.by_team.get(team).into_iter().flatten();
        own.filter_map(|key| Some((key, self.objects.get(key)?)))
    }

    /// The namespaces and children that are labelled as its environments.
    #[must_use]
    pub fn left(&self, team: &str) -> Vec<Left> {
        let left = self.of_team(team).filter_map(|((kind, _, name), object)| {
            let namespace = match kind {
                Kind::Namespace => Some(name.clone()),
                Kind::Tenant => None,
                _ => return None,
            };
            Some(Left {
                environment: object.labels().get(labels::ENVIRONMENT)?.clone(),
                namespace,
            })
        });
        left.collect()
    }
}

/// An object as JSON, to be compared.
pub(super) fn json(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

pub(super) fn key(kind: Kind, object: &DynamicObject) -> Key {
    (kind, object.namespace(), object.name_any())
}

fn version(object: &DynamicObject) -> u64 {
    let version = object.metadata.resource_version.as_deref();
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn binding(version: &str, team: &str) -> DynamicObject {
        let metadata = json!({
            "name": "users", "namespace": "a", "uid": "1", "resourceVersion": version,
            "labels": { labels::TEAM: team },
        });
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    #[test]
    fn an_answer_that_comes_late_brings_nothing_back() {
        let (mut store, kind) = (Store::default(), Kind::RoleBinding);
        store.take(kind, watcher::Event::Apply(binding("5", "red")));
        store.take(kind, watcher::Event::Delete(binding("7", "red")));
        store.answered(kind, binding("6", "red"));
        assert_eq!(store.of_team("red").count(), 0);
        store.answered(kind, binding("8", "red"));
        assert_eq!(store.of_team("red").count(), 1);
    }

    #[test]
    fn an_object_is_of_the_team_that_its_label_names_last() {
        let (mut store, kind) = (Store::default(), Kind::RoleBinding);
        store.take(kind, watcher::Event::Apply(binding("5", "red")));
        store.take(kind, watcher::Event::Apply(binding("6", "blue")));
        let count = |team| store.of_team(team).count();
        assert_eq!((count("red"), count("blue")), (0, 1));
        assert_eq!(store.touched(), ["blue", "red"].map(str::to_owned).into());
    }

    #[test]
    fn what_a_list_does_not_name_is_gone() {
        let (mut store, kind) = (Store::default(), Kind::RoleBinding);
        store.take(kind, watcher::Event::Apply(binding("5", "red")));
        store.take(kind, watcher::Event::Init);
        store.take(kind, watcher::Event::InitDone);
        assert_eq!(store.of_team("red").count(), 0);
        assert!(!store.is_complete());
    }
}
