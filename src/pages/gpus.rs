//! Nodes, and the cards in them, as the agents tell of them.

use std::collections::BTreeMap;

use kube::ResourceExt;
use prorata_dashboard::{Card, Frame, Gpus, Model, Node, Tone};

use super::picture::{NodeFact, Picture, Shown};
use super::tone;
use crate::api::gpunode::{Gpu, Health};
use crate::api::{GpuNode, State};
use crate::cli::agent;
use crate::cli::words::gpus;

/// Nodes that one page shows.
const NODES: usize = 400;
/// Cards of which something is wrong that one page shows.
const ILL: usize = 200;

/// Every card that an agent tells of, and its node.
pub(super) fn cards(picture: &Picture) -> impl Iterator<Item = (&str, &Gpu)> {
    picture.gpunodes.iter().flat_map(|node| {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let status = node.status.iter();
        status
            .flat_map(|status| &status.gpus)
            .map(move |gpu| (name, gpu))
    })
}

/// The page.
pub(super) fn page(shown: &Shown<'_>, frame: Frame) -> Gpus {
    let mut page = Gpus {
        frame,
        models: models(shown.whole),
        ..Gpus::default()
    };
    if shown.names_nodes {
        let nodes = nodes(shown.whole);
        page.more = nodes.len().saturating_sub(NODES);
        page.nodes = nodes.into_iter().take(NODES).collect();
        page.ill = ill(shown.whole);
    }
    page
}

fn models(picture: &Picture) -> Vec<Model> {
    let mut models: BTreeMap<&str, (Vec<&str>, u64, u64)> = BTreeMap::new();
    for (node, gpu) in cards(picture) {
        let model = gpu.model.as_deref().unwrap_or("unknown");
        let (nodes, all, healthy) = models.entry(model).or_default();
        nodes.push(node);
        *all += 1;
        *healthy += u64::from(gpu.health == Health::Healthy);
    }
    let model = |(name, (mut nodes, all, healthy)): (&str, (Vec<&str>, u64, u64))| {
        nodes.dedup();
        Model {
            name: name.to_owned(),
            nodes: nodes.len().to_string(),
            cards: all.to_string(),
            healthy: healthy.to_string(),
            tone: if healthy == all {
                Tone::Good
            } else {
                Tone::Bad
            },
        }
    };
    models.into_iter().map(model).collect()
}

fn ill(picture: &Picture) -> Vec<(String, Card)> {
    let ill = cards(picture).filter(|(_, gpu)| gpu.health != Health::Healthy);
    let mut ill: Vec<(&str, &Gpu)> = ill.collect();
    ill.sort_by_key(|(node, gpu)| (gpu.health == Health::Degraded, *node, gpu.index));
    let told = ill.into_iter().take(ILL);
    told.map(|(node, gpu)| (node.to_owned(), card(gpu)))
        .collect()
}

/// Nodes that offer GPUs, and those of which only an agent tells.
fn nodes(picture: &Picture) -> Vec<Node> {
    let held = held(picture);
    let mut agents: BTreeMap<String, &GpuNode> = BTreeMap::new();
    for node in &picture.gpunodes {
        agents.insert(node.name_any(), node);
    }
    let facts = picture.nodes.iter().flatten();
    let known = facts.map(|fact| {
        let told = agents.remove(&fact.name);
        (fact.clone(), told)
    });
    let mut all: Vec<(NodeFact, Option<&GpuNode>)> = known.collect();
    let unknown = agents.into_iter().map(|(name, node)| {
        let fact = NodeFact {
            name,
            ..NodeFact::default()
        };
        (fact, Some(node))
    });
    all.extend(unknown);
    let of = |name: &str| held.get(name).copied().unwrap_or_default();
    all.iter()
        .map(|(fact, told)| node(fact, *told, of(&fact.name)))
        .collect()
}

/// What jobs hold on each node, in thousandths of a GPU.
fn held(picture: &Picture) -> BTreeMap<&str, u64> {
    let mut held: BTreeMap<&str, u64> = BTreeMap::new();
    let entries = picture.seen.entries.iter();
    for entry in entries.filter(|entry| entry.state == State::Admitted) {
        let each = entry.milli_gpus() / u64::from(entry.pods).max(1);
        for (node, pods) in &entry.nodes {
            *held.entry(node).or_default() += each * u64::from(*pods);
        }
    }
    held
}

fn node(fact: &NodeFact, told: Option<&GpuNode>, held: u64) -> Node {
    let (state, found) = match (fact.ready.as_deref(), fact.takes_work) {
        (Some("True"), true) => ("takes work", Tone::Good),
        (Some("True"), false) => ("cordoned", Tone::Wait),
        (Some(_), _) => ("not ready", Tone::Bad),
        (None, true) => ("takes work", Tone::Good),
        (None, false) => ("unknown", Tone::Bad),
    };
    let status = told.and_then(|told| told.status.as_ref());
    let gpus_of = status
        .map(|status| status.gpus.as_slice())
        .unwrap_or_default();
    let model = gpus_of.iter().find_map(|gpu| gpu.model.clone());
    let driver = status.and_then(|status| status.driver.as_ref()?.version.clone());
    let partition = told.and_then(|told| told.spec.partition.clone());
    Node {
        name: fact.name.clone(),
        state: state.to_owned(),
        tone: found,
        model: model.unwrap_or_else(|| fact.model.clone()),
        partition: partition.unwrap_or_default(),
        driver: driver.unwrap_or_default(),
        offered: gpus(fact.milli_gpus),
        held: gpus(held),
        per_mille: (held.saturating_mul(1000) / fact.milli_gpus.max(1)).min(1000),
        cards: gpus_of.iter().map(card).collect(),
    }
}

fn card(gpu: &Gpu) -> Card {
    Card {
        index: gpu.index,
        health: gpu.health.name().to_owned(),
        tone: tone(agent::tone(gpu.health)),
        model: gpu.model.clone().unwrap_or_default(),
        memory: gpu.memory.clone().unwrap_or_default(),
        mode: agent::mode(gpu),
        message: gpu.message.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::{facts, only};
    use super::*;
    use crate::api::{GpuNode, GpuNodeSpec};
    use crate::pages::picture::Sees;
    use k8s_openapi::jiff::Timestamp;

    fn picture() -> Picture {
        let mut facts = facts();
        let mut told = GpuNode::new("n1", GpuNodeSpec::default());
        let gpu = |index, health| Gpu {
            index,
            health,
            model: Some("NVIDIA H100".to_owned()),
            ..Gpu::default()
        };
        let gpus = vec![gpu(0, Health::Healthy), gpu(1, Health::Lost)];
        told.status.get_or_insert_default().gpus = gpus;
        facts.gpunodes = vec![told];
        Picture::new(facts, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_is_held_stands_beside_what_a_node_offers() {
        let picture = picture();
        let page = page(&picture.seen_by(&Sees::All), Frame::default());
        let told: Vec<_> = page
            .nodes
            .iter()
            .map(|n| {
                (
                    n.name.as_str(),
                    n.held.as_str(),
                    n.offered.as_str(),
                    n.cards.len(),
                )
            })
            .collect();
        assert_eq!(told, [("n1", "12", "16", 2), ("n2", "12", "16", 0)]);
        assert_eq!((page.ill.len(), page.ill[0].1.health.as_str()), (1, "Lost"));
        assert_eq!(
            (
                page.models[0].cards.as_str(),
                page.models[0].healthy.as_str()
            ),
            ("2", "1")
        );
    }

    #[test]
    fn what_a_silent_agent_told_before_is_not_shown_as_it_was() {
        let mut facts = facts();
        let mut told = GpuNode::new("n1", GpuNodeSpec::default());
        told.status.get_or_insert_default().gpus = vec![Gpu::default()];
        facts.gpunodes = vec![told];
        let pod = serde_json::json!({
            "spec": {"nodeName": "n1", "containers": []},
            "status": {"conditions": [{"type": "Ready", "status": "False"}]},
        });
        facts.agents = vec![serde_json::from_value(pod).unwrap()];
        let picture = Picture::new(facts, Timestamp::UNIX_EPOCH);
        let page = page(&picture.seen_by(&Sees::All), Frame::default());
        let (node, card) = &page.ill[0];
        assert_eq!(
            (node.as_str(), card.health.as_str()),
            ("n1", "Unresponsive")
        );
        let why = "its agent is not ready, and its GPUs were told of before";
        assert_eq!(card.message, why);
    }

    #[test]
    fn whoever_sees_one_tenant_is_told_of_no_node() {
        let picture = picture();
        let shown = picture.seen_by(&only(&[("vision", "vision")]));
        let page = page(&shown, Frame::default());
        assert_eq!(
            (page.nodes.len(), page.ill.len(), page.models.len()),
            (0, 0, 1)
        );
    }
}
