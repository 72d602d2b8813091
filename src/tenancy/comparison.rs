//! A plan beside what is there.

use super::difference::{Difference, differences};
use super::object::{Kind, Wanted};
use super::plan::{Part, Plan};
use super::store::{self, Key, Store};

/// What is to be done until all is as a plan wants it.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Objects that are not there.
    pub missing: Vec<Wanted>,
    /// Objects that are not as they are wanted.
    pub changed: Vec<(Wanted, Vec<Difference>)>,
    /// Objects that are there and are not this Tenant's. Nothing else of their parts is compared.
    pub foreign: Vec<Wanted>,
    /// Objects in the plan's namespaces that it does not want.
    pub unwanted: Vec<Key>,
    /// How many are as they are wanted.
    pub unchanged: usize,
}

impl Comparison {
    /// Compares what a Tenant wants with what is kept for it.
    #[must_use]
    pub fn new(team: &str, plan: &Plan, store: &Store) -> Self {
        let mut comparison = Self {
            unwanted: unwanted(team, plan, store),
            ..Self::default()
        };
        let is_foreign = |wanted: &&Wanted| store.is_foreign(team, wanted);
        comparison.foreign = plan.objects.iter().filter(is_foreign).cloned().collect();
        let blocked = blocked(plan, &comparison.foreign);
        let is_blocked = |wanted: &&Wanted| {
            let mut parts = blocked.iter();
            parts.any(|part| is_of(wanted, part)) || comparison.foreign.contains(wanted)
        };
        for wanted in plan.objects.iter().filter(|wanted| !is_blocked(wanted)) {
            let Some(found) = store.find(wanted) else {
                comparison.missing.push(wanted.clone());
                continue;
            };
            match differences(&wanted.body, &store::json(found)) {
                same if same.is_empty() => comparison.unchanged += 1,
                differences => comparison.changed.push((wanted.clone(), differences)),
            }
        }
        comparison
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty()
            && self.changed.is_empty()
            && self.foreign.is_empty()
            && self.unwanted.is_empty()
    }
}

/// Parts whose child or namespace is somebody else's: what else is of them would be of no use there.
fn blocked<'a>(plan: &'a Plan, foreign: &[Wanted]) -> Vec<&'a Part> {
    let is_blocked = |part: &&Part| {
        let mut foreign = foreign.iter().filter(|wanted| !wanted.kind.is_namespaced());
        foreign.any(|wanted| is_of(wanted, part))
    };
    plan.parts.iter().filter(is_blocked).collect()
}

fn is_of(wanted: &Wanted, part: &Part) -> bool {
    match wanted.kind {
        Kind::Tenant => wanted.name == part.child,
        Kind::Namespace => wanted.name == part.namespace,
        _ => wanted.namespace.as_ref() == Some(&part.namespace),
    }
}

fn unwanted(team: &str, plan: &Plan, store: &Store) -> Vec<Key> {
    let is_wanted = |(kind, namespace, name): &Key| {
        let mut wanted = plan.objects.iter();
        wanted.any(|w| w.kind == *kind && w.namespace == *namespace && w.name == *name)
    };
    // What is left stays as bounded as it was.
    let is_bound = |kind| matches!(kind, Kind::ResourceQuota | Kind::LimitRange);
    let is_in_plan = |(kind, namespace, _): &Key| {
        let mut parts = plan.parts.iter();
        let part = parts.find(|part| namespace.as_ref() == Some(&part.namespace));
        part.is_some_and(|part| !(part.is_left && is_bound(*kind)))
    };
    let kept = store.of_team(team).map(|(key, _)| key);
    kept.filter(|key| is_in_plan(key) && !is_wanted(key))
        .cloned()
        .collect()
}
