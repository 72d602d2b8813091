//! What a wrong script is answered with: file, line, field, fault and remedy.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use prorata_simulator::play;
use prorata_simulator::script::Script;

/// Four good lines; what a test adds is line 5.
const GOOD: &str = "\
node a,b gpu=4 cpu=16
tenant red weight=1/2 limit=gpu:4
submit red/train gang=2 gpu=1
at 5s
";

/// Line 5, what is wrong with it, and the remedy.
const WRONG_LINES: [(&str, &str, &str); 61] = [
    (
        "sumbit red/eval gpu=1",
        "sumbit: is no verb",
        "use node, node-down, node-up, device-down, device-up, tenant, policy, pod, pod-gone, submit, finish, withdraw, hold, resume, fail or at",
    ),
    (
        "submit",
        "submit: names nothing",
        "write: submit NAME [key=value …]",
    ),
    (
        "submit red/eval gpu",
        "gpu: has no value",
        "write gpu=VALUE",
    ),
    (
        "submit red/eval gpu=1 gpu=2",
        "gpu: is set twice",
        "keep one of the two",
    ),
    (
        "submit red/eval gpus=1",
        "gpus: is not known here",
        "use gang, gpu, share, cpu, memory, gpu-memory, priority, for, max, expected, checkpoint, model, profile, select:, tolerate:, preemptible, hold, present",
    ),
    (
        "submit red-eval gpu=1",
        "job: `red-eval` names no job",
        "write TENANT/JOB, for example red/train",
    ),
    (
        "submit red/eval gpu=one",
        "gpu: `one` is not an amount; write a number such as 2, 0.5, 500m or 64Gi",
        "for example: gpu=2",
    ),
    (
        "submit red/eval gpu=0.0001",
        "gpu: `0.0001` is finer than a thousandth, the smallest amount of gpu there is",
        "for example: gpu=2",
    ),
    (
        "node c gpu=1E",
        "gpu: `1E` is more than any node can have",
        "for example: gpu=2",
    ),
    (
        "submit red/eval memory=1Ti",
        "submit: asks only for what no node names, so it would never wait",
        "name the resource in a node line",
    ),
    (
        "submit red/eval gang=-1 gpu=1",
        "gang: `-1` is no whole number in range",
        "for example: gang=8",
    ),
    (
        "submit red/eval priority=high gpu=1",
        "priority: `high` is no whole number in range",
        "for example: priority=8",
    ),
    (
        "submit red/eval gpu=1 for=soon",
        "for: `soon` is no time: expected number at 0",
        "write for example 90s, 1h30m or 250ms",
    ),
    (
        "at soon",
        "at: `soon` is no time: expected number at 0",
        "write for example 90s, 1h30m or 250ms",
    ),
    (
        "at 4s",
        "at: 4s is before 5s, which has been reached",
        "time only moves on",
    ),
    (
        "at 6s now=yes",
        "now: is not known here",
        "this line takes no settings",
    ),
    (
        "policy order=lifo",
        "order: `lifo` is not known",
        "use order=drf, fifo, priority, srtf, srsf, las",
    ),
    (
        "policy order=fifo",
        "policy: holds for the whole script",
        "write it above all nodes and jobs",
    ),
    (
        "node c,,d gpu=1",
        "node: a name is empty",
        "write names with single commas between them",
    ),
    (
        "tenant blue,blue",
        "tenant: blue is named twice",
        "name it once",
    ),
    (
        "submit red/a/b gpu=1",
        "job: `red/a/b` names no job",
        "write TENANT/JOB, for example red/train",
    ),
    (
        "submit red/train gpu=1",
        "submit: red/train has been submitted before",
        "give it another name",
    ),
    (
        "policy orders=fifo",
        "orders: is not known here",
        "use order, place, preemption, min-runtime, loss-budget, grace, reserve-after, half-life, topology, mix, value:, class:, cluster-wide, protected",
    ),
    (
        "tenant blue weight=1/0",
        "weight: `1/0` is not a weight; write a whole number or a fraction such as 2, 1/2 or 0.5",
        "for example: weight=2",
    ),
    (
        "tenant blue guaranteed=4",
        "guaranteed: `4` is no amount",
        "for example: guaranteed=gpu:2,cpu:4",
    ),
    (
        "tenant blue guaranteed=tpu:4",
        "guaranteed: `tpu:4` is no amount",
        "for example: guaranteed=gpu:2,cpu:4",
    ),
    (
        "tenant blue limit=memory:64Gi",
        "limit: no node names memory, so this limit could never bind",
        "add memory= to a node line",
    ),
    (
        "tenant blue owner=red",
        "owner: is not known here",
        "use parent, weight, guaranteed, limit, lend, exhausted",
    ),
    (
        "node c disk=4",
        "disk: is not known here",
        "use gpu, cpu, memory, gpu-memory, model, mode, label:, taint:",
    ),
    (
        "node-down c",
        "node: no node is called c",
        "name it in a node line above",
    ),
    (
        "finish red/eval",
        "finish: no job is called red/eval",
        "submit it in a line above",
    ),
    (
        "tenant blue parent=green",
        "parent: no tenant is called green",
        "name it in a tenant line above",
    ),
    (
        "tenant blue exhausted=1",
        "exhausted: `1` is not known",
        "use exhausted=yes, no",
    ),
    (
        "policy place=anywhere",
        "place: `anywhere` is not known",
        "use place=prorata, fgd, best-fit, first-fit, random:SEED",
    ),
    (
        "policy place=random:x",
        "place: `x` is no whole number in range",
        "for example: place=random:8",
    ),
    (
        "policy preemption=never",
        "preemption: `never` is not known",
        "use preemption=on, off",
    ),
    (
        "policy min-runtime=10",
        "min-runtime: `10` is no time: time unit needed, for example 10sec or 10ms",
        "write for example 90s, 1h30m or 250ms",
    ),
    (
        "policy loss-budget=1h",
        "loss-budget: `1h` is no whole number in range",
        "for example: loss-budget=8",
    ),
    (
        "policy value:H100=dear",
        "value: `dear` is no value of a GPU",
        "for example: value:H100=1.5",
    ),
    (
        "policy class:high=x",
        "class: `x` is no whole number in range",
        "for example: class:high=8",
    ),
    (
        "policy cluster-wide=high",
        "cluster-wide: no class is called high",
        "give it a value: class:high=100",
    ),
    (
        "policy protected=high,high",
        "protected: high is named twice",
        "name it once",
    ),
    (
        "policy mix=8",
        "mix: `8` is no amount",
        "for example: mix=gpu:2,cpu:4",
    ),
    (
        "policy mix=gpu:1*few",
        "mix: `few` is no whole number in range",
        "for example: mix=gpu:1*8",
    ),
    (
        "node c gpu=1 mode=shared",
        "mode: `shared` is not known",
        "use mode=exclusive, fractional, timeslice-4, mps-4, mig:1g.10gb+3g.40gb",
    ),
    (
        "node c gpu=1 mode=mps-0",
        "mode: a card has no 0 slots",
        "write a number from 1 to 1000",
    ),
    (
        "node c gpu=1 mode=mps-x",
        "mode: `x` is no whole number in range",
        "for example: mode=mps-8",
    ),
    (
        "node c gpu=1 mode=mig:8g.80gb",
        "mode: `8g.80gb` is no MIG profile",
        "for example: mode=mig:1g.10gb+1g.10gb+3g.40gb",
    ),
    (
        "node c gpu=1 taint:a=b:PreferNoSchedule",
        "taint: `PreferNoSchedule` is no effect that repels tasks",
        "for example: taint:a=b:NoExecute",
    ),
    (
        "node c gpu=1 label:=b",
        "label:: is not known here",
        "use gpu, cpu, memory, gpu-memory, model, mode, label:, taint:",
    ),
    (
        "device-down a",
        "device: `a` names no device",
        "write NODE[INDEX], for example a[0]",
    ),
    (
        "device-down a[4]",
        "device: a has 4 devices",
        "count devices from 0",
    ),
    (
        "device-up c[0]",
        "node: no node is called c",
        "name it in a node line above",
    ),
    (
        "pod p gpu=1",
        "on: is not said",
        "name the pod's node: on=a",
    ),
    (
        "pod-gone p",
        "pod-gone: no pod is called p",
        "name it in a pod line above",
    ),
    (
        "submit red/eval gpu=1 share=500m",
        "share: stands beside gpu=",
        "keep one of the two",
    ),
    (
        "submit red/eval share=1",
        "share: `1` is no share of one GPU",
        "for example: share=250m",
    ),
    (
        "submit red/eval gpu=1 preemptible=maybe",
        "preemptible: `maybe` is not known",
        "use preemptible=yes, no",
    ),
    (
        "submit red/eval gpu=1 hold=forever",
        "hold: `forever` is not known",
        "use hold=user, dependency",
    ),
    (
        "submit red/eval gpu=1 hold=user present=1",
        "present: red/eval is held otherwise",
        "keep hold= or present=",
    ),
    (
        "submit red/eval gpu=1 checkpoint=often",
        "checkpoint: `often` is no time: expected number at 0",
        "write for example 90s, 1h30m or 250ms",
    ),
];

/// What is said about the good lines followed by `line`.
fn said(line: &str) -> String {
    let read = Script::read("s.txt", &format!("{GOOD}{line}\n"));
    let problems = read.expect_err(line);
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// The answer to a wrong line 5.
fn at_line_5(what: &str, remedy: &str) -> String {
    format!("error: s.txt:5: {what}\n  help: {remedy}")
}

#[test]
fn good_lines_are_taken() {
    assert_eq!(Script::read("s.txt", GOOD).unwrap().steps.len(), 4);
}

#[test]
fn each_kind_of_wrong_line_is_answered() {
    for (line, what, remedy) in WRONG_LINES {
        assert_eq!(said(line), at_line_5(what, remedy), "{line}");
    }
}

#[test]
fn every_wrong_line_is_told_at_once_and_comments_count_as_lines() {
    let text = "# A comment.\n\nat soon\nat 1s # not soon\nsubmit\n----\nnothing below is read\n";
    let problems = Script::read("s.txt", text).unwrap_err();
    let places = problems.iter().map(|problem| {
        let text = problem.to_string();
        text.split_inclusive(": ").take(2).collect::<String>()
    });
    assert_eq!(
        places.collect::<Vec<_>>(),
        ["error: s.txt:3: ", "error: s.txt:5: "]
    );
}

/// A line may be well formed and still say what cannot have happened.
#[test]
fn what_cannot_have_happened_is_told_where_it_stands() {
    let impossible = |line: &str| {
        let script = Script::read("s.txt", &format!("{GOOD}{line}\n")).unwrap();
        play::play("s.txt", &script).unwrap_err().to_string()
    };
    let once = "finish a job after the `at` in which it was admitted, and once";
    assert_eq!(
        impossible("submit red/eval gpu=1\nfinish red/eval"),
        "error: s.txt:6: finish: red/eval does not run at 5s\n  help: ".to_owned() + once
    );
    assert_eq!(
        impossible("finish red/train\nfinish red/train"),
        "error: s.txt:6: finish: red/train does not run at 5s\n  help: ".to_owned() + once
    );
    assert_eq!(
        impossible("at 6s\nfail red/train"),
        "error: s.txt:6: fail: red/train was not admitted at 6s\n  \
         help: let an admission fail right after the `at` that gave it"
    );
}

#[test]
fn the_command_exits_with_2_and_says_all_of_it_on_stderr() {
    let wrong = format!("{GOOD}at 4s\nsubmit\n");
    let output = played(&wrong);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        "error: s.txt:5: at: 4s is before 5s, which has been reached\n  help: time only moves on\n\
         error: s.txt:6: submit: names nothing\n  help: write: submit NAME [key=value …]\n"
    );
    let impossible = played(&format!("{GOOD}at 6s\nfail red/train\n"));
    assert_eq!(impossible.status.code(), Some(2), "{impossible:?}");
}

#[test]
fn a_wrong_script_is_not_blessed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.txt");
    let wrong = format!("{GOOD}at 4s\n----\nas it was\n");
    fs::write(&file, &wrong).unwrap();
    let output = prorata_sim(folder.path(), &["play", "s.txt", "--bless"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(fs::read_to_string(file).unwrap(), wrong);
}

#[test]
fn an_absent_script_is_wrong_input() {
    let folder = tempfile::tempdir().unwrap();
    let output = prorata_sim(folder.path(), &["play", "nowhere.txt"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: nowhere.txt: "), "{said}");
    assert!(said.contains("\n  help: "), "{said}");
}

/// `prorata-sim play s.txt` in a folder with nothing else in it.
fn played(text: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("s.txt"), text).unwrap();
    prorata_sim(folder.path(), &["play", "s.txt"])
}

fn prorata_sim(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prorata-sim"));
    command
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_script_has_at_most_65536_nodes() {
    let names = |from: usize, to: usize| (from..to).map(|n| format!("n{n}")).collect::<Vec<_>>();
    let many = |count| format!("node {} memory=255Ti\n", names(0, count).join(","));
    let last = "node n0 gpu=1\n";
    assert!(Script::read("s.txt", &(many(65_536) + last)).is_ok());
    let problems = Script::read("s.txt", &(many(65_536) + "node a gpu=1\nnode b gpu=1\n"));
    let lines: Vec<String> = problems
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        lines,
        ["error: s.txt:2: node: makes 65537 nodes in all\n  help: name at most 65536 in a script"]
    );
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let marked = format!("\u{feff}{GOOD}");
    assert_eq!(Script::read("s.txt", &marked).unwrap().steps.len(), 4);
    assert_eq!(play::bless(&marked, ""), format!("{GOOD}----\n"));
}

#[test]
fn one_wrong_script_leaves_all_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::write(file("a.txt"), GOOD).unwrap();
    fs::write(file("b.txt"), "submit\n").unwrap();
    for wrong in ["b.txt", "absent.txt"] {
        let output = prorata_sim(folder.path(), &["play", "--bless", "a.txt", wrong]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_eq!(fs::read_to_string(file("a.txt")).unwrap(), GOOD);
    }
    let output = prorata_sim(folder.path(), &["play", "--bless", "a.txt", "./a.txt"]);
    assert!(output.status.success(), "{output:?}");
    let blessed = fs::read_to_string(file("a.txt")).unwrap();
    assert!(blessed.contains("----\n5s admit red/train"), "{blessed}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_reader_that_stops_is_no_failure_and_a_full_disk_is() {
    use std::process::Stdio;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("s.txt"), GOOD).unwrap();
    let played = |stdout: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prorata-sim"));
        command.current_dir(folder.path()).args(["play", "s.txt"]);
        command.stdout(stdout).output().unwrap()
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let unread = played(writer.into());
    assert_eq!(unread.status.code(), Some(0), "{unread:?}");
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let full = played(full.unwrap().into());
    assert_eq!(full.status.code(), Some(1), "{full:?}");
    let said = String::from_utf8(full.stderr).unwrap();
    assert!(
        said.starts_with("error: standard output: No space left"),
        "{said}"
    );
}
