//! Sums of what is offered, held, promised and charged. Each has one place where it grows and
//! one where it shrinks.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::time::Duration;

use crate::cluster::{Cluster, TenantState};
use crate::history::Past;
use crate::id::{JobId, NodeId, PodId, TenantId};
use crate::job::{Ask, Job, Placement, Slot};
use crate::node::{Node, NodeState, Spec, grown, shrunk};
use crate::others::Others;
use crate::pairs::Pairs;
use crate::pool::Pools;
use crate::resource::{Resource, Resources};
use crate::room::Grant;
use crate::share::Share;
use crate::task::Tasks;
use crate::tenant::Tenant;
use crate::time::Time;
use crate::tree::{Seat, Tree};

/// A pod that is no task of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guest {
    pub(crate) node: NodeId,
    pub(crate) takes: Resources,
    pub(crate) others: Others,
    /// Who is charged for it, and how much.
    pub(crate) charged: Option<(TenantId, Resources)>,
}

impl Guest {
    /// One that nobody is charged for.
    pub(crate) fn new(node: NodeId, takes: &Resources, others: Others) -> Self {
        Self {
            node,
            takes: takes.bounded(),
            others,
            charged: None,
        }
    }
}

impl Cluster {
    pub(crate) fn describe_node(&mut self, node: Node) {
        let known = self
            .nodes
            .get(&node.id)
            .and_then(|state| state.spec.as_ref());
        if known.is_some_and(|known| known.node == node) {
            return;
        }
        self.evicted = crate::cluster::Map::default();
        let id = node.id.clone();
        let home = self.pools.on(&node);
        let spec = Arc::new(Spec::new(node, home));
        self.edit_node(&id, |state| state.spec = Some(spec));
    }

    pub(crate) fn forget_node(&mut self, id: &NodeId) {
        self.edit_node(id, |state| state.spec = None);
    }

    pub(crate) fn device_health(&mut self, id: &NodeId, device: u32, works: bool) {
        let known = self.nodes.get(id).and_then(|state| state.spec.as_ref());
        let Some(spec) = known else {
            return;
        };
        let mut node = spec.node.clone();
        let device = core::iter::once(device).collect();
        if works {
            node.gpus.unhealthy.remove(&device);
        } else {
            node.gpus.unhealthy.insert(&device);
        }
        self.describe_node(node);
    }

    pub(crate) fn describe_tenant(&mut self, id: &TenantId, spec: Option<Tenant>) {
        let known = self.tenants.get(id).and_then(|state| state.spec.as_deref());
        if known == spec.as_ref() {
            return;
        }
        self.evicted = crate::cluster::Map::default();
        let names_pool = |spec: Option<&Tenant>| spec.is_some_and(|spec| spec.pool.is_some());
        let concerns_pools = *self.pools != Pools::default() || names_pool(spec.as_ref());
        self.edit_tenant(id, |state| state.spec = spec.map(Arc::new));
        self.tree_is_stale = true;
        if concerns_pools {
            self.settle_pools();
        }
    }

    pub(crate) fn past_of(&mut self, id: &TenantId, used: u128, at: Time) {
        self.edit_tenant(id, |state| state.past = Past::new(used, at));
    }

    /// One more job names this tenant, or one less.
    pub(crate) fn count_job(&mut self, id: &TenantId, comes: bool) {
        self.tree_is_stale |= self.tree.seat(id).is_none();
        self.edit_tenant(id, |state| {
            state.jobs = if comes {
                state.jobs + 1
            } else {
                state.jobs - 1
            };
        });
    }

    /// Brings the tree of tenants up to date.
    pub(crate) fn settle_tree(&mut self) {
        if !core::mem::take(&mut self.tree_is_stale) {
            return;
        }
        let described = self
            .tenants
            .values()
            .filter_map(|state| state.spec.as_deref());
        let bare = self
            .tenants
            .iter()
            .filter(|(_, state)| state.spec.is_none());
        let mut tree = Tree::new(described, bare.map(|(id, _)| id), &self.capacity);
        for (id, state) in &self.tenants {
            if let Some(seat) = tree.seat(id) {
                tree.add(seat, &state.usage);
            }
        }
        self.tree = tree;
    }

    /// Takes places for tasks of a job.
    pub(crate) fn take<'s>(&mut self, job: &Job, slots: impl Iterator<Item = &'s Slot>) {
        self.edit_places(slots, |node, slot, pairs| {
            node.held.take_for(job, slot, pairs);
        });
    }

    /// Promises places, or takes the promise back.
    pub(crate) fn claim<'s>(
        &mut self,
        job: &Job,
        slots: impl Iterator<Item = &'s Slot>,
        promise: bool,
    ) {
        self.edit_places(slots, |node, slot, pairs| {
            if promise {
                node.claimed.take_for(job, slot, pairs);
            } else {
                node.claimed.give_back_for(job, slot, pairs);
            }
        });
    }

    /// Frees places of a job.
    fn vacate_places<'s>(&mut self, job: &Job, slots: impl Iterator<Item = &'s Slot>) {
        self.edit_places(slots, |node, slot, pairs| {
            node.held.give_back_for(job, slot, pairs);
        });
    }

    /// Changes what is taken of the nodes of some places: each node at once for those places on it
    /// that follow each other.
    fn edit_places<'s>(
        &mut self,
        slots: impl Iterator<Item = &'s Slot>,
        edit: impl Fn(&mut NodeState, &Slot, &Pairs),
    ) {
        let policy = self.policy.clone();
        let mut slots = slots.peekable();
        while let Some(first) = slots.next() {
            self.edit_node(&first.node, |node| {
                edit(node, first, &policy.pairs);
                while let Some(next) = slots.next_if(|next| next.node == first.node) {
                    edit(node, next, &policy.pairs);
                }
            });
        }
    }

    /// Frees places, and the charge for them where there is one.
    pub(crate) fn give_back(&mut self, now: Time, job: &Job, slots: &[Slot], charged: bool) {
        self.vacate_places(job, slots.iter());
        if charged {
            self.age(now, &job.tenant);
            self.uncharge(job, slots.iter());
        }
    }

    pub(crate) fn charge<'s>(
        &mut self,
        now: Time,
        job: &Job,
        slots: impl Iterator<Item = &'s Slot>,
    ) {
        self.age(now, &job.tenant);
        self.add_usage(&job.tenant, &charges(job, slots));
    }

    fn add_usage(&mut self, id: &TenantId, more: &Resources) {
        self.edit_tenant(id, |tenant| {
            tenant.usage = grown(&tenant.usage, more);
        });
        if !self.tree_is_stale
            && let Some(seat) = self.tree.seat(id)
        {
            self.tree.add(seat, more);
        }
    }

    fn remove_usage(&mut self, id: &TenantId, less: &Resources) {
        self.edit_tenant(id, |tenant| {
            tenant.usage = shrunk(&tenant.usage, less);
        });
        if !self.tree_is_stale
            && let Some(seat) = self.tree.seat(id)
        {
            self.tree.remove(seat, less);
        }
    }

    pub(crate) fn uncharge<'s>(&mut self, job: &Job, slots: impl Iterator<Item = &'s Slot>) {
        self.remove_usage(&job.tenant, &charges(job, slots));
    }

    /// Takes all that a job still holds out of its tenant's usage.
    pub(crate) fn uncharge_all(&mut self, now: Time, id: &JobId) {
        let Some((job, tasks)) = self.running(id) else {
            return;
        };
        let less = charges(job, tasks.held().map(|(slot, _)| slot));
        let tenant = job.tenant.clone();
        self.age(now, &tenant);
        self.remove_usage(&tenant, &less);
    }

    /// As if a running job had left: what would be free then, and what its tenant would hold. For
    /// trials only: nodes and the tree of tenants change, what is known of each job and tenant does not.
    pub(crate) fn vacate(&mut self, job: &Job, tasks: &Tasks) {
        self.clear(job, tasks);
        if let Some(seat) = self.tree.seat(&job.tenant) {
            let less = charges(job, tasks.held().map(|(slot, _)| slot));
            self.tree.remove(seat, &less);
        }
    }

    /// As if a job that was evicted were gone: it is no longer charged. For trials only.
    pub(crate) fn clear(&mut self, job: &Job, tasks: &Tasks) {
        self.vacate_places(job, tasks.held().map(|(slot, _)| slot));
    }

    /// As if a job that left in a trial had not. For trials only.
    pub(crate) fn reoccupy(&mut self, job: &Job, tasks: &Tasks) {
        self.take(job, tasks.held().map(|(slot, _)| slot));
        if let Some(seat) = self.tree.seat(&job.tenant) {
            let more = charges(job, tasks.held().map(|(slot, _)| slot));
            self.tree.add(seat, &more);
        }
    }

    /// A job that holds places, with these.
    pub(crate) fn running(&self, id: &JobId) -> Option<(&Arc<Job>, &Tasks)> {
        let state = self.jobs.get(id)?;
        Some((&state.job, state.tasks.as_ref()?))
    }

    /// What a tenant and all below it have used in the past, by weight.
    pub(crate) fn past(&self, seat: Seat, now: Time) -> Share {
        let Some(half_life) = self.policy.half_life else {
            return Share::ZERO;
        };
        let used = self.used_below(seat, now, half_life);
        let used = u64::try_from(used >> 16).unwrap_or(u64::MAX);
        Share::new(used, 1, self.tree.weight(seat))
    }

    fn used_below(&self, seat: Seat, now: Time, half_life: Duration) -> u128 {
        let state = self.tenants.get(self.tree.id(seat));
        let own = state.map_or(0, |state| {
            let held = state.usage.get(Resource::Gpu);
            state.past.counts(now, half_life, held)
        });
        let children = self.tree.children(seat).iter();
        own + children
            .map(|child| self.used_below(*child, now, half_life))
            .sum::<u128>()
    }

    /// Counts what a tenant has used until now, before its usage changes.
    fn age(&mut self, now: Time, tenant: &TenantId) {
        let Some(half_life) = self.policy.half_life else {
            return;
        };
        self.edit_tenant(tenant, |state| {
            state.past = state
                .past
                .at(now, half_life, state.usage.get(Resource::Gpu));
        });
    }

    pub(crate) fn pod_bound(&mut self, now: Time, pod: PodId, guest: Guest) {
        let known = self.pods.get(&pod);
        let tenant = known.and_then(|known| Some(known.charged.as_ref()?.0.clone()));
        self.pod_gone(now, &pod);
        self.edit_node(&guest.node, |state| {
            state.held.amounts = grown(&state.held.amounts, &guest.takes);
            state.held.others.grow(&guest.others);
        });
        self.pods.insert_mut(pod.clone(), guest);
        if let Some(tenant) = tenant {
            self.pod_charged(now, &pod, &tenant);
        }
    }

    pub(crate) fn pod_charged(&mut self, now: Time, pod: &PodId, tenant: &TenantId) {
        let known = self.pods.get(pod);
        let Some(guest) = known.filter(|guest| guest.charged.is_none()) else {
            return;
        };
        let mut guest = guest.clone();
        let node = self.nodes.get(&guest.node);
        let model = node.and_then(|state| Some(state.spec.as_ref()?.node.gpus.model.clone()));
        let gpu = guest.takes.get(Resource::Gpu);
        let gpu = self.policy.charge(&model.unwrap_or_default(), gpu);
        let charge = guest.takes.with(Resource::Gpu, gpu);
        self.tree_is_stale |= self.tree.seat(tenant).is_none();
        self.age(now, tenant);
        self.add_usage(tenant, &charge);
        guest.charged = Some((tenant.clone(), charge));
        self.pods.insert_mut(pod.clone(), guest);
    }

    pub(crate) fn pod_gone(&mut self, now: Time, pod: &PodId) {
        let Some(guest) = self.pods.get(pod).cloned() else {
            return;
        };
        self.edit_node(&guest.node, |state| {
            state.held.amounts = shrunk(&state.held.amounts, &guest.takes);
            state.held.others.shrink(&guest.others);
        });
        if let Some((tenant, charge)) = &guest.charged {
            self.age(now, tenant);
            self.remove_usage(tenant, charge);
        }
        self.pods.remove_mut(pod);
    }

    /// What one task of a job has on a node, whether or not it fits there.
    pub(crate) fn slot_on(&self, job: &Job, node: NodeId) -> Slot {
        let ask = Ask::of(&job.task, &job.needs).unwrap_or(Ask::Nothing);
        let room = self.nodes.get(&node).and_then(NodeState::room_unclaimed);
        match room {
            Some(room) => room
                .grant_anyway(&job.task, &ask)
                .slot(&self.policy, &room, &node),
            None => Grant::unseen(&job.task, &ask).slot_unseen(&node),
        }
    }

    /// A placement from a record, as these tasks hold it on the nodes as they are now, less the
    /// GPUs that others are already expected to have.
    pub(crate) fn as_taken(&self, job: &Job, placement: &Placement) -> Placement {
        let ask = Ask::of(&job.task, &job.needs).unwrap_or(Ask::Nothing);
        let mut nodes: BTreeMap<NodeId, NodeState> = BTreeMap::new();
        let slot = |slot: &Slot| {
            let known = || self.nodes.get(&slot.node).cloned().unwrap_or_default();
            let node = nodes.entry(slot.node.clone()).or_insert_with(known);
            let held = match node.room_unclaimed() {
                Some(room) => {
                    let grant = room.grant_of(&job.task, &ask, (&slot.devices, &node.held.devices));
                    grant.slot(&self.policy, &room, &slot.node)
                }
                None => {
                    let unseen = Grant::unseen(&job.task, &ask);
                    let devices = unseen.devices_of(&slot.devices, &node.held.devices);
                    Grant { devices, ..unseen }.slot_unseen(&slot.node)
                }
            };
            node.held.take(job, &held);
            held
        };
        placement.slots().map(slot).collect()
    }

    pub(crate) fn edit_node(&mut self, id: &NodeId, edit: impl FnOnce(&mut NodeState)) {
        let mut new = NodeState::default();
        let known = self.nodes.get_mut(id);
        let is_known = known.is_some();
        let state = known.unwrap_or(&mut new);
        let before = worth(&self.policy, state);
        edit(state);
        let after = worth(&self.policy, state);
        match (is_known, state.is_empty()) {
            (true, true) => drop(self.nodes.remove_mut(id)),
            (false, false) => self.nodes.insert_mut(id.clone(), new),
            _ => {}
        }
        self.free = grown(&shrunk(&self.free, &before.1), &after.1);
        if before.0 != after.0 {
            self.capacity = grown(&shrunk(&self.capacity, &before.0), &after.0);
            if !self.tree_is_stale {
                self.tree.fit(&self.capacity);
            }
        }
        self.news.nodes.insert(id.clone());
    }

    fn edit_tenant(&mut self, id: &TenantId, edit: impl FnOnce(&mut TenantState)) {
        let mut new = TenantState::default();
        let known = self.tenants.get_mut(id);
        let is_known = known.is_some();
        let state = known.unwrap_or(&mut new);
        edit(state);
        match (is_known, state.is_empty()) {
            (_, true) => {
                self.tenants.remove_mut(id);
                self.tree_is_stale = true;
            }
            (false, false) => self.tenants.insert_mut(id.clone(), new),
            (true, false) => {}
        }
    }
}

/// What a node offers to new work and what of it is free, GPUs by their value.
pub(crate) fn worth(policy: &crate::policy::Policy, state: &NodeState) -> (Resources, Resources) {
    let Some(spec) = state.open() else {
        return (Resources::ZERO, Resources::ZERO);
    };
    let valued = |amounts: Resources| {
        let gpu = policy.charge(&spec.node.gpus.model, amounts.get(Resource::Gpu));
        amounts.with(Resource::Gpu, gpu)
    };
    (valued(spec.offer), valued(state.free().unwrap_or_default()))
}

/// What a job is charged for these places.
pub(crate) fn charges<'s>(job: &Job, slots: impl Iterator<Item = &'s Slot>) -> Resources {
    slots.fold(Resources::ZERO, |sum, slot| {
        grown(&sum, &slot.charges(&job.task))
    })
}
