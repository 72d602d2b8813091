//! What the extender answers: a pure function of the view and the question.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;
use prorata_core::{NodeId, Placement, Resource, Resources};
use tokio::time::Instant;

use super::{Offers, Seats};
use crate::api::extender_v1::{Args, FilterResult, HostPriority, Owner, Pod};
use crate::kinds::Composite;
use crate::observed::topmost;
use crate::plan::Plan;
use crate::translate;
use crate::view::View;

const NOT_CACHE_CAPABLE: &str = "Prorata: set nodeCacheCapable: true for this extender in the kube-scheduler configuration; whole nodes are not read";
const NOT_READY: &str = "Prorata: not ready yet";
const NOT_ADMITTED: &str = "Prorata: this pod's job has not been admitted";
const ALL_TOLD: &str = "Prorata: the places of this pod's job are told to other pods, and it is to be seen whether all come";
const NOT_PLANNED: &str = "Prorata: this pod's job has its place on another node";
const NO_ROOM: &str = "Prorata: the GPUs here are taken or promised";

/// The best score that kube-scheduler expects.
const SCORE_MAX: u8 = 10;

const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// What answers depend on besides the view.
#[derive(Clone, Debug)]
pub struct FilterPolicy {
    /// The resource that is managed.
    pub gpu_resource: String,
}

/// What earlier questions were answered, where that is not in the view yet.
#[derive(Debug, Default)]
pub struct Told {
    /// Which place of its gang a pod was told.
    pub seats: Seats,
    /// Which nodes a pod was told that is not the queue's.
    pub offers: Offers,
}

/// Which of the nodes asked about this pod may take. Without a view yet, none.
#[must_use]
pub fn answer<'a>(
    view: Option<&View>,
    told: &Told,
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
    match Concern::of(view, pod) {
        Concern::Planned(plan) => planned(view, &told.seats, plan, pod, names),
        Concern::LetGo(plan) => let_go(view, told, policy, plan, pod, names),
        Concern::Waiting => refuse(names, NOT_ADMITTED),
        Concern::Early => FilterResult {
            error: NOT_ADMITTED,
            ..FilterResult::default()
        },
        Concern::Other => unmanaged(view, &told.offers, policy, pod, names),
    }
}

/// How good each node is for this pod: fullest first, for a pod that is not the queue's. Whoever
/// has a plan has but one node to choose from.
#[must_use]
pub fn scores<'a>(
    view: Option<&View>,
    policy: &FilterPolicy,
    args: &'a Args,
) -> Vec<HostPriority<'a>> {
    let pod = &args.pod;
    let view = view.filter(|view| matches!(Concern::of(view, pod), Concern::Other));
    let gpus = gpus(pod, &policy.gpu_resource);
    let score = |name: &str| {
        let unused = view.and_then(|view| view.snapshot.unused(&NodeId::from(name)));
        let left = unused?.checked_sub(&gpus)?.get(Resource::Gpu) / Resource::Gpu.scale();
        Some(SCORE_MAX.saturating_sub(u8::try_from(left).unwrap_or(SCORE_MAX)))
    };
    let names = args.node_names.iter().flatten();
    let scored = names.map(|name| HostPriority {
        host: name,
        score: score(name).unwrap_or(0),
    });
    scored.collect()
}

/// What the queue has to do with a pod.
enum Concern<'a> {
    /// It is of an admitted Job.
    Planned(&'a Plan),
    /// It waited in the queue by itself, and has a place now.
    LetGo(&'a Plan),
    /// Its Job waits.
    Waiting,
    /// Its gate is gone, and the view is about to say why.
    Early,
    /// Nothing.
    Other,
}

impl<'a> Concern<'a> {
    fn of(view: &'a View, pod: &Pod) -> Self {
        // What such a pod says of its owner may be forged.
        if let Some(group) = view.groups.get(&pod.metadata.uid) {
            let queued = view.namespaces.contains_key(&pod.metadata.namespace);
            return match view.plans.get(group) {
                Some(plan) => Self::LetGo(plan),
                None if queued && !view.bypassing.contains(group) => Self::Early,
                None => Self::Other,
            };
        }
        let owners = &pod.metadata.owner_references;
        let owner = owners.iter().find(|o| o.controller && may_hold(o));
        let owner = owner.map(|owner| topmost(&view.owners, &owner.uid));
        let plan = owner.and_then(|owner| view.plans.get(owner));
        // Owners are of the same namespace; a pod that claims another one's is nobody's.
        let plan = plan.filter(|plan| plan.job().namespace() == pod.metadata.namespace);
        match plan {
            Some(plan) => Self::Planned(plan),
            None if waits(view, pod, owner) => Self::Waiting,
            None => Self::Other,
        }
    }
}

/// A pod that the queue has let go by itself: its planned node, or any other with room if
/// kube-scheduler would not have it there. It was let go for good, so it must not wait for a node
/// that is gone.
fn let_go<'a>(
    view: &View,
    told: &Told,
    policy: &FilterPolicy,
    plan: &Plan,
    pod: &Pod,
    names: &'a [String],
) -> FilterResult<'a> {
    let status = pod.status.as_ref();
    let nominated = status.and_then(|status| status.nominated_node_name.as_deref());
    let is_planned = |name: &&str| {
        let mut slots = plan.placement().slots();
        slots.any(|slot| slot.node.as_str() == *name)
    };
    let seat = || told.seats.tell(plan, &pod.metadata.uid, Instant::now());
    let node = match nominated.filter(is_planned) {
        Some(node) => Some(NodeId::from(node)),
        None => seat().and_then(|seat| plan.node(seat)).cloned(),
    };
    let mut names_here = names.iter();
    match names_here.find(|name| node.as_ref().is_some_and(|node| node.as_str() == *name)) {
        Some(name) => FilterResult {
            node_names: vec![name],
            ..FilterResult::default()
        },
        None => unmanaged(view, &told.offers, policy, pod, names),
    }
}

/// Whether an object of this kind may hold pods back.
fn may_hold(owner: &Owner) -> bool {
    owner.kind == "Job" || Composite::of_owner(&owner.api_version, &owner.kind).is_some()
}

/// Whether the queue has not let this pod through yet. In a tenant's namespace only the Job
/// controller and operators make pods that ask for GPUs, and whoever may bypass the queue. `owner`
/// is the UID of what holds the pod.
fn waits(view: &View, pod: &Pod, owner: Option<&str>) -> bool {
    let queued = view.namespaces.contains_key(&pod.metadata.namespace);
    queued && owner.is_some_and(|owner| !view.bypassing.contains(owner))
}

/// A pod of an admitted Job: the node of its place alone.
fn planned<'a>(
    view: &View,
    seats: &Seats,
    plan: &Plan,
    pod: &Pod,
    names: &'a [String],
) -> FilterResult<'a> {
    let Some(places) = view.snapshot.placement(plan.job()) else {
        return refuse(names, NOT_ADMITTED);
    };
    let index = pod.metadata.annotations.get(COMPLETION_INDEX);
    let index = index.and_then(|text| plan.seat_of_index(text.parse().ok()?));
    let seat = index.or_else(|| seats.tell(plan, &pod.metadata.uid, Instant::now()));
    if seat.is_none() && !plan.is_full() {
        return FilterResult {
            error: ALL_TOLD,
            ..FilterResult::default()
        };
    }
    let node = seat.and_then(|seat| node_of(plan, places, seat));
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

/// The node of a place: where the pod was that had it before, for that is what is held for the next
/// one, unless the template, which names the planned nodes, would not have it there.
fn node_of<'a>(plan: &'a Plan, places: &'a Placement, seat: u32) -> Option<&'a NodeId> {
    let held = places.slot(seat).map(|slot| &slot.node);
    held.filter(|node| plan.is_on(node))
        .or_else(|| plan.node(seat))
}

/// A GPU pod that is not ours to queue: any room that is neither taken nor assumed. On nodes that
/// take no new work kube-scheduler has the last word, for there are pods that tolerate it.
fn unmanaged<'a>(
    view: &View,
    offers: &Offers,
    policy: &FilterPolicy,
    pod: &Pod,
    names: &'a [String],
) -> FilterResult<'a> {
    let gpus = gpus(pod, &policy.gpu_resource);
    let (uid, now) = (&pod.metadata.uid, Instant::now());
    let pending = offers.pending(view, uid, now);
    let has_room = |name: &&String| {
        let node = NodeId::from(name.as_str());
        let taken = pending.get(&node).copied().unwrap_or_default();
        let unused = view.snapshot.unused(&node);
        let unused =
            unused.map(|unused| unused.beyond(&Resources::ZERO.with(Resource::Gpu, taken)));
        unused.is_none_or(|unused| gpus.fits_in(&unused))
    };
    let fitting: Vec<&str> = names.iter().filter(has_room).map(String::as_str).collect();
    offers.told(uid, gpus.get(Resource::Gpu), fitting.iter().copied(), now);
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

/// Why a pod was let through to no node, in a word; nothing where it was.
pub(super) fn refusal(answer: &FilterResult<'_>) -> Option<&'static str> {
    if !answer.node_names.is_empty() {
        return None;
    }
    let failed = answer.failed_nodes.values();
    let failed = failed.chain(answer.failed_and_unresolvable_nodes.values());
    let texts = [answer.error].into_iter().chain(failed.copied());
    let mut words = texts.filter_map(|text| {
        let known = [
            (NOT_READY, "NotReady"),
            (NOT_ADMITTED, "NotAdmitted"),
            (ALL_TOLD, "PlacesTold"),
            (NOT_PLANNED, "NotPlanned"),
            (NO_ROOM, "NoRoom"),
        ];
        let known = known.into_iter().find(|(known, _)| *known == text);
        known.map(|(_, word)| word)
    });
    Some(words.next().unwrap_or("Other"))
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
            owners: Default::default(),
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
        serde_json::to_value(answer(view, &Told::default(), &policy, &args)).unwrap()
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
    fn a_pod_of_a_part_is_told_its_place_in_the_whole() {
        let mut view = view(false);
        let refused = json!({"a": NOT_ADMITTED, "b": NOT_ADMITTED});
        let answer = ask(Some(&view), "red", "part", "0", 1);
        assert_eq!(answer["FailedAndUnresolvableNodes"], refused);
        let owners = [("part", "set"), ("set", "job-uid")];
        for (part, owner) in owners {
            view.owners.insert_mut(part.to_owned(), owner.to_owned());
        }
        let answer = ask(Some(&view), "red", "part", "0", 1);
        assert_eq!(answer["NodeNames"], json!(["a"]));
        // An owner of another namespace's is nobody's.
        let answer = ask(Some(&view), "blue", "part", "0", 1);
        assert_eq!(answer["NodeNames"], json!(["b"]));
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
        let answer = answer(None, &Told::default(), &policy, &args);
        assert!(answer.error.contains("nodeCacheCapable: true"));
    }
}
