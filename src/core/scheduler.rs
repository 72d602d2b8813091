//! The whole story: facts in, decisions and explanations out.
//!
//! [`Scheduler::observe`] records a fact and decides nothing, so that a burst of a thousand
//! facts costs one [`Scheduler::cycle`]. A cycle does two things:
//!
//! 1. **admit**: a tournament between the tenants. Each enters with the first job of its queue
//!    that could start now; the least claim wins ([`crate::drf`]), takes its places, and the
//!    next round begins. It ends when nobody's job could start.
//! 2. **explain**: every unfinished job gets a verdict from the state that the first step left.
//!
//! Both ask [`trial`] whether a job could start, so an explanation cannot drift from what was
//! decided.

use alloc::vec::Vec;

use crate::cluster::{Cluster, JobState};
use crate::decision::{Cycle, Decision};
use crate::drf::Tournament;
use crate::event::Event;
use crate::id::JobId;
use crate::queue::{Order, Queue};
use crate::reason::{Reason, Verdict};
use crate::snapshot::Snapshot;
use crate::tenant::TenantState;
use crate::time::Time;
use crate::trial;

/// What an administrator chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Who goes first.
    pub order: Order,
}

/// The decision core: one owner, no locks, no clock.
#[derive(Clone, Debug, Default)]
pub struct Scheduler {
    cluster: Cluster,
    decided: Time,
}

impl Scheduler {
    /// A scheduler that knows nothing yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let cluster = Cluster {
            order: policy.order,
            ..Cluster::default()
        };
        Self {
            cluster,
            decided: Time::ZERO,
        }
    }

    /// Records a fact. Decides nothing, and cannot fail.
    pub fn observe(&mut self, event: Event) {
        self.cluster.observe(event);
    }

    /// Decides all that can be decided at `now`, and says why the rest waits.
    pub fn cycle(&mut self, now: Time) -> Cycle {
        self.decided = self.decided.max(now);
        let decisions = self.admit();
        let changed = self.explain();
        Cycle { decisions, changed }
    }

    /// When a cycle is due although nothing was observed; `None` while time alone changes nothing.
    #[must_use]
    pub const fn next_wakeup(&self) -> Option<Time> {
        None
    }

    /// What is true now, for readers on other threads. Shares structure; copies nothing.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.cluster.clone(), self.decided)
    }

    fn admit(&mut self) -> Vec<Decision> {
        let queue = |tenant: &TenantState| tenant.queue.clone();
        let queues: Vec<Queue> = self.cluster.tenants.values().map(queue).collect();
        let mut tournament = Tournament::new(&queues, &self.cluster);
        let mut decisions = Vec::new();
        while let Some((job, placement)) = tournament.winner(&self.cluster) {
            self.cluster.assume(&job, &placement);
            decisions.push(Decision::Admit(job, placement));
        }
        decisions
    }

    fn explain(&mut self) -> Vec<(JobId, Verdict)> {
        let before = self.cluster.clone();
        let waiting = before.tenants.values().flat_map(|t| waiting(&before, t));
        let placed = before.jobs.values().filter_map(placed);
        let verdicts = waiting.chain(placed);
        let changed: Vec<_> = verdicts
            .filter(|(id, v)| before.jobs[id].verdict != *v)
            .collect();
        for (id, verdict) in &changed {
            let state = JobState {
                verdict: verdict.clone(),
                ..before.jobs[id].clone()
            };
            self.cluster.jobs.insert_mut(id.clone(), state);
        }
        changed
    }
}

/// Why each waiting job of a tenant waits, in the order of its queue.
fn waiting(cluster: &Cluster, tenant: &TenantState) -> Vec<(JobId, Verdict)> {
    let mut reasons: Vec<(trial::Kind, Reason)> = Vec::new();
    let mut verdict = |id: &JobId| {
        let job = &cluster.jobs[id].job;
        let kind = trial::Kind::of(job);
        let known = reasons.iter().find(|(seen, _)| *seen == kind);
        let reason = known.map(|(_, reason)| *reason).unwrap_or_else(|| {
            let outcome = trial::attempt(cluster, tenant, job);
            // Admission ended because nobody could start, so every attempt has a reason.
            let reason = outcome.err().unwrap_or(Reason::NotYetEvaluated);
            reasons.push((kind, reason));
            reason
        });
        (id.clone(), Verdict::Waiting(reason))
    };
    tenant.queue.jobs().map(&mut verdict).collect()
}

/// The verdict on a job that has places.
fn placed(state: &JobState) -> Option<(JobId, Verdict)> {
    let tasks = state.tasks.as_ref()?;
    let verdict = if tasks.any_assumed() {
        Verdict::Admitted(tasks.placement.clone())
    } else {
        Verdict::Running
    };
    Some((state.job.id.clone(), verdict))
}
