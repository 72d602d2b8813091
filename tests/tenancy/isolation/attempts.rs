//! The table: what is tried, and by whom it may be done in a namespace of its own tenant.

use http::Method;
use serde_json::{Value, json};

use crate::tenancy::world::job;

/// What is tried. In others' namespaces nobody may do any of it.
pub(super) struct Attempt {
    pub(super) what: &'static str,
    pub(super) method: Method,
    /// `NS` stands for the namespace.
    pub(super) path: String,
    pub(super) body: Value,
    /// `a`dmin, `u`ser, `v`iewer.
    pub(super) allowed: &'static str,
}

/// All that is tried.
pub(super) fn all() -> Vec<Attempt> {
    [
        reading(),
        working(),
        owning(),
        pods(),
        bounds(),
        roles(),
        cluster(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn reading() -> Vec<Attempt> {
    vec![
        read("list pods", &core("pods"), "auv"),
        read("read a log", &core("pods/none/log"), "auv"),
        read("list Jobs", &jobs(""), "auv"),
        read("see the queue", &queue(""), "auv"),
        read("read ConfigMaps", &core("configmaps"), "auv"),
        read("read quotas", &core("resourcequotas"), "auv"),
        read("read secrets", &core("secrets"), "a"),
    ]
}

/// `mine` is the user's Job, `others` is another user's.
fn working() -> Vec<Attempt> {
    let suspend = json!({ "spec": { "suspend": true } });
    let nobodys =
        json!({ "metadata": { "annotations": { "internal.prorata.dev/created-by": null } } });
    let mut urgent = json!(job("tried", 1));
    urgent["spec"]["template"]["spec"]["priorityClassName"] = json!("system-node-critical");
    vec![
        create("submit a Job", &jobs(""), json!(job("tried", 1)), "au"),
        create(
            "submit one without GPUs",
            &jobs(""),
            json!(job("tried", 0)),
            "au",
        ),
        create("submit before everybody", &jobs(""), urgent, ""),
        delete("delete the user's Job", &jobs("/mine"), "au"),
        delete(
            "delete the user's Job without GPUs",
            &jobs("/mine-cpu"),
            "au",
        ),
        delete("delete another user's Job", &jobs("/others"), "a"),
        delete(
            "delete another user's Job without GPUs",
            &jobs("/others-cpu"),
            "a",
        ),
        change(
            "suspend the user's Job",
            &jobs("/mine"),
            suspend.clone(),
            "au",
        ),
        change("suspend another user's Job", &jobs("/others"), suspend, "a"),
        change(
            "take the creator's name off a Job",
            &jobs("/mine"),
            nobodys,
            "",
        ),
        change(
            "write to the queue",
            &queue("/none"),
            json!({ "spec": {} }),
            "",
        ),
    ]
}

fn owning() -> Vec<Attempt> {
    let claim = |volume: Option<&str>| {
        named(json!({ "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } }, "volumeName": volume,
        } }))
    };
    let claims = core("persistentvolumeclaims");
    let exec = core("pods/none/exec?command=id&stdout=true");
    let token = core("serviceaccounts/default/token");
    vec![
        create("write a secret", &core("secrets"), named(json!({})), "a"),
        create("run a command in a pod", &exec, Value::Null, "a"),
        create("claim a volume", &claims, claim(None), "a"),
        create(
            "claim a particular volume",
            &claims,
            claim(Some("pv-of-another")),
            "",
        ),
        change(
            "have a claim name a volume later",
            &core("persistentvolumeclaims/open"),
            json!({ "spec": { "volumeName": "pv-of-another" } }),
            "",
        ),
        create(
            "get a service account's token",
            &token,
            json!({ "spec": {} }),
            "",
        ),
    ]
}

fn pods() -> Vec<Attempt> {
    let pod = |more: Value| {
        let mut spec = json!({ "containers": [{ "name": "main", "image": "none" }] });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        named(json!({ "spec": spec }))
    };
    let host = json!([{ "name": "host", "hostPath": { "path": "/" } }]);
    let node = named(json!({ "target": { "kind": "Node", "name": "a" } }));
    vec![
        create("create a pod", &core("pods"), pod(json!({})), "a"),
        create(
            "see the node's processes",
            &core("pods"),
            pod(json!({ "hostPID": true })),
            "",
        ),
        create(
            "use the node's network",
            &core("pods"),
            pod(json!({ "hostNetwork": true })),
            "",
        ),
        create(
            "mount the node's files",
            &core("pods"),
            pod(json!({ "volumes": host })),
            "",
        ),
        create("bind a pod to a node", &core("pods/none/binding"), node, ""),
    ]
}

fn bounds() -> Vec<Attempt> {
    let quota = named(json!({ "spec": { "hard": { "pods": "1" } } }));
    let open =
        named(json!({ "spec": { "podSelector": {}, "policyTypes": ["Egress"], "egress": [{}] } }));
    let network =
        |rest: &str| format!("/apis/networking.k8s.io/v1/namespaces/NS/networkpolicies{rest}");
    vec![
        create("make a quota", &core("resourcequotas"), quota, ""),
        delete("delete the quota", &core("resourcequotas/prorata"), ""),
        delete("delete the limits", &core("limitranges/prorata"), ""),
        create("open the network", &network(""), open, ""),
        delete(
            "delete a network policy",
            &network("/prorata-default-deny"),
            "",
        ),
    ]
}

fn roles() -> Vec<Attempt> {
    let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" });
    let subject =
        json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "vision-user" });
    let binding = named(json!({ "roleRef": role, "subjects": [subject] }));
    let rules = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
    let group = "/apis/rbac.authorization.k8s.io/v1";
    let here = |rest: &str| format!("{group}/namespaces/NS/{rest}");
    vec![
        create(
            "make a role",
            &here("roles"),
            named(json!({ "rules": rules })),
            "",
        ),
        create("bind a role", &here("rolebindings"), binding.clone(), ""),
        delete(
            "delete the users' role",
            &here("rolebindings/prorata-users"),
            "",
        ),
        create(
            "bind a cluster role",
            &format!("{group}/clusterrolebindings"),
            binding,
            "",
        ),
    ]
}

fn cluster() -> Vec<Attempt> {
    let others = json!({ "metadata": { "labels": { "prorata.dev/tenant": "blue-dev" } } });
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    let more = json!({ "spec": { "guaranteed": { "gpu": 99 } } });
    let own = "/api/v1/namespaces/NS";
    let tenant = "/apis/prorata.dev/v1alpha1/tenants/vision";
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    vec![
        change("relabel the namespace", own, others, ""),
        delete("delete the namespace", own, ""),
        change("change the Tenant", tenant, more, ""),
        create(
            "make a PriorityClass",
            classes,
            named(json!({ "value": 1 })),
            "",
        ),
        change("label a node", "/api/v1/nodes/node-00000", label, ""),
        read("list nodes", "/api/v1/nodes", ""),
    ]
}

fn core(rest: &str) -> String {
    format!("/api/v1/namespaces/NS/{rest}")
}

fn jobs(rest: &str) -> String {
    format!("/apis/batch/v1/namespaces/NS/jobs{rest}")
}

fn queue(rest: &str) -> String {
    format!("/apis/prorata.dev/v1alpha1/namespaces/NS/queuedjobs{rest}")
}

fn named(mut object: Value) -> Value {
    object["metadata"] = json!({ "name": "tried" });
    object
}

fn read(what: &'static str, path: &str, allowed: &'static str) -> Attempt {
    attempt(what, (Method::GET, path), Value::Null, allowed)
}

fn delete(what: &'static str, path: &str, allowed: &'static str) -> Attempt {
    attempt(what, (Method::DELETE, path), Value::Null, allowed)
}

fn create(what: &'static str, path: &str, body: Value, allowed: &'static str) -> Attempt {
    attempt(what, (Method::POST, path), body, allowed)
}

fn change(what: &'static str, path: &str, body: Value, allowed: &'static str) -> Attempt {
    attempt(what, (Method::PATCH, path), body, allowed)
}

fn attempt(
    what: &'static str,
    (method, path): (Method, &str),
    body: Value,
    allowed: &'static str,
) -> Attempt {
    Attempt {
        what,
        method,
        path: path.to_owned(),
        body,
        allowed,
    }
}
