//! One run: a scenario's work under one order, from the first arrival to the last end, and what
//! became of every job.

use std::ops::ControlFlow;
use std::time::Duration;

use prorata_core::{Event, Order, Tenant, Time};

use crate::calendar::Terms;
use crate::fairness::Sums;
use crate::scenario::Scenario;
use crate::timeline::Moment;
use crate::workload::{self, Drawn};
use crate::world::{Happening, Physics, Record, Work, World};
use ledger::Ledger;
use sampling::Sampling;

mod fate;
mod ledger;
mod sampling;

pub use fate::{Eviction, Fate};

/// What happened.
#[derive(Clone, Debug)]
pub struct Run {
    /// Under which order.
    pub order: Order,
    /// What became of each job, in the order in which the work was drawn.
    pub jobs: Vec<Fate>,
    /// How things stood between the tenants, from each moment at which something changed; on a
    /// grid where that would be too many.
    pub timeline: Vec<Moment>,
    /// What the whole run adds up to, moment by moment.
    pub sums: Sums,
    /// All that happened, in its order.
    pub records: Vec<Record>,
    /// Pairs whose work was measured beside each other that met on a card, and those of them that
    /// get less done than one alone would.
    pub pairs: (u64, u64),
    /// When it ended: with the last event, or at the scenario's `until`.
    pub end: Time,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Jobs that have ended.
    pub finished: usize,
    /// All jobs.
    pub jobs: usize,
}

/// The run was told to stop.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Whether to check the core's invariants after every cycle. A debug build always does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// In debug builds only.
    #[default]
    Debug,
    /// In every build.
    Always,
}

/// Runs `work` under `order`. `progress` is told after every step, and may stop the run.
///
/// # Errors
/// When `progress` stopped it.
///
/// # Panics
/// When the core breaks one of its own invariants.
pub fn run(
    scenario: &Scenario,
    order: Order,
    work: &[Drawn],
    check: Check,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Run, Interrupted> {
    let mut world = world(scenario, order, work);
    let until = scenario
        .until
        .map_or(Time::from_millis(u64::MAX), |u| Time::ZERO + u);
    let mut ledger = Ledger::new(scenario, work);
    let mut sampling = Sampling::new(until, work);
    let mut end = Time::ZERO;
    // What is left on the agenda once the last job has ended are repairs that nobody needs.
    while !ledger.is_complete()
        && let Some(mut records) = world.step(until)
    {
        let now = world.now();
        if check == Check::Always || cfg!(debug_assertions) {
            let violations = world.snapshot().violations();
            assert!(violations.is_empty(), "at {now}: {violations:?}");
        }
        if sampling.explains(now, world.waiting()) {
            records.extend(world.explain());
        }
        ledger.enter(now, records, &world.capacity());
        if sampling.looks(now) {
            ledger.fragments(world.snapshot().fragments());
        }
        end = now;
        if progress(ledger.progress()).is_break() {
            return Err(Interrupted);
        }
    }
    if world.outstanding() > 0 && !ledger.is_complete() {
        end = until;
    }
    let mut last = world.explain();
    last.extend(world.unfinished(end));
    Ok(Run {
        pairs: world.pairs(),
        ..ledger.close(order, end, last)
    })
}

/// The scenario's cluster with all of its work still to come. It tells why jobs wait only when
/// it is asked.
#[must_use]
pub fn world(scenario: &Scenario, order: Order, work: &[Drawn]) -> World {
    let physics = Physics {
        interference: scenario.interference.clone(),
        grace: scenario.grace,
        seed: scenario.seed,
        is_terse: true,
    };
    let mut world = World::with(scenario.policy_under(order, work), physics);
    for node in scenario.nodes() {
        world.observe(Event::NodeSeen(node));
    }
    for tenant in &scenario.tenants {
        world.observe(Event::TenantChanged(tenant.clone()));
    }
    for terms in &scenario.terms {
        for (at, tenant) in changes(scenario, terms) {
            world.plan(at, Happening::Fact(Event::TenantChanged(tenant)));
        }
    }
    for fault in workload::faults(scenario, scenario.seed) {
        if let Some(until) = fault.until {
            world.plan(until, Happening::NodeUp(fault.node.clone()));
        }
        world.plan(fault.at, Happening::NodeDown(fault.node));
    }
    for drawn in work {
        let arrival = Happening::Arrival(Work {
            job: drawn.job.clone(),
            runtime: Some(drawn.runtime),
            checkpoint: drawn.checkpoint,
            busy: drawn.busy,
            restart: drawn.restart,
        });
        world.plan(drawn.job.submitted, arrival);
    }
    world
}

/// What is due to a tenant at each moment of the run at which that changes.
fn changes(scenario: &Scenario, terms: &Terms) -> Vec<(Time, Tenant)> {
    let until = scenario.until.unwrap_or_default();
    let mut changes = Vec::new();
    let mut now = scenario.begins;
    while let Some(next) = terms.next_change(now) {
        let span = Duration::try_from(next.duration_since(scenario.begins)).unwrap_or_default();
        if span >= until {
            break;
        }
        changes.push((Time::ZERO + span, terms.at(next)));
        now = next;
    }
    changes
}

/// A span in whole milliseconds.
#[must_use]
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
