//! What Jobs cost that wait: memory, writes, and how long a new process takes to read them.
//!
//! A few Jobs hold the only node; all others wait for it. Then the controller is told to end, as for
//! an upgrade, a node is added, and the next controller is started: its first decision is to start
//! Jobs there.

use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, ListParams};
use prorata::api::QueuedJob;
use prorata_controlplane::nodes;

use crate::admissions::{create, queue_alone};
use crate::cluster::Cluster;
use crate::costs::{peak_mib, resident_mib, until_idle};
use crate::requests::Requests;
use crate::workload::TEAMS;

/// Until each Job more has its record.
const PATIENCE: Duration = Duration::from_millis(20);
const AT_LEAST: Duration = Duration::from_secs(60);
/// How long nothing may be written.
const STEADY: Duration = Duration::from_secs(20);

/// Lets so many Jobs wait.
pub(crate) async fn print(jobs: usize) -> Option<()> {
    let (cluster, site, controller) = queue_alone(1).await?;
    create(&cluster.alice, "runs", 0..8).await;
    until_started(&cluster, TEAMS[0], "runs-000000").await;
    let clock = Instant::now();
    create(&cluster.alice, "waits", 0..jobs).await;
    let created = clock.elapsed();
    until_recorded(&cluster, jobs + 8, clock).await;
    until_idle(&cluster.plane, &controller).await;
    let told = clock.elapsed();
    let resident = resident_mib(&controller);
    let peak = peak_mib(&controller);
    let writes = steady_writes(&cluster).await;
    drop(controller);
    let room = [("new".to_owned(), nodes::Shape::default())];
    nodes::create_all(&cluster.admin, room).await.unwrap();
    let clock = Instant::now();
    let controller = site.start(&cluster.plane).await;
    let ready = clock.elapsed();
    until_started(&cluster, TEAMS[0], "waits-000000").await;
    let first = clock.elapsed();
    until_idle(&cluster.plane, &controller).await;
    println!(
        "| Jobs that wait | {jobs} |\n|---|--:|\n\
         | created within | {:.0} s |\n\
         | each told why it waits within | {:.0} s |\n\
         | controller's memory then | {resident:.0} MiB |\n\
         | controller's memory at most | {peak:.0} MiB |\n\
         | writes in the next {} s | {writes:.0} |\n\
         | a new controller is ready after | {:.1} s |\n\
         | and has started the first Job after | {:.1} s |\n\
         | its memory at most | {:.0} MiB |",
        created.as_secs_f64(),
        told.as_secs_f64(),
        STEADY.as_secs(),
        ready.as_secs_f64(),
        first.as_secs_f64(),
        peak_mib(&controller),
    );
    Some(())
}

async fn steady_writes(cluster: &Cluster) -> f64 {
    let before = Requests::so_far(&cluster.admin).await;
    tokio::time::sleep(STEADY).await;
    Requests::so_far(&cluster.admin).await.since(&before).sum()
}

async fn until_started(cluster: &Cluster, namespace: &str, name: &str) {
    let api: Api<Job> = Api::namespaced(cluster.admin.clone(), namespace);
    loop {
        let job = api.get(name).await.unwrap();
        if job.spec.unwrap().suspend == Some(false) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Counts records by a page of one: the API server says how many are left.
async fn until_recorded(cluster: &Cluster, jobs: usize, clock: Instant) {
    let api: Api<QueuedJob> = Api::all(cluster.admin.clone());
    loop {
        let page = api.list(&ListParams::default().limit(1)).await.unwrap();
        let left = page.metadata.remaining_item_count.unwrap_or_default();
        let all = page.items.len() + usize::try_from(left).unwrap();
        if all >= jobs {
            return;
        }
        assert!(
            clock.elapsed() < AT_LEAST + PATIENCE * u32::try_from(jobs).unwrap(),
            "{all} of {jobs} Jobs have a record"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
