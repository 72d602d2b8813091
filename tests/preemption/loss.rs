//! What is lost on the way: nodes at three moments, and room that only kube-scheduler knows of.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams};
use prorata::api::State;
use serde_json::json;

use crate::cluster::from;
use crate::cluster::requests::patch;
use crate::outage::world::{NODES, World, gang, with};

/// A Job that must not lose a single pod to a failure.
fn strict(name: &str, pods: usize) -> k8s_openapi::api::batch::v1::Job {
    with(&gang(name, pods), &[("/spec", "backoffLimit", json!(0))])
}

const NOT_YET: &str = "example.com/not-yet";

/// The same, with pods that a gate of their own holds.
pub(crate) fn gated(name: &str, pods: usize) -> k8s_openapi::api::batch::v1::Job {
    let gates = json!([{ "name": NOT_YET }]);
    with(
        &strict(name, pods),
        &[("/spec/template/spec", "schedulingGates", gates)],
    )
}

/// Lets pods go that their gate holds, as many as there are.
pub(crate) async fn open(world: &World, namespace: &str, count: usize) {
    let pods: Api<Pod> = Api::namespaced(world.cluster.admin.clone(), namespace);
    let gated = |pod: &Pod| pod.spec.as_ref().unwrap().scheduling_gates.is_some();
    let all = world.pods(namespace).await;
    for pod in all.into_iter().filter(gated).take(count) {
        let free = json!({ "spec": { "schedulingGates": null } });
        // It may be gone by now.
        let _ = patch::<Pod>(&pods, &pod.name_any(), free).await;
    }
}

/// No pod is bound yet.
pub(crate) async fn a_node_is_lost_before_its_pods_come(world: &World) {
    world.submit("red", &gated("before", 2)).await;
    world
        .until("its pods are born", async || {
            world.pods_of("red", "before").await == 2
        })
        .await;
    world.cluster.set_ready(NODES[0], "Unknown").await;
    world
        .until("it runs elsewhere", async || {
            open(world, "red", 2).await;
            world.nodes_of("red", "before").await == [NODES[1]; 2]
        })
        .await;
    world.cluster.set_ready(NODES[0], "True").await;
    world.complete("red", "before").await;
}

/// One pod is bound, one is not.
pub(crate) async fn a_node_is_lost_while_its_pods_come(world: &World) {
    world.submit("red", &gated("between", 2)).await;
    world
        .until("its pods are born", async || {
            world.pods_of("red", "between").await == 2
        })
        .await;
    open(world, "red", 1).await;
    world.until_running("red", "between", &[NODES[0]]).await;
    world.cluster.set_ready(NODES[0], "False").await;
    world
        .until("it runs elsewhere", async || {
            open(world, "red", 2).await;
            world.nodes_of("red", "between").await == [NODES[1]; 2]
        })
        .await;
    world.cluster.set_ready(NODES[0], "True").await;
    world.complete("red", "between").await;
}

/// All pods are bound, and nobody waits for their end on the node that is lost: the gang runs
/// elsewhere meanwhile.
pub(crate) async fn a_node_is_lost_under_its_pods(world: &World) {
    let never = super::eviction::slow_to_end();
    let job = with(
        &strict("after", 3),
        &[("/spec/template", "metadata", never)],
    );
    world.submit("red", &job).await;
    world.until_running("red", "after", &[NODES[0]; 3]).await;
    let nodes: Api<Node> = Api::all(world.cluster.admin.clone());
    let lost = nodes.get(NODES[0]).await.unwrap();
    world.cluster.set_ready(NODES[0], "Unknown").await;
    world
        .until("it runs elsewhere", async || {
            let all = world.nodes_of("red", "after").await;
            all.iter().filter(|node| *node == NODES[1]).count() == 3
        })
        .await;
    world
        .until_told("red", "after", "Requeued", "is lost")
        .await;
    nodes
        .delete(NODES[0], &DeleteParams::default())
        .await
        .unwrap();
    world
        .until("the dead pods are gone", async || {
            let pods = world.pods("red").await;
            let dead = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
            !pods.iter().any(dead)
        })
        .await;
    world.complete("red", "after").await;
    let job = world.job("red", "after").await;
    assert_eq!(job.status.unwrap().failed, None, "no pod counts as failed");
    let mut again = serde_json::to_value(&lost).unwrap();
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
    ] {
        again["metadata"].as_object_mut().unwrap().remove(field);
    }
    again["spec"] = json!({});
    nodes
        .create(&PostParams::default(), &from(again))
        .await
        .unwrap();
}

/// A claim that nobody has made.
pub(crate) async fn what_only_kube_scheduler_knows_is_told_and_takes_no_room(world: &World) {
    let claim = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "missing" } }]);
    let job = with(
        &gang("volume", 8),
        &[("/spec/template/spec", "volumes", claim)],
    );
    world.submit("red", &job).await;
    world
        .until_stands("red", "volume", State::Waiting, "InvalidRequest")
        .await;
    let message = world.record("red", "volume").await.unwrap().status.unwrap();
    assert!(
        message
            .message
            .contains("persistentvolumeclaim \"missing\" not found"),
        "{message:?}"
    );
    world.submit("red", &gang("other", 8)).await;
    world
        .until("its room is another's meanwhile", async || {
            world.nodes_of("red", "other").await.len() == 8
        })
        .await;
    super::eviction::delete(world, "red", "volume").await;
    world.complete("red", "other").await;
}
