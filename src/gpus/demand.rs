//! Which node should divide its GPUs in another way for the jobs that wait: by what they would gain
//! and what it costs. Pure.
//!
//! A node gains what the jobs that wait could use of it in its new mode, less what the jobs that run
//! there lose for want of room elsewhere, for as long as it stays so at least. It costs the work that
//! these lose when they are evicted, and the node itself while it is switched. One node at a time:
//! what the next one gains is known when that has been done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use prorata_core::device::WHOLE;
use prorata_core::{Job, JobId, Node, NodeId, Reason, Resource, Snapshot, Time};

use super::partition::Partition;
use crate::api::gpunode::Demand;

/// What a change has to gain for each GPU-second that it costs.
const WORTH: u64 = 2;

/// What a change costs, and how long its gain lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a node offers nothing while it is switched.
    pub switch: Duration,
    /// How long it stays as it is then, at least.
    pub stays: Duration,
}

/// A change that is worth it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The node.
    pub node: NodeId,
    /// How it divides its GPUs.
    pub from: Partition,
    /// How it should.
    pub to: Partition,
    /// Milli-GPU that jobs which wait could use there, less those that others lose.
    pub gains: u64,
    /// GPU-seconds that this is worth while it stays so.
    pub worth: u64,
    /// GPU-seconds that it costs.
    pub costs: u64,
}

/// The change that is worth most among these nodes and modes. One for the node that was proposed
/// before is kept while it is worth it, so that no two nodes take turns.
#[must_use]
pub fn best(
    snapshot: &Snapshot,
    now: Time,
    (nodes, modes): (&BTreeSet<NodeId>, &BTreeSet<Partition>),
    terms: Terms,
    before: Option<&NodeId>,
) -> Option<Change> {
    let waiting = waiting(snapshot);
    if waiting.is_empty() {
        return None;
    }
    let all = Stations::of(snapshot);
    let mut best: Option<Change> = None;
    for node in snapshot.nodes().filter(|node| nodes.contains(&node.id)) {
        let Some(from) = Partition::of(node).filter(|_| all.may_change(snapshot, node)) else {
            continue;
        };
        for to in modes.iter().filter(|to| **to != from) {
            let found = all.change(snapshot, node, (&from, to), (&waiting, now, terms));
            let Some(found) = found else { continue };
            let rank = |change: &Change| {
                let kept = before == Some(&change.node);
                (kept, change.worth.saturating_sub(change.costs))
            };
            if best.as_ref().is_none_or(|known| rank(&found) > rank(known)) {
                best = Some(found);
            }
        }
    }
    best
}

/// Jobs that wait for room that another division of GPUs could make.
fn waiting(snapshot: &Snapshot) -> Vec<&Job> {
    let waiting = snapshot.waiting().filter(|(_, reason)| {
        matches!(
            reason,
            Reason::NoSuchGpu { .. }
                | Reason::ExceedsCapacity { .. }
                | Reason::Fragmented { .. }
                | Reason::CapacityFull { .. }
        )
    });
    // One that is held waits for somebody, whatever else it lacks.
    let waiting = waiting.filter(|(job, _)| job.hold.is_none());
    waiting.map(|(job, _)| job).collect()
}

/// Who is on which node, and how much is free in each mode.
#[derive(Debug, Default)]
struct Stations {
    /// Milli-GPU that jobs hold on each node, and which jobs.
    held: BTreeMap<NodeId, (u64, BTreeSet<JobId>)>,
    /// Milli-GPU that are free on the nodes of each mode.
    free: BTreeMap<Partition, u64>,
}

impl Stations {
    fn of(snapshot: &Snapshot) -> Self {
        let mut all = Self::default();
        for (task, slot) in snapshot.held() {
            let (milli, jobs) = all.held.entry(slot.node.clone()).or_default();
            *milli += slot.gpu;
            jobs.insert(task.job);
        }
        for node in snapshot.nodes() {
            if let Some(partition) = Partition::of(node) {
                *all.free.entry(partition).or_default() += free_on(snapshot, node);
            }
        }
        all
    }

    fn held_on(&self, node: &NodeId) -> u64 {
        self.held.get(node).map_or(0, |(milli, _)| *milli)
    }

    fn jobs_on(&self, node: &NodeId) -> impl Iterator<Item = &JobId> {
        self.held.get(node).into_iter().flat_map(|(_, jobs)| jobs)
    }

    /// Whether the node could be emptied: all that is taken of its GPUs is held by jobs that may be
    /// evicted.
    fn may_change(&self, snapshot: &Snapshot, node: &Node) -> bool {
        let unused = snapshot.unused(&node.id).unwrap_or_default();
        let offered = node.offer().get(Resource::Gpu);
        let taken = offered.saturating_sub(unused.get(Resource::Gpu));
        let mut jobs = self.jobs_on(&node.id).filter_map(|id| snapshot.job(id));
        snapshot.takes_work(&node.id)
            && taken <= self.held_on(&node.id)
            && jobs.all(|job| job.preemptible && !job.protected)
    }

    fn change(
        &self,
        snapshot: &Snapshot,
        node: &Node,
        (from, to): (&Partition, &Partition),
        (waiting, now, terms): (&[&Job], Time, Terms),
    ) -> Option<Change> {
        let free = |partition| self.free.get(partition).copied().unwrap_or_default();
        let elsewhere = free(from).saturating_sub(free_on(snapshot, node));
        let displaced = self.held_on(&node.id).saturating_sub(elsewhere);
        let served = served(node, to, waiting, free(to));
        let gains = served.checked_sub(displaced).filter(|gains| *gains > 0)?;
        let lost: u64 = self
            .jobs_on(&node.id)
            .map(|job| snapshot.loss(job, now) / 1000)
            .sum();
        let costs = lost.saturating_add(u64::from(node.cards()) * terms.switch.as_secs());
        let worth = gains.saturating_mul(terms.stays.as_secs()) / u64::from(WHOLE);
        (worth >= costs.saturating_mul(WORTH)).then(|| Change {
            node: node.id.clone(),
            from: from.clone(),
            to: to.clone(),
            gains,
            worth,
            costs,
        })
    }
}

fn free_on(snapshot: &Snapshot, node: &Node) -> u64 {
    snapshot.free(&node.id).get(Resource::Gpu)
}

/// Milli-GPU of a node that jobs which wait could use if it were divided like this, beside `free`
/// milli-GPU elsewhere in that mode.
fn served(node: &Node, to: &Partition, waiting: &[&Job], free: u64) -> u64 {
    let whole = u64::from(node.cards()) * u64::from(WHOLE);
    let mut served: u64 = 0;
    for job in waiting.iter().filter(|job| job.needs.allow(node)) {
        let (milli, memory) = (
            job.task.get(Resource::Gpu),
            job.task.get(Resource::GpuMemory),
        );
        let is_share = milli < u64::from(WHOLE) && (milli > 0 || memory > 0);
        let takes = match to.slots() {
            Some(slots) => {
                let slot = u64::from(WHOLE / slots);
                let fits = milli <= slot && memory <= node.gpus.memory / u64::from(slots);
                (is_share && fits).then_some(slot)
            }
            None => (*to == Partition::Exclusive && milli > 0 && !is_share && milli <= whole)
                .then_some(milli),
        };
        let gang = takes.map_or(0, |takes| takes.saturating_mul(u64::from(job.gang)));
        // A gang starts whole or not at all.
        if gang <= whole.saturating_add(free) {
            served = served.saturating_add(gang);
        }
    }
    served.min(whole)
}

/// Since when nodes in the mode of this change have been wanted at every look, of which this is one:
/// demand that comes and goes is not worth a switch. `before` is what was wanted at the last look.
/// Nobody looks while a node is changed; the last was done at `changed`.
#[must_use]
pub fn since(
    change: &Change,
    before: Option<&Demand>,
    changed: Option<Timestamp>,
    now: Timestamp,
) -> Timestamp {
    let before = before.filter(|before| before.to == change.to.to_string());
    let since = before.map_or(now, |before| before.since.0);
    changed.map_or(since, |changed| since.max(changed))
}

#[cfg(test)]
mod tests;
