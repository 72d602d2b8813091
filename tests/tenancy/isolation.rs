//! Each role of a tenant and what it tries, in a namespace of its own and in another tenant's.

use http::{Method, Request};
use kube::Client;
use kube::api::{Api, PostParams};
use prorata::api::labels::CREATED_BY;
use serde_json::{Value, json};

use crate::cluster::requests::{annotations, eventually, message};
use crate::world::{World, job, tenant};

/// Who tries: an admin, a user and a viewer of the Tenant `vision`.
const ROLES: [(&str, char); 3] = [
    ("vision-admin", 'a'),
    ("vision-user", 'u'),
    ("vision-viewer", 'v'),
];

/// What is tried, and by whom it may be done in the tenant's own namespace: `a`dmin, `u`ser,
/// `v`iewer. In others' namespaces nobody may do any of it.
struct Attempt {
    what: &'static str,
    method: Method,
    /// `NS` stands for the namespace.
    path: &'static str,
    body: Value,
    allowed: &'static str,
}

fn attempt(
    what: &'static str,
    method: Method,
    path: &'static str,
    body: Value,
    allowed: &'static str,
) -> Attempt {
    Attempt {
        what,
        method,
        path,
        body,
        allowed,
    }
}

fn read(what: &'static str, path: &'static str, allowed: &'static str) -> Attempt {
    attempt(what, Method::GET, path, Value::Null, allowed)
}

fn delete(what: &'static str, path: &'static str, allowed: &'static str) -> Attempt {
    attempt(what, Method::DELETE, path, Value::Null, allowed)
}

fn create(what: &'static str, path: &'static str, body: Value, allowed: &'static str) -> Attempt {
    attempt(what, Method::POST, path, body, allowed)
}

fn change(what: &'static str, path: &'static str, body: Value, allowed: &'static str) -> Attempt {
    attempt(what, Method::PATCH, path, body, allowed)
}

fn named(rest: Value) -> Value {
    let mut object = json!({ "metadata": { "name": "tried" } });
    for (key, value) in rest.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

/// What a tenant's people do all day.
fn daily() -> Vec<Attempt> {
    let suspend = json!({ "spec": { "suspend": true } });
    let claim = |more: Value| {
        let mut spec = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        named(json!({ "spec": spec }))
    };
    let claims = "/api/v1/namespaces/NS/persistentvolumeclaims";
    let jobs = "/apis/batch/v1/namespaces/NS/jobs";
    vec![
        read("list pods", "/api/v1/namespaces/NS/pods", "auv"),
        read("read a log", "/api/v1/namespaces/NS/pods/none/log", "auv"),
        read("list Jobs", jobs, "auv"),
        read(
            "see the queue",
            "/apis/prorata.dev/v1alpha1/namespaces/NS/queuedjobs",
            "auv",
        ),
        read("read ConfigMaps", "/api/v1/namespaces/NS/configmaps", "auv"),
        read("read quotas", "/api/v1/namespaces/NS/resourcequotas", "auv"),
        read("read secrets", "/api/v1/namespaces/NS/secrets", "a"),
        create("submit a Job", jobs, json!(job("tried", 1)), "au"),
        create(
            "submit a Job without GPUs",
            jobs,
            json!(job("tried", 0)),
            "au",
        ),
        delete(
            "delete the user's Job",
            "/apis/batch/v1/namespaces/NS/jobs/mine",
            "au",
        ),
        delete(
            "delete another user's Job",
            "/apis/batch/v1/namespaces/NS/jobs/others",
            "a",
        ),
        delete(
            "delete another user's Job without GPUs",
            "/apis/batch/v1/namespaces/NS/jobs/others-cpu",
            "a",
        ),
        delete(
            "delete the user's Job without GPUs",
            "/apis/batch/v1/namespaces/NS/jobs/mine-cpu",
            "au",
        ),
        change(
            "suspend the user's Job",
            "/apis/batch/v1/namespaces/NS/jobs/mine",
            suspend.clone(),
            "au",
        ),
        change(
            "suspend another user's Job",
            "/apis/batch/v1/namespaces/NS/jobs/others",
            suspend,
            "a",
        ),
        change(
            "take the creator's name off a Job",
            "/apis/batch/v1/namespaces/NS/jobs/mine",
            json!({ "metadata": { "annotations": { "internal.prorata.dev/created-by": null } } }),
            "",
        ),
        create(
            "write a secret",
            "/api/v1/namespaces/NS/secrets",
            named(json!({})),
            "a",
        ),
        create(
            "run a command in a pod",
            "/api/v1/namespaces/NS/pods/none/exec?command=id&stdout=true",
            Value::Null,
            "a",
        ),
        create("claim a volume", claims, claim(json!({})), "a"),
        create(
            "claim a particular volume",
            claims,
            claim(json!({ "volumeName": "pv-of-another" })),
            "",
        ),
    ]
}

/// What would reach beyond the namespace, or its bounds.
fn beyond() -> Vec<Attempt> {
    let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" });
    let subject =
        json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "vision-user" });
    let binding = named(json!({ "roleRef": role, "subjects": [subject] }));
    let rules = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
    let open = json!({ "podSelector": {}, "policyTypes": ["Egress"], "egress": [{}] });
    let pod = |spec: Value| named(json!({ "spec": spec }));
    let main = |more: Value| {
        let mut container = json!({ "name": "main", "image": "none" });
        for (key, value) in more.as_object().unwrap() {
            container[key] = value.clone();
        }
        json!([container])
    };
    let pods = "/api/v1/namespaces/NS/pods";
    let host = json!([{ "name": "host", "hostPath": { "path": "/" } }]);
    let urgent = {
        let mut job = json!(job("tried", 1));
        job["spec"]["template"]["spec"]["priorityClassName"] = json!("system-node-critical");
        job
    };
    vec![
        create(
            "create a pod",
            pods,
            pod(json!({ "containers": main(json!({})) })),
            "a",
        ),
        create(
            "see the node's processes",
            pods,
            pod(json!({ "containers": main(json!({})), "hostPID": true })),
            "",
        ),
        create(
            "mount the node's files",
            pods,
            pod(json!({ "containers": main(json!({})), "volumes": host })),
            "",
        ),
        create(
            "use the node's network",
            pods,
            pod(json!({ "containers": main(json!({})), "hostNetwork": true })),
            "",
        ),
        create(
            "bind a pod to a node",
            "/api/v1/namespaces/NS/pods/none/binding",
            named(json!({ "target": { "kind": "Node", "name": "a" } })),
            "",
        ),
        create(
            "submit before everybody",
            "/apis/batch/v1/namespaces/NS/jobs",
            urgent,
            "",
        ),
        create(
            "make a quota",
            "/api/v1/namespaces/NS/resourcequotas",
            named(json!({ "spec": { "hard": { "pods": "1" } } })),
            "",
        ),
        delete(
            "delete the quota",
            "/api/v1/namespaces/NS/resourcequotas/prorata",
            "",
        ),
        delete(
            "delete the limits",
            "/api/v1/namespaces/NS/limitranges/prorata",
            "",
        ),
        create(
            "make a role",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/NS/roles",
            named(json!({ "rules": rules })),
            "",
        ),
        create(
            "bind a role",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/NS/rolebindings",
            binding.clone(),
            "",
        ),
        delete(
            "delete the users' role",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/NS/rolebindings/prorata-users",
            "",
        ),
        create(
            "bind a cluster role",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            binding,
            "",
        ),
        create(
            "open the network",
            "/apis/networking.k8s.io/v1/namespaces/NS/networkpolicies",
            named(json!({ "spec": open })),
            "",
        ),
        delete(
            "delete a network policy",
            "/apis/networking.k8s.io/v1/namespaces/NS/networkpolicies/prorata-default-deny",
            "",
        ),
        change(
            "relabel the namespace",
            "/api/v1/namespaces/NS",
            json!({ "metadata": { "labels": { "prorata.dev/tenant": "blue-dev" } } }),
            "",
        ),
        delete("delete the namespace", "/api/v1/namespaces/NS", ""),
        change(
            "change the Tenant",
            "/apis/prorata.dev/v1alpha1/tenants/vision",
            json!({ "spec": { "guaranteed": { "gpu": 99 } } }),
            "",
        ),
        change(
            "write to the queue",
            "/apis/prorata.dev/v1alpha1/namespaces/NS/queuedjobs/none",
            json!({ "spec": {} }),
            "",
        ),
        create(
            "make a PriorityClass",
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            named(json!({ "value": 1 })),
            "",
        ),
        change(
            "label a node",
            "/api/v1/nodes/node-00000",
            json!({ "metadata": { "labels": { "a": "b" } } }),
            "",
        ),
        read("list nodes", "/api/v1/nodes", ""),
        create(
            "get a service account's token",
            "/api/v1/namespaces/NS/serviceaccounts/default/token",
            json!({ "spec": {} }),
            "",
        ),
    ]
}

pub(crate) async fn each_role_may_do_what_the_table_says(world: &World) {
    let one = json!({ "environments": [{ "name": "dev", "percent": 100 }] });
    world.cluster.apply(&tenant("blue", 2, &one).to_string());
    world.until_provisioned("blue").await;
    people_at_work(world).await;
    let attempts: Vec<Attempt> = daily().into_iter().chain(beyond()).collect();
    let mut wrong = Vec::new();
    for (user, role) in ROLES {
        let client = world.client(user).await;
        for attempt in &attempts {
            for (namespace, is_own) in [("ml-vision-dev", true), ("ml-blue-dev", false)] {
                let expected = is_own && attempt.allowed.contains(role);
                let refusal = try_it(&client, attempt, namespace).await;
                if refusal.is_none() != expected {
                    wrong.push(format!(
                        "{user}: {} in {namespace}: {refusal:?}",
                        attempt.what
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        attempts.len() * 6,
        wrong.join("\n")
    );
    println!(
        "isolation: {} attempts as the table says",
        attempts.len() * 6
    );
}

/// Jobs of two users.
async fn people_at_work(world: &World) {
    for (user, names) in [
        ("vision-user", ["mine", "mine-cpu"]),
        ("vision-other", ["others", "others-cpu"]),
    ] {
        let jobs: Api<k8s_openapi::api::batch::v1::Job> =
            Api::namespaced(world.client(user).await, "ml-vision-dev");
        for (name, gpus) in names.into_iter().zip([1, 0]) {
            eventually("a user submits", || async {
                let created = jobs
                    .create(&PostParams::default(), &forged(name, gpus))
                    .await;
                created.is_ok() || jobs.get_opt(name).await.is_ok_and(|job| job.is_some())
            })
            .await;
            let stored = jobs.get(name).await.unwrap();
            assert!(annotations(&stored).contains(&(CREATED_BY, user)));
        }
    }
}

/// A Job that says that somebody else created it.
fn forged(name: &str, gpus: u32) -> k8s_openapi::api::batch::v1::Job {
    let mut job = job(name, gpus);
    let note = (CREATED_BY.to_owned(), "somebody".to_owned());
    job.metadata.annotations = Some([note].into());
    job
}

/// What an attempt is refused with, if it is. Nothing is stored.
async fn try_it(client: &Client, attempt: &Attempt, namespace: &str) -> Option<String> {
    let path = attempt.path.replace("NS", namespace);
    let and = if path.contains('?') { '&' } else { '?' };
    let path = match attempt.method {
        Method::GET => path,
        _ => format!("{path}{and}dryRun=All"),
    };
    let kind = match attempt.method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let body = match &attempt.body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    let request = Request::builder().method(&attempt.method).uri(path);
    let request = request.header("content-type", kind).body(body).unwrap();
    match client.request_text(request).await {
        Err(kube::Error::Api(status)) if status.code == 403 => Some(status.message.clone()),
        // Whoever gets as far as to hear that it is not there, or makes no sense, may do it.
        Err(error @ kube::Error::Api(_)) if attempt.allowed.is_empty() => {
            panic!("{} is not refused: {}", attempt.what, message(&error))
        }
        _ => None,
    }
}
