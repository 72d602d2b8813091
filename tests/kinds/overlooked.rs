//! From 100 nodes on kube-scheduler looks at as many as it thinks enough for a pod. The planned nodes of
//! a Job that is too wide to name them, and those of an operator's object, need not be among these.

use std::collections::BTreeMap;
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
/// These are on more nodes than are written into a template.
const WIDE: usize = 80;
/// The time for a start begins anew with each pod that is told its node, a second or two after the last.
const REFUSED_WITHIN: Duration = Duration::from_secs(150);

/// Nodes of two GPUs each.
pub(crate) fn fleet() -> impl Iterator<Item = (String, Shape)> {
    let shape = Shape {
        gpus: 2,
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
        starts(world, namespace, "Job", namespace, WIDE).await;
    }
    world.namespace("set", Some("red")).await;
    submit(world, "set", "JobSet", "set", &workers(3, 10)).await;
    starts(world, "set", "JobSet", "set", 31).await;
}

/// kube-scheduler does not say of a pod that it has tried the planned node, and cannot have it there: it is
/// learnt all the same, and that node is avoided.
pub(crate) async fn a_node_that_is_refused_is_avoided(world: &World) {
    world.namespace("repelled", Some("red")).await;
    let one_by_one = [("/spec", "completionMode", json!("NonIndexed"))];
    let wide = |name| with(&gang(name, WIDE), &one_by_one);
    world.submit("repelled", &wide("first")).await;
    let nodes = planned(world, "first").await;
    starts(world, "repelled", "Job", "first", WIDE).await;
    world.complete("repelled", "first").await;
    world.repel("repelled", "second", &nodes[0]).await;
    world.submit("repelled", &wide("second")).await;
    let again = planned(world, "second").await;
    assert_eq!(again, nodes, "it is planned as the one before it");
    let refused = "cannot place its pods";
    world
        .until_within(refused, REFUSED_WITHIN, async || {
            let told = world.events_of("Job", "repelled", "second").await;
            told.iter()
                .any(|(why, note)| why == "Requeued" && note.contains(refused))
        })
        .await;
    world
        .until_within("it runs elsewhere", REFUSED_WITHIN, async || {
            let on = world.nodes_of("repelled", "second").await;
            on.len() == WIDE && !on.contains(&nodes[0])
        })
        .await;
}

/// Where its first admission places it, in order.
async fn planned(world: &World, job: &str) -> Vec<String> {
    world
        .until("it is admitted", async || {
            let record = world.record("repelled", job).await;
            record.is_some_and(|record| record.spec.admission.is_some())
        })
        .await;
    let record = world.record("repelled", job).await.unwrap();
    let places = record.spec.admission.unwrap().placement;
    let mut nodes: Vec<String> = places.into_iter().map(|place| place.node).collect();
    nodes.sort();
    nodes
}

/// It does by its first admission and where it was planned, though kube-scheduler has not found every
/// node by itself, and each was overlooked once.
async fn starts(world: &World, namespace: &str, kind: &str, name: &str, pods: usize) {
    let what = format!("{pods} pods of {name} run");
    world
        .until(&what, async || {
            running(world, namespace).await.len() == pods
        })
        .await;
    assert_as_planned(world, namespace, name).await;
    let told = world.events_of(kind, namespace, name).await;
    assert!(!told.iter().any(|(why, _)| why == "Requeued"), "{told:?}");
    let events: Api<Event> = Api::namespaced(world.cluster.admin.clone(), namespace);
    let events = events.list(&ListParams::default()).await.unwrap().items;
    let mut times: BTreeMap<String, i32> = BTreeMap::new();
    for event in events {
        if event.note.as_deref().and_then(overlooked_in).is_some() {
            let pod = event.regarding.and_then(|pod| pod.uid).unwrap();
            *times.entry(pod).or_default() += event.series.map_or(1, |series| series.count);
        }
    }
    let again = times.values().filter(|times| **times > 1).count();
    eprintln!(
        "{name}: kube-scheduler overlooked the nodes of {} pods, of {again} again",
        times.len()
    );
    assert!(!times.is_empty(), "what this is about has not happened");
    assert!(
        again * 4 <= times.len(),
        "by chance it would overlook most of them again"
    );
}
