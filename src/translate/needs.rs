//! What a pod template demands of its node: node selector, required node affinity, tolerations.
//!
//! What kube-scheduler cannot read either holds nowhere, and tolerates nothing.

use k8s_openapi::api::core::v1 as k8s;
use prorata_core::Needs;
use prorata_core::needs::{Operator, Requirement, Term, Text, Toleration};

use super::node::effect;
use super::plan;

/// What pods of this template demand, with `affinity` in the place of its own; `profile` is that of
/// the MIG instances that they ask for.
pub(super) fn needs(
    template: &k8s::PodSpec,
    affinity: Option<&k8s::Affinity>,
    profile: Option<Text>,
) -> Needs {
    let selector = template.node_selector.iter().flatten();
    let terms = plan::required(affinity).into_iter().flatten();
    let tolerations = template.tolerations.iter().flatten();
    Needs {
        selector: selector
            .map(|(key, value)| (text(key), text(value)))
            .collect(),
        affinity: terms.map(term).collect(),
        tolerations: tolerations.filter_map(toleration).collect(),
        profile,
        ..Needs::default()
    }
}

/// An empty term holds nowhere, and so does one that asks for what cannot be read.
fn term(term: &k8s::NodeSelectorTerm) -> Term {
    let labels = term.match_expressions.iter().flatten();
    let fields = term.match_fields.iter().flatten();
    let all: Option<Vec<Requirement>> = labels.chain(fields).map(requirement).collect();
    Term(all.unwrap_or_default())
}

fn requirement(written: &k8s::NodeSelectorRequirement) -> Option<Requirement> {
    let values = written.values.iter().flatten();
    let texts = || values.clone().map(|value| text(value)).collect();
    let number = || values.clone().next()?.parse().ok();
    let operator = match written.operator.as_str() {
        "In" => Operator::In(texts()),
        "NotIn" => Operator::NotIn(texts()),
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::Gt(number()?),
        "Lt" => Operator::Lt(number()?),
        _ => return None,
    };
    Some(Requirement {
        key: text(&written.key),
        operator,
    })
}

/// `None` for one that tolerates nothing that would keep the pod away.
fn toleration(written: &k8s::Toleration) -> Option<Toleration> {
    let value = match written.operator.as_deref() {
        None | Some("" | "Equal") => Some(text(written.value.as_deref().unwrap_or_default())),
        Some("Exists") => None,
        Some(_) => return None,
    };
    let named = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    Some(Toleration {
        key: named(&written.key).as_deref().map(text),
        value,
        effect: match named(&written.effect) {
            Some(name) => Some(effect(&name)?),
            None => None,
        },
    })
}

fn text(text: &str) -> Text {
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prorata_core::Node;
    use prorata_core::needs::{Effect, Taint};
    use serde_json::{Value, json};

    /// Whether pods of this template may run on a node `a` of disk `ssd` and generation 7 with
    /// the taint `team=red:NoSchedule`.
    fn may(template: Value) -> bool {
        let mut template = template;
        template["containers"] = json!([]);
        let template: k8s::PodSpec = serde_json::from_value(template).unwrap();
        let labels = [("disk", "ssd"), ("generation", "7")];
        let labels = labels.map(|(key, value)| (text(key), text(value)));
        let taint = Taint {
            key: text("team"),
            value: text("red"),
            effect: Effect::NoSchedule,
        };
        let node = Node {
            labels: std::sync::Arc::new(labels.into()),
            taints: [taint].into(),
            ..Node::new("a")
        };
        needs(&template, template.affinity.as_ref(), None).allow(&node)
    }

    fn tolerating(toleration: Value) -> bool {
        may(json!({ "tolerations": [toleration] }))
    }

    /// With the node's taint tolerated.
    fn requiring(terms: Value) -> bool {
        let required = json!({ "nodeSelectorTerms": terms });
        let affinity = json!({ "requiredDuringSchedulingIgnoredDuringExecution": required });
        may(json!({
            "tolerations": [{"operator": "Exists"}],
            "affinity": { "nodeAffinity": affinity },
        }))
    }

    #[test]
    fn tolerations_mean_what_they_mean_to_kube_scheduler() {
        assert!(!may(json!({})));
        assert!(tolerating(json!({"operator": "Exists"})));
        assert!(tolerating(json!({"key": "team", "operator": "Exists"})));
        assert!(tolerating(json!({"key": "team", "value": "red"})));
        assert!(tolerating(
            json!({"key": "team", "operator": "Equal", "value": "red", "effect": "NoSchedule"})
        ));
        assert!(!tolerating(json!({"key": "team"})));
        assert!(!tolerating(json!({"key": "team", "value": "blue"})));
        assert!(!tolerating(json!({"key": "disk", "operator": "Exists"})));
        assert!(!tolerating(
            json!({"operator": "Exists", "effect": "NoExecute"})
        ));
        assert!(!tolerating(
            json!({"operator": "Exists", "effect": "PreferNoSchedule"})
        ));
        assert!(!tolerating(
            json!({"key": "team", "operator": "Gt", "value": "1"})
        ));
    }

    #[test]
    fn selectors_and_terms_mean_what_they_mean_to_kube_scheduler() {
        let selecting = |value: &str| {
            may(json!({
                "tolerations": [{"operator": "Exists"}],
                "nodeSelector": {"disk": value},
            }))
        };
        assert!(selecting("ssd"));
        assert!(!selecting("hdd"));
        let ssd = json!({"key": "disk", "operator": "In", "values": ["ssd"]});
        let newer = json!({"key": "generation", "operator": "Gt", "values": ["7"]});
        let here = json!({"key": "metadata.name", "operator": "In", "values": ["a"]});
        let elsewhere = json!({"key": "metadata.name", "operator": "NotIn", "values": ["a"]});
        assert!(requiring(json!([{"matchExpressions": [ssd]}])));
        assert!(!requiring(json!([{"matchExpressions": [ssd, newer]}])));
        assert!(requiring(
            json!([{"matchExpressions": [newer]}, {"matchFields": [here]}])
        ));
        assert!(!requiring(
            json!([{"matchExpressions": [ssd], "matchFields": [elsewhere]}])
        ));
    }

    #[test]
    fn what_cannot_be_read_holds_nowhere() {
        let generation = |operator: &str, value: &str| {
            let requirement = json!({"key": "generation", "operator": operator, "values": [value]});
            requiring(json!([{"matchExpressions": [requirement]}]))
        };
        assert!(generation("Lt", "8"));
        assert!(!generation("Lt", "eight"));
        assert!(!generation("Near", "7"));
        assert!(!requiring(json!([{}])));
    }
}
