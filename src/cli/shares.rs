//! What each tenant holds beside what is due to it, as a tree. Arithmetic on plain data.

use std::collections::BTreeMap;

use prorata_core::Resource;
use prorata_simulator::quantity;
use serde::Serialize;

use super::queue::{Entry, Seen};
use crate::api::{State, Tenant};

/// A tenant, as far as sharing goes. GPUs are counted in thousandths.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Holding {
    /// Its name.
    pub(crate) tenant: String,
    /// The tenant that it is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<String>,
    /// How deep it stands in the tree; 0 at the top.
    #[serde(skip)]
    pub(crate) depth: usize,
    /// Its weight, as it is written.
    pub(crate) weight: String,
    /// What it owns.
    pub(crate) guaranteed_milli_gpus: u64,
    /// What it never exceeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit_milli_gpus: Option<u64>,
    /// What its jobs and those below it hold.
    pub(crate) held_milli_gpus: u64,
    /// What its waiting jobs and those below it ask for.
    pub(crate) waiting_milli_gpus: u64,
    /// Jobs that hold places.
    pub(crate) running: u32,
    /// Jobs that wait, those on hold and blocked ones not included.
    pub(crate) waiting: u32,
    /// What it holds above what it owns, as the controller says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) borrowed_milli_gpus: Option<u64>,
    /// Its weighted share of what can be borrowed, as the controller says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) share: Option<String>,
    /// What of its schedules and grants goes on, and until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<Due>,
    /// What it would hold if every tenant wanted all that it may have; absent where the cluster's
    /// capacity cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entitled_milli_gpus: Option<u64>,
    /// What the controller says of what it holds, which knows every job.
    #[serde(skip)]
    pub(crate) told: Option<Told>,
}

/// Hours and grants that go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Due {
    /// Their names.
    pub(crate) names: Vec<String>,
    /// Until something else is due (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
}

/// What the controller says of what a tenant and those below it hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Told {
    held: u64,
    running: u32,
    waiting: u32,
}

impl Holding {
    /// A tenant without the jobs that can be seen.
    pub(crate) fn of(tenant: &Tenant) -> Self {
        let (name, spec) = (tenant.metadata.name.clone(), &tenant.spec);
        let gpus = |amount: &Option<crate::api::Amount>| read(amount.as_ref()?.as_str());
        let status = tenant.status.as_ref();
        let status = status.filter(|status| status.observed_generation.is_some());
        let amount = |of: &BTreeMap<String, String>| of.get("gpu").and_then(|text| read(text));
        // What is due to it at this hour.
        let due = status.and_then(|status| status.in_force.as_ref());
        Self {
            tenant: name.unwrap_or_default(),
            parent: spec.parent.clone(),
            weight: due.map_or_else(|| spec.weight.to_string(), |due| due.weight.clone()),
            guaranteed_milli_gpus: match due {
                Some(due) => amount(&due.guaranteed).unwrap_or_default(),
                None => gpus(&spec.guaranteed.gpu).unwrap_or_default(),
            },
            limit_milli_gpus: match due {
                Some(due) => amount(&due.limit),
                None => gpus(&spec.limit.gpu),
            },
            due: due.filter(|due| !due.names.is_empty()).map(|due| Due {
                names: due.names.clone(),
                until: due.until.clone(),
            }),
            borrowed_milli_gpus: status.and_then(|status| amount(&status.borrowed)),
            share: status.and_then(|status| status.share.clone()),
            told: status.map(|status| Told {
                held: amount(&status.used).unwrap_or_default(),
                running: status.running,
                waiting: status.waiting,
            }),
            ..Self::default()
        }
    }

    /// A tenant as the core knows it, without its jobs.
    pub(crate) fn known(tenant: &prorata_core::Tenant) -> Self {
        let weight = tenant.weight;
        Self {
            tenant: tenant.id.to_string(),
            parent: tenant.parent.as_ref().map(ToString::to_string),
            weight: format!("{}/{}", weight.numerator(), weight.denominator()),
            guaranteed_milli_gpus: tenant.guaranteed.get(Resource::Gpu),
            limit_milli_gpus: tenant.limit.get(Resource::Gpu),
            ..Self::default()
        }
    }

    /// A tenant of which only its jobs are known.
    fn unknown(name: &str) -> Self {
        Self {
            tenant: name.to_owned(),
            ..Self::default()
        }
    }

    fn add(&mut self, entry: &Entry) {
        match entry.state {
            State::Admitted => {
                self.held_milli_gpus += entry.milli_gpus();
                self.running += 1;
            }
            State::Waiting if !entry.blocked => {
                self.waiting_milli_gpus += entry.milli_gpus();
                self.waiting += 1;
            }
            _ => {}
        }
    }

    /// Its own jobs are counted, and all below it are.
    fn finish(&mut self, below: &[Self]) {
        let depth = self.depth + 1;
        let children = below.iter().filter(|h| h.depth == depth);
        for child in children {
            self.add_child(child);
        }
        if let Some(told) = self.told {
            self.held_milli_gpus = told.held;
            (self.running, self.waiting) = (told.running, told.waiting);
        }
    }

    fn add_child(&mut self, child: &Self) {
        self.held_milli_gpus += child.held_milli_gpus;
        self.waiting_milli_gpus += child.waiting_milli_gpus;
        self.running += child.running;
        self.waiting += child.waiting;
    }

    fn weight(&self) -> f64 {
        let weight = quantity::parse_weight(&self.weight);
        weight.map_or(1.0, |w| {
            f64::from(w.numerator()) / f64::from(w.denominator())
        })
    }
}

/// The tree in the order in which it is shown: each tenant before those below it, by name.
/// `capacity` is what the nodes have, where that is known.
pub(crate) fn tree(tenants: Vec<Holding>, seen: &Seen, capacity: Option<u64>) -> Vec<Holding> {
    let mut all: BTreeMap<String, Holding> =
        tenants.into_iter().map(|t| (t.tenant.clone(), t)).collect();
    for entry in &seen.entries {
        let holding = all.entry(entry.tenant.clone());
        holding
            .or_insert_with(|| Holding::unknown(&entry.tenant))
            .add(entry);
    }
    // The jobs themselves are newer than what is said of them.
    for holding in all.values_mut().filter(|_| seen.is_all) {
        holding.told = None;
    }
    // A parent that is not there leaves its children at the top; so does a cycle, at its first name.
    let known: Vec<String> = all.keys().cloned().collect();
    for holding in all.values_mut() {
        let parent = holding.parent.take();
        holding.parent = parent.filter(|name| known.binary_search(name).is_ok());
    }
    let owned: Vec<u64> = known.iter().map(|name| owned(&all, name, 0)).collect();
    for (holding, owned) in all.values_mut().zip(owned) {
        holding.guaranteed_milli_gpus = owned;
    }
    let mut shown = Vec::new();
    branch(&mut all, None, capacity, 0, &mut shown);
    while let Some(name) = all.keys().next().cloned() {
        if let Some(mut first) = all.remove(&name) {
            first.parent = None;
            all.insert(name, first);
        }
        branch(&mut all, None, None, 0, &mut shown);
    }
    shown
}

/// What a tenant owns: its guarantee, or without one what those below it own.
fn owned(all: &BTreeMap<String, Holding>, name: &str, depth: usize) -> u64 {
    let own = all[name].guaranteed_milli_gpus;
    if own > 0 || depth > all.len() {
        return own;
    }
    let children = all
        .values()
        .filter(|holding| holding.parent.as_deref() == Some(name));
    children
        .map(|child| owned(all, &child.tenant, depth + 1))
        .sum()
}

/// Moves the children of a tenant, and what is below them, from `all` to `shown`.
fn branch(
    all: &mut BTreeMap<String, Holding>,
    parent: Option<&str>,
    capacity: Option<u64>,
    depth: usize,
    shown: &mut Vec<Holding>,
) {
    let names: Vec<String> = all
        .values()
        .filter(|holding| holding.parent.as_deref() == parent)
        .map(|holding| holding.tenant.clone())
        .collect();
    let mut children: Vec<Holding> = names.iter().filter_map(|name| all.remove(name)).collect();
    let parts = capacity.map(|capacity| divide(&children, capacity));
    for (index, child) in children.iter_mut().enumerate() {
        child.depth = depth;
        child.entitled_milli_gpus = parts.as_ref().map(|parts| parts[index]);
    }
    for mut child in children {
        let (place, name, own) = (shown.len(), child.tenant.clone(), child.entitled_milli_gpus);
        shown.push(Holding::default());
        branch(all, Some(&name), own, depth + 1, shown);
        child.finish(&shown[place + 1..]);
        shown[place] = child;
    }
}

/// What each would get if all wanted everything: its guarantee, and by weight what is left, up to
/// its limit.
fn divide(children: &[Holding], capacity: u64) -> Vec<u64> {
    let cap = |child: &Holding| child.limit_milli_gpus.map_or(f64::INFINITY, float);
    let mut parts: Vec<f64> = children
        .iter()
        .map(|child| float(child.guaranteed_milli_gpus).min(cap(child)))
        .collect();
    let mut left = (float(capacity) - parts.iter().sum::<f64>()).max(0.0);
    let mut open: Vec<usize> = (0..children.len())
        .filter(|&i| children[i].weight() > 0.0)
        .collect();
    while !open.is_empty() && left > 0.5 {
        let sum: f64 = open.iter().map(|&i| children[i].weight()).sum();
        let gain = |i: usize| left * children[i].weight() / sum;
        let full = |&i: &usize| parts[i] + gain(i) >= cap(&children[i]);
        let (filled, rest): (Vec<usize>, Vec<usize>) = open.iter().copied().partition(|i| full(i));
        if filled.is_empty() {
            let gains: Vec<(usize, f64)> = rest.iter().map(|&i| (i, gain(i))).collect();
            gains.into_iter().for_each(|(i, gain)| parts[i] += gain);
            break;
        }
        for i in filled {
            left -= cap(&children[i]) - parts[i];
            parts[i] = cap(&children[i]);
        }
        open = rest;
    }
    parts.into_iter().map(whole).collect()
}

fn read(gpus: &str) -> Option<u64> {
    quantity::parse(Resource::Gpu, gpus).ok()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milli-GPUs of a cluster are far below 2⁵³"
)]
const fn float(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is not negative, and a cast saturates"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::super::queue::tests::entry;
    use super::*;
    use serde_json::json;

    fn tenant(name: &str, parent: Option<&str>, weight: &str, gpus: [Option<u64>; 2]) -> Holding {
        Holding {
            tenant: name.to_owned(),
            parent: parent.map(str::to_owned),
            weight: weight.to_owned(),
            guaranteed_milli_gpus: gpus[0].unwrap_or_default() * 1000,
            limit_milli_gpus: gpus[1].map(|limit| limit * 1000),
            ..Holding::default()
        }
    }

    fn seen<const N: usize>(entries: [Entry; N]) -> Seen {
        Seen {
            entries: entries.to_vec(),
            is_all: true,
        }
    }

    #[test]
    fn who_sees_a_part_of_the_jobs_believes_the_controller() {
        let told = Told {
            held: 9_000,
            running: 3,
            waiting: 4,
        };
        let vision = Holding {
            told: Some(told),
            ..tenant("vision", None, "1", [None, None])
        };
        let part = Seen {
            is_all: false,
            ..seen([entry("a", 1, json!({}))])
        };
        let shown = &tree(vec![vision.clone()], &part, None)[0];
        assert_eq!((shown.held_milli_gpus, shown.waiting), (9_000, 4));
        let all = seen([entry("a", 1, json!({}))]);
        let shown = &tree(vec![vision], &all, None)[0];
        assert_eq!((shown.held_milli_gpus, shown.waiting), (0, 1));
    }

    fn entitled(tenants: Vec<Holding>, gpus: u64) -> Vec<(String, usize, u64)> {
        let shown = tree(tenants, &seen([]), Some(gpus * 1000));
        let told = |h: &Holding| (h.tenant.clone(), h.depth, h.entitled_milli_gpus.unwrap());
        shown.iter().map(told).collect()
    }

    #[test]
    fn what_nobody_owns_goes_by_weight_up_to_the_limits() {
        let tenants = vec![
            tenant("a", None, "2", [Some(8), None]),
            tenant("b", None, "1", [None, None]),
            tenant("c", None, "1", [None, Some(2)]),
            tenant("d", None, "0", [None, None]),
        ];
        let told = entitled(tenants, 40);
        let parts: Vec<u64> = told.iter().map(|(_, _, part)| *part).collect();
        assert_eq!(parts, [28_000, 10_000, 2_000, 0]);
    }

    #[test]
    fn a_tree_is_divided_level_by_level_and_summed_from_below() {
        let tenants = vec![
            tenant("top", None, "1", [None, None]),
            tenant("dev", Some("top"), "1", [None, None]),
            tenant("prod", Some("top"), "3", [Some(2), None]),
            tenant("alone", None, "1", [None, None]),
            tenant("orphan", Some("gone"), "2", [None, None]),
        ];
        let told = entitled(tenants.clone(), 16);
        let told: Vec<_> = told.iter().map(|(n, d, p)| (n.as_str(), *d, *p)).collect();
        assert_eq!(
            told,
            [
                ("alone", 0, 3_500),
                ("orphan", 0, 7_000),
                ("top", 0, 5_500),
                ("dev", 1, 875),
                ("prod", 1, 4_625)
            ]
        );
        let running = json!({"spec": {"tenant": "prod"}, "status": {"state": "Admitted"}});
        let waiting = json!({"spec": {"tenant": "dev", "gpus": "0.5"}});
        let entries = [
            entry("r", 1, running),
            entry("w", 2, waiting),
            entry("x", 3, json!({})),
        ];
        let shown = tree(tenants, &seen(entries), None);
        let top = shown.iter().find(|h| h.tenant == "top").unwrap();
        assert_eq!((top.held_milli_gpus, top.waiting_milli_gpus), (8_000, 500));
        assert_eq!(
            (top.running, top.waiting, top.entitled_milli_gpus),
            (1, 1, None)
        );
        assert!(shown.iter().any(|h| h.tenant == "vision" && h.waiting == 1));
    }

    #[test]
    fn a_cycle_is_shown_all_the_same() {
        let tenants = vec![
            tenant("a", Some("b"), "1", [None, None]),
            tenant("b", Some("a"), "1", [None, None]),
        ];
        let names: Vec<_> = tree(tenants, &seen([]), None)
            .into_iter()
            .map(|h| (h.tenant, h.depth))
            .collect();
        assert_eq!(names, [("a".to_owned(), 0), ("b".to_owned(), 1)]);
    }
}
