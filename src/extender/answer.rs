//! What the extender answers: a pure function of the view and the question.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;
use prorata_core::job::Shape;
use prorata_core::{Needs, NodeId, Resource, Resources};
use tokio::time::Instant;

use super::{Offers, Seats};
use crate::api::extender_v1::{
    Args, FilterResult, HostPriority, Owner, Pod, overlooked, overlooked_in,
};
use crate::kinds::Composite;
use crate::observed::topmost;
use crate::plan::Plan;
use crate::translate;
use crate::view::View;

const NOT_CACHE_CAPABLE: &str = "Prorata: set nodeCacheCapable: true for this extender in the kube-scheduler configuration; whole nodes are not read";
const NOT_READY: &str = "Prorata: not ready yet";
const NOT_ADMITTED: &str = "Prorata: this pod's job has not been admitted";
const ALL_TOLD: &str = "Prorata: the places of this pod's job are told to other pods, and it is to be seen whether all come";
const ALL_TAKEN: &str = "Prorata: every place of this pod's job has its pod, and none has ended";
const NOT_PLANNED: &str = "Prorata: this pod's job has its place on another node";
const NOT_AS_PLANNED: &str =
    "Prorata: this pod asks for more GPUs than its job has been admitted with";
const NOT_DECIDED: &str =
    "Prorata: whose the room is that is free is not decided yet, while jobs wait for some";
const NO_ROOM: &str = "Prorata: the GPUs here are taken or promised";

/// The best score that kube-scheduler expects.
const SCORE_MAX: u8 = 10;

/// Who is asked about fewer nodes has looked at all: kube-scheduler's `minFeasibleNodesToFind`.
const SAMPLE_MIN: usize = 100;

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
        return later(NOT_CACHE_CAPABLE);
    };
    let Some(view) = view else {
        return later(NOT_READY);
    };
    let pod = &args.pod;
    match Concern::of(view, pod) {
        // A part of what was admitted as a whole may say something else by now.
        Concern::Planned(plan) if asks_for_more(pod, policy, plan) => refuse(names, NOT_AS_PLANNED),
        Concern::Planned(plan) => planned(view, &told.seats, plan, pod, names),
        Concern::LetGo(plan) => let_go(view, told, policy, plan, pod, names),
        // It was started, so either the view is behind or it is about to end. kube-scheduler would
        // hear of nothing that makes it try a refused pod again.
        Concern::Early => later(NOT_ADMITTED),
        Concern::Other if view.is_undecided && asks(pod, policy) => later(NOT_DECIDED),
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
    let gpus = gpus(pod, &policy.gpu_resource).task.get(Resource::Gpu);
    let gpus = Resources::ZERO.with(Resource::Gpu, gpus);
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
    /// It is the queue's, and as far as the view says nothing has started it.
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
            None if waits(view, pod, owner) => Self::Early,
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
    // What a pod of the gang has found elsewhere is held there for the next one.
    let held = view.snapshot.placement(plan.job());
    let places = held.unwrap_or_else(|| plan.placement());
    let is_planned = |name: &&str| {
        let mut slots = places.slots();
        slots.any(|slot| slot.node.as_str() == *name)
    };
    let seat = || {
        let (uid, now) = (&pod.metadata.uid, Instant::now());
        told.seats
            .tell(plan, places, uid, None, &view.departed, now)
    };
    let node = match nominated(pod).filter(is_planned) {
        Some(node) => Some(NodeId::from(node)),
        None => seat().and_then(|seat| Some(places.slot(seat)?.node.clone())),
    };
    let node = node.filter(|node| view.snapshot.gives(node, plan.shape()));
    let mut names_here = names.iter();
    match names_here.find(|name| node.as_ref().is_some_and(|node| node.as_str() == *name)) {
        Some(name) => FilterResult {
            node_names: vec![name],
            ..FilterResult::default()
        },
        None => unmanaged(view, &told.offers, policy, pod, names),
    }
}

/// The node that it has been told to try first.
fn nominated(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.nominated_node_name.as_deref()
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
        return later(NOT_ADMITTED);
    };
    let index = pod.metadata.annotations.get(COMPLETION_INDEX);
    let index = index.and_then(|text| plan.seat_of_index(text.parse().ok()?));
    let (uid, now) = (&pod.metadata.uid, Instant::now());
    let nominated = nominated(pod).map(NodeId::from);
    let tell = || seats.tell(plan, places, uid, nominated.as_ref(), &view.departed, now);
    let Some(node) = index
        .or_else(tell)
        .and_then(|seat| plan.node_of(places, seat))
    else {
        // One that is gone may still be seen.
        return later(if plan.is_full() { ALL_TAKEN } else { ALL_TOLD });
    };
    // How a node divides its GPUs may have changed since.
    let gives = view.snapshot.gives(node, plan.shape());
    let is_nominated = nominated.as_ref() == Some(node);
    let was_tried = || seats.was_tried(plan, uid, node, is_nominated, now);
    match names.iter().find(|name| gives && *name == node.as_str()) {
        Some(name) => FilterResult {
            node_names: vec![name],
            ..FilterResult::default()
        },
        None if is_of_another_plan(pod, node) => later(NOT_ADMITTED),
        // kube-scheduler knows the node already, or again.
        None if view.snapshot.unused(node).is_none() => later(NOT_READY),
        None if gives && names.len() >= SAMPLE_MIN && !was_tried() => {
            later(overlooked(node.as_str()))
        }
        None => refuse(names, NOT_PLANNED),
    }
}

/// Whether the nodes that are written into the pod are others: those of an admission that the view
/// does not know yet, or of one that is over.
fn is_of_another_plan(pod: &Pod, node: &NodeId) -> bool {
    let spec: Option<PodSpec> = serde_json::from_str(pod.spec.get()).ok();
    spec.is_some_and(|spec| !translate::leads_to(&spec, node))
}

/// A GPU pod that is not ours to queue: any room that is not taken, assumed or promised. On nodes that
/// take no new work kube-scheduler has the last word, for there are pods that tolerate it.
fn unmanaged<'a>(
    view: &View,
    offers: &Offers,
    policy: &FilterPolicy,
    pod: &Pod,
    names: &'a [String],
) -> FilterResult<'a> {
    let shape = gpus(pod, &policy.gpu_resource);
    let (uid, now) = (&pod.metadata.uid, Instant::now());
    let pending = offers.pending(view, uid, now);
    let has_room = |name: &&String| {
        let node = NodeId::from(name.as_str());
        let coming = pending.get(&node).copied().unwrap_or_default();
        has_room(view, &node, &shape, coming)
    };
    let fitting: Vec<&str> = names.iter().filter(has_room).map(String::as_str).collect();
    offers.told(uid, &shape, fitting.iter().copied(), now);
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

/// Whether a node that is known has these GPUs beside what is taken, assumed or promised, and what others
/// are about to take. Whole cards are counted as kubelet counts them, whichever they are.
fn has_room(view: &View, node: &NodeId, shape: &Shape, coming: u64) -> bool {
    let room = match is_part(shape) {
        true => view.snapshot.has_gpus(node, shape, coming),
        false => view.snapshot.unused(node).map(|unused| {
            let unused = unused.beyond(&Resources::ZERO.with(Resource::Gpu, coming));
            let promised = view.snapshot.promised_on(node);
            shape.task.fits_in(&unused.beyond(&promised))
        }),
    };
    room.unwrap_or(true)
}

/// Whether it asks for a slot of a card, or for instances.
fn is_part(shape: &Shape) -> bool {
    let milli = shape.task.get(Resource::Gpu);
    shape.needs.profile.is_some() || (1..Resource::Gpu.scale()).contains(&milli)
}

/// What the pod asks for of GPUs; kube-scheduler counts the rest itself. What cannot be read asks for
/// more than there is.
fn gpus(pod: &Pod, gpu_resource: &str) -> Shape {
    let spec: Option<PodSpec> = serde_json::from_str(pod.spec.get()).ok();
    let asked = spec.and_then(|spec| {
        translate::demand(&spec, Some(&pod.metadata.annotations), gpu_resource).ok()
    });
    let (gpus, needs) = asked.unwrap_or_else(|| {
        let all = Resources::ZERO.with(Resource::Gpu, Resources::MAX_AMOUNT);
        (all, Needs::default())
    });
    Shape {
        needs: needs.into(),
        ..Shape::new(gpus, 1)
    }
}

fn asks(pod: &Pod, policy: &FilterPolicy) -> bool {
    let shape = gpus(pod, &policy.gpu_resource);
    shape.task != Resources::ZERO || shape.needs.profile.is_some()
}

/// Whether the pod asks for more than its place has.
fn asks_for_more(pod: &Pod, policy: &FilterPolicy, plan: &Plan) -> bool {
    let asked = gpus(pod, &policy.gpu_resource).task;
    asked.get(Resource::Gpu) > plan.shape().task.get(Resource::Gpu)
}

/// kube-scheduler is to ask again in a few seconds, whether or not anything happens.
fn later<'a>(why: impl Into<Cow<'static, str>>) -> FilterResult<'a> {
    FilterResult {
        error: why.into(),
        ..FilterResult::default()
    }
}

/// Why a pod was let through to no node, in a word; nothing where it was.
pub(super) fn refusal(answer: &FilterResult<'_>) -> Option<&'static str> {
    if !answer.node_names.is_empty() {
        return None;
    }
    let failed = answer.failed_nodes.values();
    let failed = failed.chain(answer.failed_and_unresolvable_nodes.values());
    let texts = [&*answer.error].into_iter().chain(failed.copied());
    let mut words = texts.filter_map(|text| {
        let known = [
            (NOT_READY, "NotReady"),
            (NOT_ADMITTED, "NotAdmitted"),
            (NOT_DECIDED, "NotDecided"),
            (ALL_TOLD, "PlacesTold"),
            (ALL_TAKEN, "PlacesTaken"),
            (NOT_PLANNED, "NotPlanned"),
            (NOT_AS_PLANNED, "NotAsPlanned"),
            (NO_ROOM, "NoRoom"),
        ];
        let known = known.into_iter().find(|(known, _)| *known == text);
        let known = known.map(|(_, word)| word);
        known.or_else(|| overlooked_in(text).map(|_| "Overlooked"))
    });
    Some(words.next().unwrap_or("Other"))
}

/// No node will do, until something happens in the cluster.
fn refuse<'a>(names: &'a [String], why: &'static str) -> FilterResult<'a> {
    FilterResult {
        failed_and_unresolvable_nodes: names.iter().map(|name| (name.as_str(), why)).collect(),
        ..FilterResult::default()
    }
}

#[cfg(test)]
mod tests;
