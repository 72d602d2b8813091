//! What the controller makes of what agents say, in a real cluster. The agent is played by the test,
//! which writes the GpuNode as it would.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod repartition;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, ListParams, PostParams};
use prorata::api::gpunode::{Contention, Ended, Ending, Gpu, GpuPod, Noise, Offender, PodName};
use prorata::api::{GpuNode, GpuNodeSpec};
use serde_json::json;

use crate::cluster::requests::{patch, suspended};
use crate::outage::world::{NODES, TERMINATION, World, gang};

const TENANTS: &str = "\
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: lab}
spec: {guaranteed: {gpu: 4}}
";

#[tokio::test(flavor = "multi_thread")]
async fn what_agents_say_is_acted_on() {
    let patience = "preemption: {victimTimeout: 60s}\n";
    let Some(mut world) = World::start_with(TERMINATION, patience).await else {
        return;
    };
    world.cluster.apply(TENANTS);
    for (namespace, tenant) in [("red", "red"), ("lab", "lab")] {
        world.namespace(namespace, Some(tenant)).await;
    }
    let _controller = world.controller().await;
    for (number, node) in (1..).zip(NODES) {
        let name = format!("train-{number}");
        world.submit("red", &gang(&name, 4)).await;
        world.until_running("red", &name, &[node; 4]).await;
    }
    noise_is_told_to_whom_it_concerns(&world).await;
    clients_of_mps_end_before_their_pods(&world).await;
    world.assert_healthy();
}

fn api(world: &World) -> Api<GpuNode> {
    Api::all(world.cluster.admin.clone())
}

/// Pods on a node, by name.
async fn on(world: &World, node: &str) -> Vec<Pod> {
    let mut pods = world.pods("red").await;
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
        namespace: "red".to_owned(),
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

/// The lab claims back what it is guaranteed: a gang of red leaves, whose pods are on cards with MPS.
async fn clients_of_mps_end_before_their_pods(world: &World) {
    let [_, node] = NODES;
    let pods = on(world, node).await;
    for name in NODES {
        let pods = on(world, name).await;
        say(world, name, card("mps-4", &pods, Vec::new()), Vec::new()).await;
    }
    world.submit("lab", &gang("mine", 4)).await;
    let asked = async || api(world).get(node).await.unwrap().spec.end_clients_of;
    world
        .until("the agent is asked", async || asked().await.len() == 4)
        .await;
    let record = world.record("red", "train-2").await.unwrap().spec;
    assert!(record.eviction.is_some(), "it is on record first");
    let is_stopped = async || suspended(&world.job("red", "train-2").await);
    assert!(!is_stopped().await, "its pods are not killed yet");
    let answer = |how| {
        let one = move |uid: String| Ended {
            uid,
            how,
            message: Some("the server hangs".to_owned()),
        };
        let uids = pods.iter().filter_map(ResourceExt::uid);
        uids.map(one).collect::<Vec<_>>()
    };
    say(
        world,
        node,
        card("mps-4", &pods, Vec::new()),
        answer(Ending::Failed),
    )
    .await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(!is_stopped().await, "all or none");
    assert_eq!(world.pods_of("red", "train-2").await, 4);

    say(
        world,
        node,
        card("mps-4", &pods, Vec::new()),
        answer(Ending::Terminated),
    )
    .await;
    world.until_running("lab", "mine", &[node; 4]).await;
    let forget = json!({ "spec": { "endClientsOf": null } });
    patch(&api(world), node, forget).await.unwrap();
}
