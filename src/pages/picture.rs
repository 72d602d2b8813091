//! What was read of the cluster, and how much of it a reader sees.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use prorata_core::Resource;
use prorata_dashboard::{Frame, Note};

use crate::api::{GpuNode, Tenant};
use crate::cli::gpus;
use crate::cli::queue::{self, Entry, Seen};
use crate::cli::shares::{Holding, tree};
use crate::gpus::agents;
use crate::translate;

/// All tenants together that a reader may not tell apart.
pub(crate) const OTHERS: &str = "everybody else";

/// What was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Jobs of the queue.
    pub(crate) entries: Vec<Entry>,
    /// Whether these are all that there are.
    pub(crate) is_all: bool,
    /// Tenants.
    pub(crate) tenants: Vec<Tenant>,
    /// Nodes, where they may be seen.
    pub(crate) nodes: Option<Vec<NodeFact>>,
    /// What the agents tell.
    pub(crate) gpunodes: Vec<GpuNode>,
    /// The agents' pods, where they may be seen.
    pub(crate) agents: Vec<k8s::Pod>,
    /// What could not be read.
    pub(crate) notes: Vec<Note>,
}

/// A node, as far as its GPUs go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeFact {
    /// Its name.
    pub(crate) name: String,
    /// What its kubelet says of being ready; nothing where it has never said anything.
    pub(crate) ready: Option<String>,
    /// Whether it takes new work.
    pub(crate) takes_work: bool,
    /// GPUs that it offers, in thousandths.
    pub(crate) milli_gpus: u64,
    /// Its model of GPU, as it is labelled.
    pub(crate) model: String,
}

/// What was read, put together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Picture {
    /// When.
    pub(crate) at: Timestamp,
    /// The jobs, in the queue's order.
    pub(crate) seen: Seen,
    /// Tenants by name.
    pub(crate) tenants: BTreeMap<String, Tenant>,
    /// What each holds, each before those below it.
    pub(crate) holdings: Vec<Holding>,
    /// GPUs of the nodes that take new work, in thousandths.
    pub(crate) capacity: Option<u64>,
    /// Nodes that have GPUs, by name.
    pub(crate) nodes: Option<Vec<NodeFact>>,
    /// What the agents tell, by name; what is old is marked so.
    pub(crate) gpunodes: Vec<GpuNode>,
    /// What is not shown, and why.
    pub(crate) notes: Vec<Note>,
}

/// Whose jobs a reader may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sees {
    /// Everybody's.
    All,
    /// Those of these namespaces, each with its tenant.
    Namespaces(BTreeMap<String, String>),
}

/// As much of a picture as its reader sees.
pub(crate) struct Shown<'a> {
    /// The whole of it, for what may be told of all together.
    pub(crate) whole: &'a Picture,
    /// The jobs that are seen, in the queue's order.
    pub(crate) entries: Vec<&'a Entry>,
    /// The tenants that are seen, each before those below it.
    pub(crate) holdings: Vec<Holding>,
    /// All others together, where there are some that are not seen.
    pub(crate) others: Option<Holding>,
    /// Whether nodes may be named.
    pub(crate) names_nodes: bool,
    sees: String,
}

impl NodeFact {
    /// What a node says.
    pub(crate) fn new(node: &k8s::Node, gpu_resource: &str) -> Self {
        let (name, ready) = gpus::readiness(node);
        let seen = translate::node(node, gpu_resource);
        let model = node.labels().get(crate::api::labels::GPU_MODEL);
        Self {
            name,
            ready,
            takes_work: seen.schedulable,
            milli_gpus: seen.allocatable.get(Resource::Gpu),
            model: model.cloned().unwrap_or_default(),
        }
    }
}

impl Picture {
    /// Puts together what was read.
    pub(crate) fn new(facts: Facts, at: Timestamp) -> Self {
        let ready: Option<BTreeMap<_, _>> = facts.nodes.as_ref().map(|nodes| {
            let ready = |node: &NodeFact| (node.name.clone(), node.ready.clone());
            nodes.iter().map(ready).collect()
        });
        let mut gpunodes = facts.gpunodes;
        let names = gpunodes.iter().map(ResourceExt::name_any);
        let silent = agents::silent(names, facts.agents.iter());
        // What they say of a node stands beside its cards.
        let _ = gpus::told(&mut gpunodes, ready.as_ref(), &silent);
        gpunodes.sort_by_key(ResourceExt::name_any);
        let capacity = facts.nodes.as_ref().map(|nodes| {
            let takes_work = nodes.iter().filter(|node| node.takes_work);
            takes_work.map(|node| node.milli_gpus).sum()
        });
        let nodes = facts.nodes.map(|mut nodes| {
            nodes.retain(|node| node.milli_gpus > 0);
            nodes.sort_by(|a, b| a.name.cmp(&b.name));
            nodes
        });
        let seen = Seen {
            entries: queue::ordered(facts.entries, facts.is_all),
            is_all: facts.is_all,
        };
        let holdings = facts.tenants.iter().map(Holding::of).collect();
        let tenants = facts.tenants.into_iter();
        Self {
            at,
            holdings: tree(holdings, &seen, capacity),
            seen,
            tenants: tenants.map(|tenant| (tenant.name_any(), tenant)).collect(),
            capacity,
            nodes,
            gpunodes,
            notes: facts.notes,
        }
    }

    /// GPUs that are held, in thousandths.
    pub(crate) fn held(&self) -> u64 {
        let tops = self.holdings.iter().filter(|holding| holding.depth == 0);
        tops.map(|holding| holding.held_milli_gpus).sum()
    }

    /// As much of it as a reader sees.
    pub(crate) fn seen_by(&self, sees: &Sees) -> Shown<'_> {
        let entries = self.seen.entries.iter();
        match sees {
            Sees::All => Shown {
                whole: self,
                entries: entries.collect(),
                holdings: self.holdings.clone(),
                others: None,
                names_nodes: true,
                sees: "every tenant".to_owned(),
            },
            Sees::Namespaces(spaces) => {
                let own: BTreeSet<&str> = spaces.values().map(String::as_str).collect();
                let (holdings, others) = part(&self.holdings, &own);
                let names: Vec<&str> = own.into_iter().collect();
                Shown {
                    whole: self,
                    entries: entries
                        .filter(|entry| spaces.contains_key(&entry.namespace))
                        .collect(),
                    holdings,
                    others,
                    names_nodes: false,
                    sees: names.join(", "),
                }
            }
        }
    }
}

impl Shown<'_> {
    /// What every page shows around its own content.
    pub(crate) fn frame(&self, root: &str, cluster: &str) -> Frame {
        let notes = &self.whole.notes;
        Frame {
            root: root.to_owned(),
            cluster: cluster.to_owned(),
            sees: match self.whole.seen.is_all {
                true => self.sees.clone(),
                false => "what you may see".to_owned(),
            },
            as_of: self.whole.at.strftime("%H:%M:%S UTC").to_string(),
            moment: self.whole.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            notes: notes.clone(),
        }
    }

    /// Tenants that charts tell apart, and all others: those at the top, or if there is one alone,
    /// those below it. The greatest first where there are many.
    pub(crate) fn strands(&self) -> Vec<&Holding> {
        const FEW: usize = 8;
        let mut depth = 0;
        let at = |depth: usize| self.holdings.iter().filter(move |h| h.depth == depth);
        while at(depth).count() == 1 && at(depth + 1).next().is_some() {
            depth += 1;
        }
        let mut strands: Vec<&Holding> = at(depth).collect();
        if strands.len() > FEW {
            strands.sort_by_key(|holding| std::cmp::Reverse(holding.held_milli_gpus));
        }
        strands.extend(&self.others);
        strands
    }
}

/// The tenants that are seen: a reader's own, and whoever has none but such below. All others
/// become one.
fn part(all: &[Holding], own: &BTreeSet<&str>) -> (Vec<Holding>, Option<Holding>) {
    let mut is_seen = vec![false; all.len()];
    for (index, holding) in all.iter().enumerate().rev() {
        let below = all[index + 1..].iter().zip(&is_seen[index + 1..]);
        let below = below.take_while(|(other, _)| other.depth > holding.depth);
        let mut children = below
            .filter(|(other, _)| other.depth == holding.depth + 1)
            .map(|(_, is_seen)| *is_seen)
            .peekable();
        let is_theirs = children.peek().is_some() && children.all(|is_seen| is_seen);
        is_seen[index] = is_theirs || own.contains(holding.tenant.as_str());
    }
    let mut seen: Vec<Holding> = Vec::new();
    let mut others = Holding {
        tenant: OTHERS.to_owned(),
        ..Holding::default()
    };
    let mut above: Vec<usize> = Vec::new();
    for (holding, is_seen) in all.iter().zip(&is_seen) {
        above.retain(|depth| *depth < holding.depth);
        if holding.depth == 0 {
            add(&mut others, holding);
        }
        if *is_seen {
            if above.is_empty() {
                subtract(&mut others, holding);
            }
            seen.push(Holding {
                depth: above.len(),
                parent: holding.parent.clone().filter(|_| !above.is_empty()),
                ..holding.clone()
            });
            above.push(holding.depth);
        }
    }
    let some = is_seen.iter().any(|is_seen| !is_seen);
    (seen, some.then_some(others))
}

fn add(sum: &mut Holding, one: &Holding) {
    sum.held_milli_gpus += one.held_milli_gpus;
    sum.waiting_milli_gpus += one.waiting_milli_gpus;
    sum.guaranteed_milli_gpus += one.guaranteed_milli_gpus;
    sum.running += one.running;
    sum.waiting += one.waiting;
    let due = sum.entitled_milli_gpus.unwrap_or_default();
    sum.entitled_milli_gpus = one.entitled_milli_gpus.map(|more| due + more);
}

fn subtract(sum: &mut Holding, one: &Holding) {
    let less = |sum: &mut u64, one: u64| *sum = sum.saturating_sub(one);
    less(&mut sum.held_milli_gpus, one.held_milli_gpus);
    less(&mut sum.waiting_milli_gpus, one.waiting_milli_gpus);
    less(&mut sum.guaranteed_milli_gpus, one.guaranteed_milli_gpus);
    sum.running = sum.running.saturating_sub(one.running);
    sum.waiting = sum.waiting.saturating_sub(one.waiting);
    if let (Some(sum), Some(one)) = (&mut sum.entitled_milli_gpus, one.entitled_milli_gpus) {
        less(sum, one);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::queue::tests::entry;
    use serde_json::json;

    /// A cluster of 32 GPUs: `vision` of `red` holds 24, `speech` of `blue` waits, and so does
    /// `text`, which is a part of `red` too.
    pub(in crate::pages) fn facts() -> Facts {
        let tenant = |name: &str, parent: Option<&str>, gpus: u32| {
            let value = json!({
                "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name},
                "spec": {"parent": parent, "guaranteed": {"gpu": gpus}, "displayName": format!("<b>{name}</b>")},
            });
            serde_json::from_value(value).unwrap()
        };
        let job = |space: &str, tenant: &str, name: &str, gpus: u32, state: &str| {
            let (reason, admission) = match state {
                "Admitted" => (
                    "Admitted",
                    json!({"epoch": 1, "placement": [{"node": "n1"}, {"node": "n2"}]}),
                ),
                _ => ("CapacityFull", json!(null)),
            };
            entry(
                name,
                60,
                json!({
                    "metadata": {"namespace": space},
                    "spec": {"tenant": tenant, "gpus": gpus.to_string(), "admission": admission},
                    "status": {"state": state, "reason": reason},
                }),
            )
        };
        let node = |name: &str, gpus: u64| NodeFact {
            name: name.to_owned(),
            ready: Some("True".to_owned()),
            takes_work: true,
            milli_gpus: gpus * 1000,
            model: "H100".to_owned(),
        };
        Facts {
            entries: vec![
                job("vision", "vision", "big", 24, "Admitted"),
                job("speech", "speech", "asr", 8, "Waiting"),
                job("text", "text", "llm", 4, "Waiting"),
            ],
            is_all: true,
            tenants: vec![
                tenant("red", None, 16),
                tenant("vision", Some("red"), 8),
                tenant("text", Some("red"), 8),
                tenant("blue", None, 16),
                tenant("speech", Some("blue"), 16),
            ],
            nodes: Some(vec![node("n2", 16), node("n1", 16), node("cpu", 0)]),
            ..Facts::default()
        }
    }

    pub(in crate::pages) fn picture() -> Picture {
        Picture::new(facts(), Timestamp::from_second(3_000).unwrap())
    }

    pub(in crate::pages) fn only(spaces: &[(&str, &str)]) -> Sees {
        let owned = spaces
            .iter()
            .map(|(s, t)| ((*s).to_owned(), (*t).to_owned()));
        Sees::Namespaces(owned.collect())
    }

    fn names(shown: &Shown<'_>) -> Vec<(String, usize)> {
        let told = |h: &Holding| (h.tenant.clone(), h.depth);
        shown.holdings.iter().map(told).collect()
    }

    #[test]
    fn a_reader_sees_its_own_and_the_rest_as_one_sum() {
        let picture = picture();
        let shown = picture.seen_by(&only(&[("vision", "vision")]));
        assert_eq!(names(&shown), [("vision".to_owned(), 0)]);
        let jobs: Vec<&str> = shown.entries.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(jobs, ["big"]);
        let others = shown.others.as_ref().unwrap();
        assert_eq!((others.held_milli_gpus, others.waiting), (0, 2));
        assert_eq!(others.entitled_milli_gpus, Some(24_000));
        assert!(!shown.names_nodes);
    }

    #[test]
    fn a_parent_is_seen_with_all_of_its_children_and_not_with_some() {
        let picture = picture();
        let one = picture.seen_by(&only(&[("text", "text")]));
        assert_eq!(names(&one), [("text".to_owned(), 0)]);
        let both = picture.seen_by(&only(&[("text", "text"), ("vision", "vision")]));
        let expected = [("red", 0), ("text", 1), ("vision", 1)];
        assert_eq!(
            names(&both),
            expected.map(|(name, depth)| (name.to_owned(), depth))
        );
        let all = picture.seen_by(&Sees::All);
        assert_eq!((all.holdings.len(), all.others.is_none()), (5, true));
    }

    #[test]
    fn whoever_stands_alone_at_the_top_is_shown_by_its_parts() {
        let mut facts = facts();
        facts
            .tenants
            .retain(|t| !matches!(t.name_any().as_str(), "blue" | "speech"));
        facts.entries.retain(|entry| entry.tenant != "speech");
        let picture = Picture::new(facts, Timestamp::UNIX_EPOCH);
        let shown = picture.seen_by(&Sees::All);
        let strands: Vec<_> = shown.strands().iter().map(|h| h.tenant.as_str()).collect();
        assert_eq!(strands, ["text", "vision"]);
    }
}
