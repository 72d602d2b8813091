//! What a scenario with wrong machines, tenants, classes, choices or faults is answered with.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use prorata_simulator::scenario::Scenario;

const GOOD: &str = "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: small
pools:
  big:
    count: 2
    gpus: 8
    model: H100
    mode: mps-4
    gpuMemory: 80Gi
    cpu: 96
    labels: {zone: east}
    taints: [team=prod:NoSchedule]
    price: 2.5
    failures: {mtbf: 30d, repair: 4h}
  old: {count: 1, gpus: 4, mode: mig:3g.40gb+2g.20gb, cpu: 32}
tenants:
  - {name: lab, guaranteed: {gpu: 6}}
  - {name: red, parent: lab, guaranteed: {gpu: 4}, lendingLimit: {gpu: 2}}
  - {name: blue, parent: lab}
priorityClasses:
  low: -10
  high: {value: 1000, clusterWide: true, protected: false}
policy:
  orders: [fifo, las, drf]
  place: best-fit
  preemption: {enabled: true, minRuntime: 5m, lossBudget: 7200}
  reserveAfter: 30m
  halfLife: 7d
  values: {H100: 2.5}
  topology: [zone]
  mix: 90%
faults:
  - {at: 2h, node: big-02, for: 1h}
  - {at: 3h, pool: old}
workload:
  - {tenant: red, name: train, jobs: 3, arrivals: {at: 0s}, task: {gpu: 1}, duration: {fixed: 1h}}
until: 10d
";

/// What is said about the good scenario with one text replaced.
fn said(was: &str, is: &str) -> String {
    assert!(GOOD.contains(was), "{was}");
    let problems = Scenario::parse("s.yaml", &GOOD.replacen(was, is, 1)).unwrap_err();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn a_good_fleet_is_taken_without_a_word() {
    assert_eq!(Scenario::parse("s.yaml", GOOD).unwrap().warnings, []);
}

/// What is replaced by what, and what is then said: place and fault, and remedy.
#[rustfmt::skip]
const WRONG: &[[&str; 4]] = &[
    ["mode: mps-4", "mode: mps-0",
        "9:11: pools.big.mode: `mps-0` is not a way of giving out GPUs",
        "did you mean `mps-4`?"],
    ["mode: mps-4", "mode: shared",
        "9:11: pools.big.mode: `shared` is not a way of giving out GPUs",
        "write one of exclusive, timeslice-4, mps-4, fractional, mig:3g.40gb+4g.40gb"],
    ["mode: mps-4", "mode: mig:9g.10gb",
        "9:11: pools.big.mode: `9g.10gb` is not a MIG profile",
        "write profiles such as mig:1g.10gb+2g.20gb+4g.40gb"],
    ["mode: mps-4", "mode: mig:4g.40gb+4g.40gb",
        "9:11: pools.big.mode: takes 8 slices of each card, and makes 16 instances of a node",
        "take at most 7 slices, and at most 128 instances"],
    ["gpus: 8", "gpus: 0.5",
        "7:11: pools.big.gpus: `0.5` is a part of a GPU",
        "write a whole number of GPUs"],
    ["gpus: 8", "gpus: 129",
        "7:11: pools.big.gpus: a node cannot have 129 GPUs",
        "write at most 128"],
    ["gpuMemory: 80Gi", "gpuMemory: 80Gb",
        "10:16: pools.big.gpuMemory: `80Gb` is not an amount",
        "write a number such as 2, 0.5, 500m or 64Gi"],
    ["cpu: 96\n", "memory: 1Ti\n",
        "6:5: pools.big: does not say how much cpu its nodes have, but `old` does",
        "add `cpu:` here, or take it away from all pools: then it is not limited\nerror: s.yaml:16:8: pools.old: does not say how much memory its nodes have, but `big` does\n  help: add `memory:` here, or take it away from all pools: then it is not limited"],
    ["{zone: east}", "{zo ne: east}",
        "12:21: pools.big.labels: `zo ne` is not the key of a label",
        "use letters, digits and - _ . / only, such as topology.kubernetes.io/zone\nerror: s.yaml:31:14: policy.topology[0]: no pool has the label `zone`\n  help: did you mean `zo ne`?"],
    ["team=prod:NoSchedule", "team=prod:PreferNoSchedule",
        "13:14: pools.big.taints[0]: `PreferNoSchedule` is not an effect that keeps tasks away",
        "write NoSchedule or NoExecute behind the colon"],
    ["price: 2.5", "price: 2.5 $",
        "14:12: pools.big.price: `2.5 $` is not a number from 0 to 1000000",
        "write a number in that range, without a unit"],
    ["mtbf: 30d", "mtbf: 0s",
        "15:22: pools.big.failures.mtbf: is no time at all",
        "write a duration such as 15m"],
    ["failures: {mtbf: 30d, repair: 4h}", "failures: 30d",
        "15:15: pools.big.failures: `30d` is a single value where fields belong",
        "write failures: {mtbf: 30d, repair: 4h}"],
    ["until: 10d\n", "",
        "15:15: pools.big.failures: are drawn up to the end of the run, and none is said",
        "add a line such as `until: 30d` to the scenario"],
    ["{name: red, parent: lab", "{name: red, parent: lob",
        "19:25: tenants[1].parent: no tenant is called `lob`",
        "did you mean `lab`?"],
    ["{name: lab, guaranteed: {gpu: 6}}", "{name: lab, parent: red, guaranteed: {gpu: 6}}",
        "18:25: tenants[0].parent: `lab` is above itself",
        "leave out the parent of one tenant of the circle\nerror: s.yaml:19:5: tenants[1].guaranteed.gpu: is less than what its children are guaranteed together\n  help: raise it, or lower theirs: a parent's guarantee is what all below it own\nerror: s.yaml:19:25: tenants[1].parent: `red` is above itself\n  help: leave out the parent of one tenant of the circle\nerror: s.yaml:37:14: workload[0].tenant: `red` has tenants below it, so it has no jobs of its own\n  help: write one of lab"],
    ["{name: lab, guaranteed: {gpu: 6}}", "{name: lab, guaranteed: {gpu: 3}}",
        "18:5: tenants[0].guaranteed.gpu: is less than what its children are guaranteed together",
        "raise it, or lower theirs: a parent's guarantee is what all below it own"],
    ["lendingLimit: {gpu: 2}", "lendingLimit: {memory: 2Gi}",
        "19:75: tenants[1].lendingLimit.memory: no pool says how much memory its nodes have, so it is not limited",
        "add `memory:` to the pools, or leave it out here"],
    ["{name: blue, parent: lab}", "{name: blue, limit: {gpuMemory: x}}",
        "20:37: tenants[2].limit.gpuMemory: `x` is not an amount",
        "write a number such as 2, 0.5, 500m or 64Gi"],
    ["low: -10", "low: lowest",
        "22:8: priorityClasses.low: `lowest` is not a number from -2147483648 to 2147483647",
        "write a number in that range, without a unit"],
    ["value: 1000, clusterWide: true", "value: 3e9, clusterWide: perhaps",
        "23:17: priorityClasses.high.value: `3e9` is not a number from -2147483648 to 2147483647",
        "write a number in that range, without a unit\nerror: s.yaml:23:35: priorityClasses.high.clusterWide: `perhaps` is neither yes nor no\n  help: write true or false"],
    ["orders: [fifo, las, drf]", "orders: [fifo, laz]",
        "25:18: policy.orders[1]: `laz` is not an order",
        "did you mean `las`?"],
    ["place: best-fit", "place: worst-fit",
        "26:10: policy.place: `worst-fit` is not a way of placing",
        "did you mean `first-fit`?"],
    ["{enabled: true, minRuntime: 5m, lossBudget: 7200}", "sometimes",
        "27:15: policy.preemption: `sometimes` is neither yes nor no",
        "write true or false"],
    ["lossBudget: 7200", "lossBudget: 2h",
        "27:59: policy.preemption.lossBudget: `2h` is not a number from 0 to 1099511627776",
        "write a number in that range, without a unit"],
    ["reserveAfter: 30m", "reserveAfter: soon",
        "28:17: policy.reserveAfter: `soon` is not a duration up to ten years",
        "write whole milliseconds or more, such as 90s, 15m or 1h30m"],
    ["halfLife: 7d", "halfLife: 0s",
        "29:13: policy.halfLife: is no time at all",
        "write a duration such as 15m"],
    ["values: {H100: 2.5}", "values: {H200: 2.5}",
        "30:18: policy.values.H200: no pool has the model `H200`",
        "did you mean `H100`?"],
    ["values: {H100: 2.5}", "values: {H100: 0}",
        "30:18: policy.values.H100: `0` is not the value of a GPU",
        "write how many ordinary GPUs it is worth, such as 2.5, up to 1000"],
    ["topology: [zone]", "topology: [rack]",
        "31:14: policy.topology[0]: no pool has the label `rack`",
        "write one of zone"],
    ["mix: 90%", "mix: 190%",
        "32:8: policy.mix: `190%` is not a part from 0% to 100%",
        "write a percentage such as 60%, or the same as 0.6"],
    ["node: big-02", "node: big-03",
        "34:20: faults[0].node: no node is called `big-03`",
        "write one of big-01 to big-02, old-01 to old-01"],
    ["pool: old", "pool: odl",
        "35:20: faults[1].pool: no pool is called `odl`",
        "did you mean `old`?"],
    ["pool: old", "for: 1h",
        "35:5: faults[1]: does not say what fails",
        "write one of `node: gpu-01` and `pool: gpu`, all of its nodes"],
    ["- {at: 3h, pool: old}", "- 3h",
        "35:5: faults[1]: `3h` is a single value where fields belong",
        "write - {at: 2h, node: gpu-01, for: 1h}"],
    ["tenant: red", "tenant: lab",
        "37:14: workload[0].tenant: `lab` has tenants below it, so it has no jobs of its own",
        "write one of red, blue"],
];

#[test]
fn each_mistake_is_told_with_its_place_and_its_remedy() {
    for [was, is, what, remedy] in WRONG {
        let expected = format!("error: s.yaml:{what}\n  help: {remedy}");
        assert_eq!(said(was, is), expected, "{is}");
    }
}
