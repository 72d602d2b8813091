//! Admissions that were recorded before anybody here decided about their jobs: after a restart, or
//! heard of later than what they started.

use prorata_core::{Event, Job};
use tracing::warn;

use super::{Leaver, News, Observed};
use crate::plan::Plan;
use crate::translate;

impl Observed {
    /// The admission that a record holds is in force, unless its Job has ended or was stopped
    /// after it had been released.
    pub(super) fn adopt(&mut self, uid: &str, news: &mut News) {
        let record = &self.records[uid];
        let Some((admission, view)) = record.spec.admission.as_ref().zip(self.jobs.get(uid)) else {
            return;
        };
        let stopped = view.is_suspended && view.epoch == Some(admission.epoch);
        let eviction = record.spec.eviction.clone();
        let eviction = eviction.filter(|eviction| eviction.epoch == admission.epoch);
        // Pods of one that is being deleted have their room as pods of its tenant.
        let is_left = view.is_leaving && self.bound_pods_of(uid).next().is_none();
        let is_stopped = (stopped || view.is_leaving) && eviction.is_none();
        if is_stopped || is_left || view.has_ended {
            return;
        }
        let Some(task) = translate::task(&record.spec, &self.gpu_resource) else {
            warn!(job = %view.id, "the recorded admission cannot be read; the job queues again");
            return;
        };
        let placement = translate::placement(&admission.placement);
        // What was admitted is what the record says, whatever has been edited since.
        let mut job = Job {
            gang: record.spec.gang,
            task,
            hold: None,
            ..view.job(record.spec.tenant.as_str().into(), record.spec.priority)
        };
        self.rank(&mut job, view);
        self.spread_out(&mut job, view);
        let indexed = view.is_indexed_in(&placement);
        let plan = Plan::new(&job, admission.epoch, placement.clone(), indexed);
        let since = record.admitted().unwrap_or(view.created);
        let admitted = Event::JobAdmitted(view.id.clone(), placement, since);
        news.facts.extend([Event::JobSubmitted(job), admitted]);
        let was_released = view.form.suspends() && view.epoch == Some(admission.epoch);
        news.facts
            .extend(was_released.then(|| Event::JobReleased(view.id.clone())));
        self.told.insert(uid.to_owned(), view.id.clone());
        self.plans.insert_mut(uid.to_owned(), plan);
        if let Some(eviction) = eviction {
            let leaver = Leaver::recorded(eviction);
            self.leavers.insert(uid.to_owned(), leaver);
        }
    }

    /// Whether a job runs by an admission on record, and that is not in force here: records and what
    /// they are of are heard of by ways of their own. What has ended here after it was started stays so.
    pub(super) fn is_late(&self, uid: &str) -> bool {
        let record = self.records.get(uid);
        let admission = record.and_then(|record| record.spec.admission.as_ref());
        let both = admission.zip(self.jobs.get(uid));
        both.is_some_and(|(admission, view)| {
            let epoch = admission.epoch;
            let runs = !view.is_suspended && !view.has_ended && !view.is_leaving;
            let is_known = self.plans.get(uid).map(Plan::epoch) == Some(epoch);
            let has_ended = || {
                let withdrawn = self.withdrawn.get(&(uid.to_owned(), epoch));
                withdrawn.is_some_and(|withdrawn| withdrawn.was_released)
            };
            runs && view.epoch == Some(epoch) && !is_known && !has_ended()
        })
    }

    /// The admission by which such a job runs is in force, whatever has been decided here before.
    pub(super) fn adopt_late(&mut self, uid: &str, news: &mut News) {
        if let Some(epoch) = self.jobs.get(uid).and_then(|view| view.epoch) {
            self.withdrawn.remove(&(uid.to_owned(), epoch));
        }
        if self.plans.contains_key(uid) {
            self.abandon(uid, news);
        }
        self.adopt(uid, news);
        self.seat_pods_of(uid, news);
        if self.leavers.contains_key(uid)
            && let Some(view) = self.jobs.get(uid)
        {
            news.facts.push(Event::JobEvicted(view.id.clone()));
        }
    }
}
