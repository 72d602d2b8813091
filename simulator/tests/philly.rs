//! Sharing pays for every tenant of Philly: none waits longer in the shared cluster than it would
//! in a private one of its own, a fifteenth of the GPUs.
//!
//! The private cluster of a tenant has the GPUs that it is guaranteed in the scenario, as whole
//! nodes and one smaller node for the rest; the same policy runs there. Jobs that cannot ever
//! start there are left out on both sides. What is compared is the mean queueing delay, all
//! waits after evictions counted. `PRORATA_PHILLY=all` takes the whole trace instead of its
//! first jobs (use a release build). Without the trace, it says on stderr that it checked
//! nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod data;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use prorata_core::{JobId, Order, Resource, Resources, Tenant};
use prorata_simulator::run::{Check, Fate, Run, run};
use prorata_simulator::scenario::{Pool, Scenario};
use prorata_simulator::trace::Source;
use prorata_simulator::workload::{Drawn, draw};

use data::data;

/// So many jobs of the trace, unless all are asked for. They ask for little in the first weeks,
/// so they arrive four times as fast as they did.
const LEADING_JOBS: usize = 3_000;
const HASTE: u64 = 4;

/// By how much of its jobs' mean run time a tenant may wait longer, in percent.
const LONGER_PERCENT_MAX: u128 = 2;

#[test]
fn nobody_waits_longer_than_alone_on_a_fleet_with_room() {
    check("philly-like");
}

#[test]
fn nobody_waits_longer_than_alone_on_an_overloaded_fleet() {
    check("philly-overloaded");
}

/// What a tenant's jobs waited and ran, in milliseconds.
#[derive(Debug, Default)]
struct Compared {
    jobs: u128,
    /// Left out: the private cluster can never run them.
    never: usize,
    shared: u128,
    private: u128,
    ran: u128,
}

fn check(name: &str) {
    let Some(scenario) = scenario(name) else {
        return;
    };
    let work = work(&scenario);
    let shared = waits(&scenario, &work);
    for tenant in &scenario.tenants {
        let own: Vec<Drawn> = of(tenant, &work);
        let compared = compare(&shared, &private(&scenario, tenant), &own);
        report(name, tenant, &compared);
        let longer = compared.shared.saturating_sub(compared.private);
        let is_fair = longer * 100 <= compared.ran * LONGER_PERCENT_MAX;
        assert!(is_fair, "{name}: {}: {compared:?}", tenant.id);
    }
}

fn compare(
    shared: &BTreeMap<JobId, Option<Duration>>,
    private: &Scenario,
    own: &[Drawn],
) -> Compared {
    let alone = waits(private, own);
    let mut sum = Compared::default();
    for drawn in own {
        let Some(wait) = alone[&drawn.job.id] else {
            sum.never += 1;
            continue;
        };
        let shared = shared[&drawn.job.id];
        sum.jobs += 1;
        sum.private += wait.as_millis();
        sum.shared += shared.expect("the whole fleet can run it").as_millis();
        sum.ran += drawn.runtime.as_millis();
    }
    sum
}

fn report(name: &str, tenant: &Tenant, compared: &Compared) {
    let Compared { jobs, never, .. } = compared;
    let mean = |sum: u128| sum / (*jobs).max(1) / 1000;
    let line = format!(
        "{name}: {}: {jobs} jobs of {} s wait {} s; alone {} s, where {never} could never run\n",
        tenant.id,
        mean(compared.ran),
        mean(compared.shared),
        mean(compared.private),
    );
    let _ = io::stderr().write_all(line.as_bytes());
}

/// How long each job waits; `None` where it can never start.
fn waits(scenario: &Scenario, work: &[Drawn]) -> BTreeMap<JobId, Option<Duration>> {
    let go_on = &mut |_| ControlFlow::Continue(());
    let Run { jobs, end, .. } = run(scenario, Order::Drf, work, Check::Debug, go_on).unwrap();
    let wait = |fate: &Fate| fate.started.map(|_| fate.wait(end));
    jobs.iter()
        .map(|fate| (fate.job.id.clone(), wait(fate)))
        .collect()
}

/// The same policy on a fleet of the tenant's own.
fn private(scenario: &Scenario, tenant: &Tenant) -> Scenario {
    let gpus = u32::try_from(tenant.guaranteed.get(Resource::Gpu) / 1000).unwrap();
    let whole = scenario.pools.first().unwrap();
    let cards = whole.node.cards();
    let mut rest = Pool {
        name: "rest".to_owned(),
        count: u32::from(!gpus.is_multiple_of(cards)),
        ..whole.clone()
    };
    let milli = u64::from(gpus % cards) * 1000;
    rest.node.allocatable = rest.node.allocatable.with(Resource::Gpu, milli);
    let nodes = Pool {
        count: gpus / cards,
        ..whole.clone()
    };
    let alone = Tenant {
        guaranteed: Resources::ZERO,
        ..tenant.clone()
    };
    Scenario {
        pools: vec![nodes, rest],
        tenants: vec![alone],
        ..scenario.clone()
    }
}

fn of(tenant: &Tenant, work: &[Drawn]) -> Vec<Drawn> {
    let own = work.iter().filter(|drawn| drawn.job.tenant == tenant.id);
    own.cloned().collect()
}

/// All of the trace if that is asked for; otherwise its first jobs, in haste.
fn work(scenario: &Scenario) -> Vec<Drawn> {
    let mut work = draw(scenario, scenario.seed);
    if std::env::var("PRORATA_PHILLY").is_ok_and(|which| which == "all") {
        return work;
    }
    work.truncate(LEADING_JOBS);
    for drawn in &mut work {
        let at = drawn.job.submitted.as_millis() / HASTE;
        drawn.job.submitted = prorata_core::Time::from_millis(at);
    }
    work
}

fn scenario(name: &str) -> Option<Scenario> {
    let trace = data("philly-82k/philly.csv")?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.yaml"));
    let text = std::fs::read_to_string(&file).unwrap();
    let read = Scenario::parse(&file.display().to_string(), &text).unwrap();
    Some(read.with_trace(&Source::Philly(trace)).unwrap())
}
