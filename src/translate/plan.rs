//! The plan as kube-scheduler reads it: a required node affinity by name in the Job's template.
//!
//! kube-scheduler then examines those nodes alone, and sends only their names to the extender.

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
};
use prorata_core::{NodeId, Placement};
use serde_json::{Value, json};

use super::JobView;
use crate::api::labels;

/// Beyond so many nodes the plan is not written into the template; Filter alone tells it.
pub const AFFINITY_NODES_MAX: usize = 32;

/// The field of a node that our terms match.
const NAME_FIELD: &str = "metadata.name";

/// The one patch that starts a Job: a JSON Patch that unsuspends it and names its nodes. It
/// applies only to this very Job as it was planned.
#[must_use]
pub fn release(job: &JobView, epoch: i64, placement: &Placement) -> Value {
    let key = labels::EPOCH.replace('~', "~0").replace('/', "~1");
    let annotation = if job.has_annotations {
        json!({"op": "add", "path": format!("/metadata/annotations/{key}"), "value": epoch.to_string()})
    } else {
        let annotations = json!({labels::EPOCH: epoch.to_string()});
        json!({"op": "add", "path": "/metadata/annotations", "value": annotations})
    };
    let affinity = with_ours(job.affinity.as_ref(), placement);
    json!([
        {"op": "test", "path": "/metadata/uid", "value": job.id.uid()},
        {"op": "test", "path": "/metadata/generation", "value": job.generation},
        {"op": "test", "path": "/spec/suspend", "value": true},
        annotation,
        {"op": "add", "path": "/spec/template/spec/affinity", "value": affinity},
        {"op": "replace", "path": "/spec/suspend", "value": false},
    ])
}

/// The patch that takes a start back: the Job is suspended, and may be planned anew once its pods
/// are gone. It applies only while this admission is the one in force.
#[must_use]
pub fn take_back(job: &JobView, epoch: i64) -> Value {
    let key = labels::EPOCH.replace('~', "~0").replace('/', "~1");
    json!([
        {"op": "test", "path": "/metadata/uid", "value": job.id.uid()},
        {"op": "test", "path": format!("/metadata/annotations/{key}"), "value": epoch.to_string()},
        {"op": "test", "path": "/spec/suspend", "value": false},
        {"op": "replace", "path": "/spec/suspend", "value": true},
    ])
}

/// A template's affinity less the terms of an earlier plan; `None` where nothing else is left.
/// Users may not write such terms themselves; an admission policy sees to it.
pub(super) fn without_ours(affinity: Option<&Affinity>) -> Option<Affinity> {
    let mut affinity = affinity?.clone();
    if let Some(nodes) = &mut affinity.node_affinity {
        let required = nodes
            .required_during_scheduling_ignored_during_execution
            .take();
        nodes.required_during_scheduling_ignored_during_execution = required.and_then(users_terms);
        if *nodes == NodeAffinity::default() {
            affinity.node_affinity = None;
        }
    }
    (affinity != Affinity::default()).then_some(affinity)
}

fn users_terms(selector: NodeSelector) -> Option<NodeSelector> {
    let ours = |term: &NodeSelectorTerm| {
        let mut fields = term.match_fields.iter().flatten();
        fields.any(|field| field.key == NAME_FIELD)
    };
    let terms = selector
        .node_selector_terms
        .into_iter()
        .filter(|term| !ours(term));
    let node_selector_terms: Vec<_> = terms.collect();
    let selector = NodeSelector {
        node_selector_terms,
    };
    (!selector.node_selector_terms.is_empty()).then_some(selector)
}

/// The user's affinity and the planned nodes: one term each, of which one must hold.
fn with_ours(users: Option<&Affinity>, placement: &Placement) -> Affinity {
    let mut affinity = users.cloned().unwrap_or_default();
    let mut nodes: Vec<&NodeId> = placement.slots().map(|slot| &slot.node).collect();
    nodes.sort();
    nodes.dedup();
    if nodes.len() <= AFFINITY_NODES_MAX {
        let node_selector_terms = nodes.into_iter().map(term).collect();
        let required = NodeSelector {
            node_selector_terms,
        };
        let ours = affinity.node_affinity.get_or_insert_default();
        ours.required_during_scheduling_ignored_during_execution = Some(required);
    }
    affinity
}

fn term(node: &NodeId) -> NodeSelectorTerm {
    let field = NodeSelectorRequirement {
        key: NAME_FIELD.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_string()]),
    };
    NodeSelectorTerm {
        match_fields: Some(vec![field]),
        match_expressions: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prorata_core::{Devices, Slot};

    fn placement(nodes: &[&str]) -> Placement {
        let slot = |node: &&str| Slot {
            node: (*node).into(),
            devices: Devices::default(),
        };
        nodes.iter().map(slot).collect()
    }

    fn named(affinity: &Affinity) -> Vec<String> {
        let required = affinity.node_affinity.as_ref().unwrap();
        let required = required
            .required_during_scheduling_ignored_during_execution
            .as_ref();
        let terms = required.unwrap().node_selector_terms.iter();
        let fields = terms.flat_map(|term| term.match_fields.as_ref().unwrap());
        fields
            .flat_map(|field| field.values.clone().unwrap())
            .collect()
    }

    #[test]
    fn each_node_is_named_once() {
        assert_eq!(
            named(&with_ours(None, &placement(&["b", "a", "b"]))),
            ["a", "b"]
        );
    }

    #[test]
    fn a_second_plan_replaces_the_first_and_keeps_the_users_wishes() {
        let users: Affinity = serde_json::from_value(json!({
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "preference": {"matchExpressions": [{"key": "k", "operator": "Exists"}]}}
            ]}
        }))
        .unwrap();
        let first = with_ours(Some(&users), &placement(&["a"]));
        assert_eq!(without_ours(Some(&first)), Some(users));
        assert_eq!(
            without_ours(Some(&with_ours(None, &placement(&["a"])))),
            None
        );
    }

    #[test]
    fn a_plan_over_many_nodes_is_left_to_filter() {
        let names: Vec<String> = (0..33).map(|i| format!("n{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(with_ours(None, &placement(&names)), Affinity::default());
    }
}
