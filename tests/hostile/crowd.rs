//! A flood of Jobs. `PRORATA_HOSTILE_JOBS` says how many; the table is the same for any number.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, ListParams, PostParams};

use super::world::{World, job};
use super::{Row, row};
use crate::cluster::requests::{create, eventually};

/// How many in CI.
const JOBS: u32 = 300;

/// So many requests at once, as an impatient client makes them.
const IN_FLIGHT: usize = 16;

/// What is slow on a busy machine is slow without a flood as well.
const SLACK: Duration = Duration::from_secs(5);

pub(crate) async fn attack(world: &World) -> Vec<Row> {
    let count = std::env::var("PRORATA_HOSTILE_JOBS").map_or(JOBS, |text| text.parse().unwrap());
    let alone = time_to_start(world, "alone").await;
    let jobs = world.hers::<Job>();
    let clock = Instant::now();
    let created = stream::iter(0..count)
        .map(|number| {
            let (jobs, mut job) = (jobs.clone(), job(&format!("flood-{number}"), 8));
            job.metadata.labels = Some([("flood".to_owned(), "true".to_owned())].into());
            async move { jobs.create(&PostParams::default(), &job).await }
        })
        .buffer_unordered(IN_FLIGHT);
    let created: Vec<_> = created.collect().await;
    assert!(created.iter().all(Result::is_ok));
    let flooded = time_to_start(world, "flooded").await;
    eprintln!(
        "{count} Jobs in {:?}; blue's started in {alone:?} before, {flooded:?} with them",
        clock.elapsed()
    );
    assert!(
        flooded < 2 * alone + SLACK,
        "{alone:?} before, {flooded:?} with the flood"
    );
    assert_eq!(
        world.running("red").await.len(),
        1,
        "the flood holds nothing"
    );
    let flood = ListParams::default().labels("flood=true");
    jobs.delete_collection(&DeleteParams::background(), &flood)
        .await
        .unwrap();
    until_over(world, count).await;
    vec![row(
        "a flood of Jobs: 300 in CI, as many as `PRORATA_HOSTILE_JOBS` says",
        "accepted, and wait: another tenant's job starts as fast as before (a ResourceQuota `count/jobs.batch` bounds them)",
    )]
}

/// Deleting takes its time, too.
async fn until_over(world: &World, count: u32) {
    let deadline = Instant::now() + Duration::from_secs(60) + Duration::from_millis(50) * count;
    while world.waiting("red").await != ["waits"] {
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
    eventually("it is gone, and its room counted", || async {
        let gone = world.running("blue").await.len() == 1;
        gone && world.used("blue").await.as_deref() == Some("6")
    })
    .await;
    took
}
