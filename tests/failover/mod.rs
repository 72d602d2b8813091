//! Two controllers, and what may fail around them: a leader that is stopped where it stands, watches
//! that are cut every second, an API server that restarts, an extender that is down, slow or hangs.
//! At the end etcd's truth counts: no GPU was given twice, and no job is lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod history;
mod pair;
mod proxy;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kube::ResourceExt as _;
use kube::api::ListParams;
use prorata_controlplane::Options;

use crate::outage::world::{World, gang, is_complete};
use history::History;
use pair::Pair;
use proxy::Mode;

const LEASE: Duration = Duration::from_secs(3);
/// All Jobs that there are at the end.
const JOBS: usize = 4 + 3 * 4 + 6 + 2 + trouble::JOBS;

/// One control plane for all of it.
#[tokio::test(flavor = "multi_thread")]
async fn no_gpu_is_given_twice_and_no_job_is_lost() {
    let Some(mut world) = World::start(Duration::ZERO).await else {
        return;
    };
    let history = History::begin(&world.cluster.admin);
    let mut pair = Pair::start(&world).await;
    world.namespace("red", Some("red")).await;

    one_decides_and_both_answer(&world, &pair).await;
    a_paused_leader_is_succeeded_and_does_no_harm(&world, &pair).await;
    watches_that_are_cut_every_second_lose_nothing(&world, &pair).await;
    an_api_server_that_restarts_loses_nothing(&mut world, &pair).await;
    for mode in [Mode::Refuse, Mode::Slow, Mode::Hang] {
        trouble::an_extender_in_trouble_stops_releases_and_nothing_else(&world, &pair, mode).await;
    }
    trouble::others_wait_once_for_each_pod_that_was_released(&world, &pair).await;
    for leads in [false, true] {
        trouble::a_replica_that_hangs_keeps_nobody_waiting_for_long(&world, &pair, leads).await;
    }
    trouble::all_goes_on_when_both_are_back(&world, &mut pair).await;
    pair.check();
    assert_truth(&mut world).await;
    let [admissions, all] = history.assert_nothing_is_given_twice();
    assert!(all >= JOBS, "{all} of {JOBS} Jobs were admitted");
    assert!(admissions > JOBS * 3 / 4, "of {JOBS} Jobs' {admissions}");
    pair.replay(world.cluster.plane.directory());
}

/// Connections go to one and the other in turn.
async fn one_decides_and_both_answer(world: &World, pair: &Pair) {
    world
        .until("one decides", async || pair.leader().await.is_some())
        .await;
    for n in 0..4 {
        pair.balancer.cut();
        run(world, &format!("turn-{n}"), 4).await;
    }
}

/// Stopped while it may be writing, and let go when another decides.
async fn a_paused_leader_is_succeeded_and_does_no_harm(world: &World, pair: &Pair) {
    for round in 0..3 {
        world
            .until("one decides", async || pair.leader().await.is_some())
            .await;
        let leader = pair.leader().await.unwrap();
        let names = ["first", "second", "third"].map(|name| format!("{name}-{round}"));
        for name in &names {
            world.submit("red", &gang(name, 4)).await;
        }
        tokio::time::sleep(Duration::from_millis(40 * round)).await;
        pair.signal(leader, "-STOP");
        let clock = Instant::now();
        world
            .until("the other decides", async || pair.leads(1 - leader).await)
            .await;
        assert!(clock.elapsed() > LEASE / 3, "not before the Lease runs out");
        // While the balancer still sends questions to it, nothing new is released.
        let other = pair.extenders(&[1 - leader]);
        pair.balancer.target(other);
        finish(world, &names[..1]).await;
        pair.signal(leader, "-CONT");
        pair.balancer.target(pair.extenders(&[0, 1]));
        finish(world, &names).await;
        world
            .until("the first one follows", async || {
                !pair.leads(leader).await && pair.ready(leader).await
            })
            .await;
        run(world, &format!("after-{round}"), 8).await;
    }
}

/// With the watches every write is cut too, so that answers get lost.
async fn watches_that_are_cut_every_second_lose_nothing(world: &World, pair: &Pair) {
    let (proxy, cut) = (pair.api_server.clone(), Arc::new(AtomicUsize::new(0)));
    let told = cut.clone();
    let cutter = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            told.fetch_add(proxy.cut(), Ordering::Relaxed);
        }
    });
    let names: Vec<String> = (0..6).map(|n| format!("cut-{n}")).collect();
    for name in &names {
        world.submit("red", &gang(name, 3)).await;
    }
    finish(world, &names).await;
    cutter.abort();
    let cut = cut.load(Ordering::Relaxed);
    eprintln!("{cut} connections were cut");
    assert!(cut >= 2, "at least once those of both");
}

async fn an_api_server_that_restarts_loses_nothing(world: &mut World, pair: &Pair) {
    let names = ["before", "behind"].map(|name| format!("restart-{name}"));
    for name in &names {
        world.submit("red", &gang(name, 8)).await;
    }
    let options = Options::default();
    let restarted = world.cluster.plane.restart_api_server(&options);
    restarted.await.unwrap();
    finish(world, &names).await;
    world
        .until("one decides", async || pair.leader().await.is_some())
        .await;
}

/// Submits a gang, and sees it through to its end.
async fn run(world: &World, name: &str, pods: usize) {
    world.submit("red", &gang(name, pods)).await;
    finish(world, &[name.to_owned()]).await;
}

/// Ends what runs of these Jobs, until all are complete.
async fn finish(world: &World, names: &[String]) {
    for name in names {
        world
            .until(&format!("{name} is complete"), async || {
                // The API server may be away.
                let _ = world.kubelet.finish("red", name).await;
                let job = world.jobs("red").get(name).await;
                job.is_ok_and(|job| is_complete(&job))
            })
            .await;
    }
}

/// What etcd holds at the end, and what the kubelets met on the way.
async fn assert_truth(world: &mut World) {
    let jobs = world
        .jobs("red")
        .list(&ListParams::default())
        .await
        .unwrap();
    assert_eq!(jobs.items.len(), JOBS);
    for job in &jobs.items {
        assert!(is_complete(job), "{} is lost", job.name_any());
        let failed = job.status.as_ref().and_then(|status| status.failed);
        assert_eq!(failed.unwrap_or_default(), 0, "{}", job.name_any());
        let parallel = job.spec.as_ref().unwrap().parallelism.unwrap();
        let ran = world.pods_of("red", &job.name_any()).await;
        assert_eq!(i32::try_from(ran), Ok(parallel), "{}", job.name_any());
    }
    // A pod for which its node has no GPU left would have been turned away there.
    world.assert_healthy();
}
