//! How fair a run was: what its timeline adds up to.
//!
//! All integrals run over the window from the first submission to the run's end.

use std::time::Duration;

use prorata_core::{Resource, Resources, Tenant, Time};

use crate::metrics::{Claim, entitlements, float, jain};
use crate::run::{Moment, Run, Standing};
use crate::scenario::Scenario;

/// A stretch of time during which nothing changed.
#[derive(Clone, Debug)]
pub struct Span<'a> {
    /// When it begins.
    pub from: Time,
    /// How long it lasts, in hours.
    pub hours: f64,
    /// How each tenant stands.
    pub tenants: &'a [Standing],
    /// The GPUs that each tenant is entitled to: first its guarantee, then by weight what is
    /// left, capped by what it wants and by its limit.
    pub entitled: Vec<f64>,
}

/// What a timeline adds up to for one tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TenantSums {
    /// GPU-hours held: ∫ GPUs held dt.
    pub gpu_hours: f64,
    /// GPU-hours that were due and not given: ∫ max(0, min(entitled, wanted) − held) dt.
    /// A tenant that wants nothing has no deficit.
    pub deficit_gpu_hours: f64,
}

/// What a timeline adds up to for all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    /// Each tenant, in the scenario's order.
    pub tenants: Vec<TenantSums>,
    /// GPU-hours held ÷ GPU-hours there were, from first submission to end.
    pub allocated: f64,
    /// The same over the time during which some job waited; `None` when none ever did.
    pub allocated_while_waiting: Option<f64>,
    /// Greatest difference between two tenants that both have jobs waiting, of their dominant
    /// share (the largest part they hold of any resource) ÷ weight.
    pub share_gap_max: f64,
    /// Jain's index of held ÷ entitled over the tenants that have jobs waiting, averaged over
    /// the time during which there were at least two; `None` when there never were.
    pub jain: Option<f64>,
}

/// The stretches of a run, from its first submission on.
pub fn spans<'a>(scenario: &'a Scenario, run: &'a Run) -> impl Iterator<Item = Span<'a>> {
    let capacity = gpus(&scenario.capacity());
    let next = run.timeline.iter().skip(1).map(|moment| moment.at);
    let ends = next.chain([run.end]);
    run.timeline
        .iter()
        .zip(ends)
        .map(move |(Moment { at, tenants }, end)| Span {
            from: *at,
            hours: hours(end.since(*at)),
            entitled: entitled(capacity, &scenario.tenants, tenants),
            tenants,
        })
}

/// Adds up a run.
#[must_use]
pub fn sums(scenario: &Scenario, run: &Run) -> Sums {
    let capacity = scenario.capacity();
    let mut sums = Sums {
        tenants: vec![TenantSums::default(); scenario.tenants.len()],
        ..Sums::default()
    };
    let (mut all, mut waiting, mut fair) = (Mean::default(), Mean::default(), Mean::default());
    for span in spans(scenario, run) {
        let held: f64 = span.tenants.iter().map(|t| gpus(&t.held)).sum();
        let ratio = if gpus(&capacity) > 0.0 {
            held / gpus(&capacity)
        } else {
            0.0
        };
        all.add(ratio, span.hours);
        if span.tenants.iter().any(|t| t.waiting > 0) {
            waiting.add(ratio, span.hours);
        }
        if let Some(index) = jain(&satisfaction(&span)) {
            fair.add(index, span.hours);
        }
        let gap = share_gap(&scenario.tenants, span.tenants, &capacity);
        sums.share_gap_max = sums.share_gap_max.max(gap);
        for (tenant, sum) in sums.tenants.iter_mut().enumerate() {
            let held = gpus(&span.tenants[tenant].held);
            sum.gpu_hours += held * span.hours;
            sum.deficit_gpu_hours += (span.entitled[tenant] - held).max(0.0) * span.hours;
        }
    }
    sums.allocated = all.mean().unwrap_or_default();
    sums.allocated_while_waiting = waiting.mean();
    sums.jain = fair.mean();
    sums
}

/// A number of hours.
#[must_use]
pub fn hours(span: Duration) -> f64 {
    float(span.as_millis()) / 3_600_000.0
}

/// A number of GPUs.
#[must_use]
pub fn gpus(amounts: &Resources) -> f64 {
    float(amounts.get(Resource::Gpu).into()) / float(Resource::Gpu.scale().into())
}

fn entitled(capacity: f64, tenants: &[Tenant], standings: &[Standing]) -> Vec<f64> {
    let claim = |(tenant, standing): (&Tenant, &Standing)| {
        let limit = tenant.limit.get(Resource::Gpu);
        let limited = limit
            .map_or(u64::MAX, |l| l)
            .min(standing.wanted.get(Resource::Gpu));
        Claim {
            guaranteed: gpus(&tenant.guaranteed),
            weight: weight(tenant),
            demand: float(limited.into()) / float(Resource::Gpu.scale().into()),
        }
    };
    let claims: Vec<Claim> = tenants.iter().zip(standings).map(claim).collect();
    entitlements(capacity, &claims)
}

/// Held ÷ entitled, of each tenant that has jobs waiting.
fn satisfaction(span: &Span<'_>) -> Vec<f64> {
    let backlogged = span.tenants.iter().zip(&span.entitled);
    backlogged
        .filter(|(standing, entitled)| standing.waiting > 0 && **entitled > 0.0)
        .map(|(standing, entitled)| gpus(&standing.held) / entitled)
        .collect()
}

fn share_gap(tenants: &[Tenant], standings: &[Standing], capacity: &Resources) -> f64 {
    let backlogged = tenants
        .iter()
        .zip(standings)
        .filter(|(t, s)| s.waiting > 0 && weight(t) > 0.0);
    let shares = backlogged.map(|(t, s)| dominant_share(&s.held, capacity) / weight(t));
    let (least, most) = shares.fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), share| (least.min(share), most.max(share)),
    );
    (most - least).max(0.0)
}

fn dominant_share(held: &Resources, capacity: &Resources) -> f64 {
    let part = |(r, amount): (Resource, u64)| match capacity.get(r) {
        0 => 0.0,
        all => float(amount.into()) / float(all.into()),
    };
    held.iter().map(part).fold(0.0, f64::max)
}

fn weight(tenant: &Tenant) -> f64 {
    f64::from(tenant.weight.numerator()) / f64::from(tenant.weight.denominator())
}

/// A mean over time.
#[derive(Default)]
struct Mean {
    sum: f64,
    hours: f64,
}

impl Mean {
    fn add(&mut self, value: f64, hours: f64) {
        self.sum += value * hours;
        self.hours += hours;
    }

    fn mean(&self) -> Option<f64> {
        (self.hours > 0.0).then(|| self.sum / self.hours)
    }
}
