//! Pods that leave for those who own their place.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, DeleteParams, ListParams};
use prorata::api::{QueuedJob, State};
use serde_json::json;

use super::pods::{
    annotated, deployment, running, running_when, stateful_set, until_empty, until_running,
};
use crate::cluster::from;
use crate::cluster::requests::create;
use crate::outage::world::{NODES, World, gang};

const FOUR: [&str; 4] = [NODES[0], NODES[0], NODES[1], NODES[1]];

fn deployments(world: &World, namespace: &str) -> Api<Deployment> {
    Api::namespaced(world.cluster.admin.clone(), namespace)
}

async fn serve(world: &World, namespace: &str) {
    world.namespace(namespace, Some("red")).await;
    create(&deployments(world, namespace), &deployment("serve", 4, 2)).await;
    until_running(world, namespace, &FOUR).await;
}

async fn stop(world: &World, namespace: &str) {
    let background = DeleteParams::background();
    let all = deployments(world, namespace);
    all.delete("serve", &background).await.unwrap();
    until_empty(world, namespace).await;
}

/// As many as are needed leave. Their successors wait, and run when there is room again.
pub(crate) async fn pods_of_a_deployment_make_room(world: &World) {
    serve(world, "evicted").await;
    world.namespace("lab", Some("lab")).await;
    world.submit("lab", &gang("claim", 4)).await;
    running_when(world, "lab", 4).await;
    running_when(world, "evicted", 2).await;
    until_pods_are_told(world, "evicted", 2).await;
    world.complete("lab", "claim").await;
    until_running(world, "evicted", &FOUR).await;
    stop(world, "evicted").await;
}

pub(crate) async fn a_gang_of_pods_makes_room_whole(world: &World) {
    world.namespace("ranks", Some("red")).await;
    let sets: Api<StatefulSet> = Api::namespaced(world.cluster.admin.clone(), "ranks");
    create(&sets, &stateful_set("ranks", 6)).await;
    running_when(world, "ranks", 6).await;
    world.submit("lab", &gang("again", 4)).await;
    running_when(world, "lab", 4).await;
    world
        .until("its successors wait together", async || {
            let waits = gated(world, "ranks").await == 6;
            let stands = world.stands("ranks", "ranks").await;
            waits && stands.is_some_and(|(state, _)| state == State::Waiting)
        })
        .await;
    running_when(world, "ranks", 0).await;
    // One pod speaks for all of it.
    until_pods_are_told(world, "ranks", 1).await;
    world.complete("lab", "again").await;
    running_when(world, "ranks", 6).await;
    sets.delete("ranks", &DeleteParams::background())
        .await
        .unwrap();
    until_empty(world, "ranks").await;
}

/// Until Events of ours have told so many pods, and no more, that they have to leave.
async fn until_pods_are_told(world: &World, namespace: &str, count: usize) {
    let api: Api<Event> = Api::namespaced(world.cluster.admin.clone(), namespace);
    let is_told = |event: &Event| {
        event.reason.as_deref() == Some("Evicted")
            && event.reporting_controller.as_deref() == Some("prorata-controller")
    };
    world
        .until("they are told that they have to leave", async || {
            let events = api.list(&ListParams::default()).await.unwrap().items;
            let about = events
                .into_iter()
                .filter(is_told)
                .filter_map(|e| e.regarding);
            let pods: BTreeSet<_> = about.map(|object| (object.kind, object.name)).collect();
            assert!(pods.len() <= count, "{pods:?}");
            pods.iter().all(|(kind, _)| kind.as_deref() == Some("Pod")) && pods.len() == count
        })
        .await;
}

/// How many pods wait by their gate.
async fn gated(world: &World, namespace: &str) -> usize {
    let pods = world.pods(namespace).await.into_iter();
    let waits = |pod: &Pod| {
        let spec = pod.spec.as_ref();
        spec.is_some_and(|spec| spec.scheduling_gates.is_some())
    };
    pods.filter(waits).count()
}

async fn reasons(world: &World, namespace: &str) -> Vec<String> {
    let records: Api<QueuedJob> = Api::namespaced(world.cluster.alice.clone(), namespace);
    let all = records.list(&ListParams::default()).await.unwrap().items;
    let reason = |record: QueuedJob| Some(record.status?.reason);
    all.into_iter().filter_map(reason).collect()
}

/// As the controller is told here, and how much sooner it may seem to whoever sees the
/// eviction late, in whole seconds.
const PUT_OFF: Duration = Duration::from_secs(6);
const SEEN_LATE: Duration = Duration::from_secs(3);

/// What it protects stays for as long as a budget is heeded, and everybody else goes on. Then who owns
/// the places gets them, whether the budget is still there or not.
pub(crate) async fn a_disruption_budget_delays_its_own_pods_alone_and_not_for_ever(world: &World) {
    serve(world, "kept-on").await;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(world.cluster.admin.clone(), "kept-on");
    let budget = json!({
        "metadata": { "name": "all" },
        "spec": { "minAvailable": "100%", "selector": { "matchLabels": { "app": "serve" } } },
    });
    create(&budgets, &from(budget)).await;
    world
        .until("the budget is known", async || {
            let budget = budgets.get("all").await.unwrap();
            budget
                .status
                .is_some_and(|status| status.current_healthy == Some(4))
        })
        .await;
    world.submit("lab", &gang("later", 4)).await;
    world
        .until("two are to leave", async || {
            reasons(world, "kept-on")
                .await
                .iter()
                .filter(|r| *r == "Evicted")
                .count()
                >= 2
        })
        .await;
    let told = Instant::now();
    assert_eq!(running(world, "kept-on").await, FOUR);

    // The queue goes on meanwhile.
    let free = json!({ "prorata.dev/preemptible": "true" });
    let pods: Api<Pod> = Api::namespaced(world.cluster.alice.clone(), "kept-on");
    create(&pods, &annotated("waits", 1, &free)).await;
    world
        .until("another pod is told why it waits", async || {
            let told = world.stands("kept-on", "waits").await;
            told.is_some_and(|(state, _)| state == State::Waiting)
        })
        .await;
    super::pods::delete(world, "kept-on", "waits").await;
    running_when(world, "lab", 4).await;
    let after = told.elapsed();
    assert!(
        after + SEEN_LATE >= PUT_OFF,
        "no budget was heeded: {after:?}"
    );
    let budget = budgets.get("all").await.unwrap().status.unwrap();
    assert_eq!(budget.disruptions_allowed, Some(0), "it still forbids all");
    budgets
        .delete("all", &DeleteParams::default())
        .await
        .unwrap();
    world.complete("lab", "later").await;
    stop(world, "kept-on").await;
}
