//! Schedules and grants of a cluster's Tenants in a scenario.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::ops::ControlFlow;

use prorata_core::{Order, Resource};
use prorata_simulator::run::{Check, run};
use prorata_simulator::scenario::Scenario;
use prorata_simulator::workload;

/// Four GPUs, and three jobs of an hour for each of which red may have one GPU by day. It begins at
/// 19:30 in Berlin.
const SCENARIO: &str = "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: night
begins: 2026-07-06T17:30:00Z
until: 3d
pools: {node: {count: 1, gpus: 4}}
tenantsFrom: tenants.yaml
policy: {orders: [drf], preemption: off, reserveAfter: never}
workload:
  - {tenant: red-prod, name: job, jobs: 3, arrivals: {at: 0s}, task: {gpu: 1}, duration: {fixed: 1h}}
";

const TENANTS: &str = "\
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: red}
spec:
  limit: {gpu: 1}
  environments: [{name: prod, percent: 100}]
  schedules:
  - {name: night, from: '20:00', to: '08:00', timeZone: Europe/Berlin, limit: {gpu: 2}}
  grants:
  - {name: deadline, from: 2026-07-06T18:15:00Z, until: 2026-07-06T18:20:00Z, limit: {gpu: 1}}
";

fn parse(scenario: &str, tenants: &str) -> Result<Scenario, String> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tenants.yaml"), tenants).unwrap();
    let file = dir.path().join("s.yaml").display().to_string();
    Scenario::parse(&file, scenario).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

/// After how many minutes each job started.
fn starts(scenario: &Scenario) -> Vec<u64> {
    let work = workload::draw(scenario, scenario.seed);
    let go_on = &mut |_| ControlFlow::Continue(());
    let run = run(scenario, Order::Drf, &work, Check::Always, go_on).unwrap();
    let minutes = |at: prorata_core::Time| at.as_millis() / 60_000;
    run.jobs
        .iter()
        .map(|fate| minutes(fate.started.unwrap()))
        .collect()
}

#[test]
fn a_night_and_a_grant_let_more_run() {
    assert_eq!(starts(&parse(SCENARIO, TENANTS).unwrap()), [0, 30, 45]);
    let fixed = TENANTS.split("  schedules:").next().unwrap();
    assert_eq!(starts(&parse(SCENARIO, fixed).unwrap()), [0, 60, 120]);
}

/// What environments own changes with what their tenant does, at the same moment.
#[test]
fn environments_have_their_parts_at_all_times() {
    let tenants = TENANTS
        .replace("  limit: {gpu: 1}\n", "  guaranteed: {gpu: 2}\n")
        .replace("limit: {gpu: 2}", "guaranteed: {gpu: 5}")
        .replace("limit: {gpu: 1}", "guaranteed: {gpu: 2}")
        .replace(
            "[{name: prod, percent: 100}]",
            "[{name: dev}, {name: staging}, {name: prod}]",
        );
    let scenario = parse(SCENARIO, &tenants).unwrap();
    let at = |text: &str| prorata_simulator::calendar::moment(text).unwrap();
    for (now, whole) in [
        ("2026-07-06T17:30:00Z", 2),
        ("2026-07-06T18:00:00Z", 5),
        ("2026-07-06T18:16:00Z", 7),
        ("2026-07-07T06:00:00Z", 2),
    ] {
        let owned = scenario
            .terms
            .iter()
            .map(|terms| terms.at(at(now)).guaranteed);
        let owned: Vec<u64> = owned.map(|owned| owned.get(Resource::Gpu) / 1000).collect();
        let (team, parts) = owned.split_first().unwrap();
        assert_eq!(
            (*team, parts.iter().sum::<u64>()),
            (whole, whole),
            "{now}: {parts:?}"
        );
    }
}

#[test]
fn mistakes_are_told() {
    let endless = parse(&SCENARIO.replace("until: 3d\n", ""), TENANTS).unwrap_err();
    assert!(
        endless.contains("tenantsFrom: change over time"),
        "{endless}"
    );
    let begins = parse(&SCENARIO.replace("2026-07-06T", "2026-07-32T"), TENANTS).unwrap_err();
    assert!(
        begins.contains("begins: `2026-07-32T17:30:00Z` is no moment"),
        "{begins}"
    );
    let zone = parse(SCENARIO, &TENANTS.replace("Europe/Berlin", "Berlin")).unwrap_err();
    assert!(
        zone.contains("spec.schedules[0].timeZone: is no time zone"),
        "{zone}"
    );
    let moment = parse(SCENARIO, &TENANTS.replace("2026-07-06T18:20:00Z", "soon")).unwrap_err();
    assert!(
        moment.contains("spec.grants[0].until: `soon` is no moment"),
        "{moment}"
    );
}
