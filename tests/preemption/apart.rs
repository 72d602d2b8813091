//! Pods that may not be together: what their template says of that is planned, and what only
//! kube-scheduler knows is learnt from it.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use prorata::api::State;
use serde_json::{Value, json};

use crate::cluster::requests::{create, json as manifest};
use crate::cluster::{from, pod};
use crate::outage::world::{NODES, World, gang, phase, with};

const HOST: &str = "kubernetes.io/hostname";
const TEMPLATE: &str = "/spec/template/spec";

/// With these labels on its pods.
fn labelled(job: &Job, app: &str) -> Job {
    let labels = json!({ "labels": { "app": app } });
    with(job, &[("/spec/template", "metadata", labels)])
}

/// Required anti-affinity, node by node, to pods with this label.
fn repelled_by(app: &str) -> Value {
    let term = json!({ "labelSelector": { "matchLabels": { "app": app } }, "topologyKey": HOST });
    let required = json!({ "requiredDuringSchedulingIgnoredDuringExecution": [term] });
    json!({ "podAntiAffinity": required })
}

/// On a node alone, all of them would find room.
pub(crate) async fn pods_that_repel_each_other_are_planned_apart(world: &World) {
    let repelling = with(
        &labelled(&gang("apart", 2), "apart"),
        &[(TEMPLATE, "affinity", repelled_by("apart"))],
    );
    let ports = json!([{ "containerPort": 29500, "hostPort": 29500 }]);
    let with_ports = with(
        &gang("ports", 2),
        &[(&format!("{TEMPLATE}/containers/0"), "ports", ports)],
    );
    let spread = json!([{
        "maxSkew": 1, "topologyKey": HOST, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": { "matchLabels": { "app": "spread" } },
    }]);
    let spread = with(
        &labelled(&gang("spread", 4), "spread"),
        &[(TEMPLATE, "topologySpreadConstraints", spread)],
    );
    for (name, job, each) in [
        ("apart", repelling, 1),
        ("ports", with_ports, 1),
        ("spread", spread, 2),
    ] {
        world.submit("red", &job).await;
        let both = [vec![NODES[0]; each], vec![NODES[1]; each]].concat();
        world.until_running("red", name, &both).await;
        world.complete("red", name).await;
    }
}

/// Three that may not be on one node will never be on two.
pub(crate) async fn too_many_that_repel_each_other_are_told_so(world: &World) {
    let crowd = with(
        &labelled(&gang("crowd", 3), "crowd"),
        &[(TEMPLATE, "affinity", repelled_by("crowd"))],
    );
    world.submit("red", &crowd).await;
    world
        .until_stands("red", "crowd", State::Waiting, "ExceedsCapacity")
        .await;
    super::eviction::delete(world, "red", "crowd").await;
}

/// A pod that is nobody's job repels those of one: of that only kube-scheduler knows.
pub(crate) async fn a_node_whose_pods_repel_a_job_is_avoided(world: &World) {
    let mut noisy = manifest(&pod("noisy", 0));
    noisy["metadata"]["labels"] = json!({ "app": "noisy" });
    noisy["spec"]["nodeSelector"] = json!({ HOST: NODES[0] });
    let pods: Api<Pod> = Api::namespaced(world.cluster.alice.clone(), "red");
    create(&pods, &from::<Pod>(noisy)).await;
    world
        .until("what repels it runs", async || {
            phase(&world.pod("red", "noisy").await) == "Running"
        })
        .await;
    let quiet = with(
        &gang("quiet", 2),
        &[(TEMPLATE, "affinity", repelled_by("noisy"))],
    );
    world.submit("red", &quiet).await;
    world.until_running("red", "quiet", &[NODES[1]; 2]).await;
    world
        .until("its user is told why it was planned anew", async || {
            let said = world.events("red", "quiet").await;
            said.iter().any(|(_, note)| note.contains("anti-affinity"))
        })
        .await;
    world.complete("red", "quiet").await;
    pods.delete("noisy", &DeleteParams::default())
        .await
        .unwrap();
    world
        .until("what repelled it is gone", async || {
            pods.get_opt("noisy").await.unwrap().is_none()
        })
        .await;
}
