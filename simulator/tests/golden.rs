//! Every script in `tests/golden` gives what it expects.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use prorata_core::{Reason, Rule};
use prorata_simulator::play;
use prorata_simulator::script::Script;

#[test]
fn every_golden_script_gives_what_it_expects() {
    let files = scripts();
    assert!(files.len() >= 60, "only {} golden scripts", files.len());
    let wrong: Vec<String> = files.iter().filter_map(|file| difference(file)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_golden_script_begins_with_its_rule() {
    for file in scripts() {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# "), "{}", file.display());
    }
}

/// A script tells no reason of a job that no cycle has looked at: a cycle comes before it tells.
#[test]
fn every_reason_and_every_rule_occurs_in_some_script() {
    let mut told: BTreeSet<String> = BTreeSet::new();
    for file in scripts() {
        let text = fs::read_to_string(file).unwrap();
        for line in text.lines().skip_while(|line| *line != "----") {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                [_, "wait", _, code, ..] => drop(told.insert((*code).to_owned())),
                [_, "evict", _, "for", _, "by", rule] => drop(told.insert((*rule).to_owned())),
                _ => {}
            }
        }
    }
    let rules = [Rule::Priority, Rule::Reclaim, Rule::FairShare, Rule::Order];
    let mut known: BTreeSet<String> = rules.iter().map(ToString::to_string).collect();
    known.extend(Reason::CODES.map(str::to_owned));
    known.remove("NotYetEvaluated");
    assert_eq!(told, known);
}

/// Every golden script, by name.
fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    files
}

/// What `file` gives that it does not expect.
fn difference(file: &Path) -> Option<String> {
    let name = file.file_name().unwrap().to_string_lossy();
    let text = fs::read_to_string(file).unwrap();
    let script = Script::read(&name, &text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let outcome = play::play(&name, &script).unwrap_or_else(|problem| panic!("{problem}"));
    let expected = script.expected.unwrap_or_default();
    (expected != outcome).then(|| format!("{name}:\n{}", play::difference(&expected, &outcome)))
}
