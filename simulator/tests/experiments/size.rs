//! `size`: the smallest that is enough.

use std::process::Output;

use super::{TWELVE, call, folder, refused, squeezed, told};

fn size(slo: &str, vary: &str) -> Output {
    let folder = folder(&[("s.yaml", TWELVE)]);
    let line = format!("size s.yaml --seeds 1-3 --vary {vary} --slo |'{slo}|");
    call(folder.path(), &line)
}

fn smallest(slo: &str, vary: &str) -> String {
    let output = size(slo, vary);
    assert!(output.status.success(), "{slo}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let verdict = text.lines().next().unwrap();
    verdict.rsplit('=').next().unwrap().to_owned()
}

#[test]
fn the_smallest_size_is_the_one_that_is_worked_out_by_hand() {
    let nodes = "pools.gpu.count=1..12";
    // The last of twelve starts after ⌈12/k⌉ − 1 hours.
    assert_eq!(smallest("max(wait) <= 2h", nodes), "4");
    assert_eq!(smallest("max(wait) < 2h", nodes), "6");
    assert_eq!(smallest("max(wait) <= 0s", "pools.gpu.count=1..30"), "12");
    // sorted[⌊12/2⌋] starts after ⌊6/k⌋ hours.
    assert_eq!(smallest("p50(wait, tenant=red) <= 1h", nodes), "4");
    // On 5 GPUs five wait 0 h, five 1 h, two 2 h: 45 min in the mean. On 4: an hour.
    assert_eq!(smallest("mean(wait, priority=0) <= 45m", nodes), "5");
    assert_eq!(smallest("max(jct, gpus=1) <= 2h", nodes), "6");
    assert_eq!(
        smallest("max(slowdown) <= 3", "pools.gpu.count=2..12:2"),
        "4"
    );
    assert_eq!(
        smallest("max(wait) <= 2h", "pools.gpu.gpus=1..12 --all"),
        "4"
    );
}

#[test]
fn the_answer_shows_all_that_was_tried() {
    let folder = folder(&[("s.yaml", TWELVE)]);
    let line = "size s.yaml --seeds 1-3 --vary pools.gpu.count=3,4,6 --slo |'max(wait) <= 2h|";
    let told = told(folder.path(), line);
    let rows: Vec<String> = told.lines().map(squeezed).collect();
    assert_eq!(
        rows,
        [
            "Smallest that meets max(wait) <= 2h: pools.gpu.count=4",
            "",
            "pools.gpu.count max(wait) 95 % INTERVAL GPUS ALLOCATED MET",
            "1 11 h 00 min 11 h 00 min to 11 h 00 min 1 100 % ✗ current",
            "3 3 h 00 min 3 h 00 min to 3 h 00 min 3 100 % ✗",
            "4 2 h 00 min 2 h 00 min to 2 h 00 min 4 100 % ✓",
            "6 60 min 60 min to 60 min 6 100 % ✓",
        ]
    );
}

#[test]
fn a_goal_that_nothing_meets_exits_with_3() {
    let output = size("max(wait) <= 2h", "pools.gpu.count=1..3");
    assert_eq!(output.status.code(), Some(3));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.starts_with("None that was tried meets max(wait) <= 2h\n"));
    let why = String::from_utf8(output.stderr).unwrap();
    assert!(why.starts_with("not met: none of the 3 values that were tried meets"));
}

#[test]
fn jobs_that_never_start_wait_for_ever() {
    // Red may hold two GPUs, and every third of its jobs wants four: no cluster helps.
    let text = TWELVE
        .replace("- name: red", "- {name: red, limit: {gpu: 2}}")
        .replace("task:", "gang: {1: 2, 4: 1}\n    task:");
    let folder = folder(&[("s.yaml", &text)]);
    let line = "size s.yaml --vary pools.gpu.count=4..6 --slo |'max(wait) <= 90d|";
    let output = call(folder.path(), line);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    let mut rows = table.lines().map(squeezed);
    assert!(rows.any(|row| row.starts_with("6 ∞ - 6 ")), "{table}");
    assert!(table.contains("\npools.gpu.count=6: "), "{table}");
    assert!(table.ends_with("jobs can never start\n"), "{table}");
}

#[test]
fn a_wrong_question_is_told_with_its_place() {
    let folder = folder(&[("s.yaml", TWELVE)]);
    let size = |slo: &str, vary: &str| {
        let line = format!("size s.yaml --vary {vary} --slo |'{slo}|");
        let (code, told) = refused(folder.path(), &line);
        assert_eq!(code, 2, "{told}");
        told
    };
    let nodes = "pools.gpu.count=1..3";
    let told = size("p95(wait, tenant=rad) <= 1m", nodes);
    let start = "error: --slo:1:18: tenant: `rad` is not a tenant";
    assert!(told.starts_with(start), "{told}");
    assert_eq!(
        size("max(wait) <= 1m", "pools.gup.count=1..3"),
        "error: s.yaml: pools.gup.count: there is no `gup` in `pools`\n\
         \x20 help: did you mean `gpu`?\n"
    );
    assert_eq!(
        size("max(wait) <= 1m", "pools.gpu.count=0..3"),
        "error: s.yaml with pools.gpu.count=0: pools.gpu.count: `0` is not a number from 1 to 65536\n\
         \x20 help: write a number in that range, without a unit\n"
    );
    let told = size("max(wait, tenant=blue) <= 1m", nodes);
    let why = "only 0 of 10 seeds have a job that it is about";
    assert!(told.contains(why), "{told}");
    let told = size("max(wait) <= 1m", &format!("{nodes} --seeds 7"));
    assert!(told.contains("--seeds: one seed alone"), "{told}");
}
