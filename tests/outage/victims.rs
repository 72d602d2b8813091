//! kube-scheduler's own preemption of pods with GPUs: the extender leaves it no victim.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;

use super::world::World;
use crate::cluster::requests::{create, json as manifest};
use crate::cluster::{from, pod};

/// A pod of a class that lets kube-scheduler preempt finds no room, and the extender names no victim.
pub(super) async fn kube_scheduler_names_none(world: &World) {
    let class = "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: pushes}\nvalue: 1000\n";
    world.cluster.apply(class);
    let before = [world.pods("promised").await, world.pods("free").await].concat();
    let pods: Api<Pod> = Api::namespaced(world.cluster.admin.clone(), "free");
    let mut pushing = manifest(&pod("pushing", 1));
    pushing["spec"]["priorityClassName"] = json!("pushes");
    let pushing = create(&pods, &from(pushing)).await;
    assert_eq!(
        pushing.spec.unwrap().preemption_policy.as_deref(),
        Some("PreemptLowerPriority")
    );
    world
        .until("kube-scheduler has looked for victims", async || {
            let events: Api<Event> = Api::namespaced(world.cluster.admin.clone(), "free");
            let events = events.list(&ListParams::default()).await.unwrap().items;
            events.iter().any(|event| {
                let of = event.regarding.as_ref().and_then(|o| o.name.as_deref());
                let note = event.note.as_deref().unwrap_or_default();
                of == Some("pushing") && note.contains("no candidate node for preemption")
            })
        })
        .await;
    let status = world.pod("free", "pushing").await.status.unwrap();
    assert_eq!(status.nominated_node_name, None);
    let after = [world.pods("promised").await, world.pods("free").await].concat();
    for pod in &before {
        let there = after.iter().find(|other| other.uid() == pod.uid());
        let leaves = there.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some());
        assert!(!leaves, "{} is evicted", pod.name_any());
    }
    let now = DeleteParams::default().grace_period(0);
    pods.delete("pushing", &now).await.unwrap();
}
