//! What the controller makes of what agents say, in a real cluster. The agent is played by the test,
//! which writes the GpuNode as it would.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod repartition;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, ListParams, PostParams};
use prorata::api::gpunode::{Contention, Ended, Ending, Gpu, GpuPod, Noise, Offender, PodName};
use prorata::api::{GpuNode, GpuNodeSpec};
use serde_json::json;

use crate::cluster::controller::get;
use crate::cluster::pod;
use crate::cluster::requests::{create, patch, suspend, suspended};
use crate::outage::world::{NODES, TERMINATION, World, gang, phase};

const TENANTS: &str = "\
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: lab}
spec: {guaranteed: {gpu: 6}}
---
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: blue}
spec: {guaranteed: {gpu: 2}}
";

/// Clients of MPS are waited for so long until all on their GPU go.
const VICTIM_TIMEOUT: Duration = Duration::from_secs(12);
const CONFIGURATION: &str = "\
preemption: {victimTimeout: 12s, mpsClients: together}
noise: {action: moveAtRestart, movedFor: 1h}
";

#[tokio::test(flavor = "multi_thread")]
async fn what_agents_say_is_acted_on() {
    let Some(mut world) = World::start_with(TERMINATION, CONFIGURATION).await else {
        return;
    };
    world.cluster.apply(TENANTS);
    for tenant in ["red", "blue", "lab"] {
        world.namespace(tenant, Some(tenant)).await;
    }
    let _controller = world.controller().await;
    for (number, node) in (1..).zip(NODES) {
        let name = format!("train-{number}");
        world.submit("red", &gang(&name, 4)).await;
        world.until_running("red", &name, &[node; 4]).await;
    }
    noise_is_told_to_whom_it_concerns(&world).await;
    whoever_disturbs_others_is_started_elsewhere(&world).await;
    clients_of_mps_end_before_their_pods(&world).await;
    clients_that_cannot_be_ended_go_together_or_not_at_all(&world).await;
    world.assert_healthy();
}

fn api(world: &World) -> Api<GpuNode> {
    Api::all(world.cluster.admin.clone())
}

/// Pods of red and blue that run on a node, by name.
async fn on(world: &World, node: &str) -> Vec<Pod> {
    let mut pods = world.pods("red").await;
    pods.extend(world.pods("blue").await);
    pods.retain(|pod| phase(pod) == "Running");
    pods.retain(|pod| pod.spec.as_ref().unwrap().node_name.as_deref() == Some(node));
    pods.sort_by_key(ResourceExt::name_any);
    pods
}

/// The agent says this of its only card.
async fn say(world: &World, node: &str, gpu: Gpu, ended: Vec<Ended>) {
    let api = api(world);
    let object = match api.get_opt(node).await.unwrap() {
        Some(object) => object,
        None => {
            let object = GpuNode::new(node, GpuNodeSpec::default());
            api.create(&PostParams::default(), &object).await.unwrap()
        }
    };
    let mut object = object;
    let status = object.status.get_or_insert_default();
    (status.gpus, status.ended) = (vec![gpu], ended);
    let params = PostParams::default();
    api.replace_status(node, &params, &object).await.unwrap();
}

fn card(mode: &str, pods: &[Pod], noise: Vec<Noise>) -> Gpu {
    let pod = |pod: &Pod| GpuPod {
        namespace: pod.namespace().unwrap(),
        name: pod.name_any(),
        uid: pod.uid(),
        slots: 1,
        ..GpuPod::default()
    };
    Gpu {
        mode: Some(mode.to_owned()),
        pods: pods.iter().map(pod).collect(),
        noise,
        ..Gpu::default()
    }
}

fn noise(offender: &str, disturbed: &str) -> Noise {
    let named = |name: &str| ("red".to_owned(), name.to_owned());
    let (namespace, name) = named(offender);
    let offender = Offender {
        namespace,
        name,
        uses: 80,
        part: 25,
        ..Offender::default()
    };
    let (namespace, name) = named(disturbed);
    let now = k8s_openapi::jiff::Timestamp::now();
    Noise {
        contention: Contention::Compute,
        since: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now),
        measured: 99,
        threshold: 95,
        offender: Some(offender),
        disturbed: vec![PodName { namespace, name }],
    }
}

/// Notes of Events about an object.
async fn told(world: &World, namespace: &str, about: &str) -> Vec<String> {
    let api: Api<Event> = Api::namespaced(world.cluster.admin.clone(), namespace);
    let all = api.list(&ListParams::default()).await.unwrap().items;
    let ours = all.into_iter().filter(|event| {
        let regarding = event.regarding.as_ref();
        let is_about = regarding.is_some_and(|r| r.name.as_deref() == Some(about));
        is_about && event.reason.as_deref() == Some("NoisyNeighbour")
    });
    ours.filter_map(|event| event.note).collect()
}

async fn noise_is_told_to_whom_it_concerns(world: &World) {
    let [node, _] = NODES;
    let pods = on(world, node).await;
    let (greedy, meek) = (pods[0].name_any(), pods[1].name_any());
    // A node that somebody has broken into blames a pod of another node.
    let elsewhere = on(world, NODES[1]).await[0].name_any();
    let forged = vec![noise(&elsewhere, &meek)];
    say(world, node, card("timeslice-4", &pods, forged), Vec::new()).await;
    world
        .until("the node is told of", async || {
            told(world, "default", node).await.len() == 1
        })
        .await;
    assert_eq!(told(world, "red", &elsewhere).await, [""; 0]);

    let noisy = vec![noise(&greedy, &meek)];
    say(world, node, card("timeslice-4", &pods, noisy), Vec::new()).await;
    world
        .until("the offender is told", async || {
            let told = told(world, "red", &greedy).await;
            told.iter().any(|note| note.contains("uses 80% of GPU 0"))
        })
        .await;
    let disturbed = told(world, "red", &meek).await;
    assert!(
        disturbed.iter().any(|note| note.contains("may be slower")),
        "{disturbed:?}"
    );
    assert!(
        !disturbed.iter().any(|note| note.contains(&greedy)),
        "{disturbed:?}"
    );
    say(
        world,
        node,
        card("timeslice-4", &pods, Vec::new()),
        Vec::new(),
    )
    .await;
}

/// The first job has disturbed others on the first node. It goes on there, and its next start is on the
/// other, although the first has room: others get that.
async fn whoever_disturbs_others_is_started_elsewhere(world: &World) {
    let [there, elsewhere] = NODES;
    let aside = async || world.record("red", "train-1").await.unwrap().spec.aside;
    world
        .until("it is on record", async || {
            aside().await.is_some_and(|aside| aside.nodes == [there])
        })
        .await;
    assert_eq!(world.nodes_of("red", "train-1").await, [there; 4]);
    world.complete("red", "train-2").await;
    let jobs = world.jobs("red");
    suspend(&jobs, "train-1", true).await;
    world
        .until("it has ended", async || {
            world.pods_of("red", "train-1").await == 0
        })
        .await;
    suspend(&jobs, "train-1", false).await;
    world.until_running("red", "train-1", &[elsewhere; 4]).await;
    world.submit("red", &gang("train-3", 4)).await;
    world.until_running("red", "train-3", &[there; 4]).await;
}

/// The lab claims back what it is guaranteed: a gang of red leaves, whose pods are on cards with MPS.
async fn clients_of_mps_end_before_their_pods(world: &World) {
    let [node, _] = NODES;
    let pods = on(world, node).await;
    for name in NODES {
        let pods = on(world, name).await;
        say(world, name, card("mps-4", &pods, Vec::new()), Vec::new()).await;
    }
    world.submit("lab", &gang("mine", 4)).await;
    until_asked(world, node, 4).await;
    let record = world.record("red", "train-3").await.unwrap().spec;
    assert!(record.eviction.is_some(), "it is on record first");
    let is_stopped = async || suspended(&world.job("red", "train-3").await);
    assert!(!is_stopped().await, "its pods are not killed yet");
    let said = card("mps-4", &pods, Vec::new());
    say(world, node, said.clone(), ended(&pods, Ending::Failed)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!is_stopped().await, "all or none");
    assert_eq!(world.pods_of("red", "train-3").await, 4);

    say(world, node, said, ended(&pods, Ending::Terminated)).await;
    world.until_running("lab", "mine", &[node; 4]).await;
    let forget = json!({ "spec": { "endClientsOf": null } });
    patch(&api(world), node, forget).await.unwrap();
    world.complete("red", "train-1").await;
    world.until_running("red", "train-3", &[NODES[1]; 4]).await;
    world.complete("red", "train-3").await;
}

/// Two jobs share a card with a pod that may not be evicted, and the agent can end nobody's clients: as
/// long as that pod is there nobody is killed, and then both are, although only one has to leave.
async fn clients_that_cannot_be_ended_go_together_or_not_at_all(world: &World) {
    let [_, node] = NODES;
    world.submit("blue", &gang("pair-1", 2)).await;
    world.until_running("blue", "pair-1", &[node; 2]).await;
    let bare: Api<Pod> = Api::namespaced(world.cluster.alice.clone(), "lab");
    create(&bare, &pod("own", 1)).await;
    world
        .until("it runs", async || {
            phase(&world.pod("lab", "own").await) == "Running"
        })
        .await;
    world.submit("red", &gang("pair-2", 1)).await;
    world.until_running("red", "pair-2", &[node; 1]).await;
    let pairs = on(world, node).await;
    let uids: Vec<_> = pairs.iter().map(ResourceExt::uid).collect();
    let mut all = pairs.clone();
    all.push(world.pod("lab", "own").await);
    say(world, node, card("mps-4", &all, Vec::new()), Vec::new()).await;

    world.submit("lab", &gang("claim", 1)).await;
    until_asked(world, node, 1).await;
    let failed = ended(&all, Ending::Failed);
    say(world, node, card("mps-4", &all, Vec::new()), failed.clone()).await;
    let asked = std::time::Instant::now();
    while asked.elapsed() < VICTIM_TIMEOUT + Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let there: Vec<Option<String>> =
            on(world, node).await.iter().map(ResourceExt::uid).collect();
        let pairs: Vec<Option<String>> = pairs.iter().map(ResourceExt::uid).collect();
        assert_eq!(there, pairs, "one there may not be evicted");
    }
    say(world, node, card("mps-4", &pairs, Vec::new()), failed).await;
    world.until_running("lab", "claim", &[node]).await;
    world
        .until("both have gone", async || {
            let there = on(world, node).await;
            !there.iter().any(|pod| uids.contains(&pod.uid()))
        })
        .await;
    for line in [
        "prorata_evicted_workloads_total{tenant=\"red\",rule=\"reclaim\"} 2",
        "prorata_evicted_workloads_total{tenant=\"blue\",rule=\"mps\"} 1",
    ] {
        let told = get(world.site.health, "/metrics").unwrap();
        assert!(told.contains(line), "{line}: {told}");
    }
    assert_eq!(phase(&world.pod("lab", "own").await), "Running");
}

/// Waits until the agent of the node is asked to end the clients of so many pods.
async fn until_asked(world: &World, node: &str, pods: usize) {
    let asked = async || api(world).get(node).await.unwrap().spec.end_clients_of;
    world
        .until("the agent is asked", async || asked().await.len() == pods)
        .await;
}

fn ended(pods: &[Pod], how: Ending) -> Vec<Ended> {
    let one = |uid: String| Ended {
        uid,
        how,
        message: Some("the server hangs".to_owned()),
    };
    pods.iter().filter_map(ResourceExt::uid).map(one).collect()
}
