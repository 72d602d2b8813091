//! What users may not write, and who may all the same.

use crate::cluster::requests::{
    Space, create, json, message, namespace, patch, pod_of, refused, request_as, start, suspended,
};
use crate::cluster::{Cluster, from, job, pod};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use prorata::api::labels::{CREATED_BY, EPOCH, HELD, JOB_UID};
use serde_json::json;

pub(crate) async fn annotations_of_ours_are_nobody_elses(cluster: &Cluster) {
    let ns = namespace(cluster, "marks").await;
    let jobs = ns.of::<Job>(&cluster.alice);
    create(&jobs, &job("mine", 1)).await;
    create(&jobs, &job("plain", 0)).await;
    let own = "annotations internal.prorata.dev/* are Prorata's own";
    for (name, path, value) in [
        ("mine", EPOCH, json!("9")),
        ("mine", CREATED_BY, json!("bob")),
        ("mine", CREATED_BY, json!(null)),
        ("mine", HELD, json!("yes")),
        ("plain", EPOCH, json!("9")),
        ("plain", HELD, json!("true")),
    ] {
        let change = json!({ "metadata": { "annotations": { path: value } } });
        let error = patch(&jobs, name, change.clone()).await.unwrap_err();
        assert!(message(&error).contains(own), "{name} {path}: {error}");
        let through_status = jobs
            .patch_status(name, &PatchParams::default(), &Patch::Merge(change))
            .await;
        assert!(through_status.is_err(), "{name} {path} through the status");
    }
    for gpus in [0, 1] {
        let mut on_job = json(&job("new", gpus));
        on_job["metadata"]["annotations"] = json!({ EPOCH: "9" });
        refused::<Job>(&jobs, &from(on_job), own).await;
        let mut on_template = json(&job("new", gpus));
        on_template["spec"]["template"]["metadata"] = json!({ "annotations": { EPOCH: "9" } });
        refused::<Job>(&jobs, &from(on_template), own).await;
    }
    let pods = ns.of::<Pod>(&cluster.alice);
    let mut marked = json(&pod("marked", 0));
    marked["metadata"]["annotations"] = json!({ EPOCH: "9" });
    refused::<Pod>(&pods, &from(marked), own).await;
    create(&pods, &pod("free", 0)).await;
    let change = json!({ "metadata": { "annotations": { EPOCH: "9" } } });
    assert!(message(&patch(&pods, "free", change).await.unwrap_err()).contains(own));
}

pub(crate) async fn pods_wait_by_their_gate(cluster: &Cluster) {
    let ns = namespace(cluster, "bare").await;
    let pods = ns.of::<Pod>(&cluster.alice);
    let waiting = create(&pods, &pod("bare", 1)).await;
    assert_eq!(gates(&waiting), ["prorata.dev/queue"]);
    assert_eq!(waiting.metadata.annotations.unwrap()[CREATED_BY], "alice");
    let mut early = json(&pod("early", 0));
    early["metadata"]["annotations"] = json!({ CREATED_BY: "bob" });
    early["spec"]["initContainers"] = json!([{ "name": "first", "image": "none", "resources": { "limits": { "nvidia.com/gpu": "1" } } }]);
    early["spec"]["schedulingGates"] = json!([{ "name": "own" }]);
    let early = create(&pods, &from(early)).await;
    assert_eq!(gates(&early), ["own", "prorata.dev/queue"]);
    assert_eq!(
        early.metadata.annotations.unwrap()[CREATED_BY],
        "alice",
        "whatever she says"
    );

    let open = |name: &str| {
        let gate = json!({ "name": name, "$patch": "delete" });
        Patch::Strategic(json!({ "spec": { "schedulingGates": [gate] } }))
    };
    let (params, ours) = (PatchParams::default(), open("prorata.dev/queue"));
    pods.patch("early", &params, &open("own")).await.unwrap();
    let error = pods.patch("early", &params, &ours).await.unwrap_err();
    assert!(
        message(&error).contains("only the queue lets a pod go"),
        "{error}"
    );
    let controller = ns.of::<Pod>(&cluster.controller);
    let told = json!({ "status": { "nominatedNodeName": "a" } });
    controller
        .patch_status("early", &params, &Patch::Merge(told))
        .await
        .unwrap();
    controller.patch("early", &params, &ours).await.unwrap();

    let mut claims = json(&pod("claims", 0));
    claims["spec"]["resourceClaims"] = json!([{ "name": "c", "resourceClaimName": "c" }]);
    refused::<Pod>(&pods, &from(claims), "past the queue").await;

    let mut bound = json(&pod("bound", 1));
    bound["spec"]["nodeName"] = json!("a");
    let request = kube::core::Request::new(Pod::url_path(&(), Some(&ns.name)))
        .create(&PostParams::default(), serde_json::to_vec(&bound).unwrap())
        .unwrap();
    let error = request_as(cluster, "job-controller", request)
        .await
        .unwrap_err();
    assert!(message(&error).contains("remove nodeName"), "{error}");
}

/// Whoever parts a pod from its Job would keep it where it is when that has to leave. Kubernetes' own
/// controllers do so where they have to.
pub(crate) async fn a_pod_stays_with_what_made_it(cluster: &Cluster) {
    let ns = namespace(cluster, "made").await;
    create(&ns.of(&cluster.alice), &job("whole", 1)).await;
    start(&ns.of(&cluster.controller), "whole").await;
    let pods = ns.of::<Pod>(&cluster.alice);
    let pod = pod_of(&pods, "whole").await;
    let name = pod.name_any();
    let mut anothers = json(&pod.owner_references());
    anothers[0]["uid"] = json!("another");
    let nobodys = json!({ "metadata": { "ownerReferences": null } });
    // Kubernetes keeps what has another owner yet.
    let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c" });
    let mut more = json(&pod.owner_references());
    more.as_array_mut().unwrap().push(config);
    for change in [
        nobodys.clone(),
        json!({ "metadata": { "ownerReferences": anothers } }),
        json!({ "metadata": { "ownerReferences": more } }),
        json!({ "metadata": { "labels": { JOB_UID: null } } }),
        json!({ "metadata": { "labels": { JOB_UID: "another" } } }),
    ] {
        let error = patch(&pods, &name, change).await.unwrap_err();
        let said = message(&error);
        assert!(said.contains("makes room for others with what"), "{said}");
    }
    let plain = json!({ "metadata": { "labels": { "app": "x" }, "annotations": { "a": "b" } } });
    patch(&pods, &name, plain).await.unwrap();

    let as_ours = json!({ "metadata": { "ownerReferences": pod.owner_references() } });
    for (controller, change) in [
        ("generic-garbage-collector", &nobodys),
        ("job-controller", &as_ours),
        ("job-controller", &nobodys),
    ] {
        let request = kube::core::Request::new(Pod::url_path(&(), Some(&ns.name)))
            .patch(&name, &PatchParams::default(), &Patch::Merge(change))
            .unwrap();
        request_as(cluster, controller, request).await.unwrap();
    }
    let own = create(&pods, &from(json(&crate::cluster::pod("own", 1)))).await;
    let owned = json!({ "metadata": { "ownerReferences": more } });
    patch(&pods, &own.name_any(), owned).await.unwrap();
}

/// Kubernetes would not end its pods before the finalizer is gone, nor suspend it.
pub(crate) async fn a_job_has_no_finalizer_of_its_users(cluster: &Cluster) {
    let ns = namespace(cluster, "final").await;
    let jobs = ns.of::<Job>(&cluster.alice);
    let with = |name: &str, gpus: u32, finalizer: &str| {
        let mut manifest = json(&job(name, gpus));
        manifest["metadata"]["finalizers"] = json!([finalizer]);
        from::<Job>(manifest)
    };
    let stays = "leave finalizers out";
    refused::<Job>(&jobs, &with("stays", 1, "example.com/never"), stays).await;
    create(&jobs, &job("later", 1)).await;
    let later = json!({ "metadata": { "finalizers": ["example.com/never"] } });
    let error = patch(&jobs, "later", later.clone()).await.unwrap_err();
    assert!(message(&error).contains(stays), "{error}");
    let params = PatchParams::default();
    let by_status = jobs
        .patch_status("later", &params, &Patch::Merge(&later))
        .await;
    assert!(message(&by_status.unwrap_err()).contains(stays));
    create(&jobs, &with("kubernetes", 1, "foregroundDeletion")).await;
    create(&jobs, &with("plain", 0, "example.com/kept")).await;
    // What somebody else has put there stays in nobody's way.
    patch(&ns.of::<Job>(&cluster.admin), "later", later)
        .await
        .unwrap();
    let labels = json!({ "metadata": { "labels": { "app": "x" } } });
    patch(&jobs, "later", labels).await.unwrap();
    let none = json!({ "metadata": { "finalizers": null } });
    for name in ["later", "plain", "kubernetes"] {
        patch(&jobs, name, none.clone()).await.unwrap();
    }
}

fn gates(pod: &Pod) -> Vec<&str> {
    let gates = pod
        .spec
        .iter()
        .flat_map(|spec| spec.scheduling_gates.iter().flatten());
    gates.map(|gate| gate.name.as_str()).collect()
}

pub(crate) async fn who_may_break_the_glass_passes_the_guards(cluster: &Cluster) {
    let ns = namespace(cluster, "glass").await;
    let bound = |client: &Client| {
        let mut manifest = json(&pod("bound", 1));
        manifest["spec"]["nodeName"] = json!("a");
        (ns.of::<Pod>(client), from::<Pod>(manifest))
    };
    let (pods, manifest) = bound(&cluster.alice);
    refused(&pods, &manifest, "remove nodeName").await;
    grant_bypass(cluster, &ns).await;
    create(&pods, &manifest).await;
    assert!(
        suspended(&create(&ns.of(&cluster.alice), &job("queued", 1)).await),
        "Jobs are queued all the same"
    );
    let elsewhere = namespace(cluster, "unbroken").await;
    refused(&elsewhere.of(&cluster.alice), &manifest, "remove nodeName").await;
}

/// Lets alice break the glass in one namespace.
async fn grant_bypass(cluster: &Cluster, ns: &Space) {
    let rules =
        json!([{ "apiGroups": ["prorata.dev"], "resources": ["queuedjobs"], "verbs": ["bypass"] }]);
    let role: Role = from(json!({ "metadata": { "name": "bypass" }, "rules": rules }));
    let binding: RoleBinding = from(json!({
        "metadata": { "name": "bypass" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "bypass" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice" }],
    }));
    create(&ns.of(&cluster.admin), &role).await;
    create(&ns.of(&cluster.admin), &binding).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
}
