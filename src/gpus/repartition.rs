//! Brings nodes to divide their GPUs as they are to, one step after the other, and looks for changes
//! that the jobs that wait would gain by. Whoever decides does this; all that is to be remembered is
//! in the GpuNodes.

mod wishes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use prorata_core::{Resource, Snapshot};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::partition::Partition;
use super::steps::{self, Action, Limits, Seen};
use super::{Heard, about};
use crate::api::GpuNode;
use crate::api::gpunode::{Repartition, Step};
use crate::api::labels::{MIG_CONFIG, PLUGIN_CONFIG};
use crate::config;
use crate::effects::{Failure, Writer};
use crate::leader::Tenure;
use crate::translate::{self, PodView};
use crate::view::Views;
use crate::watch::Change;

/// How often nodes are looked at that are being changed.
const BUSY: Duration = Duration::from_millis(500);
/// How often it is looked whether any is to be.
const IDLE: Duration = Duration::from_secs(1);
/// Steps that a node makes at one look.
const STEPS_MAX: u32 = 8;

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
                report(&format!("how node {name} is divided"), Failure::from(error));
            }
        }
        // One that has stalled may do so for ever, and holds nobody else up.
        let is_moving = |node: &Arc<GpuNode>| {
            concerned.contains(&node.name_any())
                && !record(node).is_some_and(Repartition::is_stalled)
        };
        if !nodes.iter().any(is_moving) && self.is_due() {
            let is_heard = |node: &&GpuNode| !silent.contains_key(&node.name_any());
            let heard = nodes.iter().map(AsRef::as_ref).filter(is_heard);
            let heard: Vec<&GpuNode> = heard.collect();
            let followed = self.follow_demand(&snapshot, (&nodes, &heard)).await;
            if let Err(error) = followed {
                report(
                    "what the jobs that wait would gain by",
                    Failure::from(error),
                );
            }
        }
        !concerned.is_empty()
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
}

fn report(what: &str, failure: Failure) {
    match failure {
        Failure::Stale => debug!(what, "it has changed meanwhile"),
        failure => warn!(what, %failure, "it cannot be written yet"),
    }
}

/// The nodes with which something is to be done.
fn concerned(nodes: &[Arc<GpuNode>], snapshot: &Snapshot) -> Vec<String> {
    let may_be = nodes
        .iter()
        .filter(|node| node.spec.partition.is_some() || record(node).is_some());
    let may_be: Vec<&Arc<GpuNode>> = may_be.collect();
    if may_be.is_empty() {
        return Vec::new();
    }
    let offered: BTreeMap<&str, Option<Partition>> = snapshot
        .nodes()
        .map(|node| (node.id.as_str(), Partition::of(node)))
        .collect();
    let is_concerned = |node: &&Arc<GpuNode>| {
        let offered = offered.get(node.name_any().as_str()).cloned().flatten();
        let offered = offered.map(|partition| partition.to_string());
        let wanted = node.spec.partition.as_deref();
        steps::concerns(wanted, offered.as_deref(), record(node))
    };
    let concerned = may_be.into_iter().filter(is_concerned);
    concerned.map(|node| node.name_any()).collect()
}

/// The last change of a node.
fn record(node: &GpuNode) -> Option<&Repartition> {
    node.status.as_ref()?.repartition.as_ref()
}
