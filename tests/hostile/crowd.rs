//! A flood of Jobs. `PRORATA_HOSTILE_JOBS` says how many; the table is the same for any number.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use prorata::api::QueuedJob;
use serde_json::json;

use super::world::{World, job};
use super::{Row, row};
use crate::cluster::from;
use crate::cluster::requests::{create, eventually, suspended};

/// How many in CI.
const JOBS: u32 = 300;

/// So many requests at once, as an impatient client makes them.
const IN_FLIGHT: usize = 16;

/// So many are deleted at once.
const PART: u32 = 1_000;

/// Starts of another tenant's that are timed before the flood, and at least so many with it.
const BEFORE: usize = 10;
const MEANWHILE: usize = 20;

/// How much longer half of them may take until they are let go, on a machine that the flood's own requests
/// keep busy. Then they wait with the flood in the Job controller's queue, which is Kubernetes' own.
const SLOWER: u32 = 3;
const SLACK: Duration = Duration::from_millis(500);
/// What is slow on a busy machine is slow when the flood has come as well.
const SLACK_AFTER: Duration = Duration::from_secs(5);
/// And the slowest of them.
const SLOWEST: Duration = Duration::from_secs(30);

/// However many Jobs Kubernetes looks at first.
const STARTED_WITHIN: Duration = Duration::from_secs(300);

/// Kubernetes has nothing else to do when it makes the pod of a Deployment within this time.
const CALM: Duration = Duration::from_secs(5);
const CALM_WITHIN: Duration = Duration::from_secs(900);

/// How long a Job took from its creation.
#[derive(Clone, Copy, Debug)]
struct Took {
    until_let_go: Duration,
    until_started: Duration,
}

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
    let memory = world.controller.resident_bytes().unwrap() >> 20;
    let [let_go, let_go_before] = [&meanwhile, &before].map(|all| ranked(all, |t| t.until_let_go));
    let [started, started_before] =
        [&meanwhile, &before].map(|all| ranked(all, |t| t.until_started));
    eprintln!(
        "{count} Jobs in {took:?}; the controller has {memory} MiB. Median and slowest of {} Jobs of blue's before \
         and {} meanwhile: let go {let_go_before:?} and {let_go:?}, started {started_before:?} and {started:?}",
        before.len(),
        meanwhile.len(),
    );
    let [median, slowest] = let_go;
    assert!(median < SLOWER * let_go_before[0] + SLACK);
    assert!(slowest < SLOWEST);
    assert!(
        after.until_let_go < 2 * let_go_before[0] + SLACK_AFTER,
        "{after:?}"
    );
    // So few hold nobody up in the Job controller's queue.
    if count <= JOBS {
        let ([median, slowest], [median_before, _]) = (started, started_before);
        assert!(median < SLOWER * median_before + SLACK);
        assert!(slowest < SLOWEST);
        assert!(
            after.until_started < 2 * median_before + SLACK_AFTER,
            "{after:?}"
        );
    }
    assert_eq!(
        world.running("red").await.len(),
        1,
        "the flood holds nothing"
    );
    let deadline = Instant::now() + Duration::from_secs(60) + Duration::from_millis(50) * count;
    recede(&jobs, deadline).await;
    until_over(world, deadline).await;
    until_calm(world).await;
    vec![row(
        "a flood of Jobs: 300 in CI, as many as `PRORATA_HOSTILE_JOBS` says",
        "accepted, and wait: another tenant's jobs are let go meanwhile, half of them within three times what it took before, and each within 30 seconds (a ResourceQuota `count/jobs.batch` bounds them, and with them what Kubernetes' Job controller has to look at before it makes the pods of others)",
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
        // One that takes longer is cut off, and what it has deleted is gone.
        let background = DeleteParams::background();
        let deleted = jobs.delete_collection(&background, &part).await;
        if let Err(error) = deleted {
            eprintln!("deleting {PART} Jobs: {error}");
        }
    }
}

/// The median, and the longest.
fn ranked(all: &[Took], until: impl Fn(&Took) -> Duration) -> [Duration; 2] {
    let mut times: Vec<Duration> = all.iter().map(until).collect();
    times.sort_unstable();
    [times[times.len() / 2], times[times.len() - 1]]
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

/// Kubernetes' own controllers have more to tidy up after a large one, and what is tried next needs
/// them.
async fn until_calm(world: &World) {
    let deadline = Instant::now() + CALM_WITHIN;
    let all = world.admins::<Deployment>("default");
    let spec = json!({
        "selector": { "matchLabels": { "app": "calm" } },
        "template": {
            "metadata": { "labels": { "app": "calm" } },
            "spec": { "containers": [{ "name": "main", "image": "calm" }] },
        },
    });
    for number in 0.. {
        let name = format!("calm-{number}");
        let clock = Instant::now();
        let made = json!({ "metadata": { "name": name }, "spec": spec });
        create(&all, &from::<Deployment>(made)).await;
        let pods = async || all.get(&name).await.unwrap().status?.replicas;
        while pods().await != Some(1) {
            assert!(Instant::now() < deadline, "Kubernetes makes no pods");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let took = clock.elapsed();
        let background = DeleteParams::background();
        all.delete(&name, &background).await.unwrap();
        if took < CALM {
            return;
        }
        eprintln!("a Deployment's pod took {took:?}");
    }
}

/// From the creation of a Job of blue's that fits until the queue lets it go, and until it has a pod.
async fn time_to_start(world: &World, name: &str) -> Took {
    let blue = world.admins::<Job>("blue");
    let clock = Instant::now();
    create(&blue, &job(name, 1)).await;
    eventually("blue's Job is let go", || async {
        !suspended(&blue.get(name).await.unwrap())
    })
    .await;
    let until_let_go = clock.elapsed();
    let active = async || blue.get(name).await.unwrap().status?.active;
    while active().await != Some(1) {
        assert!(clock.elapsed() < STARTED_WITHIN, "blue's Job has no pod");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let until_started = clock.elapsed();
    blue.delete(name, &DeleteParams::background())
        .await
        .unwrap();
    while world.running("blue").await.len() != 1 {
        assert!(clock.elapsed() < 2 * STARTED_WITHIN, "its pod is not gone");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Took {
        until_let_go,
        until_started,
    }
}

/// What blue uses is shown a little later.
async fn until_counted(world: &World) {
    eventually("blue's use is shown", || async {
        world.used("blue").await.as_deref() == Some("6")
    })
    .await;
}
