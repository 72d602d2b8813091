//! What runs cost that were worked out by hand, and tenants as a cluster describes them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::ops::ControlFlow;

use prorata_core::{Resource, Tenant};
use prorata_ledger::price_file::PriceFile;
use prorata_simulator::pricing::{Priced, Pricing};
use prorata_simulator::run::{Check, Run, run};
use prorata_simulator::scenario::Scenario;
use prorata_simulator::workload;

/// Two GPUs. Red has two jobs of two GPUs at once; blue a job of one GPU half an hour later.
const TWO_GPUS: &str = "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: two-gpus
pools: {node: {count: 1, gpus: 2, model: H100}}
tenants: [{name: red}, {name: blue}]
policy: {orders: [fifo], preemption: off, reserveAfter: never}
workload:
  - {tenant: red, name: job, jobs: 2, arrivals: {at: 0s}, gang: 2, task: {gpu: 1}, duration: {fixed: 1h}}
  - {tenant: blue, name: job, jobs: 1, arrivals: {at: 30m}, task: {gpu: 1}, duration: {fixed: 1h}}
";

fn runs(scenario: &Scenario) -> Vec<Run> {
    let work = workload::draw(scenario, scenario.seed);
    let go_on = &mut |_| ControlFlow::Continue(());
    let one = |order: &_| run(scenario, *order, &work, Check::Always, go_on).unwrap();
    scenario.orders.iter().map(one).collect()
}

fn pricing(rest: &str, start_ms: Option<u64>) -> Pricing {
    let head = "apiVersion: config.prorata.dev/v1alpha1\nkind: Prices\ncurrency: EUR\n";
    Pricing::new(
        PriceFile::parse("p.yaml", &format!("{head}{rest}")).unwrap(),
        start_ms,
    )
}

fn price(text: &str, pricing: &Pricing) -> Priced {
    let scenario = Scenario::parse("s.yaml", text).unwrap();
    pricing.check(&scenario).unwrap();
    pricing.price(&scenario, &runs(&scenario)[0]).unwrap()
}

/// Tenant, cost, used, lost, shared out.
fn owed(priced: &Priced) -> Vec<(&str, [f64; 4])> {
    let tenants = priced.tenants.iter();
    tenants
        .map(|t| (t.tenant.as_str(), [t.cost, t.used, t.lost, t.shared]))
        .collect()
}

#[test]
fn a_run_costs_what_its_gpus_cost() {
    let priced = price(
        TWO_GPUS,
        &pricing("prices: [{model: H100, hourly: 3}]", None),
    );
    // Three hours of two GPUs: red has both for two hours, blue one for the third.
    assert_eq!(
        (priced.total, priced.held, priced.lost, priced.nobody),
        (18.0, 15.0, 0.0, 3.0)
    );
    assert_eq!(
        owed(&priced),
        [
            ("red", [12.0, 12.0, 0.0, 0.0]),
            ("blue", [3.0, 3.0, 0.0, 0.0])
        ]
    );
}

#[test]
fn prices_of_the_day_count_and_idle_time_may_be_shared() {
    let file = "prices:
- {model: H100, hourly: 3, until: 2026-11-02}
- {model: H100, hourly: 6, from: 2026-11-02}
chargeback: {idle: shared}";
    let first = prorata_ledger::period::day("2026-11-01").unwrap();
    let eleven = Some(first + 22 * 3_600_000);
    // Two hours at 3, and the third at 6: blue's GPU and the idle one.
    let priced = price(TWO_GPUS, &pricing(file, eleven));
    assert_eq!((priced.total, priced.nobody), (24.0, 0.0));
    // Of the idle 6, red paid 12 of 18.
    assert_eq!(
        owed(&priced),
        [
            ("red", [16.0, 12.0, 0.0, 4.0]),
            ("blue", [8.0, 6.0, 0.0, 2.0])
        ]
    );
    // Unless told otherwise it begins when prices last change.
    assert_eq!(price(TWO_GPUS, &pricing(file, None)).total, 36.0);
}

#[test]
fn what_was_lost_is_told() {
    // After half an hour blue takes back what it owns, and red begins again.
    let text = "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: taken-back
pools: {node: {count: 1, gpus: 1, model: H100}}
tenants: [{name: red}, {name: blue, guaranteed: {gpu: 1}}]
policy: {orders: [drf], reserveAfter: never}
workload:
  - {tenant: red, name: job, jobs: 1, arrivals: {at: 0s}, task: {gpu: 1}, duration: {fixed: 1h}}
  - {tenant: blue, name: job, jobs: 1, arrivals: {at: 30m}, task: {gpu: 1}, duration: {fixed: 1h}}
";
    let priced = price(text, &pricing("prices: [{model: H100, hourly: 2}]", None));
    assert_eq!((priced.total, priced.lost), (5.0, 1.0));
    assert_eq!(
        owed(&priced),
        [
            ("red", [3.0, 2.0, 1.0, 0.0]),
            ("blue", [2.0, 2.0, 0.0, 0.0])
        ]
    );
}

#[test]
fn a_pool_without_price_is_told_before_the_run() {
    let scenario = Scenario::parse("s.yaml", TWO_GPUS).unwrap();
    let unpriced = pricing("prices: [{model: A100, hourly: 3}]", None)
        .check(&scenario)
        .unwrap_err();
    assert!(
        unpriced
            .to_string()
            .starts_with("there is no price of \"H100\" in pool \"node\" on 1970-01-01"),
        "{unpriced}"
    );
}

const TENANTS: &str = "\
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: lab}
spec: {guaranteed: {gpu: 16}}
---
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: vision, labels: {a: b}}
spec:
  displayName: Vision
  parent: lab
  weight: \"1/2\"
  guaranteed: {gpu: 7}
  environments: [{name: dev}, {name: staging}, {name: prod, namespace: vision}]
  network: {internet: true}
  members: {users: [{user: ana}]}
";

/// What comes of a scenario whose tenants are in a file.
fn with_tenants(tenants: &str) -> Result<Vec<Tenant>, String> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tenants.yaml"), tenants).unwrap();
    let text = TWO_GPUS
        .replace(
            "tenants: [{name: red}, {name: blue}]",
            "tenantsFrom: tenants.yaml",
        )
        .replace("gpus: 2", "gpus: 16")
        .replace("tenant: red", "tenant: vision-dev")
        .replace("tenant: blue", "tenant: vision-prod");
    let file = dir.path().join("s.yaml").display().to_string();
    let scenario = Scenario::parse(&file, &text).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    Ok(scenario.tenants)
}

#[test]
fn the_tenants_of_a_cluster_are_those_of_a_scenario() {
    let tenants = with_tenants(TENANTS).unwrap();
    let told = |t: &Tenant| {
        (
            t.id.to_string(),
            t.parent.as_ref().map(ToString::to_string),
            t.guaranteed.get(Resource::Gpu),
        )
    };
    let is = |name: &str, parent: Option<&str>, gpu: u64| {
        (name.to_owned(), parent.map(str::to_owned), gpu)
    };
    // 30, 20 and 50 % of 7 are 2.1, 1.4 and 3.5.
    assert_eq!(
        tenants.iter().map(told).collect::<Vec<_>>(),
        [
            is("lab", None, 16_000),
            is("vision", Some("lab"), 7000),
            is("vision-dev", Some("vision"), 2000),
            is("vision-staging", Some("vision"), 1000),
            is("vision-prod", Some("vision"), 4000),
        ]
    );
}

#[test]
fn what_is_wrong_with_them_is_told_where_it_stands() {
    let said = |was: &str, is: &str| with_tenants(&TENANTS.replacen(was, is, 1)).unwrap_err();
    let parent = said("parent: lab", "parent: lap");
    assert!(
        parent.contains("tenants.yaml:8:18: spec.parent: no tenant is called `lap`"),
        "{parent}"
    );
    let less = said("gpu: 16", "gpu: 4");
    assert!(
        less.contains(
            "spec.guaranteed.gpu: is less than what its children are guaranteed together"
        ),
        "{less}"
    );
    let amount = said("gpu: 7", "gpu: seven");
    assert!(
        amount.contains("tenants.yaml:13:21: spec.guaranteed.gpu: "),
        "{amount}"
    );
    let kind = said("kind: Tenant", "kind: Tennant");
    assert!(kind.contains("tenants.yaml:2:7: kind: `Tennant`"), "{kind}");
    let percent = said("{name: dev}", "{name: test}");
    assert!(
        percent.contains("spec.environments[0].percent: is missing"),
        "{percent}"
    );
}
