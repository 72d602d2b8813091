//! All tiny worlds: at most 3 tenants, 4 jobs and 2 nodes. What each cycle decides is held
//! against the model, which knows no shortcuts.
//!
//! Usually every so many worlds are tried; `PRORATA_TINY=1` tries all of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::model::Model;
use common::{Setting, World};
use prorata_core::{
    Event, Job, JobId, Limits, Node, Placement, Policy, Resource, Resources, Tenant, Time,
};

/// Nodes by their GPUs.
const NODES: [&[u64]; 5] = [&[1], &[2], &[1, 1], &[2, 1], &[3]];

/// Tenants: parent, guaranteed, limit, lends, weight.
type Spec = (Option<&'static str>, u64, Option<u64>, Option<u64>, u32);

const TREES: [[Spec; 3]; 6] = [
    [FREE, FREE, FREE],
    [(None, 1, None, None, 1), FREE, (None, 0, None, None, 0)],
    [(None, 2, None, Some(1), 1), FREE, (None, 0, None, None, 2)],
    [
        (None, 0, Some(2), None, 1),
        BELOW,
        (Some("a"), 0, None, None, 2),
    ],
    [FREE, (Some("a"), 1, None, None, 1), BELOW],
    [(None, 2, None, None, 1), BELOW, FREE],
];
const FREE: Spec = (None, 0, None, None, 1);
const BELOW: Spec = (Some("a"), 0, None, None, 1);

/// A job: which tenant, GPUs, gang, priority.
type Kind = (usize, u64, u32, i32);

fn kinds() -> Vec<Kind> {
    let shapes = [(1, 1, 0), (2, 1, 0), (1, 2, 0), (1, 1, 1), (2, 1, 1)];
    let all = (0..3).flat_map(|tenant| shapes.map(|(gpus, gang, p)| (tenant, gpus, gang, p)));
    all.collect()
}

fn tenants(specs: &[Spec; 3]) -> Vec<Tenant> {
    let tenant = |(name, (parent, owned, limit, lends, weight)): (&str, &Spec)| {
        let cap = |gpus: &Option<u64>| {
            gpus.map_or(Limits::NONE, |n| Limits::NONE.with(Resource::Gpu, n * 1000))
        };
        Tenant {
            parent: parent.map(Into::into),
            guaranteed: Resources::gpus(*owned),
            limit: cap(limit),
            lending_limit: cap(lends),
            weight: prorata_core::Weight::new(*weight, std::num::NonZeroU32::MIN),
            ..Tenant::new(name)
        }
    };
    ["a", "b", "c"].into_iter().zip(specs).map(tenant).collect()
}

fn job(name: usize, (tenant, gpus, gang, priority): Kind, at: Time) -> Job {
    let tenant = ["a", "b", "c"][tenant];
    let id = JobId::new(tenant, &name.to_string(), "");
    Job {
        priority,
        submitted: at,
        ..Job::new(id, tenant.into(), gang, Resources::gpus(gpus))
    }
}

/// Multisets of at most `most` kinds.
fn bags(most: usize) -> Vec<Vec<Kind>> {
    let kinds = kinds();
    let mut all: Vec<Vec<Kind>> = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..most {
        let longer = last.iter().flat_map(|bag| {
            let more = kinds
                .iter()
                .filter(|kind| bag.last().is_none_or(|l| l <= *kind));
            more.map(|kind| [bag.as_slice(), &[*kind]].concat())
        });
        last = longer.collect();
        all.extend(last.clone());
    }
    all
}

/// Two jobs come first, and two when these are at rest.
#[test]
fn every_tiny_world_is_decided_as_the_rules_say() {
    let step = std::env::var("PRORATA_TINY").map_or(151, |n| n.parse().unwrap());
    let bags = bags(2);
    let mut tried = 0;
    let mut number = 0_usize;
    for (specs, nodes) in TREES.iter().flat_map(|t| NODES.map(|n| (t, n))) {
        for (first, then) in bags.iter().flat_map(|a| bags.iter().map(move |b| (a, b))) {
            number += 1;
            if number.is_multiple_of(step) {
                check(specs, nodes, first, then);
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "{tried} of {number}");
}

fn check(specs: &[Spec; 3], nodes: &[u64], first: &[Kind], then: &[Kind]) {
    let node = |(name, gpus): (&str, &u64)| Node {
        allocatable: Resources::gpus(*gpus),
        ..Node::new(name)
    };
    let tenants = tenants(specs);
    let leaf = |kind: &&Kind| {
        let name = ["a", "b", "c"][kind.0];
        !tenants
            .iter()
            .any(|t| t.parent.as_ref().is_some_and(|p| p.as_str() == name))
    };
    let setting = Setting {
        nodes: ["m", "n"].into_iter().zip(nodes).map(node).collect(),
        tenants: tenants.clone(),
        ..Setting::default()
    };
    let mut world = World::of(Policy::default(), &setting);
    let mut model = Model::of(&setting);
    let mut name = 0;
    for bag in [first, then] {
        world.now = Time::from_millis(world.now.as_millis() + 1000);
        for kind in bag.iter().filter(leaf) {
            let job = job(name, *kind, world.now);
            name += 1;
            model.submit(&job);
            world.submit(job);
        }
        while !settled(&mut world, &mut model) {
            let most = world.jobs * world.jobs;
            assert!(world.evictions <= most, "{setting} {first:?} {then:?}");
        }
    }
}

fn settled(world: &mut World, model: &mut Model) -> bool {
    let decisions = world.step();
    let facts = world.snapshot().facts().into_iter();
    let promised: BTreeMap<JobId, Placement> = facts
        .filter_map(|event| match event {
            Event::JobNominated(job, placement) => Some((job, placement)),
            _ => None,
        })
        .collect();
    model.check(&decisions, &promised);
    decisions.is_empty()
}
