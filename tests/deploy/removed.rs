//! `prorata uninstall`: what the queue held goes free, what its user held stays, and everything of
//! ours is gone.

use std::process::{Command, Output};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use prorata::api::labels::{EPOCH, HELD};
use prorata_controlplane::User;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::cluster::requests::{eventually, start, suspend, suspended};
use crate::cluster_wide::job;
use crate::{Chart, kubectl, text};

pub(crate) async fn nothing_of_a_users_is_left_behind(cluster: &Cluster, chart: &Chart) {
    let jobs: Api<Job> = Api::namespaced(cluster.admin.clone(), "red");
    let pods: Api<Pod> = Api::namespaced(cluster.admin.clone(), "red");
    prepare(cluster, &jobs).await;

    let asked = uninstall(cluster, &[]);
    assert_eq!(asked.status.code(), Some(2));
    let told = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(told.contains("nothing has been done"), "{told}");
    assert!(suspended(&jobs.get("waits").await.unwrap()));

    text(uninstall(cluster, &["--yes", "--only-release"]));
    for name in ["waits", "late", "preempted"] {
        assert!(
            !suspended(&jobs.get(name).await.unwrap()),
            "{name} is released"
        );
    }
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
    assert_eq!(gates(&pods, "gated").await, Vec::<String>::new());
    assert_eq!(gates(&pods, "theirs").await, ["example.com/theirs"]);
    cluster.apply(&job("new", 1, 1));
    assert!(
        !suspended(&jobs.get("new").await.unwrap()),
        "nobody queues any more"
    );

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

/// A Job that the queue had started and suspended again, one that its user holds, and pods.
async fn prepare(cluster: &Cluster, jobs: &Api<Job>) {
    cluster.apply(&job("preempted", 1, 8));
    let ours: Api<Job> = Api::namespaced(cluster.controller.clone(), "red");
    start(&ours, "preempted").await;
    suspend(&ours, "preempted", true).await;
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

fn uninstall(cluster: &Cluster, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prorata"));
    command.arg("uninstall").arg("--kubeconfig");
    command.arg(cluster.plane.kubeconfig(User::Admin));
    command.args(arguments).output().unwrap()
}
