//! `summary.json`: the numbers of a scenario under each order, for programs and for the report.

use std::time::Duration;

use prorata_core::{TenantId, Time};
use serde::Serialize;

use crate::fairness::{Sums, TenantSums, sums};
use crate::metrics::{Distribution, float, rounded};
use crate::run::{Fate, Run};
use crate::scenario::{Scenario, order_name};

/// The version of the file's format.
pub const SCHEMA: &str = "prorata.dev/summary/v1alpha1";

/// The whole file. Times are in milliseconds of the simulation, which begins at 0.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The scenario's name.
    pub scenario: String,
    /// Where the draws began.
    pub seed: u64,
    /// SHA-256 of the scenario's file.
    pub input_hash: String,
    /// Version of the simulator.
    pub version: &'static str,
    /// GPUs of all nodes.
    pub gpus: f64,
    /// The same work under each order.
    pub orders: Vec<OrderSummary>,
}

/// The numbers under one order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OrderSummary {
    /// The order's name.
    pub order: &'static str,
    /// Last end of a job − first submission; `null` when none ended.
    pub makespan_ms: Option<u64>,
    /// GPU-hours held ÷ GPU-hours there were, from first submission to the end of the run.
    /// Requested, not used: utilisation inside a job is not modelled.
    pub allocation_ratio: f64,
    /// The same over the time during which some job waited.
    pub allocation_ratio_while_waiting: Option<f64>,
    /// See [`Sums::share_gap_max`].
    pub share_gap_max: f64,
    /// See [`Sums::jain`].
    pub jain_index: Option<f64>,
    /// Over all jobs.
    pub all: Group,
    /// Per tenant, in the scenario's order.
    pub tenants: Vec<TenantSummary>,
    /// Jobs that did not end, with why.
    pub unfinished: Vec<Unfinished>,
}

/// The numbers of one tenant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TenantSummary {
    /// Its name.
    pub tenant: String,
    /// Over its jobs.
    #[serde(flatten)]
    pub group: Group,
}

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
    /// Queueing delay: start − submission. A job that still waits at the end counts with its
    /// wait so far; one that can never start does not count.
    pub wait_ms: Option<Distribution>,
    /// max(1, completion time ÷ max(run time, 10 s)), of the jobs that ended: the mean.
    pub bounded_slowdown_mean: Option<f64>,
    /// GPU-hours held.
    pub gpu_hours: f64,
    /// GPU-hours that were due and not given; see [`TenantSums::deficit_gpu_hours`].
    pub deficit_gpu_hours: f64,
}

/// A job that did not end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unfinished {
    /// `NAMESPACE/NAME`.
    pub job: String,
    /// When it started, if it did: then it still ran at the end.
    pub started_ms: Option<u64>,
    /// Why it waits, if it never started.
    pub reason: Option<String>,
}

/// Sums up all runs of a scenario.
#[must_use]
pub fn summarise(scenario: &Scenario, runs: &[Run]) -> Summary {
    Summary {
        schema: SCHEMA,
        scenario: scenario.name.clone(),
        seed: scenario.seed,
        input_hash: format!("sha256:{}", scenario.input_hash),
        version: env!("CARGO_PKG_VERSION"),
        gpus: crate::fairness::gpus(&scenario.capacity()),
        orders: runs.iter().map(|run| order(scenario, run)).collect(),
    }
}

fn order(scenario: &Scenario, run: &Run) -> OrderSummary {
    let sums = sums(scenario, run);
    let total = total(&sums);
    let tenants = scenario.tenants.iter().zip(&sums.tenants);
    let tenants = tenants.map(|(tenant, sums)| TenantSummary {
        tenant: tenant.id.to_string(),
        group: group(run, Some(&tenant.id), sums),
    });
    let all = group(run, None, &total);
    OrderSummary {
        order: order_name(run.order),
        makespan_ms: all.makespan_ms,
        allocation_ratio: rounded(sums.allocated),
        allocation_ratio_while_waiting: sums.allocated_while_waiting.map(rounded),
        share_gap_max: rounded(sums.share_gap_max),
        jain_index: sums.jain.map(rounded),
        all,
        tenants: tenants.collect(),
        unfinished: run
            .jobs
            .iter()
            .filter(|f| f.finished.is_none())
            .map(unfinished)
            .collect(),
    }
}

fn total(sums: &Sums) -> TenantSums {
    let add = |sum: TenantSums, one: &TenantSums| TenantSums {
        gpu_hours: sum.gpu_hours + one.gpu_hours,
        deficit_gpu_hours: sum.deficit_gpu_hours + one.deficit_gpu_hours,
    };
    sums.tenants.iter().fold(TenantSums::default(), add)
}

fn group(run: &Run, tenant: Option<&TenantId>, sums: &TenantSums) -> Group {
    let belongs = |fate: &&Fate| tenant.is_none_or(|tenant| fate.job.tenant == *tenant);
    let jobs: Vec<&Fate> = run.jobs.iter().filter(belongs).collect();
    let ended = jobs.iter().filter_map(|fate| fate.finished);
    let first = jobs.iter().map(|fate| fate.job.submitted).min();
    let makespan = ended
        .clone()
        .max()
        .zip(first)
        .map(|(last, first)| last.since(first));
    let hopeful = jobs.iter().filter(|fate| !fate.is_hopeless());
    let arrived = hopeful.filter(|fate| fate.job.submitted <= run.end);
    Group {
        jobs: jobs.len(),
        finished: ended.count(),
        makespan_ms: makespan.map(millis),
        jct_ms: Distribution::of(jobs.iter().filter_map(|fate| fate.completion()).map(millis)),
        wait_ms: Distribution::of(arrived.map(|fate| millis(fate.wait(run.end)))),
        bounded_slowdown_mean: mean(jobs.iter().filter_map(|fate| slowdown(fate))).map(rounded),
        gpu_hours: rounded(sums.gpu_hours),
        deficit_gpu_hours: rounded(sums.deficit_gpu_hours),
    }
}

fn slowdown(fate: &Fate) -> Option<f64> {
    let run = fate
        .finished?
        .since(fate.started?)
        .max(Duration::from_secs(10));
    let ratio = float(fate.completion()?.as_millis()) / float(run.as_millis());
    Some(ratio.max(1.0))
}

fn unfinished(fate: &Fate) -> Unfinished {
    let waits = fate.started.is_none();
    Unfinished {
        job: fate.job.id.to_string(),
        started_ms: fate.started.map(Time::as_millis),
        reason: fate
            .reason
            .as_ref()
            .filter(|_| waits)
            .map(|reason| reason.to_string()),
    }
}

fn mean(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = numbers.fold((0.0, 0_u32), |(sum, count), n| (sum + n, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
