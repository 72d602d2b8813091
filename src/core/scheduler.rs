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
//! Both ask `trial` whether a job could start, so an explanation cannot drift from what was
//! decided.

use alloc::vec::Vec;

use crate::cluster::Cluster;
use crate::decision::{Cycle, Decision};
use crate::drf::Tournament;
use crate::event::Event;
use crate::id::JobId;
use crate::job::Kind;
use crate::queue::Order;
use crate::reason::{Reason, Verdict};
use crate::snapshot::Snapshot;
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
        Self {
            cluster: Cluster::new(policy.order),
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
        let mut tournament = Tournament::new(&self.cluster);
        let mut decisions = Vec::new();
        while let Some((job, placement)) = tournament.winner(&self.cluster) {
            self.cluster.assume(&job, &placement);
            decisions.push(Decision::Admit(job, placement));
        }
        decisions
    }

    fn explain(&mut self) -> Vec<(JobId, Verdict)> {
        let decided = self.cluster.clone();
        let mut changed = Vec::new();
        for (id, tenant) in &decided.tenants {
            let why = |kind: &Kind| Some((*kind, trial::attempt(&decided, tenant, kind).err()?));
            let reasons: Vec<(Kind, Reason)> = tenant.queue.kinds().filter_map(why).collect();
            changed.extend(self.cluster.tell(id, &reasons));
        }
        changed.extend(self.cluster.tell_placed());
        changed
    }
}
