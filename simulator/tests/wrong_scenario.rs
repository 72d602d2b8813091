//! What a wrong scenario is answered with: place, field, fault and remedy.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use prorata_simulator::scenario::Scenario;

const GOOD: &str = "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: small
pools:
  gpu: {count: 2, gpus: 8, cpu: 96, memory: 1Ti}
tenants:
  - {name: red, weight: 1/2, guaranteed: {gpu: 4}, limit: {gpu: 8}}
  - name: blue
workload:
  - tenant: red
    name: train
    jobs: 3
    arrivals: {every: 30s, from: 1m}
    gang: {1: 0.5, 4: 0.5}
    task: {gpu: 1, cpu: 4}
    duration: {lognormal: {median: 1h, sigma: 0.8}}
";

/// What is said about the good scenario with one text replaced.
fn said(was: &str, is: &str) -> String {
    assert!(GOOD.contains(was), "{was}");
    let problems = Scenario::parse("s.yaml", &GOOD.replacen(was, is, 1)).unwrap_err();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn a_good_scenario_is_taken_without_a_word() {
    assert_eq!(Scenario::parse("s.yaml", GOOD).unwrap().warnings, []);
}

#[test]
fn an_unknown_field_is_told_with_the_nearest_name() {
    assert_eq!(
        said("pools:", "pols:"),
        "error: s.yaml:4:1: pols: there is no such field here\n\
         \x20 help: did you mean `pools`?"
    );
    assert_eq!(
        said("cpu: 96", "cpus: 96"),
        "error: s.yaml:5:28: cpus: there is no such field here\n\
         \x20 help: did you mean `cpu`?"
    );
}

#[test]
fn a_missing_or_repeated_field_is_told() {
    assert_eq!(
        said("    jobs: 3\n", ""),
        "error: s.yaml:15:5: jobs: is missing\n\
         \x20 help: add `jobs:` here"
    );
    assert_eq!(
        said("name: small", "name: small\nname: big"),
        "error: s.yaml:4:1: name: is written twice\n\
         \x20 help: keep one of them"
    );
}

#[test]
fn a_broken_structure_is_told() {
    assert_eq!(
        said("jobs: 3", "jobs: [3"),
        "error: s.yaml:12:11: YAML: a single value belongs here\n\
         \x20 help: write it without [ ] or { }"
    );
    assert_eq!(
        said("jobs: 3", "jobs: [3]"),
        "error: s.yaml:12:11: YAML: a single value belongs here\n\
         \x20 help: write it without [ ] or { }"
    );
    assert_eq!(
        said("{1: 0.5, 4: 0.5}", "[1]"),
        "error: s.yaml:14:5: YAML: invalid type: sequence, expected one value, or a mix such as {1: 0.5, 4: 0.5}\n\
         \x20 help: correct the structure of the file here"
    );
}

#[test]
fn a_stream_needs_a_tenant_that_is_described() {
    assert_eq!(
        said("- tenant: red", "- tenant: rad"),
        "error: s.yaml:10:13: workload[0].tenant: no tenant is called `rad`\n\
         \x20 help: did you mean `red`?"
    );
}

#[test]
fn amounts_are_positive_and_no_finer_than_the_unit() {
    assert_eq!(
        said("gpu: 1, cpu: 4", "gpu: -1, cpu: 0.00001"),
        "error: s.yaml:15:17: workload[0].task.gpu: `-1` is not an amount\n\
         \x20 help: write a number such as 2, 0.5, 500m or 64Gi\n\
         error: s.yaml:15:26: workload[0].task.cpu: `0.00001` is finer than a thousandth, the smallest amount of cpu there is\n\
         \x20 help: write a coarser or smaller amount"
    );
    assert_eq!(
        said("{gpu: 1, cpu: 4}", "{gpu: 0}"),
        "error: s.yaml:15:11: workload[0].task: asks for nothing\n\
         \x20 help: write what each task needs, such as {gpu: 1, cpu: 8, memory: 64Gi}"
    );
    assert_eq!(
        said("{gpu: 1, cpu: 4}", "{gpu: 500m}"),
        "error: s.yaml:15:17: workload[0].task.gpu: `500m` is a part of a GPU\n\
         \x20 help: write a whole number of GPUs"
    );
    assert_eq!(
        said("memory: 1Ti", "memory: 1Tb"),
        "error: s.yaml:5:45: pools.gpu.memory: `1Tb` is not an amount\n\
         \x20 help: write a number such as 2, 0.5, 500m or 64Gi"
    );
}

#[test]
fn counts_are_in_range() {
    assert_eq!(
        said("jobs: 3", "jobs: 0"),
        "error: s.yaml:12:11: workload[0].jobs: `0` is not a number from 1 to 1000000\n\
         \x20 help: write a number in that range, without a unit"
    );
    assert_eq!(
        said("count: 2", "count: 0"),
        "error: s.yaml:5:16: pools.gpu.count: `0` is not a number from 1 to 65536\n\
         \x20 help: write a number in that range, without a unit"
    );
}

#[test]
fn gangs_have_a_size_and_a_weight() {
    assert_eq!(
        said("{1: 0.5, 4: 0.5}", "{1: 0, 4: 0}"),
        "error: s.yaml:14:11: workload[0].gang: the weights sum to nothing\n\
         \x20 help: give at least one of them a weight above 0, such as {1: 0.5, 4: 0.5}"
    );
    assert_eq!(
        said("{1: 0.5, 4: 0.5}", "{0: 1, 4: -2}"),
        "error: s.yaml:14:12: workload[0].gang: `0` is not a number from 1 to 65536\n\
         \x20 help: write a number in that range, without a unit\n\
         error: s.yaml:14:21: workload[0].gang.4: `-2` is not a number from 0 to 1000000000\n\
         \x20 help: write a number in that range, without a unit"
    );
    assert_eq!(
        said("{1: 0.5, 4: 0.5}", "0"),
        "error: s.yaml:14:11: workload[0].gang: `0` is not a number from 1 to 65536\n\
         \x20 help: write a number in that range, without a unit"
    );
}

#[test]
fn tenants_have_one_name_and_keepable_promises() {
    assert_eq!(
        said("guaranteed: {gpu: 4}", "guaranteed: {gpu: 9}"),
        "error: s.yaml:7:48: tenants[0].guaranteed.gpu: is more than the tenant's limit\n\
         \x20 help: raise the limit or lower the guarantee"
    );
    assert_eq!(
        said("weight: 1/2", "weight: half"),
        "error: s.yaml:7:25: tenants[0].weight: `half` is not a weight\n\
         \x20 help: write a whole number or a fraction such as 2, 1/2 or 0.5"
    );
    assert_eq!(
        said("name: blue", "name: red"),
        "error: s.yaml:8:11: tenants[1].name: `red` is described twice\n\
         \x20 help: keep one of them"
    );
    assert_eq!(
        said("name: blue", "name: Blue Team"),
        "error: s.yaml:8:11: tenants[1].name: `Blue Team` is not a name\n\
         \x20 help: use at most 63 of a-z, 0-9 and -, with no - at either end"
    );
}

#[test]
fn times_are_told_in_one_way() {
    assert_eq!(
        said("{every: 30s, from: 1m}", "{every: 30s, at: 1m}"),
        "error: s.yaml:13:15: workload[0].arrivals: does not say one way of arriving\n\
         \x20 help: write one of {at: 0s}, {every: 30s, from: 0s}, {poisson: {mean: 5m}, from: 0s} and {diurnal: {mean: 5m, peak: 14, ratio: 4, weekend: 0.3}, growth: 10%}; growth goes with the last two"
    );
    assert_eq!(
        said("{every: 30s, from: 1m}", "{every: soon}"),
        "error: s.yaml:13:23: workload[0].arrivals.every: `soon` is not a duration up to ten years\n\
         \x20 help: write whole milliseconds or more, such as 90s, 15m or 1h30m"
    );
    assert_eq!(
        said("{lognormal: {median: 1h, sigma: 0.8}}", "{}"),
        "error: s.yaml:16:15: workload[0].duration: does not say one way of lasting\n\
         \x20 help: write one of {fixed: 1h}, {lognormal: {median: 1h, sigma: 0.8}}, {empirical: {10m: 3, 2h: 1}} and {quantiles: {file: durations.csv, column: duration}}"
    );
    assert_eq!(
        said(
            "{lognormal: {median: 1h, sigma: 0.8}}",
            "{lognormal: {median: 0s, sigma: 9}}"
        ),
        "error: s.yaml:16:36: workload[0].duration.lognormal.median: is no time at all\n\
         \x20 help: write a duration such as 15m\n\
         error: s.yaml:16:47: workload[0].duration.lognormal.sigma: `9` is not a number from 0 to 4\n\
         \x20 help: write a number in that range, without a unit"
    );
}

#[test]
fn all_problems_are_told_at_once() {
    assert_eq!(
        said(
            "kind: Scenario",
            "kind: Tenant\npolicy: {orders: [dfr, drf, drf]}"
        ),
        "error: s.yaml:2:7: kind: `Tenant` is not known\n\
         \x20 help: write Scenario\n\
         error: s.yaml:3:19: policy.orders[0]: `dfr` is not an order\n\
         \x20 help: did you mean `drf`?\n\
         error: s.yaml:3:29: policy.orders[2]: `drf` is named twice\n\
         \x20 help: keep one of them"
    );
}

#[test]
fn guarantees_above_the_pools_are_a_warning() {
    let text = GOOD.replacen("{gpu: 4}, limit: {gpu: 8}", "{gpu: 17}", 1);
    let warnings = Scenario::parse("s.yaml", &text).unwrap().warnings;
    let lines: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "warning: s.yaml:7:3: tenants: the guarantees of gpu sum to more than all pools have\n\
          \x20 help: lower the guarantees or add nodes; until then they cannot all be kept"
        ]
    );
}

/// What is replaced by what, where, the value that is found there, and the remedy.
const MISPLACED: [[&str; 5]; 9] = [
    [
        "{lognormal: {median: 1h, sigma: 0.8}}",
        "1h",
        "16:15: workload[0].duration",
        "1h",
        "write duration: {fixed: 1h} or duration: {lognormal: {median: 1h, sigma: 0.8}}",
    ],
    [
        "{median: 1h, sigma: 0.8}",
        "1h",
        "16:27: workload[0].duration.lognormal",
        "1h",
        "write lognormal: {median: 1h, sigma: 0.8}",
    ],
    [
        "{every: 30s, from: 1m}",
        "0s",
        "13:15: workload[0].arrivals",
        "0s",
        "write arrivals: {at: 0s}, arrivals: {every: 30s} or arrivals: {poisson: {mean: 5m}}",
    ],
    [
        "{every: 30s, from: 1m}",
        "{poisson: 5m}",
        "13:25: workload[0].arrivals.poisson",
        "5m",
        "write poisson: {mean: 5m}",
    ],
    [
        "{gpu: 1, cpu: 4}",
        "1",
        "15:11: workload[0].task",
        "1",
        "write task: {gpu: 1, cpu: 8, memory: 64Gi}",
    ],
    [
        "{gpu: 4}",
        "8",
        "7:42: tenants[0].guaranteed",
        "8",
        "write guaranteed: {gpu: 8, cpu: 64, memory: 512Gi}",
    ],
    [
        "{gpu: 8}",
        "0.5",
        "7:59: tenants[0].limit",
        "0.5",
        "write limit: {gpu: 8, cpu: 64, memory: 512Gi}",
    ],
    [
        "name: small",
        "name: small\npolicy: drf",
        "4:9: policy",
        "drf",
        "write policy: {orders: [fifo, drf]}",
    ],
    [
        "name: blue",
        "blue",
        "8:5: tenants[1]",
        "blue",
        "write - name: research",
    ],
];

#[test]
fn a_single_value_where_fields_belong_is_told_with_what_to_write() {
    for [was, is, place, value, remedy] in MISPLACED {
        let what = format!("`{value}` is a single value where fields belong");
        let expected = format!("error: s.yaml:{place}: {what}\n  help: {remedy}");
        assert_eq!(said(was, is), expected, "{is}");
    }
}

#[test]
fn a_list_that_is_written_as_a_single_value_is_told() {
    assert_eq!(
        said("name: small", "name: small\npolicy: {orders: drf}"),
        "error: s.yaml:4:18: YAML: a list belongs here\n\
         \x20 help: write lines that begin with `- `, or [value, value]"
    );
}

#[test]
fn fields_that_are_left_empty_are_none() {
    let text = GOOD.replacen("name: small", "name: small\npolicy:", 1);
    assert_eq!(Scenario::parse("s.yaml", &text).unwrap().orders.len(), 2);
}

#[test]
fn work_beyond_counting_is_refused() {
    let large = GOOD.replacen("{1: 0.5, 4: 0.5}", "65536", 1);
    let large = large.replacen("{gpu: 1, cpu: 4}", "{memory: 255Ti}", 1);
    assert!(Scenario::parse("s.yaml", &large.replacen("jobs: 3", "jobs: 1", 1)).is_ok());
    let problems = Scenario::parse("s.yaml", &large).unwrap_err();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "error: s.yaml:15:11: workload[0].task.memory: all jobs up to here may ask for more memory than can be counted\n\
             \x20 help: lower jobs, gang or the amount: jobs × gang × task is to stay below 2^64"
        ]
    );
}

#[test]
fn a_byte_order_mark_is_skipped() {
    assert!(Scenario::parse("s.yaml", &format!("\u{feff}{GOOD}")).is_ok());
}
