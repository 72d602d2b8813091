//! Brings nodes to divide their GPUs as they are to, one step after the other, and looks for changes
//! that the jobs that wait would gain by. Whoever decides does this; all that is to be remembered is
//! in the GpuNodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use prorata_core::resource::Amount;
use prorata_core::{NodeId, Resource, Snapshot};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::demand::{self, Lasting, Terms};
use super::partition::Partition;
use super::steps::{self, Action, Limits, Seen};
use super::{Heard, about};
use crate::api::GpuNode;
use crate::api::gpunode::{Proposal, Repartition, Step};
use crate::api::labels::{MIG_CONFIG, PLUGIN_CONFIG};
use crate::config::{self, Mode};
use crate::effects::{Failure, Notice, Writer};
use crate::leader::Tenure;
use crate::translate::{self, PodView};
use crate::view::Views;
use crate::watch::Change;

/// How often nodes are looked at that are being changed.
const BUSY: Duration = Duration::from_millis(500);
/// How often it is looked whether any is to be.
const IDLE: Duration = Duration::from_secs(1);
/// How often demand is looked at, at most and at least.
const DEMAND: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// Steps that a node makes at one look.
const STEPS_MAX: u32 = 8;
/// How long a node offers nothing while it is switched, as NVIDIA's device plugin takes.
const SWITCH: Duration = Duration::from_secs(120);

/// Who changes nodes.
pub struct Repartitioner {
    reads: Client,
    heard: Heard,
    writer: Writer,
    views: Views,
    tenure: Tenure,
    gpu_resource: String,
    config: config::Repartition,
    inbox: mpsc::Sender<Change>,
    lasting: Lasting,
    /// When demand was last looked at.
    looked: Option<Instant>,
}

/// A node as the API server has it.
struct Found {
    node: Node,
    gpu_node: GpuNode,
    seen: Seen,
}

impl Repartitioner {
    /// One that has changed nothing. It reads by the client and by what is heard of the agents,
    /// and has the loop empty nodes by its inbox.
    #[must_use]
    pub fn new(
        (reads, heard): (Client, Heard),
        writer: Writer,
        views: Views,
        tenure: Tenure,
        inbox: mpsc::Sender<Change>,
        configuration: &config::Configuration,
    ) -> Self {
        Self {
            reads,
            heard,
            writer,
            views,
            tenure,
            gpu_resource: configuration.gpu_resource.clone(),
            config: configuration.repartition.clone(),
            inbox,
            lasting: Lasting::default(),
            looked: None,
        }
    }

    /// Does so for ever. What cannot be read or written is tried again.
    pub async fn run(mut self) {
        loop {
            let is_busy = self.tenure.is_held() && self.look().await;
            sleep(if is_busy { BUSY } else { IDLE }).await;
        }
    }

    /// Looks at all nodes once; answers whether any is being changed.
    async fn look(&mut self) -> bool {
        let Some(snapshot) = self.snapshot() else {
            return false;
        };
        let nodes = self.heard.nodes();
        let silent = self.heard.silent(&nodes);
        let concerned = concerned(&nodes, &snapshot);
        for name in &concerned {
            let advanced = self.advance(name, silent.contains_key(name)).await;
            if let Err(error) = advanced {
                report(name, Failure::from(error));
            }
        }
        if !concerned.is_empty() {
            return true;
        }
        if self.is_due() {
            let is_heard = |node: &&GpuNode| !silent.contains_key(&node.name_any());
            let heard = nodes.iter().map(AsRef::as_ref).filter(is_heard);
            let heard: Vec<&GpuNode> = heard.collect();
            let shown = self.look_for_demand(&snapshot, (&nodes, &heard)).await;
            if let Err(error) = shown {
                warn!(failure = %Failure::from(error), "what is proposed cannot be shown");
            }
        }
        false
    }

    fn snapshot(&self) -> Option<Snapshot> {
        let view = self.views.latest();
        view.as_ref().as_ref().map(|view| view.snapshot.clone())
    }

    /// Does with one node what can be done now.
    async fn advance(&self, name: &str, is_silent: bool) -> kube::Result<()> {
        let limits = Limits {
            drain: self.config.drain_timeout,
            switch: self.config.switch_timeout,
        };
        for _ in 0..STEPS_MAX {
            let Some(found) = self.see(name, is_silent).await? else {
                return Ok(());
            };
            match steps::next(&found.seen, limits, Timestamp::now()) {
                Action::Wait => return Ok(()),
                Action::Drain => {
                    // The loop may have ended; then so does this.
                    let _ = self.inbox.send(Change::Drained(name.into())).await;
                    return Ok(());
                }
                Action::Cordon(is_cordoned) => {
                    self.writer.cordon(&found.node, is_cordoned).await?;
                }
                Action::Label(labels) => self.writer.label(&found.node, &labels).await?,
                Action::Record(record) => self.record(&found, record.as_ref()).await?,
            }
        }
        Ok(())
    }

    async fn record(&self, found: &Found, record: Option<&Repartition>) -> kube::Result<()> {
        let name = found.node.name_any();
        let step = record.map_or("none", |record| record.step.name());
        let reason = record.and_then(|record| record.reason.as_deref());
        self.writer
            .record_repartition(&found.gpu_node, record)
            .await?;
        info!(node = name, step, reason, "its GPUs are divided anew");
        if let Some(notice) = steps::notice(found.seen.record.as_ref(), record) {
            self.writer.tell(about(&name), notice).await;
        }
        Ok(())
    }

    /// A node as it is now; `None` where there is no such node any more.
    async fn see(&self, name: &str, is_silent: bool) -> kube::Result<Option<Found>> {
        let (nodes, gpu_nodes): (Api<Node>, Api<GpuNode>) =
            (Api::all(self.reads.clone()), Api::all(self.reads.clone()));
        let both = nodes
            .get_opt(name)
            .await?
            .zip(gpu_nodes.get_opt(name).await?);
        let Some((node, gpu_node)) = both else {
            return Ok(None);
        };
        let status = gpu_node.status.clone().unwrap_or_default();
        let empties = status
            .repartition
            .as_ref()
            .is_some_and(|record| matches!(record.step, Step::Drain | Step::Switch));
        let left = match empties {
            true => self.left(name).await?,
            false => 0,
        };
        let offered = Partition::of(&translate::node(&node, &self.gpu_resource));
        let configured = [PLUGIN_CONFIG, MIG_CONFIG].into_iter().filter_map(|key| {
            let value = node.labels().get(key)?;
            Some((key.to_owned(), value.clone()))
        });
        let spec = node.spec.as_ref();
        let seen = Seen {
            wanted: gpu_node.spec.partition.clone(),
            offered: offered.map(|partition| partition.to_string()),
            told: status.mode.filter(|_| !is_silent),
            is_cordoned: spec.is_some_and(|spec| spec.unschedulable == Some(true)),
            takes_work: self
                .snapshot()
                .is_none_or(|snapshot| snapshot.takes_work(&name.into())),
            left,
            configured: configured.collect(),
            record: status.repartition,
        };
        Ok(Some(Found {
            node,
            gpu_node,
            seen,
        }))
    }

    /// Pods that have GPUs of a node, by the API server, or jobs with places there, by the queue.
    async fn left(&self, name: &str) -> kube::Result<usize> {
        let api: Api<Pod> = Api::all(self.reads.clone());
        let fields = format!("spec.nodeName={name},status.phase!=Succeeded,status.phase!=Failed");
        let pods = api.list(&ListParams::default().fields(&fields)).await?;
        let views = pods
            .iter()
            .map(|pod| PodView::new(pod, &self.gpu_resource).takes);
        let pods = views.filter(|takes| takes.get(Resource::Gpu) > 0).count();
        let view = self.views.latest();
        let plans = view.as_ref().as_ref().map(|view| &view.plans);
        let plans = plans.into_iter().flat_map(|plans| plans.values());
        let jobs = plans.filter(|plan| plan.is_on(&name.into())).count();
        Ok(pods.max(jobs))
    }

    fn is_due(&mut self) -> bool {
        let (least, most) = DEMAND;
        let every = (self.config.after / 10).clamp(least, most);
        let now = Instant::now();
        let is_due = self.looked.is_none_or(|last| last + every <= now);
        if is_due {
            self.looked = Some(now);
        }
        is_due
    }

    /// Looks for a change that the jobs that wait would gain by, among the nodes whose agents are
    /// heard, and makes or shows it.
    async fn look_for_demand(
        &mut self,
        snapshot: &Snapshot,
        (all, heard): (&[Arc<GpuNode>], &[&GpuNode]),
    ) -> kube::Result<()> {
        let now = Timestamp::now();
        let shown = all.iter().find_map(|node| {
            let proposal = node.status.as_ref()?.proposal.as_ref()?;
            Some((NodeId::from(node.name_any().as_str()), proposal))
        });
        let found = match self.config.mode {
            Mode::Off => None,
            Mode::Propose | Mode::Apply => {
                self.find(snapshot, heard, shown.as_ref().map(|(node, _)| node), now)
            }
        };
        let since = self.lasting.note(found.as_ref(), now);
        let has_lasted = since.is_some_and(|since| {
            Duration::try_from(now.duration_since(since))
                .is_ok_and(|for_| for_ >= self.config.after)
        });
        // Whoever takes over goes on with what was proposed.
        let is_shown = |change: &demand::Change| {
            let shown = shown.as_ref();
            shown.is_some_and(|(node, p)| *node == change.node && p.to == change.to.to_string())
        };
        let applies = self.config.mode == Mode::Apply;
        let found = found.filter(|found| has_lasted || (!applies && is_shown(found)));
        self.show(all, found.as_ref().filter(|_| !applies)).await?;
        match found.filter(|_| applies) {
            Some(change) => self.apply(all, &change).await,
            None => Ok(()),
        }
    }

    fn find(
        &self,
        snapshot: &Snapshot,
        heard: &[&GpuNode],
        before: Option<&NodeId>,
        now: Timestamp,
    ) -> Option<demand::Change> {
        let nodes = heard.iter().filter(|node| self.may_change(node, now));
        let nodes: BTreeSet<NodeId> = nodes.map(|node| node.name_any().as_str().into()).collect();
        let modes = match self.config.modes.is_empty() {
            true => configured_modes(snapshot),
            false => self.config.modes.clone(),
        };
        let terms = Terms {
            switch: SWITCH,
            stays: self.config.stays,
        };
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let now = prorata_core::Time::from_millis(milliseconds);
        demand::best(snapshot, now, (&nodes, &modes), terms, before)
    }

    /// Whether nobody has said how the node is to be, and it has been as it is for long enough.
    fn may_change(&self, node: &GpuNode, now: Timestamp) -> bool {
        let status = node.status.as_ref();
        let last = status.and_then(|status| status.repartition.as_ref());
        let rests = last.is_some_and(|last| {
            let since = Duration::try_from(now.duration_since(last.since.0)).unwrap_or_default();
            since < self.config.stays
        });
        let is_seen = status.is_some_and(|status| status.mode.is_some());
        node.spec.partition.is_none() && is_seen && !rests
    }

    /// Makes a change that has been wanted for long enough.
    async fn apply(&self, all: &[Arc<GpuNode>], change: &demand::Change) -> kube::Result<()> {
        let Some(node) = named(all, &change.node) else {
            return Ok(());
        };
        let (from, to) = (change.from.to_string(), change.to.to_string());
        let record = steps::on_demand(from, to, false, Timestamp::now());
        self.writer.record_repartition(node, Some(&record)).await?;
        if let Some(mut notice) = steps::notice(None, Some(&record)) {
            notice.message = format!("{}; {}", notice.message, sentence(change));
            self.writer.tell(about(change.node.as_str()), notice).await;
        }
        Ok(())
    }

    /// Has the nodes show this proposal and no other.
    async fn show(
        &self,
        all: &[Arc<GpuNode>],
        change: Option<&demand::Change>,
    ) -> kube::Result<()> {
        for node in all {
            let known = node.status.as_ref().and_then(|s| s.proposal.as_ref());
            let change = change.filter(|change| change.node.as_str() == node.name_any());
            let to = change.map(|change| change.to.to_string());
            if known.map(|known| &known.to) == to.as_ref() {
                continue;
            }
            let proposal = change.map(|change| Proposal {
                to: change.to.to_string(),
                since: Time(Timestamp::now()),
                message: sentence(change),
            });
            self.writer.propose(node, proposal.as_ref()).await?;
            if let Some(Proposal { to, message, .. }) = proposal {
                let message = format!(
                    "its GPUs should be {to}: {message}; `kubectl patch gpunode {node} --type merge -p \
                     '{{\"spec\":{{\"partition\":\"{to}\"}}}}'` has that done",
                    node = node.name_any(),
                );
                let notice = Notice {
                    reason: "RepartitionProposed".to_owned(),
                    message,
                };
                self.writer.tell(about(&node.name_any()), notice).await;
            }
        }
        Ok(())
    }
}

fn report(node: &str, failure: Failure) {
    match failure {
        Failure::Stale => debug!(node, "it has changed meanwhile"),
        failure => warn!(node, %failure, "its GPUs cannot be divided anew yet"),
    }
}

/// The nodes with which something is to be done.
fn concerned(nodes: &[Arc<GpuNode>], snapshot: &Snapshot) -> Vec<String> {
    let may_be = nodes.iter().filter(|node| {
        let record = node.status.as_ref().and_then(|s| s.repartition.as_ref());
        node.spec.partition.is_some() || record.is_some()
    });
    let may_be: Vec<&Arc<GpuNode>> = may_be.collect();
    if may_be.is_empty() {
        return Vec::new();
    }
    let offered: BTreeMap<&str, Option<Partition>> = snapshot
        .nodes()
        .map(|node| (node.id.as_str(), Partition::of(node)))
        .collect();
    let is_concerned = |node: &&Arc<GpuNode>| {
        let record = node.status.as_ref().and_then(|s| s.repartition.as_ref());
        let offered = offered.get(node.name_any().as_str()).cloned().flatten();
        let offered = offered.map(|partition| partition.to_string());
        steps::concerns(node.spec.partition.as_deref(), offered.as_deref(), record)
    };
    let concerned = may_be.into_iter().filter(is_concerned);
    concerned.map(|node| node.name_any()).collect()
}

/// The modes for which the device plugin is known to have a configuration of that name.
fn configured_modes(snapshot: &Snapshot) -> BTreeSet<Partition> {
    let configured = snapshot.nodes().filter_map(|node| {
        let partition = Partition::of(node)?;
        let config = node.labels.get(PLUGIN_CONFIG)?;
        (**config == *partition.to_string()).then_some(partition)
    });
    configured.collect()
}

fn named<'a>(all: &'a [Arc<GpuNode>], node: &NodeId) -> Option<&'a GpuNode> {
    let mut all = all.iter().map(AsRef::as_ref);
    all.find(|one: &&GpuNode| one.metadata.name.as_deref() == Some(node.as_str()))
}

/// What a change is worth, for people.
fn sentence(change: &demand::Change) -> String {
    let demand::Change {
        from,
        to,
        gains,
        worth,
        costs,
        ..
    } = change;
    format!(
        "jobs that wait could use {} GPUs of it as {to} instead of {from}, {worth} GPU-seconds while it stays so, and \
         the change costs {costs}",
        Amount(Resource::Gpu, *gains),
    )
}
