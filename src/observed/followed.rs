//! Admissions by their records, while another controller decides.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{News, Observed, Plan, Uid};
use crate::translate::{self, JobView};
use prorata_core::{Event, Job, Resources, Time};

/// Whoever decides has put a job on record within this time, or cannot.
const RECORDED_WITHIN: Duration = Duration::from_secs(60);

/// Jobs that could start and have no place, while another controller decides.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// They are on record, so they have been decided about.
    known: BTreeSet<Uid>,
    /// Whoever decides may not have seen them yet; since when they exist.
    new: BTreeMap<Uid, Time>,
}

impl Observed {
    /// Goes by the records from now on, for another controller decides.
    pub const fn follow(&mut self) {
        self.follows = true;
    }

    /// Whether a job waits that nobody has decided about, as far as records tell: a new one that is
    /// not on record, or any while nobody is there to decide about them (`is_led`).
    #[must_use]
    pub fn has_undecided(&self, is_led: bool, now: Time) -> bool {
        let Waiting { known, new } = &self.waiting;
        let is_new = |since: &Time| now.since(*since) < RECORDED_WITHIN;
        match is_led {
            true => new.values().any(is_new),
            false => !(known.is_empty() && new.is_empty()),
        }
    }

    /// The job is as it is wanted now, or none of the queue's.
    pub(super) fn note_waiting(&mut self, uid: &Uid, job: Option<&Job>) {
        self.waiting.known.remove(uid);
        self.waiting.new.remove(uid);
        let could_start = |job: &&Job| job.hold.is_none() && job.task != Resources::ZERO;
        let Some(job) = job.filter(could_start) else {
            return;
        };
        if self.plans.contains_key(uid) {
            return;
        }
        if self.records.contains_key(uid) {
            self.waiting.known.insert(uid.clone());
        } else {
            self.waiting.new.insert(uid.clone(), job.submitted);
        }
    }

    /// Takes up the admission that the record holds now, in place of the one before. Of one that ends
    /// for another job nothing is left but the room of the pods that are there.
    pub(super) fn heed(&mut self, uid: &Uid, news: &mut News) {
        let spec = self.records.get(uid).map(|record| &record.spec);
        let admission = spec.and_then(|spec| spec.admission.as_ref());
        let ends = spec.and_then(|spec| spec.eviction.as_ref());
        let ends = ends.map(|eviction| eviction.epoch);
        let recorded = admission.map(|admission| admission.epoch);
        let recorded = recorded.filter(|epoch| ends != Some(*epoch));
        let known = self.plans.get(uid).map(Plan::epoch);
        if recorded == known {
            return;
        }
        if known.is_some() {
            self.abandon(uid, news);
        }
        if recorded.is_some() {
            self.adopt(uid, news);
        }
        if self.plans.contains_key(uid) || known.is_some() {
            self.seat_pods_of(uid, news);
        }
    }

    /// Whether a record speaks of another admission than ours, which is not on record, by the same
    /// number or a greater one: a controller before this one wrote it after the first list was made.
    #[must_use]
    pub fn is_overtaken(&self, uid: &str) -> bool {
        let Some((record, plan)) = self.records.get(uid).zip(self.plans.get(uid)) else {
            return false;
        };
        let epoch = plan.epoch();
        let is_ours = record.spec.admission.as_ref().is_some_and(|known| {
            known.epoch == epoch && known.placement == translate::places(plan.placement())
        });
        let view = self.jobs.get(uid);
        let has_started = view.is_some_and(|view| view.epoch == Some(epoch));
        record.last_epoch() >= epoch && !is_ours && !has_started
    }

    /// The admission of this job, which is not on record, gets another number.
    pub fn renumber(&mut self, uid: &str, epoch: i64) -> News {
        let mut news = News::default();
        if let Some(plan) = self.plans.get(uid) {
            let plan = plan.renumbered(epoch);
            self.plans.insert_mut(uid.to_owned(), plan);
            news.touched.insert(uid.to_owned());
            self.tell(&mut news);
        }
        news
    }

    /// Whether an admission has started a job, though it may not be known here yet: records and what
    /// they are of are heard of by ways of their own.
    pub(super) fn was_admitted(&self, uid: &str) -> bool {
        let by_one = |view: &JobView| view.epoch.is_some_and(|epoch| epoch > translate::FREED);
        let members = self.members(uid);
        let mut gone = members.iter().filter(|(_, gated)| !gated.is_waiting);
        self.jobs.get(uid).is_some_and(by_one) || gone.any(|(pod, _)| pod.nominated.is_some())
    }

    /// Forgets the job with its admission; it is told anew.
    pub(super) fn abandon(&mut self, uid: &str, news: &mut News) {
        if let Some(id) = self.told.get(uid) {
            news.facts.push(Event::JobWithdrawn(id.clone()));
            news.facts.extend(self.vacated(uid, true));
        }
        self.plans.remove_mut(uid);
        self.leavers.remove(uid);
    }
}
