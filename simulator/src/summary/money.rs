//! What a run costs.

use serde::Serialize;

use crate::fairness::hours;
use crate::metrics::{float, rounded};
use crate::run::Run;
use crate::scenario::Scenario;

/// What the GPUs cost from the first submission to the end of the run, in the currency of the
/// pools' prices. Each GPU is paid for, whether or not it is held. A GPU of a pool without price
/// costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// All of it.
    pub total: f64,
    /// What jobs held.
    pub held: f64,
    /// Of that, for nothing: see [`super::GpuHours::lost`].
    pub lost: f64,
    /// What nobody held, working or not.
    pub idle: f64,
}

impl Cost {
    /// Of a run; `None` when no pool has a price.
    pub(super) fn of(scenario: &Scenario, run: &Run) -> Option<Self> {
        scenario.pools.iter().find_map(|pool| pool.price)?;
        let first = run.jobs.iter().map(|fate| fate.job.submitted).min();
        let lasted = hours(run.end.since(first.unwrap_or(run.end)));
        let pools = scenario.pools.iter().map(|pool| {
            let milli = pool.offer().get(prorata_core::Resource::Gpu);
            let gpus = float(milli.into()) / 1000.0 * f64::from(pool.count);
            pool.price.unwrap_or_default() * gpus
        });
        let total = pools.sum::<f64>() * lasted;
        let held: f64 = run.jobs.iter().map(|fate| fate.cost.0).sum();
        let lost: f64 = run.jobs.iter().map(|fate| fate.cost.1).sum();
        Some(Self {
            total: rounded(total),
            held: rounded(held),
            lost: rounded(lost),
            idle: rounded((total - held).max(0.0)),
        })
    }
}
