//! What one picture after the other tells about how long jobs run and which arrive.

use std::collections::BTreeMap;

use prorata_core::{Job, JobId, Snapshot, Time};
use prorata_simulator::forecast::History;

/// What was learnt from the pictures so far.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) history: History,
    /// Unfinished jobs in the last picture, and since when each ran.
    last: BTreeMap<JobId, (Job, Option<Time>)>,
}

impl Watched {
    /// Takes up a picture. Returns the jobs that have started since the last one, and when.
    pub(super) fn look(&mut self, snapshot: &Snapshot, now: Time) -> Vec<(JobId, Time)> {
        let mut arrived: Vec<&Job> = snapshot
            .jobs()
            .filter(|job| !self.last.contains_key(&job.id))
            .collect();
        arrived.sort_by(|a, b| (a.submitted, &a.id).cmp(&(b.submitted, &b.id)));
        arrived.iter().for_each(|job| self.history.arrived(job));
        for (id, (job, started)) in &self.last {
            if let Some(started) = started.filter(|_| snapshot.job(id).is_none()) {
                self.history.ended(job, now.since(started));
            }
        }
        let mut started = Vec::new();
        let last = std::mem::take(&mut self.last);
        for job in snapshot.jobs() {
            let since = snapshot.started(&job.id);
            let waited = last
                .get(&job.id)
                .is_some_and(|(_, before)| before.is_none());
            if let Some(since) = since.filter(|_| waited) {
                started.push((job.id.clone(), since));
            }
            self.last.insert(job.id.clone(), (job.clone(), since));
        }
        started
    }
}
