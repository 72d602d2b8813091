//! What is true at one moment, for readers who do not own the scheduler.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::cluster::Cluster;
use crate::event::Event;
use crate::fragmentation::Mix;
use crate::id::{JobId, NodeId, PodId, TaskId, TenantId};
use crate::invariants::{self, Violation};
use crate::job::{Ask, Hold, Job, Kind, Placement, Shape, Slot};
use crate::node::{Node, NodeState};
use crate::policy::Policy;
use crate::reason::{Outlook, Reason, Verdict};
use crate::resource::{Resource, Resources};
use crate::share::Share;
use crate::standing::JobState;
use crate::task::Progress;
use crate::tenant::Tenant;
use crate::time::Time;
use crate::trial;

/// An immutable view of everything that the core knows. It shares structure with the scheduler
/// that gave it, so it costs next to nothing and never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    cluster: Cluster,
    decided: Time,
}

impl Snapshot {
    pub(crate) const fn new(cluster: Cluster, decided: Time) -> Self {
        Self { cluster, decided }
    }

    /// When the last cycle was.
    #[must_use]
    pub const fn decided(&self) -> Time {
        self.decided
    }

    /// What its administrator chose.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.cluster.policy
    }

    /// When a job started that runs or is about to; `None` while it waits or leaves.
    #[must_use]
    pub fn started(&self, id: &JobId) -> Option<Time> {
        self.cluster.jobs.get(id)?.started
    }

    /// GPU-milliseconds of work that are lost when a job leaves now; 0 while it waits.
    #[must_use]
    pub fn loss(&self, id: &JobId, now: Time) -> u64 {
        let state = self.cluster.jobs.get(id);
        let state = state.filter(|state| state.tasks.is_some());
        state.map_or(0, |state| state.loss(now))
    }

    /// Every node that exists, as it says of itself, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        let specs = self.cluster.nodes.values();
        specs.filter_map(|state| state.spec.as_ref().map(|spec| &spec.node))
    }

    /// Every unfinished job, by namespace and name.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.cluster.jobs.values().map(|state| &*state.job)
    }

    /// A job, if it is unfinished.
    #[must_use]
    pub fn job(&self, id: &JobId) -> Option<&Job> {
        Some(&self.cluster.jobs.get(id)?.job)
    }

    /// What became of a job, as things stand.
    #[must_use]
    pub fn verdict(&self, id: &JobId) -> Option<Verdict> {
        let state = self.cluster.jobs.get(id)?;
        Some(match &state.tasks {
            Some(tasks) => tasks.verdict(),
            None => Verdict::Waiting(trial::why(&self.cluster, state, self.decided)),
        })
    }

    /// Every job that waits, by namespace and name, with the reason. Jobs of one tenant and kind
    /// are looked at once.
    pub fn waiting(&self) -> impl Iterator<Item = (&Job, Reason)> {
        let mut known: BTreeMap<(&TenantId, Kind), Reason> = BTreeMap::new();
        let cluster = &self.cluster;
        let waiting = cluster
            .jobs
            .iter()
            .filter(|(_, state)| state.tasks.is_none());
        waiting.map(move |(id, state)| {
            let special = cluster.evicted.contains_key(id)
                || state.nominated.is_some()
                || trial::is_holder(cluster, id);
            let why = || trial::why(cluster, state, self.decided);
            if special {
                return (&*state.job, why());
            }
            let key = (&state.job.tenant, state.job.kind());
            let reason = known.entry(key).or_insert_with(why).clone();
            (&*state.job, reason)
        })
    }

    /// The jobs that wait for their turn, by namespace and name: nobody holds them, and they can start
    /// some day. Jobs of one tenant and kind are looked at once, and none at what is free.
    pub fn in_turn(&self) -> impl Iterator<Item = &Job> {
        let mut known: BTreeMap<(&TenantId, Kind), bool> = BTreeMap::new();
        let all = self.cluster.jobs.values();
        let waiting = all.filter(|state| state.tasks.is_none());
        let in_turn = waiting.filter(move |state| {
            let key = (&state.job.tenant, state.job.kind());
            *known.entry(key).or_insert_with(|| self.is_in_turn(state))
        });
        in_turn.map(|state| &*state.job)
    }

    /// Whether a job waits for its turn.
    #[must_use]
    pub fn awaits_turn(&self, id: &JobId) -> bool {
        let state = self.cluster.jobs.get(id);
        state.is_some_and(|state| state.tasks.is_none() && self.is_in_turn(state))
    }

    fn is_in_turn(&self, state: &JobState) -> bool {
        trial::outlook(&self.cluster, state) == Outlook::Waiting
    }

    /// Where an admitted job's tasks are to run or run; `None` while it waits or leaves.
    #[must_use]
    pub fn placement(&self, id: &JobId) -> Option<&Placement> {
        let tasks = self.cluster.jobs.get(id)?.tasks.as_ref()?;
        (!tasks.is_leaving()).then_some(&tasks.placement)
    }

    /// The room that is promised to a waiting job, once those that were evicted for it have left.
    #[must_use]
    pub fn promised(&self, id: &JobId) -> Option<&Placement> {
        self.cluster.jobs.get(id)?.nominated.as_ref()
    }

    /// Whether tasks of the job hold places, or are assumed to; also while it leaves.
    #[must_use]
    pub fn holds_places(&self, id: &JobId) -> bool {
        let state = self.cluster.jobs.get(id);
        state.is_some_and(|state| state.tasks.is_some())
    }

    /// The tasks that hold a place, with it.
    pub fn held(&self) -> impl Iterator<Item = (TaskId, &Slot)> {
        self.cluster.jobs.values().flat_map(|state| {
            let tasks = state.tasks.iter().flat_map(move |tasks| {
                let all = (0..).zip(tasks.placement.slots().zip(&tasks.progress));
                all.filter(|(_, (_, progress))| **progress != Progress::Finished)
            });
            tasks.map(|(index, (slot, _))| {
                let job = state.job.id.clone();
                (TaskId { job, index }, slot)
            })
        })
    }

    /// The places that a job holds, also while it leaves, each with its number.
    pub fn places(&self, id: &JobId) -> impl Iterator<Item = (u32, &Slot)> {
        let tasks = self
            .cluster
            .jobs
            .get(id)
            .and_then(|state| state.tasks.as_ref());
        tasks.into_iter().flat_map(|tasks| {
            let all = (0..).zip(tasks.placement.slots().zip(&tasks.progress));
            let held = all.filter(|(_, (_, progress))| **progress != Progress::Finished);
            held.map(|(index, (slot, _))| (index, slot))
        })
    }

    /// Whether a node takes new work: it is known, ready, and repels nobody.
    #[must_use]
    pub fn takes_work(&self, node: &NodeId) -> bool {
        let state = self.cluster.nodes.get(node);
        state.is_some_and(|state| state.open().is_some())
    }

    /// What is neither taken nor assumed on a node, whether or not it takes new work; `None` on a
    /// node that is unknown.
    #[must_use]
    pub fn unused(&self, node: &NodeId) -> Option<Resources> {
        let state = self.cluster.nodes.get(node)?;
        let spec = state.spec.as_ref()?;
        Some(spec.offer.beyond(&state.held.amounts))
    }

    /// Whether a node gives out GPUs as a task of this shape asks for them: in slots that are large
    /// enough for its share, or in instances of its profile. Whole cards are counted, not asked about.
    #[must_use]
    pub fn gives(&self, node: &NodeId, shape: &Shape) -> bool {
        let state = self.cluster.nodes.get(node);
        let spec = state.and_then(|state| state.spec.as_deref());
        let ask = Ask::of(&shape.task, &shape.needs);
        spec.zip(ask)
            .is_some_and(|(spec, ask)| spec.room.gives(&ask))
    }

    /// Milli-GPU that a task of this shape has on a node, whether or not there is room; what it asks
    /// for on a node that is unknown.
    #[must_use]
    pub fn milli_on(&self, node: &NodeId, shape: &Shape) -> u64 {
        let state = self.cluster.nodes.get(node);
        let spec = state.and_then(|state| state.spec.as_deref());
        let ask = Ask::of(&shape.task, &shape.needs);
        let known = spec.zip(ask);
        let asked = shape.task.get(Resource::Gpu);
        known.map_or(asked, |(spec, ask)| spec.room.milli_for(&ask))
    }

    /// What of a node is promised to jobs for which others leave.
    #[must_use]
    pub fn promised_on(&self, node: &NodeId) -> Resources {
        let state = self.cluster.nodes.get(node);
        state.map_or(Resources::ZERO, |state| state.claimed.amounts)
    }

    /// Whether a task of this shape finds its GPUs on a node beside what is taken, assumed or promised there
    /// and `coming` milli-GPU more, whether or not the node takes new work; `None` on a node that is
    /// unknown.
    #[must_use]
    pub fn has_gpus(&self, node: &NodeId, shape: &Shape, coming: u64) -> Option<bool> {
        let mut state = self.cluster.nodes.get(node)?.clone();
        let gpu = state.held.amounts.get(Resource::Gpu).saturating_add(coming);
        state.held.amounts = state.held.amounts.with(Resource::Gpu, gpu);
        let room = state.room_left()?;
        let ask = Ask::of(&shape.task, &shape.needs);
        Some(ask.is_some_and(|ask| room.times(&shape.task, &ask) > 0))
    }

    /// Whether a pod that is no task of a job is known to take room.
    #[must_use]
    pub fn counts(&self, pod: &PodId) -> bool {
        self.cluster.pods.contains_key(pod)
    }

    /// What a pod that is no task of a job takes, and where.
    #[must_use]
    pub fn taken_by(&self, pod: &PodId) -> Option<(&NodeId, &Resources)> {
        let guest = self.cluster.pods.get(pod)?;
        Some((&guest.node, &guest.takes))
    }

    /// Whether more is taken or assumed on a node than it offers.
    #[must_use]
    pub fn is_overfull(&self, node: &NodeId) -> bool {
        let state = self.cluster.nodes.get(node);
        let holds = |state: &NodeState| state.spec.as_ref().is_some_and(|s| state.held.fits_in(s));
        state.is_some_and(|state| !holds(state))
    }

    /// What new work can have on a node now; nothing on one that is unknown or takes none.
    #[must_use]
    pub fn free(&self, node: &NodeId) -> Resources {
        let state = self.cluster.nodes.get(node);
        state.and_then(NodeState::free).unwrap_or_default()
    }

    /// What the nodes that take new work offer in all.
    #[must_use]
    pub fn capacity(&self) -> Resources {
        self.cluster.capacity
    }

    /// The tenants that are described, by name.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.cluster
            .tenants
            .values()
            .filter_map(|state| state.spec.as_deref())
    }

    /// What a tenant's jobs hold or are assumed to hold.
    #[must_use]
    pub fn usage(&self, tenant: &TenantId) -> Resources {
        let state = self.cluster.tenants.get(tenant);
        state.map_or(Resources::ZERO, |state| state.usage)
    }

    /// A tenant's weighted dominant share of what it borrows, among those beside it in the tree.
    #[must_use]
    pub fn share(&self, tenant: &TenantId) -> Option<Share> {
        let tree = &self.cluster.tree;
        let all = Resource::ALL
            .into_iter()
            .fold(Resources::ZERO, |all, r| all.with(r, 1));
        Some(tree.share_now(tree.seat(tenant)?, &all))
    }

    /// What a tenant and all below it use, less what these keep for themselves.
    #[must_use]
    pub fn tree_usage(&self, tenant: &TenantId) -> Option<Resources> {
        let tree = &self.cluster.tree;
        Some(*tree.usage(tree.seat(tenant)?))
    }

    /// What a tenant and all below it own, less what these keep for themselves.
    #[must_use]
    pub fn subtree(&self, tenant: &TenantId) -> Option<Resources> {
        let tree = &self.cluster.tree;
        Some(*tree.subtree(tree.seat(tenant)?))
    }

    /// What a tenant holds above what it owns.
    #[must_use]
    pub fn borrowed(&self, tenant: &TenantId) -> Option<Resources> {
        let tree = &self.cluster.tree;
        Some(tree.borrowed(tree.seat(tenant)?))
    }

    /// What a tenant could hold if nobody else held anything.
    #[must_use]
    pub fn potential(&self, tenant: &TenantId) -> Option<Resources> {
        let tree = &self.cluster.tree;
        Some(*tree.potential(tree.seat(tenant)?))
    }

    /// The job for which nodes are reserved, with them.
    #[must_use]
    pub fn reservation(&self) -> Option<(&JobId, impl Iterator<Item = &NodeId>)> {
        let reservation = self.cluster.reservation.as_ref()?;
        Some((&reservation.job, reservation.nodes.iter()))
    }

    /// Milli-GPU that are free on nodes that take new work, in millionths, that the typical
    /// tasks cannot use.
    #[must_use]
    pub fn fragments(&self) -> u64 {
        let rooms = self.cluster.nodes.values().filter_map(NodeState::room);
        rooms
            .map(|room| self.cluster.policy.mix.fragments(&room))
            .sum()
    }

    /// Milli-GPU that are free on one node, in millionths, that these tasks cannot use. None on
    /// a node that takes no new work.
    #[must_use]
    pub fn fragments_on(&self, node: &NodeId, mix: &Mix) -> u64 {
        let room = self.cluster.nodes.get(node).and_then(NodeState::room);
        room.map_or(0, |room| mix.fragments(&room))
    }

    /// Facts that lead a new scheduler of the same policy to this very state: what a restart
    /// learns by listing. A reservation and who may not evict are decided anew.
    #[must_use]
    pub fn facts(&self) -> Vec<Event> {
        let Cluster {
            nodes,
            tenants,
            jobs,
            pods,
            ..
        } = &self.cluster;
        let specs = nodes.values().filter_map(|state| state.spec.as_ref());
        let nodes = specs.map(|spec| Event::NodeSeen(spec.node.clone()));
        let described = tenants
            .values()
            .filter_map(|state| state.spec.as_deref().cloned());
        let past = tenants.iter().map(|(id, state)| {
            let (used, at) = state.past.parts();
            Event::TenantUsed(id.clone(), used, at)
        });
        let pods = pods.iter().flat_map(|(pod, guest)| {
            let (node, others) = (guest.node.clone(), guest.others.clone());
            let bound = Event::PodBound(pod.clone(), node, guest.takes, others);
            let tenant = guest.charged.as_ref().map(|(tenant, _)| tenant.clone());
            let charged = tenant.map(|tenant| Event::PodCharged(pod.clone(), tenant));
            core::iter::once(bound).chain(charged)
        });
        let facts = nodes.chain(described.map(Event::TenantChanged));
        facts
            .chain(pods)
            .chain(jobs.values().flat_map(job_facts))
            .chain(past.filter(|_| self.cluster.policy.half_life.is_some()))
            .collect()
    }

    /// What is wrong with this state; nothing ever should be.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        invariants::violations(&self.cluster)
    }
}

fn job_facts(state: &JobState) -> Vec<Event> {
    let job = &state.job;
    let submitted = |hold| {
        Event::JobSubmitted(Job {
            hold,
            ..Job::clone(job)
        })
    };
    let mut facts = Vec::from([submitted(state.tasks.as_ref().map_or(job.hold, |_| None))]);
    if !state.ran.is_zero() {
        facts.push(Event::JobRan(job.id.clone(), state.ran));
    }
    let left = (state.evictions > 0).then(|| Event::JobLeft(job.id.clone(), state.evictions));
    if let Some(placement) = &state.nominated {
        facts.push(Event::JobNominated(job.id.clone(), placement.clone()));
    }
    let Some(tasks) = &state.tasks else {
        facts.extend(left);
        return facts;
    };
    let started = state.started.unwrap_or_default();
    facts.push(Event::JobAdmitted(
        job.id.clone(),
        tasks.placement.clone(),
        started,
    ));
    facts.push(Event::JobCheckpointed(job.id.clone(), state.saved));
    if tasks.is_released() {
        facts.push(Event::JobReleased(job.id.clone()));
    }
    for (index, (slot, progress)) in (0..).zip(tasks.placement.slots().zip(&tasks.progress)) {
        let job = job.id.clone();
        let task = TaskId { job, index };
        facts.extend(match progress {
            Progress::Assumed => None,
            Progress::Bound => Some(Event::TaskBound(task, slot.node.clone())),
            Progress::Finished => Some(Event::TaskFinished(task)),
        });
    }
    if state.evicting {
        facts.push(Event::JobEvicted(job.id.clone()));
    } else if tasks.requeues() {
        facts.push(submitted(Some(Hold::User)));
    } else if tasks.is_leaving() {
        facts.push(Event::JobWithdrawn(job.id.clone()));
    }
    if !state.ran.is_zero() {
        facts.push(Event::JobRan(job.id.clone(), state.ran));
    }
    // The eviction under way counts as one.
    facts.extend(left);
    facts.push(submitted(job.hold));
    facts
}
