//! How many tasks of a gang may be on one node.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroU32;
use std::sync::Arc;

use prorata_core::{
    Decision, Event, Job, JobId, Needs, Node, Placement, Policy, Reason, Resources, Scheduler,
    Tenant, Time, Verdict,
};

/// Three nodes of four GPUs.
fn core() -> Scheduler {
    let mut core = Scheduler::new(Policy::default());
    for name in ["a", "b", "c"] {
        let node = Node {
            allocatable: Resources::gpus(4),
            ..Node::new(name)
        };
        core.observe(Time::ZERO, Event::NodeSeen(node));
    }
    core.observe(Time::ZERO, Event::TenantChanged(Tenant::new("red")));
    core
}

fn submit(core: &mut Scheduler, name: &str, gang: u32, per_node: Option<u32>) -> JobId {
    let id = JobId::new("red", name, name);
    let needs = Needs {
        per_node: per_node.and_then(NonZeroU32::new),
        ..Needs::default()
    };
    let job = Job {
        needs: Arc::new(needs),
        ..Job::new(id.clone(), "red".into(), gang, Resources::gpus(1))
    };
    core.observe(Time::ZERO, Event::JobSubmitted(job));
    id
}

/// Tasks by node, once it is admitted.
fn nodes(core: &mut Scheduler, job: &JobId) -> Vec<String> {
    let admitted = |decision| match decision {
        Decision::Admit(id, placement) if id == *job => Some(placement),
        _ => None,
    };
    let mut decisions = core.cycle(Time::ZERO).decisions.into_iter();
    let placement: Option<Placement> = decisions.find_map(admitted);
    let slots = placement.iter().flat_map(Placement::slots);
    let mut nodes: Vec<String> = slots.map(|slot| slot.node.to_string()).collect();
    nodes.sort();
    nodes
}

#[test]
fn a_gang_goes_to_as_many_nodes_as_it_must() {
    for (gang, per_node, expected) in [
        (3, None, "aaa"),
        (3, Some(1), "abc"),
        (4, Some(2), "aabb"),
        (6, Some(2), "aabbcc"),
    ] {
        let mut core = core();
        let job = submit(&mut core, "train", gang, per_node);
        assert_eq!(nodes(&mut core, &job).concat(), expected);
        assert_eq!(core.snapshot().violations(), []);
    }
}

#[test]
fn gangs_are_apart_each_by_itself() {
    let mut core = core();
    for name in ["one", "two"] {
        let job = submit(&mut core, name, 3, Some(1));
        assert_eq!(nodes(&mut core, &job).concat(), "abc");
    }
}

#[test]
fn one_that_would_need_more_nodes_is_told_so() {
    let mut core = core();
    let job = submit(&mut core, "train", 7, Some(2));
    assert!(core.cycle(Time::ZERO).decisions.is_empty());
    let reason = Reason::ExceedsCapacity { gang: 7, best: 6 };
    let verdict = core.snapshot().verdict(&job);
    assert_eq!(verdict, Some(Verdict::Waiting(reason)));
}
