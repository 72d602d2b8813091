//! Worked cases of fair sharing, whose answers others have published: Ghodsi et al., *Dominant
//! Resource Fairness* (NSDI 2011), §4.1 and §3; Bhattacharya et al., *Hierarchical Scheduling for
//! Diverse Datacenter Workloads* (SoCC 2013); weighted max-min with capped demand; the tests and
//! documents of Kueue's fair sharing; issues of other schedulers; rules under which preemptions
//! did not end.
//!
//! The cases stand in `cases.yaml`; where the collection is at hand, the two are compared. Every
//! expected value is read from a case, none is computed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cases;
mod preemption;
mod shares;
mod world;

use std::collections::BTreeMap;

use prorata_core::{Resource, Resources, Share, Weight};
use prorata_simulator::quantity;
use serde_json::json;

use cases::{amounts, case, counts, map, number};
use world::World;

#[test]
fn drf_paper() {
    let case = case("drf-paper");
    let mut world = World::of(&case);
    world.fill(50);
    let snapshot = world.snapshot();
    assert_eq!(world.admitted(), counts(&case["expect"]["tasks"]));
    for (tenant, share) in map(&case["expect"]["dominant"]) {
        let weight = quantity::parse_weight(share.as_str().unwrap()).unwrap();
        let (above, below) = (weight.numerator(), weight.denominator());
        let share = Share::new(above.into(), below.into(), Weight::ONE);
        assert_eq!(snapshot.share(&tenant.into()), Some(share), "{tenant}");
    }
    let usage = |tenant: &str| snapshot.usage(&tenant.into());
    let used = usage("A").checked_add(&usage("B")).unwrap();
    assert_eq!(used, amounts(&case["expect"]["used"]));
}

#[test]
fn drf_sharing_incentive() {
    let case = case("drf-sharing-incentive");
    let mut world = World::of(&case);
    world.fill(50);
    assert_eq!(world.admitted(), counts(&case["expect"]["tasks"]));
}

#[test]
fn demand_capped() {
    let case = case("demand-capped");
    let mut world = World::of(&case);
    for (tenant, demand) in counts(&case["demand"]) {
        world.tenant(&tenant, &json!({}), None);
        world.submit_units(&tenant, demand);
    }
    world.settle();
    assert_eq!(world.admitted(), counts(&case["expect"]["gpu"]));
}

/// Filled first, and then stirred as the case says: a fill alone could not show a starvation.
#[test]
fn hierarchy_complementary_siblings() {
    let case = case("hierarchy-complementary-siblings");
    let mut world = World::of(&case);
    world.fill(100);
    let churn = case["churn"].as_str().unwrap();
    let words: Vec<&str> = churn.split([' ', ',', ':', ';']).collect();
    let first = words.iter().position(|word| *word == "finish").unwrap();
    let times = number(words[0]);
    let named = |at: usize| {
        assert_eq!(words[at], "one", "{churn}");
        words[at + 1]
    };
    let then = words.iter().position(|word| *word == "then").unwrap();
    for _ in 0..times {
        for tenant in [named(first + 1), named(then + 1)] {
            world.finish_one_of(tenant);
            world.settle();
        }
    }
    assert_eq!(world.admitted(), counts(&case["expect"]["tasks"]));
}

#[test]
fn hierarchy_weights() {
    let case = case("hierarchy-weights");
    let mut world = World::of(&case);
    for leaf in ["big", "little", "alt"] {
        world.submit_units(leaf, 100);
    }
    world.settle();
    assert_eq!(world.admitted(), counts(&case["expect"]["tasks"]));
}

#[test]
fn share_after_admission() {
    let case = case("share-after-admission");
    let mut world = World::of(&case);
    for tenant in ["b", "c"] {
        world.tenant(tenant, &json!({}), None);
    }
    for (tenant, gpus) in counts(&case["running"]) {
        world.run(&tenant, &json!(gpus));
    }
    let waiting: Vec<_> = counts(&case["pending"])
        .into_iter()
        .map(|(tenant, gpus)| (world.submit(&tenant, &json!(gpus)), tenant))
        .collect();
    world.settle();
    let snapshot = world.snapshot();
    let (admit, wait): (Vec<_>, Vec<_>) = waiting
        .into_iter()
        .partition(|(job, _)| snapshot.placement(job).is_some());
    let names = |list: Vec<(_, String)>| list.into_iter().map(|(_, t)| t).collect::<Vec<_>>();
    assert_eq!(
        (json!(names(admit)), json!(names(wait))),
        (
            case["expect"]["admit"].clone(),
            case["expect"]["wait"].clone()
        )
    );
}

#[test]
fn exact_quota() {
    let case = case("exact-quota");
    let mut world = World::with(&json!({ "gpu": 1 }), "fractional");
    world.tenant("red", &json!({ "limit": case["limit"] }), None);
    for name in ["usage", "incoming"] {
        let job = world.submit("red", &case[name]);
        world.settle();
        let admitted = world.snapshot().placement(&job).is_some();
        assert_eq!(json!(admitted), case["expect"]["admit"], "{name}");
    }
}

#[test]
fn fractions_at_once() {
    let case = case("fractions-at-once");
    let node = &case["node"];
    let mut world = World::with(
        &json!({ "gpu": node["gpu"] }),
        node["mode"].as_str().unwrap(),
    );
    world.tenant("red", &json!({}), None);
    for _ in 0..case["pods"]["count"].as_u64().unwrap() {
        world.submit("red", &case["pods"]["share"]);
    }
    world.settle();
    let mut on: BTreeMap<u32, u64> = BTreeMap::new();
    for (_, slot) in world.snapshot().held() {
        slot.devices
            .iter()
            .for_each(|device| *on.entry(device).or_default() += 1);
    }
    let per_device = case["expect"]["per_device"].as_u64().unwrap();
    let all = (0..8).map(|device| (device, per_device));
    assert_eq!(on, all.collect());
}

#[test]
fn parent_guarantee_not_counted_twice() {
    let case = case("parent-guarantee-not-counted-twice");
    let world = World::of(&case);
    for (tenant, gpus) in map(&case["expect"]["subtree"]) {
        let subtree = world.snapshot().subtree(&tenant.into()).unwrap();
        assert_eq!(subtree, Resources::gpus(gpus.as_u64().unwrap()), "{tenant}");
    }
}

#[test]
fn parent_guarantee_left_over_is_common() {
    let case = case("parent-guarantee-left-over-is-common");
    let mut world = World::of(&case);
    for (tenant, count) in counts(&case["running"]) {
        (0..count).for_each(|_| drop(world.run(&tenant, &json!(1))));
    }
    for (tenant, gpus) in map(&case["expect"]["borrowed"]) {
        let borrowed = world.snapshot().borrowed(&tenant.into()).unwrap();
        let gpus = Resources::gpus(gpus.as_u64().unwrap());
        assert_eq!(borrowed, gpus, "{tenant}");
    }
}

#[test]
fn withheld_is_not_available() {
    let case = case("withheld-is-not-available");
    let mut world = World::of(&case);
    for (tenant, count) in counts(&case["pending"]) {
        world.submit_units(&tenant, count);
    }
    world.settle();
    assert_eq!(world.admitted(), counts(&case["expect"]["admitted"]));
    for (tenant, gpus) in map(&case["expect"]["potential"]) {
        let potential = world.snapshot().potential(&tenant.into()).unwrap();
        let gpus = gpus.as_u64().unwrap() * Resource::Gpu.scale();
        assert_eq!(potential.get(Resource::Gpu), gpus, "{tenant}");
    }
}
