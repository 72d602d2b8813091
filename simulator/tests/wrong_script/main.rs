//! What a wrong script is answered with: file, line, field, fault and remedy.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lines;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use prorata_simulator::play;
use prorata_simulator::script::Script;

use lines::WRONG_LINES;

/// Four good lines; what a test adds is line 5.
const GOOD: &str = "\
node a,b gpu=4 cpu=16
tenant red weight=1/2 limit=gpu:4
submit red/train gang=2 gpu=1
at 5s
";

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
