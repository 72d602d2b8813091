//! A flood of Jobs. `PRORATA_HOSTILE_JOBS` says how many; the table is the same for any number.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use prorata::api::QueuedJob;

use super::world::{World, job};
use super::{Row, row};
use crate::cluster::requests::{create, eventually};

/// How many in CI.
const JOBS: u32 = 300;

/// So many requests at once, as an impatient client makes them.
const IN_FLIGHT: usize = 16;

/// So many are deleted at once.
const PART: u32 = 1_000;

/// Starts of another tenant's that are timed before the flood, and at least so many with it.
const BEFORE: usize = 10;
const MEANWHILE: usize = 20;

/// How much longer half of them may take, on a machine that the flood's own requests keep busy.
const SLOWER: u32 = 3;
const SLACK: Duration = Duration::from_millis(500);
/// What is slow on a busy machine is slow when the flood has come as well.
const SLACK_AFTER: Duration = Duration::from_secs(5);
/// And the slowest of them.
const SLOWEST: Duration = Duration::from_secs(30);

pub(crate) async fn attack(world: &World) -> Vec<Row> {
    let count = std::env::var("PRORATA_HOSTILE_JOBS").map_or(JOBS, |text| text.parse().unwrap());
    let mut before = Vec::new();
    for number in 0..BEFORE {
        before.push(time_to_start(world, &format!("before-{number}")).await);
    }
    let jobs = world.hers::<Job>();
    let clock = Instant::now();
    let flood = tokio::spawn(flood(jobs.clone(), count));
    let mut meanwhile = Vec::new();
    while meanwhile.len() < MEANWHILE || !flood.is_finished() {
        let name = format!("meanwhile-{}", meanwhile.len());
        meanwhile.push(time_to_start(world, &name).await);
    }
    flood.await.unwrap();
    let took = clock.elapsed();
    let after = time_to_start(world, "after").await;
    until_counted(world).await;
    let starts = [before.len(), meanwhile.len()];
    let [(median, p99, slowest), before] = [meanwhile, before].map(ranked);
    let memory = world.controller.resident_bytes().unwrap() >> 20;
    eprintln!(
        "{count} Jobs in {took:?}; median, 99th percentile and slowest start of {starts:?} of blue's: {before:?} \
         before, {:?} meanwhile; the controller has {memory} MiB",
        (median, p99, slowest)
    );
    let (median_before, ..) = before;
    assert!(median < SLOWER * median_before + SLACK);
    assert!(after < 2 * median_before + SLACK_AFTER, "{after:?}");
    assert!(slowest < SLOWEST);
    assert_eq!(
        world.running("red").await.len(),
        1,
        "the flood holds nothing"
    );
    let deadline = Instant::now() + Duration::from_secs(60) + Duration::from_millis(50) * count;
    recede(&jobs, deadline).await;
    until_over(world, deadline).await;
    vec![row(
        "a flood of Jobs: 300 in CI, as many as `PRORATA_HOSTILE_JOBS` says",
        "accepted, and wait: another tenant's jobs start meanwhile, half of them within three times what it took before, and each within 30 seconds (a ResourceQuota `count/jobs.batch` bounds them)",
    )]
}

/// Creates so many Jobs that wait.
async fn flood(jobs: Api<Job>, count: u32) {
    let create = |number| {
        let (jobs, mut job) = (jobs.clone(), job(&format!("flood-{number}"), 8));
        job.metadata.labels = Some([("flood".to_owned(), "true".to_owned())].into());
        async move { jobs.create(&PostParams::default(), &job).await }
    };
    let created = stream::iter(0..count).map(create);
    let created: Vec<_> = created.buffer_unordered(IN_FLIGHT).collect().await;
    assert!(created.iter().all(Result::is_ok));
}

/// Deletes them in parts: the API server gives a request a minute.
async fn recede(jobs: &Api<Job>, deadline: Instant) {
    let part = ListParams::default().labels("flood=true").limit(PART);
    while !jobs.list_metadata(&part).await.unwrap().items.is_empty() {
        assert!(Instant::now() < deadline, "the flood is not over");
        jobs.delete_collection(&DeleteParams::background(), &part)
            .await
            .unwrap();
    }
}

/// The median, the 99th percentile, and the longest.
fn ranked(mut times: Vec<Duration>) -> (Duration, Duration, Duration) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    (at(50), at(99), at(100))
}

/// Deleting takes its time, too.
async fn until_over(world: &World, deadline: Instant) {
    let records = world.admins::<QueuedJob>("red");
    let one = ListParams::default().limit(1);
    let is_long = async || {
        let page = records.list_metadata(&one).await.unwrap();
        page.metadata.remaining_item_count.unwrap_or_default() > i64::from(PART)
    };
    while is_long().await || world.waiting("red").await != ["waits"] {
        assert!(Instant::now() < deadline, "the flood is not over");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// From the creation of a Job of blue's that fits until it has a pod.
async fn time_to_start(world: &World, name: &str) -> Duration {
    let blue = world.admins::<Job>("blue");
    let clock = Instant::now();
    create(&blue, &job(name, 1)).await;
    eventually("blue's Job has a pod", || async {
        let status = blue.get(name).await.unwrap().status.unwrap_or_default();
        status.active == Some(1)
    })
    .await;
    let took = clock.elapsed();
    blue.delete(name, &DeleteParams::background())
        .await
        .unwrap();
    eventually("it is gone", || async {
        world.running("blue").await.len() == 1
    })
    .await;
    took
}

/// What blue uses is shown a little later.
async fn until_counted(world: &World) {
    eventually("blue's use is shown", || async {
        world.used("blue").await.as_deref() == Some("6")
    })
    .await;
}
