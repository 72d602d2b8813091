//! The API server: requests in, answers out. It keeps the rules that matter here: what a write was
//! based on, what may change in a Job, and that only the queue starts one.

use prorata::kinds::COMPOSITES;
use serde_json::{Value, json};

use super::patch;
use super::store::{Author, Key, Kind, Store, bool_at, key, str_at, u64_at, uid};
use super::wire::Sent;

/// What the API server answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Object(u16, Value),
    /// A watch of a kind from a version on.
    Watch(Kind, u64),
}

/// Answers a request. Lists show what was there at `as_of`, if anything older is meant.
pub(crate) fn answer(store: &mut Store, sent: &Sent, as_of: Option<u64>) -> Answer {
    let path: Vec<&str> = sent.path.split('/').skip(1).collect();
    if path == ["apis"] {
        return Answer::Object(200, groups());
    }
    let path = match path[0] {
        "api" => &path[2..],
        _ => &path[3..],
    };
    let (namespace, path) = match path {
        ["namespaces", namespace, path @ ..] if !path.is_empty() => (*namespace, path),
        path => ("", path),
    };
    if path[0] == "events" {
        // Nobody here reads them.
        return Answer::Object(201, sent.body.clone());
    }
    if COMPOSITES.iter().any(|kind| kind.plural == path[0]) {
        return failure(404, "NotFound", "no operator is installed");
    }
    if path[0] == "gpunodes" {
        return failure(404, "NotFound", "no agent is installed");
    }
    let kind = Kind::of(path[0]).unwrap_or_else(|| panic!("a request for {path:?}"));
    let by = Author::Controller(sent.process);
    let Some(name) = path.get(1) else {
        return match sent.method.as_str() {
            "POST" => created(
                store,
                key(kind, namespace, str_at(&sent.body, "/metadata/name")),
                sent,
                by,
            ),
            _ => read(store, kind, sent, as_of),
        };
    };
    let key = key(kind, namespace, name);
    if store.get(&key).is_none() {
        return failure(404, "NotFound", "it does not exist");
    }
    match (sent.method.as_str(), path.get(2).copied()) {
        ("GET", None) => Answer::Object(200, Value::clone(store.get(&key).unwrap())),
        ("PUT", None) => replaced(store, &key, sent, by),
        ("PATCH", subresource) => patched(store, &key, sent, subresource, by),
        ("POST", Some("eviction")) => evicted(store, &key, sent, by),
        ("DELETE", None) => deleted(store, &key, sent, by),
        other => panic!("a request {other:?} for {key:?}"),
    }
}

/// What it serves besides Kubernetes' core: nothing of operators.
fn groups() -> Value {
    let group = |(name, version): (&str, &str)| {
        let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    let groups = [
        ("batch", "v1"),
        ("scheduling.k8s.io", "v1"),
        ("coordination.k8s.io", "v1"),
        ("prorata.dev", "v1alpha1"),
    ];
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups.map(group)})
}

/// A list, or a watch.
fn read(store: &Store, kind: Kind, sent: &Sent, as_of: Option<u64>) -> Answer {
    if let Some(version) = sent.asked("watch").and(sent.asked("resourceVersion")) {
        return Answer::Watch(kind, version.parse().unwrap());
    }
    let version = as_of.unwrap_or(store.version());
    let objects = store.all_at(kind, version);
    let objects = objects.iter().filter(|object| is_watched(kind, object));
    let items: Vec<Value> = objects.map(|object| Value::clone(object)).collect();
    let metadata = json!({"resourceVersion": version.to_string()});
    Answer::Object(
        200,
        json!({"apiVersion": "v1", "kind": format!("{kind:?}List"), "metadata": metadata, "items": items}),
    )
}

/// Of pods only those that are not over are asked for.
pub(crate) fn is_watched(kind: Kind, object: &Value) -> bool {
    kind != Kind::Pod || !matches!(str_at(object, "/status/phase"), "Succeeded" | "Failed")
}

fn created(store: &mut Store, key: Key, sent: &Sent, by: Author) -> Answer {
    if !store.create(key.clone(), sent.body.clone(), by) {
        return failure(409, "AlreadyExists", "there is one of that name");
    }
    Answer::Object(201, Value::clone(store.get(&key).unwrap()))
}

fn replaced(store: &mut Store, key: &Key, sent: &Sent, by: Author) -> Answer {
    let based_on = str_at(&sent.body, "/metadata/resourceVersion");
    if based_on != str_at(store.get(key).unwrap(), "/metadata/resourceVersion") {
        return failure(409, "Conflict", "the object has been modified");
    }
    store.put(key, sent.body.clone(), by);
    Answer::Object(200, Value::clone(store.get(key).unwrap()))
}

fn patched(
    store: &mut Store,
    key: &Key,
    sent: &Sent,
    subresource: Option<&str>,
    by: Author,
) -> Answer {
    let before = store.get(key).unwrap().clone();
    let mut object = Value::clone(&before);
    if sent.media_type == "application/json-patch+json" {
        if let Err(why) = patch::json(&mut object, &sent.body) {
            return failure(422, "Invalid", &why);
        }
    } else {
        for field in ["/metadata/resourceVersion", "/metadata/uid"] {
            let based_on = str_at(&sent.body, field);
            if !based_on.is_empty() && based_on != str_at(&before, field) {
                return failure(409, "Conflict", "the object has been modified");
            }
        }
        match sent.media_type.as_str() {
            "application/merge-patch+json" => patch::merge(&mut object, &sent.body),
            "application/strategic-merge-patch+json" => patch::strategic(&mut object, &sent.body),
            other => panic!("a patch of {other}"),
        }
    }
    // A subresource changes nothing else, and without it the status stays as it is.
    match (subresource, key.kind) {
        (Some("status"), _) => object["spec"] = before["spec"].clone(),
        (None, Kind::QueuedJob) => {}
        (None, _) => object["status"] = before["status"].clone(),
        other => panic!("a patch of {other:?}"),
    }
    if let Some(why) = refusal(key, &before, &object) {
        return failure(422, "Invalid", &why);
    }
    store.put(key, object, by);
    Answer::Object(200, Value::clone(store.get(key).unwrap()))
}

/// What the API server has against a change.
fn refusal(key: &Key, before: &Value, after: &Value) -> Option<String> {
    let epoch = "/spec/admission/epoch";
    match key.kind {
        Kind::QueuedJob => {
            let both = before.pointer(epoch).is_some() && after.pointer(epoch).is_some();
            let (known, new) = (u64_at(before, epoch), u64_at(after, epoch));
            let changes = before["spec"]["admission"] != after["spec"]["admission"];
            let why = match new {
                new if new < known => "the epoch of an admission never falls",
                new if new == known && changes => "an admission never changes",
                _ => return None,
            };
            both.then(|| why.to_owned())
        }
        Kind::Job => {
            let changes = before["spec"]["template"] != after["spec"]["template"];
            let rests = bool_at(before, "/spec/suspend") && u64_at(before, "/status/active") == 0;
            (changes && !rests).then(|| "spec.template: field is immutable".to_owned())
        }
        _ => None,
    }
}

fn evicted(store: &mut Store, key: &Key, sent: &Sent, by: Author) -> Answer {
    let meant = str_at(&sent.body, "/deleteOptions/preconditions/uid");
    if meant != uid(store.get(key).unwrap()) {
        return failure(409, "Conflict", "the UID is another's");
    }
    store.edit(key, by, |pod| {
        let condition = json!({"type": "DisruptionTarget", "status": "True"});
        super::store::set_condition(pod, condition);
    });
    store.delete(key, by);
    Answer::Object(
        201,
        json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success"}),
    )
}

fn deleted(store: &mut Store, key: &Key, sent: &Sent, by: Author) -> Answer {
    let object = store.get(key).unwrap();
    let meant = str_at(&sent.body, "/preconditions/resourceVersion");
    if !meant.is_empty() && meant != str_at(object, "/metadata/resourceVersion") {
        return failure(409, "Conflict", "the object has been modified");
    }
    let meant = str_at(&sent.body, "/preconditions/uid");
    if !meant.is_empty() && meant != uid(object) {
        return failure(409, "Conflict", "the UID is another's");
    }
    store.delete(key, by);
    Answer::Object(
        200,
        json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success"}),
    )
}

/// A refusal.
pub(crate) fn failure(code: u16, reason: &str, message: &str) -> Answer {
    Answer::Object(code, status(code, reason, message))
}

pub(crate) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}
