//! What the pods of a template ask for, whoever makes them.

use std::num::NonZeroU32;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Affinity, NodeSelectorTerm, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use prorata_core::{Needs, Others, Resources};

use super::{apart, asked, needs, plan, pod};
use crate::api::labels::WORK;

/// What each pod of a template asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Template {
    /// Whether a container names a resource of GPUs, even with a zero.
    pub(super) names_gpus: bool,
    /// What each requests; nothing where that cannot be planned.
    pub(super) task: Resources,
    /// What each demands of its node.
    pub(super) needs: Arc<Needs>,
    /// By how many of them one node may have more than another; `None`: by any.
    pub(super) skew: Option<NonZeroU32>,
    /// Why it cannot be planned, for its user.
    pub(super) obstacle: Option<String>,
    /// PriorityClass of the pods.
    pub(super) priority_class: Option<String>,
}

impl Template {
    /// Reads a pod spec with its metadata, with `affinity` in the place of its own.
    pub(super) fn new(
        spec: &PodSpec,
        metadata: Option<&ObjectMeta>,
        affinity: Option<&Affinity>,
        gpu_resource: &str,
    ) -> Self {
        let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
        let labels = metadata.and_then(|metadata| metadata.labels.as_ref());
        let amounts = pod::requests(spec, annotations, gpu_resource);
        let amounts = amounts.and_then(|task| Ok((task, pod::others(spec, gpu_resource)?)));
        let (task, others, unreadable) = match amounts {
            Ok((task, others)) => (task, others, None),
            Err(error) => (Resources::ZERO, Others::NONE, Some(error.to_string())),
        };
        let asked = asked::taken(spec, gpu_resource).unwrap_or_default();
        let work = annotations.and_then(|all| all.get(WORK));
        let needs = Needs {
            others,
            per_node: apart::per_node(spec, affinity, labels),
            work: work.map(|work| work.as_str().into()),
            ..needs::needs(spec, affinity, asked.profile())
        };
        let obstacle = unreadable.or_else(|| constraint(affinity));
        Self {
            names_gpus: asked::names(spec, gpu_resource),
            task: match obstacle {
                None => task,
                Some(_) => Resources::ZERO,
            },
            needs: needs.into(),
            skew: apart::skew(spec, labels),
            obstacle,
            priority_class: spec.priority_class_name.clone(),
        }
    }
}

/// What a plan would read otherwise than kube-scheduler does.
fn constraint(affinity: Option<&Affinity>) -> Option<String> {
    let mut terms = plan::required(affinity).into_iter().flatten();
    terms.any(is_misread).then(|| {
        "node affinity by a label called metadata.name in the pod template cannot be planned for: \
         remove it, or name the node in matchFields"
            .to_owned()
    })
}

/// To plans that key is the node's name.
fn is_misread(term: &NodeSelectorTerm) -> bool {
    let mut labels = term.match_expressions.iter().flatten();
    labels.any(|label| label.key == plan::NAME_FIELD)
}
