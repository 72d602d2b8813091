//! `prorata uninstall` where another resource than the usual one is handed out, and the controller
//! has never seen what waits: no record says what is held, only the policies know for what.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ListParams, PostParams};
use prorata_controlplane::Options;
use serde_json::json;

use super::removed::uninstall;
use super::{kubectl, text};
use crate::cluster::requests::{create, eventually, suspended};
use crate::cluster::{Cluster, from, prorata};

const AMD: &str = "amd.com/gpu";

/// A Job that asks for one of these.
fn job(name: &str, resource: &str) -> Job {
    let container =
        json!({"name": "main", "image": "none", "resources": {"limits": {resource: "1"}}});
    let spec = json!({"restartPolicy": "Never", "containers": [container]});
    from(json!({"metadata": {"name": name}, "spec": {"template": {"spec": spec}}}))
}

async fn install(cluster: &Cluster) {
    cluster.apply(&prorata(&["install", "--gpu-resource", AMD]));
    let jobs = jobs(&cluster.alice);
    let (asks, dry_run) = (job("probe", AMD), dry_run());
    eventually("the policies are in force", || async {
        let stored = jobs.create(&dry_run, &asks).await;
        stored.is_ok_and(|job| suspended(&job))
    })
    .await;
}

fn jobs(client: &Client) -> Api<Job> {
    Api::namespaced(client.clone(), "red")
}

fn dry_run() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_without_a_record_go_free_whatever_they_ask_for() {
    let Some(cluster) = Cluster::start(Options::default()).await else {
        return;
    };
    cluster.namespace("red", Some("red")).await;
    let theirs = jobs(&cluster.alice);

    install(&cluster).await;
    create(&theirs, &job("known", AMD)).await;
    let asked = uninstall(&cluster, &[]);
    let told = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(told.contains("the queue holds 1 Jobs"), "{told}");
    text(uninstall(&cluster, &["--yes"]));
    assert!(!suspended(&theirs.get("known").await.unwrap()));

    install(&cluster).await;
    create(&theirs, &job("forgotten", AMD)).await;
    let mut mine = job("mine", AMD);
    mine.spec.as_mut().unwrap().suspend = Some(true);
    create(&theirs, &mine).await;
    remove_as_helm_would(&cluster).await;
    let refused = uninstall(&cluster, &["--yes"]);
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains("red/forgotten may wait for them by amd.com/gpu") && !told.contains("mine"),
        "{told}"
    );
    text(uninstall(&cluster, &["--yes", "--gpu-resource", AMD]));
    assert!(!suspended(&theirs.get("forgotten").await.unwrap()));
    assert!(
        suspended(&theirs.get("mine").await.unwrap()),
        "held by its user"
    );
    text(uninstall(&cluster, &["--yes"]));
}

/// Policies and definitions go at once, and every record with them.
async fn remove_as_helm_would(cluster: &Cluster) {
    let installed = prorata(&["install", "--gpu-resource", AMD]);
    text(kubectl(
        cluster,
        &["delete", "--ignore-not-found", "-f", "-"],
        &installed,
    ));
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.admin.clone());
    eventually("no definition is left", || async {
        let left = definitions.list(&ListParams::default()).await.unwrap();
        left.items.is_empty()
    })
    .await;
    // Where a policy is gone it may still be in force for a moment.
    let theirs = jobs(&cluster.alice);
    let probe = job("probe", AMD);
    eventually("no policy is in force", || async {
        let stored = theirs.create(&dry_run(), &probe).await;
        stored.is_ok_and(|job| !suspended(&job))
    })
    .await;
}
