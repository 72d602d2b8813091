//! Admissions by their records: those that another controller decides, and those of kinds that
//! could not be listed for a while.

use super::{News, Observed, Plan, Uid};
use crate::translate::JobView;
use crate::watch::Kind;
use prorata_core::Event;

impl Observed {
    /// Goes by the records from now on, for another controller decides.
    pub const fn follow(&mut self) {
        self.follows = true;
    }

    /// Takes up the admission that the record holds now, in place of the one before.
    pub(super) fn heed(&mut self, uid: &Uid, news: &mut News) {
        let record = self.records.get(uid);
        let admission = record.and_then(|record| record.spec.admission.as_ref());
        let recorded = admission.map(|admission| admission.epoch);
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

    /// What runs by an admission of ours that was forgotten with its kind: that is in force again.
    pub(super) fn readopt(&mut self, kind: Kind, news: &mut News) {
        if self.follows || kind.composite().is_none() {
            return;
        }
        for uid in self.keys(kind) {
            let admission = self
                .records
                .get(&uid)
                .and_then(|r| r.spec.admission.as_ref());
            let epoch = admission.map(|admission| admission.epoch);
            let runs = |view: &JobView| !view.is_suspended && !view.has_ended && !view.is_leaving;
            let by_it = |view: &JobView| epoch.is_some() && view.epoch == epoch && runs(view);
            if self.plans.contains_key(&uid) || !self.jobs.get(&uid).is_some_and(by_it) {
                continue;
            }
            self.adopt(&uid, news);
            self.seat_pods_of(&uid, news);
            let leaver = self
                .jobs
                .get(&uid)
                .filter(|_| self.leavers.contains_key(&uid));
            news.facts
                .extend(leaver.map(|view| Event::JobEvicted(view.id.clone())));
        }
    }

    /// Forgets the job with its admission; it is told anew.
    fn abandon(&mut self, uid: &Uid, news: &mut News) {
        if let Some(id) = self.told.get(uid) {
            news.facts.push(Event::JobWithdrawn(id.clone()));
            news.facts.extend(self.vacated(uid, true));
        }
        self.plans.remove_mut(uid);
    }
}
