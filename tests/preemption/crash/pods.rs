//! The same of pods that wait by their gate: those of a StatefulSet start together, leave by eviction
//! for a Job, and start together again.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};
use prorata::api::State;
use serde_json::{Value, json};

use super::standing::Standing;
use super::{Watchdog, every};
use crate::cluster::requests::create;
use crate::kinds::pods::stateful_set;
use crate::outage::world::{NODES, World, gang, is_complete, node, phase, with};

/// The story takes more writes than the one, and fewer than the other.
const WRITES: (u32, u32) = (20, 90);
/// Of the set, and of each Job.
const SIZE: u32 = 4;
const PODS: usize = SIZE as usize;

/// What a story came to: while the set waits, and when it runs again.
type Story = [Standing; 2];

/// Plays it with a crash after so many writes, after so many more, and so on; how many there were.
pub(super) async fn a_crash_after_any_write_changes_nothing(
    world: &World,
    from: u32,
    step: u32,
) -> u32 {
    let whole = tell(world, "whole", None, None).await;
    assert!(!whole.1);
    let again = async |name: &str, writes: u32| {
        let (_, crashed) = tell(world, name, Some(writes), Some(&whole.0)).await;
        crashed
    };
    every("a set of pods", (from, step), WRITES, again).await
}

/// Plays it once; answers too whether there was a crash.
async fn tell(
    world: &World,
    name: &str,
    crash: Option<u32>,
    whole: Option<&Story>,
) -> (Story, bool) {
    let name = format!("set-{name}");
    let dog = Watchdog::start(world, &name, PODS, crash);
    let story = play(&dog, whole).await;
    let crashed = dog.end().await;
    clear(world, &name).await;
    (story, crashed)
}

fn sets(world: &World) -> Api<StatefulSet> {
    Api::namespaced(world.cluster.admin.clone(), "red")
}

async fn play(dog: &Watchdog<'_>, whole: Option<&Story>) -> Story {
    let (world, ranks) = (dog.world, dog.name("ranks"));
    let urgent = [("/spec/template/spec", "priorityClassName", json!("urgent"))];
    let stays = with(&gang(&dog.name("stays"), PODS), &urgent);
    world.submit("red", &stays).await;
    dog.until_running("stays", NODES[0]).await;
    create(&sets(world), &stateful_set(&ranks, SIZE)).await;
    let on = async |node: &str| placed(world, &ranks).await == [node; PODS];
    dog.until("the set runs", async || on(NODES[1]).await).await;
    world.submit("lab", &gang(&dog.name("claims"), PODS)).await;
    dog.until_running("claims", NODES[1]).await;
    dog.until("the set waits", async || {
        let stands = world.stands("red", &ranks).await;
        stands.is_some_and(|(state, reason)| {
            state == State::Waiting && reason != "Evicted" && reason != "Stopping"
        })
    })
    .await;
    let read = async || standing(world, dog.story).await;
    let waiting = dog.standing(whole.map(|whole| &whole[0]), read).await;
    dog.complete("claims").await;
    dog.until("the set runs again", async || on(NODES[1]).await)
        .await;
    let again = dog.standing(whole.map(|whole| &whole[1]), read).await;
    [waiting, again]
}

/// Nodes of the set's pods that run, in order.
async fn placed(world: &World, ranks: &str) -> Vec<String> {
    let pods = world.pods("red").await;
    let runs = |pod: &&Pod| pod.name_any().starts_with(ranks) && phase(pod) == "Running";
    let nodes = pods.iter().filter(runs).filter_map(node);
    let mut nodes: Vec<String> = nodes.map(str::to_owned).collect();
    nodes.sort();
    nodes
}

/// The set's pods and its record.
async fn standing(world: &World, story: &str) -> Standing {
    let ranks = format!("ranks-{story}");
    let mut all = BTreeMap::new();
    for pod in world.pods("red").await {
        if pod.name_any().starts_with(&ranks) {
            let gates = pod.spec.as_ref().and_then(|s| s.scheduling_gates.clone());
            let told: Value = json!([
                phase(&pod),
                node(&pod),
                gates,
                pod.metadata.deletion_timestamp.is_some()
            ]);
            all.insert(format!("pod {}", pod.name_any()), told);
        }
    }
    let record = world.record("red", &ranks).await;
    let record = record.map(|record| {
        let (mut spec, status) = (json!(record.spec), record.status);
        // A gang of pods is there while one of them is: where all were gone at the same time, what it
        // had been before is forgotten.
        for field in ["eviction", "evictions", "lastEpoch"] {
            spec.as_object_mut().unwrap().remove(field);
        }
        (spec, status)
    });
    all.insert("record".to_owned(), json!(record));
    let all = all.into_iter();
    let told = all.map(|(name, value)| (name.replace(&format!("-{story}"), ""), value));
    Standing::of(told.collect(), story)
}

/// Deletes what the story leaves behind.
async fn clear(world: &World, story: &str) {
    let background = DeleteParams::background();
    let ranks = format!("ranks-{story}");
    sets(world).delete(&ranks, &background).await.unwrap();
    for (namespace, role) in [("red", "stays"), ("lab", "claims")] {
        let job = format!("{role}-{story}");
        let done = is_complete(&world.job(namespace, &job).await);
        assert_eq!(done, role == "claims");
        let jobs = world.jobs(namespace);
        jobs.delete(&job, &background).await.unwrap();
    }
    super::until_cleared(world).await;
}
