//! The plan as kube-scheduler reads it: a required node affinity by name in the Job's template.
//!
//! kube-scheduler then examines those nodes alone, and sends only their names to the extender.

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec,
};
use prorata_core::{NodeId, Placement};
use serde_json::{Value, json};

use super::{Form, JobView};
use crate::api::labels;

/// Beyond so many nodes the plan is not written into the template; Filter tells it, and the pod itself where
/// kube-scheduler has not looked at its node.
pub const AFFINITY_NODES_MAX: usize = 32;

/// The field of a node that our terms match.
pub const NAME_FIELD: &str = "metadata.name";

/// The one patch that starts a Job: a JSON Patch that unsuspends it and names its nodes. It
/// applies only to this very Job as it was planned. In the templates of other kinds nobody may
/// name nodes any more; their nodes are told as those of a plan that is too wide.
#[must_use]
pub fn release(job: &JobView, epoch: i64, placement: &Placement) -> Value {
    let suspend = suspend_path(job.form);
    let mut patch = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": job.id.uid()}),
        json!({"op": "test", "path": "/metadata/generation", "value": job.generation}),
        unheld(job),
        last_released(job),
        json!({"op": "test", "path": suspend, "value": true}),
        released(job, epoch),
    ];
    if job.form == Form::Job {
        let affinity = with_ours(job.affinity.as_ref(), placement);
        patch.push(json!({"op": "add", "path": "/spec/template/spec/affinity", "value": affinity}));
    }
    patch.push(json!({"op": "replace", "path": suspend, "value": false}));
    Value::Array(patch)
}

/// The patch after which no patch on its way can start the Job by this admission: it says that it has
/// been started by it, and stopped. It applies only while neither has happened.
#[must_use]
pub fn fence(job: &JobView, epoch: i64) -> Value {
    let suspend = suspend_path(job.form);
    json!([
        {"op": "test", "path": "/metadata/uid", "value": job.id.uid()},
        {"op": "test", "path": suspend, "value": true},
        last_released(job),
        released(job, epoch),
    ])
}

/// The epoch of what was let go without an admission: those start at one.
pub const FREED: i64 = 0;

/// The epoch of what ran before the queue was there. An admission of another Job may have it too.
pub const FOUND: i64 = 1;

/// The patch that says of a Job which nobody ever queued that it runs by an admission.
#[must_use]
pub fn take_up(job: &JobView) -> Value {
    json!([
        {"op": "test", "path": "/metadata/uid", "value": job.id.uid()},
        last_released(job),
        {"op": "test", "path": suspend_path(job.form), "value": false},
        released(job, FOUND),
    ])
}

/// The patch that lets one go that the queue has nothing to do with, and says so.
#[must_use]
pub fn free(job: &JobView) -> Value {
    let suspend = suspend_path(job.form);
    json!([
        {"op": "test", "path": "/metadata/uid", "value": job.id.uid()},
        {"op": "test", "path": "/metadata/generation", "value": job.generation},
        unheld(job),
        {"op": "test", "path": suspend, "value": true},
        released(job, FREED),
        {"op": "replace", "path": suspend, "value": false},
    ])
}

fn released(job: &JobView, epoch: i64) -> Value {
    let key = labels::EPOCH.replace('~', "~0").replace('/', "~1");
    if job.has_annotations {
        json!({"op": "add", "path": format!("/metadata/annotations/{key}"), "value": epoch.to_string()})
    } else {
        let annotations = json!({labels::EPOCH: epoch.to_string()});
        json!({"op": "add", "path": "/metadata/annotations", "value": annotations})
    }
}

/// A hold is an annotation, which no generation counts.
fn unheld(job: &JobView) -> Value {
    annotated(job, labels::HELD, None)
}

/// Nothing has started it since, nor says that it has.
fn last_released(job: &JobView) -> Value {
    let epoch = job.epoch.map(|epoch| epoch.to_string());
    annotated(job, labels::EPOCH, epoch)
}

/// To test for null is to test for absence.
fn annotated(job: &JobView, name: &str, value: Option<String>) -> Value {
    let name = name.replace('~', "~0").replace('/', "~1");
    let path = match job.has_annotations {
        true => format!("/metadata/annotations/{name}"),
        false => "/metadata/annotations".to_owned(),
    };
    json!({"op": "test", "path": path, "value": value})
}

const fn suspend_path(form: Form) -> &'static str {
    match form {
        Form::Composite(kind) => kind.suspend_path(),
        Form::Job | Form::Pod | Form::Gang => "/spec/suspend",
    }
}

/// The patch that takes a start back: the Job is suspended, and may be planned anew once its pods
/// are gone. It applies only while this admission is the one in force.
#[must_use]
pub fn take_back(job: &JobView, epoch: i64) -> Value {
    let key = labels::EPOCH.replace('~', "~0").replace('/', "~1");
    let suspend = suspend_path(job.form);
    json!([
        {"op": "test", "path": "/metadata/uid", "value": job.id.uid()},
        {"op": "test", "path": format!("/metadata/annotations/{key}"), "value": epoch.to_string()},
        {"op": "test", "path": suspend, "value": false},
        {"op": "replace", "path": suspend, "value": true},
    ])
}

/// The terms of which one must hold for a node; `None` where there is no such demand.
pub(super) fn required(affinity: Option<&Affinity>) -> Option<&Vec<NodeSelectorTerm>> {
    let nodes = affinity?.node_affinity.as_ref()?;
    let required = &nodes.required_during_scheduling_ignored_during_execution;
    Some(&required.as_ref()?.node_selector_terms)
}

/// Whether the plan that was written into a pod lets it on this node; true where none was.
#[must_use]
pub fn leads_to(spec: &PodSpec, node: &NodeId) -> bool {
    let Some(terms) = required(spec.affinity.as_ref()) else {
        return true;
    };
    let has = |field: &NodeSelectorRequirement| {
        let values = field.values.as_ref();
        field.key != NAME_FIELD
            || values.is_some_and(|v| v.iter().any(|name| name == node.as_str()))
    };
    let leads = |term: &NodeSelectorTerm| term.match_fields.iter().flatten().all(has);
    terms.iter().any(leads)
}

/// The affinity of a template that an earlier plan has been written into, as it was before;
/// `None` where there was none.
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

/// Each term once, without the node that was added to it; none that was a node and nothing else.
fn users_terms(selector: NodeSelector) -> Option<NodeSelector> {
    let terms = selector.node_selector_terms.into_iter();
    let mut node_selector_terms: Vec<_> = terms.filter_map(users_term).collect();
    node_selector_terms.dedup();
    let selector = NodeSelector {
        node_selector_terms,
    };
    (!selector.node_selector_terms.is_empty()).then_some(selector)
}

fn users_term(mut term: NodeSelectorTerm) -> Option<NodeSelectorTerm> {
    let is_ours =
        |field: &mut NodeSelectorRequirement| field.key == NAME_FIELD && field.operator == "In";
    let fields = term.match_fields.as_mut();
    if fields.and_then(|fields| fields.pop_if(is_ours)).is_none() {
        return Some(term);
    }
    term.match_fields = term.match_fields.filter(|fields| !fields.is_empty());
    (term != NodeSelectorTerm::default()).then_some(term)
}

/// The user's affinity and the planned nodes: both must hold. Of terms one must hold, so each of
/// the user's goes with each node.
fn with_ours(users: Option<&Affinity>, placement: &Placement) -> Affinity {
    let mut affinity = users.cloned().unwrap_or_default();
    let mut nodes: Vec<&NodeId> = placement.slots().map(|slot| &slot.node).collect();
    nodes.sort();
    nodes.dedup();
    // An empty one of the user's holds nowhere.
    let any = NodeSelectorTerm::default();
    let users: Vec<&NodeSelectorTerm> = match required(users) {
        Some(terms) => terms.iter().filter(|term| **term != any).collect(),
        None => vec![&any],
    };
    // Nodes that somebody names would be taken for ours if ours were not there.
    let names_nodes = users.iter().any(|term| term.match_fields.is_some());
    if nodes.len() <= AFFINITY_NODES_MAX || names_nodes {
        let users = users.into_iter();
        let both = users.flat_map(|term| nodes.iter().filter_map(|node| on(term, node)));
        let node_selector_terms = both.collect();
        let required = NodeSelector {
            node_selector_terms,
        };
        let ours = affinity.node_affinity.get_or_insert_default();
        ours.required_during_scheduling_ignored_during_execution = Some(required);
    }
    affinity
}

/// The same term for this node alone; `None` where it names another.
fn on(term: &NodeSelectorTerm, node: &NodeId) -> Option<NodeSelectorTerm> {
    let mut fields = term.match_fields.clone().unwrap_or_default();
    let mut names = fields.iter().filter(|field| field.operator == "In");
    let here = |values: &Vec<String>| values.iter().any(|name| name == node.as_str());
    if !names.all(|field| field.values.as_ref().is_some_and(here)) {
        return None;
    }
    fields.push(NodeSelectorRequirement {
        key: NAME_FIELD.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_string()]),
    });
    Some(NodeSelectorTerm {
        match_fields: Some(fields),
        match_expressions: term.match_expressions.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use prorata_core::{Devices, Slot};

    fn placement(nodes: &[&str]) -> Placement {
        let slot = |node: &&str| Slot::whole((*node).into(), Devices::default());
        nodes.iter().map(slot).collect()
    }

    fn named(affinity: &Affinity) -> Vec<String> {
        let terms = required(Some(affinity)).unwrap().iter();
        let fields = terms.flat_map(|term| term.match_fields.as_ref().unwrap());
        fields
            .flat_map(|field| field.values.clone().unwrap())
            .collect()
    }

    fn suspended(annotations: Value) -> JobView {
        let job = json!({
            "metadata": {"namespace": "red", "name": "j", "uid": "j", "annotations": annotations},
            "spec": {"suspend": true, "template": {"spec": {"containers": []}}},
        });
        JobView::new(&serde_json::from_value(job).unwrap(), "nvidia.com/gpu")
    }

    fn has(patch: &Value, operation: &Value) -> bool {
        patch.as_array().unwrap().contains(operation)
    }

    #[test]
    fn what_was_fenced_starts_no_more() {
        let epoch = "/metadata/annotations/internal.prorata.dev~1epoch";
        let job = suspended(json!({labels::EPOCH: "3"}));
        let was_last = json!({"op": "test", "path": epoch, "value": "3"});
        let start = release(&job, 4, &placement(&["a"]));
        let fence = fence(&job, 4);
        assert!(has(&start, &was_last) && has(&fence, &was_last));
        assert!(has(
            &fence,
            &json!({"op": "add", "path": epoch, "value": "4"})
        ));
        let stays = json!({"op": "test", "path": "/spec/suspend", "value": true});
        assert!(has(&fence, &stays));
    }

    #[test]
    fn what_was_never_started_says_so() {
        let bare = json!({"op": "test", "path": "/metadata/annotations", "value": null});
        let start = |job: &JobView| release(job, 1, &placement(&["a"]));
        assert!(has(&start(&suspended(Value::Null)), &bare));
        let epoch = "/metadata/annotations/internal.prorata.dev~1epoch";
        let never = json!({"op": "test", "path": epoch, "value": null});
        assert!(has(&start(&suspended(json!({"a": "b"}))), &never));
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

    fn demanding(terms: Value) -> Affinity {
        let required = json!({"nodeSelectorTerms": terms});
        let nodes = json!({"requiredDuringSchedulingIgnoredDuringExecution": required});
        serde_json::from_value(json!({"nodeAffinity": nodes})).unwrap()
    }

    fn field(operator: &str, node: &str) -> Value {
        json!({"key": "metadata.name", "operator": operator, "values": [node]})
    }

    #[test]
    fn each_of_the_users_terms_goes_with_each_node_and_comes_back() {
        let (ssd, new) = (
            json!([{"key": "disk", "operator": "In", "values": ["ssd"]}]),
            json!([{"key": "generation", "operator": "Gt", "values": ["6"]}]),
        );
        let users = demanding(json!([{"matchExpressions": ssd}, {"matchExpressions": new}]));
        let both = with_ours(Some(&users), &placement(&["b", "a"]));
        let expected = demanding(json!([
            {"matchExpressions": ssd, "matchFields": [field("In", "a")]},
            {"matchExpressions": ssd, "matchFields": [field("In", "b")]},
            {"matchExpressions": new, "matchFields": [field("In", "a")]},
            {"matchExpressions": new, "matchFields": [field("In", "b")]},
        ]));
        assert_eq!(both, expected);
        assert_eq!(without_ours(Some(&both)), Some(users));
    }

    /// Only those who may break the glass can write such terms.
    #[test]
    fn nodes_that_somebody_names_are_not_taken_for_ours() {
        let users = demanding(json!([
            {"matchFields": [field("In", "a")]},
            {"matchFields": [field("NotIn", "c")]},
            {},
        ]));
        let names: Vec<String> = (0..33).map(|i| format!("n{i}")).collect();
        let many = names.iter().map(String::as_str).chain(["a"]);
        let many = with_ours(Some(&users), &placement(&many.collect::<Vec<_>>()));
        assert_eq!(required(Some(&many)).unwrap().len(), 1 + 34);
        let mut expected = required(Some(&users)).unwrap().clone();
        expected.pop();
        let back = without_ours(Some(&many)).unwrap();
        assert_eq!(required(Some(&back)), Some(&expected));
    }

    #[test]
    fn a_plan_over_many_nodes_is_left_to_filter() {
        let names: Vec<String> = (0..33).map(|i| format!("n{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(with_ours(None, &placement(&names)), Affinity::default());
    }
}
