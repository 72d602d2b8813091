//! Keeping GPUs that are another's due: by grace periods, budgets and finalizers.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, DeleteParams, ListParams};
use kube::{Resource, ResourceExt};
use prorata::api::{QueuedJob, Tenant};
use serde_json::{Value, json};

use super::world::{World, job, job_manifest, pod_manifest, refusal};
use super::{Row, row};
use crate::cluster::from;
use crate::cluster::requests::{create, eventually, patch};

/// In seconds.
const WEEK: u32 = 7 * 24 * 60 * 60;

pub(crate) async fn attacks(world: &World) -> Vec<Row> {
    let mut rows = graces(world).await;
    rows.push(shields(world).await);
    rows.push(budgets(world).await);
    rows
}

async fn graces(world: &World) -> Vec<Row> {
    let with_grace = |mut manifest: Value, pointer: &str| {
        manifest.pointer_mut(pointer).unwrap()["terminationGracePeriodSeconds"] = json!(WEEK);
        manifest
    };
    let job = with_grace(job_manifest("long", 8), "/spec/template/spec");
    let pod = with_grace(pod_manifest("long", 8), "/spec");
    let running = running_pod(world).await;
    let deletion = DeleteParams {
        grace_period_seconds: Some(WEEK),
        ..DeleteParams::default()
    };
    let pods = world.hers::<Pod>();
    vec![
        world.refuses::<Job>("a week of grace in a Job", job).await,
        world.refuses::<Pod>("in a pod", pod).await,
        world
            .row(
                "deleting its pod with a week of grace",
                refusal(pods.delete(&running, &deletion).await),
            )
            .await,
        world
            .row(
                "evicting its pod with a week of grace",
                refusal(evict(world, &running).await),
            )
            .await,
    ]
}

async fn evict(world: &World, pod: &str) -> kube::Result<Value> {
    let body = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": { "name": pod, "namespace": "red" },
        "deleteOptions": { "gracePeriodSeconds": WEEK },
    });
    let path = format!("{}/{pod}/eviction", Pod::url_path(&(), Some("red")));
    let request = http::Request::post(path).header("Content-Type", "application/json");
    let body = serde_json::to_vec(&body).unwrap();
    world.user().request(request.body(body).unwrap()).await
}

/// Both are hers to write; neither keeps the pod when blue is due what it holds.
/// A number of pods, because `maxUnavailable` does not count those without a controller.
async fn shields(world: &World) -> Row {
    let budget: PodDisruptionBudget = from(json!({
        "metadata": { "name": "all" }, "spec": { "minAvailable": 99, "selector": {} },
    }));
    create(&world.hers::<PodDisruptionBudget>(), &budget).await;
    let running = running_pod(world).await;
    let pods = world.hers::<Pod>();
    let mut finalizers = pods.get(&running).await.unwrap().finalizers().to_vec();
    finalizers.push("example.com/never".to_owned());
    patch(
        &pods,
        &running,
        json!({ "metadata": { "finalizers": finalizers } }),
    )
    .await
    .unwrap();

    let tenants: Api<Tenant> = Api::all(world.cluster.admin.clone());
    let due = json!({ "spec": { "guaranteed": { "gpu": 14 } } });
    patch(&tenants, "blue", due).await.unwrap();
    eventually("blue gets what it owns", || async {
        world.running("blue").await.len() == 2
    })
    .await;
    let held = pods.get_opt(&running).await.unwrap();
    assert!(held.is_some(), "the finalizer keeps the object");
    patch(
        &pods,
        &running,
        json!({ "metadata": { "finalizers": null } }),
    )
    .await
    .unwrap();
    row(
        "a PodDisruptionBudget that allows nothing and a finalizer, against a tenant that takes back what it owns",
        "accepted, and no shield: the Job is suspended, its GPUs go over once the pod has ended, and only the pod's object stays",
    )
}

/// What waits by itself is ended by evictions, in which budgets have a say. A pod with two of them cannot
/// be evicted at all.
async fn budgets(world: &World) -> Row {
    let more: PodDisruptionBudget = from(json!({
        "metadata": { "name": "more" },
        "spec": { "minAvailable": "100%", "selector": { "matchLabels": { "app": "serve" } } },
    }));
    create(&world.hers::<PodDisruptionBudget>(), &more).await;
    let mut lone = pod_manifest("lone", 1);
    lone["metadata"]["annotations"] = json!({ "prorata.dev/preemptible": "true" });
    create(&world.hers::<Pod>(), &from(lone)).await;
    create(&world.hers::<Deployment>(), &deployment("serve")).await;
    eventually("both have what nobody uses", || async {
        world.running("red").await.len() == 2
    })
    .await;
    let theirs = world.running("red").await;

    let tenants: Api<Tenant> = Api::all(world.cluster.admin.clone());
    let due = json!({ "spec": { "guaranteed": { "gpu": 16 } } });
    patch(&tenants, "blue", due).await.unwrap();
    create(&world.admins::<Job>("blue"), &job("rest", 2)).await;
    eventually("they are to leave", || async {
        let faces = world.faces("red").await;
        let leaves =
            |face: &&QueuedJob| face.status.as_ref().is_some_and(|s| s.reason == "Evicted");
        faces.iter().filter(leaves).count() == 2
    })
    .await;
    assert_eq!(
        world.running("red").await,
        theirs,
        "the budgets are heeded first"
    );
    eventually("blue gets what it owns", || async {
        world.running("blue").await.len() == 3
    })
    .await;
    assert!(world.running("red").await.is_empty());
    row(
        "PodDisruptionBudgets that allow nothing, over a pod that waits by itself and over a Deployment, against the same",
        "accepted, and heeded for half of `preemption.victimTimeout`: then the pods are deleted, with the grace that they have",
    )
}

/// A Deployment of one pod with a GPU, which has its name as the label `app`.
pub(crate) fn deployment(name: &str) -> Deployment {
    let labels = json!({ "app": name });
    let mut template = pod_manifest("", 1);
    template["metadata"] = json!({ "labels": labels });
    template["spec"]["restartPolicy"] = json!("Always");
    from(json!({
        "metadata": { "name": name },
        "spec": { "replicas": 1, "selector": { "matchLabels": labels }, "template": template },
    }))
}

/// The name of red's one pod that runs.
async fn running_pod(world: &World) -> String {
    let pods = world
        .admins::<Pod>("red")
        .list(&ListParams::default())
        .await
        .unwrap();
    let runs = |pod: &&Pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running");
    pods.iter().find(runs).expect("a pod that runs").name_any()
}
