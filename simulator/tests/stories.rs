//! The scenarios that the project brings tell what their files say.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// `summary.json` of a scenario.
fn summary(name: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.yaml"));
    let run = Command::new(env!("CARGO_BIN_EXE_prorata-sim"))
        .arg("run")
        .arg(scenario)
        .arg("--out")
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let text = std::fs::read_to_string(folder.path().join("summary.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn named<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    let all = list.as_array().unwrap();
    all.iter().find(|one| one[key] == name).unwrap()
}

fn tenant<'a>(summary: &'a Value, order: &str, name: &str) -> &'a Value {
    let order = named(&summary["orders"], "order", order);
    named(&order["tenants"], "tenant", name)
}

fn wait_p95_ms(tenant: &Value) -> u64 {
    tenant["wait_ms"]["p95"].as_u64().unwrap()
}

#[test]
fn production_takes_back_what_it_owns() {
    let summary = summary("prod-preempts-dev");
    let wait = |order| wait_p95_ms(tenant(&summary, order, "search-prod"));
    assert!(wait("drf") < MINUTE_MS, "{}", wait("drf"));
    assert!(wait("fifo") > 2 * HOUR_MS, "{}", wait("fifo"));
}

#[test]
fn a_large_gang_starts_among_small_jobs() {
    let summary = summary("large-gang");
    for order in ["fifo", "drf"] {
        let wait = wait_p95_ms(tenant(&summary, order, "foundation"));
        assert!(wait < 5 * HOUR_MS, "{order}: {wait}");
    }
}

#[test]
fn nobody_waits_for_a_part_of_a_card() {
    let summary = summary("sharing-modes");
    let wait = |name| wait_p95_ms(tenant(&summary, "drf", name));
    assert!(wait("whole-cards") > 2 * HOUR_MS);
    assert_eq!((wait("time-slicing"), wait("mps")), (0, 0));
}

#[test]
fn no_order_helps_against_a_limit() {
    let summary = summary("mis-set-quota");
    for order in ["fifo", "drf"] {
        let wait = |name| wait_p95_ms(tenant(&summary, order, name));
        assert_eq!(wait("speech"), 0, "{order}");
        assert!(wait("vision") > 10 * HOUR_MS, "{order}");
    }
}
