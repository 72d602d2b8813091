//! What is true at one moment, for readers who do not own the scheduler.

use alloc::vec::Vec;

use crate::cluster::{Cluster, JobState};
use crate::drf;
use crate::event::Event;
use crate::id::{JobId, NodeId, TaskId, TenantId};
use crate::invariants::{self, Violation};
use crate::job::{Job, Placement, Slot};
use crate::node::NodeState;
use crate::reason::Verdict;
use crate::resource::Resources;
use crate::share::Share;
use crate::task::Progress;
use crate::tenant::Tenant;
use crate::time::Time;

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

    /// Every unfinished job, by namespace and name.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.cluster.jobs.values().map(|state| &state.job)
    }

    /// A job, if it is unfinished.
    #[must_use]
    pub fn job(&self, id: &JobId) -> Option<&Job> {
        Some(&self.cluster.jobs.get(id)?.job)
    }

    /// What became of a job. A waiting job's reason is as of the last cycle.
    #[must_use]
    pub fn verdict(&self, id: &JobId) -> Option<Verdict> {
        let state = self.cluster.jobs.get(id)?;
        Some(match &state.tasks {
            Some(tasks) => tasks.verdict(),
            None => {
                let tenant = self.cluster.tenants.get(&state.job.tenant)?;
                Verdict::Waiting(tenant.queue.reason(&state.job))
            }
        })
    }

    /// Where an admitted job's tasks are to run or run; `None` while it waits or leaves.
    #[must_use]
    pub fn placement(&self, id: &JobId) -> Option<&Placement> {
        let tasks = self.cluster.jobs.get(id)?.tasks.as_ref()?;
        (!tasks.is_leaving()).then_some(&tasks.placement)
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

    /// Whether a node takes new work: it is known, ready, and repels nobody.
    #[must_use]
    pub fn takes_work(&self, node: &NodeId) -> bool {
        let state = self.cluster.nodes.get(node);
        state.is_some_and(|state| state.offer().is_some())
    }

    /// What is neither taken nor assumed on a node, whether or not it takes new work; `None` on a
    /// node that is unknown.
    #[must_use]
    pub fn unused(&self, node: &NodeId) -> Option<Resources> {
        let state = self.cluster.nodes.get(node)?;
        let spec = state.spec.as_ref()?;
        Some(spec.allocatable.bounded().beyond(&state.used))
    }

    /// Whether more is taken or assumed on a node than it offers.
    #[must_use]
    pub fn is_overfull(&self, node: &NodeId) -> bool {
        let state = self.cluster.nodes.get(node);
        let offers = |state: &NodeState| Some(state.spec.as_ref()?.allocatable.bounded());
        state.is_some_and(|state| !offers(state).is_some_and(|offer| state.used.fits_in(&offer)))
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
        self.cluster.capacity()
    }

    /// The tenants that are described, by name.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.cluster
            .tenants
            .values()
            .filter_map(|state| state.spec.as_ref())
    }

    /// What a tenant's jobs hold or are assumed to hold.
    #[must_use]
    pub fn usage(&self, tenant: &TenantId) -> Resources {
        let state = self.cluster.tenants.get(tenant);
        state.map_or(Resources::ZERO, |state| state.usage)
    }

    /// A tenant's weighted dominant share.
    #[must_use]
    pub fn share(&self, tenant: &TenantId) -> Option<Share> {
        let state = self.cluster.tenants.get(tenant)?;
        Some(drf::share(
            state.spec.as_ref()?,
            &state.usage,
            &self.capacity(),
        ))
    }

    /// Facts that lead a new scheduler of the same policy to this very state: what a restart
    /// learns by listing.
    #[must_use]
    pub fn facts(&self) -> Vec<Event> {
        let Cluster {
            nodes,
            tenants,
            jobs,
            pods,
            ..
        } = &self.cluster;
        let nodes = nodes.values().filter_map(|state| state.spec.clone());
        let tenants = tenants.values().filter_map(|state| state.spec.clone());
        let pods = pods
            .iter()
            .map(|(pod, (node, takes))| Event::PodBound(pod.clone(), node.clone(), *takes));
        let facts = nodes
            .map(Event::NodeSeen)
            .chain(tenants.map(Event::TenantChanged));
        facts
            .chain(pods)
            .chain(jobs.values().flat_map(job_facts))
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
    let Some(tasks) = &state.tasks else {
        return [Event::JobSubmitted(job.clone())].into();
    };
    let submitted = |held| {
        Event::JobSubmitted(Job {
            held,
            ..job.clone()
        })
    };
    let mut facts = Vec::from([
        submitted(false),
        Event::JobAdmitted(job.id.clone(), tasks.placement.clone()),
    ]);
    for (index, (slot, progress)) in (0..).zip(tasks.placement.slots().zip(&tasks.progress)) {
        let job = job.id.clone();
        let task = TaskId { job, index };
        facts.extend(match progress {
            Progress::Assumed => None,
            Progress::Bound => Some(Event::TaskBound(task, slot.node.clone())),
            Progress::Finished => Some(Event::TaskFinished(task)),
        });
    }
    if tasks.requeues() {
        facts.push(submitted(true));
    } else if tasks.is_leaving() {
        facts.push(Event::JobWithdrawn(job.id.clone()));
    }
    facts.push(submitted(job.held));
    facts
}
