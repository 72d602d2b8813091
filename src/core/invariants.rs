//! What must hold at every moment. Tests and the simulator check it after every step.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::cluster::Cluster;
use crate::device::Devices;
use crate::id::{NodeId, TenantId};
use crate::node::NodeState;
use crate::placement::{self, Rooms};
use crate::resource::Resources;

/// An invariant that does not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's name.
    pub rule: &'static str,
    /// The node, tenant or job.
    pub subject: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not hold for {}", self.rule, self.subject)
    }
}

pub(crate) fn violations(cluster: &Cluster) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut report = |rule, subject: String| found.push(Violation { rule, subject });
    overcommitted(cluster).for_each(|node| report("capacity", node.to_string()));
    shared_devices(cluster).for_each(|node| report("one task per GPU", node.to_string()));
    miscounted_nodes(cluster).for_each(|node| report("node sums", node.to_string()));
    miscounted_tenants(cluster).for_each(|tenant| report("tenant sums", tenant.to_string()));
    for state in cluster.jobs.values() {
        let whole = |tasks: &crate::task::Tasks| {
            let gang = usize::try_from(state.job.gang).ok();
            gang == Some(tasks.placement.slots().len()) && gang == Some(tasks.progress.len())
        };
        if !state.tasks.as_ref().is_none_or(whole) {
            report("a gang is whole", state.job.id.to_string());
        }
    }
    let offers = cluster.nodes.values().filter_map(NodeState::offer);
    if placement::sum(offers) != cluster.capacity() {
        report("sum of what nodes offer", "all nodes".to_string());
    }
    if rooms(cluster) != cluster.rooms {
        report("room index", "all nodes".to_string());
    }
    found
}

/// Nodes on which more is held than they offer.
fn overcommitted(cluster: &Cluster) -> impl Iterator<Item = &NodeId> {
    let over = |state: &NodeState| {
        let spec = state.spec.as_ref();
        spec.is_some_and(|spec| !state.used.fits_in(&spec.allocatable))
    };
    cluster
        .nodes
        .iter()
        .filter(move |(_, state)| over(state))
        .map(|(id, _)| id)
}

/// Nodes on which two tasks are expected to have the same GPU.
fn shared_devices(cluster: &Cluster) -> impl Iterator<Item = NodeId> {
    let mut seen: BTreeMap<NodeId, Devices> = BTreeMap::new();
    let mut shared = Vec::new();
    for tasks in cluster
        .jobs
        .values()
        .filter_map(|state| state.tasks.as_ref())
    {
        for (slot, _) in tasks.held() {
            let devices = seen.entry(slot.node.clone()).or_default();
            if devices.overlaps(&slot.devices) {
                shared.push(slot.node.clone());
            }
            devices.insert(&slot.devices);
        }
    }
    shared.into_iter()
}

/// Nodes whose sum is not that of what is on them.
fn miscounted_nodes(cluster: &Cluster) -> impl Iterator<Item = &NodeId> {
    let mut held: BTreeMap<&NodeId, Resources> = BTreeMap::new();
    let mut add = |node, amount: &Resources| {
        let sum: &mut Resources = held.entry(node).or_default();
        *sum = sum.checked_add(amount).unwrap_or_default();
    };
    for state in cluster.jobs.values() {
        let slots = state.tasks.iter().flat_map(crate::task::Tasks::held);
        slots.for_each(|(slot, _)| add(&slot.node, &state.job.task));
    }
    cluster
        .pods
        .values()
        .for_each(|(node, takes)| add(node, takes));
    let unlike =
        move |id: &&NodeId| held.get(*id).copied().unwrap_or_default() != cluster.nodes[*id].used;
    cluster.nodes.keys().filter(unlike)
}

/// Tenants whose sum is not that of their tasks.
fn miscounted_tenants(cluster: &Cluster) -> impl Iterator<Item = &TenantId> {
    let mut held: BTreeMap<&TenantId, Resources> = BTreeMap::new();
    for state in cluster.jobs.values() {
        let sum = held.entry(&state.job.tenant).or_default();
        for _ in state.tasks.iter().flat_map(crate::task::Tasks::held) {
            *sum = sum.checked_add(&state.job.task).unwrap_or_default();
        }
    }
    let unlike = move |id: &&TenantId| {
        held.get(*id).copied().unwrap_or_default() != cluster.tenants[*id].usage
    };
    cluster.tenants.keys().filter(unlike)
}

/// The room index as it follows from the nodes.
fn rooms(cluster: &Cluster) -> Rooms {
    let mut rooms = Rooms::default();
    for (id, state) in &cluster.nodes {
        if let Some(free) = state.free() {
            rooms.insert(id, &free);
        }
    }
    rooms
}
