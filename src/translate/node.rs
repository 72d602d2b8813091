//! Nodes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use prorata_core::{Node, Resource, Resources};
use prorata_simulator::quantity;

/// A node as the core sees it. An allocatable amount that cannot be read counts as nothing.
#[must_use]
pub fn node(node: &k8s::Node, gpu_resource: &str) -> Node {
    let status = node.status.as_ref();
    let empty = BTreeMap::new();
    let allocatable = status
        .and_then(|s| s.allocatable.as_ref())
        .unwrap_or(&empty);
    let amount = |resource: Resource| {
        let quantity: Option<&Quantity> = allocatable.get(key(resource, gpu_resource));
        quantity
            .and_then(|q| quantity::parse(resource, &q.0).ok())
            .unwrap_or_default()
    };
    let with = |sum: Resources, r| sum.with(r, amount(r));
    Node {
        id: node.name_any().as_str().into(),
        allocatable: Resource::ALL.into_iter().fold(Resources::ZERO, with),
        schedulable: is_ready(node) && !repels(node),
    }
}

/// What Kubernetes calls a resource.
pub(super) fn key(resource: Resource, gpu_resource: &str) -> &str {
    match resource {
        Resource::Gpu => gpu_resource,
        Resource::Cpu | Resource::Memory => resource.name(),
    }
}

fn is_ready(node: &k8s::Node) -> bool {
    let mut conditions = node
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    conditions.any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Cordoned, or tainted against pods that do not tolerate it.
fn repels(node: &k8s::Node) -> bool {
    let Some(spec) = &node.spec else {
        return false;
    };
    let mut taints = spec.taints.iter().flatten();
    spec.unschedulable == Some(true) || taints.any(|taint| taint.effect != "PreferNoSchedule")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(spec: serde_json::Value, ready: &str) -> Node {
        let object = json!({
            "metadata": {"name": "a"},
            "spec": spec,
            "status": {
                "allocatable": {"cpu": "3920m", "memory": "64Gi", "nvidia.com/gpu": "8"},
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
        assert_eq!(read(json!({}), "True").allocatable, offers);
    }

    #[test]
    fn new_work_goes_to_ready_nodes_that_do_not_repel_it() {
        let taint = |effect| json!({"taints": [{"key": "k", "effect": effect}]});
        assert!(read(json!({}), "True").schedulable);
        assert!(read(taint("PreferNoSchedule"), "True").schedulable);
        assert!(!read(json!({}), "False").schedulable);
        assert!(!read(json!({}), "Unknown").schedulable);
        assert!(!read(json!({"unschedulable": true}), "True").schedulable);
        assert!(!read(taint("NoSchedule"), "True").schedulable);
        assert!(!read(taint("NoExecute"), "True").schedulable);
    }
}
