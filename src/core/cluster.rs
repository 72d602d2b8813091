//! The ground state: what is known, what is held, and what is only assumed to be held.
//!
//! ```text
//!            observe(JobSubmitted)      cycle: Admit           TaskBound
//!   unknown ───────────────► waiting ───────────► assumed ───────────────► bound
//!      ▲                      ▲  ▲ │                 │                       │
//!      └── JobWithdrawn ──────┼──┼─┘   DecisionFailed│   TaskFinished, Evict │
//!      │                      │  └───────────────────┘                       │
//!      │                      └── if it is held or was evicted ◄─────────────┤
//!      └──────────────────────────────────────── otherwise ◄─────────────────┘
//! ```
//!
//! Capacity counts as taken from the moment it is assumed until the last holder is known to be
//! gone. What is assumed is free again by our own decision only until its job is released. Time
//! alone frees nothing. The sums are in `holdings`.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use crate::event::Event;
use crate::holdings::Guest;
use crate::id::{JobId, NodeId, PodId, TenantId};
use crate::job::{Job, Placement};
use crate::node::NodeState;
use crate::policy::Policy;
use crate::pool::Pools;
use crate::reason::Verdict;
use crate::reservation::Reservation;
use crate::resource::Resources;
use crate::standing::{JobState, Standing};
use crate::task::{Binding, Leaving, Tasks};
use crate::tenant::Tenant;
use crate::time::Time;
use crate::tree::Tree;

pub(crate) type Map<K, V> = RedBlackTreeMapSync<K, V>;

/// Everything that the core knows. Its maps share structure, so that a clone costs nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) policy: Arc<Policy>,
    pub(crate) nodes: Map<NodeId, NodeState>,
    pub(crate) tenants: Map<TenantId, TenantState>,
    pub(crate) jobs: Map<JobId, JobState>,
    /// Follows from `tenants`.
    pub(crate) pools: Arc<Pools>,
    /// Pods that are no tasks of ours, with what they take and where.
    pub(crate) pods: Map<PodId, Guest>,
    /// Jobs to which room is promised. Follows from `jobs`.
    pub(crate) nominees: RedBlackTreeSetSync<JobId>,
    /// How often each was evicted since the last arrival or end of a job.
    pub(crate) evicted: Map<JobId, u32>,
    /// Evicted, and not gone yet. Follows from `jobs`.
    pub(crate) leaving: RedBlackTreeSetSync<JobId>,
    pub(crate) reservation: Option<Arc<Reservation>>,
    /// What the nodes that take new work offer in all, GPUs by their value. Follows from `nodes`.
    pub(crate) capacity: Resources,
    /// What is free on them. Follows from `nodes`.
    pub(crate) free: Resources,
    /// Follows from `tenants`, `capacity` and what is held.
    pub(crate) tree: Tree,
    pub(crate) tree_is_stale: bool,
    /// What has changed since somebody took note.
    pub(crate) news: News,
}

/// A tenant with what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TenantState {
    /// `None` while jobs name a tenant that nobody has described.
    pub(crate) spec: Option<Arc<Tenant>>,
    /// Held, assumed or promised to its tasks, those left out that are being evicted.
    pub(crate) usage: Resources,
    /// Its jobs that wait or hold something.
    pub(crate) jobs: usize,
    /// What it has used in the past.
    pub(crate) past: crate::history::Past,
}

impl TenantState {
    /// Whether nothing would be lost by forgetting it.
    pub(crate) fn is_empty(&self) -> bool {
        self.spec.is_none() && self.jobs == 0 && *self == Self::default()
    }
}

/// What has changed since somebody took note. Whoever gets a copy of the state has its own news.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) nodes: BTreeSet<NodeId>,
    /// Jobs as they stood before and as they stand after each change.
    pub(crate) jobs: Vec<(Standing, Standing)>,
    /// Jobs with places whose verdict has changed.
    pub(crate) verdicts: BTreeSet<JobId>,
}

impl Clone for News {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Cluster {
    /// Nothing is known yet.
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            policy: Arc::new(policy),
            ..Self::default()
        }
    }

    /// Records a fact. See [`Event`] for what each means.
    pub(crate) fn observe(&mut self, now: Time, event: Event) {
        match event {
            Event::NodeSeen(node) => self.describe_node(node),
            Event::NodeGone(node) => self.forget_node(&node),
            Event::DeviceHealth(node, device, works) => self.device_health(&node, device, works),
            Event::TenantChanged(tenant) => self.describe_tenant(&tenant.id.clone(), Some(tenant)),
            Event::TenantGone(tenant) => self.describe_tenant(&tenant, None),
            Event::TenantUsed(tenant, used, at) => self.past_of(&tenant, used, at),
            Event::JobSubmitted(job) => self.submit(now, job),
            Event::JobWithdrawn(job) => self.leave(now, &job, Leaving::ForGood),
            Event::JobAdmitted(job, placement, at) => self.adopt(at, &job, &placement),
            Event::JobRan(job, span) => {
                self.edit(&job, |state| state.ran = span);
            }
            Event::JobLeft(job, times) => {
                self.edit(&job, |state| state.evictions = state.evictions.max(times));
            }
            Event::JobCheckpointed(job, at) => {
                self.edit(&job, |state| state.saved = state.saved.max(at));
            }
            Event::JobEvicted(job) => self.evict(now, &job),
            Event::JobNominated(job, placement) => self.renominate(&job, placement),
            Event::JobReleased(job) => self.release(&job),
            Event::TaskBound(task, node) => self.bind(now, &task.job, task.index, node),
            Event::DevicesSeen(node, seen) => self.devices_seen(now, &node, &seen),
            Event::TaskFinished(task) => self.finish(now, &task.job, task.index),
            Event::PodBound(pod, node, takes, others) => {
                self.pod_bound(now, pod, Guest::new(node, &takes, others));
            }
            Event::PodCharged(pod, tenant) => self.pod_charged(now, &pod, &tenant),
            Event::PodGone(pod) => self.pod_gone(now, &pod),
            Event::DecisionFailed(job) => self.forget(now, &job),
        }
    }

    /// Takes what an admission needs, until events confirm it.
    pub(crate) fn assume(&mut self, now: Time, id: &JobId, placement: &Placement) {
        self.unnominate(id);
        let edited = self.edit(id, |state| {
            state.tasks = Some(Tasks::assumed(placement.clone()));
            state.started = Some(now);
            state.job.clone()
        });
        let Some(job) = edited else {
            return;
        };
        self.take(&job, placement.slots());
        self.charge(now, &job, placement.slots());
    }

    /// A job has to leave for another. What its tasks cannot have taken up is free at once.
    pub(crate) fn evict(&mut self, now: Time, id: &JobId) {
        let runs = |state: &JobState| state.tasks.is_some() && !state.evicting;
        if !self.jobs.get(id).is_some_and(runs) {
            return;
        }
        self.uncharge_all(now, id);
        self.edit(id, |state| {
            state.evicting = true;
            let has_begun = state.tasks.as_ref().is_some_and(Tasks::has_begun);
            state.evictions = state.evictions.saturating_add(u32::from(has_begun));
        });
        let times = self.evicted.get(id).copied().unwrap_or_default();
        self.evicted.insert_mut(id.clone(), times + 1);
        self.leaving.insert_mut(id.clone());
        self.leave(now, id, Leaving::ToTheQueue);
    }

    /// Promises room to a job that waits for others to leave it.
    pub(crate) fn nominate(&mut self, now: Time, id: &JobId, placement: &Placement) {
        let Some(state) = self.jobs.get(id) else {
            return;
        };
        let job = state.job.clone();
        self.claim(&job, placement.slots(), true);
        self.charge(now, &job, placement.slots());
        self.nominees.insert_mut(id.clone());
        self.edit(id, |state| state.nominated = Some(placement.clone()));
    }

    /// Takes the promise back.
    pub(crate) fn unnominate(&mut self, id: &JobId) {
        // They are few, and jobs are many.
        if !self.nominees.contains(id) {
            return;
        }
        let Some((job, placement)) = self.jobs.get(id).and_then(|state| {
            let placement = state.nominated.clone()?;
            Some((state.job.clone(), placement))
        }) else {
            return;
        };
        self.claim(&job, placement.slots(), false);
        self.uncharge(&job, placement.slots());
        self.nominees.remove_mut(id);
        self.edit(id, |state| state.nominated = None);
    }

    fn renominate(&mut self, id: &JobId, placement: Placement) {
        let waits = |state: &JobState| {
            let whole = usize::try_from(state.job.gang) == Ok(placement.slots().len());
            let wanted = state.job.hold.is_none() && state.job.shape().request().is_some();
            whole && wanted && state.tasks.is_none() && state.nominated.is_none()
        };
        if self.jobs.get(id).is_some_and(waits) {
            self.nominate(Time::ZERO, id, &placement);
        }
    }

    fn submit(&mut self, now: Time, mut job: Job) {
        job.set_home(self.pools.of(&job.tenant));
        match self.jobs.get(&job.id) {
            Some(state) if state.tasks.is_some() => self.resubmit(now, job),
            Some(state) if *state.job == job => {}
            Some(_) => self.resubmit_waiting(job),
            None => {
                self.evicted = Map::default();
                self.count_job(&job.tenant, true);
                self.put(JobState::waiting(Arc::new(job)));
            }
        }
    }

    /// A job that has places keeps its shape; only its hold is heeded.
    fn resubmit(&mut self, now: Time, job: Job) {
        let id = job.id.clone();
        self.edit(&id, |state| {
            if state.job.hold != job.hold {
                Arc::make_mut(&mut state.job).hold = job.hold;
            }
        });
        if job.hold.is_some() {
            self.leave(now, &id, Leaving::ToTheQueue);
        }
    }

    fn resubmit_waiting(&mut self, job: Job) {
        self.unnominate(&job.id);
        let Some(before) = self.jobs.get(&job.id).map(|state| state.job.tenant.clone()) else {
            return;
        };
        self.count_job(&job.tenant, true);
        self.count_job(&before, false);
        self.edit(&job.id.clone(), |state| state.job = Arc::new(job));
    }

    /// Its tasks may be on their way: no place of theirs is free by our own decision.
    fn release(&mut self, id: &JobId) {
        self.edit(id, |state| {
            if let Some(tasks) = &mut state.tasks {
                tasks.release();
            }
        });
    }

    /// The job's places are to be given up: at once those that no task can have taken up.
    fn leave(&mut self, now: Time, id: &JobId, leaving: Leaving) {
        self.unnominate(id);
        let Some(state) = self.jobs.get_mut(id) else {
            return;
        };
        let before = state.standing();
        let (job, charged) = (state.job.clone(), !state.evicting);
        let Some(tasks) = &mut state.tasks else {
            if leaving == Leaving::ForGood {
                self.remove(id, &job, before);
            }
            return;
        };
        let freed = tasks.leave(leaving);
        let left = tasks.left();
        if let Some(started) = state.started.take() {
            state.ran += now.since(started);
        }
        let after = state.standing();
        self.note(before, after.clone());
        self.give_back(now, &job, &freed, charged);
        self.settle(id, &job, left, after);
    }

    fn adopt(&mut self, at: Time, id: &JobId, placement: &Placement) {
        let Some(state) = self.jobs.get(id) else {
            return;
        };
        let job = state.job.clone();
        let whole = usize::try_from(job.gang) == Ok(placement.slots().len());
        let wanted = job.hold.is_none() && job.shape().request().is_some();
        if state.tasks.is_none() && whole && wanted {
            let placement = self.as_taken(&job, placement);
            self.assume(at, id, &placement);
        }
    }

    fn bind(&mut self, now: Time, id: &JobId, index: u32, node: NodeId) {
        let Some(state) = self.jobs.get_mut(id) else {
            return;
        };
        let before = state.tasks.as_ref().map(Tasks::verdict);
        let (job, charged) = (state.job.clone(), !state.evicting);
        let Some(binding) = state
            .tasks
            .as_mut()
            .and_then(|tasks| tasks.bind(index, &node))
        else {
            return;
        };
        if state.tasks.as_ref().map(Tasks::verdict) != before {
            self.news.verdicts.insert(id.clone());
        }
        if let Binding::Elsewhere(planned) = &binding {
            self.give_back(now, &job, core::slice::from_ref(planned), charged);
        }
        if binding != Binding::AsPlanned {
            let slot = self.slot_on(&job, node);
            self.take(&job, core::iter::once(&slot));
            if charged {
                self.charge(now, &job, core::iter::once(&slot));
            }
            if let Some(tasks) = self.jobs.get_mut(id).and_then(|state| state.tasks.as_mut()) {
                tasks.move_to(index, slot);
            }
        }
    }

    fn finish(&mut self, now: Time, id: &JobId, index: u32) {
        let Some(state) = self.jobs.get_mut(id) else {
            return;
        };
        let (job, charged) = (state.job.clone(), !state.evicting);
        let before = state.tasks.as_ref().map(Tasks::verdict);
        let Some(slot) = state.tasks.as_mut().and_then(|tasks| tasks.finish(index)) else {
            return;
        };
        if state.tasks.as_ref().map(Tasks::verdict) != before {
            self.news.verdicts.insert(id.clone());
        }
        let left = state.tasks.as_ref().and_then(Tasks::left);
        let standing = state.standing();
        self.give_back(now, &job, &[slot], charged);
        self.settle(id, &job, left, standing);
    }

    fn forget(&mut self, now: Time, id: &JobId) {
        let take_back = |state: &mut JobState| state.tasks.as_mut().is_some_and(Tasks::take_back);
        if self.jobs.get_mut(id).is_some_and(take_back) {
            self.leave(now, id, Leaving::ToTheQueue);
        }
    }

    /// Keeps the job while it holds a place; then it is over, or queues again.
    fn settle(&mut self, id: &JobId, job: &Job, left: Option<Leaving>, standing: Standing) {
        match left {
            None => {}
            Some(Leaving::ToTheQueue) => {
                self.leaving.remove_mut(id);
                self.edit(id, |state| {
                    state.tasks = None;
                    state.evicting = false;
                    state.started = None;
                });
            }
            Some(Leaving::ForGood) => {
                self.leaving.remove_mut(id);
                self.evicted = Map::default();
                self.remove(id, job, standing);
            }
        }
    }

    fn remove(&mut self, id: &JobId, job: &Job, before: Standing) {
        self.jobs.remove_mut(id);
        self.count_job(&job.tenant, false);
        self.news.verdicts.remove(id);
        self.note(before, Standing::Away);
    }

    /// Changes what is known of a job, and notes what follows; `None` where nothing is known of it.
    pub(crate) fn edit<T>(
        &mut self,
        id: &JobId,
        edit: impl FnOnce(&mut JobState) -> T,
    ) -> Option<T> {
        let state = self.jobs.get_mut(id)?;
        let verdict = |state: &JobState| state.tasks.as_ref().map(Tasks::verdict);
        let (before, told) = (state.standing(), verdict(state));
        let edited = edit(state);
        let (after, tell) = (state.standing(), verdict(state));
        if tell.is_none() {
            self.news.verdicts.remove(id);
        } else if told != tell {
            self.news.verdicts.insert(id.clone());
        }
        self.note(before, after);
        Some(edited)
    }

    fn put(&mut self, state: JobState) {
        let (id, after) = (state.job.id.clone(), state.standing());
        self.jobs.insert_mut(id, state);
        self.note(Standing::Away, after);
    }

    fn note(&mut self, before: Standing, after: Standing) {
        if before != after {
            self.news.jobs.push((before, after));
        }
    }

    /// The verdicts on jobs with places that have changed since this was last asked.
    pub(crate) fn take_verdicts(&mut self) -> Vec<(JobId, Verdict)> {
        let changed = core::mem::take(&mut self.news.verdicts);
        let verdict = |id: JobId| {
            let verdict = self.jobs.get(&id)?.tasks.as_ref()?.verdict();
            Some((id, verdict))
        };
        changed.into_iter().filter_map(verdict).collect()
    }
}

impl PartialEq for Cluster {
    /// Whether the facts are the same, and what follows from them.
    fn eq(&self, other: &Self) -> bool {
        self.nodes == other.nodes
            && self.tenants == other.tenants
            && self.jobs == other.jobs
            && self.pods == other.pods
            && (self.capacity, self.free) == (other.capacity, other.free)
    }
}

impl Eq for Cluster {}
