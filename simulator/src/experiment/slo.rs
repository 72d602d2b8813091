//! A service level objective, such as `p95(wait, priority=high) <= 30m`: which jobs it is about,
//! what is measured of them, and the bound. How it is written is in `slo/expression.rs`.

use std::cmp::Ordering;
use std::time::Duration;

use super::estimate::{Estimate, float};
use super::trial::{JobRow, span, whole};

mod expression;

/// An objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    function: Function,
    measure: Measure,
    filters: Vec<Filter>,
    relation: Relation,
    /// In milliseconds, or a plain number for the slowdown.
    bound: f64,
    /// All before the relation, as written.
    measured: String,
}

/// How many numbers become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Mean,
    Max,
    /// `sorted[⌊p/100 · n⌋]`, as everywhere in reports.
    Percentile(usize),
}

/// What is measured of a job. Nothing here ends for a job that never started, or did not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// How long it waited.
    Wait,
    /// From submission to end.
    Jct,
    /// max(1, from submission to end ÷ max(run time, 10 s)).
    Slowdown,
}

/// Which jobs count.
#[derive(Clone, Debug, PartialEq)]
enum Filter {
    Tenant(String),
    Priority(Relation, i32),
    Gpus(Relation, f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

const SLOWDOWN_RUNTIME_MIN: Duration = Duration::from_secs(10);

impl Slo {
    /// The statistic of one run's jobs: milliseconds, or a plain number for the slowdown. Infinite
    /// when it takes in a job that never started, or for completion did not end. `None` when no job
    /// is meant.
    #[must_use]
    pub fn statistic(&self, jobs: &[JobRow]) -> Option<f64> {
        let meant = jobs
            .iter()
            .filter(|job| self.filters.iter().all(|f| f.lets(job)));
        let mut numbers: Vec<f64> = meant.map(|job| self.measure.of(job)).collect();
        numbers.sort_by(f64::total_cmp);
        let last = *numbers.last()?;
        Some(match self.function {
            Function::Mean => numbers.iter().sum::<f64>() / float(numbers.len()),
            Function::Max => last,
            Function::Percentile(p) => *numbers.get(numbers.len() * p / 100).unwrap_or(&last),
        })
    }

    /// Whether the whole confidence interval keeps within the bound: one can then be sure of it,
    /// where the mean alone would be a coin's throw.
    #[must_use]
    pub fn is_met(&self, estimate: &Estimate) -> bool {
        let end = match self.relation {
            Relation::Less | Relation::AtMost => estimate.high,
            Relation::Equal | Relation::AtLeast | Relation::More => estimate.low,
        };
        self.relation.holds(end, self.bound)
    }

    /// What is measured, as it was written: `p95(wait, priority=high)`.
    #[must_use]
    pub fn measured(&self) -> &str {
        &self.measured
    }

    /// A statistic for people.
    #[must_use]
    pub fn show(&self, number: f64) -> String {
        match self.measure {
            _ if number.is_infinite() => "∞".to_owned(),
            Measure::Wait | Measure::Jct => span(whole(number)),
            Measure::Slowdown => format!("{number:.2}"),
        }
    }
}

impl Measure {
    fn of(self, job: &JobRow) -> f64 {
        let wait = job.started.then_some(job.wait);
        let ended = match self {
            Self::Wait => wait.map(millis),
            Self::Jct => job.completion.map(millis),
            Self::Slowdown => job.completion.map(|completion| {
                let runtime = job.runtime.max(SLOWDOWN_RUNTIME_MIN);
                (millis(completion) / millis(runtime)).max(1.0)
            }),
        };
        ended.unwrap_or(f64::INFINITY)
    }
}

impl Filter {
    fn lets(&self, job: &JobRow) -> bool {
        match self {
            Self::Tenant(tenant) => job.tenant == *tenant,
            Self::Priority(relation, value) => relation.holds(job.priority, *value),
            Self::Gpus(relation, gpus) => relation.holds(job.gpus, *gpus),
        }
    }
}

impl Relation {
    fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        left.partial_cmp(&right).is_some_and(|order| match self {
            Self::Less => order == Ordering::Less,
            Self::AtMost => order != Ordering::Greater,
            Self::Equal => order == Ordering::Equal,
            Self::AtLeast => order != Ordering::Less,
            Self::More => order == Ordering::Greater,
        })
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::super::trial::Classes;
    use super::*;

    fn job(tenant: &str, priority: i32, gpus: f64, minutes: u64) -> JobRow {
        let wait = Duration::from_secs(60 * minutes);
        JobRow {
            tenant: tenant.to_owned(),
            priority,
            gpus,
            submitted: Duration::ZERO,
            wait,
            runtime: Duration::from_secs(60),
            completion: Some(wait + Duration::from_secs(60)),
            started: true,
            hopeless: false,
        }
    }

    fn slo(text: &str) -> Slo {
        let classes = Classes::from([("high".to_owned(), 1000)]);
        Slo::parse(text, &["red", "blue"], &classes).unwrap()
    }

    fn minutes(text: &str, jobs: &[JobRow]) -> Option<f64> {
        slo(text).statistic(jobs).map(|ms| ms / 60_000.0)
    }

    #[test]
    fn a_statistic_is_over_the_jobs_that_are_meant() {
        let jobs = [
            job("red", 0, 1.0, 10),
            job("red", 1000, 8.0, 20),
            job("blue", 0, 8.0, 60),
        ];
        assert_eq!(minutes("mean(wait) <= 1h", &jobs), Some(30.0));
        assert_eq!(minutes("mean(wait, tenant=red) <= 1h", &jobs), Some(15.0));
        assert_eq!(minutes("max(wait, priority=high) <= 1h", &jobs), Some(20.0));
        assert_eq!(
            minutes("max(wait, gpus>=8, tenant=red) <= 1h", &jobs),
            Some(20.0)
        );
        assert_eq!(minutes("p50(wait) <= 1h", &jobs), Some(20.0));
        assert_eq!(minutes("p100(jct) <= 1h", &jobs), Some(61.0));
        assert_eq!(
            slo("max(slowdown, tenant=red) < 2.5").statistic(&jobs),
            Some(21.0)
        );
        assert_eq!(minutes("max(wait, gpus=2) <= 1h", &jobs), None);
    }

    #[test]
    fn a_job_that_never_starts_or_ends_takes_for_ever() {
        let mut jobs: Vec<JobRow> = (0..20).map(|n| job("red", 0, 1.0, n)).collect();
        jobs[0].started = false;
        jobs[0].completion = None;
        let infinite = |text: &str| slo(text).statistic(&jobs).unwrap().is_infinite();
        assert!(infinite("mean(wait) <= 1h") && infinite("max(jct) <= 1h"));
        assert!(infinite("p95(wait) <= 1h") && !infinite("p90(wait) <= 1h"));
        assert_eq!(slo("max(wait) <= 1h").show(f64::INFINITY), "∞");
    }

    #[test]
    fn it_is_met_when_the_whole_interval_keeps_within() {
        let estimate = |low: f64, high: f64| Estimate {
            count: 10,
            mean: f64::midpoint(low, high),
            low,
            high,
        };
        let minute = 60_000.0;
        let within = slo("p95(wait) <= 30m");
        assert!(within.is_met(&estimate(10.0 * minute, 30.0 * minute)));
        assert!(!within.is_met(&estimate(10.0 * minute, 30.1 * minute)));
        assert!(!slo("p95(wait) < 30m").is_met(&estimate(0.0, 30.0 * minute)));
        assert!(!slo("p95(wait) >= 30m").is_met(&estimate(29.0 * minute, 90.0 * minute)));
        let never = Estimate::of(&[f64::INFINITY, 1.0]).unwrap();
        assert!(!within.is_met(&never) && !slo("p95(wait) >= 30m").is_met(&never));
    }
}
