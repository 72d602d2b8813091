//! Nodes come to divide their GPUs in another way: for jobs that wait, and as an administrator says,
//! with a controller that ends after every single write. One node does not come to it, and holds
//! nobody else up.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use prorata::api::gpunode::{Cause, Repartition, Step};
use prorata::api::{GpuNode, GpuNodeSpec, labels};
use prorata_controlplane::nodes::Shape;
use prorata_controlplane::{DevicePlugin, PluginOptions, User};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::cli::world::run;
use crate::cluster::controller::get;
use crate::cluster::requests::{json as manifest, message, patch};
use crate::cluster::{from, job};
use crate::outage::world::{NODES, World, gang};

const SLOTS: &str = "nvidia.com/gpu.shared";
const CONFIGURATION: &str = "\
leaderElection: {enabled: false}
repartition: {mode: propose, modes: [exclusive, mps-4], after: 4s, stays: 1h, switchTimeout: 6s}
noise: {action: stopSharing}
";
/// One whose device plugin has no configuration for what it is to be.
const STUCK: &str = "node-0003";
const ALL: [&str; 3] = [NODES[0], NODES[1], STUCK];

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_to_divide_their_gpus_in_another_way() {
    let shape = Shape {
        gpus: 4,
        ..Shape::default()
    };
    let fleet = ALL.map(|name| (name.to_owned(), shape.clone()));
    let Some(mut world) = World::start_on(fleet, Duration::ZERO, CONFIGURATION).await else {
        return;
    };
    world.namespace("red", Some("red")).await;
    let admin = world.cluster.admin.clone();
    for node in ALL {
        discover(&admin, node).await;
    }
    let plugin = DevicePlugin::start(admin.clone(), PluginOptions::default());
    let agents = Agents::start(admin);
    the_controller_changes_nothing_else(&world).await;
    want(&world, STUCK, "timeslice-8").await;
    want(&world, NODES[0], "exclusive").await;
    what_jobs_that_wait_would_gain_by_is_proposed(&world).await;
    jobs_that_wait_get_a_node(&mut world).await;
    one_that_is_stuck_is_told_of_and_can_be_taken_back(&world).await;
    an_administrator_has_a_busy_node_changed(&world).await;
    assert_eq!(plugin.switched_busy(), [""; 0]);
    drop(agents);
    world.assert_healthy();
}

/// What the feature discovery says of a node of four cards.
async fn discover(admin: &Client, node: &str) {
    let labels = json!({
        labels::GPU_COUNT: "4", labels::GPU_MIB: "16384", labels::GPU_REPLICAS: "1",
        labels::SHARING_STRATEGY: "none", labels::PLUGIN_CONFIG: "exclusive",
    });
    let nodes: Api<Node> = Api::all(admin.clone());
    let change = json!({ "metadata": { "labels": labels } });
    patch(&nodes, node, change).await.unwrap();
}

/// The agents of all nodes: each says how its node's GPUs are given out.
struct Agents(JoinHandle<()>);

impl Agents {
    fn start(admin: Client) -> Self {
        Self(tokio::spawn(async move {
            let gpu_nodes: Api<GpuNode> = Api::all(admin.clone());
            for name in ALL {
                let object = GpuNode::new(name, GpuNodeSpec::default());
                let params = PostParams::default();
                gpu_nodes.create(&params, &object).await.unwrap();
            }
            let nodes: Api<Node> = Api::all(admin);
            loop {
                for name in ALL {
                    let mode = mode(&nodes.get(name).await.unwrap());
                    let status = json!({ "status": { "mode": mode, "count": 4, "healthy": 4 } });
                    let params = PatchParams::default();
                    let status = Patch::Merge(status);
                    let told = gpu_nodes.patch_status(name, &params, &status).await;
                    told.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }))
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn mode(node: &Node) -> Option<String> {
    let replicas = &node.labels()[labels::GPU_REPLICAS];
    match node.labels()[labels::SHARING_STRATEGY].as_str() {
        _ if offered(node) == [0, 0] => None,
        "time-slicing" => Some(format!("timeslice-{replicas}")),
        "mps" => Some(format!("mps-{replicas}")),
        _ => Some("exclusive".to_owned()),
    }
}

/// Whole cards and slots.
fn offered(node: &Node) -> [u32; 2] {
    let status = node.status.as_ref();
    let allocatable = status.and_then(|s| s.allocatable.as_ref()).unwrap();
    [prorata_controlplane::GPU, SLOTS].map(|resource| {
        let amount = allocatable.get(resource);
        amount.map_or(0, |quantity| quantity.0.parse().unwrap())
    })
}

async fn node(world: &World, name: &str) -> Node {
    let api: Api<Node> = Api::all(world.cluster.admin.clone());
    api.get(name).await.unwrap()
}

async fn want(world: &World, name: &str, partition: &str) {
    let change = json!({ "spec": { "partition": partition } });
    patch(&super::api(world), name, change).await.unwrap();
}

async fn record(world: &World, name: &str) -> Option<Repartition> {
    let object = super::api(world).get_opt(name).await.unwrap();
    object.and_then(|object| object.status?.repartition)
}

fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

/// A Job of so many pods, each with a quarter of a card.
fn quarters(name: &str, pods: usize) -> Job {
    let mut job = manifest(&job(name, 0));
    job["spec"]["parallelism"] = json!(pods);
    job["spec"]["completions"] = json!(pods);
    job["spec"]["template"]["metadata"] = json!({ "annotations": { labels::GPU_SHARE: "250m" } });
    from(job)
}

async fn the_controller_changes_nothing_else(world: &World) {
    let client = &world.cluster.controller;
    let (nodes, gpu_nodes): (Api<Node>, Api<GpuNode>) =
        (Api::all(client.clone()), Api::all(client.clone()));
    world
        .until("the agents tell", async || {
            let object = super::api(world).get_opt(NODES[1]).await.unwrap();
            object.is_some_and(|object| object.status.is_some())
        })
        .await;
    let taint = json!([{ "key": "k", "effect": "NoExecute" }]);
    for (change, told) in [
        (
            json!({ "metadata": { "labels": { "team": "red" } } }),
            "labels",
        ),
        (
            json!({ "metadata": { "labels": { labels::GPU_COUNT: null } } }),
            "labels",
        ),
        (
            json!({ "metadata": { "annotations": { "a": "b" } } }),
            "annotation",
        ),
        (
            json!({ "spec": { "taints": taint } }),
            "unschedulable alone",
        ),
    ] {
        let error = patch(&nodes, NODES[0], change).await.unwrap_err();
        assert!(message(&error).contains(told), "{error}");
    }
    let spec = json!({ "spec": { "partition": "mps-4" } });
    let error = patch(&gpu_nodes, NODES[0], spec).await.unwrap_err();
    assert!(
        message(&error).contains("administrator's to say"),
        "{error}"
    );
    let status = Patch::Merge(json!({ "status": { "mode": "mps-4" } }));
    let error = gpu_nodes
        .patch_status(NODES[0], &PatchParams::default(), &status)
        .await
        .unwrap_err();
    assert!(message(&error).contains("what the agent sees"), "{error}");
}

/// No node gives out parts of cards. It is proposed that the one does of which nobody has said how it is
/// to be, after as long as is configured, although the controller restarts meanwhile; nothing is done.
async fn what_jobs_that_wait_would_gain_by_is_proposed(world: &World) {
    let [_, free] = NODES;
    let status = async || super::api(world).get(free).await.unwrap().status.unwrap();
    let controller = world.site.start(&world.cluster.plane).await;
    world.submit("red", &quarters("serve", 4)).await;
    world
        .until("it is wanted", async || status().await.demand.is_some())
        .await;
    let wanted = status().await.demand.unwrap();
    assert_eq!(wanted.to, "mps-4");
    assert_eq!(status().await.proposal, None, "it has not lasted");
    drop(controller);
    let _controller = world.site.start(&world.cluster.plane).await;
    world
        .until("it is proposed", async || status().await.proposal.is_some())
        .await;
    let proposal = status().await.proposal.unwrap();
    let lasted = proposal.since.0.duration_since(wanted.since.0).as_secs();
    assert!((3..30).contains(&lasted), "{lasted} s");
    assert_eq!(status().await.demand.unwrap(), wanted, "it began before");

    people_see_what_is_proposed(world, free).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let there = node(world, free).await;
    assert_eq!((offered(&there), is_cordoned(&there)), ([4, 0], false));
    assert_eq!(there.labels()[labels::PLUGIN_CONFIG], "exclusive");
    assert_eq!(record(world, free).await, None);
    assert_eq!(world.pods_of("red", "serve").await, 0);
}

async fn people_see_what_is_proposed(world: &World, free: &str) {
    let gpus = format!(
        "gpus --node {free} --kubeconfig {}",
        world.cluster.plane.kubeconfig(User::Admin).display()
    );
    let shown = run(&gpus, "").await.err;
    assert!(shown.contains("its GPUs should be mps-4"), "{shown}");
    let command = format!("kubectl patch gpunode {free} --type merge");
    world
        .until("the command is told once", async || {
            let mut events = world.events_of("Node", "default", free).await;
            events.retain(|(reason, note)| {
                reason == "RepartitionProposed" && note.contains(&command)
            });
            events.len() == 1
        })
        .await;
}

/// What was proposed is done by a controller that may.
async fn jobs_that_wait_get_a_node(world: &mut World) {
    let [pinned, free] = NODES;
    let config = std::fs::read_to_string(&world.site.config).unwrap();
    let config = config.replace("mode: propose", "mode: apply");
    std::fs::write(&world.site.config, config).unwrap();
    let controller = world.controller().await;
    world.until_running("red", "serve", &[free; 4]).await;
    let there = node(world, free).await;
    assert_eq!(offered(&there), [0, 16]);
    assert_eq!(there.labels()[labels::PLUGIN_CONFIG], "mps-4");
    world
        .until("it is done", async || {
            record(world, free)
                .await
                .is_some_and(|record| (record.step, record.cause) == (Step::Done, Cause::Demand))
        })
        .await;
    assert!(!is_cordoned(&node(world, free).await));
    assert_eq!(record(world, pinned).await, None);
    let reasons = ["RepartitionBegan", "RepartitionProposed", "Repartitioned"];
    until_told(world, free, &reasons).await;
    world.complete("red", "serve").await;
    drop(controller);
}

/// Its plugin does not follow for ever, and all the same another node was changed.
async fn one_that_is_stuck_is_told_of_and_can_be_taken_back(world: &World) {
    let _controller = world.site.start(&world.cluster.plane).await;
    let stuck = record(world, STUCK).await.unwrap();
    assert!(stuck.is_stalled(), "{stuck:?}");
    assert_eq!(stuck.reason.as_deref(), Some("NotOffered"));
    assert!(is_cordoned(&node(world, STUCK).await));
    let line = format!("prorata_gpu_repartition_stalled{{node=\"{STUCK}\"}} 1");
    world
        .until("its metric says so", async || {
            get(world.site.health, "/metrics").is_some_and(|text| text.contains(&line))
        })
        .await;
    want(world, STUCK, "exclusive").await;
    world
        .until("it is as it was", async || {
            record(world, STUCK).await.unwrap().step == Step::Done
        })
        .await;
    let reasons = ["RepartitionBegan", "RepartitionStalled", "Repartitioned"];
    until_told(world, STUCK, &reasons).await;
    // What follows is about the two others.
    let nodes: Api<Node> = Api::all(world.cluster.admin.clone());
    let change = json!({ "spec": { "unschedulable": true } });
    patch(&nodes, STUCK, change).await.unwrap();
}

/// A gang runs there, and the controller ends after each of its writes.
async fn an_administrator_has_a_busy_node_changed(world: &World) {
    let [busy, _] = NODES;
    let launch = |variables: &[(&str, &str)]| world.site.launch_in(&world.cluster.plane, variables);
    let mut process = launch(&[]);
    world.submit("red", &gang("train", 4)).await;
    world.until_running("red", "train", &[busy; 4]).await;
    drop(process);
    want(world, busy, "timeslice-4").await;
    let one_write = [("PRORATA_CRASH_AFTER_WRITES", "1")];
    process = launch(&one_write);
    let process = tokio::sync::Mutex::new((process, 0_u32));
    let steps = tokio::sync::Mutex::new(Vec::<Step>::new());
    world
        .until_within("it is done", Duration::from_secs(90), async || {
            let mut running = process.lock().await;
            if running.0.check().is_err() {
                *running = (launch(&one_write), running.1 + 1);
            }
            let record = record(world, busy).await;
            let mut steps = steps.lock().await;
            if let Some(record) = &record
                && steps.last() != Some(&record.step)
            {
                steps.push(record.step);
            }
            record.is_some_and(|record| record.step == Step::Done)
        })
        .await;
    let (process, crashes) = process.into_inner();
    eprintln!("{crashes} controllers, by way of {:?}", steps.into_inner());
    // Each step is a write at least, and so are the cordon, the label and the eviction.
    assert!(crashes >= 10, "{crashes}");
    drop(process);
    let there = node(world, busy).await;
    assert!(!is_cordoned(&there));
    assert_eq!(offered(&there), [0, 16]);
    let evicted = world.record("red", "train").await.unwrap().spec.eviction;
    assert_eq!(evicted.unwrap().rule, "repartition");
    assert_eq!(record(world, busy).await.unwrap().cause, Cause::Spec);

    // Nobody has lost anything: the gang waits for cards, and parts of them are given out on both.
    let _controller = launch(&[]);
    world.submit("red", &quarters("many", 20)).await;
    // One node has sixteen of them.
    world
        .until("the parts are given out", async || {
            world.nodes_of("red", "many").await.len() == 20
        })
        .await;
    assert_eq!(world.pods_of("red", "train").await, 0);
    noisy_cards_get_no_more_pods(world).await;
}

/// One node is full by now. Where pods disturb each other on the other, nobody new comes until that is
/// over, and whoever is there stays.
async fn noisy_cards_get_no_more_pods(world: &World) {
    let many = world.nodes_of("red", "many").await;
    let on = |node: &&str| many.iter().filter(|there| there == node).count();
    let free = NODES.into_iter().min_by_key(on).unwrap();
    let say = async |noise: serde_json::Value| {
        let gpu = json!([{ "index": 0, "noise": noise }]);
        let status = Patch::Merge(json!({ "status": { "gpus": gpu } }));
        let api = super::api(world);
        let params = PatchParams::default();
        api.patch_status(free, &params, &status).await.unwrap();
    };
    let noise = json!([{
        "contention": "Power", "since": "2026-01-01T00:00:00Z", "measured": 40, "threshold": 20, "disturbed": [],
    }]);
    say(noise).await;
    let line = format!("prorata_noisy_neighbours{{node=\"{free}\",tenant=\"\"}} 1");
    world
        .until("it is heard", async || {
            get(world.site.health, "/metrics").is_some_and(|text| text.contains(&line))
        })
        .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.submit("red", &quarters("more", 4)).await;
    world.until_waiting("red", "more").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.pods_of("red", "more").await, 0);
    assert_eq!(world.nodes_of("red", "many").await, many);
    say(json!([])).await;
    world.until_running("red", "more", &[free; 4]).await;
}

/// Until that is what was told of a node, each reason once: an Event follows what it tells of.
async fn until_told(world: &World, node: &str, reasons: &[&str]) {
    world
        .until(&format!("{node}: {reasons:?} are told"), async || {
            let mut events = world.events_of("Node", "default", node).await;
            events.retain(|(reason, _)| reason.starts_with("Repartition"));
            let told: BTreeSet<&str> = events.iter().map(|(reason, _)| &**reason).collect();
            told.iter().eq(reasons)
        })
        .await;
}
