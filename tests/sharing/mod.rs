//! Forty nodes that share their GPUs in different ways, and many pods that ask for parts of them, all
//! at once: no card is ever given out above its memory or share, as pods and GpuNodes show it while
//! plugins, agents and the controller come and go, and every pod is where the simulator has it, which
//! heeds what kinds of work lose beside each other.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod agents;
mod census;
mod inputs;
mod simulated;
mod watched;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams};
use prorata_controlplane::{
    DevicePlugin, Kubelet, KubeletOptions, Options, PluginOptions, Process, nodes,
};

use crate::cluster::Cluster;
use crate::cluster::controller::Site;
use crate::cluster::requests::create;
use crate::equivalence::{CALM, LONG_LEASE};
use crate::outage::world::is_complete;
use agents::Agents;
use inputs::{Input, Object};
use simulated::Comparison;
use watched::{Running, Watched};

/// So many pods, unless `PRORATA_SHARES` says how many; the whole show has 2,000.
const PODS: u32 = 300;
/// However long the show takes, nobody gets nodes reserved: the simulator's jobs have just come.
const UNRESERVED: &str = "reserveAfter: 24h\n";
/// A pod that is deleted keeps its slot until it has ended.
const TERMINATION: Duration = Duration::from_secs(2);
/// How long Kubernetes may take to find all Jobs complete whose pods are over.
const COUNTED_WITHIN: Duration = Duration::from_secs(120);
/// Ends of jobs that are under way at once.
const IN_FLIGHT: usize = 16;
/// Rounds in which everything that runs ends; more never come.
const ROUNDS_MAX: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_gpus_are_given_out_as_the_simulator_does_and_never_twice() {
    let count = std::env::var("PRORATA_SHARES").map_or(PODS, |count| count.parse().unwrap());
    let inputs = inputs::jobs(count);
    let Some(mut show) = Show::start(inputs, count).await else {
        return;
    };
    let clock = Instant::now();
    let mut comparison = Comparison::default();
    show.begin().await;
    comparison.check(&show.inputs, &show.watched);
    eprintln!(
        "{} of {count} pods run after {:?}, the others wait",
        show.watched.running().len(),
        clock.elapsed()
    );
    show.nobody_moves_while_programs_restart().await;

    show.delete_some().await;
    for round in 0.. {
        assert!(
            round < ROUNDS_MAX,
            "they never end: {:?}",
            show.watched.reasons()
        );
        show.watched.until_any_runs().await;
        let running = show.watched.running();
        if running.is_empty() {
            break;
        }
        show.restart_some(round).await;
        // In turn with the controller away, so that it decides of all that waits at once, as the
        // simulator does; and with it there and a plugin away.
        if round % 2 == 0 {
            show.end_while_it_decides(running, round).await;
        } else {
            show.end_while_it_is_away(running, &mut comparison).await;
        }
    }
    eprintln!(
        "{count} pods on 40 nodes in {:?}; {:?} jobs and pods as simulated, {} plugins restarted, {} looks",
        clock.elapsed(),
        comparison.same,
        show.plugins_restarted,
        show.watched.looks(),
    );
    assert_eq!(show.watched.unfinished(), 0, "{:?}", show.watched.reasons());
    show.watched.until_told().await;
    assert_eq!(show.watched.violations(), BTreeSet::new());
    assert_eq!(show.kubelet.rejections(), []);
}

/// All who work in a cluster, whoever watches them, and the cluster itself: it is the last to go.
struct Show {
    agents: Option<Agents>,
    plugin: DevicePlugin,
    controller: Option<Process>,
    watched: Watched,
    kubelet: Arc<Kubelet>,
    site: Site,
    cluster: Cluster,
    inputs: Vec<Input>,
    /// Jobs that have not been deleted.
    jobs: usize,
    plugins_restarted: usize,
}

impl Show {
    /// All has been submitted, and nobody decides yet.
    async fn start(inputs: Vec<Input>, pods: u32) -> Option<Self> {
        let (cluster, site) = prepared(&inputs).await?;
        let options = KubeletOptions {
            termination: TERMINATION,
            ..KubeletOptions::default()
        };
        let kubelet = Arc::new(Kubelet::start(cluster.admin.clone(), options));
        Some(Self {
            watched: Watched::new(&cluster, &kubelet, pods).await,
            plugin: DevicePlugin::start(cluster.admin.clone(), PluginOptions::default()),
            controller: None,
            agents: None,
            jobs: inputs.len(),
            plugins_restarted: 0,
            cluster,
            site,
            kubelet,
            inputs,
        })
    }

    /// The controller comes, and what has room runs.
    async fn begin(&mut self) {
        self.controller = Some(self.site.start(&self.cluster.plane).await);
        self.watched.until_settled(self.jobs).await;
    }

    async fn start_agents(&mut self) {
        self.agents = Some(Agents::start(&self.cluster.admin, &self.kubelet).await);
        self.watched.until_told().await;
    }

    /// With whoever decides away, with whoever hands out devices, and with whoever sees them.
    async fn nobody_moves_while_programs_restart(&mut self) {
        let running = self.watched.running();
        self.start_agents().await;
        drop(self.controller.take());
        self.agents = None;
        self.controller = Some(self.site.start(&self.cluster.plane).await);
        self.restart_plugins(&inputs::sharing()).await;
        self.watched.until_settled(self.jobs).await;
        assert_eq!(self.watched.running(), running, "nobody has left or moved");
        self.start_agents().await;
    }

    /// The agents, and the plugins of one node of each kind, another each time.
    async fn restart_some(&mut self, round: usize) {
        let running = self.watched.running();
        self.agents = None;
        self.restart_plugins(&one_of_each(round)).await;
        self.start_agents().await;
        self.watched.until_settled(self.jobs).await;
        assert_eq!(self.watched.running(), running, "nobody has left or moved");
    }

    async fn restart_plugins(&mut self, numbers: &[u32]) {
        let restarts = numbers.iter().map(|number| {
            let (plugin, node) = (&self.plugin, nodes::name(*number));
            async move { plugin.restart(&node).await }
        });
        futures::future::try_join_all(restarts).await.unwrap();
        self.plugins_restarted += numbers.len();
    }

    /// Deletes some pods that run, which take their time to end.
    async fn delete_some(&mut self) {
        let running = self.watched.running();
        let bare: Vec<&Running> = running
            .iter()
            .filter(|pod| pod.is_bare)
            .step_by(4)
            .collect();
        for pod in &bare {
            let api: Api<Pod> = Api::namespaced(self.cluster.alice.clone(), &pod.namespace);
            api.delete(&pod.job, &DeleteParams::default())
                .await
                .unwrap();
        }
        assert!(!bare.is_empty(), "no pod runs by itself");
        self.jobs -= bare.len();
        self.watched.until_settled(self.jobs).await;
    }

    /// Others are let in as some leave, also while plugins are away.
    async fn end_while_it_decides(&mut self, running: Vec<Running>, round: usize) {
        let away = one_of_each(round + 1);
        let restarts = away.iter().map(|number| {
            let (plugin, node) = (&self.plugin, nodes::name(*number));
            async move { plugin.restart(&node).await }
        });
        let restarts = futures::future::try_join_all(restarts);
        let ends = async {
            // Nobody is on the way to those nodes when they have nothing to offer any more.
            tokio::time::sleep(Duration::from_millis(200)).await;
            end(&self.kubelet, running).await;
        };
        let (restarted, ()) = tokio::join!(restarts, ends);
        restarted.unwrap();
        self.plugins_restarted += away.len();
        self.watched.until_settled(self.jobs).await;
    }

    /// Waits until Kubernetes has counted the pods that are over: until then their Jobs go on.
    async fn until_counted(&self) {
        let api: Api<Job> = Api::all(self.cluster.admin.clone());
        let goes_on = |job: &Job| {
            let suspended = job.spec.as_ref().and_then(|spec| spec.suspend);
            suspended != Some(true) && !is_complete(job)
        };
        let clock = Instant::now();
        while api
            .list(&ListParams::default())
            .await
            .unwrap()
            .iter()
            .any(goes_on)
        {
            assert!(clock.elapsed() < COUNTED_WITHIN, "Jobs are not complete");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// All who run leave before anybody else is let in.
    async fn end_while_it_is_away(&mut self, running: Vec<Running>, comparison: &mut Comparison) {
        drop(self.controller.take());
        end(&self.kubelet, running).await;
        self.watched.until_empty().await;
        self.until_counted().await;
        comparison.begin(&self.watched);
        let before = self.watched.admissions().len();
        self.controller = Some(self.site.start(&self.cluster.plane).await);
        self.watched.until_more_than(before).await;
        self.watched.until_settled(self.jobs).await;
        comparison.check(&self.inputs, &self.watched);
    }
}

/// The number of a node of each way to share, others with each round.
fn one_of_each(round: usize) -> Vec<u32> {
    let all = inputs::sharing();
    let ways = inputs::WAYS_TO_SHARE;
    let first = round * ways % all.len();
    all[first..].iter().take(ways).copied().collect()
}

/// Ends all pods that run.
async fn end(kubelet: &Kubelet, running: Vec<Running>) {
    let jobs: BTreeSet<(String, String, bool)> = running
        .into_iter()
        .map(|pod| (pod.namespace, pod.job, pod.is_bare))
        .collect();
    let ends = futures::stream::iter(jobs).map(|(namespace, job, is_bare)| async move {
        match is_bare {
            true => kubelet.finish_pod(&namespace, &job).await,
            false => kubelet.finish(&namespace, &job).await,
        }
    });
    let ends: Vec<_> = ends.buffer_unordered(IN_FLIGHT).collect().await;
    for end in ends {
        end.unwrap();
    }
}

/// A cluster in which all of it has been submitted, while no controller of ours runs.
async fn prepared(inputs: &[Input]) -> Option<(Cluster, Site)> {
    let mut cluster = Cluster::start(Options::default()).await?;
    cluster.install().await;
    nodes::create_all(&cluster.admin, inputs::shapes())
        .await
        .unwrap();
    cluster.apply(&inputs::tenants());
    // One after the other: Kubernetes keeps times of creation by the second, and names decide.
    for input in inputs {
        match input.object() {
            Object::Job(job) => {
                let api: Api<Job> = Api::namespaced(cluster.alice.clone(), input.tenant);
                create(&api, &job).await;
            }
            Object::Pod(pod) => {
                let api: Api<Pod> = Api::namespaced(cluster.alice.clone(), input.tenant);
                create(&api, &pod).await;
            }
        }
    }
    let site = Site::prepare_with(
        &cluster.plane,
        &[CALM, LONG_LEASE, UNRESERVED, inputs::INTERFERENCE].concat(),
    );
    cluster
        .plane
        .start_scheduler(site.scheduler_config())
        .await
        .unwrap();
    Some((cluster, site))
}
