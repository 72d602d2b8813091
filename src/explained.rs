//! Why jobs wait, as the core last explained it, and when they start, as last foretold. To explain costs what waits, so while many do the
//! core is not asked after every cycle: at once after the first for a while, and once more when
//! there were others since.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prorata_core::{JobId, Reason, Scheduler, Snapshot, Verdict};
use tokio::time::Instant;

use crate::api::Forecast;
use crate::forecast::Batch;
use crate::observed::Uid;
use crate::status::Standing;

/// More jobs than that are many.
const FEW: usize = 256;
/// The least time between two explanations while many jobs wait.
const PAUSE: Duration = Duration::from_secs(1);
/// To explain takes at most one part in so many of the time.
const PARTS: u32 = 10;

/// The explanations.
#[derive(Debug)]
pub struct Explained {
    reasons: BTreeMap<JobId, Reason>,
    /// What was foretold of the start of waiting jobs, by UID.
    forecasts: BTreeMap<Uid, Forecast>,
    /// Something has been decided since.
    is_outdated: bool,
    /// The core is not asked again before.
    next: Instant,
}

impl Explained {
    /// Nothing has been explained, and nothing decided yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            reasons: BTreeMap::new(),
            forecasts: BTreeMap::new(),
            is_outdated: false,
            next: now,
        }
    }

    /// Something has been decided: the reasons may have changed.
    pub const fn outdate(&mut self) {
        self.is_outdated = true;
    }

    /// When the core is to be asked; `None` while nothing has been decided since it was.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.is_outdated.then_some(self.next)
    }

    /// Asks the core, and returns the jobs of which something else is to be read than before.
    pub fn ask(&mut self, scheduler: &mut Scheduler) -> Vec<JobId> {
        let began = Instant::now();
        let changed = scheduler.explain();
        let snapshot = scheduler.snapshot();
        self.reasons.retain(|id, _| is_waiting(&snapshot, id));
        let mut jobs = Vec::new();
        for (id, verdict) in changed {
            if let Verdict::Waiting(reason) = verdict {
                let before = self.reasons.insert(id.clone(), reason.clone());
                // Mostly only numbers have changed that nobody is told.
                if before.is_none_or(|before| reads(before) != reads(reason)) {
                    jobs.push(id);
                }
            }
        }
        let now = Instant::now();
        let many = self.reasons.len() > FEW;
        let pause = if many { PAUSE } else { Duration::ZERO };
        self.next = now + pause.max((now - began) * (PARTS - 1));
        self.is_outdated = false;
        jobs
    }

    /// Takes up what is foretold, and forgets what was foretold of jobs that wait no more.
    pub fn foretell(&mut self, batch: Batch, snapshot: &Snapshot) {
        self.forecasts.extend(batch);
        let waiting: BTreeSet<&str> = snapshot
            .jobs()
            .filter(|job| !snapshot.holds_places(&job.id))
            .map(|job| job.id.uid())
            .collect();
        self.forecasts
            .retain(|uid, _| waiting.contains(uid.as_str()));
    }

    /// What was last foretold of a job.
    #[must_use]
    pub fn forecast(&self, uid: &str) -> Option<&Forecast> {
        self.forecasts.get(uid)
    }

    /// What became of a job; `None` where that is unknown, or not explained yet.
    #[must_use]
    pub fn verdict(&self, snapshot: &Snapshot, job: &JobId) -> Option<Verdict> {
        if is_waiting(snapshot, job) {
            self.reasons.get(job).cloned().map(Verdict::Waiting)
        } else {
            snapshot.verdict(job)
        }
    }
}

fn reads(reason: Reason) -> Standing {
    Standing::of(&Verdict::Waiting(reason), None)
}

fn is_waiting(snapshot: &Snapshot, job: &JobId) -> bool {
    snapshot.job(job).is_some() && !snapshot.holds_places(job)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prorata_core::{Event, Job, Node, Policy, Resources, Tenant, Time};

    fn job(name: &str, gpus: u64) -> Job {
        let id = JobId::new("red", name, name);
        Job::new(id, "red".into(), 1, Resources::gpus(gpus))
    }

    fn submit(core: &mut Scheduler, job: Job) {
        core.observe(Time::ZERO, Event::JobSubmitted(job));
        let _ = core.cycle(Time::ZERO);
    }

    #[test]
    fn the_first_of_many_is_explained_at_once_and_the_last_a_little_later() {
        let mut core = Scheduler::new(Policy::default());
        let node = Node {
            allocatable: Resources::gpus(4),
            ..Node::new("a")
        };
        core.observe(Time::ZERO, Event::NodeSeen(node));
        core.observe(Time::ZERO, Event::TenantChanged(Tenant::new("red")));
        let start = Instant::now();
        let mut explained = Explained::new(start);
        assert_eq!(explained.due(), None);

        let runs = job("runs", 1);
        submit(&mut core, runs.clone());
        for number in 0..=FEW {
            submit(&mut core, job(&format!("wait-{number:03}"), 8));
        }
        explained.outdate();
        assert_eq!(explained.due(), Some(start));
        assert_eq!(explained.ask(&mut core).len(), FEW + 1);
        assert_eq!(explained.due(), None);

        let last = job("last", 4);
        submit(&mut core, last.clone());
        explained.outdate();
        assert!(explained.due() >= Some(start + PAUSE));
        let snapshot = core.snapshot();
        assert_eq!(explained.verdict(&snapshot, &last.id), None);
        let admitted = explained.verdict(&snapshot, &runs.id);
        assert!(matches!(admitted, Some(Verdict::Admitted(_))));

        let changed = explained.ask(&mut core);
        assert_eq!(changed, std::slice::from_ref(&last.id));
        let waiting = explained.verdict(&snapshot, &last.id);
        let full = Reason::CapacityFull { gang: 1, best: 0 };
        assert_eq!(waiting, Some(Verdict::Waiting(full)));
    }
}
