//! `prorata uninstall`: what the queue held goes free, what its user held stays, and everything of
//! ours is gone.

use std::process::{Command, Output};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use prorata::api::labels::{EPOCH, HELD};
use prorata_controlplane::User;
use serde_json::{Value, json};

use super::cluster_wide::job;
use super::{Chart, kubectl, text};
use crate::cluster::Cluster;
use crate::cluster::requests::{eventually, pod_of, start, suspend, suspended};

pub(super) async fn nothing_of_a_users_is_left_behind(cluster: &Cluster, chart: &Chart) {
    let jobs: Api<Job> = Api::namespaced(cluster.admin.clone(), "red");
    let pods: Api<Pod> = Api::namespaced(cluster.admin.clone(), "red");
    prepare(cluster, &jobs).await;

    without_a_word_nothing_happens(cluster);
    assert!(suspended(&jobs.get("waits").await.unwrap()));
    what_the_queue_held_goes_free(cluster, &jobs, &pods).await;
    what_is_not_its_own_stays(cluster, &jobs, &pods).await;

    chart.release(cluster, "uninstall", &[]);
    text(uninstall(cluster, &["--yes"]));
    for kind in [
        "crd",
        "clusterrole",
        "clusterrolebinding",
        "mutatingadmissionpolicy",
        "validatingadmissionpolicybinding",
        "namespace",
    ] {
        let selector = "--selector=app.kubernetes.io/part-of=prorata";
        let list = ["get", kind, selector, "--output=name"];
        let none = || async { text(kubectl(cluster, &list, "")).is_empty() };
        eventually(&format!("no {kind} is left"), none).await;
    }
    text(uninstall(cluster, &["--yes"]));
}

/// It says what it would do, and does not stop what runs unasked.
fn without_a_word_nothing_happens(cluster: &Cluster) {
    let asked = uninstall(cluster, &[]);
    assert_eq!(asked.status.code(), Some(2));
    let told = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(told.contains("nothing has been done"), "{told}");
    let refused = uninstall(cluster, &["--yes"]);
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains("red/parts runs with the queue's gate"),
        "{told}"
    );
    assert!(told.contains("add --restart"), "{told}");
}

async fn what_the_queue_held_goes_free(cluster: &Cluster, jobs: &Api<Job>, pods: &Api<Pod>) {
    text(uninstall(
        cluster,
        &["--yes", "--only-release", "--restart"],
    ));
    let parts = jobs.get("parts").await.unwrap().spec.unwrap();
    assert_eq!(
        parts
            .template
            .spec
            .unwrap()
            .scheduling_gates
            .unwrap_or_default(),
        []
    );
    let pod = pod_of(pods, "parts").await;
    assert_eq!(
        gates(pods, &pod.metadata.name.unwrap()).await,
        Vec::<String>::new()
    );
    for name in ["waits", "late", "preempted", "parts"] {
        assert!(
            !suspended(&jobs.get(name).await.unwrap()),
            "{name} is released"
        );
    }
}

async fn what_is_not_its_own_stays(cluster: &Cluster, jobs: &Api<Job>, pods: &Api<Pod>) {
    let preempted = jobs.get("preempted").await.unwrap();
    let template = preempted.spec.unwrap().template.spec.unwrap();
    assert_eq!(
        template.affinity, None,
        "its places are not ours to choose any more"
    );
    assert!(!preempted.metadata.annotations.unwrap().contains_key(EPOCH));
    let mine = jobs.get("mine").await.unwrap();
    assert!(suspended(&mine), "what its user holds stays held");
    assert_eq!(mine.metadata.annotations.unwrap()[HELD], "true");
    assert_eq!(gates(pods, "gated").await, Vec::<String>::new());
    assert_eq!(gates(pods, "theirs").await, ["example.com/theirs"]);
    cluster.apply(&job("new", 1, 1));
    assert!(
        !suspended(&jobs.get("new").await.unwrap()),
        "nobody queues any more"
    );
}

/// A Job that the queue had started and suspended again, one that its user holds, and pods.
async fn prepare(cluster: &Cluster, jobs: &Api<Job>) {
    cluster.apply(&job("preempted", 1, 8));
    let ours: Api<Job> = Api::namespaced(cluster.controller.clone(), "red");
    start(&ours, "preempted").await;
    suspend(&ours, "preempted", true).await;
    let in_part = "\"metadata\":{\"annotations\":{\"prorata.dev/gang\":\"none\"},";
    cluster.apply(&job("parts", 1, 8).replacen("\"metadata\":{", in_part, 1));
    let parts = jobs.get("parts").await.unwrap().spec.unwrap();
    assert!(
        parts.template.spec.unwrap().scheduling_gates.is_some(),
        "its pods wait, not the Job"
    );
    let held = job("mine", 1, 8).replace("\"parallelism\"", "\"suspend\":true,\"parallelism\"");
    cluster.apply(&held);
    assert!(suspended(&jobs.get("mine").await.unwrap()));
    cluster.apply(&pod("gated", &["prorata.dev/queue"]));
    cluster.apply(&pod("theirs", &["example.com/theirs", "prorata.dev/queue"]));
}

fn pod(name: &str, gates: &[&str]) -> String {
    let gates: Vec<Value> = gates.iter().map(|gate| json!({ "name": gate })).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "red" },
        "spec": { "schedulingGates": gates, "containers": [{ "name": "main", "image": "none" }] },
    })
    .to_string()
}

async fn gates(pods: &Api<Pod>, name: &str) -> Vec<String> {
    let spec = pods.get(name).await.unwrap().spec.unwrap();
    let gates = spec.scheduling_gates.unwrap_or_default();
    gates.into_iter().map(|gate| gate.name).collect()
}

pub(crate) fn uninstall(cluster: &Cluster, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prorata"));
    command.arg("uninstall").arg("--kubeconfig");
    command.arg(cluster.plane.kubeconfig(User::Admin));
    command.args(arguments).output().unwrap()
}
