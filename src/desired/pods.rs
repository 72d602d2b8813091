//! What is to be done to pods: to those that wait in the queue themselves, and to those of Jobs whose nodes
//! kube-scheduler has overlooked.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use prorata_core::{JobId, NodeId, Placement, Snapshot};

use super::record_write;
use crate::api::labels;
use crate::effects::{Effect, Notice, PodName, PodsWrite, RecordWrite};
use crate::kinds::Composite;
use crate::observed::Observed;
use crate::plan::Plan;
use crate::status::Standing;
use crate::translate::{Form, Gated, JobView, PodView, RecordView};

/// What is to be done to the pods of this job, if anything is.
pub(super) fn write(observed: &Observed, snapshot: &Snapshot, view: &JobView) -> Option<PodsWrite> {
    if view.form.suspends() {
        return nominate(observed, view);
    }
    let members = observed.members(view.id.uid());
    if let Some(leaver) = observed.leaver(view.id.uid()) {
        let stay = |(pod, gated): &&(&PodView, &Gated)| !gated.is_waiting && !pod.is_leaving;
        let pods: Vec<PodName> = members.iter().filter(stay).map(name).collect();
        return (!pods.is_empty()).then(|| match leaver.insists() {
            true => PodsWrite::Delete(pods),
            false => PodsWrite::Evict(pods),
        });
    }
    let plan = observed.plan(view.id.uid())?;
    let places = snapshot.placement(&view.id)?;
    let pods = let_go(plan, places, &members);
    (!pods.is_empty()).then_some(PodsWrite::LetGo(pods))
}

/// Ends pods that have run on for too long since what they are of was over.
pub(super) fn end(observed: &Observed, view: &JobView) -> Option<PodsWrite> {
    let leftovers = observed.leftovers(view.id.uid()).map(|pod| PodName {
        name: pod.name.clone(),
        uid: pod.uid.clone(),
    });
    let pods: Vec<_> = leftovers.collect();
    (!pods.is_empty()).then_some(PodsWrite::End(pods))
}

/// Tells pods of a Job their nodes that kube-scheduler has not looked at: it tries such a node first.
fn nominate(observed: &Observed, view: &JobView) -> Option<PodsWrite> {
    let uid = view.id.uid();
    let plan = observed.plan(uid).filter(|plan| !plan.is_full())?;
    if view.is_suspended || observed.leaver(uid).is_some() {
        return None;
    }
    let overlooked = observed.overlooked(uid);
    let planned = overlooked.filter(|(_, _, node)| plan.is_on(node));
    let told = planned.map(|(uid, name, node)| {
        let (name, uid) = (name.to_owned(), uid.clone());
        (PodName { name, uid }, node.clone())
    });
    let pods: Vec<_> = told.collect();
    (!pods.is_empty()).then_some(PodsWrite::Nominate(pods))
}

/// Whether it is the time for that: the pods of a job that is stopped have just been ended.
pub(super) const fn may_be_made(write: &PodsWrite, may_start: bool, stops: bool) -> bool {
    match write {
        PodsWrite::LetGo(_) => may_start,
        PodsWrite::Nominate(_) => !stops,
        PodsWrite::Evict(_) | PodsWrite::Delete(_) | PodsWrite::End(_) => true,
    }
}

/// Whether that lets the first pods of the job go.
pub(super) fn begins(write: Option<&PodsWrite>, view: &JobView) -> bool {
    !view.has_begun && matches!(write, Some(PodsWrite::LetGo(_)))
}

/// The pods that wait, each with the node of a place that no other has: where the pod was that had it
/// before, for that is what is held for the next one.
fn let_go(
    plan: &Plan,
    places: &Placement,
    members: &[(&PodView, &Gated)],
) -> Vec<(PodName, NodeId)> {
    let node = |seat: u32| places.slot(seat).map(|slot| &slot.node);
    let mut taken: BTreeSet<u32> = (0..plan.seats()).filter(|s| plan.is_taken(*s)).collect();
    let on_their_way = members
        .iter()
        .filter(|(pod, gated)| !gated.is_waiting && pod.node.is_none());
    for (pod, _) in on_their_way {
        let theirs = |seat: &u32| !taken.contains(seat) && node(*seat) == pod.nominated.as_ref();
        taken.extend((0..plan.seats()).find(theirs));
    }
    let free = (0..plan.seats()).filter(|seat| !taken.contains(seat));
    let nodes = free.filter_map(|seat| node(seat).cloned());
    let waiting = members
        .iter()
        .filter(|(pod, gated)| gated.is_waiting && !pod.is_leaving);
    waiting.map(name).zip(nodes).collect()
}

fn name((pod, gated): &(&PodView, &Gated)) -> PodName {
    PodName {
        name: gated.name.clone(),
        uid: pod.uid.clone(),
    }
}

/// The pod of a gang that people are told about.
pub(super) fn about(observed: &Observed, view: &JobView) -> Option<PodName> {
    let members = observed.members(view.id.uid());
    (view.form == Form::Gang).then(|| members.first().map(name))?
}

/// What the users of the pods are told: of a start only those who were told that they wait.
pub(super) fn notice(write: &PodsWrite, was_told: bool) -> Option<Notice> {
    let (reason, message) = match write {
        PodsWrite::LetGo(_) if !was_told => return None,
        PodsWrite::Nominate(_) => return None,
        PodsWrite::LetGo(_) => (
            "Admitted",
            "its place is decided, and it is on its way there",
        ),
        PodsWrite::Evict(_) => ("Evicted", "its place is another's: it is asked to leave"),
        PodsWrite::Delete(_) => (
            "Evicted",
            "its place is another's, and a PodDisruptionBudget has put that off for long enough: it is deleted",
        ),
        PodsWrite::End(_) => (
            "PodsEnded",
            "it is over, and pods of it with GPUs have run on for preemption.victimTimeout: they are deleted",
        ),
    };
    Some(Notice {
        reason: reason.to_owned(),
        message: message.to_owned(),
    })
}

/// Where a job stands, with what to do about it where nobody would make its pods anew.
pub(super) fn advised(mut standing: Standing, view: &JobView) -> Standing {
    let is_limited = matches!(standing.reason.as_str(), "ExceedsMaxQuota" | "QuotaFull");
    if is_limited && !view.preemptible {
        let advice = format!(
            "; nobody would make this pod anew, so it may only use what its tenant is guaranteed: submit a Job, \
             or set annotation {}: \"true\" to let it be evicted for good",
            labels::PREEMPTIBLE
        );
        standing.message.push_str(&advice);
    }
    standing
}

/// What stands for pods that are gone or over: the record of one is its own, and says that it is
/// over while it is still there; that of a gang goes. So does that of anything which was deleted without what
/// is its.
pub(super) fn left(record: &RecordView, now: Timestamp) -> Option<Effect> {
    let job = &record.spec.job;
    let is_pods = job.kind == Form::Pod.kind();
    let form = match (is_pods, job.uid.ends_with("-gang")) {
        (true, true) => Form::Gang,
        (true, false) => Form::Pod,
        (false, _) if !record.is_unowned => return None,
        (false, _) if job.kind == Form::Job.kind() => Form::Job,
        (false, _) => Form::Composite(Composite::of_owner(&job.api_version, &job.kind)?),
    };
    let write = match form {
        Form::Pod => record_write(Some(record), None, &Standing::finished(), None, now),
        _ => RecordWrite::Delete(Box::new(record.clone())),
    };
    let id = JobId::new(&record.namespace, &job.name, &job.uid);
    let effect = Effect {
        record: write,
        ..Effect::nothing(id, form)
    };
    effect.changes_anything().then_some(effect)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use prorata_core::{Devices, Job, Resources, Slot};
    use serde_json::json;

    use super::*;
    use crate::effects::RecordWrite;

    /// Kubernetes deletes every other.
    #[test]
    fn the_record_of_an_object_that_left_it_behind_goes() {
        let record = |version: &str, kind: &str, is_owned: bool| {
            let job = json!({"apiVersion": version, "kind": kind, "name": "j", "uid": "u"});
            let owners = is_owned.then_some(&job).into_iter().collect::<Vec<_>>();
            let object = json!({
                "apiVersion": "prorata.dev/v1alpha1", "kind": "QueuedJob",
                "metadata": {"name": "j", "namespace": "red", "ownerReferences": owners},
                "spec": {"job": job, "tenant": "red", "priority": 0, "gang": 1, "gpus": "1"},
            });
            RecordView::new(&serde_json::from_value(object).unwrap())
        };
        let now = Timestamp::UNIX_EPOCH;
        for (version, kind) in [("batch/v1", "Job"), ("jobset.x-k8s.io/v1alpha2", "JobSet")] {
            let effect = left(&record(version, kind, false), now).unwrap();
            assert!(matches!(effect.record, RecordWrite::Delete(_)), "{kind}");
            assert!(left(&record(version, kind, true), now).is_none(), "{kind}");
        }
    }

    /// The first place was planned on `c`, and its last pod found it on `b`: others have the room on
    /// `c` by now.
    #[test]
    fn who_comes_next_is_told_the_place_that_is_held() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "namespace": "red", "name": "p", "uid": "p", "resourceVersion": "1",
                "annotations": {labels::CREATED_BY: "alice"},
            },
            "spec": {
                "schedulingGates": [{"name": labels::GATE}],
                "containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": 1}}}],
            },
            "status": {},
        }))
        .unwrap();
        let pod = PodView::new(&pod, "nvidia.com/gpu");
        let gated = pod.gated.clone().unwrap();
        let placement = |nodes: [&str; 2]| -> Placement {
            let slot = |node: &str| Slot::whole(node.into(), Devices::default());
            nodes.map(slot).into_iter().collect()
        };
        let id = JobId::new("red", "p", "p");
        let job = Job::new(id, "red".into(), 2, Resources::gpus(1));
        let plan = Plan::new(&job, 1, placement(["c", "c"]), false);
        let told = let_go(&plan, &placement(["b", "c"]), &[(&pod, &gated)]);
        let nodes: Vec<NodeId> = told.into_iter().map(|(_, node)| node).collect();
        assert_eq!(nodes, ["b".into()]);
    }
}
