//! An extender in trouble: all of it is down, slow or hangs, one replica of two hangs behind a
//! balancer that goes on sending to it, both are started anew.
//!
//! kube-scheduler waits for the answer about each pod that has been released, with everything else
//! that it has to do, so only those hold up pods without GPUs; and nothing more is released once our
//! own probes fail.

use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::Api;
use prorata::api::State;
use prorata::translate::JOB_CONDITION;
use serde_json::json;

use super::pair::Pair;
use super::proxy::Mode;
use crate::cluster::requests::{create, json as manifest, patch, suspended};
use crate::cluster::{from, pod};
use crate::outage::world::{GOES_ON_WITHIN, NODES, World, gang, node, with};

/// Jobs that these leave behind.
pub(super) const JOBS: usize = 3 + (RELEASED + LATE + 1) + 2 * 2 + 1;
/// What kube-scheduler is told to wait for one answer.
const HTTP_TIMEOUT: Duration = Duration::from_secs(1);
/// What else placing a pod may take here.
const SLACK: Duration = Duration::from_secs(3);
/// Pods that have been released when the extender begins to hang.
const RELEASED: usize = 4;
/// Jobs that are submitted right after that: some may still be released.
const LATE: usize = 3;
const DOWN: &str = "ExtenderDown";

/// Nothing is released meanwhile, so a pod without GPUs waits for no question at all.
pub(super) async fn an_extender_in_trouble_stops_releases_and_nothing_else(
    world: &World,
    pair: &Pair,
    mode: Mode,
) {
    let name = |text: &str| format!("{text}-{mode:?}").to_lowercase();
    let gpu = name("gpu");
    until_both_find(world, pair, true).await;
    pair.balancer.set(mode);
    until_both_find(world, pair, false).await;
    world.submit("red", &gang(&gpu, 8)).await;
    until_told(world, &gpu).await;
    let record = world.record("red", &gpu).await.unwrap();
    assert!(record.spec.admission.is_some(), "it has its places");

    let clock = Instant::now();
    submit_cpu(world, &name("cpu")).await;
    until_bound(world, &name("cpu")).await;
    let waited = clock.elapsed();
    assert!(waited < SLACK, "{mode:?}: {waited:?}");
    assert_eq!(world.pods_of("red", &gpu).await, 0, "{mode:?}");
    assert_nothing_is_written(world, &gpu).await;

    pair.balancer.set(Mode::Pass);
    let back = Instant::now();
    let places = [[NODES[0]; 4], [NODES[1]; 4]].concat();
    world.until_running("red", &gpu, &places).await;
    let waited = back.elapsed();
    assert!(waited < GOES_ON_WITHIN, "{mode:?}: {waited:?}");
    until_started(world, &gpu).await;
    world.complete("red", &gpu).await;
}

/// It begins to hang when pods have been released that kube-scheduler has not asked about yet.
pub(super) async fn others_wait_once_for_each_pod_that_was_released(world: &World, pair: &Pair) {
    until_both_find(world, pair, true).await;
    let released: Vec<String> = (0..RELEASED).map(|n| format!("released-{n}")).collect();
    for name in &released {
        submit_gated(world, name).await;
    }
    pair.balancer.set(Mode::Hang);
    let began = Instant::now();
    for name in &released {
        open(world, name).await;
    }
    let first = Instant::now();
    submit_cpu(world, "cpu-behind").await;
    let late: Vec<String> = (0..LATE).map(|n| format!("late-{n}")).collect();
    for name in &late {
        world.submit("red", &gang(name, 1)).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let bound = async {
        until_bound(world, "cpu-behind").await;
        first.elapsed()
    };
    let stopped = async {
        until_both_find(world, pair, false).await;
        let stopped = began.elapsed();
        world.submit("red", &gang("too-late", 1)).await;
        until_told(world, "too-late").await;
        stopped
    };
    let (waited, stopped) = tokio::join!(bound, stopped);
    let most = HTTP_TIMEOUT * u32::try_from(RELEASED).unwrap() + SLACK;
    eprintln!("behind {RELEASED} released pods: {waited:?}; releases stopped after {stopped:?}");
    assert!(waited < most, "{waited:?}");
    assert!(
        waited > HTTP_TIMEOUT * 2,
        "it stood behind questions: {waited:?}"
    );

    // Those that were released are asked about again and again.
    let mut all = released;
    all.extend(late);
    let let_go = released_of(world, &all).await;
    let again = Instant::now();
    submit_cpu(world, "cpu-among").await;
    until_bound(world, "cpu-among").await;
    let waited = again.elapsed();
    eprintln!(
        "among {} released pods that are tried again: {waited:?}",
        let_go.len()
    );
    let most = HTTP_TIMEOUT * u32::try_from(let_go.len()).unwrap() + SLACK;
    assert!(waited < most, "{waited:?}");
    assert_eq!(released_of(world, &all).await, let_go, "nothing more");
    assert!(suspended(&world.job("red", "too-late").await));

    pair.balancer.set(Mode::Pass);
    all.push("too-late".to_owned());
    all_run_soon(world, &all).await;
}

/// One of two is stopped where it stands, and its connections stay open: its share of the questions
/// is never answered. kube-scheduler asks on another connection after each, and our probes see both
/// replicas, so that nothing more is released.
pub(super) async fn a_replica_that_hangs_keeps_nobody_waiting_for_long(
    world: &World,
    pair: &Pair,
    leads: bool,
) {
    until_both_find(world, pair, true).await;
    world
        .until("one decides", async || pair.leader().await.is_some())
        .await;
    let leader = pair.leader().await.unwrap();
    let (stopped, other) = match leads {
        true => (leader, 1 - leader),
        false => (1 - leader, leader),
    };
    let name = |text: &str| format!("{text}-{}", if leads { "leader" } else { "follower" });
    let (early, waiting) = (name("early"), name("waiting"));
    submit_gated(world, &early).await;
    pair.signal(stopped, "-STOP");
    // Connections that stand would all be to one of the two.
    pair.balancer.cut();
    world
        .until("probes show it", async || pair.finds(other, false).await)
        .await;
    open(world, &early).await;
    let clock = Instant::now();
    submit_cpu(world, &name("cpu")).await;
    until_bound(world, &name("cpu")).await;
    let waited = clock.elapsed();
    assert!(waited < HTTP_TIMEOUT + SLACK, "{waited:?}");
    world.submit("red", &gang(&waiting, 4)).await;
    until_told(world, &waiting).await;
    // The other replica has its share of the questions.
    let pod = only_pod(world, &early).await;
    until_bound(world, &pod).await;
    let answered = clock.elapsed();
    eprintln!("leads={leads}: others bound in {waited:?}, a released pod in {answered:?}");

    pair.signal(stopped, "-CONT");
    all_run_soon(world, &[early, waiting]).await;
    world
        .until("one decides", async || pair.leader().await.is_some())
        .await;
}

/// Nobody answers at all, and what was submitted meanwhile waits.
pub(super) async fn all_goes_on_when_both_are_back(world: &World, pair: &mut Pair) {
    until_both_find(world, pair, true).await;
    pair.kill();
    world.submit("red", &gang("restarted", 8)).await;
    let clock = Instant::now();
    submit_cpu(world, "cpu-restarted").await;
    until_bound(world, "cpu-restarted").await;
    let waited = clock.elapsed();
    assert!(waited < SLACK, "{waited:?}");
    assert!(suspended(&world.job("red", "restarted").await));
    pair.restart(world).await;
    all_run_soon(world, &["restarted".to_owned()]).await;
}

async fn until_both_find(world: &World, pair: &Pair, answers: bool) {
    let what = format!("both find that the extender answers: {answers}");
    world
        .until(&what, async || pair.both_find(answers).await)
        .await;
}

/// Its user reads why it does not start: on the Job, in its record and by one Event.
async fn until_told(world: &World, job: &str) {
    world.until_stands("red", job, State::Waiting, DOWN).await;
    world
        .until(&format!("{job} and its user are told"), async || {
            let condition = world.condition("red", job).await;
            let shown = condition.is_some_and(|[status, reason, _]| {
                (status, reason) == ("False".to_owned(), DOWN.to_owned())
            });
            shown && times_told(world, job).await == 1
        })
        .await;
}

async fn times_told(world: &World, job: &str) -> usize {
    let said = world.events("red", job).await;
    said.iter().filter(|(reason, _)| reason == DOWN).count()
}

/// Nothing says any more that it waits.
async fn until_started(world: &World, job: &str) {
    world
        .until_stands("red", job, State::Admitted, "Admitted")
        .await;
    world
        .until(&format!("the condition of {job} says so"), async || {
            let condition = world.condition("red", job).await;
            condition.is_some_and(|[status, reason, _]| status == "True" && reason == "Admitted")
        })
        .await;
    assert_eq!(times_told(world, job).await, 1);
}

/// While a Job waits for the extender, neither it nor its record changes.
async fn assert_nothing_is_written(world: &World, job: &str) {
    let versions = async || {
        let record = world.record("red", job).await.unwrap();
        let status = world.job("red", job).await.status.unwrap();
        let told = status.conditions.into_iter().flatten();
        let told: Vec<_> = told.filter(|c| c.type_ == JOB_CONDITION).collect();
        (told, record.resource_version())
    };
    let before = versions().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(versions().await, before);
    assert_eq!(times_told(world, job).await, 1);
}

/// A pod that asks for no GPUs, and ends at once.
async fn submit_cpu(world: &World, name: &str) {
    let pods: Api<Pod> = Api::namespaced(world.cluster.alice.clone(), "red");
    let mut cpu = manifest(&pod(name, 0));
    cpu["metadata"]["annotations"] = json!({ "prorata.dev/test-run-seconds": "0.1" });
    create(&pods, &from(cpu)).await;
}

async fn until_bound(world: &World, pod: &str) {
    world
        .until(&format!("{pod} is bound"), async || {
            node(&world.pod("red", pod).await).is_some()
        })
        .await;
}

/// A Job of one pod that is released, and that a gate of its own keeps from kube-scheduler.
async fn submit_gated(world: &World, name: &str) {
    let gates = json!([{ "name": "example.com/not-yet" }]);
    let gated: Job = with(
        &gang(name, 1),
        &[("/spec/template/spec", "schedulingGates", gates)],
    );
    world.submit("red", &gated).await;
    world
        .until(&format!("{name} is released"), async || {
            world.pods_of("red", name).await == 1
        })
        .await;
}

/// Opens that gate.
async fn open(world: &World, job: &str) {
    let pods: Api<Pod> = Api::namespaced(world.cluster.admin.clone(), "red");
    let free = json!({ "spec": { "schedulingGates": null } });
    patch(&pods, &only_pod(world, job).await, free)
        .await
        .unwrap();
}

async fn only_pod(world: &World, job: &str) -> String {
    let pods = world.pods("red").await;
    let label = "batch.kubernetes.io/job-name";
    let mut own = pods
        .iter()
        .filter(|pod| pod.labels().get(label).is_some_and(|of| of == job));
    own.next().unwrap().name_any()
}

/// Those of these Jobs that are not suspended.
async fn released_of(world: &World, names: &[String]) -> Vec<String> {
    let mut released = Vec::new();
    for name in names {
        if !suspended(&world.job("red", name).await) {
            released.push(name.clone());
        }
    }
    released
}

/// All pods of these Jobs run within seconds, and end then.
async fn all_run_soon(world: &World, names: &[String]) {
    let back = Instant::now();
    for name in names {
        let parallel = world.job("red", name).await.spec.unwrap().parallelism;
        world
            .until(&format!("{name} runs"), async || {
                let running = world.nodes_of("red", name).await.len();
                i32::try_from(running).ok() == parallel
            })
            .await;
    }
    let waited = back.elapsed();
    eprintln!("{names:?} run after {waited:?}");
    assert!(waited < GOES_ON_WITHIN, "{waited:?}");
    for name in names {
        world.complete("red", name).await;
    }
}
