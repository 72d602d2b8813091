//! Pods that share a GPU: what their annotations become, and what is refused.

use crate::cluster::requests::{
    Space, create, eventually, json, message, namespace, patch, pod_of, refused, start, suspended,
};
use crate::cluster::{Cluster, from, job, pod};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{Api, PostParams};
use prorata::api::labels::{
    CREATED_BY, GPU_MEMORY, GPU_SHARE, MPS_MEMORY, MPS_PRIORITY, MPS_THREADS,
};
use serde_json::{Value, json};

const SLOT: &str = "nvidia.com/gpu.shared";

pub(crate) async fn annotations_become_a_slot(cluster: &Cluster) {
    let ns = namespace(cluster, "share").await;
    let jobs = ns.of::<Job>(&cluster.alice);
    let stored = create(&jobs, &from(job_asking("job", &[(GPU_SHARE, "250m")]))).await;
    assert!(suspended(&stored), "it waits");
    let slot = json!({ SLOT: "1" });
    let template = &json(&stored)["spec"]["template"];
    let container = &template["spec"]["containers"][0];
    assert_eq!(
        container["resources"],
        json!({ "limits": slot, "requests": slot })
    );
    assert_eq!(
        template["metadata"]["annotations"],
        json!({ GPU_SHARE: "250m" })
    );
    start(&ns.of(&cluster.controller), "job").await;
    let made = pod_of(&ns.of(&cluster.admin), "job").await;
    assert!(made.spec.as_ref().unwrap().scheduling_gates.is_none());
    assert_eq!(told(&made), [(MPS_PRIORITY, "0"), (MPS_THREADS, "25")]);

    let class: PriorityClass = from(json!({
        "metadata": { "name": "whenever" }, "value": -10, "preemptionPolicy": "Never",
    }));
    create(&Api::all(cluster.admin.clone()), &class).await;
    let pods = ns.of::<Pod>(&cluster.alice);
    let mut both = pod_asking("both", &[(GPU_SHARE, "5m"), (GPU_MEMORY, "8Gi")]);
    both["spec"]["priorityClassName"] = json!("whenever");
    both["spec"]["containers"][0]["env"] =
        json!([{ "name": "CUDA_MPS_CLIENT_PRIORITY", "value": "1" }]);
    both["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "beside", "image": "none" }));
    let both: Pod = from(both);
    until_accepted(&pods, &both).await;
    let stored = create(&pods, &both).await;
    assert!(
        stored.spec.as_ref().unwrap().scheduling_gates.is_some(),
        "it waits"
    );
    let expected = [
        (MPS_MEMORY, "0=8192M"),
        (MPS_PRIORITY, "1"),
        (MPS_THREADS, "1"),
    ];
    assert_eq!(told(&stored), expected);
    let spec = &json(&stored)["spec"];
    let (main, beside) = (&spec["containers"][0], &spec["containers"][1]);
    assert_eq!(
        main["resources"],
        json!({ "limits": slot, "requests": slot })
    );
    assert_eq!(beside["resources"], json!({}));
    assert!(beside["env"].is_null());
    assert_eq!(
        main["env"],
        json!([
            { "name": "CUDA_MPS_CLIENT_PRIORITY", "value": "1" },
            variable("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", MPS_THREADS),
            variable("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT", MPS_MEMORY),
        ])
    );
    any_slot(cluster, &ns).await;
}

/// Whoever names the resource itself says where the slot goes, and need not say how large it is.
async fn any_slot(cluster: &Cluster, ns: &Space) {
    let mut named = json(&pod("named", 0));
    let limits = json!({ "limits": { SLOT: "1" } });
    named["spec"]["containers"] = json!([
        { "name": "beside", "image": "none" },
        { "name": "main", "image": "none", "resources": limits },
    ]);
    let stored = create(&ns.of::<Pod>(&cluster.alice), &from(named.clone())).await;
    assert!(
        stored.spec.as_ref().unwrap().scheduling_gates.is_some(),
        "it waits"
    );
    assert_eq!(told(&stored), [(MPS_PRIORITY, "0")]);
    let spec = &json(&stored)["spec"];
    assert!(spec["containers"][0]["env"].is_null());
    assert_eq!(
        spec["containers"][1]["env"][0]["name"],
        "CUDA_MPS_CLIENT_PRIORITY"
    );
    named["metadata"] = json!({ "name": "sized", "annotations": { GPU_SHARE: "500m" } });
    let stored = create(&ns.of::<Pod>(&cluster.alice), &from(named)).await;
    let spec = &json(&stored)["spec"];
    assert_eq!(spec["containers"][0]["resources"], json!({}));
    assert_eq!(told(&stored), [(MPS_PRIORITY, "0"), (MPS_THREADS, "50")]);
    let mut instances = json(&pod("instances", 0));
    instances["spec"]["containers"][0]["resources"] =
        json!({ "limits": { "nvidia.com/mig-1g.10gb": "2" } });
    let stored = create(&ns.of::<Pod>(&cluster.alice), &from(instances)).await;
    assert!(
        stored.spec.as_ref().unwrap().scheduling_gates.is_some(),
        "it waits"
    );
    assert_eq!(told(&stored), []);
}

/// The API server may hear of a PriorityClass a moment after it is there.
async fn until_accepted(pods: &Api<Pod>, pod: &Pod) {
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    eventually("the API server knows the class", || async {
        pods.create(&dry, pod).await.is_ok()
    })
    .await;
}

pub(crate) async fn what_is_no_share_is_refused(cluster: &Cluster) {
    let ns = namespace(cluster, "no-share").await;
    let (jobs, pods) = (ns.of::<Job>(&cluster.alice), ns.of::<Pod>(&cluster.alice));
    let share =
        "prorata.dev/gpu-share in metadata is a share of one GPU in thousandths, from 1m to 500m";
    let memory = "prorata.dev/gpu-memory in metadata is memory of one GPU in Mi or Gi";
    for (key, value, because) in [
        (GPU_SHARE, "501m", share),
        (GPU_SHARE, "0m", share),
        (GPU_SHARE, "1000m", share),
        (GPU_SHARE, "0.25", share),
        (GPU_SHARE, "half", share),
        (GPU_SHARE, "", share),
        (GPU_MEMORY, "8", memory),
        (GPU_MEMORY, "0Gi", memory),
        (GPU_MEMORY, "much", memory),
        (GPU_MEMORY, "-8Gi", memory),
    ] {
        refused::<Pod>(&pods, &from(pod_asking("p", &[(key, value)])), because).await;
        let of_job = because.replace("in metadata", "in spec.template.metadata");
        refused::<Job>(&jobs, &from(job_asking("j", &[(key, value)])), &of_job).await;
    }
    let limits = |limits: Value| {
        let mut manifest = pod_asking("p", &[]);
        manifest["spec"]["containers"][0]["resources"] = json!({ "limits": limits });
        manifest
    };
    let one = "a pod has one slot of a GPU";
    refused::<Pod>(&pods, &from(limits(json!({ SLOT: "2" }))), one).await;
    let mut twice = limits(json!({ SLOT: "1" }));
    let second =
        json!({ "name": "second", "image": "none", "resources": { "limits": { SLOT: "1" } } });
    twice["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(second);
    refused::<Pod>(&pods, &from(twice), one).await;
    let mixed = "keep one of these";
    let card_and_slot = limits(json!({ SLOT: "1", "nvidia.com/gpu": "1" }));
    refused::<Pod>(&pods, &from(card_and_slot), mixed).await;
    let mut card_and_share = json(&pod("p", 1));
    card_and_share["metadata"]["annotations"] = json!({ GPU_SHARE: "250m" });
    refused::<Pod>(&pods, &from(card_and_share), mixed).await;
    let slot_and_instance = limits(json!({ SLOT: "1", "nvidia.com/mig-1g.10gb": "1" }));
    refused::<Pod>(&pods, &from(slot_and_instance), mixed).await;
    edits_are_looked_at(&jobs, [("2", "0", one), ("1", "1", mixed)]).await;

    let mut misplaced = json(&job("misplaced", 0));
    misplaced["metadata"]["annotations"] = json!({ GPU_SHARE: "250m" });
    let because = "write them in spec.template.metadata.annotations";
    refused::<Job>(&jobs, &from(misplaced), because).await;
}

/// Kubernetes lets the resources of a suspended Job be edited.
async fn edits_are_looked_at(jobs: &Api<Job>, edits: [(&str, &str, &str); 2]) {
    let stored = create(jobs, &from(job_asking("edited", &[(GPU_SHARE, "250m")]))).await;
    for (slots, cards, because) in edits {
        let mut edited = json(&stored);
        edited["metadata"]["resourceVersion"] = Value::Null;
        let container = &mut edited["spec"]["template"]["spec"]["containers"][0];
        container["resources"] = json!({ "limits": { SLOT: slots } });
        if cards != "0" {
            container["resources"]["limits"]["nvidia.com/gpu"] = cards.into();
        }
        let (edited, as_user): (Job, _) = (from(edited), PostParams::default());
        let error = jobs.replace("edited", &as_user, &edited).await.unwrap_err();
        assert!(message(&error).contains(because), "{error}");
    }
}

/// What MPS is told is ours to say, and a share stays what it was.
pub(crate) async fn nobody_forges_what_mps_is_told(cluster: &Cluster) {
    let ns = namespace(cluster, "caps").await;
    let pods = ns.of::<Pod>(&cluster.alice);
    let own = "annotations internal.prorata.dev/* are Prorata's own";
    let mut forged = pod_asking("forged", &[(GPU_SHARE, "100m"), (MPS_THREADS, "100")]);
    let stored = create(&pods, &from(forged.clone())).await;
    assert_eq!(told(&stored), [(MPS_PRIORITY, "0"), (MPS_THREADS, "10")]);
    for key in [MPS_THREADS, MPS_MEMORY] {
        let change = json!({ "metadata": { "annotations": { key: "100" } } });
        let error = patch(&pods, "forged", change).await.unwrap_err();
        assert!(message(&error).contains(own), "{error}");
    }
    let change = json!({ "metadata": { "annotations": { GPU_SHARE: "500m" } } });
    let error = patch(&pods, "forged", change).await.unwrap_err();
    let decided = "how much of a GPU a pod has is decided when it is created";
    assert!(message(&error).contains(decided), "{error}");
    forged["metadata"] = json!({ "name": "plain", "annotations": { MPS_THREADS: "100" } });
    refused::<Pod>(&pods, &from(forged), own).await;
    let template = job_asking("forged", &[(GPU_SHARE, "100m"), (MPS_THREADS, "100")]);
    refused::<Job>(&ns.of(&cluster.alice), &from(template), own).await;
}

fn pod_asking(name: &str, annotations: &[(&str, &str)]) -> Value {
    let mut manifest = json(&pod(name, 0));
    annotate(&mut manifest["metadata"], annotations);
    manifest
}

fn job_asking(name: &str, annotations: &[(&str, &str)]) -> Value {
    let mut manifest = json(&job(name, 0));
    annotate(&mut manifest["spec"]["template"]["metadata"], annotations);
    manifest
}

fn annotate(metadata: &mut Value, annotations: &[(&str, &str)]) {
    for (key, value) in annotations {
        metadata["annotations"][*key] = json!(value);
    }
}

/// What a pod says that MPS is told.
fn told(pod: &Pod) -> Vec<(&str, &str)> {
    let all = pod.metadata.annotations.iter().flatten();
    let ours = all.filter(|(key, _)| key.starts_with("internal.") && *key != CREATED_BY);
    ours.map(|(key, value)| (key.as_str(), value.as_str()))
        .filter(|(key, _)| key.contains("/mps-"))
        .collect()
}

fn variable(name: &str, annotation: &str) -> Value {
    let path = format!("metadata.annotations['{annotation}']");
    json!({ "name": name, "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": path } } })
}
