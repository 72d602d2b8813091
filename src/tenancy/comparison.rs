//! A plan beside what is there.

use super::difference::{Difference, differences};
use super::object::Wanted;
use super::plan::Plan;
use super::store::{self, Key, Store};

/// What is to be done until all is as a plan wants it.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Objects that are not there.
    pub missing: Vec<Wanted>,
    /// Objects that are not as they are wanted.
    pub changed: Vec<(Wanted, Vec<Difference>)>,
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
        for wanted in &plan.objects {
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
        self.missing.is_empty() && self.changed.is_empty() && self.unwanted.is_empty()
    }
}

fn unwanted(team: &str, plan: &Plan, store: &Store) -> Vec<Key> {
    let is_wanted = |(kind, namespace, name): &Key| {
        let mut wanted = plan.objects.iter();
        wanted.any(|w| w.kind == *kind && w.namespace == *namespace && w.name == *name)
    };
    let is_in_plan = |namespace: &Option<String>| {
        let mut parts = plan.parts.iter();
        namespace
            .as_ref()
            .is_some_and(|name| parts.any(|part| part.namespace == *name))
    };
    let kept = store.of_team(team).map(|(key, _)| key);
    kept.filter(|key| is_in_plan(&key.1) && !is_wanted(key))
        .cloned()
        .collect()
}
