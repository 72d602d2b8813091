//! Cases about who has to leave for whom, and that it ends.

use prorata_core::{JobId, Mode, Resource, Resources};
use serde_json::{Value, json};

use crate::cases::{case, map, number};
use crate::world::{Eviction, World};

#[test]
fn reclaim_guarantee() {
    incoming_among_three("reclaim-guarantee");
}

#[test]
fn fair_share_preemption() {
    incoming_among_three("fair-share-preemption");
}

#[test]
fn no_flip() {
    incoming_among_three("no-flip");
}

#[test]
fn no_flap_back() {
    incoming_among_three("no-flap-back");
}

/// Of these cases the collection says: a, b, c have g = 3 each, one resource, capacity 9. Amounts
/// are halves in one of them, so it is CPU.
fn incoming_among_three(id: &str) {
    let case = case(id);
    let mut world = World::with(&json!({ "cpu": 9 }), "exclusive");
    world.count_in(Resource::Cpu);
    for tenant in ["a", "b", "c"] {
        world.tenant(tenant, &json!({ "g": { "cpu": 3 } }), None);
    }
    run_all(&mut world, &case["running"]);
    check_victims(&mut world, &case);
}

#[test]
fn ancestors_must_borrow_too() {
    let case = case("ancestors-must-borrow-too");
    let mut world = World::of(&case);
    run_all(&mut world, &case["running"]);
    check_victims(&mut world, &case);
}

#[test]
fn victims_from_the_greatest_borrower() {
    let case = case("victims-from-the-greatest-borrower");
    let mut world = World::of(&case);
    // Each tenant's jobs are newer than those of the tenant before.
    for (tenant, jobs) in map(&case["running"]) {
        run_all(&mut world, &json!({ tenant: jobs }));
        world.wait();
    }
    check_victims(&mut world, &case);
}

#[test]
fn no_useless_eviction() {
    let case = case("no-useless-eviction");
    let nodes = case["nodes"].as_str().unwrap();
    let words: Vec<&str> = nodes.split([' ', ',']).collect();
    let before = |word: &str| {
        let at = words.iter().position(|w| *w == word).unwrap();
        words[at - 1]
    };
    let (count, gpus) = (before("nodes"), before("GPUs"));
    let (high, low) = (
        number(before("high-priority")),
        number(before("low-priority")),
    );
    let (count, gpus): (u32, u64) = (count.parse().unwrap(), gpus.parse().unwrap());
    let mut world = World::empty();
    world.tenant("red", &json!({}), None);
    for node in 0..count {
        let name = format!("node-{node}");
        world.node(&name, &Resources::gpus(gpus), Mode::Exclusive);
        let priorities = std::iter::repeat_n(1, high).chain(std::iter::repeat_n(0, low));
        for (device, priority) in (0..).zip(priorities) {
            world.run_gpu("red", priority, &name, device);
        }
    }
    world.submit("red", &case["incoming"]);
    assert_eq!(json!(victims(&world.settle())), case["expect"]["victims"]);
}

#[test]
fn ends_own_high_priority() {
    ends("ends-own-high-priority");
}

#[test]
fn ends_weight_zero_twice() {
    ends("ends-weight-zero-twice");
}

/// Of the jobs that run, the case's comment says which cannot be evicted.
#[test]
fn ends_contested_not_dominant() {
    let case = case("ends-contested-not-dominant");
    let mut world = World::of(&case);
    world.run_for_good("a", &case["running"]["a"][0]);
    world.run_for_good("b", &case["running"]["b"][0]);
    world.run("b", &case["running"]["b"][1]);
    world.run_for_good("z", &case["running"]["z"][0]);
    check_end(&mut world, &case);
}

fn ends(id: &str) {
    let case = case(id);
    let mut world = World::of(&case);
    run_all(&mut world, &case["running"]);
    check_end(&mut world, &case);
}

fn check_end(world: &mut World, case: &Value) {
    for (tenant, jobs) in map(&case["pending"]) {
        for job in jobs.as_array().unwrap() {
            world.submit(tenant, job);
        }
    }
    let ended = world.try_to_settle().is_some();
    assert_eq!(json!(ended), case["expect"]["preemptions_end"]);
}

/// `{a: [1, 1, 1]}`: all of these run.
fn run_all(world: &mut World, running: &Value) {
    for (tenant, jobs) in map(running) {
        for job in jobs.as_array().unwrap() {
            world.run(tenant, job);
        }
    }
}

/// The incoming job pushes out whom the case says, by the rule that it says.
fn check_victims(world: &mut World, case: &Value) {
    world.wait();
    let incoming: Vec<JobId> = map(&case["incoming"])
        .map(|(tenant, units)| world.submit(tenant, units))
        .collect();
    let evictions = world.settle();
    let expected = case["expect"]["victims"].as_array().unwrap();
    assert_eq!(victims(&evictions), names(expected), "{evictions:?}");
    for (_, preemptor, rule) in &evictions {
        assert!(incoming.contains(preemptor));
        if let Some(expected) = case["expect"]["rule"].as_str() {
            assert_eq!(rule.name(), expected);
        }
    }
    let admitted = world.snapshot().placement(&incoming[0]).is_some();
    assert_eq!(admitted, !expected.is_empty());
}

/// Whose jobs had to leave.
fn victims(evictions: &[Eviction]) -> Vec<String> {
    let tenants = evictions.iter();
    tenants
        .map(|(victim, ..)| victim.namespace().to_owned())
        .collect()
}

/// `[two of b]` as `[b, b]`.
fn names(expected: &[Value]) -> Vec<String> {
    let several = |text: &Value| {
        let (count, tenant) = text.as_str().unwrap().split_once(" of ").unwrap();
        std::iter::repeat_n(tenant.to_owned(), number(count))
    };
    expected.iter().flat_map(several).collect()
}
