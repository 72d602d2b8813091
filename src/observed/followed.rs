//! Admissions that another controller decides: what the records say is in force.

use super::{News, Observed, Plan, Uid};
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

    /// Forgets the job with its admission; it is told anew.
    fn abandon(&mut self, uid: &Uid, news: &mut News) {
        if let Some(id) = self.told.get(uid) {
            news.facts.push(Event::JobWithdrawn(id.clone()));
            news.facts.extend(self.vacated(uid, true));
        }
        self.plans.remove_mut(uid);
    }
}
