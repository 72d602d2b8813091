//! Jobs: they wait, and only the controller starts them.

use crate::cluster::requests::{
    annotations, create, json, message, namespace, patch, pinned_to, pod_of, refused, start,
    suspend, suspended,
};
use crate::cluster::{Cluster, from, job};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Patch, PatchParams};
use prorata::api::labels::{CREATED_BY, EPOCH, HELD};
use serde_json::{Value, json};

pub(crate) async fn a_new_job_waits(cluster: &Cluster) {
    let ns = namespace(cluster, "new").await;
    let jobs = ns.of::<Job>(&cluster.alice);
    for (name, resources) in [
        ("limits", json!({ "limits": { "nvidia.com/gpu": 1 } })),
        (
            "requests",
            json!({ "limits": { "nvidia.com/gpu": 1 }, "requests": { "nvidia.com/gpu": 1 } }),
        ),
    ] {
        let mut manifest = json(&job(name, 0));
        manifest["spec"]["template"]["spec"]["initContainers"] =
            json!([{ "name": "first", "image": "none", "resources": resources }]);
        assert!(
            suspended(&create(&jobs, &from(manifest)).await),
            "{name} of an init container"
        );
    }
    let mut manifest = json(&job("twice", 1));
    let env = json!([{ "name": "A", "value": "1" }, { "name": "A", "value": "2" }]);
    manifest["metadata"]["annotations"] = json!({ "mine": "kept" });
    manifest["spec"]["template"]["spec"]["containers"][0]["env"] = env.clone();
    let stored = create(&jobs, &from(manifest)).await;
    assert!(suspended(&stored));
    assert_eq!(
        annotations(&stored),
        [(CREATED_BY, "alice"), ("mine", "kept")]
    );
    assert_eq!(
        json(&stored)["spec"]["template"]["spec"]["containers"][0]["env"],
        env,
        "repeated names survive"
    );

    let by_admin = create(&ns.of(&cluster.admin), &job("by-admin", 1)).await;
    assert!(
        suspended(&by_admin),
        "an administrator's Job is queued as well"
    );
    assert_eq!(annotations(&by_admin), [(CREATED_BY, "admin")]);
}

pub(crate) async fn its_user_holds_and_releases_it(cluster: &Cluster) {
    let ns = namespace(cluster, "hold").await;
    let jobs = ns.of::<Job>(&cluster.alice);
    let mut manifest = json(&job("held", 1));
    manifest["spec"]["suspend"] = json!(true);
    let held = create(&jobs, &from(manifest)).await;
    assert_eq!(annotations(&held), [(CREATED_BY, "alice"), (HELD, "true")]);

    for client in [&cluster.alice, &cluster.admin] {
        let released = suspend(&ns.of(client), "held", false).await;
        assert!(suspended(&released), "a release is no start");
        assert_eq!(annotations(&released), [(CREATED_BY, "alice")]);
    }
    let annotated = patch(
        &jobs,
        "held",
        json!({ "metadata": { "annotations": { HELD: "true" } } }),
    )
    .await;
    assert_eq!(
        annotations(&annotated.unwrap()).len(),
        2,
        "the annotation says no more than `suspend`"
    );
}

pub(crate) async fn only_the_controller_starts_it(cluster: &Cluster) {
    let ns = namespace(cluster, "start").await;
    let (users, ours) = (
        ns.of::<Job>(&cluster.alice),
        ns.of::<Job>(&cluster.controller),
    );
    create(&users, &job("plan", 1)).await;
    let started = start(&ours, "plan").await;
    assert!(!suspended(&started));
    let born = pod_of(&ns.of(&cluster.alice), "plan").await;
    assert_eq!(
        born.metadata.annotations.unwrap()[EPOCH],
        "7",
        "the Job controller copies the plan"
    );

    let labelled = patch(
        &users,
        "plan",
        json!({ "metadata": { "labels": { "a": "b" } } }),
    )
    .await;
    assert!(
        !suspended(&labelled.unwrap()),
        "other changes go through, plan and all"
    );
    let preempted = suspend(&ours, "plan", true).await;
    assert!(
        !preempted.metadata.annotations.unwrap().contains_key(HELD),
        "no user's hold"
    );
    start(&ours, "plan").await;
    let held = suspend(&users, "plan", true).await;
    assert_eq!(held.metadata.annotations.unwrap()[HELD], "true");
    let waits = suspend(&users, "plan", false).await;
    assert!(suspended(&waits) && !waits.metadata.annotations.unwrap().contains_key(HELD));
}

pub(crate) async fn the_places_of_a_started_job_stay(cluster: &Cluster) {
    let ns = namespace(cluster, "places").await;
    let jobs = ns.of::<Job>(&cluster.alice);
    let mut manifest = json(&job("gang", 1));
    manifest["spec"]["completionMode"] = json!("Indexed");
    manifest["spec"]["parallelism"] = json!(2);
    manifest["spec"]["completions"] = json!(2);
    create(&jobs, &from(manifest)).await;
    let places = |n: u32| json!({ "spec": { "parallelism": n, "completions": n } });
    let parallelism = |n: u32| json!({ "spec": { "parallelism": n } });
    patch(&jobs, "gang", places(3)).await.unwrap();
    patch(&jobs, "gang", parallelism(0)).await.unwrap();
    patch(&jobs, "gang", places(2)).await.unwrap();

    start(&ns.of(&cluster.controller), "gang").await;
    for change in [
        places(3),
        places(1),
        parallelism(1),
        parallelism(3),
        parallelism(0),
    ] {
        let error = patch(&jobs, "gang", change.clone()).await.unwrap_err();
        let refusal = message(&error);
        assert!(
            refusal.contains("the places of a started Job are decided"),
            "{change}: {refusal}"
        );
    }
    patch(&ns.of::<Job>(&cluster.admin), "gang", parallelism(1))
        .await
        .expect("who may break the glass may change it");
    suspend(&jobs, "gang", true).await;
    patch(&jobs, "gang", parallelism(2)).await.unwrap();

    let (free, none) = (job("free", 0), json!({ "spec": { "parallelism": 3 } }));
    create(&jobs, &free).await;
    patch(&jobs, "free", none)
        .await
        .expect("a Job without GPUs is none of our business");
}

pub(crate) async fn applying_again_changes_nothing(cluster: &Cluster) {
    let ns = namespace(cluster, "again").await;
    let jobs = ns.of::<Job>(&cluster.alice);
    let mut manifest = json(&job("again", 1));
    manifest["apiVersion"] = json!("batch/v1");
    manifest["kind"] = json!("Job");
    manifest["spec"]["suspend"] = json!(false);
    let params = PatchParams::apply("alice").force();
    let first = jobs
        .patch("again", &params, &Patch::Apply(&manifest))
        .await
        .unwrap();
    assert!(suspended(&first));
    let second = jobs
        .patch("again", &params, &Patch::Apply(&manifest))
        .await
        .unwrap();
    assert!(suspended(&second));
    assert_eq!(annotations(&second), annotations(&first));
    start(&ns.of(&cluster.controller), "again").await;
    let running = jobs
        .patch("again", &params, &Patch::Apply(&manifest))
        .await
        .unwrap();
    assert!(!suspended(&running), "what runs goes on running");
    assert_eq!(running.metadata.annotations.unwrap()[EPOCH], "7");
}

pub(crate) async fn a_job_may_start_in_part(cluster: &Cluster) {
    let ns = namespace(cluster, "parts").await;
    let jobs = ns.of::<Job>(&cluster.alice);
    let with = |name: &str, gang: &str| {
        let mut manifest = json(&job(name, 1));
        manifest["metadata"]["annotations"] = json!({ "prorata.dev/gang": gang });
        from::<Job>(manifest)
    };
    let gated = |job: &Job| {
        let template = json(job)["spec"]["template"]["spec"].clone();
        template["schedulingGates"] == json!([{ "name": "prorata.dev/queue" }])
    };
    refused(
        &jobs,
        &with("wrong", "some"),
        "annotation prorata.dev/gang of a Job",
    )
    .await;
    let parts = create(&jobs, &with("parts", "none")).await;
    assert!(
        !suspended(&parts) && gated(&parts),
        "its pods wait, and not the Job"
    );
    let ignores = json(&parts)["spec"]["podFailurePolicy"]["rules"][0].clone();
    assert_eq!(ignores["action"], "Ignore", "{ignores}");
    let decided = json!({ "metadata": { "annotations": { "prorata.dev/gang": "2" } } });
    let error = patch(&jobs, "parts", decided.clone()).await.unwrap_err();
    assert!(
        message(&error).contains("how much of a started Job"),
        "{error}"
    );
    assert!(suspended(&suspend(&jobs, "parts", true).await));
    patch(&jobs, "parts", decided.clone()).await.unwrap();
    assert!(!suspended(&suspend(&jobs, "parts", false).await));

    let whole = create(&jobs, &job("whole", 1)).await;
    assert!(suspended(&whole) && !gated(&whole));
    let parts = patch(&jobs, "whole", decided.clone()).await.unwrap();
    assert!(
        !suspended(&parts) && gated(&parts),
        "one that waits may be let start in part"
    );
    let mut held = json(&job("held", 1));
    held["spec"]["suspend"] = json!(true);
    create(&jobs, &from::<Job>(held)).await;
    let parts = patch(&jobs, "held", decided).await.unwrap();
    assert!(
        suspended(&parts) && gated(&parts),
        "what its user holds stays held"
    );
}

pub(crate) async fn jobs_of_other_controllers_are_refused(cluster: &Cluster) {
    let ns = namespace(cluster, "owned").await;
    let jobs = ns.of::<Job>(&cluster.alice);
    let owned = |name: &str, kind: &str, version: &str, suspend: bool| {
        let mut manifest = json(&job(name, 1));
        manifest["metadata"]["ownerReferences"] = json!([{ "apiVersion": version, "kind": kind, "name": "x", "uid": "x", "controller": true }]);
        manifest["spec"]["suspend"] = json!(suspend);
        from::<Job>(manifest)
    };
    let of_cron_job = create(&jobs, &owned("cron", "CronJob", "batch/v1", false)).await;
    assert!(suspended(&of_cron_job));
    refused(
        &jobs,
        &owned("set", "JobSet", "jobset.x-k8s.io/v1alpha2", false),
        "given out by a queue",
    )
    .await;
    refused(
        &jobs,
        &owned("set", "JobSet", "jobset.x-k8s.io/v1alpha2", true),
        "only the operator of a controller",
    )
    .await;
    let waits = create(&jobs, &owned("other", "Set", "example.com/v1", true)).await;
    assert!(annotations(&waits).is_empty(), "left to its controller");
    let started = patch(&jobs, "other", json!({ "spec": { "suspend": false } })).await;
    assert!(message(&started.unwrap_err()).contains("only the queue starts a Job"));
}

pub(crate) async fn nodes_are_not_chosen_by_users(cluster: &Cluster) {
    let ns = namespace(cluster, "nodes").await;
    let jobs = ns.of::<Job>(&cluster.alice);
    let with = |gpus: u32, field: &str, value: Value| {
        let mut manifest = json(&job("chooses", gpus));
        manifest["spec"]["template"]["spec"][field] = value;
        from::<Job>(manifest)
    };
    refused(
        &jobs,
        &with(1, "affinity", pinned_to("a")),
        "remove matchFields",
    )
    .await;
    refused(&jobs, &with(1, "nodeName", json!("a")), "remove nodeName").await;
    let claims = json!([{ "name": "c", "resourceClaimName": "c" }]);
    refused(
        &jobs,
        &with(1, "resourceClaims", claims.clone()),
        "past the queue",
    )
    .await;
    refused(&jobs, &with(0, "resourceClaims", claims), "past the queue").await;
    create(&jobs, &with(1, "nodeSelector", json!({ "gpu": "h100" }))).await;

    let affinity = json!({ "spec": { "template": { "spec": { "affinity": pinned_to("a") } } } });
    let error = patch(&jobs, "chooses", affinity).await.unwrap_err();
    assert!(message(&error).contains("remove matchFields"), "{error}");
}
