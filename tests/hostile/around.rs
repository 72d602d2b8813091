//! Around the queue: GPUs by another name, other pods' room by priority, and a Job's by a lie.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams, PostParams};
use prorata::api::Tenant;
use prorata::api::labels::{GATE, GPU_SHARE, MPS_THREADS};
use serde_json::{Value, json};

use super::Row;
use super::world::{World, job_manifest, pod_manifest, refusal};
use crate::cluster::from;
use crate::cluster::requests::{create, eventually};

pub(crate) async fn attacks(world: &World) -> Vec<Row> {
    let mut rows = priorities(world).await;
    rows.extend(ephemeral_containers(world).await);
    rows.extend(super::claims::attacks(world).await);
    rows.extend(shares(world).await);
    rows.push(pretended(world).await);
    let mut owned = job_manifest("owned", 8);
    owned["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "name": "none", "uid": "none", "controller": true,
    }]);
    rows.push(
        world
            .refuses::<Job>("a Job that claims to be a JobSet's", owned)
            .await,
    );
    rows
}

async fn priorities(world: &World) -> Vec<Row> {
    let of = |mut manifest: Value, pointer: &str, class: &str| {
        manifest.pointer_mut(pointer).unwrap()["priorityClassName"] = json!(class);
        manifest
    };
    let (job, pod) = ("/spec/template/spec", "/spec");
    // What its Tenant names it may use, and no longer than that.
    let tenants: Api<Tenant> = Api::all(world.cluster.admin.clone());
    let urgent = from::<Job>(of(job_manifest("urgent", 8), job, "urgent"));
    for (classes, is_allowed) in [
        (json!(["normal", "urgent"]), true),
        (json!(["normal"]), false),
    ] {
        let change = Patch::Merge(json!({ "spec": { "priorityClasses": classes } }));
        let params = PatchParams::default();
        tenants.patch("red", &params, &change).await.unwrap();
        eventually("the policy goes by the Tenant", || async {
            let dry_run = PostParams {
                dry_run: true,
                ..PostParams::default()
            };
            let answer = world.hers::<Job>().create(&dry_run, &urgent).await;
            answer.is_ok() == is_allowed
        })
        .await;
    }
    vec![
        world
            .refuses::<Job>(
                "a PriorityClass that its Tenant does not name, on a Job",
                of(job_manifest("urgent", 8), job, "urgent"),
            )
            .await,
        world
            .refuses::<Pod>(
                "on a pod without GPUs, before which kube-scheduler would evict others",
                of(pod_manifest("urgent", 0), pod, "urgent"),
            )
            .await,
        world
            .refuses::<Pod>(
                "`system-node-critical` on a pod",
                of(pod_manifest("critical", 0), pod, "system-node-critical"),
            )
            .await,
    ]
}

async fn ephemeral_containers(world: &World) -> Vec<Row> {
    create(&world.hers::<Pod>(), &from::<Pod>(pod_manifest("plain", 0))).await;
    let all = json!([{ "name": "NVIDIA_VISIBLE_DEVICES", "value": "all" }]);
    let with = |field: &str, value: Value| json!({ "name": field, "image": "none", field: value });
    let limits = json!({ "limits": { "nvidia.com/gpu": "1" } });
    let (right, plain) = ("pods/ephemeralcontainers", with("env", json!([])));
    world.grant(right, "patch").await;
    // Nothing is wrong with one that asks for nothing.
    eventually("the right is in force", || async {
        add(world, plain.clone()).await.is_ok()
    })
    .await;
    let mut named = pod_manifest("named", 0);
    named["spec"]["containers"][0]["env"] = all.clone();
    let rows = vec![
        world
            .row(
                "an ephemeral container with GPUs",
                added(world, with("resources", limits)).await,
            )
            .await,
        world
            .row(
                "an ephemeral container with `NVIDIA_VISIBLE_DEVICES`",
                added(
                    world,
                    json!({ "name": "late", "image": "none", "env": all }),
                )
                .await,
            )
            .await,
        world
            .refuses::<Pod>("a pod with `NVIDIA_VISIBLE_DEVICES`", named)
            .await,
    ];
    world.take_back(right).await;
    world.remove::<Pod>("plain").await;
    rows
}

/// Adds a container to a pod that is there.
async fn add(world: &World, container: Value) -> kube::Result<Pod> {
    let change = Patch::Strategic(json!({ "spec": { "ephemeralContainers": [container] } }));
    let (pods, params) = (world.hers::<Pod>(), PatchParams::default());
    pods.patch_ephemeral_containers("plain", &params, &change)
        .await
}

/// What the API server says; of the pod as a whole it says it at length.
async fn added(world: &World, container: Value) -> String {
    let said = refusal(add(world, container).await);
    match said.split_once("spec.ephemeralContainers") {
        Some((_, rest)) => format!("refused: spec.ephemeralContainers{rest}"),
        None => said,
    }
}

/// More of a card than its part, or a part that nobody counts.
async fn shares(world: &World) -> Vec<Row> {
    let limits = |limits: Value| {
        let mut manifest = pod_manifest("parts", 0);
        manifest["spec"]["containers"][0]["resources"] = json!({ "limits": limits });
        manifest
    };
    let instance = limits(json!({ "nvidia.com/mig-1g.10gb": "1" }));
    let stored = create(&world.hers::<Pod>(), &from::<Pod>(instance)).await;
    let gates = stored.spec.unwrap().scheduling_gates.unwrap_or_default();
    assert!(gates.iter().any(|gate| gate.name == GATE), "it has no gate");
    world.remove::<Pod>("parts").await;
    let mut small = pod_manifest("small", 0);
    small["metadata"]["annotations"] = json!({ GPU_SHARE: "100m" });
    create(&world.hers::<Pod>(), &from::<Pod>(small)).await;
    let change = |key: &str, value: &str| json!({ "metadata": { "annotations": { key: value } } });
    let mut forged = pod_manifest("forged", 0);
    forged["metadata"]["annotations"] = json!({ MPS_THREADS: "100" });
    let rows = vec![
        world
            .row(
                "a MIG instance by its resource name",
                "accepted, and gated as any other",
            )
            .await,
        world
            .refuses::<Pod>(
                "two slots of a shared GPU in a pod",
                limits(json!({ "nvidia.com/gpu.shared": "2" })),
            )
            .await,
        world
            .row(
                "a larger share of a GPU for a pod that is there",
                world
                    .refused_change::<Pod>("small", change(GPU_SHARE, "500m"))
                    .await,
            )
            .await,
        world
            .row(
                "what MPS is told of its pod",
                world
                    .refused_change::<Pod>("small", change(MPS_THREADS, "100"))
                    .await,
            )
            .await,
        world
            .refuses::<Pod>("the same on a pod without a share", forged)
            .await,
    ];
    world.remove::<Pod>("small").await;
    rows
}

/// It names the running Job as its controller, and bears all its labels.
async fn pretended(world: &World) -> Row {
    let job = world.hers::<Job>().get("runs").await.unwrap();
    let mut pod = pod_manifest("pretended", 8);
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "batch/v1", "kind": "Job", "name": "runs", "uid": job.metadata.uid, "controller": true,
    }]);
    pod["metadata"]["labels"] = json!(job.spec.unwrap().template.metadata.unwrap().labels);
    let stored = create(&world.hers::<Pod>(), &from::<Pod>(pod)).await;
    let gates = stored.spec.unwrap().scheduling_gates.unwrap_or_default();
    assert!(gates.iter().any(|gate| gate.name == GATE), "it has no gate");
    assert_eq!(world.running("red").await.len(), 1);
    // The Job controller may have found one too many by now.
    let _ = world
        .admins::<Pod>("red")
        .delete("pretended", &kube::api::DeleteParams::default())
        .await;
    world
        .row(
            "a pod that claims to be a running Job's",
            "accepted, and gated as any other: it joins no gang",
        )
        .await
}
