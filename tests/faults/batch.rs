//! The Job controller and the garbage collector, as a model. It may act on a Job as it was a while
//! ago; what it then says of the Job is refused, as the API server would.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::sets::is_of_set;
use super::store::{
    Author, Key, Kind, Object, Store, bool_at, has_condition, key, set_condition, str_at, u64_at,
    uid,
};

const BY: Author = Author::Kubernetes;
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const TRACKED: &str = "batch.kubernetes.io/job-tracking";

#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Changes that it has heard of.
    heard: usize,
    /// Jobs that something was heard of since they were last looked at, by UID.
    dirty: BTreeSet<String>,
    /// Each Job as it was when it was last looked at.
    seen: BTreeMap<String, Object>,
    pods: u64,
}

impl Batch {
    /// The Jobs to look at.
    pub(crate) fn due(&mut self, store: &Store) -> Vec<String> {
        for change in &store.log[self.heard..] {
            let object = change.after.as_ref().or(change.before.as_ref()).unwrap();
            match change.key.kind {
                Kind::Job => drop(self.dirty.insert(uid(object).to_owned())),
                Kind::Pod => drop(self.dirty.insert(owner(object).to_owned())),
                _ => {}
            }
        }
        self.heard = store.log.len();
        self.dirty.iter().cloned().collect()
    }

    /// Looks at a Job; `lags` says that it sees it as it was the last time.
    pub(crate) fn sync(&mut self, store: &mut Store, job: &str, lags: bool) {
        let Some((key, current)) = store.find(Kind::Job, job) else {
            self.dirty.remove(job);
            self.seen.remove(job);
            return;
        };
        let (key, current) = (key.clone(), current.clone());
        let known = self.seen.get(job).filter(|_| lags).cloned();
        let view = known.unwrap_or_else(|| current.clone());
        let is_current = view == current;
        if is_current {
            self.dirty.remove(job);
        }
        self.seen.insert(job.to_owned(), view.clone());
        if has_condition(&current, "Complete") || has_condition(&current, "Failed") {
            release(store, job);
            return;
        }
        let counted = if is_current {
            count(store, job)
        } else {
            (0, 0)
        };
        let succeeded = u64_at(&current, "/status/succeeded") + counted.0;
        let failed = u64_at(&current, "/status/failed") + counted.1;
        if bool_at(&view, "/spec/suspend") {
            stop(store, job);
        } else {
            self.start(store, &key, &view, succeeded);
        }
        if is_current {
            report(store, &key, job, succeeded, failed);
        }
    }

    /// Makes the pods that are missing.
    fn start(&mut self, store: &mut Store, job: &Key, view: &Value, succeeded: u64) {
        let completions = u64_at(view, "/spec/completions");
        let wanted = u64_at(view, "/spec/parallelism").min(completions.saturating_sub(succeeded));
        let pods = pods(store, uid(view));
        let active: Vec<&Object> = pods
            .iter()
            .map(|(_, pod)| pod)
            .filter(|p| is_active(p))
            .collect();
        let has = |index: &u64| {
            let label = index.to_string();
            let theirs =
                |pod: &Object| pod["metadata"]["annotations"][INDEX].as_str() == Some(&label);
            pods.iter().any(|(_, pod)| {
                theirs(pod) && (is_active(pod) || pod["status"]["phase"] == "Succeeded")
            })
        };
        let indexed = view["spec"]["completionMode"] == "Indexed";
        let missing = (0..completions).filter(|index| !indexed || !has(index));
        let count = usize::try_from(wanted)
            .unwrap()
            .saturating_sub(active.len());
        let missing: Vec<u64> = missing.take(count).collect();
        for index in missing {
            self.pods += 1;
            let name = format!("{}-{index}-{:04}", job.name, self.pods);
            let mut annotations = view["spec"]["template"]["metadata"]["annotations"].clone();
            if indexed {
                annotations[INDEX] = index.to_string().into();
            }
            let owner = json!({
                "apiVersion": "batch/v1", "kind": "Job", "name": job.name, "uid": uid(view), "controller": true,
            });
            let pod = json!({
                "metadata": {
                    "annotations": annotations, "ownerReferences": [owner], "finalizers": [TRACKED],
                },
                "spec": view["spec"]["template"]["spec"],
                "status": {"phase": "Pending"},
            });
            store.create(super::store::key(Kind::Pod, &job.namespace, &name), pod, BY);
        }
    }
}

/// UID of what controls an object.
pub(crate) fn owner(object: &Value) -> &str {
    str_at(object, "/metadata/ownerReferences/0/uid")
}

pub(crate) fn pods(store: &Store, job: &str) -> Vec<(Key, Object)> {
    let theirs = store.all(Kind::Pod).filter(|(_, pod)| owner(pod) == job);
    theirs
        .map(|(key, pod)| (key.clone(), pod.clone()))
        .collect()
}

pub(crate) fn is_over(pod: &Value) -> bool {
    matches!(str_at(pod, "/status/phase"), "Succeeded" | "Failed")
}

fn is_active(pod: &Value) -> bool {
    !is_over(pod) && pod["metadata"]["deletionTimestamp"].is_null()
}

fn is_tracked(pod: &Value) -> bool {
    pod["metadata"]["finalizers"].is_array()
}

fn untrack(store: &mut Store, key: &Key) {
    store.edit(key, BY, |pod| {
        pod["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("finalizers");
    });
    let pod = store.get(key).unwrap();
    if is_over(pod) && !pod["metadata"]["deletionTimestamp"].is_null() {
        store.remove(key, BY);
    }
}

/// Counts pods that are over, each once.
fn count(store: &mut Store, job: &str) -> (u64, u64) {
    let (mut succeeded, mut failed) = (0, 0);
    for (key, pod) in pods(store, job) {
        if is_tracked(&pod) && is_over(&pod) {
            match str_at(&pod, "/status/phase") {
                "Succeeded" => succeeded += 1,
                _ => failed += 1,
            }
            untrack(store, &key);
        }
    }
    (succeeded, failed)
}

/// Ends the pods of a Job that is suspended. They count as nothing.
fn stop(store: &mut Store, job: &str) {
    for (key, pod) in pods(store, job) {
        if is_active(&pod) {
            untrack(store, &key);
            store.delete(&key, BY);
        }
    }
}

/// A Job that is over wants nothing more of its pods.
fn release(store: &mut Store, job: &str) {
    for (key, pod) in pods(store, job) {
        if is_active(&pod) {
            store.delete(&key, BY);
        }
        if store.get(&key).is_some_and(|pod| is_tracked(pod)) {
            untrack(store, &key);
        }
    }
}

fn report(store: &mut Store, key: &Key, job: &str, succeeded: u64, failed: u64) {
    let pods = pods(store, job);
    let active = pods.iter().filter(|(_, pod)| is_active(pod)).count();
    let left = pods.iter().filter(|(_, pod)| !is_over(pod)).count();
    let terminating = left - active;
    let now = super::store::second(store.now_ms);
    store.edit(key, BY, |job| {
        let suspended = bool_at(job, "/spec/suspend");
        let was_suspended = has_condition(job, "Suspended");
        let completions = u64_at(job, "/spec/completions");
        let status = &mut job["status"];
        status["active"] = active.into();
        status["terminating"] = terminating.into();
        status["succeeded"] = succeeded.into();
        status["failed"] = failed.into();
        if suspended {
            status.as_object_mut().unwrap().remove("startTime");
        } else if status["startTime"].is_null() {
            status["startTime"] = now.into();
        }
        if suspended != was_suspended {
            let holds = if suspended { "True" } else { "False" };
            set_condition(job, json!({"type": "Suspended", "status": holds}));
        }
        if succeeded >= completions && left == 0 {
            set_condition(job, json!({"type": "Complete", "status": "True"}));
        }
    });
}

/// What is left of things that are gone.
pub(crate) fn orphans(store: &Store) -> Vec<Key> {
    let all = store.all(Kind::Job).chain(store.all(Kind::Pod));
    let there: BTreeSet<&str> = all.map(|(_, object)| uid(object)).collect();
    let mut orphans = Vec::new();
    for kind in [Kind::Pod, Kind::QueuedJob] {
        for (key, object) in store.all(kind) {
            let asked = kind == Kind::Pod
                && !object["metadata"]["deletionTimestamp"].is_null()
                && !is_tracked(object);
            let is_owned = !owner(object).is_empty() && !is_of_set(object);
            if is_owned && !asked && !there.contains(owner(object)) {
                orphans.push(key.clone());
            }
        }
    }
    orphans
}

/// Deletes what is left of something that is gone.
pub(crate) fn collect(store: &mut Store, orphan: &Key) {
    if orphan.kind == Kind::Pod {
        if is_tracked(store.get(orphan).unwrap()) {
            untrack(store, orphan);
        }
        if store.get(orphan).is_none() {
            return;
        }
        if is_over(store.get(orphan).unwrap()) {
            store.remove(orphan, BY);
            return;
        }
    }
    store.delete(orphan, BY);
}

/// A Job by its name.
pub(crate) fn job_key(namespace: &str, name: &str) -> Key {
    key(Kind::Job, namespace, name)
}
