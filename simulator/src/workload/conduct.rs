//! How jobs behave while they run, and how they may be treated.

use std::time::Duration;

use prorata_core::Job;

use super::Drawn;

/// How the jobs of a stream or of a trace behave, and how they may be treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conduct {
    /// Value of their PriorityClass.
    pub priority: i32,
    /// Their PriorityClass counts across tenants.
    pub cluster_wide: bool,
    /// Their PriorityClass is protected from eviction.
    pub protected: bool,
    /// Their users let them be evicted.
    pub preemptible: bool,
    /// The longest runtime that their users declare.
    pub max_duration: Option<Longest>,
    /// How often they save their work; `None`: never.
    pub checkpoint: Option<Duration>,
    /// What each start after an eviction or a fault costs.
    pub restart: Duration,
    /// Thousandths of their GPUs that they keep busy.
    pub busy: u32,
}

/// A declared maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Longest {
    /// The same for all. What would run longer is ended then.
    Is(Duration),
    /// So many thousandths of what each runs: users who know, within a factor.
    Times(u32),
}

impl Default for Conduct {
    /// No priority, declares nothing, saves nothing, keeps its GPUs busy, and may be evicted.
    fn default() -> Self {
        Self {
            priority: 0,
            cluster_wide: false,
            protected: false,
            preemptible: true,
            max_duration: None,
            checkpoint: None,
            restart: Duration::ZERO,
            busy: 1000,
        }
    }
}

impl Conduct {
    /// The job, behaving like this and running so long. What it expects of itself is exact:
    /// orders by length know the truth here. A maximum that it has already declared stands.
    pub(super) fn drawn(&self, job: Job, runtime: Duration) -> Drawn {
        let declared = job.max_duration.or_else(|| self.longest(runtime));
        let runtime = declared.map_or(runtime, |longest| runtime.min(longest));
        Drawn {
            job: Job {
                priority: self.priority,
                cluster_wide: self.cluster_wide,
                protected: self.protected,
                preemptible: self.preemptible,
                max_duration: declared,
                expected: Some(runtime),
                ..job
            },
            runtime,
            checkpoint: self.checkpoint,
            busy: self.busy,
            restart: self.restart,
        }
    }

    fn longest(&self, runtime: Duration) -> Option<Duration> {
        Some(match self.max_duration? {
            Longest::Is(longest) => longest,
            Longest::Times(thousandths) => runtime.saturating_mul(thousandths) / 1000,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prorata_core::{JobId, Resources};

    fn drawn(longest: Option<Longest>, declared: Option<u64>) -> Drawn {
        let conduct = Conduct {
            priority: 7,
            preemptible: false,
            max_duration: longest,
            ..Conduct::default()
        };
        let id = JobId::new("red", "a", "");
        let job = Job {
            max_duration: declared.map(Duration::from_secs),
            ..Job::new(id, "red".into(), 1, Resources::gpus(1))
        };
        conduct.drawn(job, Duration::from_secs(100))
    }

    fn seconds(longest: Option<Longest>, declared: Option<u64>) -> (Option<u64>, u64) {
        let drawn = drawn(longest, declared);
        assert_eq!(drawn.job.expected, Some(drawn.runtime));
        let declared = drawn.job.max_duration.map(|d| d.as_secs());
        (declared, drawn.runtime.as_secs())
    }

    #[test]
    fn what_runs_longer_than_declared_is_ended_then() {
        let is = |s| Some(Longest::Is(Duration::from_secs(s)));
        assert_eq!(seconds(None, None), (None, 100));
        assert_eq!(seconds(is(250), None), (Some(250), 100));
        assert_eq!(seconds(is(40), None), (Some(40), 40));
        assert_eq!(seconds(Some(Longest::Times(1500)), None), (Some(150), 100));
        assert_eq!(seconds(is(250), Some(120)), (Some(120), 100));
    }

    #[test]
    fn jobs_are_treated_as_their_class_says() {
        let job = drawn(None, None).job;
        assert_eq!(
            (job.priority, job.preemptible, job.protected),
            (7, false, false)
        );
    }
}
