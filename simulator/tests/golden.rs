//! Every script in `tests/golden` gives what it expects.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use prorata_simulator::play;
use prorata_simulator::script::Script;

#[test]
fn every_golden_script_gives_what_it_expects() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    assert!(files.len() >= 12, "only {} golden scripts", files.len());
    let wrong: Vec<String> = files.iter().filter_map(|file| difference(file)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
