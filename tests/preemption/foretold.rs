//! `prorata what-if` beside what happens when the Job is created after all.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use kube::{Resource, ResourceExt};
use prorata::api::QueuedJob;
use prorata_controlplane::User;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::eviction::delete;
use crate::cluster::requests::json as manifest;
use crate::outage::world::{NODES, World, gang, with};

/// The cluster is full: who comes by its priority has one leave, and who has none waits.
pub(crate) async fn what_if_tells_what_happens_then(world: &World) {
    for (number, node) in (1..).zip(NODES) {
        let job = format!("asked-{number}");
        world.submit("red", &gang(&job, 4)).await;
        world.until_running("red", &job, &[node; 4]).await;
        // Records say in whole seconds who started last, which decides who leaves.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let urgent = [("/spec/template/spec", "priorityClassName", json!("urgent"))];
    let urgent = with(&gang("hurried", 4), &urgent);

    let before = settled(world).await;
    let waits = what_if(world, &gang("patient", 4), "json").await;
    let told = what_if(world, &urgent, "json").await;
    let text = what_if(world, &urgent, "table").await;
    assert_eq!(everything(world).await, before, "nothing is written");

    let waits: Value = serde_json::from_str(&waits).unwrap();
    assert_eq!(
        (&waits["startsNow"], &waits["reason"]),
        (&json!(false), &json!("CapacityFull"))
    );
    assert!(
        waits["p50"].is_string(),
        "Jobs like it have ended here: {waits}"
    );
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["startsNow"], true, "{told}");
    let evicts = told["evicts"].as_array().unwrap();
    assert_eq!(
        (evicts.len(), &evicts[0]["rule"]),
        (1, &json!("priority")),
        "{told}"
    );
    let victim = evicts[0]["job"]
        .as_str()
        .unwrap()
        .strip_prefix("red/")
        .unwrap();
    assert!(
        text.contains(&format!("Evicts  red/{victim} (by priority)")),
        "{text}"
    );
    let nodes = told["nodes"].as_object().unwrap().iter();
    let nodes: Vec<&str> = nodes
        .flat_map(|(node, pods)| {
            vec![node.as_str(); usize::try_from(pods.as_u64().unwrap()).unwrap()]
        })
        .collect();

    world.submit("red", &urgent).await;
    world.until_running("red", "hurried", &nodes).await;
    world.until_told("red", victim, "Evicted", "").await;
    for job in ["asked-1", "asked-2"] {
        let said = world.events("red", job).await;
        let left = said.iter().any(|(reason, _)| reason == "Evicted");
        assert_eq!(left, job == victim, "{job}: {said:?}");
    }
    world.complete("red", "hurried").await;
    for job in ["asked-1", "asked-2"] {
        delete(world, "red", job).await;
    }
}

/// What our own binary answers to the question about a Job in red.
async fn what_if(world: &World, job: &Job, output: &str) -> String {
    let directory = world.cluster.plane.directory();
    let file = directory.join("asked.json");
    std::fs::write(&file, manifest(job).to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_prorata"));
    command
        .arg("what-if")
        .arg(&file)
        .args(["-n", "red", "-o", output]);
    command.arg("--config").arg(&world.site.config);
    command
        .arg("--kubeconfig")
        .arg(world.cluster.plane.kubeconfig(User::Admin));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The same, once Kubernetes has said all that it has to say of what happened before.
async fn settled(world: &World) -> BTreeSet<(String, String)> {
    let mut before = everything(world).await;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = everything(world).await;
        if now == before {
            return now;
        }
        before = now;
    }
    panic!("something is written all the time");
}

/// UID and version of whatever the queue writes, and of what its users do.
async fn everything(world: &World) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::from_iter(of::<Job>(world).await);
    all.extend(of::<QueuedJob>(world).await);
    all.extend(of::<Pod>(world).await);
    all.extend(of::<Event>(world).await);
    all
}

async fn of<K>(world: &World) -> Vec<(String, String)>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(world.cluster.admin.clone(), "red");
    let all = api.list(&ListParams::default()).await.unwrap().items;
    let known = |object: &K| (object.uid().unwrap(), object.resource_version().unwrap());
    all.iter().map(known).collect()
}
