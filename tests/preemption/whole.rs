//! A gang of 64, followed by a watch of its pods from before it is submitted: all of it is bound or
//! nothing is, but for as long as kube-scheduler takes to bind 64, or as the design gives it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, PostParams};
use kube::runtime::watcher::{self, Event};
use prorata::api::State;
use serde_json::json;
use tokio::task::JoinHandle;

use super::loss::{gated, open};
use crate::cluster::from;
use crate::cluster::requests::json as manifest;
use crate::outage::world::{NODES, World, gang, node};

const GANG: usize = 64;
/// What the design gives a gang from its first pod on, until all that can be bound are.
pub(super) const BOUND_WITHIN: Duration = Duration::from_secs(30);
/// The `bindingTimeout` here, and what else it takes to suspend the Job and to have its pods ended.
const TAKEN_BACK_WITHIN: Duration = Duration::from_secs(4 + 30);
/// Nodes beside the two that are always there: one more than the gang needs.
const MORE: usize = 15;

/// What a watch has told of the pods of a Job of so many, change by change.
pub(super) struct Watched {
    pods: usize,
    moments: Arc<Mutex<Vec<Moment>>>,
    task: JoinHandle<()>,
}

/// How its pods stood.
#[derive(Clone, Debug)]
struct Moment {
    at: Instant,
    /// Of those that are there.
    bound: usize,
    /// kube-scheduler has said that one cannot be bound.
    refused: bool,
}

impl Watched {
    /// Begins to follow a Job that need not be there yet.
    pub(super) fn start(world: &World, namespace: &str, job: &str, pods: usize) -> Self {
        let api: Api<Pod> = Api::namespaced(world.cluster.admin.clone(), namespace);
        let of_job = format!("batch.kubernetes.io/job-name={job}");
        let of_job = watcher::Config::default().labels(&of_job);
        let moments = Arc::new(Mutex::new(Vec::new()));
        let told = moments.clone();
        let task = tokio::spawn(async move {
            let mut events = watcher::watcher(api, of_job).boxed();
            let mut pods: BTreeMap<String, Pod> = BTreeMap::new();
            while let Some(event) = events.next().await {
                match event.unwrap() {
                    Event::Init | Event::InitDone => continue,
                    Event::InitApply(pod) | Event::Apply(pod) => {
                        _ = pods.insert(pod.name_any(), pod);
                    }
                    Event::Delete(pod) => _ = pods.remove(&pod.name_any()),
                }
                told.lock().unwrap().push(Moment {
                    at: Instant::now(),
                    bound: pods.values().filter(|pod| node(pod).is_some()).count(),
                    refused: pods.values().any(is_unschedulable),
                });
            }
        });
        Self {
            pods,
            moments,
            task,
        }
    }

    fn moments(&self) -> Vec<Moment> {
        self.moments.lock().unwrap().clone()
    }

    /// How many of its pods were bound at the same time, at most.
    pub(super) fn most(&self) -> usize {
        let bound = self.moments().into_iter().map(|moment| moment.bound);
        bound.max().unwrap_or_default()
    }

    /// How long some of its pods were bound and others not, each time, and how many were in the end.
    pub(super) fn parts(&self) -> Vec<(Duration, usize)> {
        let (mut parts, mut since) = (Vec::new(), None);
        for moment in self.moments() {
            let is_part = (1..self.pods).contains(&moment.bound);
            match since {
                None if is_part => since = Some(moment.at),
                Some(began) if !is_part => {
                    parts.push((moment.at.duration_since(began), moment.bound));
                    since = None;
                }
                _ => {}
            }
        }
        parts.extend(since.map(|began| (began.elapsed(), usize::MAX)));
        parts
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn is_unschedulable(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let mut scheduled = conditions.filter(|condition| condition.type_ == "PodScheduled");
    scheduled.any(|condition| condition.reason.as_deref() == Some("Unschedulable"))
}

/// Nodes of four GPUs, like the two.
pub(crate) async fn add_nodes(world: &World) -> Vec<String> {
    let nodes: Api<Node> = Api::all(world.cluster.admin.clone());
    let model = nodes.get(NODES[1]).await.unwrap();
    let more: Vec<String> = (0..MORE).map(|n| format!("more-{n:02}")).collect();
    for name in &more {
        let mut node = manifest(&model);
        node["metadata"] = json!({
            "name": name,
            "labels": { "kubernetes.io/hostname": name },
        });
        nodes
            .create(&PostParams::default(), &from(node))
            .await
            .unwrap();
    }
    more
}

pub(crate) async fn remove_nodes(world: &World, more: &[String]) {
    let nodes: Api<Node> = Api::all(world.cluster.admin.clone());
    for name in more {
        nodes.delete(name, &DeleteParams::default()).await.unwrap();
    }
}

/// While there is room for 63, none of it is made.
pub(crate) async fn a_gang_of_64_starts_whole(world: &World) {
    let watched = Watched::start(world, "blue", "whole", GANG);
    // Of 68 GPUs five are taken.
    world.submit("blue", &gang("one", 5)).await;
    world
        .until("five GPUs are taken", async || {
            world.nodes_of("blue", "one").await.len() == 5
        })
        .await;
    world.submit("blue", &gang("whole", GANG)).await;
    world
        .until_stands("blue", "whole", State::Waiting, "CapacityFull")
        .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(watched.moments().len(), 0, "no pod of it was ever there");
    world.complete("blue", "one").await;
    world
        .until("all 64 run", async || {
            world.nodes_of("blue", "whole").await.len() == GANG
        })
        .await;
    let parts = watched.parts();
    eprintln!("{GANG} pods in part: {parts:?}");
    let [(lasted, GANG)] = parts[..] else {
        panic!("bound at once, or in one go: {parts:?}");
    };
    assert!(lasted < BOUND_WITHIN, "{lasted:?}");
    let moments = watched.moments();
    assert!(
        !moments.iter().any(|moment| moment.refused),
        "none was refused"
    );
    world.complete("blue", "whole").await;
}

/// When all its pods are made and none is bound, one of its nodes comes to refuse them, by what
/// another pod says there: what kube-scheduler has bound by then is taken back, and all of it runs
/// elsewhere.
pub(crate) async fn a_gang_of_64_that_a_node_refuses_is_whole_elsewhere(world: &World) {
    let watched = Watched::start(world, "blue", "refused", GANG);
    world.submit("blue", &gated("refused", GANG)).await;
    world
        .until("its pods are born", async || {
            world.pods_of("blue", "refused").await == GANG
        })
        .await;
    let record = world.record("blue", "refused").await.unwrap();
    let placement = record.spec.admission.unwrap().placement;
    let refusing = &placement.last().unwrap().node;
    world.repel("blue", "refused", refusing).await;
    let patience = Duration::from_secs(90);
    world
        .until_within("all 64 run elsewhere", patience, async || {
            open(world, "blue", GANG).await;
            world.nodes_of("blue", "refused").await.len() == GANG
        })
        .await;
    assert!(!world.nodes_of("blue", "refused").await.contains(refusing));
    let parts = watched.parts();
    eprintln!("{GANG} pods, of which some are refused, in part: {parts:?}");
    let ends: Vec<usize> = parts.iter().map(|(_, bound)| *bound).collect();
    assert_eq!(ends.last(), Some(&GANG), "{parts:?}");
    assert!(
        ends.contains(&0),
        "what was bound first is taken back: {parts:?}"
    );
    for (lasted, bound) in parts {
        let most = if bound == GANG {
            BOUND_WITHIN
        } else {
            TAKEN_BACK_WITHIN
        };
        assert!(lasted < most, "{lasted:?} until {bound} were bound");
    }
    let moments = watched.moments();
    assert!(
        moments.iter().any(|moment| moment.refused),
        "some were refused"
    );
    world.until_told("blue", "refused", "Requeued", "").await;
    let pods: Api<Pod> = Api::namespaced(world.cluster.admin.clone(), "blue");
    let now = DeleteParams::default().grace_period(0);
    pods.delete("repels", &now).await.unwrap();
    world.complete("blue", "refused").await;
    let job = world.job("blue", "refused").await;
    assert_eq!(job.status.unwrap().failed, None, "no pod counts as failed");
}

/// One of its nodes is lost when none of its pods is bound, when half of them are, and when all are.
pub(crate) async fn a_gang_of_64_outlives_its_node(world: &World) {
    for bound in [0, GANG / 2, GANG] {
        let name = format!("lost-{bound}");
        world.submit("blue", &gated(&name, GANG)).await;
        world
            .until("its pods are born", async || {
                world.pods_of("blue", &name).await == GANG
            })
            .await;
        open(world, "blue", bound).await;
        world
            .until("so many are bound", async || {
                world.nodes_of("blue", &name).await.len() == bound
            })
            .await;
        let record = world.record("blue", &name).await.unwrap();
        let lost = record.spec.admission.unwrap().placement[0].node.clone();
        world.cluster.set_ready(&lost, "Unknown").await;
        let patience = Duration::from_secs(90);
        world
            .until_within("all 64 run elsewhere", patience, async || {
                open(world, "blue", GANG).await;
                let nodes = world.nodes_of("blue", &name).await;
                nodes.len() == GANG && !nodes.contains(&lost)
            })
            .await;
        world.until_told("blue", &name, "Requeued", &lost).await;
        world.cluster.set_ready(&lost, "True").await;
        world.complete("blue", &name).await;
        let job = world.job("blue", &name).await;
        assert_eq!(job.status.unwrap().failed, None, "no pod counts as failed");
    }
}
