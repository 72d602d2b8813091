//! The numbers of a group of jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::fairness::{TenantSums, gpus, hours};
use crate::metrics::{Distribution, float, rounded};
use crate::run::{Fate, Run, millis};
use crate::scenario::Scenario;

/// The numbers of a group of jobs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// How many were submitted.
    pub jobs: usize,
    /// How many ended.
    pub finished: usize,
    /// Last end − first submission.
    pub makespan_ms: Option<u64>,
    /// Completion time: end − submission, of the jobs that ended.
    pub jct_ms: Option<Distribution>,
    /// Queueing delay: all the time that a job was pending, also after it had to leave. A job
    /// that still waits at the end counts with its wait so far; one that can never start does
    /// not count.
    pub wait_ms: Option<Distribution>,
    /// First start − submission, of the same jobs.
    pub first_start_ms: Option<Distribution>,
    /// max(1, completion time ÷ max(run time at full speed, 10 s)), of the jobs that ended: the
    /// mean.
    pub bounded_slowdown_mean: Option<f64>,
    /// Finish-time fairness, of the jobs that ended.
    pub finish_time_fairness: Option<FinishTime>,
    /// GPU-hours held.
    pub gpu_hours: f64,
    /// GPU-hours that were due and not given; see [`TenantSums::deficit_gpu_hours`].
    pub deficit_gpu_hours: f64,
    /// How often a job had to leave for another.
    pub evictions: usize,
    /// The same for each hundred jobs.
    pub evictions_per_100_jobs: f64,
    /// The most that one job had to leave.
    pub evictions_max: usize,
    /// How often a job broke off because something failed.
    pub failures: u64,
    /// GPU-hours held for nothing: work since the last checkpoint of jobs that had to leave or
    /// broke off, loading what was saved, and leaving.
    pub lost_gpu_hours: f64,
    /// The same ÷ GPU-hours held: what preemption and faults cost.
    pub overhead: f64,
    /// What the GPUs that it held cost, where pools have prices.
    pub cost: f64,
    /// For how many hours its jobs waited, by the code of the reason. `NotSampled` are waits
    /// that ended before anybody asked, in long runs.
    pub waited_hours: BTreeMap<&'static str, f64>,
}

/// Finish-time fairness in a form that needs no second run: completion time ÷ (run time alone ×
/// max(1, jobs ÷ GPUs)), with all jobs and GPUs of the scenario. After ρ of Themis (NSDI 2020);
/// above 1, a job fared worse than in a private part of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FinishTime {
    /// The mean.
    pub mean: f64,
    /// The greatest.
    pub max: f64,
    /// The part of the jobs for which it is above 1.05.
    pub above_1_05: f64,
}

impl Group {
    /// Of these jobs of a run.
    pub(super) fn of(scenario: &Scenario, run: &Run, jobs: &[&Fate], sums: &TenantSums) -> Self {
        let ended = jobs.iter().filter_map(|fate| fate.finished);
        let first = jobs.iter().map(|fate| fate.job.submitted).min();
        let makespan = ended.clone().max().zip(first);
        let hopeful = jobs.iter().filter(|fate| !fate.is_hopeless());
        let arrived = hopeful.filter(|fate| fate.job.submitted <= run.end);
        let spread = |of: &dyn Fn(&Fate) -> Option<Duration>| {
            Distribution::of(arrived.clone().filter_map(|fate| of(fate)).map(millis))
        };
        let evictions: usize = jobs.iter().map(|fate| fate.evictions.len()).sum();
        let per_job = float(evictions as u128) / float(jobs.len().max(1) as u128);
        let held: u128 = jobs.iter().map(|fate| fate.gpu).sum();
        let lost: u128 = jobs.iter().map(|fate| fate.gpu_lost).sum();
        Self {
            jobs: jobs.len(),
            finished: ended.count(),
            makespan_ms: makespan.map(|(last, first)| millis(last.since(first))),
            jct_ms: spread(&Fate::completion),
            wait_ms: spread(&|fate| Some(fate.wait(run.end))),
            first_start_ms: spread(&|fate| Some(fate.first_wait(run.end))),
            bounded_slowdown_mean: mean(jobs.iter().filter_map(|fate| slowdown(fate))).map(rounded),
            finish_time_fairness: FinishTime::of(scenario, run, jobs),
            gpu_hours: rounded(sums.gpu_hours),
            deficit_gpu_hours: rounded(sums.deficit_gpu_hours),
            evictions,
            evictions_per_100_jobs: rounded(per_job * 100.0),
            evictions_max: jobs.iter().map(|f| f.evictions.len()).max().unwrap_or(0),
            failures: jobs.iter().map(|fate| u64::from(fate.failures)).sum(),
            lost_gpu_hours: rounded(float(lost) / MILLI_GPU_MS),
            overhead: rounded(float(lost) / float(held.max(1))),
            cost: rounded(jobs.iter().map(|fate| fate.cost.0).sum()),
            waited_hours: waited(jobs),
        }
    }
}

/// Milli-GPU-milliseconds of a GPU-hour.
const MILLI_GPU_MS: f64 = 3_600_000_000.0;

impl FinishTime {
    fn of(scenario: &Scenario, run: &Run, jobs: &[&Fate]) -> Option<Self> {
        let gpus = gpus(&scenario.capacity());
        let crowd = (float(run.jobs.len() as u128) / gpus.max(f64::MIN_POSITIVE)).max(1.0);
        let rho = |fate: &&Fate| {
            let alone = float(fate.runtime.as_millis().max(1)) * crowd;
            Some(float(fate.completion()?.as_millis()) / alone)
        };
        let all: Vec<f64> = jobs.iter().filter_map(rho).collect();
        let late = all.iter().filter(|rho| **rho > 1.05).count();
        Some(Self {
            mean: rounded(mean(all.iter().copied())?),
            max: rounded(all.iter().copied().fold(0.0, f64::max)),
            above_1_05: rounded(float(late as u128) / float(all.len() as u128)),
        })
    }
}

fn slowdown(fate: &Fate) -> Option<f64> {
    let run = fate.runtime.max(Duration::from_secs(10));
    let ratio = float(fate.completion()?.as_millis()) / float(run.as_millis());
    Some(ratio.max(1.0))
}

fn waited(jobs: &[&Fate]) -> BTreeMap<&'static str, f64> {
    let mut spans: BTreeMap<&'static str, Duration> = BTreeMap::new();
    for (code, span) in jobs.iter().flat_map(|fate| &fate.waits) {
        *spans.entry(code).or_default() += *span;
    }
    let hours = |(code, span)| (code, rounded(hours(span)));
    spans.into_iter().map(hours).collect()
}

fn mean(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = numbers.fold((0.0, 0_u32), |(sum, count), n| (sum + n, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}
