//! Nodes that are set apart: the pool of a tenant whose work shares no node with that of others.
//!
//! Whoever names a pool has its nodes alone, together with all below it, and goes nowhere else.
//! A node is of a pool by its label, whatever its taints say. Where work of others is still on such
//! a node, nobody new comes until that has left.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::cluster::{Cluster, Map, TenantState};
use crate::id::{JobId, NodeId, TenantId};
use crate::job::{Placement, Slot};
use crate::needs::{Taint, Text};
use crate::node::{Node, NodeState, Spec};
use crate::standing::JobState;
use crate::task::Tasks;

/// The label of a node that says of which pool it is.
pub const LABEL: &str = "prorata.dev/node-pool";

/// Where work belongs, and of a node, whose work. Both have to be the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Home {
    /// The nodes that are in nobody's pool.
    #[default]
    Common,
    /// The pool of this tenant, which those below it share.
    Of(TenantId),
    /// A pool that several claim of whom none is above the others: nobody's work belongs there.
    Contested,
}

impl Home {
    /// Whether it is on the nodes that are in nobody's pool.
    #[must_use]
    pub fn is_common(&self) -> bool {
        *self == Self::Common
    }
}

/// The pool that a node is of by its label.
pub(crate) fn pool(node: &Node) -> Option<&Text> {
    node.labels.get(LABEL)
}

/// Whether a taint says no more than that its node is of its pool.
pub(crate) fn is_of_pool(node: &Node, taint: &Taint) -> bool {
    &*taint.key == LABEL && pool(node) == Some(&taint.value)
}

/// Whose the pools are. Follows from the tenants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pools {
    /// Whose work belongs to each pool that is claimed.
    homes: BTreeMap<Text, Home>,
    /// The pool of each tenant that has one, and who claims it for that.
    tenants: BTreeMap<TenantId, (Text, TenantId)>,
}

impl Pools {
    pub(crate) fn new(tenants: &Map<TenantId, TenantState>) -> Self {
        let mut pools = Self::default();
        for id in tenants.keys() {
            let Some((pool, owner)) = claim(tenants, id) else {
                continue;
            };
            let owned = Home::Of(owner.clone());
            let home = pools.homes.entry(pool.clone()).or_insert(owned.clone());
            if *home != owned {
                *home = Home::Contested;
            }
            pools.tenants.insert(id.clone(), (pool, owner));
        }
        pools
    }

    /// Where the work of a tenant belongs.
    pub(crate) fn of(&self, tenant: &TenantId) -> Home {
        let claim = self.tenants.get(tenant);
        claim.map_or(Home::Common, |(_, owner)| Home::Of(owner.clone()))
    }

    /// What the pool is called.
    pub(crate) fn of_home(&self, home: &Home) -> Option<&Text> {
        match home {
            Home::Of(tenant) => Some(&self.tenants.get(tenant)?.0),
            Home::Common | Home::Contested => None,
        }
    }

    /// Whose work belongs to a node.
    pub(crate) fn on(&self, node: &Node) -> Home {
        let home = pool(node).and_then(|pool| self.homes.get(pool));
        home.cloned().unwrap_or_default()
    }
}

/// The pool that a tenant names, or else the nearest of those above it, with the highest of them
/// that names the same.
fn claim(tenants: &Map<TenantId, TenantState>, id: &TenantId) -> Option<(Text, TenantId)> {
    let spec = |id: &TenantId| tenants.get(id).and_then(|state| state.spec.as_deref());
    let way = core::iter::successors(spec(id), |below| spec(below.parent.as_ref()?));
    // Parents may form a circle.
    let way = way.take(tenants.size());
    let mut named = way.filter_map(|tenant| Some((tenant.pool.as_ref()?, &tenant.id)));
    let (pool, nearest) = named.next()?;
    let same = named.filter(|(other, _)| *other == pool);
    let (_, highest) = same.last().unwrap_or((pool, nearest));
    Some((pool.clone(), highest.clone()))
}

impl Cluster {
    /// Brings whose the pools are up to date, and with it where work and nodes belong.
    pub(crate) fn settle_pools(&mut self) {
        let pools = Pools::new(&self.tenants);
        if *self.pools == pools {
            return;
        }
        self.pools = Arc::new(pools);
        let moved = |(id, state): (&JobId, &JobState)| {
            let home = self.pools.of(&state.job.tenant);
            (home != state.job.needs.home).then(|| (id.clone(), home))
        };
        let jobs: Vec<(JobId, Home)> = self.jobs.iter().filter_map(moved).collect();
        let moved = |(id, state): (&NodeId, &NodeState)| {
            let node = &state.spec.as_deref()?.node;
            let home = self.pools.on(node);
            let is_moved = state.spec.as_deref().is_some_and(|spec| spec.home != home);
            is_moved.then(|| (id.clone(), Spec::new(node.clone(), home)))
        };
        let nodes: Vec<(NodeId, Spec)> = self.nodes.iter().filter_map(moved).collect();
        for (id, home) in jobs {
            self.move_home(&id, home);
        }
        for (id, spec) in nodes {
            self.edit_node(&id, |state| state.spec = Some(Arc::new(spec)));
        }
    }

    /// The work of a job belongs elsewhere from now on. Where it runs, it stays.
    fn move_home(&mut self, id: &JobId, home: Home) {
        let Some(state) = self.jobs.get(id) else {
            return;
        };
        let before = state.job.needs.home.clone();
        let node = |slot: &Slot| slot.node.clone();
        let held = state.tasks.iter().flat_map(Tasks::held);
        let held: Vec<NodeId> = held.map(|(slot, _)| node(slot)).collect();
        let promised = state.nominated.iter().flat_map(Placement::slots);
        let promised: Vec<NodeId> = promised.map(node).collect();
        for node in held {
            self.edit_node(&node, |state| state.held.move_home(&before, &home));
        }
        for node in promised {
            self.edit_node(&node, |state| state.claimed.move_home(&before, &home));
        }
        self.edit(id, |state| Arc::make_mut(&mut state.job).set_home(home));
    }
}
