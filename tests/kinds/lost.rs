//! A node falls silent, and Kubernetes' own controllers find out: what becomes of each kind that had pods
//! there, as the table in docs/kinds.md has it.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams};
use kube::{Resource as _, ResourceExt as _};
use prorata::api::State;
use prorata_controlplane::{Options, nodes};
use serde_json::json;

use super::composites::{job_set, jobs as part, submit, template};
use super::operators::of;
use super::parts::in_part;
use super::pods::{annotated, deployment, stateful_set, until_empty};
use crate::cluster::requests::{create, patch};
use crate::outage::world::{NODES, World, gang, is_complete, phase, with};

/// After how long without a heartbeat Kubernetes calls a node lost.
const LOST_AFTER: Duration = Duration::from_secs(10);
/// Its garbage collector of pods looks every 20 s.
const COLLECTED_WITHIN: Duration = Duration::from_secs(90);
/// And after how long the queue does.
const NODE_LOST_AFTER: Duration = Duration::from_secs(3);
/// The node that falls silent.
const SILENT: &str = NODES[0];

const GPUS: u32 = 12;

/// Two nodes, of which all that runs needs one.
pub(crate) async fn start() -> Option<World> {
    let options = Options {
        nodes_lost_after: Some(LOST_AFTER),
        ..Options::default()
    };
    let shape = nodes::Shape {
        gpus: GPUS,
        ..nodes::Shape::default()
    };
    let fleet = NODES.map(|name| (name.to_owned(), shape.clone()));
    let lost_after = format!("nodeLostAfter: {}s\n", NODE_LOST_AFTER.as_secs());
    let world = World::start_as(options, fleet, Duration::ZERO, &lost_after).await?;
    world.namespace("lost", Some("red")).await;
    Some(world)
}

/// A Job that must not lose a single pod to a failure.
fn strict(job: &Job) -> Job {
    with(job, &[("/spec", "backoffLimit", json!(0))])
}

fn sets(world: &World) -> Api<StatefulSet> {
    Api::namespaced(world.cluster.admin.clone(), "lost")
}

fn deployments(world: &World) -> Api<Deployment> {
    Api::namespaced(world.cluster.admin.clone(), "lost")
}

/// Its own rule about failures has Kubernetes wait for the end of a pod before it makes another.
fn with_policy(job: &Job) -> Job {
    let rule = json!({
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    });
    let policy = json!({ "rules": [rule] });
    with(job, &[("/spec", "podFailurePolicy", policy)])
}

/// One of each kind, on the same node.
pub(crate) async fn begin(world: &World) {
    world.submit("lost", &strict(&gang("whole", 1))).await;
    world
        .submit("lost", &with_policy(&strict(&gang("ruled", 1))))
        .await;
    let set = job_set(&[part("workers", 1, 2, 1)]);
    submit(world, "lost", "JobSet", "set", &set).await;
    let net =
        json!({ "pytorchReplicaSpecs": {"Worker": {"replicas": 1, "template": template(1)}} });
    submit(world, "lost", "PyTorchJob", "net", &net).await;
    for (name, pods, least) in [("alone", 1, "none"), ("least", 2, "2")] {
        let job = in_part(name, pods, least);
        world.submit("lost", &strict(&job)).await;
    }
    create(&deployments(world), &deployment("serve", 1, 1)).await;
    create(&sets(world), &stateful_set("ranks", 2)).await;
    let free = json!({ "prorata.dev/preemptible": "true" });
    let pods: Api<Pod> = Api::namespaced(world.cluster.alice.clone(), "lost");
    create(&pods, &annotated("bare", 1, &free)).await;
    world
        .until("all run on one node", async || {
            running(world, "").await == [SILENT; GPUS as usize]
        })
        .await;
}

/// Nodes of the pods that run and are not told to leave, and whose names begin like this, in order.
async fn running(world: &World, prefix: &str) -> Vec<String> {
    let pods = world.pods("lost").await;
    let runs = |pod: &&Pod| {
        phase(pod) == "Running"
            && pod.metadata.deletion_timestamp.is_none()
            && pod.name_any().starts_with(prefix)
    };
    let node = |pod: &Pod| pod.spec.as_ref()?.node_name.clone();
    let mut nodes: Vec<String> = pods.iter().filter(runs).filter_map(node).collect();
    nodes.sort();
    nodes
}

async fn until_on(world: &World, prefix: &str, on: &[&str], within: Duration) {
    let what = format!("{prefix} runs on {on:?}");
    world
        .until_within(&what, within, async || running(world, prefix).await == on)
        .await;
}

async fn condition(world: &World) -> (String, String) {
    let nodes: Api<Node> = Api::all(world.cluster.admin.clone());
    let node = nodes.get(SILENT).await.unwrap();
    let conditions = node.status.unwrap().conditions.unwrap();
    let ready = conditions.into_iter().find(|c| c.type_ == "Ready").unwrap();
    (ready.status, ready.reason.unwrap_or_default())
}

/// Whoever is silent for a moment has lost nothing.
pub(crate) async fn a_node_that_is_silent_for_a_moment_keeps_its_pods(world: &World) {
    let before = uids(world).await;
    world.kubelet.cut_off(SILENT);
    tokio::time::sleep(LOST_AFTER / 4).await;
    world.kubelet.reconnect(SILENT);
    tokio::time::sleep(LOST_AFTER / 2).await;
    assert_eq!(condition(world).await.0, "True");
    assert_eq!(uids(world).await, before);
}

async fn uids(world: &World) -> Vec<Option<String>> {
    let pods = world.pods("lost").await;
    pods.into_iter().map(|pod| pod.metadata.uid).collect()
}

/// The Job's pods need not end before it runs elsewhere. Kubernetes deletes the others', and makes
/// anew at once what it does not wait for.
pub(crate) async fn what_ran_on_a_silent_node_runs_elsewhere(world: &World) {
    world.kubelet.cut_off(SILENT);
    world
        .until("Kubernetes calls it lost", async || {
            condition(world).await == ("Unknown".to_owned(), "NodeStatusUnknown".to_owned())
        })
        .await;
    let patience = Duration::from_secs(40);
    until_on(world, "whole", &NODES[1..], patience).await;
    until_on(world, "set", &[NODES[1]; 2], patience).await;
    for (kind, name) in [
        ("Job", "whole"),
        ("Job", "ruled"),
        ("JobSet", "set"),
        ("PyTorchJob", "net"),
    ] {
        world
            .until_told_of(kind, "lost", name, "Requeued", "is lost")
            .await;
    }
    until_on(world, "serve", &NODES[1..], patience).await;
    world
        .until("all that was there is told to leave", async || {
            let pods = world.pods("lost").await;
            let there = pods.iter().filter(|pod| {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
                node == Some(SILENT)
            });
            there
                .filter(|pod| pod.meta().deletion_timestamp.is_some())
                .count()
                == GPUS as usize
        })
        .await;
    // Nobody knows whether they have ended, so that Kubernetes makes no others yet.
    let stay = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
    for _ in 0..10 {
        let pods = world.pods("lost").await;
        let made = pods.iter().filter(stay).map(Pod::name_any);
        let others = made.filter(|name| {
            let mut at_once = ["whole", "serve", "set"].iter();
            !at_once.any(|prefix| name.starts_with(prefix))
        });
        assert_eq!(others.collect::<Vec<_>>(), [""; 0]);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What waits for the end of its pods says so, and keeps no room from others.
pub(crate) async fn what_cannot_be_made_anew_takes_no_room(world: &World) {
    for name in ["ruled", "net"] {
        world
            .until_stands("lost", name, State::Waiting, "NodeLost")
            .await;
        let record = world.record("lost", name).await.unwrap();
        assert!(record.spec.admission.is_none(), "{name}: {record:?}");
        let told = record.status.unwrap_or_default().message;
        assert!(
            told.starts_with(&format!("node {SILENT} is lost")),
            "{told}"
        );
    }
    let free = GPUS as usize - running(world, "").await.len();
    world.submit("lost", &gang("fills", free)).await;
    let patience = Duration::from_secs(40);
    until_on(world, "fills", &[NODES[1]].repeat(free), patience).await;
    world.complete("lost", "fills").await;
    let jobs = world.jobs("lost");
    jobs.delete("fills", &DeleteParams::background())
        .await
        .unwrap();
    world
        .until("its pods are gone", async || {
            let pods = world.pods("lost").await;
            !pods.iter().any(|pod| pod.name_any().starts_with("fills"))
        })
        .await;
}

/// What went elsewhere stays there, though its pods on the silent node are still on record.
pub(crate) async fn a_restart_moves_nothing(world: &World, before: &[String]) {
    let clock = tokio::time::Instant::now();
    while clock.elapsed() < 3 * NODE_LOST_AFTER {
        assert_eq!(stayed(world).await, before);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for name in ["ruled", "net"] {
        world
            .until_stands("lost", name, State::Waiting, "NodeLost")
            .await;
    }
}

/// UIDs of the pods that are not told to leave.
pub(crate) async fn stayed(world: &World) -> Vec<String> {
    let pods = world.pods("lost").await;
    let stay = pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none());
    stay.filter_map(|pod| pod.uid()).collect()
}

/// Its administrator knows that the machine is off, and says so by the taint that Kubernetes has for
/// that.
pub(crate) async fn what_is_known_to_be_off_is_made_anew(world: &World) {
    let nodes: Api<Node> = Api::all(world.cluster.admin.clone());
    let off = json!({
        "key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute",
    });
    let node = nodes.get(SILENT).await.unwrap();
    let mut taints = json!(node.spec.unwrap().taints.unwrap_or_default());
    taints.as_array_mut().unwrap().push(off);
    patch::<Node>(&nodes, SILENT, json!({ "spec": { "taints": taints } }))
        .await
        .unwrap();
    for (name, pods) in [
        ("alone", 1),
        ("least", 2),
        ("ranks", 2),
        ("net", 1),
        ("ruled", 1),
    ] {
        until_on(world, name, &[NODES[1]; 2][..pods], COLLECTED_WITHIN).await;
    }
    world
        .until("nobody makes the bare pod anew", async || {
            let pods = world.pods("lost").await;
            let over = world.stands("lost", "bare").await;
            !pods.iter().any(|pod| pod.name_any() == "bare")
                && over.is_none_or(|(state, _)| state == State::Finished)
        })
        .await;
    assert_eq!(running(world, "").await, [NODES[1]; GPUS as usize - 1]);
}

/// What it has is given away again, and no Job has failed.
pub(crate) async fn a_node_that_is_back_is_used_again(world: &World) {
    let nodes: Api<Node> = Api::all(world.cluster.admin.clone());
    patch::<Node>(&nodes, SILENT, json!({ "spec": { "taints": null } }))
        .await
        .unwrap();
    world.kubelet.reconnect(SILENT);
    world
        .submit("lost", &strict(&gang("back", GPUS as usize)))
        .await;
    until_on(
        world,
        "back",
        &[SILENT; GPUS as usize],
        Duration::from_secs(40),
    )
    .await;
    for name in ["back", "whole", "ruled", "alone", "least", "set-workers-0"] {
        world.kubelet.finish("lost", name).await.unwrap();
        world
            .until(&format!("{name} is complete"), async || {
                is_complete(&world.job("lost", name).await)
            })
            .await;
        let status = world.job("lost", name).await.status.unwrap();
        assert_eq!(status.failed.unwrap_or_default(), 0, "{name}: {status:?}");
    }
    let background = DeleteParams::background();
    sets(world).delete("ranks", &background).await.unwrap();
    let all = deployments(world);
    all.delete("serve", &background).await.unwrap();
    for (kind, name) in [("JobSet", "set"), ("PyTorchJob", "net")] {
        let all = of(&world.cluster.admin, "lost", kind);
        all.delete(name, &background).await.unwrap();
    }
    for name in ["back", "whole", "ruled", "alone", "least"] {
        let jobs = world.jobs("lost");
        jobs.delete(name, &background).await.unwrap();
    }
    until_empty(world, "lost").await;
}
