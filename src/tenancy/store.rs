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
    /// Kinds whose first list has come.
    listed: BTreeSet<Kind>,
    /// Objects of the list that is coming.
    coming: BTreeMap<Kind, BTreeSet<Key>>,
    /// Tenants about which something was learnt.
    touched: BTreeSet<String>,
}

impl Store {
    /// Takes up what a watch says.
    pub(super) fn take(&mut self, kind: Kind, event: watcher::Event<DynamicObject>) {
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

    /// An object is like this now, unless something newer is known of it.
    pub fn put(&mut self, kind: Kind, mut object: DynamicObject) {
        object.metadata.managed_fields = None;
        let key = key(kind, &object);
        let known = self.objects.get(&key);
        let same = known.filter(|known| known.uid() == object.uid());
        if same.is_some_and(|known| version(known) > version(&object)) {
            return;
        }
        self.touch(&object);
        self.objects.insert(key, object);
    }

    /// An object is gone.
    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(object) = self.objects.remove(key) {
            self.touch(&object);
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
        let key = (wanted.kind, wanted.namespace.clone(), wanted.name.clone());
        self.objects.get(&key)
    }

    /// Everything that is kept for a Tenant.
    pub(super) fn of_team<'a>(
        &'a self,
        team: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a DynamicObject)> {
        let is_its = move |object: &DynamicObject| {
            object
                .labels()
                .get(labels::TEAM)
                .is_some_and(|of| of == team)
        };
        self.objects
            .iter()
            .filter(move |(_, object)| is_its(object))
    }

    /// The namespaces that are labelled as its environments.
    #[must_use]
    pub fn left(&self, team: &str) -> Vec<Left> {
        let namespaces = self
            .of_team(team)
            .filter(|((kind, ..), _)| *kind == Kind::Namespace);
        let left = namespaces.filter_map(|((.., name), object)| {
            Some(Left {
                environment: object.labels().get(labels::ENVIRONMENT)?.clone(),
                namespace: name.clone(),
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
