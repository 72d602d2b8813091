//! Nodes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as k8s;
use kube::ResourceExt;
use prorata_core::needs::{Effect, Labels, Taint, Text};
use prorata_core::{Gpus, Model, Node, Resource, Resources};
use prorata_simulator::quantity;

use super::pod::{PODS, UNIT};
use super::sharing;
use crate::api::{labels, resources};

/// What Kubernetes taints a node with that is cordoned.
const CORDONED: &str = "node.kubernetes.io/unschedulable";

/// A node as the core sees it. An allocatable amount that cannot be read counts as nothing.
#[must_use]
pub fn node(node: &k8s::Node, gpu_resource: &str) -> Node {
    let status = node.status.as_ref();
    let empty = BTreeMap::new();
    let allocatable = status
        .and_then(|s| s.allocatable.as_ref())
        .unwrap_or(&empty);
    let with = |sum: Resources, (resource, key): (Resource, &str)| {
        let quantity = allocatable.get(key);
        let amount = quantity.and_then(|q| quantity::parse(resource, &q.0).ok());
        sum.with(resource, amount.unwrap_or_default())
    };
    let plain = counted(gpu_resource)
        .into_iter()
        .fold(Resources::ZERO, with);
    let known = counted(gpu_resource).map(|(_, key)| key);
    let others = allocatable
        .iter()
        .filter(|(key, _)| !known.contains(&key.as_str()) && !resources::is_gpu(key, gpu_resource));
    let others = others.map(|(key, quantity)| {
        let amount = quantity::parse(UNIT, &quantity.0).unwrap_or_default();
        (Text::from(key.as_str()), amount)
    });
    // kubelet always says how many pods it takes; whatever else makes nodes may not.
    let unsaid = !allocatable.contains_key(&**PODS);
    let pods = unsaid.then(|| (PODS.clone(), Resources::MAX_AMOUNT));
    let model = node.labels().get(labels::GPU_MODEL);
    let cards = sharing::cards(node, gpu_resource);
    let milli = cards.count.saturating_mul(Resource::Gpu.scale());
    Node {
        allocatable: plain.with(Resource::Gpu, milli),
        others: others.chain(pods).collect(),
        gpus: Gpus {
            model: model.map_or_else(Model::default, |model| model.as_str().into()),
            mode: cards.mode,
            memory: cards.memory,
            ..Gpus::default()
        },
        labels: node_labels(node).into(),
        taints: taints(node).into(),
        schedulable: is_ready(node) && !is_cordoned(node),
        ..Node::new(&node.name_any())
    }
}

/// The resources that nodes offer and pods ask for, with what Kubernetes calls them.
pub(super) const fn counted(gpu_resource: &str) -> [(Resource, &str); 3] {
    [
        (Resource::Gpu, gpu_resource),
        (Resource::Cpu, Resource::Cpu.name()),
        (Resource::Memory, Resource::Memory.name()),
    ]
}

fn node_labels(node: &k8s::Node) -> Labels {
    let labels = node.labels().iter();
    labels
        .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
        .collect()
}

/// What keeps pods away that do not tolerate it. The taint of a cordoned node says nothing that
/// is not known, for it takes no new work anyway.
fn taints(node: &k8s::Node) -> Vec<Taint> {
    let all = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    let told = all.filter(|taint| !(is_cordoned(node) && taint.key == CORDONED));
    let taint = |taint: &k8s::Taint| {
        Some(Taint {
            key: taint.key.as_str().into(),
            value: taint.value.as_deref().unwrap_or_default().into(),
            effect: effect(&taint.effect)?,
        })
    };
    told.filter_map(taint).collect()
}

/// What a taint of this effect does to pods; `None` where it keeps nobody away.
pub(super) fn effect(effect: &str) -> Option<Effect> {
    match effect {
        "NoSchedule" => Some(Effect::NoSchedule),
        "NoExecute" => Some(Effect::NoExecute),
        _ => None,
    }
}

/// Whether the node's kubelet is there and says that it is well.
#[must_use]
pub fn is_ready(node: &k8s::Node) -> bool {
    let mut conditions = node
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    conditions.any(|c| c.type_ == "Ready" && c.status == "True")
}

fn is_cordoned(node: &k8s::Node) -> bool {
    let spec = node.spec.as_ref();
    spec.is_some_and(|spec| spec.unschedulable == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(spec: serde_json::Value, ready: &str) -> Node {
        let object = json!({
            "metadata": {"name": "a", "labels": {"nvidia.com/gpu.product": "NVIDIA-L4"}},
            "spec": spec,
            "status": {
                "allocatable": {"cpu": "3920m", "memory": "64Gi", "nvidia.com/gpu": "8", "pods": "110", "rdma/hca": "2"},
                "conditions": [{"type": "Ready", "status": ready}],
            },
        });
        node(&serde_json::from_value(object).unwrap(), "nvidia.com/gpu")
    }

    #[test]
    fn reads_what_a_node_offers() {
        let offers = Resources::gpus(8)
            .with(Resource::Cpu, 3920)
            .with(Resource::Memory, 64 << 30);
        let node = read(json!({}), "True");
        assert_eq!(node.allocatable, offers);
        let (pods, hca) = (node.others.get("pods"), node.others.get("rdma/hca"));
        assert_eq!((pods, hca), (110, 2));
    }

    #[test]
    fn new_work_goes_to_nodes_that_are_ready_and_not_cordoned() {
        assert!(read(json!({}), "True").schedulable);
        assert!(!read(json!({}), "False").schedulable);
        assert!(!read(json!({}), "Unknown").schedulable);
        assert!(!read(json!({"unschedulable": true}), "True").schedulable);
    }

    #[test]
    fn reads_labels_the_model_of_its_gpus_and_the_taints_that_keep_pods_away() {
        let taint = |key: &str, effect: &str| json!({"key": key, "effect": effect, "value": "v"});
        let hard = [taint("a", "NoSchedule"), taint("b", "NoExecute")];
        let soft = taint("c", "PreferNoSchedule");
        let node = read(json!({"taints": [hard[0], soft, hard[1]]}), "True");
        assert_eq!(node.gpus.model, "NVIDIA-L4".into());
        assert_eq!(&*node.labels["nvidia.com/gpu.product"], "NVIDIA-L4");
        assert!(node.schedulable);
        let read = |(key, effect): (&str, _)| Taint {
            key: key.into(),
            value: "v".into(),
            effect,
        };
        let expected = [("a", Effect::NoSchedule), ("b", Effect::NoExecute)].map(read);
        assert_eq!(*node.taints, expected);
    }

    /// It is removed a moment after the node is uncordoned; until then kube-scheduler heeds it.
    #[test]
    fn the_taint_of_a_cordon_counts_only_where_the_cordon_does_not() {
        let tainted = |cordoned: bool| {
            let taint = json!({"key": CORDONED, "effect": "NoSchedule"});
            read(
                json!({"unschedulable": cordoned, "taints": [taint]}),
                "True",
            )
        };
        assert_eq!(tainted(true).taints.len(), 0);
        assert_eq!(tainted(false).taints.len(), 1);
    }
}
