//! `summary.json`: the numbers of a scenario under each order, for programs and for the report.
//!
//! Every number says here what it is. GPU-hours are hours of one GPU; a task on a slot of a card
//! holds the whole slot.

use std::collections::BTreeMap;

use prorata_core::Time;
use serde::Serialize;

use crate::fairness::{Forest, Sums, TenantSums, hours};
use crate::metrics::{float, rounded};
use crate::pricing::{Priced, Pricing};
use crate::run::{Fate, Run, millis};
use crate::scenario::{Scenario, order_name};
use crate::timeline::Obstacle;

mod group;
mod money;
mod neighbours;

pub use group::{FinishTime, Group};
pub use money::Cost;
pub use neighbours::Neighbours;

/// The version of the file's format.
pub const SCHEMA: &str = "prorata.dev/summary/v1alpha2";

/// The whole file. Times are in milliseconds of the simulation, which begins at 0.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The scenario's name.
    pub scenario: String,
    /// Where the draws began.
    pub seed: u64,
    /// SHA-256 of the scenario's files.
    pub input_hash: String,
    /// SHA-256 of the table of interference.
    pub interference_hash: String,
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
    /// When the run ended.
    pub end_ms: u64,
    /// Last end of a job − first submission; `null` when none ended.
    pub makespan_ms: Option<u64>,
    /// GPU-hours held ÷ GPU-hours of nodes that worked, from first submission to the end of the
    /// run. Held, not used: see `utilisation`.
    pub allocation_ratio: f64,
    /// The same over the time during which some job waited.
    pub allocation_ratio_while_waiting: Option<f64>,
    /// Useful work ÷ GPU-hours of nodes that worked: the hours at full speed of all work that
    /// was kept, times the GPUs it ran on, times how busy it keeps them. Work that was lost,
    /// loading, and being slowed by neighbours are not useful. Above 1 only where tasks that
    /// share cards do more together than one could alone.
    pub utilisation: f64,
    /// See [`Sums::share_gap_max`].
    pub share_gap_max: f64,
    /// See [`Sums::share_gap_mean`].
    pub share_gap_mean: Option<f64>,
    /// See [`Sums::jain`].
    pub jain_index: Option<f64>,
    /// GPU-hours that no typical task could use ÷ idle GPU-hours. Looked up on a grid in long
    /// runs; `null` where nothing is typical.
    pub fragmentation_ratio: Option<f64>,
    /// The same ÷ all GPU-hours of nodes that worked.
    pub fragmentation_amount: Option<f64>,
    /// Where the GPU-hours of all nodes went.
    pub gpu_hours: GpuHours,
    /// The oldest that a job ever was while it was pending.
    pub oldest_pending_ms: u64,
    /// The age of the oldest job that is pending at the end; `null` when none is.
    pub oldest_pending_at_end_ms: Option<u64>,
    /// What it costs, where a pool has a price.
    pub cost: Option<Cost>,
    /// What it costs at the prices of a price file, where one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priced: Option<Priced>,
    /// What became of those that shared cards; `null` when none did.
    pub neighbours: Option<Neighbours>,
    /// Over all jobs.
    pub all: Group,
    /// Per tenant with all below it, in the scenario's order.
    pub tenants: Vec<TenantSummary>,
    /// Per tenant with jobs of its own and priority, highest first.
    pub priorities: Vec<PrioritySummary>,
    /// Jobs that did not end, with why.
    pub unfinished: Vec<Unfinished>,
}

/// Where the GPU-hours of all nodes went, from the first submission to the end of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GpuHours {
    /// All of them.
    pub fleet: f64,
    /// Held by jobs.
    pub held: f64,
    /// Of those, for nothing: work that was lost, loading what was saved, and leaving.
    pub lost: f64,
    /// Of nodes that did not work.
    pub down: f64,
    /// Idle because nobody wanted them.
    pub idle_unwanted: f64,
    /// Idle although jobs waited: too few, or not together.
    pub idle_no_fit: f64,
    /// Idle although jobs waited: these were at a limit, or others did not lend.
    pub idle_quota: f64,
    /// Idle although jobs waited: kept for a job that comes first.
    pub idle_kept: f64,
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

/// The numbers of one tenant's jobs of one priority.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PrioritySummary {
    /// The tenant's name.
    pub tenant: String,
    /// Value of the PriorityClass.
    pub priority: i32,
    /// Over these jobs. What is due is due to a tenant, so there is no deficit here.
    #[serde(flatten)]
    pub group: Group,
}

/// A job that did not end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unfinished {
    /// `NAMESPACE/NAME`.
    pub job: String,
    /// When it first started, if it did.
    pub started_ms: Option<u64>,
    /// Why it waits, if it does.
    pub reason: Option<String>,
}

/// Sums up all runs of a scenario.
#[must_use]
pub fn summarise(scenario: &Scenario, runs: &[Run]) -> Summary {
    let hash = |hash: &str| format!("sha256:{hash}");
    Summary {
        schema: SCHEMA,
        scenario: scenario.name.clone(),
        seed: scenario.seed,
        input_hash: hash(&scenario.input_hash),
        interference_hash: hash(scenario.interference.hash()),
        version: env!("CARGO_PKG_VERSION"),
        gpus: crate::fairness::gpus(&scenario.capacity()),
        orders: runs.iter().map(|run| order(scenario, run)).collect(),
    }
}

impl Summary {
    /// Adds what each run costs; `runs` are those that were summed up.
    ///
    /// # Errors
    /// When a part of one has no price.
    pub fn price(
        &mut self,
        scenario: &Scenario,
        runs: &[Run],
        pricing: &Pricing,
    ) -> Result<(), prorata_ledger::bill::Error> {
        for (order, run) in self.orders.iter_mut().zip(runs) {
            order.priced = Some(pricing.price(scenario, run)?);
        }
        Ok(())
    }
}

fn order(scenario: &Scenario, run: &Run) -> OrderSummary {
    let sums = &run.sums;
    let everybody: Vec<&Fate> = run.jobs.iter().collect();
    let all = Group::of(scenario, run, &everybody, &total(scenario, sums));
    let pending = run.jobs.iter().filter(|fate| fate.pending.is_some());
    let ages = run
        .jobs
        .iter()
        .map(|fate| millis(fate.pending_age(run.end)));
    let working = sums.fleet_gpu_hours - sums.down_gpu_hours;
    let utilisation = if working > 0.0 {
        useful_gpu_hours(run) / working
    } else {
        0.0
    };
    OrderSummary {
        order: order_name(run.order),
        end_ms: run.end.as_millis(),
        makespan_ms: all.makespan_ms,
        allocation_ratio: rounded(sums.allocated),
        allocation_ratio_while_waiting: sums.allocated_while_waiting.map(rounded),
        utilisation: rounded(utilisation),
        share_gap_max: rounded(sums.share_gap_max),
        share_gap_mean: sums.share_gap_mean.map(rounded),
        jain_index: sums.jain.map(rounded),
        fragmentation_ratio: sums.fragmented_of_idle.map(rounded),
        fragmentation_amount: sums.fragmented_of_all.map(rounded),
        gpu_hours: gpu_hours(sums, &all),
        oldest_pending_ms: ages.max().unwrap_or_default(),
        oldest_pending_at_end_ms: pending.map(|fate| millis(fate.pending_age(run.end))).max(),
        cost: Cost::of(scenario, run),
        priced: None,
        neighbours: Neighbours::of(run),
        tenants: tenants(scenario, run),
        priorities: priorities(scenario, run),
        all,
        unfinished: run
            .jobs
            .iter()
            .filter(|f| f.finished.is_none())
            .map(unfinished)
            .collect(),
    }
}

fn gpu_hours(sums: &Sums, all: &Group) -> GpuHours {
    let idle = |obstacle| rounded(sums.obstructed_gpu_hours[obstacle as usize]);
    GpuHours {
        fleet: rounded(sums.fleet_gpu_hours),
        held: all.gpu_hours,
        lost: all.lost_gpu_hours,
        down: rounded(sums.down_gpu_hours),
        idle_unwanted: rounded(sums.unwanted_gpu_hours),
        idle_no_fit: idle(Obstacle::Fit),
        idle_quota: idle(Obstacle::Quota),
        idle_kept: idle(Obstacle::Kept),
    }
}

/// See [`OrderSummary::utilisation`].
fn useful_gpu_hours(run: &Run) -> f64 {
    let useful = |fate: &Fate| {
        let slots = fate
            .placement
            .iter()
            .flat_map(prorata_core::Placement::slots);
        let devices: u32 = slots.map(|slot| slot.devices.len()).sum();
        let span = std::time::Duration::from_millis(
            u64::try_from(fate.kept().millis()).unwrap_or(u64::MAX),
        );
        hours(span) * f64::from(devices) * f64::from(fate.busy) / 1000.0
    };
    run.jobs.iter().map(useful).sum()
}

/// The sums of all tenants at the top.
fn total(scenario: &Scenario, sums: &Sums) -> TenantSums {
    let add = |sum: TenantSums, one: &TenantSums| TenantSums {
        gpu_hours: sum.gpu_hours + one.gpu_hours,
        deficit_gpu_hours: sum.deficit_gpu_hours + one.deficit_gpu_hours,
    };
    let all = scenario.tenants.iter().zip(&sums.tenants);
    let top = all.filter(|(tenant, _)| tenant.parent.is_none());
    top.fold(TenantSums::default(), |sum, (_, one)| add(sum, one))
}

fn tenants(scenario: &Scenario, run: &Run) -> Vec<TenantSummary> {
    let forest = Forest::new(&scenario.tenants);
    let positions: BTreeMap<_, usize> = scenario
        .tenants
        .iter()
        .enumerate()
        .map(|(i, tenant)| (&tenant.id, i))
        .collect();
    let one = |(above, tenant): (usize, &prorata_core::Tenant)| {
        let within = |fate: &&Fate| forest.is_within(positions[&fate.job.tenant], above);
        let jobs: Vec<&Fate> = run.jobs.iter().filter(within).collect();
        TenantSummary {
            tenant: tenant.id.to_string(),
            group: Group::of(scenario, run, &jobs, &run.sums.tenants[above]),
        }
    };
    scenario.tenants.iter().enumerate().map(one).collect()
}

fn priorities(scenario: &Scenario, run: &Run) -> Vec<PrioritySummary> {
    let mut groups: BTreeMap<(usize, std::cmp::Reverse<i32>), Vec<&Fate>> = BTreeMap::new();
    let positions: BTreeMap<_, usize> = scenario
        .tenants
        .iter()
        .enumerate()
        .map(|(i, tenant)| (&tenant.id, i))
        .collect();
    for fate in &run.jobs {
        let key = (
            positions[&fate.job.tenant],
            std::cmp::Reverse(fate.job.priority),
        );
        groups.entry(key).or_default().push(fate);
    }
    let one = |((tenant, priority), jobs): ((usize, std::cmp::Reverse<i32>), Vec<&Fate>)| {
        let held: u128 = jobs.iter().map(|fate| fate.gpu).sum();
        let sums = TenantSums {
            gpu_hours: float(held) / 3_600_000_000.0,
            deficit_gpu_hours: 0.0,
        };
        PrioritySummary {
            tenant: scenario.tenants[tenant].id.to_string(),
            priority: priority.0,
            group: Group::of(scenario, run, &jobs, &sums),
        }
    };
    groups.into_iter().map(one).collect()
}

fn unfinished(fate: &Fate) -> Unfinished {
    let reason = fate.reason.as_ref().filter(|_| fate.pending.is_some());
    Unfinished {
        job: fate.job.id.to_string(),
        started_ms: fate.started.map(Time::as_millis),
        reason: reason.map(|reason| reason.to_string()),
    }
}
