//! What people do, and what becomes of it by the admission policies.

use prorata::api::labels;
use serde_json::{Value, json};

use super::batch::job_key;
use super::process::GPU;
use super::random::Random;
use super::scheduler::{gpus, node_key};
use super::store::{Author, Key, Kind, Store, bool_at, has_condition, key};

const BY: Author = Author::User;
pub(crate) const NODES: [&str; 3] = ["a", "b", "c"];
pub(crate) const GPUS_PER_NODE: u64 = 4;
/// A namespace that is no tenant's.
pub(crate) const FREE: &str = "free";
/// A gang asks for no more than two of the three nodes have.
const GANG_GPUS_MAX: u64 = 2 * GPUS_PER_NODE;
pub(crate) const TENANTS: [&str; 3] = ["red", "blue", "lab"];

/// Nodes, tenants with their namespaces, and PriorityClasses.
pub(crate) fn furnish(store: &mut Store) {
    for name in NODES {
        add_node(store, name);
    }
    for (name, guaranteed) in TENANTS.into_iter().zip([4, 2, 0]) {
        let spec = json!({"weight": "1", "guaranteed": {"gpu": guaranteed.to_string()}});
        store.create(key(Kind::Tenant, "", name), json!({"spec": spec}), BY);
        let labels = json!({labels::TENANT: name});
        let namespace = json!({"metadata": {"labels": labels}});
        store.create(key(Kind::Namespace, "", name), namespace, BY);
    }
    store.create(key(Kind::Namespace, "", FREE), json!({"metadata": {}}), BY);
    let urgent = json!({"value": 100});
    store.create(key(Kind::PriorityClass, "", "urgent"), urgent, BY);
}

/// A node that is ready.
pub(crate) fn add_node(store: &mut Store, name: &str) {
    let node = json!({
        "metadata": {"labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {
            "allocatable": {GPU: GPUS_PER_NODE.to_string(), "cpu": "64", "memory": "512Gi"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    });
    store.create(node_key(name), node, Author::Kubernetes);
}

/// Says whether a node is ready.
pub(crate) fn set_ready(store: &mut Store, name: &str, ready: bool) {
    let status = if ready { "True" } else { "Unknown" };
    let key = node_key(name);
    if store.get(&key).is_some() {
        store.edit(&key, Author::Kubernetes, |node| {
            node["status"]["conditions"] = json!([{"type": "Ready", "status": status}]);
        });
    }
}

/// Creates some Job.
pub(crate) fn submit(store: &mut Store, random: &mut Random, name: &str) {
    let namespace = *random.pick(&TENANTS);
    let gpus = *random.pick(&[1, 1, 2, 4]);
    let gang = random.between(1, 4).min(GANG_GPUS_MAX / gpus);
    let more = if random.chance(200) { gang } else { 0 };
    let held = random.chance(50);
    let mut annotations = json!({labels::CREATED_BY: "alice"});
    if held {
        annotations[labels::HELD] = "true".into();
    }
    if random.chance(200) {
        annotations["prorata.dev/max-duration"] = "30s".into();
    }
    let container = json!({"name": "c", "resources": {"limits": {GPU: gpus.to_string()}}});
    let mut pods = json!({"containers": [container], "restartPolicy": "Never"});
    if random.chance(150) {
        pods["priorityClassName"] = "urgent".into();
    }
    let mode = if random.chance(500) {
        "Indexed"
    } else {
        "NonIndexed"
    };
    let seconds = json!({"seconds": random.between(2, 40).to_string()});
    let job = json!({
        "metadata": {"annotations": annotations},
        "spec": {
            "suspend": true, "parallelism": gang, "completions": gang + more, "backoffLimit": 1000,
            "completionMode": mode,
            "template": {"metadata": {"annotations": seconds}, "spec": pods},
        },
        "status": {},
    });
    store.create(job_key(namespace, name), job, BY);
}

/// Creates some pod that waits by itself; nobody makes it anew.
pub(crate) fn submit_pod(store: &mut Store, random: &mut Random, name: &str) {
    let namespace = *random.pick(&TENANTS);
    let gpus = random.between(1, 2).to_string();
    let annotations = json!({
        labels::CREATED_BY: "alice",
        labels::PREEMPTIBLE: "true",
        "seconds": random.between(2, 40).to_string(),
    });
    let container = json!({"name": "c", "resources": {"limits": {GPU: gpus}}});
    let pod = json!({
        "metadata": {"annotations": annotations},
        "spec": {
            "containers": [container], "restartPolicy": "Never",
            "schedulingGates": [{"name": labels::GATE}],
        },
        "status": {"phase": "Pending"},
    });
    store.create(key(Kind::Pod, namespace, name), pod, BY);
}

/// Creates a pod that is of no tenant: nothing holds it back.
pub(crate) fn submit_stranger(store: &mut Store, random: &mut Random, name: &str) {
    let gpus = random.between(1, 2).to_string();
    let seconds = json!({"seconds": random.between(2, 20).to_string()});
    let container = json!({"name": "c", "resources": {"limits": {GPU: gpus}}});
    let pod = json!({
        "metadata": {"annotations": seconds},
        "spec": {"containers": [container], "restartPolicy": "Never"},
        "status": {"phase": "Pending"},
    });
    store.create(key(Kind::Pod, FREE, name), pod, BY);
}

/// Does something to some Job.
pub(crate) fn meddle(store: &mut Store, random: &mut Random) {
    let live = |(_, job): &(&Key, &super::store::Object)| !has_condition(job, "Complete");
    let jobs: Vec<Key> = store
        .all(Kind::Job)
        .filter(live)
        .map(|(key, _)| key.clone())
        .collect();
    if jobs.is_empty() {
        return;
    }
    let job = random.pick(&jobs);
    match random.below(10) {
        0 => store.remove(job, BY),
        1..=4 => hold(store, job),
        5..=6 => resume(store, job),
        _ => resize(store, job, random),
    }
}

/// `suspend: true`: it is on hold, whether it runs or waits.
fn hold(store: &mut Store, job: &Key) {
    store.edit(job, BY, |job| {
        job["spec"]["suspend"] = true.into();
        job["metadata"]["annotations"][labels::HELD] = "true".into();
    });
}

/// `suspend: false`: it is suspended still, and waits.
fn resume(store: &mut Store, job: &Key) {
    if bool_at(store.get(job).unwrap(), "/spec/suspend") {
        store.edit(job, BY, |job| {
            let annotations = job["metadata"]["annotations"].as_object_mut().unwrap();
            annotations.remove(labels::HELD);
        });
    }
}

/// Another parallelism, while it waits: one that the nodes can hold.
fn resize(store: &mut Store, job: &Key, random: &mut Random) {
    let object = store.get(job).unwrap();
    let completions = object["spec"]["completions"].as_u64().unwrap();
    if bool_at(object, "/spec/suspend") {
        let most = GANG_GPUS_MAX / gpus(&object["spec"]["template"]);
        let parallelism = random.between(1, completions.min(4).min(most));
        store.edit(job, BY, |job| {
            job["spec"]["parallelism"] = parallelism.into();
        });
    }
}

/// Lets all go that are held.
pub(crate) fn resume_all(store: &mut Store) {
    let jobs: Vec<Key> = store.all(Kind::Job).map(|(key, _)| key.clone()).collect();
    for job in jobs {
        resume(store, &job);
    }
}

/// Gives a tenant another guarantee and weight.
pub(crate) fn edit_tenant(store: &mut Store, random: &mut Random) {
    let name = *random.pick(&TENANTS);
    let tenant = key(Kind::Tenant, "", name);
    let (weight, guaranteed) = (random.between(1, 3), random.below(5));
    store.edit(&tenant, BY, |tenant| {
        tenant["spec"]["weight"] = weight.to_string().into();
        tenant["spec"]["guaranteed"]["gpu"] = guaranteed.to_string().into();
    });
}

/// Whether a user holds it.
pub(crate) fn is_held(job: &Value) -> bool {
    job["metadata"]["annotations"][labels::HELD] == "true"
}
