//! What the pods of a template ask for, whoever makes them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Affinity, NodeSelectorTerm, PodSpec};
use prorata_core::{Needs, Others, Resources};

use super::asked::{self, Annotations};
use super::{needs, plan, pod};
use crate::api::labels;

/// What each pod of a template asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Template {
    /// Whether a container names a resource of GPUs, even with a zero.
    pub(super) names_gpus: bool,
    /// What each requests; nothing where that cannot be planned.
    pub(super) task: Resources,
    /// What each demands of its node.
    pub(super) needs: Arc<Needs>,
    /// Why it cannot be planned, for its user.
    pub(super) obstacle: Option<String>,
    /// PriorityClass of the pods.
    pub(super) priority_class: Option<String>,
}

impl Template {
    /// Reads a pod spec with its annotations, with `affinity` in the place of its own.
    pub(super) fn new(
        spec: &PodSpec,
        annotations: Option<&Annotations>,
        affinity: Option<&Affinity>,
        gpu_resource: &str,
    ) -> Self {
        let amounts = pod::requests(spec, annotations, gpu_resource);
        let amounts = amounts.and_then(|task| Ok((task, pod::others(spec, gpu_resource)?)));
        let (task, others, unreadable) = match amounts {
            Ok((task, others)) => (task, others, None),
            Err(error) => (Resources::ZERO, Others::NONE, Some(error.to_string())),
        };
        let asked = asked::taken(spec, gpu_resource).unwrap_or_default();
        let work = annotations.and_then(|all| all.get(labels::WORK));
        let needs = Needs {
            others,
            work: work.map(|work| work.as_str().into()),
            ..needs::needs(spec, affinity, asked.profile())
        };
        let obstacle = unreadable.or_else(|| constraint(spec, affinity));
        Self {
            names_gpus: asked::names(spec, gpu_resource),
            task: match obstacle {
                None => task,
                Some(_) => Resources::ZERO,
            },
            needs: needs.into(),
            obstacle,
            priority_class: spec.priority_class_name.clone(),
        }
    }
}

/// What a plan does not respect yet. To start such a Job would be to place it where
/// kube-scheduler may refuse it.
fn constraint(template: &PodSpec, affinity: Option<&Affinity>) -> Option<String> {
    let mut spreads = template.topology_spread_constraints.iter().flatten();
    let spreads = spreads.any(|spread| spread.when_unsatisfiable == "DoNotSchedule");
    let mut ports = template
        .containers
        .iter()
        .flat_map(|c| c.ports.iter().flatten());
    let ports = ports.any(|port| port.host_port.is_some_and(|port| port > 0));
    let found = [
        (
            affinity.is_some_and(is_about_pods),
            "podAffinity or podAntiAffinity (required…)",
        ),
        (
            plan::required(affinity)
                .into_iter()
                .flatten()
                .any(is_misread),
            "node affinity by a label called metadata.name",
        ),
        (spreads, "topologySpreadConstraints (DoNotSchedule)"),
        (
            ports || template.host_network == Some(true),
            "hostPort or hostNetwork",
        ),
    ];
    let (_, field) = found.into_iter().find(|(is_there, _)| *is_there)?;
    Some(format!(
        "{field} in the pod template cannot be planned for yet: remove it"
    ))
}

/// To plans that key is the node's name.
fn is_misread(term: &NodeSelectorTerm) -> bool {
    let mut labels = term.match_expressions.iter().flatten();
    labels.any(|label| label.key == plan::NAME_FIELD)
}

fn is_about_pods(affinity: &Affinity) -> bool {
    let pods = affinity.pod_affinity.as_ref();
    let apart = affinity.pod_anti_affinity.as_ref();
    let pods = pods.and_then(|a| {
        a.required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let apart = apart.and_then(|a| {
        a.required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    pods.is_some() || apart.is_some()
}
