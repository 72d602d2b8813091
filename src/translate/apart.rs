//! How far pods of one template must stay from each other, as kube-scheduler will have it: host
//! ports, anti-affinity to their own kind, and an even spread over nodes.
//!
//! What they have against pods of others, or want of zones and volumes, only kube-scheduler knows.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use k8s_openapi::api::core::v1::{Affinity, PodAffinityTerm, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};

/// Labels of the pods.
type Labels = BTreeMap<String, String>;

/// The label that has another value on each node.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// How many pods of this template may be on one node; `None`: as many as fit. `affinity` stands in
/// the place of the template's own.
pub(super) fn per_node(
    template: &PodSpec,
    affinity: Option<&Affinity>,
    labels: Option<&Labels>,
) -> Option<NonZeroU32> {
    let apart = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let terms = apart.and_then(|apart| {
        apart
            .required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let mut terms = terms.into_iter().flatten();
    let is_alone = has_host_ports(template) || terms.any(|term| is_about_itself(term, labels));
    is_alone.then_some(NonZeroU32::MIN)
}

/// By how many the pods of this template on one node may be more than on another; `None`: by any.
pub(super) fn skew(template: &PodSpec, labels: Option<&Labels>) -> Option<NonZeroU32> {
    let all = template.topology_spread_constraints.iter().flatten();
    let own = all.filter(|spread| {
        let is_hard = spread.when_unsatisfiable == "DoNotSchedule";
        is_hard
            && spread.topology_key == HOSTNAME
            && selects(spread.label_selector.as_ref(), labels)
    });
    let skews = own.filter_map(|spread| u32::try_from(spread.max_skew).ok());
    skews.filter_map(NonZeroU32::new).min()
}

/// In a network namespace of their own, pods share no port unless they ask for one of the node's.
fn has_host_ports(template: &PodSpec) -> bool {
    let containers = template.containers.iter();
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports.any(|port| template.host_network == Some(true) || port.host_port.unwrap_or_default() > 0)
}

fn is_about_itself(term: &PodAffinityTerm, labels: Option<&Labels>) -> bool {
    let names_namespaces = term.namespaces.as_ref().is_some_and(|all| !all.is_empty());
    term.topology_key == HOSTNAME
        && !names_namespaces
        && term.namespace_selector.is_none()
        && selects(term.label_selector.as_ref(), labels)
}

/// Whether a selector is of pods with these labels. None at all is of none.
fn selects(selector: Option<&LabelSelector>, labels: Option<&Labels>) -> bool {
    let none = Labels::new();
    let selector = selector.and_then(|selector| Selector::try_from(selector.clone()).ok());
    selector.is_some_and(|selector| selector.matches(labels.unwrap_or(&none)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(mut template: Value) -> (Option<u32>, Option<u32>) {
        if template["containers"].is_null() {
            template["containers"] = json!([{"name": "c", "ports": [{"containerPort": 80}]}]);
        }
        let template: PodSpec = serde_json::from_value(template).unwrap();
        let labels = Labels::from([("app".to_owned(), "train".to_owned())]);
        let per_node = per_node(&template, template.affinity.as_ref(), Some(&labels));
        let skew = skew(&template, Some(&labels));
        (per_node.map(NonZeroU32::get), skew.map(NonZeroU32::get))
    }

    fn apart(term: Value) -> Option<u32> {
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]});
        read(json!({"affinity": {"podAntiAffinity": required}})).0
    }

    #[test]
    fn pods_that_repel_their_own_kind_are_alone_on_their_node() {
        let own = json!({"matchLabels": {"app": "train"}});
        let kind =
            json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["train"]}]});
        let others = json!({"matchLabels": {"app": "serve"}});
        let term =
            |selector: &Value, key: &str| json!({"labelSelector": selector, "topologyKey": key});
        assert_eq!(apart(term(&own, HOSTNAME)), Some(1));
        assert_eq!(apart(term(&kind, HOSTNAME)), Some(1));
        assert_eq!(apart(term(&json!({}), HOSTNAME)), Some(1), "all pods");
        assert_eq!(apart(term(&others, HOSTNAME)), None);
        assert_eq!(apart(term(&own, "zone")), None);
        assert_eq!(apart(json!({"topologyKey": HOSTNAME})), None, "no pods");
        let mut elsewhere = term(&own, HOSTNAME);
        elsewhere["namespaces"] = json!(["other"]);
        assert_eq!(apart(elsewhere), None);
    }

    #[test]
    fn ports_of_the_node_are_had_once_each() {
        let with = |port: Value, network: bool| {
            let containers = json!([{"name": "c", "ports": [port]}]);
            read(json!({"containers": containers, "hostNetwork": network})).0
        };
        assert_eq!(with(json!({"containerPort": 80}), false), None);
        assert_eq!(
            with(json!({"containerPort": 80, "hostPort": 80}), false),
            Some(1)
        );
        assert_eq!(with(json!({"containerPort": 80}), true), Some(1));
        assert_eq!(read(json!({"hostNetwork": true, "containers": []})).0, None);
    }

    #[test]
    fn an_even_spread_over_nodes_is_read() {
        let spread = |key: &str, when: &str| {
            let selector = json!({"matchLabels": {"app": "train"}});
            let spread = json!({"maxSkew": 2, "topologyKey": key, "whenUnsatisfiable": when,
                                "labelSelector": selector});
            read(json!({"topologySpreadConstraints": [spread]})).1
        };
        assert_eq!(spread(HOSTNAME, "DoNotSchedule"), Some(2));
        assert_eq!(spread(HOSTNAME, "ScheduleAnyway"), None);
        assert_eq!(spread("zone", "DoNotSchedule"), None);
    }
}
