//! When to look closely. Why jobs wait costs what waits, and what is lost to fragmentation costs
//! the nodes, so a long run looks on a grid of simulated time, and a short one after every step.

use std::time::Duration;

use prorata_core::Time;

use crate::workload::Drawn;

/// How often a run looks at the whole queue, about. A look costs some microseconds for each job
/// that waits.
const REASONS: u32 = 300;
/// How often it looks at all nodes, about.
const NODES: u32 = 1000;
/// Jobs that are explained before only the grid counts: a run of a thousand jobs is explained
/// after every step.
const EXPLAINED_MAX: usize = 100_000;

/// When to look closely.
#[derive(Debug)]
pub(super) struct Sampling {
    reasons: Grid,
    nodes: Grid,
    explained: usize,
}

/// Evenly spaced moments, twice as far apart each time that there were so many of them.
#[derive(Debug)]
struct Grid {
    many: u32,
    gap: Duration,
    next: Time,
    looks: u32,
}

impl Sampling {
    pub(super) fn new(until: Time, work: &[Drawn]) -> Self {
        let last = work.iter().map(|drawn| drawn.job.submitted).max();
        let horizon = last.unwrap_or_default().min(until).since(Time::ZERO);
        Self {
            reasons: Grid::new(horizon, REASONS),
            nodes: Grid::new(horizon, NODES),
            explained: 0,
        }
    }

    /// Whether to ask now why so many jobs wait.
    pub(super) fn explains(&mut self, now: Time, waiting: usize) -> bool {
        let is_due = self.reasons.is_due(now);
        let is_cheap = self.explained.saturating_add(waiting) <= EXPLAINED_MAX;
        if is_due || is_cheap {
            self.explained += waiting;
        }
        is_due || is_cheap
    }

    /// Whether to look at all nodes now.
    pub(super) fn looks(&mut self, now: Time) -> bool {
        self.nodes.looks < NODES && self.nodes.looked() || self.nodes.is_due(now)
    }
}

impl Grid {
    fn new(horizon: Duration, many: u32) -> Self {
        Self {
            many,
            gap: (horizon / many).max(Duration::from_secs(1)),
            next: Time::ZERO,
            looks: 0,
        }
    }

    fn is_due(&mut self, now: Time) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + self.gap;
        self.looked()
    }

    fn looked(&mut self) -> bool {
        self.looks += 1;
        if self.looks.is_multiple_of(self.many) {
            self.gap *= 2;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prorata_core::{Job, JobId, Resources};

    #[test]
    fn a_long_run_is_looked_at_rarely() {
        let id = JobId::new("red", "job", "");
        let job = Job {
            submitted: Time::from_millis(10_000_000),
            ..Job::new(id, "red".into(), 1, Resources::gpus(1))
        };
        let drawn = Drawn {
            job,
            runtime: Duration::ZERO,
            checkpoint: None,
            busy: 1000,
            restart: Duration::ZERO,
        };
        let mut sampling = Sampling::new(Time::from_millis(u64::MAX), &[drawn]);
        let moments = (0..20_000_u64).map(|i| Time::from_millis(i * 1000));
        let looks = moments.clone().filter(|now| sampling.looks(*now)).count();
        assert!((1_000..2_600).contains(&looks), "{looks}");
        let explained = moments.filter(|now| sampling.explains(*now, 1000)).count();
        assert!((300..800).contains(&explained), "{explained}");
    }
}
