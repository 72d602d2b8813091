//! What all runs of a forecast have in common: the state in which they begin, and the jobs in it.

use std::collections::HashMap;

use prorata_core::{Decision, Event, Job, JobId, Scheduler, Snapshot, Time};

use super::History;

/// Arrivals in one run at most; and no more than there are jobs already, if these are more than
/// the least.
const ARRIVALS_MAX: usize = 2_000;
const ARRIVALS_MIN: usize = 200;

/// The state in which every run begins. The core has decided all that can be decided now.
#[derive(Clone, Debug)]
pub(super) struct Present {
    pub(super) core: Scheduler,
    pub(super) now: Time,
    /// Every unfinished job, by namespace and name.
    pub(super) jobs: Vec<Known>,
    /// What the first cycle decided.
    pub(super) decided: Vec<Decision>,
    /// Names for jobs that arrive later.
    pub(super) newcomers: Vec<JobId>,
    /// Where each stands among `jobs`; newcomers come after them. Looked up only.
    pub(super) by_id: HashMap<JobId, usize>,
}

/// A job when the runs begin.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) job: Job,
    /// Since when it runs.
    pub(super) started: Option<Time>,
}

impl Present {
    /// The state of a snapshot, as it is at `now`.
    pub(super) fn of(snapshot: &Snapshot, now: Time) -> Self {
        let now = now.max(snapshot.decided());
        let mut core = Scheduler::new(snapshot.policy().clone());
        for fact in snapshot.facts() {
            // What only counts as assumed is freed by one event, and holds the same places.
            if !matches!(fact, Event::TaskBound(..) | Event::JobReleased(_)) {
                core.observe(now, fact);
            }
        }
        let known = |job: &Job| Known {
            job: job.clone(),
            started: snapshot.started(&job.id),
        };
        let jobs: Vec<Known> = snapshot.jobs().map(known).collect();
        let by_id = jobs.iter().enumerate();
        let by_id = by_id.map(|(i, known)| (known.job.id.clone(), i)).collect();
        let decided = core.cycle(now).decisions;
        Self {
            core,
            now,
            jobs,
            decided,
            newcomers: Vec::new(),
            by_id,
        }
    }

    /// One more job, that waits.
    pub(super) fn add(&mut self, job: Job) {
        self.by_id.insert(job.id.clone(), self.jobs.len());
        let started = None;
        self.jobs.push(Known { job, started });
    }

    /// The same, ready for jobs to arrive if any are to be expected.
    pub(super) fn with_arrivals(&self, history: &History) -> Self {
        let mut present = self.clone();
        let most = self.jobs.len().clamp(ARRIVALS_MIN, ARRIVALS_MAX);
        for number in 0..if history.expects() { most } else { 0 } {
            // Sorts after every name that Kubernetes allows, so that ties are not theirs.
            let id = JobId::new("~", &format!("{number:04}"), "");
            present.by_id.insert(id.clone(), self.jobs.len() + number);
            present.newcomers.push(id);
        }
        present
    }
}
