//! Which jobs are looked at next, and which writes are under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::effects::Outcome;
use crate::observed::Uid;

/// Writes under way at the same time.
const WRITES_MAX: usize = 32;
/// Of these, reports that no pod waits for, while nothing else is under way.
const REPORTS_MAX: usize = 4;
/// And while something is.
const REPORTS_BESIDE: usize = 1;
/// More jobs to be reported about are a flood.
const FLOOD: usize = 256;

/// Where a job stood that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Admissions,
    Reports,
}

/// Jobs about which something may have to be written.
#[derive(Default)]
pub(super) struct Work {
    pub(super) admissions: VecDeque<Uid>,
    /// First come, first served, each once.
    reports: VecDeque<Uid>,
    reported: BTreeSet<Uid>,
    /// A write about them is under way; true for a report.
    pub(super) busy: BTreeMap<Uid, bool>,
    pub(super) later: BTreeMap<Instant, Vec<Uid>>,
    pub(super) attempts: BTreeMap<Uid, u32>,
    pub(super) writes: JoinSet<Outcome>,
}

impl Work {
    /// Something may have to be reported about the job.
    pub(super) fn report(&mut self, uid: &str) {
        if self.reported.insert(uid.to_owned()) {
            self.reports.push_back(uid.to_owned());
        }
    }

    /// Whether so much is to be reported that only what lasts can be.
    pub(super) fn is_flooded(&self) -> bool {
        self.reports.len() > FLOOD
    }

    /// The next job to look at: admissions in order, then reports if there are few under way. A
    /// job about which a write is under way is looked at again when that is done. None while as
    /// many writes as there may be are under way.
    pub(super) fn next(&mut self) -> Option<(Uid, Queue)> {
        if self.writes.len() >= WRITES_MAX {
            return None;
        }
        while let Some(uid) = self.admissions.pop_front() {
            if !self.busy.contains_key(&uid) {
                return Some((uid, Queue::Admissions));
            }
        }
        let reports = self.busy.values().filter(|is_report| **is_report).count();
        let most = match self.busy.len() - reports {
            0 => REPORTS_MAX,
            _ => REPORTS_BESIDE,
        };
        if reports >= most {
            return None;
        }
        loop {
            let uid = self.reports.pop_front()?;
            self.reported.remove(&uid);
            if !self.busy.contains_key(&uid) {
                return Some((uid, Queue::Reports));
            }
        }
    }

    /// Looks at the job again after a while, twice as long after each failure.
    pub(super) fn put_off(&mut self, uid: &str, least: Duration) -> Duration {
        let attempts = self.attempts.entry(uid.to_owned()).or_default();
        let wait = Duration::from_millis(100 << (*attempts).min(9)).max(least);
        *attempts += 1;
        self.look_again(uid, wait);
        wait
    }

    pub(super) fn look_again(&mut self, uid: &str, wait: Duration) {
        let due = self.later.entry(Instant::now() + wait).or_default();
        due.push(uid.to_owned());
    }

    /// The jobs whose time has come.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Uid> {
        let still_later = self.later.split_off(&(now + Duration::from_nanos(1)));
        let due = std::mem::replace(&mut self.later, still_later);
        due.into_values().flatten().collect()
    }
}
