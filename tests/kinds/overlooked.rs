//! From 100 nodes on kube-scheduler looks at as many as it thinks enough for a pod. The planned nodes of
//! a Job that is too wide to name them, and those of an operator's object, need not be among these.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use prorata::api::extender_v1::overlooked_in;
use prorata_controlplane::nodes::Shape;
use serde_json::json;

use super::composites::{assert_as_planned, submit, workers};
use super::pods::running;
use crate::outage::world::{World, gang, with};

/// Of these kube-scheduler looks for 100 that would do, as large a part as it does by itself of 5,000.
const FLEET: usize = 1_000;
const PART: &str = "percentageOfNodesToScore: 10\n";
/// More than are written into a template.
const WIDE: usize = 40;
/// One try each that overlooks the node and one that does not, a second or more apart.
const STARTED_WITHIN: Duration = Duration::from_secs(20);

/// Nodes of one GPU each.
pub(crate) fn fleet() -> impl Iterator<Item = (String, Shape)> {
    let shape = Shape {
        gpus: 1,
        ..Shape::default()
    };
    (0..FLEET).map(move |number| (format!("node-{number:04}"), shape.clone()))
}

pub(crate) async fn look_at_a_part(world: &mut World) {
    let config = world.site.scheduler_config();
    let whole = std::fs::read_to_string(config).unwrap();
    std::fs::write(config, whole + PART).unwrap();
    world.cluster.plane.start_scheduler(config).await.unwrap();
}

pub(crate) async fn every_pod_comes_to_its_node(world: &World) {
    let one_by_one = [("/spec", "completionMode", json!("NonIndexed"))];
    let indexed = gang("indexed", WIDE);
    let alike = with(&gang("alike", WIDE), &one_by_one);
    for (namespace, job) in [("indexed", &indexed), ("alike", &alike)] {
        world.namespace(namespace, Some("red")).await;
        world.submit(namespace, job).await;
        starts(world, namespace, namespace, WIDE).await;
    }
    world.namespace("set", Some("red")).await;
    submit(world, "set", "JobSet", "set", &workers(3, 10)).await;
    starts(world, "set", "set", 31).await;
}

/// It does by its first admission and where it was planned, though kube-scheduler has not found every
/// node by itself.
async fn starts(world: &World, namespace: &str, name: &str, pods: usize) {
    let what = format!("{pods} pods of {name} run");
    world
        .until_within(&what, STARTED_WITHIN, async || {
            running(world, namespace).await.len() == pods
        })
        .await;
    assert_as_planned(world, namespace, name).await;
    let told = world.events_of("Job", namespace, name).await;
    assert!(!told.iter().any(|(why, _)| why == "Requeued"), "{told:?}");
    let events: Api<Event> = Api::namespaced(world.cluster.admin.clone(), namespace);
    let events = events.list(&ListParams::default()).await.unwrap().items;
    let says = |event: &&Event| {
        event
            .note
            .as_ref()
            .is_some_and(|n| overlooked_in(n).is_some())
    };
    let overlooked = events.iter().filter(says).count();
    // A second time is told by a series.
    let again = events
        .iter()
        .filter(says)
        .filter(|event| event.series.is_some());
    let again = again.count();
    eprintln!(
        "{namespace}: kube-scheduler overlooked the nodes of {overlooked} pods, of {again} again"
    );
    assert!(overlooked > 0, "what this is about has not happened");
    assert!(
        again * 4 <= overlooked,
        "by chance it would overlook most of them again"
    );
}
