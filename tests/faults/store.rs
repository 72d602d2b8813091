//! What the API server keeps, and all that ever happened to it. Versions count the changes, so
//! each is an index into them.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Node,
    Namespace,
    PriorityClass,
    Tenant,
    QueuedJob,
    Job,
    Pod,
    Lease,
}

impl Kind {
    /// What it is called in a path.
    pub(crate) fn of(plural: &str) -> Option<Self> {
        Some(match plural {
            "nodes" => Self::Node,
            "namespaces" => Self::Namespace,
            "priorityclasses" => Self::PriorityClass,
            "tenants" => Self::Tenant,
            "queuedjobs" => Self::QueuedJob,
            "jobs" => Self::Job,
            "pods" => Self::Pod,
            "leases" => Self::Lease,
            _ => return None,
        })
    }

    const fn api_version(self) -> &'static str {
        match self {
            Self::Node | Self::Namespace | Self::Pod => "v1",
            Self::PriorityClass => "scheduling.k8s.io/v1",
            Self::Tenant | Self::QueuedJob => "prorata.dev/v1alpha1",
            Self::Job => "batch/v1",
            Self::Lease => "coordination.k8s.io/v1",
        }
    }
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

pub(crate) fn key(kind: Kind, namespace: &str, name: &str) -> Key {
    Key {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

pub(crate) type Object = Arc<Value>;

/// Who changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// A process of ours, by its number.
    Controller(usize),
    /// Kubernetes' own.
    Kubernetes,
    User,
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) key: Key,
    pub(crate) before: Option<Object>,
    pub(crate) after: Option<Object>,
    pub(crate) by: Author,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    objects: BTreeMap<Key, Object>,
    pub(crate) log: Vec<Change>,
    uids: u64,
    /// Unix time in milliseconds.
    pub(crate) now_ms: u64,
}

impl Store {
    pub(crate) const fn version(&self) -> u64 {
        self.log.len() as u64
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }

    /// All objects of a kind.
    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Object)> {
        let from = key(kind, "", "");
        let all = self.objects.range(from..);
        all.take_while(move |(key, _)| key.kind == kind)
    }

    /// The object of this UID.
    pub(crate) fn find(&self, kind: Kind, uid: &str) -> Option<(&Key, &Object)> {
        self.all(kind).find(|(_, object)| self::uid(object) == uid)
    }

    /// All objects of a kind as they were.
    pub(crate) fn all_at(&self, kind: Kind, version: u64) -> Vec<Object> {
        let mut objects: BTreeMap<&Key, &Object> = BTreeMap::new();
        let until = usize::try_from(version).unwrap();
        for change in self.log[..until].iter().filter(|c| c.key.kind == kind) {
            match &change.after {
                Some(object) => drop(objects.insert(&change.key, object)),
                None => drop(objects.remove(&change.key)),
            }
        }
        objects.into_values().cloned().collect()
    }

    /// Makes an object; false if there is one of that name.
    pub(crate) fn create(&mut self, key: Key, mut object: Value, by: Author) -> bool {
        if self.objects.contains_key(&key) {
            return false;
        }
        self.uids += 1;
        object["apiVersion"] = key.kind.api_version().into();
        object["kind"] = format!("{:?}", key.kind).into();
        let created = second(self.now_ms);
        let metadata = &mut object["metadata"];
        metadata["name"] = key.name.clone().into();
        if !key.namespace.is_empty() {
            metadata["namespace"] = key.namespace.clone().into();
        }
        metadata["uid"] = format!("{:08x}-0000-4000-8000-000000000000", self.uids).into();
        metadata["creationTimestamp"] = created.into();
        metadata["generation"] = json!(1);
        self.write(key, Some(object), by);
        true
    }

    /// Replaces an object by what it is now; nothing happens where that is the same.
    pub(crate) fn put(&mut self, key: &Key, mut object: Value, by: Author) {
        let before = &self.objects[key];
        if **before == object {
            return;
        }
        if before["spec"] != object["spec"] {
            let generation = before["metadata"]["generation"]
                .as_i64()
                .unwrap_or_default();
            object["metadata"]["generation"] = json!(generation + 1);
        }
        self.write(key.clone(), Some(object), by);
    }

    /// Changes an object that is there.
    pub(crate) fn edit(&mut self, key: &Key, by: Author, edit: impl FnOnce(&mut Value)) {
        let mut object = Value::clone(&self.objects[key]);
        edit(&mut object);
        self.put(key, object, by);
    }

    pub(crate) fn remove(&mut self, key: &Key, by: Author) {
        self.write(key.clone(), None, by);
    }

    /// Deletes as the API server does: pods are asked to end first.
    pub(crate) fn delete(&mut self, key: &Key, by: Author) {
        let now = second(self.now_ms);
        match key.kind {
            Kind::Pod if !str_at(&self.objects[key], "/spec/nodeName").is_empty() => {
                self.edit(key, by, |pod| {
                    let metadata = &mut pod["metadata"];
                    if metadata["deletionTimestamp"].is_null() {
                        metadata["deletionTimestamp"] = now.into();
                    }
                });
            }
            _ => self.remove(key, by),
        }
    }

    fn write(&mut self, key: Key, object: Option<Value>, by: Author) {
        let version = self.version() + 1;
        let before = self.objects.get(&key).cloned();
        let after = match object {
            Some(mut object) => {
                object["metadata"]["resourceVersion"] = version.to_string().into();
                let object = Arc::new(object);
                self.objects.insert(key.clone(), object.clone());
                Some(object)
            }
            None => {
                self.objects.remove(&key);
                None
            }
        };
        self.log.push(Change {
            version,
            key,
            before,
            after,
            by,
        });
    }
}

/// A moment as Kubernetes writes it: in whole seconds.
pub(crate) fn second(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap();
    Timestamp::from_second(seconds).unwrap().to_string()
}

pub(crate) fn uid(object: &Value) -> &str {
    str_at(object, "/metadata/uid")
}

/// What is at a path in an object. Its fields have no slash in their names, so nothing is escaped.
pub(crate) fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut fields = path.split('/').skip(1);
    fields.try_fold(object, |value, field| match value {
        Value::Array(items) => items.get(field.parse::<usize>().ok()?),
        value => value.get(field),
    })
}

/// A text somewhere in an object, or nothing.
pub(crate) fn str_at<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let value = at(object, pointer);
    value.and_then(Value::as_str).unwrap_or_default()
}

/// A number somewhere in an object, or zero.
pub(crate) fn u64_at(object: &Value, pointer: &str) -> u64 {
    let value = at(object, pointer);
    value.and_then(Value::as_u64).unwrap_or_default()
}

pub(crate) fn bool_at(object: &Value, pointer: &str) -> bool {
    let value = at(object, pointer);
    value.and_then(Value::as_bool).unwrap_or_default()
}

/// Whether an object has such a condition, and it holds.
pub(crate) fn has_condition(object: &Value, type_: &str) -> bool {
    let all = at(object, "/status/conditions").and_then(Value::as_array);
    let mut all = all.into_iter().flatten();
    all.any(|condition| condition["type"] == type_ && condition["status"] == "True")
}

/// Sets a condition.
pub(crate) fn set_condition(object: &mut Value, condition: Value) {
    let all = &mut object["status"]["conditions"];
    if !all.is_array() {
        *all = json!([]);
    }
    let all = all.as_array_mut().unwrap();
    match all.iter_mut().find(|c| c["type"] == condition["type"]) {
        Some(known) => *known = condition,
        None => all.push(condition),
    }
}
