//! Our own objects: who writes them, and what they may say.

use crate::cluster::requests::{
    create, eventually, message, namespace, patch, refused, request_as,
};
use crate::cluster::{Cluster, from, job, queued_job};
use k8s_openapi::api::core::v1::Namespace;
use kube::Resource;
use kube::api::{Api, DeleteParams, PostParams};
use prorata::api::{QueuedJob, Tenant};
use serde_json::{Value, json};

pub(crate) async fn queued_jobs_are_the_controllers(cluster: &Cluster) {
    let ns = namespace(cluster, "faces").await;
    let (ours, users) = (
        ns.of::<QueuedJob>(&cluster.controller),
        ns.of::<QueuedJob>(&cluster.alice),
    );
    let only = "change, suspend or delete the Job instead";
    refused(&users, &queued_job("face", "1", 5), only).await;
    create(&ours, &queued_job("face", "1", 5)).await;
    let raised = json!({ "spec": { "priority": 9 } });
    assert!(message(&patch(&users, "face", raised.clone()).await.unwrap_err()).contains(only));
    assert!(
        message(
            &users
                .delete("face", &DeleteParams::default())
                .await
                .unwrap_err()
        )
        .contains(only)
    );
    patch(&ours, "face", raised).await.unwrap();
    patch(&ours, "face", json!({ "spec": { "gang": 0 } }))
        .await
        .expect("a Job of parallelism 0 has a face as well");

    let epoch = |epoch: i64| json!({ "spec": { "admission": { "epoch": epoch } } });
    let error = patch(&ours, "face", epoch(4)).await.unwrap_err();
    assert!(
        message(&error).contains("the epoch of an admission never falls"),
        "{error}"
    );
    patch(&ours, "face", epoch(6)).await.unwrap();
    let elsewhere = json!({ "spec": { "admission": { "placement": [{ "node": "elsewhere" }] } } });
    let error = patch(&ours, "face", elsewhere).await.unwrap_err();
    assert!(
        message(&error).contains("an admission never changes"),
        "{error}"
    );
    let error = patch(&ours, "face", json!({ "spec": { "job": { "uid": "2" } } }))
        .await
        .unwrap_err();
    assert!(
        message(&error).contains("stands for one job for ever"),
        "{error}"
    );
    patch(&ours, "face", json!({ "spec": { "admission": null } }))
        .await
        .unwrap();
    let status = json!({ "status": { "state": "Waiting", "reason": "CapacityFull", "message": "all 8 GPUs are taken" } });
    patch(&ours, "face", status).await.unwrap();
}

pub(crate) async fn housekeeping_goes_on(cluster: &Cluster) {
    let ns = namespace(cluster, "ends").await;
    let faces = ns.of::<QueuedJob>(&cluster.controller);
    for name in ["gone", "stays"] {
        create(&ns.of(&cluster.alice), &job(name, 1)).await;
        create(&faces, &queued_job(name, name, 1)).await;
    }
    // The real one learns of a new kind of object every 30 s only.
    let request = kube::core::Request::new(QueuedJob::url_path(&(), Some(&ns.name)))
        .delete("gone", &DeleteParams::default())
        .unwrap();
    request_as(cluster, "generic-garbage-collector", request)
        .await
        .unwrap();

    let namespaces: Api<Namespace> = Api::all(cluster.admin.clone());
    namespaces
        .delete(&ns.name, &DeleteParams::default())
        .await
        .unwrap();
    eventually("the namespace goes, and all in it", || async {
        namespaces.get_opt(&ns.name).await.unwrap().is_none()
    })
    .await;
}

pub(crate) async fn tenants_are_checked_by_server_and_reader_alike(cluster: &Cluster) {
    let tenants: Api<Tenant> = Api::all(cluster.admin.clone());
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let (right, wrong) = (right_tenants(), wrong_tenants());
    let specs = right
        .iter()
        .map(|spec| (spec, true))
        .chain(wrong.iter().map(|spec| (spec, false)));
    for (spec, expected) in specs {
        let manifest = json!({
            "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant",
            "metadata": { "name": "red" }, "spec": spec,
        });
        let request = http_create(&manifest, &dry_run);
        let stored = cluster.admin.request::<Value>(request).await;
        assert_eq!(stored.is_ok(), expected, "the server on {spec}: {stored:?}");
        let documents =
            prorata::manifest::Document::parse("red.yaml", &manifest.to_string()).unwrap();
        let found = prorata::validate::document(&documents[0]);
        assert_eq!(
            found.is_empty(),
            expected,
            "our reader on {spec}: {found:?}"
        );
    }
    let tenant = create(&tenants, &from(json!({
        "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "red" }, "spec": {},
    })))
    .await;
    assert_eq!(
        tenant.spec.weight.as_str(),
        "1",
        "the server fills in the default"
    );
}

fn right_tenants() -> Vec<Value> {
    vec![
        json!({}),
        json!({ "weight": 2 }),
        json!({ "weight": "1/2", "guaranteed": { "gpu": 8, "memory": 68_719_476_736_u64 } }),
        json!({ "weight": "0", "guaranteed": { "cpu": "500m" }, "limit": { "cpu": 1, "gpu": "0.5" } }),
        json!({ "guaranteed": { "memory": "64Gi" }, "limit": { "memory": "65536Mi" } }),
        json!({ "parent": "lab", "lendingLimit": { "gpu": 1 }, "priorityClasses": ["urgent"] }),
        json!({ "priorityClasses": [] }),
        json!({ "limit": { "gpu": "2Ki", "cpu": "1k", "memory": "8Ki" } }),
        json!({ "guaranteed": { "gpu": "0.0010" } }),
        json!({ "guaranteed": { "gpu": "1.250", "cpu": "2.0m", "memory": "0.625Gi" } }),
        json!({ "limit": { "gpu": "1.5Ki", "cpu": "0.001k", "memory": "3000m" } }),
        json!({ "limit": { "gpu": "281474976710655m", "memory": 281_474_976_710_655_u64 } }),
        json!({ "environments": [{ "name": "dev" }, { "name": "staging" }, { "name": "prod" }], "quotas": "hard" }),
        json!({ "environments": [{ "name": "qa", "percent": 100, "namespace": "old-qa", "priorityClasses": ["low"] }] }),
        json!({ "environments": [], "costCenter": "CC_1.x", "department": "R-D", "owner": "ada", "displayName": "Ä" }),
        json!({ "members": { "admins": [{ "user": "ada" }], "users": [{ "group": "a:b" }], "viewers": [{ "user": "system:serviceaccount:a:b" }] } }),
        json!({ "containers": { "default": { "cpu": 1 }, "min": { "cpu": "250m" }, "max": { "cpu": "1.5", "memory": "64Gi" } } }),
        json!({ "pods": { "max": { "cpu": 999_999, "memory": 99_999_999_999_999_u64 } } }),
        json!({ "objects": { "pods": 0, "jobs": 1_000_000 }, "storage": { "total": "249Ti", "classes": [{ "name": "fast.x", "amount": 0 }] } }),
        json!({ "network": { "internet": true, "services": [{ "namespace": "a", "ports": [{ "port": 1 }, { "port": 65535, "protocol": "UDP" }] }] } }),
        json!({ "security": { "level": "restricted", "readOnlyRoot": true, "runtimeClass": "gvisor" } }),
        json!({ "meshLabels": [{ "name": "istio-injection", "value": "enabled" }, { "name": "linkerd.io/inject", "value": "" }] }),
        json!({ "compliance": { "class": "pci", "nodePool": "Pool_1" }, "environments": [{ "name": "qa", "percent": 100 }] }),
        json!({ "schedules": [{ "name": "all", "guaranteed": { "gpu": 2 } }] }),
        json!({ "schedules": [
            { "name": "night", "days": ["Mon", "Sun"], "from": "20:00", "to": "08:00", "timeZone": "Europe/Berlin",
              "weight": "1/2", "guaranteed": { "gpu": "500m" }, "limit": { "memory": "1Ti" }, "lendingLimit": { "cpu": 1 } },
            { "name": "day", "days": ["Wed"], "from": "08:00", "to": "20:00", "timeZone": "Europe/Berlin" },
        ] }),
        json!({ "grants": [
            { "name": "a", "until": "2026-12-24T18:00:00Z", "guaranteed": { "gpu": 1 } },
            { "name": "b", "from": "2026-12-24T18:00:00+02:00", "until": "2026-12-24T17:00:00.5Z", "reason": "Ä" },
        ] }),
        json!({ "compliance": { "class": "pci" }, "budget": { "monthly": "2500.50", "currency": "EUR" } }),
    ]
}

fn wrong_tenants() -> Vec<Value> {
    let mut wrong = wrong_amounts();
    wrong.extend(wrong_environments());
    wrong.extend(wrong_changes());
    wrong
}

fn wrong_environments() -> Vec<Value> {
    let one = |more: Value| {
        let mut environment = json!({ "name": "qa", "percent": 100 });
        for (key, value) in more.as_object().unwrap() {
            environment[key] = value.clone();
        }
        json!({ "environments": [environment] })
    };
    let admin = |member: Value| json!({ "members": { "admins": [member] } });
    let port =
        |port: Value| json!({ "network": { "services": [{ "namespace": "a", "ports": [port] }] } });
    vec![
        one(json!({ "percent": 99 })),
        one(json!({ "percent": 101 })),
        one(json!({ "percent": null })),
        one(json!({ "name": "Q" })),
        one(json!({ "name": "a-name-of-more-than-twenty" })),
        one(json!({ "namespace": "a.b" })),
        json!({ "environments": [{ "name": "dev" }, { "name": "prod" }] }),
        json!({ "environments": [{ "name": "a", "percent": 50 }, { "name": "a", "percent": 50 }] }),
        json!({ "quotas": "soft" }),
        json!({ "costCenter": "a b" }),
        json!({ "department": "-" }),
        json!({ "displayName": "x".repeat(129) }),
        admin(json!({})),
        admin(json!({ "user": "a", "group": "b" })),
        admin(json!({ "user": "" })),
        admin(json!({ "user": "system:admin" })),
        admin(json!({ "group": "system:masters" })),
        admin(json!({ "group": "system:authenticated" })),
        json!({ "containers": { "max": { "cpu": "1.2345" } } }),
        json!({ "pods": { "min": { "memory": "1.5Gi" } } }),
        json!({ "pods": { "min": { "memory": -1 } } }),
        json!({ "objects": { "pods": -1 } }),
        json!({ "objects": { "pods": 1_000_001 } }),
        json!({ "storage": { "total": "250Ti" } }),
        json!({ "storage": { "classes": [{ "name": "Fast", "amount": "1Gi" }] } }),
        json!({ "storage": { "classes": [{ "name": "a", "amount": 1 }, { "name": "a", "amount": 1 }] } }),
        port(json!({ "port": 0 })),
        port(json!({ "port": 65536 })),
        port(json!({ "port": 1, "protocol": "SCTP" })),
        json!({ "network": { "services": [{ "namespace": "*" }] } }),
        json!({ "security": { "level": "privileged" } }),
        json!({ "security": { "runtimeClass": "G" } }),
        json!({ "meshLabels": [{ "name": "pod-security.kubernetes.io/enforce", "value": "privileged" }] }),
        json!({ "meshLabels": [{ "name": "prorata.dev/tenant", "value": "other" }] }),
        json!({ "meshLabels": [{ "name": "a/b/c", "value": "x" }] }),
        json!({ "meshLabels": [{ "name": "a", "value": "x y" }] }),
        json!({ "compliance": { "class": "gdpr" } }),
        json!({ "compliance": { "nodePool": "alone" } }),
        json!({ "compliance": { "nodePool": "a b" }, "environments": [{ "name": "qa", "percent": 100 }] }),
        json!({ "budget": { "monthly": "-1", "currency": "EUR" } }),
        json!({ "budget": { "monthly": 1, "currency": "eur" } }),
    ]
}

/// Hours and grants that make no sense.
fn wrong_changes() -> Vec<Value> {
    let schedule = |more: Value| {
        let mut schedule = json!({ "name": "a" });
        for (key, value) in more.as_object().unwrap() {
            schedule[key] = value.clone();
        }
        json!({ "schedules": [schedule] })
    };
    vec![
        schedule(json!({ "days": ["Monday"] })),
        schedule(json!({ "from": "24:00" })),
        schedule(json!({ "from": "8:00" })),
        schedule(json!({ "to": "24:01" })),
        schedule(json!({ "from": "08:00", "to": "08:00" })),
        schedule(json!({ "timeZone": "no zone" })),
        schedule(json!({ "weight": "1/0" })),
        schedule(json!({ "limit": { "gpu": -1 } })),
        schedule(json!({ "name": "N" })),
        json!({ "schedules": [{ "name": "a" }, { "name": "a" }] }),
        json!({ "schedules": [
            { "name": "a", "days": ["Mon"] }, { "name": "b", "days": ["Tue"], "timeZone": "Asia/Tokyo" },
        ] }),
        json!({ "grants": [{ "name": "a" }] }),
        json!({ "grants": [{ "name": "a", "until": "tomorrow" }] }),
        json!({ "grants": [{ "name": "a", "until": "2026-13-01T00:00:00Z" }] }),
        json!({ "grants": [{ "name": "a", "from": "2026-12-24T18:00:00Z", "until": "2026-12-24T19:00:00+01:00" }] }),
        json!({
            "quotas": "hard", "environments": [{ "name": "qa", "percent": 100 }],
            "grants": [{ "name": "a", "until": "2026-12-24T18:00:00Z" }],
        }),
    ]
}

fn wrong_amounts() -> Vec<Value> {
    vec![
        json!({ "parent": "Lab" }),
        json!({ "parent": "-" }),
        json!({ "lendingLimit": { "gpu": -1 } }),
        json!({ "weight": "half" }),
        json!({ "weight": -1 }),
        json!({ "weight": "1/0" }),
        json!({ "weight": 0.5 }),
        json!({ "guaranteed": { "gpu": -8 } }),
        json!({ "guaranteed": { "gpu": "eight" } }),
        json!({ "limit": { "memory": "-1Gi" } }),
        json!({ "guaranteed": { "gpu": 9 }, "limit": { "gpu": 8 } }),
        json!({ "guaranteed": { "memory": "64Gi" }, "limit": { "memory": "65535Mi" } }),
        json!({ "guaranteed": { "gpu": "0.0005" } }),
        json!({ "guaranteed": { "gpu": "0.9999999999" } }),
        json!({ "guaranteed": { "gpu": "0.00124Ki" } }),
        json!({ "limit": { "cpu": "1.5m" } }),
        json!({ "limit": { "cpu": "1.0000000000000000000" } }),
        json!({ "limit": { "memory": "0.5" } }),
        json!({ "limit": { "memory": "1500m" } }),
        json!({ "limit": { "memory": "0.1Gi" } }),
        json!({ "limit": { "memory": "0.0005k" } }),
        json!({ "limit": { "gpu": "281474976710656m" } }),
        json!({ "limit": { "cpu": "1E" } }),
        json!({ "limit": { "memory": "256Ti" } }),
        json!({ "limit": { "memory": 281_474_976_710_656_u64 } }),
    ]
}

fn http_create(manifest: &Value, params: &PostParams) -> http::Request<Vec<u8>> {
    let body = serde_json::to_vec(manifest).unwrap();
    kube::core::Request::new("/apis/prorata.dev/v1alpha1/tenants")
        .create(params, body)
        .unwrap()
}
