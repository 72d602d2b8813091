//! What the passing of time alone changes: who may be made to leave, and how much may be lost.

use super::{LOSS_WINDOW, NEXT_SEARCHES, Scheduler};
use crate::id::JobId;
use crate::time::Time;

impl Scheduler {
    /// When a cycle is due although nothing was observed; `None` while time alone changes nothing.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Time> {
        let preemption = &self.cluster.policy.preemption;
        if !preemption.enabled || self.queue.waiting == 0 {
            return None;
        }
        let min_runtime = preemption.min_runtime;
        let grown_up = self.decided.since(Time::ZERO + min_runtime);
        let first_young = (Time::ZERO + grown_up, JobId::default());
        let young = self
            .queue
            .running_since
            .range(first_young..)
            .map(|(started, _)| *started + min_runtime);
        let ripe = young.filter(|at| *at > self.decided).take(1);
        let refund = self.losses.first().map(|(at, _)| *at + LOSS_WINDOW);
        let refund = refund.filter(|at| preemption.loss_budget.is_some() && *at > self.decided);
        let unfinished = self.is_unfinished.then(|| self.decided + NEXT_SEARCHES);
        let ripe = ripe.filter(|_| !min_runtime.is_zero());
        let spared = self.queue.spared_after(self.decided);
        let spared = spared.filter(|until| *until > self.decided).take(1);
        ripe.chain(spared).chain(refund).chain(unfinished).min()
    }

    /// Whether time alone has made somebody a victim, or given back a part of the loss budget.
    pub(super) fn has_ripened(&self, before: Time, now: Time) -> bool {
        let min_runtime = self.cluster.policy.preemption.min_runtime;
        let between = |at: Time| before < at && at <= now;
        let oldest = Time::ZERO + before.since(Time::ZERO + min_runtime);
        let running = self.queue.running_since.range((oldest, JobId::default())..);
        let mut ripe = running.map(|(started, _)| *started + min_runtime);
        let refund = |(at, _): &(Time, u64)| between(*at + LOSS_WINDOW);
        let mut spared = self.queue.spared_after(before);
        ripe.find(|at| *at > before).is_some_and(between)
            || spared.any(between)
            || self.losses.iter().any(refund)
    }

    /// Whether some running job has run for long enough to be evicted.
    pub(super) fn anybody_may_leave(&self, now: Time) -> bool {
        let min_runtime = self.cluster.policy.preemption.min_runtime;
        let oldest = self.queue.running_since.first();
        oldest.is_some_and(|(started, _)| now.since(*started) >= min_runtime)
    }
}
