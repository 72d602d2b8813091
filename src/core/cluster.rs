//! The ground state: what is known, what is held, and what is only assumed to be held.
//!
//! ```text
//!            observe(JobSubmitted)      cycle: Admit           TaskBound
//!   unknown ───────────────► waiting ───────────► assumed ───────────────► bound
//!      ▲                      ▲  ▲ │                 │                       │
//!      └── JobWithdrawn ──────┼──┼─┘   DecisionFailed│          TaskFinished │
//!      │                      │  └───────────────────┘                       │
//!      │                      └── if its user holds it ◄─────────────────────┤
//!      └──────────────────────────────────────── otherwise ◄─────────────────┘
//! ```
//!
//! Capacity counts as taken from the moment it is assumed until the last holder is known to be
//! gone. Time alone frees nothing. Sums are kept here and nowhere else; each has one place where
//! it grows and one where it shrinks.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use crate::device::Devices;
use crate::event::Event;
use crate::id::{JobId, NodeId, PodId, TenantId};
use crate::job::{Job, Kind, Placement, Slot};
use crate::node::NodeState;
use crate::placement::Rooms;
use crate::queue::{Order, Turn};
use crate::reason::{Reason, Verdict};
use crate::resource::Resources;
use crate::task::{Binding, Leaving, Tasks};
use crate::tenant::TenantState;

type Map<K, V> = RedBlackTreeMapSync<K, V>;

/// Everything that the core knows. Its maps share structure, so that a clone costs nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Cluster {
    pub(crate) order: Order,
    pub(crate) nodes: Map<NodeId, NodeState>,
    /// What the nodes that take new work have free. Follows from `nodes`.
    pub(crate) rooms: Rooms,
    /// What the nodes that take new work offer in all. Follows from `nodes`.
    capacity: Resources,
    pub(crate) tenants: Map<TenantId, TenantState>,
    pub(crate) jobs: Map<JobId, JobState>,
    /// Pods that are no tasks of ours, with what they take and where.
    pub(crate) pods: Map<PodId, (NodeId, Resources)>,
    /// Jobs with places whose verdict has changed since the last explanation.
    untold: RedBlackTreeSetSync<JobId>,
}

/// A job with what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobState {
    pub(crate) job: Job,
    /// Where its tasks are; `None` while it waits.
    pub(crate) tasks: Option<Tasks>,
}

impl Cluster {
    /// Nothing is known yet.
    pub(crate) fn new(order: Order) -> Self {
        Self {
            order,
            ..Self::default()
        }
    }

    /// Records a fact. See [`Event`] for what each means.
    pub(crate) fn observe(&mut self, event: Event) {
        match event {
            Event::NodeSeen(node) => {
                let id = node.id.clone();
                self.edit_node(&id, |state| state.spec = Some(node));
            }
            Event::NodeGone(node) => self.edit_node(&node, |state| state.spec = None),
            Event::TenantChanged(tenant) => {
                let id = tenant.id.clone();
                self.edit_tenant(&id, |state| state.spec = Some(tenant));
            }
            Event::TenantGone(tenant) => self.edit_tenant(&tenant, |state| state.spec = None),
            Event::JobSubmitted(job) => self.submit(job),
            Event::JobWithdrawn(job) => self.leave(&job, Leaving::ForGood),
            Event::JobAdmitted(job, placement) => self.adopt(&job, &placement),
            Event::TaskBound(task, node) => self.bind(&task.job, task.index, node),
            Event::TaskFinished(task) => self.finish(&task.job, task.index),
            Event::PodBound(pod, node, takes) => self.pod_bound(pod, node, &takes.bounded()),
            Event::PodGone(pod) => self.pod_gone(&pod),
            Event::DecisionFailed(job) => self.forget(&job),
        }
    }

    /// What the nodes that take new work offer in all.
    pub(crate) const fn capacity(&self) -> Resources {
        self.capacity
    }

    /// The free devices of the planned nodes, task by task.
    pub(crate) fn with_devices(&self, job: &Job, nodes: &[NodeId]) -> Placement {
        let mut scratch = self.nodes.clone();
        let slot = |node: &NodeId| {
            let state = scratch.get_mut(node)?;
            let devices = state.devices_for(&job.task);
            state.devices.insert(&devices);
            Some(Slot {
                node: node.clone(),
                devices,
            })
        };
        nodes.iter().filter_map(slot).collect()
    }

    /// Takes what an admission needs, until events confirm it.
    pub(crate) fn assume(&mut self, id: &JobId, placement: &Placement) {
        let Some(mut state) = self.jobs.get(id).cloned() else {
            return;
        };
        self.edit_tenant(&state.job.tenant, |tenant| tenant.queue.remove(&state.job));
        for slot in placement.slots() {
            self.take(&state.job, slot);
        }
        state.tasks = Some(Tasks::assumed(placement.clone()));
        self.put(state);
    }

    /// Tells a tenant's waiting jobs why they wait, and answers with those that did not know, in
    /// the order of the queue.
    pub(crate) fn tell(
        &mut self,
        tenant: &TenantId,
        reasons: &[(Kind, Reason)],
    ) -> Vec<(JobId, Verdict)> {
        let Some(mut state) = self.tenants.get(tenant).cloned() else {
            return Vec::new();
        };
        let mut told: Vec<(Turn, Reason)> = Vec::new();
        for (kind, reason) in reasons {
            let turns = state.queue.tell(*kind, *reason);
            told.extend(turns.into_iter().map(|turn| (turn, *reason)));
        }
        if !told.is_empty() {
            self.tenants.insert_mut(tenant.clone(), state);
        }
        told.sort_by(|(a, _), (b, _)| a.cmp(b));
        let verdict = |(turn, reason): (Turn, Reason)| (turn.job, Verdict::Waiting(reason));
        told.into_iter().map(verdict).collect()
    }

    /// The verdicts on jobs with places that have changed since this was last asked.
    pub(crate) fn tell_placed(&mut self) -> Vec<(JobId, Verdict)> {
        let untold = core::mem::take(&mut self.untold);
        let verdict = |id: &JobId| Some((id.clone(), self.jobs.get(id)?.tasks.as_ref()?.verdict()));
        untold.iter().filter_map(verdict).collect()
    }

    fn submit(&mut self, job: Job) {
        let known = self.jobs.get(&job.id).cloned();
        match known {
            Some(state) if state.tasks.is_some() => self.resubmit(state, &job),
            Some(state) if state.job == job => {}
            Some(state) => {
                self.edit_tenant(&state.job.tenant, |tenant| tenant.queue.remove(&state.job));
                self.enqueue(job);
            }
            None => self.enqueue(job),
        }
    }

    /// A job that has places keeps its shape; only its user's hold is heeded.
    fn resubmit(&mut self, mut state: JobState, job: &Job) {
        state.job.held = job.held;
        self.put(state);
        if job.held {
            self.leave(&job.id, Leaving::ToTheQueue);
        }
    }

    fn enqueue(&mut self, job: Job) {
        self.edit_tenant(&job.tenant, |tenant| tenant.queue.insert(&job));
        let state = JobState { tasks: None, job };
        self.put(state);
    }

    /// The job's places are to be given up: at once those that no task has taken up.
    fn leave(&mut self, id: &JobId, leaving: Leaving) {
        let Some(mut state) = self.jobs.get(id).cloned() else {
            return;
        };
        if let Some(tasks) = &mut state.tasks {
            for slot in tasks.leave(leaving) {
                self.give_back(&state.job, &slot);
            }
            self.settle(state);
        } else if leaving == Leaving::ForGood {
            self.edit_tenant(&state.job.tenant, |tenant| tenant.queue.remove(&state.job));
            self.jobs.remove_mut(id);
        }
    }

    fn adopt(&mut self, id: &JobId, placement: &Placement) {
        let Some(state) = self.jobs.get(id) else {
            return;
        };
        let whole = usize::try_from(state.job.gang) == Ok(placement.slots().len());
        let wanted = !state.job.held && state.job.shape().request().is_some();
        if state.tasks.is_none() && whole && wanted {
            self.assume(id, &self.without_taken(placement));
        }
    }

    /// The placement less the GPUs that others are already expected to have.
    fn without_taken(&self, placement: &Placement) -> Placement {
        let mut taken: BTreeMap<NodeId, Devices> = BTreeMap::new();
        let known = |node: &NodeId| self.nodes.get(node).map(|state| state.devices.clone());
        let free = |slot: &Slot| {
            let taken = taken
                .entry(slot.node.clone())
                .or_insert_with(|| known(&slot.node).unwrap_or_default());
            let mut devices = slot.devices.clone();
            devices.remove(taken);
            taken.insert(&devices);
            let node = slot.node.clone();
            Slot { node, devices }
        };
        placement.slots().map(free).collect()
    }

    fn bind(&mut self, id: &JobId, index: u32, node: NodeId) {
        let Some(mut state) = self.jobs.get(id).cloned() else {
            return;
        };
        let Some(tasks) = &mut state.tasks else {
            return;
        };
        let Some(binding) = tasks.bind(index, &node) else {
            return;
        };
        if let Binding::Elsewhere(planned) = &binding {
            self.give_back(&state.job, planned);
        }
        if binding != Binding::AsPlanned {
            let there = self.nodes.get(&node);
            let devices = there
                .map(|n| n.devices_for(&state.job.task))
                .unwrap_or_default();
            let actual = Slot { node, devices };
            self.take(&state.job, &actual);
            tasks.move_to(index, &actual);
        }
        self.put(state);
    }

    fn finish(&mut self, id: &JobId, index: u32) {
        let Some(mut state) = self.jobs.get(id).cloned() else {
            return;
        };
        let slot = state.tasks.as_mut().and_then(|tasks| tasks.finish(index));
        if let Some(slot) = slot {
            self.give_back(&state.job, &slot);
            self.settle(state);
        }
    }

    fn forget(&mut self, id: &JobId) {
        let assumed = |tasks: &Tasks| tasks.all_assumed();
        let state = self.jobs.get(id);
        if state
            .and_then(|state| state.tasks.as_ref())
            .is_some_and(assumed)
        {
            self.leave(id, Leaving::ToTheQueue);
        }
    }

    /// Keeps the job while it holds a place; then it is over, or queues again.
    fn settle(&mut self, state: JobState) {
        let left = state.tasks.as_ref().and_then(Tasks::left);
        match left {
            None => self.put(state),
            Some(Leaving::ToTheQueue) => self.enqueue(state.job),
            Some(Leaving::ForGood) => {
                self.untold.remove_mut(&state.job.id);
                self.jobs.remove_mut(&state.job.id);
            }
        }
    }

    /// Replaces what is known of a job, and notes when its verdict is another one now.
    fn put(&mut self, state: JobState) {
        let id = &state.job.id;
        let before = self.jobs.get(id).and_then(|known| known.tasks.as_ref());
        let (before, after) = (
            before.map(Tasks::verdict),
            state.tasks.as_ref().map(Tasks::verdict),
        );
        if after.is_none() {
            self.untold.remove_mut(id);
        } else if before != after {
            self.untold.insert_mut(id.clone());
        }
        self.jobs.insert_mut(id.clone(), state);
    }

    fn take(&mut self, job: &Job, slot: &Slot) {
        self.edit_node(&slot.node, |node| {
            node.used = grown(&node.used, &job.task);
            node.devices.insert(&slot.devices);
        });
        self.edit_tenant(&job.tenant, |tenant| {
            tenant.usage = grown(&tenant.usage, &job.task);
        });
    }

    fn give_back(&mut self, job: &Job, slot: &Slot) {
        self.edit_node(&slot.node, |node| {
            node.used = shrunk(&node.used, &job.task);
            node.devices.remove(&slot.devices);
        });
        self.edit_tenant(&job.tenant, |tenant| {
            tenant.usage = shrunk(&tenant.usage, &job.task);
        });
    }

    fn pod_bound(&mut self, pod: PodId, node: NodeId, takes: &Resources) {
        self.pod_gone(&pod);
        self.edit_node(&node, |state| state.used = grown(&state.used, takes));
        self.pods.insert_mut(pod, (node, *takes));
    }

    fn pod_gone(&mut self, pod: &PodId) {
        if let Some((node, takes)) = self.pods.get(pod).cloned() {
            self.edit_node(&node, |state| state.used = shrunk(&state.used, &takes));
            self.pods.remove_mut(pod);
        }
    }

    fn edit_node(&mut self, id: &NodeId, edit: impl FnOnce(&mut NodeState)) {
        let mut state = self.nodes.get(id).cloned().unwrap_or_default();
        if let Some((offer, free)) = state.offer().zip(state.free()) {
            self.capacity = shrunk(&self.capacity, &offer);
            self.rooms.remove(id, &free);
        }
        edit(&mut state);
        if let Some((offer, free)) = state.offer().zip(state.free()) {
            self.capacity = grown(&self.capacity, &offer);
            self.rooms.insert(id, &free);
        }
        if state.is_empty() {
            self.nodes.remove_mut(id);
        } else {
            self.nodes.insert_mut(id.clone(), state);
        }
    }

    fn edit_tenant(&mut self, id: &TenantId, edit: impl FnOnce(&mut TenantState)) {
        let mut state = self
            .tenants
            .get(id)
            .cloned()
            .unwrap_or_else(|| TenantState::new(self.order));
        edit(&mut state);
        if state.is_empty() {
            self.tenants.remove_mut(id);
        } else {
            self.tenants.insert_mut(id.clone(), state);
        }
    }
}

fn grown(sum: &Resources, by: &Resources) -> Resources {
    sum.checked_add(by)
        .expect("amounts are bounded, so sums stay below 2^64")
}

fn shrunk(sum: &Resources, by: &Resources) -> Resources {
    sum.checked_sub(by)
        .expect("only what was taken is given back")
}
