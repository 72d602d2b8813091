//! What the extender answers: a pure function of the view and the question.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;
use prorata_core::{NodeId, Resource, Resources};

use super::Seats;
use crate::api::extender_v1::{Args, FilterResult, Owner, Pod};
use crate::plan::Plan;
use crate::translate;
use crate::view::View;

const NOT_CACHE_CAPABLE: &str = "Prorata: set nodeCacheCapable: true for this extender in the kube-scheduler configuration; whole nodes are not read";
const NOT_READY: &str = "Prorata: not ready yet";
const NOT_ADMITTED: &str = "Prorata: this pod's job has not been admitted";
const NOT_PLANNED: &str = "Prorata: this pod's job has its place on another node";
const NO_ROOM: &str = "Prorata: the GPUs here are taken or promised";

const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// What answers depend on besides the view.
#[derive(Clone, Debug)]
pub struct FilterPolicy {
    /// The resource that is managed.
    pub gpu_resource: String,
}

/// Which of the nodes asked about this pod may take. Without a view yet, none.
#[must_use]
pub fn answer<'a>(
    view: Option<&View>,
    seats: &Seats,
    policy: &FilterPolicy,
    args: &'a Args,
) -> FilterResult<'a> {
    let Some(names) = &args.node_names else {
        return FilterResult {
            error: NOT_CACHE_CAPABLE,
            ..FilterResult::default()
        };
    };
    // An error is tried again soon; a refusal waits for something to happen in the cluster.
    let Some(view) = view else {
        return FilterResult {
            error: NOT_READY,
            ..FilterResult::default()
        };
    };
    let pod = &args.pod;
    // What such a pod says of its owner may be forged.
    if let Some(group) = view.groups.get(&pod.metadata.uid) {
        return grouped(view, seats, policy, group, pod, names);
    }
    let owner = pod
        .metadata
        .owner_references
        .iter()
        .find(|o| o.controller && o.kind == "Job");
    let plan = owner.and_then(|owner| view.plans.get(&owner.uid));
    // Owners are of the same namespace; a pod that claims another one's is nobody's.
    let plan = plan.filter(|plan| plan.job().namespace() == pod.metadata.namespace);
    match plan {
        Some(plan) => planned(view, seats, plan, pod, names),
        None if waits(view, pod, owner) => refuse(names, NOT_ADMITTED),
        None => unmanaged(view, policy, pod, names),
    }
}

/// A pod that waits in the queue itself: its planned node, or any other with room if kube-scheduler
/// would not have it there. It was let go for good, so it must not wait for a node that is gone.
fn grouped<'a>(
    view: &View,
    seats: &Seats,
    policy: &FilterPolicy,
    group: &str,
    pod: &Pod,
    names: &'a [String],
) -> FilterResult<'a> {
    let queued = view.namespaces.contains_key(&pod.metadata.namespace);
    let Some(plan) = view.plans.get(group) else {
        let waits = queued && !view.bypassing.contains(group);
        // Its gate is gone, so the view is about to say why.
        return match waits {
            true => FilterResult {
                error: NOT_ADMITTED,
                ..FilterResult::default()
            },
            false => unmanaged(view, policy, pod, names),
        };
    };
    let told = pod.status.nominated_node_name.as_deref().map(NodeId::from);
    let told = told.filter(|node| plan.placement().slots().any(|slot| slot.node == *node));
    let seat = || plan.node(seats.tell(plan, &pod.metadata.uid)?).cloned();
    let node = told.or_else(seat);
    let found = names
        .iter()
        .find(|name| node.as_ref().is_some_and(|n| n.as_str() == *name));
    match found {
        Some(name) => FilterResult {
            node_names: vec![name],
            ..FilterResult::default()
        },
        None => unmanaged(view, policy, pod, names),
    }
}

/// Whether the queue has not let this pod through yet. In a tenant's namespace only the Job
/// controller makes pods that ask for GPUs, and whoever may bypass the queue.
fn waits(view: &View, pod: &Pod, owner: Option<&Owner>) -> bool {
    let queued = view.namespaces.contains_key(&pod.metadata.namespace);
    queued && owner.is_some_and(|owner| !view.bypassing.contains(&owner.uid))
}

/// A pod of an admitted Job: its planned node alone.
fn planned<'a>(
    view: &View,
    seats: &Seats,
    plan: &Plan,
    pod: &Pod,
    names: &'a [String],
) -> FilterResult<'a> {
    if view.snapshot.placement(plan.job()).is_none() {
        return refuse(names, NOT_ADMITTED);
    }
    let index = pod.metadata.annotations.get(COMPLETION_INDEX);
    let index = index.and_then(|text| plan.seat_of_index(text.parse().ok()?));
    let seat = index.or_else(|| seats.tell(plan, &pod.metadata.uid));
    let node = seat.and_then(|seat| plan.node(seat));
    let found = names
        .iter()
        .find(|name| node.is_some_and(|node| node.as_str() == *name));
    match found {
        Some(name) => FilterResult {
            node_names: vec![name],
            ..FilterResult::default()
        },
        None => refuse(names, NOT_PLANNED),
    }
}

/// A GPU pod that is not ours to queue: any room that is neither taken nor assumed. On nodes that
/// take no new work kube-scheduler has the last word, for there are pods that tolerate it.
fn unmanaged<'a>(
    view: &View,
    policy: &FilterPolicy,
    pod: &Pod,
    names: &'a [String],
) -> FilterResult<'a> {
    let gpus = gpus(pod, &policy.gpu_resource);
    let has_room = |name: &&String| {
        let unused = view.snapshot.unused(&NodeId::from(name.as_str()));
        unused.is_none_or(|unused| gpus.fits_in(&unused))
    };
    let fitting: Vec<&str> = names.iter().filter(has_room).map(String::as_str).collect();
    let failed_nodes = match fitting[..] {
        [] => names.iter().map(|name| (name.as_str(), NO_ROOM)).collect(),
        _ => BTreeMap::new(),
    };
    FilterResult {
        node_names: fitting,
        failed_nodes,
        ..FilterResult::default()
    }
}

/// What the pod asks for of the managed resource; kube-scheduler counts the others itself. What
/// cannot be read asks for more than there is.
fn gpus(pod: &Pod, gpu_resource: &str) -> Resources {
    let spec: Option<PodSpec> = serde_json::from_str(pod.spec.get()).ok();
    let requests = spec.and_then(|spec| translate::requests(&spec, gpu_resource).ok());
    let milli = requests.map_or(Resources::MAX_AMOUNT, |requests| {
        requests.get(Resource::Gpu)
    });
    Resources::ZERO.with(Resource::Gpu, milli)
}

fn refuse<'a>(names: &'a [String], why: &'static str) -> FilterResult<'a> {
    FilterResult {
        failed_and_unresolvable_nodes: names.iter().map(|name| (name.as_str(), why)).collect(),
        ..FilterResult::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prorata_core::{
        Decision, Event, Hold, Job, JobId, Node, Place, Policy, Scheduler, Tenant, Time,
    };
    use serde_json::{Value, json};

    /// One node of 4 GPUs, of which the gang `red/train` of two pods is to have 1 each.
    fn view(waiting: bool) -> View {
        // One task on each node, where they would otherwise go together.
        let mut core = Scheduler::new(Policy {
            place: Place::FirstFit,
            ..Policy::default()
        });
        let node = |name: &str, gpus| Node {
            allocatable: Resources::gpus(gpus),
            ..Node::new(name)
        };
        let id = JobId::new("red", "train", "job-uid");
        let job = Job {
            hold: waiting.then_some(Hold::User),
            ..Job::new(id, "red".into(), 2, Resources::gpus(1))
        };
        for fact in [
            Event::NodeSeen(node("a", 1)),
            Event::NodeSeen(node("b", 3)),
            Event::TenantChanged(Tenant::new("red")),
            Event::JobSubmitted(job),
        ] {
            core.observe(Time::ZERO, fact);
        }
        let cycle = core.cycle(Time::ZERO);
        let mut view = View {
            snapshot: core.snapshot(),
            plans: Default::default(),
            bypassing: Default::default(),
            groups: Default::default(),
            namespaces: Default::default(),
        };
        view.namespaces.insert_mut("red".to_owned(), "red".into());
        for decision in cycle.decisions {
            let Decision::Admit(id, placement) = decision else {
                panic!("{decision:?}");
            };
            view.plans.insert_mut(
                id.uid().to_owned(),
                Plan::new(view.snapshot.job(&id).unwrap(), 1, placement, true),
            );
        }
        view
    }

    fn ask(view: Option<&View>, namespace: &str, owner: &str, index: &str, gpus: u64) -> Value {
        let owner = json!({"kind": "Job", "uid": owner, "controller": true, "name": "train", "apiVersion": "batch/v1"});
        let args: Args = serde_json::from_value(json!({
            "Pod": {
                "metadata": {
                    "name": "p", "namespace": namespace, "uid": format!("p{index}"),
                    "annotations": {COMPLETION_INDEX: index}, "ownerReferences": [owner],
                },
                "spec": {"containers": [{"name": "c", "resources": {"requests": {"nvidia.com/gpu": gpus.to_string()}}}]},
                "status": {"phase": "Pending"},
            },
            "Nodes": null,
            "NodeNames": ["a", "b"],
        }))
        .unwrap();
        let policy = FilterPolicy {
            gpu_resource: "nvidia.com/gpu".to_owned(),
        };
        serde_json::to_value(answer(view, &Seats::default(), &policy, &args)).unwrap()
    }

    #[test]
    fn a_planned_pod_is_told_its_node_by_its_index() {
        let view = view(false);
        assert_eq!(
            ask(Some(&view), "red", "job-uid", "0", 1)["NodeNames"],
            json!(["a"])
        );
        assert_eq!(
            ask(Some(&view), "red", "job-uid", "1", 1)["NodeNames"],
            json!(["b"])
        );
    }

    #[test]
    fn a_pod_whose_job_waits_is_refused_without_hope_of_preemption() {
        let refused = json!({"a": NOT_ADMITTED, "b": NOT_ADMITTED});
        let answer = ask(Some(&view(true)), "red", "job-uid", "0", 1);
        assert_eq!(answer["FailedAndUnresolvableNodes"], refused);
        assert_eq!(answer["NodeNames"], json!([]));
        // Nor does it help to name another job, or none.
        let answer = ask(Some(&view(false)), "red", "forged", "0", 1);
        assert_eq!(answer["FailedAndUnresolvableNodes"], refused);
    }

    #[test]
    fn other_pods_get_only_what_is_not_promised() {
        let view = view(false);
        assert_eq!(
            ask(Some(&view), "other", "x", "", 2)["NodeNames"],
            json!(["b"])
        );
        let answer = ask(Some(&view), "other", "x", "", 3);
        assert_eq!(answer["FailedNodes"], json!({"a": NO_ROOM, "b": NO_ROOM}));
    }

    #[test]
    fn before_everything_is_listed_nothing_passes() {
        let answer = ask(None, "other", "x", "", 0);
        assert_eq!(answer["Error"], json!(NOT_READY));
    }

    #[test]
    fn whole_nodes_are_refused_with_a_remedy() {
        let args: Args = serde_json::from_value(json!({
            "Pod": {"metadata": {}, "spec": {}}, "Nodes": {"items": []}, "NodeNames": null,
        }))
        .unwrap();
        let policy = FilterPolicy {
            gpu_resource: String::new(),
        };
        let answer = answer(None, &Seats::default(), &policy, &args);
        assert!(answer.error.contains("nodeCacheCapable: true"));
    }
}
