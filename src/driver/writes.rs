//! The writes about jobs: which are begun, and what follows from what came of them.

use std::time::Duration;

use prorata_core::{JobId, Snapshot};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Driver;
use super::work::Queue;
use crate::desired;
use crate::effects::{Effect, Failure, Outcome};
use crate::observed::Uid;
use crate::watch::Object;

/// How long a refusal stands before it is tried again: long enough to be read.
const REFUSED_FOR_AT_LEAST: Duration = Duration::from_secs(5);

impl Driver {
    /// Starts as many writes as there may be. Whatever has happened, others' records may say by now
    /// that they leave.
    pub(super) fn write(&mut self) {
        let awaiting = std::mem::take(&mut self.work.awaiting);
        self.work.admissions.extend(awaiting);
        let snapshot = self.scheduler.snapshot();
        while let Some((uid, effect)) = self.next_effect(&snapshot) {
            self.work.busy.insert(uid, !effect.is_urgent());
            self.work.spend(effect.requests());
            let writer = self.writer.clone();
            self.work
                .writes
                .spawn(async move { writer.perform(effect).await });
        }
    }

    pub(super) fn next_effect(&mut self, snapshot: &Snapshot) -> Option<(Uid, Effect)> {
        let busy = &self.work.busy;
        self.observed.forget_withdrawn(|uid| busy.contains_key(uid));
        while let Some((uid, queue)) = self.work.next() {
            if self.observed.awaits_others(&uid) {
                self.work.awaiting.insert(uid.clone());
                if !self.observed.is_withdrawn(&uid) {
                    continue;
                }
            }
            if self.observed.is_overtaken(&uid) {
                let epoch = self.next_epoch();
                let news = self.observed.renumber(&uid, epoch);
                self.learn(news);
            }
            let effect = desired::effect(
                &self.observed,
                snapshot,
                &self.explained,
                &self.gpu_resource,
                &uid,
                *self.answers.borrow(),
                self.clock.timestamp(),
            );
            let Some(mut effect) = effect else {
                continue;
            };
            if effect.stops() && !self.observed.leaves_with_others(&uid) {
                effect.leaving = self.observed.bound(&uid);
            }
            if effect.lets_go() {
                let news = self.observed.let_go(&effect.job);
                self.learn(news);
            }
            if effect.is_urgent() {
                return Some((uid, effect));
            }
            if queue == Queue::Admissions {
                self.work.report(&uid);
                continue;
            }
            effect.notice = effect.notice.filter(|_| self.work.may_tell(Instant::now()));
            return Some((uid, effect));
        }
        None
    }

    /// A write is done: what it says of the objects is as good as news from the watch.
    pub(super) fn conclude(&mut self, outcome: Outcome) {
        let uid = outcome.job.uid().to_owned();
        self.work.busy.remove(&uid);
        self.count(&outcome);
        // What the API server keeps as it was is no news, and to look at it again at once would not help.
        let written = outcome
            .record
            .filter(|_| outcome.failure != Some(Failure::Vain));
        let record = written.map(|record| Object::QueuedJob(Box::new(record)));
        let view = outcome.view.map(|view| Object::Job(Box::new(view)));
        let pods = outcome.pods.into_iter().map(Object::Pod);
        for object in record.into_iter().chain(view).chain(pods) {
            let news = self.observed.apply_written(object);
            self.learn(news);
        }
        if self.observed.is_let_go(&uid) {
            let mut news = self.observed.end_let_go(&uid);
            if outcome.failure.is_none() {
                self.learn(news);
            } else {
                // Of one that leaves, what it was to have may be free now. When it is tried again is
                // not said by this.
                news.touched.remove(&uid);
                self.learn(news);
                if let Some(accounting) = &mut self.accounting {
                    accounting.touch(&uid);
                }
                self.touched.insert(uid.clone());
                self.cycle();
            }
        }
        match outcome.failure {
            None => {
                if !self.observed.is_refused(&uid) {
                    self.work.attempts.remove(&uid);
                }
                self.look_at(uid);
            }
            Some(failure) => self.put_off(&outcome.job, failure),
        }
    }

    /// Whether anybody may have heard of the admission in force: otherwise nothing is to be undone, and
    /// nobody is to be told.
    pub(super) fn may_have_begun(&self, uid: &str) -> bool {
        let work = &self.work;
        let was_tried = work.busy.contains_key(uid) || work.attempts.contains_key(uid);
        was_tried || self.observed.has_begun(uid)
    }

    fn count(&self, outcome: &Outcome) {
        let metrics = self.views.metrics();
        let failure = outcome.failure.as_ref();
        metrics.written(failure.map_or("done", Failure::name));
        let record = outcome.record.as_ref().filter(|_| outcome.evicts);
        if let Some(spec) = record.map(|record| &record.spec)
            && let Some(eviction) = &spec.eviction
        {
            metrics.evicted(&spec.tenant.as_str().into(), &eviction.rule);
        }
    }

    fn put_off(&mut self, job: &JobId, failure: Failure) {
        let least = match failure {
            Failure::Refused(_) | Failure::Vain => REFUSED_FOR_AT_LEAST,
            Failure::Stale | Failure::Unanswered(_) | Failure::Clients { .. } => Duration::ZERO,
        };
        let wait = self.work.put_off(job.uid(), least);
        if failure == Failure::Stale {
            debug!(%job, "a write was based on what is no longer so");
            return;
        }
        warn!(%job, %failure, retry_in = ?wait, "a write failed");
        if let Failure::Clients { beside, .. } = &failure {
            let snapshot = self.scheduler.snapshot();
            let now = self.clock.timestamp();
            let news = self
                .observed
                .leave_together(job.uid(), beside, &snapshot, now);
            self.learn(news);
            return;
        }
        let waits = self
            .observed
            .job(job.uid())
            .is_some_and(|view| view.is_suspended);
        if let Failure::Refused(why) = failure
            && waits
            && self.observed.plan(job.uid()).is_some()
        {
            // What it was to have is free for others until it is tried again.
            let news = self
                .observed
                .refuse(job, format!("the API server refuses to start it: {why}"));
            self.learn(news);
            self.cycle();
        }
    }
}
