//! Cases about the share itself.

use prorata_core::{Resource, Resources, Share};
use serde_json::{Value, json};

use crate::cases::{amounts, case, map};
use crate::world::World;

#[test]
fn share_two_resources() {
    let case = case("share-two-resources");
    let expected = case["expect"]["share"].as_u64().map(u128::from);
    let usage = amounts(&case["usage"]);
    assert_eq!(share(&case, &json!(1), &usage).per_mille(), expected);
    let dominant = case["expect"]["dominant"].as_str().unwrap();
    for resource in Resource::ALL.into_iter().filter(|r| usage.get(*r) > 0) {
        let alone = Resources::ZERO.with(resource, usage.get(resource));
        let share = share(&case, &json!(1), &alone).per_mille();
        assert_eq!(share == expected, resource.name() == dominant, "{resource}");
    }
}

#[test]
fn share_weights() {
    let case = case("share-weights");
    for (weight, expected) in map(&case["expect"]["share_by_weight"]) {
        let share = share(&case, &json!(weight), &amounts(&case["usage"]));
        let expected = expected.as_u64().map(u128::from);
        assert_eq!(share.per_mille(), expected, "weight {weight}");
    }
}

/// The share of a tenant of this weight that holds `usage`, where the nodes have what is
/// guaranteed to anybody.
fn share(case: &Value, weight: &Value, usage: &Resources) -> Share {
    let guaranteed = |whose: &str| amounts(&case[whose]["g"]);
    let all = guaranteed("tenant")
        .checked_add(&guaranteed("others"))
        .unwrap();
    let mut world = World::with_node(&all, "exclusive");
    let tenant = json!({ "g": case["tenant"]["g"], "weight": weight });
    world.tenant("red", &tenant, None);
    let job = world.submit_task("red", *usage, 0);
    world.settle();
    let snapshot = world.snapshot();
    assert!(snapshot.placement(&job).is_some());
    snapshot.share(&"red".into()).unwrap()
}
