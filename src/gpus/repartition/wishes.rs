//! What the jobs that wait would have of the nodes: it is noted from the first look on, and proposed or
//! done once it has lasted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use prorata_core::resource::Amount;
use prorata_core::{NodeId, Resource, Snapshot};
use tokio::time::Instant;

use super::{Repartitioner, record};
use crate::api::GpuNode;
use crate::api::gpunode::{Demand, Proposal, Step};
use crate::api::labels::PLUGIN_CONFIG;
use crate::config::Mode;
use crate::effects::Notice;
use crate::gpus::demand::{self, Change, Terms};
use crate::gpus::partition::Partition;
use crate::gpus::{about, steps};

/// How often demand is looked at, at most and at least.
const EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// How long a node offers nothing while it is switched, as NVIDIA's device plugin takes.
const SWITCH: Duration = Duration::from_secs(120);

/// A change that is worth it.
struct Wish {
    change: Change,
    /// Since when it has been wanted at every look.
    since: Timestamp,
    has_lasted: bool,
}

impl Repartitioner {
    /// Whether it is time for another look.
    pub(super) fn is_due(&mut self) -> bool {
        let (least, most) = EVERY;
        let every = (self.config.after / 10).clamp(least, most);
        let now = Instant::now();
        let is_due = self.looked.is_none_or(|last| last + every <= now);
        if is_due {
            self.looked = Some(now);
        }
        is_due
    }

    /// Looks for a change that the jobs that wait would gain by, among the nodes whose agents are
    /// heard, and makes or shows it once it has been wanted for long enough.
    pub(super) async fn follow_demand(
        &self,
        snapshot: &Snapshot,
        (all, heard): (&[Arc<GpuNode>], &[&GpuNode]),
    ) -> kube::Result<()> {
        let now = Timestamp::now();
        let wish = match self.config.mode {
            Mode::Off => None,
            Mode::Propose | Mode::Apply => self.wish(snapshot, (all, heard), now),
        };
        self.show(all, wish.as_ref()).await?;
        match wish.filter(|wish| wish.has_lasted && self.config.mode == Mode::Apply) {
            Some(wish) => self.apply(all, &wish.change).await,
            None => Ok(()),
        }
    }

    fn wish(
        &self,
        snapshot: &Snapshot,
        (all, heard): (&[Arc<GpuNode>], &[&GpuNode]),
        now: Timestamp,
    ) -> Option<Wish> {
        let noted = all.iter().find_map(|node| {
            let demand = node.status.as_ref()?.demand.as_ref()?;
            Some((NodeId::from(node.name_any().as_str()), demand))
        });
        let nodes = heard.iter().filter(|node| self.may_change(node, now));
        let nodes: BTreeSet<NodeId> = nodes.map(|node| node.name_any().as_str().into()).collect();
        let modes = self.modes(snapshot, all, now);
        let terms = Terms {
            switch: SWITCH,
            stays: self.config.stays,
        };
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let time = prorata_core::Time::from_millis(milliseconds);
        let before = noted.as_ref().map(|(node, _)| node);
        let change = demand::best(snapshot, time, (&nodes, &modes), terms, before)?;
        let changed = all.iter().filter_map(|node| Some(record(node)?.since.0));
        let noted = noted.map(|(_, demand)| demand);
        let since = demand::since(&change, noted, changed.max(), now);
        Some(Wish {
            has_lasted: lasted(since, now) >= self.config.after,
            change,
            since,
        })
    }

    /// The modes that may be proposed. One in which some node hangs, or which it lately could not be
    /// brought to, is left alone.
    fn modes(
        &self,
        snapshot: &Snapshot,
        all: &[Arc<GpuNode>],
        now: Timestamp,
    ) -> BTreeSet<Partition> {
        let mut modes = match self.config.modes.is_empty() {
            true => configured_modes(snapshot),
            false => self.config.modes.clone(),
        };
        for record in all.iter().filter_map(|node| record(node)) {
            let has_failed = record.step == Step::Failed
                && record.reason.as_deref() == Some(steps::NOT_SWITCHED)
                && lasted(record.since.0, now) < self.config.stays;
            let is_going_back = record.is_open() && record.taken_back;
            if has_failed || is_going_back || record.is_stalled() {
                modes.retain(|mode| mode.to_string() != record.to);
            }
        }
        modes
    }

    /// Whether nobody has said how the node is to be, and it has been as it is for long enough.
    fn may_change(&self, node: &GpuNode, now: Timestamp) -> bool {
        let rests = record(node)
            .is_some_and(|last| last.is_open() || lasted(last.since.0, now) < self.config.stays);
        let is_seen = node
            .status
            .as_ref()
            .is_some_and(|status| status.mode.is_some());
        node.spec.partition.is_none() && is_seen && !rests
    }

    /// Makes a change that has been wanted for long enough.
    async fn apply(&self, all: &[Arc<GpuNode>], change: &Change) -> kube::Result<()> {
        let mut all = all.iter().map(AsRef::as_ref);
        let is_it = |node: &&GpuNode| node.name_any() == change.node.as_str();
        let Some(node) = all.find(is_it) else {
            return Ok(());
        };
        let (from, to) = (change.from.to_string(), change.to.to_string());
        let record = steps::on_demand(from, to, false, Timestamp::now());
        self.writer.record_repartition(node, Some(&record)).await?;
        if let Some(mut notice) = steps::notice(None, Some(&record)) {
            notice.message = format!("{}; {}", notice.message, worth(change));
            self.writer.tell(about(change.node.as_str()), notice).await;
        }
        Ok(())
    }

    /// Has the nodes show this wish and no other. What has been shown stays as it was then.
    async fn show(&self, all: &[Arc<GpuNode>], wish: Option<&Wish>) -> kube::Result<()> {
        for node in all {
            let name = node.name_any();
            let wish = wish.filter(|wish| wish.change.node.as_str() == name);
            let (known, shown) = match &node.status {
                Some(status) => (status.demand.as_ref(), status.proposal.as_ref()),
                None => (None, None),
            };
            let demand = wish.map(|wish| Demand {
                to: wish.change.to.to_string(),
                since: Time(wish.since),
            });
            let proposes = |wish: &&Wish| wish.has_lasted && self.config.mode == Mode::Propose;
            let proposal = wish.filter(proposes).map(|wish| Proposal {
                to: wish.change.to.to_string(),
                since: Time(Timestamp::now()),
                message: worth(&wish.change),
            });
            let is_known = known.map(|known| &known.to) == demand.as_ref().map(|now| &now.to);
            let is_shown = shown.map(|shown| &shown.to) == proposal.as_ref().map(|now| &now.to);
            if is_known && is_shown {
                continue;
            }
            let proposal = if is_shown { shown.cloned() } else { proposal };
            self.writer
                .want(node, demand.as_ref(), proposal.as_ref())
                .await?;
            if let Some(proposal) = proposal.filter(|_| !is_shown) {
                self.writer
                    .tell(about(&name), notice(&name, &proposal))
                    .await;
            }
        }
        Ok(())
    }
}

fn notice(node: &str, Proposal { to, message, .. }: &Proposal) -> Notice {
    let message = format!(
        "its GPUs should be {to}: {message}; `kubectl patch gpunode {node} --type merge -p \
         '{{\"spec\":{{\"partition\":\"{to}\"}}}}'` has that done"
    );
    Notice {
        reason: "RepartitionProposed".to_owned(),
        message,
    }
}

/// No time by a clock that runs behind.
fn lasted(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
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

/// What a change is worth, for people.
fn worth(change: &Change) -> String {
    let Change {
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
