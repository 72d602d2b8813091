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
/// Events of reports that may be written at once.
const EVENTS_MAX: u32 = 256;
/// And so many a second from then on.
const EVENTS_PER_SECOND: u32 = 10;

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
    /// Admissions that wait until others' records say that they leave.
    pub(super) awaiting: BTreeSet<Uid>,
    /// Whether the last job that was looked at was one to be reported about.
    reported_last: bool,
    /// Events that may be written, as of a moment; all of them before the first.
    events: Option<(u32, Instant)>,
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

    /// Whether an Event may be written now beside a report; takes it into account. When too many
    /// are to be told, what lasts has to do: records and conditions.
    pub(super) fn may_tell(&mut self, now: Instant) -> bool {
        let (left, since) = self.events.unwrap_or((EVENTS_MAX, now));
        let seconds = u32::try_from((now - since).as_secs()).unwrap_or(u32::MAX);
        let earned = seconds.saturating_mul(EVENTS_PER_SECOND);
        let left = left.saturating_add(earned).min(EVENTS_MAX);
        let since = since + Duration::from_secs(u64::from(seconds));
        self.events = Some((left.saturating_sub(1), since));
        left > 0
    }

    /// The next job to look at: admissions in order, then reports if there are few under way. While
    /// none is, reports take turns with admissions: however many start, somebody is told why it
    /// waits. A job about which a write is under way is looked at again when that is done. None
    /// while as many writes as there may be are under way.
    pub(super) fn next(&mut self) -> Option<(Uid, Queue)> {
        if self.writes.len() >= WRITES_MAX {
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
    fn so_many_events_at_once_and_then_some_each_second() {
        let mut work = Work::default();
        let now = Instant::now();
        let told = |work: &mut Work, now| (0..1000).filter(|_| work.may_tell(now)).count();
        assert_eq!(told(&mut work, now), EVENTS_MAX as usize);
        let later = now + Duration::from_millis(2500);
        assert_eq!(told(&mut work, later), 2 * EVENTS_PER_SECOND as usize);
        let later = now + Duration::from_secs(3);
        assert_eq!(told(&mut work, later), EVENTS_PER_SECOND as usize);
        let later = now + Duration::from_secs(3600);
        assert_eq!(told(&mut work, later), EVENTS_MAX as usize);
    }
}
