//! What keeps a place: room that is being left is kept for whom it is for, and who has just started
//! stays for a while.

use std::fs;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;

use super::MIN_RUNTIME;
use super::eviction::{delete, fill};
use super::measured::Scraped;
use super::whole::is_unschedulable;
use crate::cluster::requests::suspended;
use crate::outage::world::{NODES, World, gang, with};

const CALLS: &str = "prorata_extender_request_duration_seconds_count";
const REFUSED_FOR: Duration = Duration::from_secs(6);
/// kube-scheduler tries it again for whatever else happens to pods and nodes, some of it here. In a loop
/// it would call a hundred times.
const CALLS_MAX: f64 = 12.0;

/// Pods that end so many seconds after they are deleted.
fn ending_after(job: &Job, seconds: &str) -> Job {
    let annotations = json!({ "annotations": { "prorata.dev/test-termination-seconds": seconds } });
    with(job, &[("/spec/template", "metadata", annotations)])
}

/// Two Jobs leave for a third, the one sooner than the other. A small one that would fit meanwhile waits.
pub(crate) async fn room_that_is_being_left_is_kept(world: &World) {
    world.submit("red", &gang("kept-old", 4)).await;
    world.until_running("red", "kept-old", &[NODES[0]; 4]).await;
    for (name, seconds) in [("kept-soon", "0"), ("kept-late", "15")] {
        let job = ending_after(&gang(name, 2), seconds);
        world.submit("red", &job).await;
        world.until_running("red", name, &[NODES[1]; 2]).await;
    }
    world.submit("lab", &gang("kept-for", 4)).await;
    world
        .until("two GPUs are free, and two are not", async || {
            world.pods_of("red", "kept-soon").await == 0
        })
        .await;
    assert_eq!(world.pods_of("red", "kept-late").await, 2);
    let record = world.record("lab", "kept-for").await.unwrap();
    let kept: Vec<&str> = record.spec.promise.iter().map(|p| &*p.node).collect();
    assert_eq!(kept, [NODES[1]; 4]);
    world.submit("red", &gang("kept-from", 1)).await;
    world.until_waiting("red", "kept-from").await;
    who_is_refused_is_not_tried_again_and_again(world).await;
    assert_eq!(world.pods_of("red", "kept-late").await, 2, "in time");
    world
        .until("it is started on all four", async || {
            let small = world.job("red", "kept-from").await;
            let started = !suspended(&world.job("lab", "kept-for").await);
            let left = world.pods_of("red", "kept-late").await;
            assert!(suspended(&small), "its room is another's");
            assert!(!started || left == 0, "it starts beside {left} pods");
            started
        })
        .await;
    world.until_running("lab", "kept-for", &[NODES[1]; 4]).await;
    let record = world.record("lab", "kept-for").await.unwrap();
    assert_eq!(record.spec.promise, []);
    let background = DeleteParams::background();
    let strangers = world.jobs("free");
    strangers.delete("stranger", &background).await.unwrap();
    for job in ["kept-old", "kept-soon", "kept-late", "kept-from"] {
        delete(world, "red", job).await;
    }
    world.complete("lab", "kept-for").await;
}

/// To kube-scheduler there is room for a pod without tenant; Filter has it wait, in words that never
/// change. Others would be a change of the pod, for which kube-scheduler tries it again, at once.
async fn who_is_refused_is_not_tried_again_and_again(world: &World) {
    world.namespace("free", None).await;
    world.submit("free", &gang("stranger", 1)).await;
    let pods: Api<Pod> = Api::namespaced(world.cluster.admin.clone(), "free");
    let is_refused = async || {
        let all = pods.list(&ListParams::default()).await.unwrap().items;
        all.iter().any(is_unschedulable)
    };
    world.until("it is refused", is_refused).await;
    let calls = async || {
        let scraped = Scraped::read(world).await;
        scraped.sum(CALLS, "verb=\"filter\"")
    };
    let before = calls().await;
    assert!(before > 0.0);
    tokio::time::sleep(REFUSED_FOR).await;
    let made = calls().await - before;
    eprintln!("{made} calls for a pod that is refused for {REFUSED_FOR:?}");
    assert!(made <= CALLS_MAX, "{made} calls");
    assert!(is_refused().await);
}

/// Lets the next controller know how it is to evict.
pub(crate) fn configure(world: &World, preemption: &str) {
    let text = fs::read_to_string(&world.site.config).unwrap();
    let is_other = |line: &&str| !line.starts_with("preemption:");
    let others: Vec<&str> = text.lines().filter(is_other).collect();
    assert_eq!(others.len() + 1, text.lines().count());
    let text = format!("{}\npreemption: {preemption}\n", others.join("\n"));
    fs::write(&world.site.config, text).unwrap();
}

/// Its guarantee is claimed at once, and given when the first has run for long enough.
pub(crate) async fn who_has_just_started_stays_for_a_while(world: &World) {
    fill(world, "young").await;
    let started = started(world, "young-1").await;
    world.submit("lab", &gang("early", 4)).await;
    world.until_waiting("lab", "early").await;
    world.until_running("lab", "early", &[NODES[0]; 4]).await;
    world.until_running("red", "young-2", &[NODES[1]; 4]).await;
    let left = world.record("red", "young-1").await.unwrap().spec;
    let at = left.eviction.expect("it waits for other room").at.0;
    let ran = at.duration_since(started);
    // Kubernetes keeps whole seconds.
    let least = i64::try_from(MIN_RUNTIME.as_secs()).unwrap() - 1;
    assert!(ran.as_secs() >= least, "it left after {ran:?}");
    delete(world, "red", "young-1").await;
    world.complete("red", "young-2").await;
    world.complete("lab", "early").await;
}

/// When it was admitted, by the condition that says so.
async fn started(world: &World, job: &str) -> Timestamp {
    let record = world.record("red", job).await.unwrap();
    let conditions = record.status.unwrap().conditions;
    let admitted = conditions.into_iter().find(|c| c.type_ == "Admitted");
    admitted.unwrap().last_transition_time.0
}
