//! What must not matter does not: names, sizes, bystanders, the order of a list, who looks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::draw::{self, USUAL};
use common::{Setting, World, for_seeds};
use prorata_core::{
    Decision, Event, Job, JobId, Limits, Policy, Reason, Resource, Resources, Tenant, Verdict,
};

/// What was decided, in words: who starts or leaves for whom. Where is left out.
fn told(decisions: &[Decision]) -> Vec<String> {
    let tell = |decision: &Decision| match decision {
        Decision::Admit(job, _) => format!("admit {job}"),
        Decision::Evict {
            victim,
            preemptor,
            rule,
        } => format!("evict {victim} for {preemptor} by {rule}"),
    };
    decisions.iter().map(tell).collect()
}

fn outcome(setting: &Setting) -> Vec<String> {
    told(&World::of(Policy::default(), setting).settle())
}

#[test]
fn the_same_facts_give_the_same_answers() {
    for_seeds("PRORATA_WORLDS", 200, |seed| {
        let setting = draw::setting(seed, USUAL);
        let decided = || World::of(Policy::default(), &setting).settle();
        assert_eq!(decided(), decided());
    });
}

/// Names decide ties alone, so other names in the same order change nothing else.
#[test]
fn other_names_in_the_same_order_change_nothing() {
    for_seeds("PRORATA_WORLDS", 200, |seed| {
        let setting = draw::setting(seed, USUAL);
        let mut renamed = setting.clone();
        for tenant in &mut renamed.tenants {
            tenant.id = format!("team-{}", tenant.id).as_str().into();
            let parent = tenant.parent.take();
            tenant.parent = parent.map(|parent| format!("team-{parent}").as_str().into());
        }
        let rename = |job: &mut Job| {
            job.tenant = format!("team-{}", job.tenant).as_str().into();
            let namespace = format!("team-{}", job.id.namespace());
            job.id = JobId::new(&namespace, job.id.name(), "");
        };
        renamed.waiting.iter_mut().for_each(rename);
        renamed.running.iter_mut().for_each(|(job, _)| rename(job));
        let words = outcome(&renamed).into_iter();
        let back: Vec<String> = words.map(|word| word.replace("team-", "")).collect();
        assert_eq!(outcome(&setting), back);
    });
}

/// Shares are ratios: twice of everything is the same.
#[test]
fn twice_of_everything_changes_nothing() {
    for_seeds("PRORATA_WORLDS", 200, |seed| {
        let setting = draw::setting(seed, USUAL);
        let twice = |amounts: &mut Resources| *amounts = amounts.checked_mul(2).unwrap();
        let caps = |limits: &mut Limits| {
            let named = Resource::ALL.into_iter();
            let named = named.filter_map(|r| Some((r, limits.get(r)?)));
            *limits = named.fold(Limits::NONE, |caps, (r, cap)| caps.with(r, cap * 2));
        };
        // What runs keeps its devices, so only what waits is doubled.
        let mut single = setting;
        single.running.clear();
        let mut double = single.clone();
        double
            .nodes
            .iter_mut()
            .for_each(|n| twice(&mut n.allocatable));
        double
            .waiting
            .iter_mut()
            .for_each(|job| twice(&mut job.task));
        for tenant in &mut double.tenants {
            twice(&mut tenant.guaranteed);
            caps(&mut tenant.limit);
            caps(&mut tenant.lending_limit);
        }
        assert_eq!(outcome(&single), outcome(&double));
    });
}

#[test]
fn an_idle_tenant_changes_nothing() {
    for_seeds("PRORATA_WORLDS", 200, |seed| {
        let setting = draw::setting(seed, USUAL);
        let mut more = setting.clone();
        more.tenants.push(Tenant::new("idle"));
        assert_eq!(outcome(&setting), outcome(&more));
    });
}

#[test]
fn the_order_in_which_facts_are_told_changes_nothing() {
    for_seeds("PRORATA_WORLDS", 200, |seed| {
        let mut setting = draw::setting(seed, USUAL);
        setting.running.clear();
        let straight = outcome(&setting);
        setting.nodes.reverse();
        setting.tenants.reverse();
        setting.waiting.reverse();
        assert_eq!(straight, outcome(&setting));
    });
}

/// Of two jobs of one tenant that ask for the same, the one with the lower priority does not
/// start while the other waits.
#[test]
fn priority_holds_within_a_tenant() {
    for_seeds("PRORATA_WORLDS", 400, |seed| {
        let setting = draw::setting(seed, USUAL);
        let mut world = World::of(Policy::default(), &setting);
        loop {
            let decisions = world.step();
            let snapshot = world.snapshot();
            for decision in &decisions {
                let Decision::Admit(id, _) = decision else {
                    continue;
                };
                let Some(job) = snapshot.job(id) else {
                    continue;
                };
                let passed = |other: &&Job| {
                    let waits = snapshot.verdict(&other.id);
                    let promised = Reason::WaitingForPreemption { gang: 0, best: 0 };
                    other.tenant == job.tenant
                        && other.kind() == job.kind()
                        && other.priority > job.priority
                        && matches!(waits, Some(Verdict::Waiting(why)) if why.code() != promised.code())
                };
                // Who was evicted in this very cycle waits behind whom it made room for.
                let evicted = |other: &Job| {
                    decisions
                        .iter()
                        .any(|d| matches!(d, Decision::Evict { victim, .. } if *victim == other.id))
                };
                let passed = snapshot.jobs().filter(passed).find(|other| !evicted(other));
                assert_eq!(passed.map(|other| &other.id), None, "{id}");
            }
            if decisions.is_empty() {
                break;
            }
        }
    });
}

/// A scheduler that was told the facts of another decides as that one does.
#[test]
fn a_restart_in_the_middle_decides_the_same() {
    for_seeds("PRORATA_WORLDS", 200, |seed| {
        let setting = draw::setting(seed, USUAL);
        let mut world = World::of(Policy::default(), &setting);
        for _ in 0..seed % 3 {
            world.step();
        }
        // Who may not evict is not among the facts: the restart is like an arrival.
        let bystander = Job::new(
            JobId::new("nobody", "arrives", ""),
            "nobody".into(),
            1,
            Resources::gpus(1),
        );
        let mut restarted = World::new(Policy::default());
        restarted.jobs = world.jobs;
        restarted.now = world.now;
        for fact in world.snapshot().facts() {
            restarted.observe(fact);
        }
        assert_eq!(restarted.snapshot(), world.snapshot());
        for world in [&mut world, &mut restarted] {
            world.observe(Event::JobSubmitted(bystander.clone()));
            world.evictions = 0;
        }
        assert_eq!(told(&world.settle()), told(&restarted.settle()));
        let places = |world: &World| -> BTreeMap<JobId, String> {
            let snapshot = world.snapshot();
            let placed = snapshot
                .jobs()
                .filter_map(|job| Some((job.id.clone(), snapshot.placement(&job.id)?.to_string())));
            placed.collect()
        };
        assert_eq!(places(&world), places(&restarted));
    });
}
