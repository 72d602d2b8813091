//! Pods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use k8s_openapi::api::core::v1 as k8s;
use kube::ResourceExt;
use prorata_core::needs::Text;
use prorata_core::{NodeId, Others, Resource, Resources, Time};
use prorata_simulator::quantity::{self, QuantityError};

use super::asked::{self, Annotations, AskError, Unit};
use super::gated::{Gated, Left};
use super::{annotation, controller, moment, node::counted, version};
use crate::api::extender_v1::overlooked_in;
use crate::api::resources;
use crate::kinds::Composite;

/// Annotation and label by which the Job controller numbers the pods of an indexed Job.
const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// How many pods a node takes is a resource of this name.
pub(super) static PODS: LazyLock<Text> = LazyLock::new(|| "pods".into());

/// What is not counted by a unit of ours is counted in whole ones, as memory is in bytes.
pub(super) const UNIT: Resource = Resource::Memory;

/// What the controller keeps of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Its UID.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its resourceVersion.
    pub version: u64,
    /// UID of the Job, or object of an operator's, that controls it; of one that came into the queue by itself, of what it
    /// queues as.
    pub job: Option<String>,
    /// UID of the Job, or object of an operator's, that made it, whatever that is a part of.
    pub maker: Option<String>,
    /// Its completion index, if the Job is indexed.
    pub index: Option<u32>,
    /// Where it is bound.
    pub node: Option<NodeId>,
    /// When it was bound.
    pub bound: Option<Time>,
    /// What it takes there. Of a card that is split or partitioned it takes what its `unit` is there.
    pub takes: Resources,
    /// In what it has its GPUs.
    pub unit: Unit,
    /// What else it takes there.
    pub others: Others,
    /// Where it has been told to go.
    pub nominated: Option<NodeId>,
    /// What kube-scheduler says of one that it cannot place.
    pub unschedulable: Option<String>,
    /// The node of its place, where kube-scheduler has not looked at it.
    pub overlooked: Option<NodeId>,
    /// It is being deleted.
    pub is_leaving: bool,
    /// Succeeded or failed: its containers are gone and its resources free.
    pub is_over: bool,
    /// More of it, if it came into the queue by itself.
    pub gated: Option<Arc<Gated>>,
    /// More of it, if its Job does not control it any more.
    pub left: Option<Left>,
}

impl PodView {
    /// What the controller keeps of `pod`. A request that cannot be read counts as all there is.
    #[must_use]
    pub fn new(pod: &k8s::Pod, gpu_resource: &str) -> Self {
        let gated = Gated::new(pod, gpu_resource).map(Arc::new);
        let left = Left::new(pod, gpu_resource);
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        // Who makes a pod can have it say what controls it, unless the API server has seen to it.
        let owner = controller(&pod.metadata).filter(|_| gated.is_none() && left.is_none());
        let job = owner.filter(|owner| {
            owner.kind == "Job" || Composite::of_owner(&owner.api_version, &owner.kind).is_some()
        });
        let index = annotation(&pod.metadata, COMPLETION_INDEX);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let all = counted(gpu_resource).into_iter();
        let all = all.fold(Resources::ZERO, |sum, (r, _)| {
            sum.with(r, Resources::MAX_AMOUNT)
        });
        let spec = pod.spec.as_ref();
        let annotations = pod.metadata.annotations.as_ref();
        let takes = spec.map(|spec| {
            let asked = requests(spec, annotations, gpu_resource);
            asked.unwrap_or_else(|_| taken(spec, gpu_resource).unwrap_or(all))
        });
        let unit = spec.and_then(|spec| Some(asked::taken(spec, gpu_resource).ok()?.unit));
        let status = pod.status.as_ref();
        let nominated = status.and_then(|status| status.nominated_node_name.as_deref());
        Self {
            uid: pod.uid().unwrap_or_default(),
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            version: version(&pod.metadata),
            job: job.map(|owner| owner.uid.clone()),
            maker: job.map(|owner| owner.uid.clone()),
            index: index.and_then(|text| text.parse().ok()),
            node: node.map(NodeId::from),
            bound: bound(pod),
            takes: takes.unwrap_or_default(),
            unit: unit.unwrap_or_default(),
            // Only kubelet would let one in whose amounts cannot be read.
            others: pod
                .spec
                .as_ref()
                .and_then(|spec| others(spec, gpu_resource).ok())
                .unwrap_or_default(),
            nominated: nominated.map(NodeId::from),
            unschedulable: unplaced(pod, "Unschedulable").map(str::to_owned),
            overlooked: unplaced(pod, "SchedulerError")
                .and_then(overlooked_in)
                .map(NodeId::from),
            is_leaving: pod.metadata.deletion_timestamp.is_some(),
            is_over: matches!(phase, Some("Succeeded" | "Failed")),
            gated,
            left,
        }
    }
}

fn bound(pod: &k8s::Pod) -> Option<Time> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let scheduled = conditions.find(|c| c.type_ == "PodScheduled" && c.status == "True")?;
    scheduled.last_transition_time.as_ref().map(moment)
}

/// What kube-scheduler says of a pod that it has not placed for this reason.
fn unplaced<'a>(pod: &'a k8s::Pod, reason: &str) -> Option<&'a str> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let scheduled = conditions.find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    let is_so = scheduled.reason.as_deref() == Some(reason);
    is_so.then(|| scheduled.message.as_deref().unwrap_or_default())
}

/// What a pod of this spec with these annotations requests, as kube-scheduler counts it: containers
/// and sidecars together, or the greatest moment of initialisation, whichever is more; and the
/// overhead. Of a card that is split, what its slot has to be at least.
///
/// # Errors
/// When an amount cannot be read, or GPUs are asked for in two ways.
pub fn requests(
    spec: &k8s::PodSpec,
    annotations: Option<&Annotations>,
    gpu_resource: &str,
) -> Result<Resources, AskError> {
    let asked = asked::gpus(spec, annotations, gpu_resource)?;
    Ok(with_plain(spec, &asked.gpus)?)
}

/// The same, however large its slot has to be.
fn taken(spec: &k8s::PodSpec, gpu_resource: &str) -> Result<Resources, QuantityError> {
    with_plain(spec, &asked::taken(spec, gpu_resource)?.gpus)
}

/// These GPUs, with the CPU and memory that a pod requests.
fn with_plain(spec: &k8s::PodSpec, gpus: &Resources) -> Result<Resources, QuantityError> {
    let mut plain = [Resource::Cpu, Resource::Memory].into_iter();
    plain.try_fold(*gpus, |total, resource| {
        Ok(total.with(resource, request(spec, resource, resource.name())?))
    })
}

/// What a pod of this spec requests besides, by name, in Kubernetes' own whole units; and that it is
/// one of the pods of which a node takes only so many.
///
/// # Errors
/// When an amount cannot be read.
pub(super) fn others(spec: &k8s::PodSpec, gpu_resource: &str) -> Result<Others, QuantityError> {
    let containers = spec.containers.iter();
    let containers = containers.chain(spec.init_containers.iter().flatten());
    let asked = containers.filter_map(|container| container.resources.as_ref());
    let asked = asked.chain(spec.resources.as_ref());
    let named = asked.flat_map(|r| r.requests.iter().chain(&r.limits));
    let named = named.chain(&spec.overhead).flat_map(BTreeMap::keys);
    let is_counted =
        |name: &str| matches!(name, "cpu" | "memory") || resources::is_gpu(name, gpu_resource);
    let names: BTreeSet<&str> = named
        .map(String::as_str)
        .filter(|name| !is_counted(name))
        .collect();
    let amount = |name: &str| -> Result<(Text, u64), QuantityError> {
        Ok((name.into(), request(spec, UNIT, name)?))
    };
    let asked = names.into_iter().map(amount);
    asked.chain([Ok((PODS.clone(), 1))]).collect()
}

/// What it requests of one resource, by the name that Kubernetes has for it.
pub(super) fn request(
    spec: &k8s::PodSpec,
    resource: Resource,
    key: &str,
) -> Result<u64, QuantityError> {
    let mut sidecars = 0_u64;
    let mut initialisation = 0;
    for container in spec.init_containers.iter().flatten() {
        let amount = of_container(container, resource, key)?;
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars += amount;
            initialisation = initialisation.max(sidecars);
        } else {
            initialisation = initialisation.max(sidecars + amount);
        }
    }
    let mut running = sidecars;
    for container in &spec.containers {
        running += of_container(container, resource, key)?;
    }
    // What is asked for the pod as a whole stands for its containers'.
    let whole = spec
        .resources
        .as_ref()
        .and_then(|r| r.requests.as_ref()?.get(key));
    if let Some(whole) = whole {
        running = quantity::parse_up(resource, &whole.0)?;
        initialisation = 0;
    }
    let overhead = spec.overhead.as_ref().and_then(|o| o.get(key));
    let overhead = overhead.map_or(Ok(0), |q| quantity::parse_up(resource, &q.0))?;
    Ok(running.max(initialisation) + overhead)
}

/// A limit without a request stands for the request: Kubernetes fills it in when the pod is made.
fn of_container(
    container: &k8s::Container,
    resource: Resource,
    key: &str,
) -> Result<u64, QuantityError> {
    let named = container.resources.as_ref().and_then(|resources| {
        let request = resources.requests.as_ref().and_then(|r| r.get(key));
        request.or_else(|| resources.limits.as_ref()?.get(key))
    });
    named.map_or(Ok(0), |q| quantity::parse_up(resource, &q.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn total(spec: Value) -> Resources {
        let spec = serde_json::from_value(spec).unwrap();
        requests(&spec, None, "nvidia.com/gpu").unwrap()
    }

    fn asking(requests: Value) -> Value {
        json!({"name": "c", "resources": {"requests": requests}})
    }

    #[test]
    fn containers_add_up_and_a_limit_stands_for_a_request() {
        let limited = json!({"name": "c", "resources": {"limits": {"nvidia.com/gpu": "2"}}});
        let spec = json!({"containers": [asking(json!({"cpu": "500m"})), limited]});
        assert_eq!(total(spec), Resources::gpus(2).with(Resource::Cpu, 500));
    }

    #[test]
    fn initialisation_counts_where_it_is_more() {
        let mut sidecar = asking(json!({"cpu": 1}));
        sidecar["restartPolicy"] = "Always".into();
        let spec = json!({
            "initContainers": [sidecar, asking(json!({"cpu": 4}))],
            "containers": [asking(json!({"cpu": 2}))],
            "overhead": {"cpu": "250m"},
        });
        assert_eq!(total(spec), Resources::ZERO.with(Resource::Cpu, 5250));
    }

    #[test]
    fn whatever_else_is_asked_for_is_counted_by_its_name() {
        let mut setup = asking(json!({"rdma/hca": 2, "nvidia.com/gpu": 1}));
        setup["resources"]["limits"] = json!({"hugepages-2Mi": "4Mi"});
        let spec = json!({
            "initContainers": [setup],
            "containers": [asking(json!({"rdma/hca": 1, "ephemeral-storage": "1Gi", "cpu": 1}))],
        });
        let others = others(&serde_json::from_value(spec).unwrap(), "nvidia.com/gpu").unwrap();
        let others: Vec<(&str, u64)> = others.iter().map(|(n, a)| (&**n, a)).collect();
        let expected = [
            ("ephemeral-storage", 1 << 30),
            ("hugepages-2Mi", 4 << 20),
            ("pods", 1),
            ("rdma/hca", 2),
        ];
        assert_eq!(others, expected);
    }

    #[test]
    fn fractions_of_a_byte_round_up() {
        let spec = json!({"containers": [asking(json!({"memory": "1500m"}))]});
        assert_eq!(total(spec), Resources::ZERO.with(Resource::Memory, 2));
    }
}
