//! Answers worked out by hand.

use super::*;
use crate::examples::{HOUR, hold, prices, stock};
use crate::period::DAY;

/// On the first day red holds 2 GPUs for 12 hours on one node, and blue 1 of 3 on another all the
/// time; on the second, blue alone.
fn book() -> Extract {
    let mut red = hold("red", "n1", 2000, 0, Some(12 * HOUR));
    red.busy_milli = Some(500);
    Extract {
        until_ms: 2 * DAY,
        kept_until_ms: 2 * DAY,
        holds: vec![
            red,
            hold("blue", "n2", 1000, 0, None),
            hold("", "n2", 1000, DAY, Some(DAY + HOUR)),
        ],
        stock: vec![stock("n1", 2000, 0, Some(DAY)), stock("n2", 3000, 0, None)],
        ..Extract::default()
    }
}

fn answer(parameters: &[(&str, &str)]) -> Vec<Value> {
    let query = Query::parse([&[("window", "0,172800")], parameters].concat(), 2 * DAY).unwrap();
    let mut answer =
        allocation(&book(), &prices("prices: [{model: a, hourly: 2}]"), &query).unwrap();
    assert_eq!(answer["code"], 200);
    serde_json::from_value(answer["data"].take()).unwrap()
}

/// Names with their total cost.
fn costs(set: &Value) -> Vec<(&str, f64)> {
    let costs = set.as_object().unwrap().iter();
    costs
        .map(|(name, one)| (name.as_str(), one["totalCost"].as_f64().unwrap()))
        .collect()
}

#[test]
fn who_sees_some_namespaces_is_told_of_them_as_in_the_whole_and_of_no_idle_time() {
    let asked = [
        ("window", "0,172800"),
        ("aggregate", "namespace"),
        ("includeIdle", "true"),
        ("shareIdle", "true"),
    ];
    let query = Query::parse(asked, 2 * DAY).unwrap();
    let file = prices("prices: [{model: a, hourly: 2}]");
    let own = ["ml-red".to_owned(), "ml-nobody".to_owned()].into();
    let answer = allocation_within(&book(), &file, &query, &own).unwrap();
    assert_eq!(costs(&answer["data"][0]), [("ml-red", 48.0)]);
    assert_eq!(answer["data"][0]["ml-red"]["gpuCostIdle"], 0.0);
    let none = allocation_within(&book(), &file, &query, &BTreeSet::new()).unwrap();
    assert_eq!(none["data"][0], json!({}));
}

#[test]
fn an_allocation_has_the_fields_of_opencost() {
    let sets = answer(&[("aggregate", "label:team")]);
    assert_eq!(sets.len(), 1);
    assert_eq!(
        costs(&sets[0]),
        [("__unallocated__", 2.0), ("blue", 96.0), ("red", 48.0)]
    );
    assert_eq!(
        sets[0]["red"],
        json!({
            "name": "red", "properties": {"labels": {"team": "red"}},
            "window": {"start": "1970-01-01T00:00:00Z", "end": "1970-01-03T00:00:00Z"},
            "start": "1970-01-01T00:00:00Z", "end": "1970-01-01T12:00:00Z", "minutes": 720.0,
            "gpuCount": 2.0, "gpuHours": 24.0, "gpuCost": 48.0, "gpuCostAdjustment": 0, "gpuCostIdle": 0.0,
            "gpuEfficiency": 0.5, "cpuCost": 0, "ramCost": 0, "pvCost": 0, "networkCost": 0,
            "loadBalancerCost": 0, "sharedCost": 0, "externalCost": 0, "totalCost": 48.0,
        })
    );
}

#[test]
fn each_step_is_a_set_of_its_own() {
    let sets = answer(&[("aggregate", "namespace,controllerKind"), ("step", "1d")]);
    assert_eq!(
        costs(&sets[0]),
        [("ml-blue/Job", 48.0), ("ml-red/Job", 48.0)]
    );
    assert_eq!(costs(&sets[1]), [("ml-/Job", 2.0), ("ml-blue/Job", 48.0)]);
    assert_eq!(
        sets[1]["ml-blue/Job"]["properties"],
        json!({"namespace": "ml-blue", "controllerKind": "Job"})
    );
}

#[test]
fn idle_time_is_told_shared_or_by_node() {
    // Of 48 + 144 GPU-hours 24 + 48 + 1 are held.
    let idle = answer(&[("aggregate", "tenant"), ("includeIdle", "true")]);
    assert_eq!(costs(&idle[0])[0], ("__idle__", 238.0));
    let nodes = answer(&[("aggregate", "tenant"), ("idleByNode", "true")]);
    assert_eq!(
        costs(&nodes[0])[2..4],
        [("n1/__idle__", 48.0), ("n2/__idle__", 190.0)]
    );
    // 238 × 48/146 and so on.
    let shared = answer(&[("aggregate", "tenant"), ("shareIdle", "true")]);
    let all: f64 = costs(&shared[0]).iter().map(|(_, cost)| cost).sum();
    assert!((all - 384.0).abs() < 1e-9, "{all}");
    assert_eq!(shared[0]["red"]["gpuCostIdle"], 78.246_575);
}
