//! `compare`, `size`, `sweep` and `merge` as people call them: answers that can be worked out by
//! hand, bytes, exit codes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

mod compare;
mod size;
mod sweep;

/// Twelve jobs of one GPU and one hour, all there from the start: on k GPUs the last starts after
/// ⌈12/k⌉ − 1 hours, whatever the seed.
const TWELVE: &str = "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: twelve
pools:
  gpu: {count: 1, gpus: 1, cpu: 8, memory: 64Gi}
tenants:
  - name: red
  - {name: blue, limit: {gpu: 64}}
policy: {orders: [drf]}
workload:
  - tenant: red
    name: train
    jobs: 12
    arrivals: {at: 0s}
    task: {gpu: 1}
    duration: {fixed: 1h}
";

/// Work that depends on the seed.
const DRAWN: &str = "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: drawn
pools:
  gpu: {count: 2, gpus: 4, cpu: 64, memory: 1Ti}
tenants:
  - {name: red, weight: 1}
  - name: blue
workload:
  - tenant: red
    name: train
    jobs: 12
    arrivals: {at: 0s}
    gang: {1: 0.5, 4: 0.5}
    task: {gpu: 1, cpu: 4}
    duration: {lognormal: {median: 1h, sigma: 0.8}}
  - tenant: blue
    name: eval
    jobs: 5
    arrivals: {poisson: {mean: 20m}}
    task: {gpu: 1}
    duration: {fixed: 30m}
";

/// A folder with some scenarios in it.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// `prorata-sim LINE`, in which `|'…|` is one argument with spaces.
fn command(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prorata-sim"));
    let words = line
        .split('|')
        .flat_map(|part| match part.strip_prefix('\'') {
            Some(whole) => vec![whole],
            None => part.split_whitespace().collect(),
        });
    let command_line = command.current_dir(folder).args(words);
    command_line.env_remove("JOB_COMPLETION_INDEX");
    command
}

fn call(folder: &Path, line: &str) -> Output {
    command(folder, line).output().unwrap()
}

/// What a call prints that goes well.
fn told(folder: &Path, line: &str) -> String {
    let output = call(folder, line);
    assert!(output.status.success(), "{line}: {output:?}");
    assert!(output.stderr.is_empty(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The exit code of a call, and what it complains about.
fn refused(folder: &Path, line: &str) -> (i32, String) {
    let output = call(folder, line);
    let told = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), told)
}

/// With one space where there are several.
fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(unix)]
#[test]
fn ctrl_c_exits_with_130_and_leaves_nothing() {
    let long = DRAWN.replace("jobs: 12", "jobs: 20000");
    let folder = folder(&[("s.yaml", &long), ("t.yaml", &long)]);
    for line in [
        "sweep s.yaml --seeds 1-100 --out out.csv",
        "compare s.yaml t.yaml --out out.json",
        "size s.yaml --vary pools.gpu.count=1..9 --slo |'max(wait) <= 1h|",
    ] {
        let mut child = command(folder.path(), line).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_secs(1));
        let mut kill = Command::new("kill");
        let killed = kill.args(["-INT", &child.id().to_string()]).status();
        assert!(killed.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "{line}");
    }
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["s.yaml", "t.yaml"]);
}
