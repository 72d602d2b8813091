//! What must hold at every moment. Tests and the simulator check it after every step.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::cluster::Cluster;
use crate::holdings;
use crate::id::{NodeId, TenantId};
use crate::node::{Held, NodeState, grown};
use crate::resource::Resources;
use crate::task::Tasks;

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
    for (id, node) in &cluster.nodes {
        if node
            .spec
            .as_ref()
            .is_some_and(|spec| !node.held.fits_in(spec))
        {
            report("capacity of a node and its devices", id.to_string());
        }
    }
    let (held, claimed, usage) = sums(cluster);
    for (id, node) in &cluster.nodes {
        if held.get(id).unwrap_or(&Held::default()) != &node.held {
            report("what is held on a node", id.to_string());
        }
        if claimed.get(id).unwrap_or(&Held::default()) != &node.claimed {
            report("what is promised on a node", id.to_string());
        }
    }
    for (id, tenant) in &cluster.tenants {
        let sum = usage.get(id).copied().unwrap_or_default();
        let seat = cluster.tree.seat(id).filter(|_| !cluster.tree_is_stale);
        let in_tree =
            seat.is_none_or(|seat| !cluster.tree.is_leaf(seat) || *cluster.tree.usage(seat) == sum);
        if sum != tenant.usage || !in_tree {
            report("what a tenant uses", id.to_string());
        }
    }
    for (id, node) in &cluster.nodes {
        if are_mixed(&node.held, &node.claimed) {
            report("who shares no node with others", id.to_string());
        }
        let home = node.spec.as_ref().map(|spec| cluster.pools.on(&spec.node));
        if home != node.spec.as_ref().map(|spec| spec.home.clone()) {
            report("whose work belongs to a node", id.to_string());
        }
    }
    for state in cluster.jobs.values() {
        if state.job.needs.home != cluster.pools.of(&state.job.tenant) {
            report("where the work of a job belongs", state.job.id.to_string());
        }
        let gang = usize::try_from(state.job.gang).ok();
        let whole = |tasks: &Tasks| {
            gang == Some(tasks.placement.slots().len()) && gang == Some(tasks.progress.len())
        };
        if !state.tasks.as_ref().is_none_or(whole) {
            report("a gang is whole", state.job.id.to_string());
        }
        if state.nominated.is_some() != cluster.nominees.contains(&state.job.id) {
            report("who is promised room", state.job.id.to_string());
        }
    }
    let worth = |node: &NodeState| holdings::worth(&cluster.policy, node);
    let add = |(offer, free): (Resources, Resources), more: (Resources, Resources)| {
        (grown(&offer, &more.0), grown(&free, &more.1))
    };
    let all = cluster.nodes.values().map(worth);
    if all.fold(Default::default(), add) != (cluster.capacity, cluster.free) {
        report("sums of what nodes offer", "all nodes".to_string());
    }
    found
}

/// Whether the work of a tenant with a pool is on a node, or is promised room there, beside that of
/// others. Facts alone bring that about: a tenant gets its pool while it runs elsewhere.
fn are_mixed(held: &Held, claimed: &Held) -> bool {
    let mut homes = held.homes().chain(claimed.homes());
    let first = homes.next();
    homes.any(|home| Some(home) != first)
}

type Sums<'c> = (
    BTreeMap<&'c NodeId, Held>,
    BTreeMap<&'c NodeId, Held>,
    BTreeMap<&'c TenantId, Resources>,
);

/// What is held and promised on nodes and used by tenants, counted job by job.
fn sums(cluster: &Cluster) -> Sums<'_> {
    let (mut held, mut claimed, mut usage): Sums<'_> = Default::default();
    let pairs = &cluster.policy.pairs;
    for state in cluster.jobs.values() {
        let job = &state.job;
        let used = usage.entry(&state.job.tenant).or_default();
        for (slot, _) in state.tasks.iter().flat_map(Tasks::held) {
            let held = held.entry(&slot.node).or_default();
            held.take_for(job, slot, pairs);
            if !state.evicting {
                *used = grown(used, &slot.charges(&job.task));
            }
        }
        for slot in state
            .nominated
            .iter()
            .flat_map(crate::job::Placement::slots)
        {
            let claimed = claimed.entry(&slot.node).or_default();
            claimed.take_for(job, slot, pairs);
            *used = grown(used, &slot.charges(&job.task));
        }
    }
    for guest in cluster.pods.values() {
        let held = held.entry(&guest.node).or_default();
        held.amounts = grown(&held.amounts, &guest.takes);
        held.others.grow(&guest.others);
        if let Some((tenant, charge)) = &guest.charged {
            let used = usage.entry(tenant).or_default();
            *used = grown(used, charge);
        }
    }
    (held, claimed, usage)
}
