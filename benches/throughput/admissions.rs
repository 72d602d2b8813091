//! How fast the queue starts Jobs that all find room, and what it writes for each. Nothing makes
//! pods of them: every write but their creation is ours.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use kube::api::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use prorata_controlplane::{Process, nodes};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::cluster::controller::Site;
use crate::costs::{Times, peak_mib, until_idle};
use crate::requests::Requests;
use crate::workload::{self, TEAMS};

/// Clients that create Jobs at the same time.
const CLIENTS: usize = 12;
const PATIENCE: Duration = Duration::from_secs(300);

/// Creates so many Jobs of one pod at once.
pub(crate) async fn print(jobs: usize) -> Option<()> {
    let nodes = u32::try_from(jobs.div_ceil(8)).unwrap();
    let (cluster, _site, controller) = queue_alone(nodes).await?;
    let started = watch(&cluster.admin, jobs);
    let requests = Requests::so_far(&cluster.admin).await;
    let before = Times::so_far(&cluster.plane, &controller);
    let clock = Instant::now();
    create(&cluster.alice, "train", 0..jobs).await;
    let created = clock.elapsed();
    let started = tokio::time::timeout(PATIENCE, started).await;
    started.expect("every Job is started").unwrap();
    let makespan = clock.elapsed().as_secs_f64();
    until_idle(&cluster.plane, &controller).await;
    let after = Times::so_far(&cluster.plane, &controller);
    let requests = Requests::so_far(&cluster.admin).await.since(&requests);
    let requests = requests.without("POST jobs", jobs);
    let [ours, api_server, etcd] = after.each_since(&before, jobs);
    let all = f64::from(u32::try_from(jobs).unwrap());
    let mut text = format!(
        "| Jobs that all find room | {jobs} |\n|---|--:|\n\
         | created within | {:.1} s |\n\
         | started within | {makespan:.1} s |\n\
         | started per second | {:.0} |\n\
         | controller's CPU per Job | {ours:.2} ms |\n\
         | API server's CPU per Job | {api_server:.2} ms |\n\
         | etcd's CPU per Job | {etcd:.2} ms |\n\
         | controller's memory at most | {:.0} MiB |\n\
         | controller's writes per Job | {:.2} |\n",
        created.as_secs_f64(),
        all / makespan,
        peak_mib(&controller),
        requests.sum() / all,
    );
    for (kind, count) in requests.each() {
        let _ = writeln!(text, "| of these {kind} | {:.2} |", count / all);
    }
    println!("{text}");
    Some(())
}

/// A control plane with our controller, and nobody who would make pods of Jobs.
pub(crate) async fn queue_alone(nodes: u32) -> Option<(Cluster, Site, Process)> {
    let plane = prorata_controlplane::Options {
        controllers: vec!["namespace-controller".to_owned()],
        ..prorata_controlplane::Options::default()
    };
    let cluster = Cluster::start(plane).await?;
    cluster.install().await;
    cluster.apply(&workload::tenants());
    for team in TEAMS {
        cluster.namespace(team, Some(team)).await;
    }
    nodes::create(&cluster.admin, nodes, &nodes::Shape::default())
        .await
        .unwrap();
    let site = Site::prepare(&cluster.plane).unhurried();
    let controller = site.start(&cluster.plane).await;
    Some((cluster, site, controller))
}

/// Creates Jobs of one pod with these numbers, several at a time.
pub(crate) async fn create(client: &Client, prefix: &str, numbers: std::ops::Range<usize>) {
    let create = |number: usize| async move {
        let job = workload::job(&format!("{prefix}-{number:06}"), 1);
        workload::create(client, TEAMS[number % TEAMS.len()], &job).await;
    };
    let creations = futures::stream::iter(numbers).map(create);
    creations.buffer_unordered(CLIENTS).collect::<()>().await;
}

/// Ends when so many Jobs have been seen to be started.
fn watch(client: &Client, jobs: usize) -> JoinHandle<()> {
    let all: Api<Job> = Api::all(client.clone());
    tokio::spawn(async move {
        let events = watcher(all, watcher::Config::default()).default_backoff();
        let mut events = pin!(events.applied_objects());
        let mut started = HashSet::new();
        while started.len() < jobs {
            let job = events.next().await.unwrap().unwrap();
            if job
                .spec
                .as_ref()
                .is_some_and(|spec| spec.suspend == Some(false))
            {
                started.extend(job.uid());
            }
        }
    })
}
