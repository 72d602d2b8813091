//! Jobs that may start in part, and those that may not.

use std::time::Duration;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use prorata::api::State;
use prorata_controlplane::GPU;
use serde_json::json;

use super::pods::{running, running_when, until_empty};
use crate::cluster::requests::{create, json as manifest, patch, suspended};
use crate::cluster::{from, job};
use crate::outage::world::{NODES, World, gang, is_complete};

/// So many pods of one GPU, of which so many start together.
pub(crate) fn in_part(name: &str, pods: usize, least: &str) -> Job {
    let mut job = manifest(&gang(name, pods));
    job["metadata"]["annotations"] = json!({ "prorata.dev/gang": least });
    from(job)
}

const BOTH: [&str; 8] = [
    NODES[0], NODES[0], NODES[0], NODES[0], NODES[1], NODES[1], NODES[1], NODES[1],
];

async fn remove(world: &World, namespace: &str, name: &str) {
    let background = DeleteParams::background();
    world
        .jobs(namespace)
        .delete(name, &background)
        .await
        .unwrap();
    until_empty(world, namespace).await;
}

async fn until_running(world: &World, namespace: &str, on: &[&str]) {
    super::pods::until_running(world, namespace, on).await;
}

pub(crate) async fn each_pod_of_a_job_may_start_alone(world: &World) {
    world.namespace("alone", Some("red")).await;
    let created = world.submit("alone", &in_part("many", 10, "none")).await;
    assert!(!suspended(&created));
    until_running(world, "alone", &BOTH).await;
    world.kubelet.finish("alone", "many").await.unwrap();
    running_when(world, "alone", 2).await;
    world.kubelet.finish("alone", "many").await.unwrap();
    world
        .until("all ten have run", async || {
            is_complete(&world.job("alone", "many").await)
        })
        .await;
    remove(world, "alone", "many").await;
}

/// Its node takes nothing any more, and each of its places has had a pod before: it starts anew elsewhere.
pub(crate) async fn a_pod_that_is_made_anew_and_finds_no_place_has_its_job_start_anew(
    world: &World,
) {
    world.namespace("anew", Some("red")).await;
    world.submit("anew", &gang("anew", 2)).await;
    until_running(world, "anew", &[NODES[0]; 2]).await;
    let nodes: Api<Node> = Api::all(world.cluster.admin.clone());
    let cordon = |yes: bool| json!({ "spec": { "unschedulable": yes } });
    patch(&nodes, NODES[0], cordon(true)).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(world.cluster.admin.clone(), "anew");
    let first = world.pods("anew").await.remove(0);
    let now = DeleteParams::default();
    pods.delete(&first.name_any(), &now).await.unwrap();
    let patience = Duration::from_secs(120);
    world
        .until_within("its start is taken back", patience, async || {
            let told = world.events("anew", "anew").await;
            told.iter()
                .any(|(why, note)| why == "Requeued" && note.contains("cannot place"))
        })
        .await;
    until_running(world, "anew", &[NODES[1]; 2]).await;
    patch(&nodes, NODES[0], cordon(false)).await.unwrap();
    world.complete("anew", "anew").await;
    remove(world, "anew", "anew").await;
}

pub(crate) async fn a_minimum_starts_together_and_the_others_follow(world: &World) {
    world.namespace("least", Some("red")).await;
    world.submit("least", &gang("before", 5)).await;
    running_when(world, "least", 5).await;
    world.namespace("parts", Some("red")).await;
    world.submit("parts", &in_part("most", 10, "6")).await;
    world
        .until_stands("parts", "most", State::Waiting, "CapacityFull")
        .await;
    assert_eq!(running(world, "parts").await.len(), 0, "three are too few");
    world.complete("least", "before").await;
    until_running(world, "parts", &BOTH).await;
    let record = world.record("parts", "most").await.unwrap();
    assert_eq!(record.spec.gang, 6);
    remove(world, "parts", "most").await;
}

pub(crate) async fn a_job_that_is_too_large_is_told_so_and_may_start_in_part(world: &World) {
    world.namespace("large", Some("red")).await;
    world.submit("large", &gang("large", 12)).await;
    world
        .until_stands("large", "large", State::Waiting, "ExceedsCapacity")
        .await;
    let record = world.record("large", "large").await.unwrap();
    let message = record.status.unwrap().message;
    assert!(message.contains("prorata.dev/gang"), "{message}");
    let none = json!({ "metadata": { "annotations": { "prorata.dev/gang": "none" } } });
    patch(&world.jobs("large"), "large", none).await.unwrap();
    until_running(world, "large", &BOTH).await;
    remove(world, "large", "large").await;
}

/// It makes a Job every minute. That can never run, so it is in nobody's way.
pub(crate) async fn begin_a_cron_job(world: &World) {
    world.namespace("cron", Some("red")).await;
    let template = json!({ "spec": manifest(&job("x", 5))["spec"] });
    let nightly = json!({
        "metadata": { "name": "nightly" },
        "spec": { "schedule": "* * * * *", "jobTemplate": template, "concurrencyPolicy": "Forbid" },
    });
    create(&cron_jobs(world), &from(nightly)).await;
}

fn cron_jobs(world: &World) -> Api<CronJob> {
    Api::namespaced(world.cluster.admin.clone(), "cron")
}

pub(crate) async fn jobs_of_a_cron_job_are_held_like_any_other(world: &World) {
    let of_cron = async || {
        let jobs = world.jobs("cron").list(&ListParams::default()).await;
        jobs.unwrap().items.first().map(ResourceExt::name_any)
    };
    let patience = Duration::from_secs(90);
    world
        .until_within("the schedule makes a Job", patience, async || {
            of_cron().await.is_some()
        })
        .await;
    let name = of_cron().await.unwrap();
    world
        .until_stands("cron", &name, State::Waiting, "NoSuchGpu")
        .await;
    assert!(suspended(&world.job("cron", &name).await));
    // What waits may be made smaller; then it runs through.
    let asks = |gpus: &str| json!({"limits": {GPU: gpus}, "requests": {GPU: gpus}});
    let smaller = json!({"name": "main", "resources": asks("2")});
    let template = json!({"spec": {"containers": [smaller]}});
    let change = Patch::Strategic(json!({"spec": {"template": template}}));
    let jobs = world.jobs("cron");
    jobs.patch(&name, &PatchParams::default(), &change)
        .await
        .unwrap();
    world
        .until("it runs as it is now", async || {
            world.nodes_of("cron", &name).await.len() == 1
        })
        .await;
    let record = world.record("cron", &name).await.unwrap().spec;
    assert_eq!(record.gpus, "2");
    world.complete("cron", &name).await;
    let background = DeleteParams::background();
    cron_jobs(world)
        .delete("nightly", &background)
        .await
        .unwrap();
}

/// How many pods run at the same time may be changed while a Job waits, and counts when it starts.
pub(crate) async fn a_waiting_job_may_become_smaller(world: &World) {
    world.namespace("edited", Some("red")).await;
    world.submit("edited", &gang("before", 6)).await;
    running_when(world, "edited", 6).await;
    let mut wide = job("wide", 1);
    let spec = wide.spec.as_mut().unwrap();
    (spec.parallelism, spec.completions) = (Some(4), Some(4));
    world.submit("edited", &wide).await;
    world
        .until_stands("edited", "wide", State::Waiting, "CapacityFull")
        .await;
    let narrow = json!({"spec": {"parallelism": 2}});
    patch::<Job>(&world.jobs("edited"), "wide", narrow)
        .await
        .unwrap();
    world
        .until("two of its pods run", async || {
            world.nodes_of("edited", "wide").await.len() == 2
        })
        .await;
    assert_eq!(world.record("edited", "wide").await.unwrap().spec.gang, 2);
    world.complete("edited", "before").await;
    let background = DeleteParams::background();
    let jobs = world.jobs("edited");
    jobs.delete("before", &background).await.unwrap();
    remove(world, "edited", "wide").await;
}
