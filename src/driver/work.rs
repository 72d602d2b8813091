//! Which jobs are looked at next, and which writes are under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::bucket::Bucket;
use crate::effects::Outcome;
use crate::observed::Uid;

/// Writes under way at the same time.
const WRITES_MAX: usize = 32;
/// Of these, reports that no pod waits for, while nothing else is under way.
const REPORTS_MAX: usize = 4;
/// And while something is.
const REPORTS_BESIDE: usize = 1;
/// Events of reports that may be written at once.
const EVENTS_MAX: u32 = 256;
/// And so many a second from then on.
const EVENTS_PER_SECOND: u32 = 10;

/// Requests that may be made at once, and in each second from then on, however fast the API server
/// answers.
const REQUESTS_MAX: u32 = 1_000;

/// Where a job stood that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Admissions,
    Reports,
}

/// Jobs about which something may have to be written.
pub(super) struct Work {
    pub(super) admissions: VecDeque<Uid>,
    /// First come, first served, each once.
    reports: VecDeque<Uid>,
    reported: BTreeSet<Uid>,
    /// Admissions that wait until others' records say that they leave.
    pub(super) awaiting: BTreeSet<Uid>,
    /// Whether the last job that was looked at was one to be reported about.
    reported_last: bool,
    /// Events that may be written.
    events: Bucket,
    /// Requests that may be made.
    requests: Bucket,
    /// A write about them is under way; true for a report.
    pub(super) busy: BTreeMap<Uid, bool>,
    pub(super) later: BTreeMap<Instant, Vec<Uid>>,
    pub(super) attempts: BTreeMap<Uid, u32>,
    pub(super) writes: JoinSet<Outcome>,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            admissions: VecDeque::new(),
            reports: VecDeque::new(),
            reported: BTreeSet::new(),
            awaiting: BTreeSet::new(),
            reported_last: false,
            events: Bucket::new(EVENTS_MAX, EVENTS_PER_SECOND),
            requests: Bucket::new(REQUESTS_MAX, REQUESTS_MAX),
            busy: BTreeMap::new(),
            later: BTreeMap::new(),
            attempts: BTreeMap::new(),
            writes: JoinSet::new(),
        }
    }
}

impl Work {
    /// Something may have to be reported about the job.
    pub(super) fn report(&mut self, uid: &str) {
        if self.reported.insert(uid.to_owned()) {
            self.reports.push_back(uid.to_owned());
        }
    }

    /// Whether an Event may be written now beside a report; takes it into account. When too many
    /// are to be told, what lasts has to do: records and conditions.
    pub(super) fn may_tell(&mut self, now: Instant) -> bool {
        let may = self.events.has_any(now);
        if may {
            self.events.take(now, 1);
        }
        may
    }

    /// So many requests are made.
    pub(super) fn spend(&mut self, requests: u32) {
        self.requests.take(Instant::now(), requests);
    }

    /// When something is to be looked at again, or may be written again.
    pub(super) fn wakeup(&self) -> Option<Instant> {
        let is_idle = self.admissions.is_empty() && self.reports.is_empty();
        let spent = self
            .requests
            .due()
            .filter(|due| !is_idle && *due > Instant::now());
        self.later
            .keys()
            .next()
            .copied()
            .into_iter()
            .chain(spent)
            .min()
    }

    /// The next job to look at: admissions in order, then reports if there are few under way. While
    /// none is, reports take turns with admissions: however many start, somebody is told why it
    /// waits. A job about which a write is under way is looked at again when that is done. None
    /// while as many writes as there may be are under way, or were made within the last second.
    pub(super) fn next(&mut self) -> Option<(Uid, Queue)> {
        if self.writes.len() >= WRITES_MAX || !self.requests.has_any(Instant::now()) {
            return None;
        }
        let is_due = !self.reported_last && !self.busy.values().any(|is_report| *is_report);
        let next = match is_due {
            true => self.next_report().or_else(|| self.next_admission()),
            false => self.next_admission().or_else(|| self.next_report()),
        };
        self.reported_last = matches!(next, Some((_, Queue::Reports)));
        next
    }

    fn next_admission(&mut self) -> Option<(Uid, Queue)> {
        loop {
            let uid = self.admissions.pop_front()?;
            if !self.busy.contains_key(&uid) {
                return Some((uid, Queue::Admissions));
            }
        }
    }

    fn next_report(&mut self) -> Option<(Uid, Queue)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_take_turns_with_admissions_while_none_is_under_way() {
        let mut work = Work {
            admissions: ["a", "b", "c"].map(str::to_owned).into(),
            ..Work::default()
        };
        work.report("w");
        work.report("x");
        let next = |work: &mut Work| work.next().map(|(uid, _)| uid);
        assert_eq!(next(&mut work).as_deref(), Some("w"));
        assert_eq!(next(&mut work).as_deref(), Some("a"));
        assert_eq!(next(&mut work).as_deref(), Some("x"));
        work.report("y");
        work.busy.insert("x".to_owned(), true);
        assert_eq!(next(&mut work).as_deref(), Some("b"));
        assert_eq!(next(&mut work).as_deref(), Some("c"));
        assert_eq!(next(&mut work).as_deref(), Some("y"));
        assert_eq!(next(&mut work), None);
    }

    #[test]
    fn beside_admissions_one_report_is_under_way() {
        let mut work = Work::default();
        work.busy.insert("starts".to_owned(), false);
        work.busy.insert("told".to_owned(), true);
        work.report("waits");
        assert_eq!(work.next(), None);
        work.busy.remove("starts");
        assert_eq!(work.next(), Some(("waits".to_owned(), Queue::Reports)));
    }

    #[test]
    fn so_many_requests_are_made_in_a_second() {
        let mut work = Work {
            admissions: ["a", "b", "c"].map(str::to_owned).into(),
            ..Work::default()
        };
        work.spend(REQUESTS_MAX - 1);
        assert!(work.next().is_some());
        assert_eq!(work.wakeup(), None);
        work.spend(REQUESTS_MAX);
        assert_eq!(work.next(), None);
        let wait = work.wakeup().unwrap() - Instant::now();
        assert!(wait < Duration::from_secs(2), "{wait:?}");
        work.admissions.clear();
        assert_eq!(work.wakeup(), None, "nothing is to be written");
    }
}
