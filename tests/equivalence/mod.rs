//! The claim on which everything stands: the core that decides in a simulation decides the same
//! in a real cluster. And a crash in the middle changes nothing that has happened.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../simulator/tests/data/mod.rs"]
mod data;
mod inputs;
mod openb;
pub(crate) mod simulated;
mod watched;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::cluster::controller::Site;
use inputs::{Inputs, JobName};
use kube::Api;
use kube::api::ListParams;
use prorata::api::QueuedJob;
use prorata_controlplane::{Kubelet, KubeletOptions, Options, nodes};
use watched::Watched;

/// The simulated world ends a victim's pods in another time than a kubelet does.
pub(crate) const CALM: &str = "preemption: {enabled: false}\n";
/// A Lease that a controller without any other keeps, however busy the machine is.
pub(crate) const LONG_LEASE: &str =
    "leaderElection: {leaseDuration: 120s, renewDeadline: 100s, retryPeriod: 5s}\n";

/// A cluster with the inputs applied, while no controller of ours runs.
async fn prepared(inputs: &Inputs, configuration: &str) -> Option<(Cluster, Site, Kubelet)> {
    let mut cluster = Cluster::start(Options::default()).await?;
    cluster.install().await;
    let shape = nodes::Shape::default();
    nodes::create(&cluster.admin, inputs.nodes, &shape)
        .await
        .unwrap();
    cluster.apply(&inputs.manifests());
    let site = Site::prepare_with(&cluster.plane, configuration);
    cluster
        .plane
        .start_scheduler(site.scheduler_config())
        .await
        .unwrap();
    let kubelet = Kubelet::start(cluster.admin.clone(), KubeletOptions::default());
    Some((cluster, site, kubelet))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_cluster_decides_as_the_simulator_does() {
    let inputs = Inputs::new();
    let Some((cluster, site, kubelet)) = prepared(&inputs, &[CALM, LONG_LEASE].concat()).await
    else {
        return;
    };
    let decisions = log_decisions(&site);
    let expected = simulated::play(&inputs);
    let clock = Instant::now();
    let controller = site.start(&cluster.plane).await;
    let watched = Watched::new(&cluster).await;
    watched.until_quiet().await;
    until_foretold(&cluster).await;
    while let Some(job) = watched.running().into_iter().next() {
        let ended = kubelet.finish(job.namespace(), job.name()).await.unwrap();
        assert_eq!(ended, inputs.pods(&job), "all pods of {job} ran");
        watched.until_ended(&job).await;
        watched.until_quiet().await;
    }
    eprintln!("{} jobs in {:?}", inputs.jobs.len(), clock.elapsed());
    let admissions = watched.admissions();
    let order =
        |a: &[(JobName, Vec<String>)]| a.iter().map(|(job, _)| job.clone()).collect::<Vec<_>>();
    assert_eq!(order(&admissions), order(&expected), "order of admission");
    for (job, nodes) in &expected {
        assert_eq!(
            &watched.nodes_of(job),
            nodes,
            "nodes of {job}, by completion index"
        );
    }
    assert_eq!(
        watched.unfinished(),
        Vec::<JobName>::new(),
        "the queue has drained"
    );
    assert_no_overload(&watched, &kubelet);
    drop(controller);
    let replayed = crate::cluster::prorata(&["sim", "replay", &decisions.display().to_string()]);
    assert!(
        replayed.starts_with("the same 120 decisions in "),
        "{replayed}"
    );
    let log = std::fs::read_to_string(cluster.plane.directory().join("prorata-controller.log"));
    let log = log.unwrap();
    let complaints = log
        .lines()
        .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "));
    assert_eq!(
        complaints.collect::<Vec<_>>(),
        Vec::<&str>::new(),
        "nothing went wrong on the way"
    );
}

/// Has the controller log what it decides, and says where.
fn log_decisions(site: &Site) -> PathBuf {
    let file = site.config.with_file_name("decisions.jsonl");
    let mut config = std::fs::read_to_string(&site.config).unwrap();
    config.push_str(&format!("decisionLog: {{path: {}}}\n", file.display()));
    std::fs::write(&site.config, config).unwrap();
    file
}

/// Waits until some job that waits is told when it starts.
async fn until_foretold(cluster: &Cluster) {
    let records: Api<QueuedJob> = Api::all(cluster.admin.clone());
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let all = records.list(&ListParams::default()).await.unwrap().items;
        let mut forecasts = all
            .iter()
            .filter_map(|r| r.status.as_ref()?.forecast.as_ref());
        if let Some(first) = forecasts.find(|forecast| forecast.position == 1) {
            assert!(first.p50.is_some() && first.p50 <= first.p90, "{first:?}");
            return;
        }
        assert!(Instant::now() < deadline, "nothing is foretold");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// No pod was ever on a node without room.
fn assert_no_overload(watched: &Watched, kubelet: &Kubelet) {
    assert_eq!(watched.overfull(), BTreeSet::new());
    assert_eq!(kubelet.rejections(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_changes_nothing_that_has_happened() {
    let inputs = Inputs::new();
    let Some((cluster, site, kubelet)) = prepared(&inputs, CALM).await else {
        return;
    };
    let watched = Watched::new(&cluster).await;
    // Each life is a little longer than the one before: the crash comes while lists are read,
    // while admissions are written, while Jobs are released, and while pods are bound.
    for life_ms in [150, 250, 350, 500, 700, 1000, 1500] {
        let mut controller = site.launch(&cluster.plane);
        tokio::time::sleep(Duration::from_millis(life_ms)).await;
        controller.kill().unwrap();
        let before = watched.bound();
        let mut controller = site.start(&cluster.plane).await;
        watched.until_quiet().await;
        watched.assert_still_there(&before);
        if let Some(job) = watched.running().first() {
            kubelet.finish(job.namespace(), job.name()).await.unwrap();
        }
        // Killed again while the next admissions are under way.
        tokio::time::sleep(Duration::from_millis(life_ms / 10)).await;
        controller.kill().unwrap();
    }
    let _controller = site.start(&cluster.plane).await;
    watched.until_quiet().await;
    while watched.ended() < inputs.jobs.len() {
        let running = watched.running();
        assert!(
            !running.is_empty(),
            "nothing runs, and {:?} wait",
            watched.unfinished()
        );
        for job in &running {
            kubelet.finish(job.namespace(), job.name()).await.unwrap();
        }
        for job in &running {
            watched.until_ended(job).await;
        }
        watched.until_quiet().await;
    }
    assert_eq!(
        watched.unfinished(),
        Vec::<JobName>::new(),
        "no job was forgotten"
    );
    assert_eq!(watched.pods_per_place_max(), 1, "no place was filled twice");
    assert_no_overload(&watched, &kubelet);
}
