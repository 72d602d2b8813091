//! What a scenario with wrong streams or a wrong trace is answered with.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use prorata_simulator::scenario::Scenario;

const GOOD: &str = "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: small
pools:
  gpu: {count: 2, gpus: 8, model: A100, mode: fractional, gpuMemory: 80Gi, labels: {zone: east}, taints: [spot]}
  cut: {count: 1, gpus: 1, mode: mig:1g.10gb}
tenants: [{name: red}]
priorityClasses: {high: 1000}
workload:
  - tenant: red
    name: serve
    jobs: 3
    arrivals: {diurnal: {mean: 5m, peak: 14, ratio: 4, weekend: 0.3}, growth: 10%, from: 1h}
    gang: 1
    task: {share: 250m, gpuMemory: 8Gi}
    models: [A100]
    select: {zone: east}
    tolerate: [spot]
    duration: {empirical: {10m: 3, 2h: 1}}
    priority: high
    maxDuration: 2x
    checkpoint: 30m
    restart: 2m
    busy: 60%
    preemptible: true
";

/// What is said about the good scenario with one text replaced.
fn said(was: &str, is: &str) -> String {
    assert!(GOOD.contains(was), "{was}");
    told(&GOOD.replacen(was, is, 1))
}

fn told(text: &str) -> String {
    let problems = Scenario::parse("s.yaml", text).unwrap_err();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn good_work_is_taken_without_a_word() {
    assert_eq!(Scenario::parse("s.yaml", GOOD).unwrap().warnings, []);
}

/// What is replaced by what, and what is then said: place and fault, and remedy.
#[rustfmt::skip]
const WRONG: &[[&str; 4]] = &[
    ["diurnal: {mean: 5m, peak: 14, ratio: 4, weekend: 0.3}", "diurnal: 5m",
        "13:25: workload[0].arrivals.diurnal: `5m` is a single value where fields belong",
        "write diurnal: {mean: 5m, peak: 14, ratio: 4, weekend: 0.3}"],
    ["peak: 14", "peak: 25",
        "13:42: workload[0].arrivals.diurnal.peak: `25` is not a number from 0 to 24",
        "write a number in that range, without a unit"],
    ["ratio: 4", "ratio: 0.5",
        "13:53: workload[0].arrivals.diurnal.ratio: `0.5` is not a number from 1 to 1000",
        "write a number in that range, without a unit"],
    ["weekend: 0.3", "weekend: -1",
        "13:65: workload[0].arrivals.diurnal.weekend: `-1` is not a number from 0 to 10",
        "write a number in that range, without a unit"],
    ["growth: 10%", "growth: fast",
        "13:79: workload[0].arrivals.growth: `fast` is not a part from -90% to 900%",
        "write a percentage such as 60%, or the same as 0.6"],
    ["diurnal: {mean: 5m, peak: 14, ratio: 4, weekend: 0.3}", "every: 5m",
        "13:15: workload[0].arrivals: does not say one way of arriving",
        "write one of {at: 0s}, {every: 30s, from: 0s}, {poisson: {mean: 5m}, from: 0s} and {diurnal: {mean: 5m, peak: 14, ratio: 4, weekend: 0.3}, growth: 10%}; growth goes with the last two"],
    ["share: 250m", "share: 1500m",
        "15:19: workload[0].task.share: `1500m` is not a share of a GPU",
        "write less than one, such as 250m, or ask for whole ones with `gpu`"],
    ["share: 250m, gpuMemory: 8Gi", "share: 250m, gpu: 1",
        "15:19: workload[0].task.share: goes with no whole GPUs",
        "keep one of `gpu` and `share`"],
    ["share: 250m", "gpu: 1",
        "15:31: workload[0].task.gpuMemory: goes with no whole GPUs, which come with all of their memory",
        "leave it out, or ask for a `share` instead of `gpu`"],
    ["share: 250m", "share: 250m, cpu: 4",
        "15:30: workload[0].task.cpu: no pool says how much cpu its nodes have, so it is not limited",
        "add `cpu:` to the pools, or leave it out here"],
    ["{share: 250m, gpuMemory: 8Gi}", "{profile: 1g.10gb}",
        "15:21: workload[0].task.profile: does not say how many instances",
        "add `gpu: 1`, one instance"],
    ["{share: 250m, gpuMemory: 8Gi}", "{gpu: 1, profile: 1g.1gb}",
        "15:29: workload[0].task.profile: no pool has instances of `1g.1gb`",
        "did you mean `1g.10gb`?"],
    ["models: [A100]", "models: [A10]",
        "16:14: workload[0].models[0]: no pool has the model `A10`",
        "did you mean `A100`?"],
    ["select: {zone: east}", "select: {zone: west}",
        "17:20: workload[0].select.zone: no pool has the label zone with the value `west`",
        "did you mean `east`?"],
    ["tolerate: [spot]", "tolerate: [spit]",
        "18:16: workload[0].tolerate[0]: no pool has the taint `spit`",
        "did you mean `spot`?"],
    ["{10m: 3, 2h: 1}", "{10m: 0, 2h: 0}",
        "19:27: workload[0].duration.empirical: the weights sum to nothing",
        "give at least one of them a weight above 0, such as {10m: 3, 2h: 1}"],
    ["{10m: 3, 2h: 1}", "{soon: 3, 2h: 1}",
        "19:28: workload[0].duration.empirical: `soon` is not a duration up to ten years",
        "write whole milliseconds or more, such as 90s, 15m or 1h30m"],
    ["{empirical: {10m: 3, 2h: 1}}", "{quantiles: {file: no-such.csv, column: seconds}}",
        "19:34: workload[0].duration.quantiles.file: `no-such.csv` cannot be read: No such file or directory (os error 2)",
        "name a CSV file that you may read; its path is relative to this file"],
    ["{empirical: {10m: 3, 2h: 1}}", "{fixed: 1h, empirical: {10m: 3}}",
        "19:15: workload[0].duration: does not say one way of lasting",
        "write one of {fixed: 1h}, {lognormal: {median: 1h, sigma: 0.8}}, {empirical: {10m: 3, 2h: 1}} and {quantiles: {file: durations.csv, column: duration}}"],
    ["priority: high", "priority: hihg",
        "20:15: workload[0].priority: no PriorityClass is called `hihg`",
        "did you mean `high`?"],
    ["maxDuration: 2x", "maxDuration: 0.5x",
        "21:18: workload[0].maxDuration: `0.5x` is not a factor from 1x to 1000x",
        "write how many times the true duration it is, such as 2x, or a duration"],
    ["maxDuration: 2x", "maxDuration: twice",
        "21:18: workload[0].maxDuration: `twice` is not a duration up to ten years",
        "write whole milliseconds or more, such as 90s, 15m or 1h30m"],
    ["checkpoint: 30m", "checkpoint: 0s",
        "22:17: workload[0].checkpoint: is no time at all",
        "write a duration such as 15m"],
    ["restart: 2m", "restart: quick",
        "23:14: workload[0].restart: `quick` is not a duration up to ten years",
        "write whole milliseconds or more, such as 90s, 15m or 1h30m"],
    ["busy: 60%", "busy: 160%",
        "24:11: workload[0].busy: `160%` is not a part from 0% to 100%",
        "write a percentage such as 60%, or the same as 0.6"],
    ["preemptible: true", "preemptible: maybe",
        "25:18: workload[0].preemptible: `maybe` is neither yes nor no",
        "write true or false"],
];

#[test]
fn each_mistake_is_told_with_its_place_and_its_remedy() {
    for [was, is, what, remedy] in WRONG {
        let expected = format!("error: s.yaml:{what}\n  help: {remedy}");
        assert_eq!(said(was, is), expected, "{is}");
    }
}

/// The good scenario with this instead of its workload.
fn instead(work: &str) -> String {
    let (head, _) = GOOD.split_once("workload:").unwrap();
    format!("{head}{work}")
}

#[test]
fn work_is_either_streams_or_a_trace() {
    assert_eq!(
        told(&instead("")),
        "error: s.yaml:3:7: workload: there is none\n\
         \x20 help: add at least one stream of jobs, or `trace: {source: philly:FILE}`"
    );
    assert_eq!(
        told(&instead("workload: []")),
        "error: s.yaml:9:11: workload: there is none\n\
         \x20 help: add at least one stream of jobs"
    );
    assert_eq!(
        told(&format!("{GOOD}trace: {{source: philly:x.csv}}\n")),
        "error: s.yaml:26:8: trace: goes with no workload\n\
         \x20 help: keep one of the two"
    );
}

/// What stands below `trace`, and what is then said: place and fault, and remedy.
#[rustfmt::skip]
const TRACE: &[[&str; 3]] = &[
    ["x.csv", "9:8: trace: `x.csv` is a single value where fields belong",
        "write trace: {source: philly:FILE, tenants: fromTrace}"],
    ["{source: phily:x.csv}", "9:17: trace.source: there is no trace format `phily`",
        "did you mean `philly`?"],
    ["{source: x.csv}", "9:17: trace.source: `x.csv` does not say which format it has",
        "write FORMAT:FILE, FORMAT being one of openb, philly, muri, chronus, swf"],
    ["{tenants: fromtrace}", "9:18: trace.tenants: `fromtrace` is not a way of finding tenants",
        "did you mean `fromTrace`?"],
    ["{days: 0}", "9:15: trace.days: `0` is not a number from 1 to 3650",
        "write a number in that range, without a unit"],
    ["{gpusPerTask: some}", "9:22: trace.gpusPerTask: `some` is not a number from 1 to 1000000",
        "write a number in that range, without a unit"],
    ["{memoryPerGpu: 32Gb}", "9:23: trace.memoryPerGpu: `32Gb` is not an amount",
        "write a number such as 2, 0.5, 500m or 64Gi"],
    ["{runtime: 1.5}", "9:18: trace.runtime: `1.5` is not a factor",
        "write how many times as long as the trace says jobs run, such as 1.5x"],
    ["{runtime: 0x}", "9:18: trace.runtime: `0x` is not a factor from 0.001x to 1000x",
        "write how many times as long as the trace says jobs run, such as 1.5x"],
    ["{priority: urgent}", "9:19: trace.priority: no PriorityClass is called `urgent`",
        "write one of high"],
];

#[test]
fn each_mistake_about_a_trace_is_told_with_its_place_and_its_remedy() {
    for [is, what, remedy] in TRACE {
        let expected = format!("error: s.yaml:{what}\n  help: {remedy}");
        assert_eq!(told(&instead(&format!("trace: {is}\n"))), expected, "{is}");
    }
}

#[test]
fn a_trace_that_is_not_there_is_named_with_its_path() {
    let text = instead("trace: {source: philly:traces/x.csv, tenants: fromTrace}\n");
    let problems = Scenario::parse("folder/s.yaml", &text).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "error: folder/traces/x.csv: file: cannot be read: No such file or directory (os error 2)\n\
         \x20 help: name a trace's file that you may read"
    );
}

#[test]
fn a_csv_file_that_is_wrong_is_told_with_the_cell() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml").display().to_string();
    let csv = folder.path().join("d.csv");
    let said = |content: &str, column: &str| {
        std::fs::write(&csv, content).unwrap();
        let is = format!("{{quantiles: {{file: d.csv, column: {column}}}}}");
        let text = GOOD.replacen("{empirical: {10m: 3, 2h: 1}}", &is, 1);
        let problems = Scenario::parse(&file, &text).unwrap_err();
        assert_eq!(problems.len(), 1);
        let folder = format!("{}/", folder.path().display());
        problems[0].to_string().replace(&folder, "")
    };
    assert_eq!(
        said("quantile,seconds\n0,soon\n", "seconds"),
        "error: s.yaml:19:49: workload[0].duration.quantiles.column: d.csv:2: seconds: `soon` is not a duration\n\
         \x20 help: write seconds such as 90 or 0.5, or durations such as 90s and 1h30m"
    );
    assert_eq!(
        said("quantile,seconds\n0,1\n", "second"),
        "error: s.yaml:19:49: workload[0].duration.quantiles.column: `d.csv` has no column `second`\n\
         \x20 help: did you mean `seconds`?"
    );
    assert_eq!(
        said("quantile,seconds\n", "seconds"),
        "error: s.yaml:19:34: workload[0].duration.quantiles.file: `d.csv` has no rows\n\
         \x20 help: write a line with a duration for each quantile, from the shortest to the longest"
    );
}
