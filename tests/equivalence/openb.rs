//! A public trace through the real kube-scheduler: the first pods with GPUs of openb's `default`
//! list (Weng et al., USENIX ATC 2023) on its 1,213 nodes, each a Job of one pod, shares of a
//! card rounded up to whole cards. Every pod must land where the simulator places it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use prorata_controlplane::{Kubelet, KubeletOptions, Options, nodes};
use prorata_simulator::play;
use prorata_simulator::trace::{self, TraceNode, TracePod};

use super::{CALM, LONG_LEASE, data, simulated};
use crate::cluster::Cluster;
use crate::cluster::controller::Site;

const TENANT: &str = "openb";
/// So many pods, unless `PRORATA_OPENB` says how many.
const PODS: usize = 2_000;
/// For each pod: a loaded machine starts a few each second.
const PATIENCE_EACH: Duration = Duration::from_millis(500);
const PATIENCE_AT_LEAST: Duration = Duration::from_secs(180);

/// Node of each pod, by name.
type Places = BTreeMap<String, String>;

#[tokio::test(flavor = "multi_thread")]
async fn a_public_trace_lands_where_the_simulator_places_it() {
    let Some(folder) = data::data("openb-fgd-2023") else {
        return;
    };
    let count = std::env::var("PRORATA_OPENB").map_or(PODS, |count| count.parse().unwrap());
    let (machines, _) = trace::nodes(&folder.join("openb_node_list_gpu_node.csv")).unwrap();
    let mut pods = Vec::new();
    let list = folder.join("openb_pod_list_default.csv");
    let with_gpus = |pod: TracePod| pods.extend((pod.gpus > 0 || pod.milli > 0).then_some(pod));
    trace::pods(&list, &mut { with_gpus }).unwrap();
    pods.truncate(count);
    let Some(mut cluster) = Cluster::start(Options::default()).await else {
        return;
    };
    cluster.install().await;
    nodes::create_all(&cluster.admin, machines.iter().map(shape))
        .await
        .unwrap();
    cluster.apply(&manifests(&pods));
    let site = Site::prepare_with(&cluster.plane, &[CALM, LONG_LEASE].concat());
    cluster
        .plane
        .start_scheduler(site.scheduler_config())
        .await
        .unwrap();
    let _kubelet = Kubelet::start(cluster.admin.clone(), KubeletOptions::default());
    let clock = Instant::now();
    let _controller = site.start(&cluster.plane).await;
    let live = until_bound(&cluster, &pods).await;
    eprintln!(
        "{} pods on {} nodes in {:?}",
        pods.len(),
        machines.len(),
        clock.elapsed()
    );
    let differences = differences(&simulated(&machines, &pods), &live);
    let log = cluster.plane.directory().join("prorata-controller.log");
    let log = std::fs::read_to_string(log).unwrap();
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    assert_eq!(differences, Vec::<String>::new(), "{complaints:#?}");
}

/// What every pod's node is, once each has one.
async fn until_bound(cluster: &Cluster, pods: &[TracePod]) -> Places {
    let patience = PATIENCE_EACH * u32::try_from(pods.len()).unwrap();
    let deadline = Instant::now() + patience.max(PATIENCE_AT_LEAST);
    let api: Api<Pod> = Api::namespaced(cluster.admin.clone(), TENANT);
    loop {
        let listed = api.list(&ListParams::default()).await.unwrap();
        let place = |pod: &Pod| {
            let job = pod.labels().get("batch.kubernetes.io/job-name")?.clone();
            Some((job, pod.spec.as_ref()?.node_name.clone()?))
        };
        let bound: Places = listed.items.iter().filter_map(place).collect();
        if bound.len() == pods.len() {
            return bound;
        }
        assert!(
            Instant::now() < deadline,
            "{} of {} pods are bound",
            bound.len(),
            pods.len()
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn differences(expected: &Places, live: &Places) -> Vec<String> {
    let differs = |(pod, node): (&String, &String)| {
        let here = live.get(pod)?;
        (here != node).then(|| format!("{pod}: simulated on {node}, live on {here}"))
    };
    assert_eq!(expected.len(), live.len(), "as many start");
    expected.iter().filter_map(differs).collect()
}

fn gpus(pod: &TracePod) -> u32 {
    pod.gpus.max(1)
}

fn shape(node: &TraceNode) -> (String, nodes::Shape) {
    let shape = nodes::Shape {
        cpu: format!("{}m", node.cpu_milli),
        memory: node.memory_bytes.to_string(),
        gpus: node.gpus,
        devices: BTreeMap::new(),
        labels: BTreeMap::new(),
    };
    (node.name.clone(), shape)
}

fn manifests(pods: &[TracePod]) -> String {
    let mut yaml = format!(
        "apiVersion: prorata.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {TENANT}}}\nspec: {{}}\n\
         ---\napiVersion: v1\nkind: Namespace\n\
         metadata: {{name: {TENANT}, labels: {{prorata.dev/tenant: {TENANT}}}}}\n"
    );
    for pod in pods {
        let (name, cpu, memory) = (&pod.name, pod.cpu_milli, pod.memory_bytes);
        let _ = write!(
            yaml,
            "---
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}, namespace: {TENANT}}}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: main
        image: train
        resources:
          requests: {{cpu: {cpu}m, memory: \"{memory}\"}}
          limits: {{nvidia.com/gpu: {}}}
",
            gpus(pod)
        );
    }
    yaml
}

/// What `prorata-sim play` makes of the same.
fn simulated(machines: &[TraceNode], pods: &[TracePod]) -> Places {
    let mut script = String::new();
    for node in machines {
        let (name, gpus, cpu, memory) = (&node.name, node.gpus, node.cpu_milli, node.memory_bytes);
        let _ = writeln!(script, "node {name} gpu={gpus} cpu={cpu}m memory={memory}");
    }
    let _ = writeln!(script, "tenant {TENANT}");
    for pod in pods {
        let (name, gpus, cpu, memory) = (&pod.name, gpus(pod), pod.cpu_milli, pod.memory_bytes);
        let _ = writeln!(
            script,
            "submit {TENANT}/{name} gpu={gpus} cpu={cpu}m memory={memory}"
        );
    }
    script.push_str("at 0s\n");
    let outcome = play::play("openb", &simulated::read(&script));
    let outcome = outcome.unwrap_or_else(|wrong| panic!("{wrong}"));
    // Such as `0s admit openb/openb-pod-0001 on openb-node-0002[0-3]`.
    let place = |line: &str| {
        let (job, place) = line.split_once(" admit ")?.1.split_once(" on ")?;
        let (_, pod) = job.split_once('/')?;
        let (node, _) = place.split_once('[')?;
        Some((pod.to_owned(), node.to_owned()))
    };
    outcome.lines().filter_map(place).collect()
}
