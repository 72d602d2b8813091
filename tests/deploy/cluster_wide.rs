//! One control plane: what is rendered is read strictly, installed by helm, run, upgraded, and
//! removed.

use std::fs;
use std::path::Path;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use prorata::api::QueuedJob;
use prorata_controlplane::{Kubelet, KubeletOptions, Options, nodes};
use serde_json::{Value, json};

use super::{
    Chart, kubectl, object, objects, read, removed, rights, root, running, text, upgraded,
};
use crate::cluster::requests::{eventually, suspended};
use crate::cluster::{Cluster, prorata};

/// Everything that the chart can render.
const ALL: &str = "--set=scheduler.enabled=true,certificates.source=certManager";

/// With the second scheduler.
const SCHEDULER: &str = "--set=scheduler.enabled=true";

/// cert-manager's kinds, as far as a server must know them to store them.
const CERT_MANAGER: &str = include_str!("cert-manager.yaml");

#[tokio::test(flavor = "multi_thread")]
async fn installed_run_upgraded_and_removed() {
    let Some(chart) = Chart::find_or_skip() else {
        return;
    };
    let Some(mut cluster) = Cluster::start(Options::default()).await else {
        return;
    };
    cluster.apply(&read("deploy/kustomize/base/namespace.yaml"));
    cluster.apply(CERT_MANAGER);
    let established = "--for=condition=Established";
    kubectl(&cluster, &["wait", established, "crd", "--all"], "");
    everything_is_read_strictly(&cluster, &chart);

    chart.install_older(&cluster, &[SCHEDULER]);
    cluster.until_in_force().await;
    rights::the_controller_may_do_its_work_and_no_more(&cluster).await;
    rights::the_controller_deletes_no_foreign_pod(&cluster).await;
    pods_keep_the_restricted_standard(&cluster, &chart);

    let site = running::site(&cluster).await;
    let config = site.scheduler_config.clone();
    cluster.plane.start_scheduler(&config).await.unwrap();
    nodes::create(&cluster.admin, 2, &nodes::Shape::default())
        .await
        .unwrap();
    let kubelet = Kubelet::start(cluster.admin.clone(), KubeletOptions::default());
    let mut controller = site.start(&cluster.plane).await;
    let (jobs, pods) = of_the_team(&cluster);
    let before = work_of_the_team(&cluster, &pods).await;
    let faces: Api<QueuedJob> = Api::namespaced(cluster.admin.clone(), "red");
    let old = upgraded::faces(&faces).await;
    assert_eq!(
        old[1].1.forecast, None,
        "the older version has no such field"
    );

    chart.release(
        &cluster,
        "upgrade",
        &[SCHEDULER, "--set=controller.replicas=3"],
    );
    // One instance of the older version ends, and one of the new version begins.
    controller.kill().unwrap();
    let controller = site.start(&cluster.plane).await;
    upgraded::until("the field that is new is written", async || {
        let [_, next, _] = upgraded::faces(&faces).await;
        next.1.forecast.is_some()
    })
    .await;
    assert!(
        suspended(&jobs.get("waits").await.unwrap()),
        "the queue goes on"
    );
    assert_eq!(running_pods(&pods).await, before, "nobody is disturbed");
    let new = upgraded::faces(&faces).await;
    let stays = |[runs, next, waits]: [upgraded::Face; 3]| [runs.0, next.0, waits.0];
    assert_eq!(stays(new), stays(old), "nobody is placed anew");
    kubelet.finish("red", "runs").await.unwrap();
    until_others_run(&pods, &before).await;
    assert!(!suspended(&jobs.get("next").await.unwrap()));
    let before = running_pods(&pods).await;
    cluster.apply(&job("late", 1, 1));
    assert!(
        suspended(&jobs.get("late").await.unwrap()),
        "the policies go on"
    );
    drop(controller);
    removed::nothing_of_a_users_is_left_behind(&cluster, &chart).await;
    assert_eq!(running_pods(&pods).await, before, "what runs goes on");
}

/// One Job runs, and two wait.
async fn work_of_the_team(cluster: &Cluster, pods: &Api<Pod>) -> Vec<String> {
    cluster.apply(&team());
    cluster.apply(&job("runs", 2, 8));
    cluster.apply(&job("next", 2, 8));
    cluster.apply(&job("waits", 1, 8));
    eventually("both pods run", || async {
        running_pods(pods).await.len() == 2
    })
    .await;
    running_pods(pods).await
}

/// The Lease of the controller that was killed has to run out first.
async fn until_others_run(pods: &Api<Pod>, before: &[String]) {
    upgraded::until("what waited goes on, in its order", async || {
        let now = running_pods(pods).await;
        now.len() == 2 && now.iter().all(|pod| !before.contains(pod))
    })
    .await;
}

/// A field that no type has, or a value of another type, is an error.
fn everything_is_read_strictly(cluster: &Cluster, chart: &Chart) {
    let strictly = [
        "apply",
        "--server-side",
        "--validate=strict",
        "--dry-run=server",
        "-f",
        "-",
    ];
    let kustomized = kustomize(cluster, &["second-scheduler", "cert-manager"]);
    for rendered in [&chart.render(&[ALL]), &kustomized, &prorata(&["install"])] {
        let applied = text(kubectl(cluster, &strictly, rendered));
        assert_eq!(
            applied.lines().count(),
            objects(rendered).len(),
            "{applied}"
        );
    }
    let wrong = kustomized.replace("allowPrivilegeEscalation:", "allowPriviledgeEscalation:");
    let output = kubectl(cluster, &strictly, &wrong);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("field not declared in schema"),
        "a typing error is not found: {message}"
    );
}

/// The base with components and an image, as a user puts them together.
fn kustomize(cluster: &Cluster, components: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let up = "../".repeat(directory.path().components().count() - 1);
    let deploy = format!(
        "{up}{}/deploy/kustomize",
        root().strip_prefix("/").unwrap().display()
    );
    let components: Vec<String> = components
        .iter()
        .map(|name| format!("{deploy}/{name}"))
        .collect();
    let file = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": [format!("{deploy}/base")],
        "components": components,
        "images": [{ "name": "prorata", "newName": "registry.example/prorata", "newTag": "9" }],
    });
    fs::write(
        directory.path().join("kustomization.yaml"),
        file.to_string(),
    )
    .unwrap();
    let path: &Path = directory.path();
    let rendered = text(kubectl(cluster, &["kustomize", path.to_str().unwrap()], ""));
    assert!(rendered.contains("image: registry.example/prorata:9"));
    rendered
}

/// The namespace enforces it; one that does not is refused, so the check is there.
fn pods_keep_the_restricted_standard(cluster: &Cluster, chart: &Chart) {
    let rendered = objects(&chart.render(&[ALL]));
    for name in ["prorata-controller", "prorata-scheduler"] {
        let template = &object(&rendered, "Deployment", name)["spec"]["template"];
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
            "metadata": { "name": "probe", "namespace": "prorata-system", "labels": template["metadata"]["labels"] },
        });
        let dry_run = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
        text(kubectl(cluster, &dry_run, &pod.to_string()));
        pod["spec"]["containers"][0]["securityContext"] = Value::Null;
        let output = kubectl(cluster, &dry_run, &pod.to_string());
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(
            message.contains("violates PodSecurity \"restricted"),
            "{name}: {message}"
        );
    }
}

pub(super) fn team() -> String {
    let tenant = json!({ "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "red" }, "spec": {} });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "red", "labels": { "prorata.dev/tenant": "red" } } });
    format!("{tenant}\n---\n{namespace}\n")
}

/// A Job of so many pods with so many GPUs each, for the second scheduler.
pub(crate) fn job(name: &str, pods: u32, gpus: u32) -> String {
    let limits = json!({ "limits": { "nvidia.com/gpu": gpus.to_string() } });
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": { "name": name, "namespace": "red" },
        "spec": { "parallelism": pods, "completions": pods, "template": { "spec": {
            "schedulerName": "prorata-scheduler", "restartPolicy": "Never",
            "containers": [{ "name": "main", "image": "none", "resources": limits }],
        } } },
    })
    .to_string()
}

fn of_the_team(cluster: &Cluster) -> (Api<Job>, Api<Pod>) {
    let client = &cluster.admin;
    (
        Api::namespaced(client.clone(), "red"),
        Api::namespaced(client.clone(), "red"),
    )
}

/// The UIDs of the pods that run, in order.
pub(super) async fn running_pods(pods: &Api<Pod>) -> Vec<String> {
    let all = pods.list(&ListParams::default()).await.unwrap();
    let runs = |pod: &Pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running");
    let mut uids: Vec<String> = all
        .iter()
        .filter(|pod| runs(pod))
        .filter_map(ResourceExt::uid)
        .collect();
    uids.sort();
    uids
}
