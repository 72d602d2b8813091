//! Forty nodes that share their GPUs in different ways, and many pods that ask for parts of them, all
//! at once: no card is ever given out above its memory or share, as pods and GpuNodes show it while
//! plugins and agents come and go, and every pod is where the simulator has it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod agents;
mod census;
mod inputs;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use prorata_controlplane::{Kubelet, KubeletOptions, Options, nodes};
use prorata_simulator::play;
use serde_json::json;

use crate::cluster::Cluster;
use crate::cluster::controller::Site;
use crate::cluster::requests::create;
use crate::equivalence::{CALM, LONG_LEASE, simulated};
use agents::Agents;
use inputs::{Input, Object, SLOTS};
use watched::{JobName, Running, Watched};

/// So many pods, unless `PRORATA_SHARES` says how many; the whole show has 2,000.
const PODS: u32 = 300;
/// Nodes whose device plugins restart: one shares by time slices, two by MPS.
const RESTARTED: [u32; 3] = [1, 2, 3];
/// A pod that is deleted keeps its slot until it has ended.
const TERMINATION: std::time::Duration = std::time::Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_gpus_are_given_out_as_the_simulator_does_and_never_twice() {
    let count = std::env::var("PRORATA_SHARES").map_or(PODS, |count| count.parse().unwrap());
    let inputs = inputs::jobs(count);
    let Some((cluster, site)) = prepared(&inputs).await else {
        return;
    };
    let options = KubeletOptions {
        termination: TERMINATION,
        ..KubeletOptions::default()
    };
    let kubelet = Arc::new(Kubelet::start(cluster.admin.clone(), options));
    let watched = Watched::new(&cluster, &kubelet, count).await;
    let clock = Instant::now();
    let mut controller = site.start(&cluster.plane).await;
    watched.until_settled(inputs.len()).await;
    let took = clock.elapsed();
    let running = watched.running();
    eprintln!(
        "{} of {count} pods run after {took:?}, the others wait",
        running.len()
    );
    as_simulated(&inputs, &watched, &running);

    // The agents come, and tell which card each pod really has.
    let agents = Agents::start(&cluster.admin, &kubelet).await;
    watched.until_told().await;
    // With whoever decides away, with whoever hands out devices, and with whoever sees them.
    controller.kill().unwrap();
    drop(agents);
    let _controller = site.start(&cluster.plane).await;
    for number in RESTARTED {
        restart_plugin(&cluster, &nodes::name(number)).await;
    }
    watched.until_settled(inputs.len()).await;
    assert_eq!(
        watched.running(),
        running,
        "nobody has left, and nobody has moved"
    );

    let _agents = Agents::start(&cluster.admin, &kubelet).await;
    let deleted = delete_some(&cluster, &running).await;
    let left = drain(&cluster, &kubelet, &watched, inputs.len() - deleted).await;
    eprintln!("{count} pods on 40 nodes in {:?}", clock.elapsed());
    assert_eq!(left, 0, "{:?}", watched.reasons());
    watched.until_told().await;
    assert_eq!(watched.violations(), BTreeSet::new());
    assert_eq!(kubelet.rejections(), []);
}

/// A cluster in which all of it has been submitted, while no controller of ours runs.
async fn prepared(inputs: &[Input]) -> Option<(Cluster, Site)> {
    let mut cluster = Cluster::start(Options::default()).await?;
    cluster.install().await;
    nodes::create_all(&cluster.admin, inputs::shapes())
        .await
        .unwrap();
    cluster.apply(&inputs::tenants());
    // One after the other: Kubernetes keeps times of creation by the second, and names decide.
    for input in inputs {
        match input.object() {
            Object::Job(job) => {
                let api: Api<Job> = Api::namespaced(cluster.alice.clone(), input.tenant);
                create(&api, &job).await;
            }
            Object::Pod(pod) => {
                let api: Api<Pod> = Api::namespaced(cluster.alice.clone(), input.tenant);
                create(&api, &pod).await;
            }
        }
    }
    let site = Site::prepare_with(&cluster.plane, &[CALM, LONG_LEASE].concat());
    cluster
        .plane
        .start_scheduler(site.scheduler_config())
        .await
        .unwrap();
    Some((cluster, site))
}

/// Who has been admitted, in which order and where, is what the simulator makes of the same input;
/// and every pod is there.
fn as_simulated(inputs: &[Input], watched: &Watched, running: &[Running]) {
    let script = simulated::read(&inputs::script(inputs));
    let outcome = play::play("sharing", &script).unwrap_or_else(|wrong| panic!("{wrong}"));
    let expected: Vec<(JobName, String)> = outcome.lines().filter_map(admitted).collect();
    let live: Vec<(JobName, String)> = watched
        .admissions()
        .into_iter()
        .map(|(job, places, _)| {
            let devices = |devices: &[u32]| {
                devices
                    .iter()
                    .map(u32::to_string)
                    .collect::<Vec<_>>()
                    .join(",")
            };
            let places: Vec<String> = places
                .iter()
                .map(|p| format!("{}[{}]", p.node, devices(&p.devices)))
                .collect();
            (job, places.join(" "))
        })
        .collect();
    assert_eq!(
        live, expected,
        "who was admitted, in which order, and where"
    );
    assert!(expected.len() < inputs.len(), "some of it has to wait");
    let mut nodes: BTreeMap<JobName, Vec<String>> = BTreeMap::new();
    for pod in running {
        let job = (pod.namespace.clone(), pod.job.clone());
        nodes.entry(job).or_default().push(pod.node.clone());
    }
    for (job, places) in watched.places() {
        let planned: Vec<String> = places.into_iter().map(|place| place.node).collect();
        assert_eq!(
            nodes.get(&job),
            Some(&planned),
            "nodes of the pods of {job:?}"
        );
    }
}

/// Reads `0s admit red/train on a[0:250m] b[0-1]`: the job, and each of its places.
fn admitted(line: &str) -> Option<(JobName, String)> {
    let (job, places) = line.split_once(" admit ")?.1.split_once(" on ")?;
    let (namespace, name) = job.split_once('/')?;
    let mut all = Vec::new();
    for place in places.split(' ') {
        let (node, devices) = place.trim_end_matches(']').split_once('[').unwrap();
        match devices.split_once(':') {
            Some((device, _)) => all.push(format!("{node}[{device}]")),
            // Whole cards of several pods stand together.
            None => all.extend(indexes(devices).map(|device| format!("{node}[{device}]"))),
        }
    }
    Some(((namespace.to_owned(), name.to_owned()), all.join(" ")))
}

/// The devices that `0-1` or `3` are.
fn indexes(devices: &str) -> impl Iterator<Item = u32> + use<> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<u32>().unwrap()..=last.parse().unwrap()
    };
    devices
        .split(',')
        .flat_map(range)
        .collect::<Vec<_>>()
        .into_iter()
}

/// The device plugin of a node goes away and comes back, as when its DaemonSet is updated: kubelet
/// says meanwhile that there is nothing to allocate.
async fn restart_plugin(cluster: &Cluster, node: &str) {
    let api: Api<Node> = Api::all(cluster.admin.clone());
    let there = api
        .get(node)
        .await
        .unwrap()
        .status
        .unwrap()
        .capacity
        .unwrap();
    let slots = there.get(SLOTS).expect("it shares its GPUs").0.clone();
    for amount in ["0", &slots] {
        let patch = Patch::Merge(json!({ "status": { "allocatable": { SLOTS: amount } } }));
        api.patch_status(node, &PatchParams::default(), &patch)
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Deletes some pods that run, which take their time to end, and says how many.
async fn delete_some(cluster: &Cluster, running: &[Running]) -> usize {
    let bare: Vec<&Running> = running
        .iter()
        .filter(|pod| pod.is_bare)
        .step_by(4)
        .collect();
    for pod in &bare {
        let api: Api<Pod> = Api::namespaced(cluster.alice.clone(), &pod.namespace);
        api.delete(&pod.job, &DeleteParams::default())
            .await
            .unwrap();
    }
    assert!(!bare.is_empty(), "no pod runs by itself");
    bare.len()
}

/// Ends whatever runs until nothing runs any more, with a plugin restarting now and then; says how
/// many jobs are left.
async fn drain(cluster: &Cluster, kubelet: &Arc<Kubelet>, watched: &Watched, jobs: usize) -> usize {
    let (mut round, mut idle) = (0, 0);
    loop {
        let running: BTreeSet<(String, String, bool)> = watched
            .running()
            .into_iter()
            .map(|pod| (pod.namespace, pod.job, pod.is_bare))
            .collect();
        if running.is_empty() {
            // On a slow machine it is quiet before the next are let in.
            idle += 1;
            if watched.unfinished() == 0 || idle == 30 {
                return watched.unfinished();
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        }
        (round, idle) = (round + 1, 0);
        assert!(round < 100, "{} jobs never end", watched.unfinished());
        let ends = futures::stream::iter(running).map(|(namespace, job, is_bare)| async move {
            match is_bare {
                true => kubelet.finish_pod(&namespace, &job).await,
                false => kubelet.finish(&namespace, &job).await,
            }
        });
        let ends: Vec<_> = ends.buffer_unordered(16).collect().await;
        for end in ends {
            end.unwrap();
        }
        watched.until_settled(jobs).await;
        let number = RESTARTED[round % RESTARTED.len()];
        restart_plugin(cluster, &nodes::name(number)).await;
        watched.until_settled(jobs).await;
    }
}
