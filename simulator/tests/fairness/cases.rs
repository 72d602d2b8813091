//! The cases, and how their values are read.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::{env, fs, io};

use prorata_core::{Resource, Resources};
use prorata_simulator::quantity;
use serde_json::Value;

const CASES: &str = include_str!("cases.yaml");

/// What stands here equals the collection, and the collection has nothing that is overlooked.
#[test]
fn the_cases_are_those_of_the_collection() {
    let default = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/cases/fairness.yaml"
    );
    let path = env::var_os("PRORATA_CASES").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let Ok(text) = fs::read_to_string(&path) else {
        let file = path.display();
        // The macro's output would be held back by the test runner.
        let _ = writeln!(
            io::stderr(),
            "\nSKIPPED, NOT CHECKED: no file {file}: set PRORATA_CASES to the collection of fairness cases\n"
        );
        return;
    };
    assert_eq!(read(CASES), read(&text), "{}", path.display());
}

/// Every case has a test of its name here.
#[test]
fn every_case_is_run() {
    let tests = [
        include_str!("main.rs"),
        include_str!("shares.rs"),
        include_str!("preemption.rs"),
    ]
    .concat();
    for id in read(CASES).keys() {
        let test = format!("#[test]\nfn {}() {{\n    ", id.replace('-', "_"));
        assert!(tests.contains(&test), "{id} is not run");
        assert!(tests.contains(&format!("\"{id}\"")), "{id} is not read");
    }
}

fn read(text: &str) -> BTreeMap<String, Value> {
    let cases: Vec<Value> = serde_saphyr::from_str(text).unwrap();
    let id = |case: &Value| case["id"].as_str().unwrap().to_owned();
    cases.into_iter().map(|case| (id(&case), case)).collect()
}

/// The case of this name.
pub(crate) fn case(id: &str) -> Value {
    read(CASES).remove(id).unwrap()
}

/// The fields of a map, by name.
pub(crate) fn map(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| (key.as_str(), value))
}

/// `{A: 3, B: 2}`.
pub(crate) fn counts(value: &Value) -> BTreeMap<String, u64> {
    map(value)
        .map(|(key, count)| (key.to_owned(), count.as_u64().unwrap()))
        .collect()
}

/// `{cpu: 9, memory: 18}`; a unit of memory is one GiB. Fields that name no resource say
/// something else.
pub(crate) fn amounts(value: &Value) -> Resources {
    map(value).fold(Resources::ZERO, |amounts, (name, units)| {
        let named = Resource::ALL.into_iter().find(|r| r.name() == name);
        named.map_or(amounts, |r| amounts.with(r, amount(r, units)))
    })
}

/// So many units of a resource, whole or not.
pub(crate) fn amount(resource: Resource, units: &Value) -> u64 {
    let suffix = if resource == Resource::Memory {
        "Gi"
    } else {
        ""
    };
    quantity::parse(resource, &format!("{units}{suffix}")).unwrap()
}

/// A number as a word.
pub(crate) fn number(word: &str) -> usize {
    let words = ["no", "one", "two", "three", "four", "five", "six"];
    let found = words.iter().position(|known| *known == word);
    found.unwrap_or_else(|| {
        assert_eq!(word, "ten");
        10
    })
}
