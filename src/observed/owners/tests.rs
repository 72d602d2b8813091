//! Whose part is what, in whatever order it is seen, and what follows from it.

use super::super::{Classes, Patience};
use super::*;
use crate::kinds::Composite;
use crate::translate::RecordView;
use crate::watch::{Change, Kind, Object};
use k8s_openapi::api::core::v1::Pod;
use prorata_core::{Event, Placement, Slot};
use serde_json::{Value, json};

mod missed;
mod outliving;
mod parted;

const GPU: &str = "nvidia.com/gpu";

fn owned(uid: &str, version: u32, owner: Option<(&str, &str, &str)>) -> Value {
    let owners = owner.map(|(api_version, kind, owner)| {
        json!({"apiVersion": api_version, "kind": kind, "name": "o", "uid": owner, "controller": true})
    });
    let owners: Vec<Value> = owners.into_iter().collect();
    json!({
        "namespace": "red", "name": uid, "uid": uid, "resourceVersion": version.to_string(),
        "ownerReferences": owners,
    })
}

fn pods(gpus: u32) -> Value {
    let limits = match gpus {
        0 => json!({}),
        gpus => json!({GPU: gpus}),
    };
    json!({"containers": [{"name": "c", "resources": {"limits": limits}}]})
}

/// A JobSet of a Job of two pods, with this status.
fn set(version: u32, suspend: bool, conditions: Value) -> Object {
    let job = json!({"spec": {"parallelism": 2, "completions": 2, "template": {"spec": pods(1)}}});
    let object = json!({
        "metadata": owned("set", version, None),
        "spec": {"suspend": suspend, "replicatedJobs": [{"name": "w", "template": job}]},
        "status": {"conditions": conditions},
    });
    let kind = Composite::of_owner("jobset.x-k8s.io/v1alpha2", "JobSet").unwrap();
    let object = serde_json::from_value(object).unwrap();
    Object::Job(Box::new(JobView::of_composite(kind, &object, GPU)))
}

fn job(suspend: bool) -> Object {
    job_with(suspend, 1, json!({}))
}

fn job_with(suspend: bool, version: u32, status: Value) -> Object {
    let object = json!({
        "metadata": owned("job", version, Some(("jobset.x-k8s.io/v1alpha2", "JobSet", "set"))),
        "spec": {"suspend": suspend, "parallelism": 2, "completions": 2, "template": {"spec": pods(1)}},
        "status": status,
    });
    Object::Job(Box::new(JobView::new(
        &serde_json::from_value(object).unwrap(),
        GPU,
    )))
}

fn pod(uid: &str, gpus: u32) -> Object {
    let mut spec = pods(gpus);
    spec["nodeName"] = json!("a");
    let object = json!({"metadata": owned(uid, 1, Some(("batch/v1", "Job", "job"))), "spec": spec});
    let pod: Pod = serde_json::from_value(object).unwrap();
    Object::Pod(PodView::new(&pod, GPU))
}

/// That of the JobSet, which is admitted by this epoch.
fn record(epoch: i64) -> Object {
    let slots = [0, 1].map(|gpu| json!({"node": "a", "devices": [gpu]}));
    let record = json!({
        "apiVersion": "prorata.dev/v1alpha1", "kind": "QueuedJob",
        "metadata": {"name": "r", "namespace": "red", "resourceVersion": "1"},
        "spec": {
            "job": {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "name": "set", "uid": "set"},
            "tenant": "red", "priority": 0, "gang": 2, "gpus": "1", "requests": {GPU: "1"},
            "admission": {"epoch": epoch, "placement": slots},
        },
    });
    let record = serde_json::from_value(record).unwrap();
    Object::QueuedJob(Box::new(RecordView::new(&record)))
}

/// The JobSet is admitted.
fn observed() -> Observed {
    let mut observed = Observed::new(GPU, Classes::default(), Patience::default());
    let red = Object::Namespace("red".to_owned(), Some("red".into()));
    observed.apply(Change::Applied(red));
    observed.apply(Change::Applied(set(1, true, json!([]))));
    let job = observed.wanted("set").unwrap();
    assert_eq!(job.gang, 2);
    let slot = |gpu: u32| Slot::whole("a".into(), [gpu].into_iter().collect());
    let placement: Placement = [slot(0), slot(1)].into_iter().collect();
    observed.admit(&job, 1, placement);
    observed
}

fn bound(news: &News) -> usize {
    let is_bound = |fact: &&Event| matches!(fact, Event::TaskBound(..));
    news.facts.iter().filter(is_bound).count()
}

#[test]
fn pods_are_their_job_sets_in_whatever_order_they_are_seen() {
    let mut observed = observed();
    let early = observed.apply(Change::Applied(pod("early", 1)));
    assert_eq!(bound(&early), 0, "whose part its Job is was not known");
    let news = observed.apply(Change::Applied(job(false)));
    assert_eq!(bound(&news), 1);
    assert_eq!(bound(&observed.apply(Change::Applied(pod("late", 1)))), 1);
    assert!(observed.plan("set").unwrap().is_full());
    assert_eq!(observed.top("job"), "set");
    assert!(observed.bypassing().is_empty(), "it runs as a part");
}

#[test]
fn pods_without_gpus_take_no_place() {
    let mut observed = observed();
    observed.apply(Change::Applied(job(false)));
    let news = observed.apply(Change::Applied(pod("driver", 0)));
    assert_eq!(bound(&news), 0);
    let takes_room = |fact: &Event| matches!(fact, Event::PodBound(..));
    assert!(news.facts.iter().any(takes_room), "{news:?}");
}

/// Its operator may say so while pods of it are still ending.
#[test]
fn what_is_over_keeps_the_room_of_the_pods_that_are_left() {
    let mut observed = observed();
    observed.apply(Change::Applied(job(false)));
    observed.apply(Change::Applied(pod("left", 1)));
    let done = json!([{"type": "Completed", "status": "True"}]);
    let news = observed.apply(Change::Applied(set(2, false, done)));
    let id = observed.job("set").unwrap().id.clone();
    assert!(news.facts.contains(&Event::JobWithdrawn(id)));
    let takes_room =
        |fact: &Event| matches!(fact, Event::PodBound(pod, ..) if *pod == "left".into());
    assert!(news.facts.iter().any(takes_room), "{news:?}");
    let charged = Event::PodCharged("left".into(), "red".into());
    assert!(news.facts.contains(&charged), "{news:?}");
    let again = observed.apply(Change::Applied(pod("left", 1)));
    assert!(again.facts.contains(&charged), "{again:?}");
}

/// kube-scheduler may bind it yet.
#[test]
fn what_is_over_keeps_the_places_of_pods_that_are_on_their_way() {
    let mut observed = observed();
    observed.apply(Change::Applied(job(false)));
    observed.apply(Change::Applied(unbound("p", 1, None)));
    let done = json!([{"type": "Completed", "status": "True"}]);
    let news = observed.apply(Change::Applied(set(2, false, done)));
    let frees = |news: &News| {
        let is_freed = |fact: &&Event| matches!(fact, Event::TaskFinished(..));
        news.facts.iter().filter(is_freed).count()
    };
    assert_eq!(frees(&news), 0, "{news:?}");
    let mut elsewhere = pod("p", 1);
    if let Object::Pod(pod) = &mut elsewhere {
        pod.node = Some("b".into());
    }
    let news = observed.apply(Change::Applied(elsewhere));
    assert_eq!(frees(&news), 2, "{news:?}");
    observed.apply(Change::Applied(unbound("q", 1, None)));
    let news = observed.apply(Change::Applied(unbound("q", 1, Some("no room"))));
    assert_eq!(frees(&news), 2, "it is not on its way: {news:?}");
}

/// A pod of its Job that has no node, and what kube-scheduler says of it.
fn unbound(uid: &str, gpus: u32, why: Option<&str>) -> Object {
    let conditions = why.map(|why| {
        json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}])
    });
    let object = json!({
        "metadata": owned(uid, 1, Some(("batch/v1", "Job", "job"))), "spec": pods(gpus),
        "status": {"conditions": conditions},
    });
    let pod: Pod = serde_json::from_value(object).unwrap();
    Object::Pod(PodView::new(&pod, GPU))
}

/// The JobSet has been started.
fn started() -> Observed {
    let mut observed = observed();
    let mut running = set(2, false, json!([]));
    if let Object::Job(view) = &mut running {
        view.epoch = Some(1);
    }
    observed.apply(Change::Applied(running));
    observed
}

/// The pods of its Job, `one` and `two`, have its places.
fn running() -> Observed {
    let mut observed = started();
    observed.apply(Change::Applied(job(false)));
    for uid in ["one", "two"] {
        observed.apply(Change::Applied(pod(uid, 1)));
    }
    observed
}

/// The watch of Jobs is ahead of that of pods.
#[test]
fn pods_of_its_parts_that_nobody_has_seen_are_waited_for() {
    let mut observed = started();
    let quiet = json!([{"type": "Suspended", "status": "True"}]);
    observed.apply(Change::Applied(set(3, true, quiet.clone())));
    let leaving = |count: u32| json!({"terminating": count, "conditions": quiet.clone()});
    observed.apply(Change::Applied(job_with(true, 2, leaving(1))));
    assert!(observed.has_pods_left("set"));
    observed.apply(Change::Applied(job_with(true, 3, leaving(0))));
    assert!(!observed.has_pods_left("set"));
}

#[test]
fn it_is_stopping_until_its_parts_are_quiet() {
    let mut observed = observed();
    observed.apply(Change::Applied(job(true)));
    let quiet = json!([{"type": "Suspended", "status": "True"}]);
    observed.apply(Change::Applied(set(2, true, quiet)));
    assert!(observed.has_pods_left("set"), "its Job does not say so yet");
    observed.apply(Change::Listed(Kind::Job, Vec::new()));
    assert!(!observed.has_pods_left("set"));
    assert_eq!(observed.top("job"), "job");
}

/// Of an earlier start, and left on a node that nobody knows of: a controller that begins must not take it
/// for one of those that run.
#[test]
fn a_pod_on_a_node_that_was_not_planned_takes_no_place() {
    let mut observed = observed();
    observed.apply(Change::Applied(job(false)));
    let Object::Pod(mut left) = pod("left", 1) else {
        panic!("a pod")
    };
    left.node = Some("b".into());
    let left = Object::Pod(left);
    assert_eq!(bound(&observed.apply(Change::Applied(left))), 0);
    for uid in ["one", "two"] {
        assert_eq!(bound(&observed.apply(Change::Applied(pod(uid, 1)))), 1);
    }
}

#[test]
fn who_made_a_pod_says_whether_its_end_is_awaited() {
    let mut observed = observed();
    let mut apply = |mut object: Object, awaits_ends: bool| {
        if let Object::Job(view) = &mut object {
            (view.epoch, view.awaits_ends) = (Some(1), awaits_ends);
        }
        observed.apply(Change::Applied(object));
        observed.lost_and_awaited("set").cloned()
    };
    let quiet = json!([{"type": "Suspended", "status": "True"}]);
    apply(set(2, true, quiet), false);
    assert_eq!(apply(pod("left", 1), false), None);
    assert_eq!(apply(job(true), false), None);
    assert_eq!(apply(job(true), true), Some("a".into()));
    assert!(observed.is_stopping("set"));
    observed.apply(Change::Listed(Kind::Job, Vec::new()));
    assert_eq!(observed.lost_and_awaited("set"), None, "nobody waits");
}

/// What was taken up anew knows only the pods that still run.
#[test]
fn pods_of_its_jobs_that_are_over_are_not_missed() {
    let mut observed = observed();
    let remaining = |observed: &Observed| observed.remaining(observed.job("set").unwrap());
    observed.apply(Change::Applied(job(false)));
    assert_eq!(remaining(&observed), 2);
    let one = json!({"succeeded": 1, "active": 1});
    observed.apply(Change::Applied(job_with(false, 2, one)));
    assert_eq!(remaining(&observed), 1);
    let mut running = set(2, false, json!([]));
    if let Object::Job(view) = &mut running {
        view.epoch = Some(1);
    }
    observed.apply(Change::Applied(running));
    observed.apply(Change::Applied(pod("left", 1)));
    assert!(observed.plan("set").unwrap().awaits_pods());
    assert_eq!(observed.next_deadline(), None, "no start is taken back");
    let done = json!({"succeeded": 2, "conditions": [{"type": "Complete", "status": "True"}]});
    observed.apply(Change::Applied(job_with(false, 3, done)));
    assert_eq!(remaining(&observed), 0);
}

fn composite(kind: (&str, &str), metadata: Value, spec: Value) -> Object {
    let kind = Composite::of_owner(kind.0, kind.1).unwrap();
    let object = json!({"metadata": metadata, "spec": spec});
    let object = serde_json::from_value(object).unwrap();
    Object::Job(Box::new(JobView::of_composite(kind, &object, GPU)))
}

const TRAINER: (&str, &str, &str) = ("trainer.kubeflow.org/v1alpha1", "TrainJob", "train");

/// A TrainJob, let go already or not.
fn train(version: u32, is_free: bool) -> Object {
    let mut metadata = owned("train", version, None);
    if is_free {
        metadata["annotations"] = json!({crate::api::labels::EPOCH: "0"});
    }
    let spec = json!({"suspend": !is_free});
    composite((TRAINER.0, TRAINER.1), metadata, spec)
}

/// A JobSet that was made of it.
fn made(uid: &str, version: u32, suspend: bool, gpus: u32) -> Object {
    let job = json!({"spec": {"template": {"spec": pods(gpus)}}});
    let spec = json!({"suspend": suspend, "replicatedJobs": [{"name": "w", "template": job}]});
    let metadata = owned(uid, version, Some(TRAINER));
    composite(("jobset.x-k8s.io/v1alpha2", "JobSet"), metadata, spec)
}

fn of_red() -> Observed {
    let mut observed = Observed::new(GPU, Classes::default(), Patience::default());
    let red = Object::Namespace("red".to_owned(), Some("red".into()));
    observed.apply(Change::Applied(red));
    observed
}

#[test]
fn any_part_that_asks_for_gpus_keeps_the_whole_in_the_queue() {
    let mut observed = of_red();
    observed.apply(Change::Applied(train(1, false)));
    observed.apply(Change::Applied(made("a", 1, true, 0)));
    assert!(observed.is_free(observed.job("train").unwrap()));
    observed.apply(Change::Applied(made("b", 1, true, 1)));
    observed.apply(Change::Applied(made("c", 1, true, 0)));
    assert!(!observed.is_free(observed.job("train").unwrap()));
    assert_eq!(observed.wanted("train").unwrap().gang, 1);
}

#[test]
fn what_was_let_go_without_gpus_queues_once_it_asks_for_some() {
    let mut observed = of_red();
    observed.apply(Change::Applied(train(2, true)));
    observed.apply(Change::Applied(made("a", 1, false, 0)));
    assert!(observed.wanted("train").is_none());
    assert!(
        observed.bypassing().is_empty(),
        "none of its pods gets a GPU"
    );
    observed.apply(Change::Applied(made("a", 2, false, 1)));
    assert!(observed.bypassing().is_empty());
    assert!(observed.runs_unplanned("train"));
    let held = observed.wanted("train").unwrap().hold;
    assert_eq!(held, Some(prorata_core::Hold::Dependency));
}

/// Its kind could not be listed at first: its pods had no places, and have them now.
#[test]
fn what_runs_by_our_admission_has_its_places_when_it_is_listed_late() {
    let mut observed = of_red();
    observed.apply(Change::Applied(record(7)));
    observed.apply(Change::Applied(job(false)));
    observed.apply(Change::Applied(pod("p", 1)));
    let mut running = set(2, false, json!([]));
    if let Object::Job(view) = &mut running {
        view.epoch = Some(7);
    }
    let kind = running.kind();
    let news = observed.apply(Change::Listed(kind, vec![running]));
    assert_eq!(observed.plan("set").map(crate::plan::Plan::epoch), Some(7));
    assert_eq!(bound(&news), 1);
    assert!(observed.bypassing().is_empty());
}

#[test]
fn a_part_in_another_namespace_is_none() {
    let elsewhere = |observed: &mut Observed| {
        let mut forged = owned("forged", 1, Some(TRAINER));
        forged["namespace"] = "blue".into();
        let spec = json!({"suspend": true, "replicatedJobs": []});
        let forged = composite(("jobset.x-k8s.io/v1alpha2", "JobSet"), forged, spec);
        observed.apply(Change::Applied(forged));
    };
    for is_first in [true, false] {
        let mut observed = of_red();
        if is_first {
            elsewhere(&mut observed);
        }
        observed.apply(Change::Applied(train(1, false)));
        if !is_first {
            elsewhere(&mut observed);
        }
        assert_eq!(observed.top("forged"), "forged");
        assert!(!observed.is_free(observed.job("train").unwrap()));
        assert!(observed.parts_are_quiet("train"));
    }
}

#[test]
fn a_ring_of_owners_has_an_end() {
    let mut owners = RedBlackTreeMapSync::default();
    owners.insert_mut("a".to_owned(), "b".to_owned());
    owners.insert_mut("b".to_owned(), "a".to_owned());
    assert_eq!(topmost(&owners, "a"), "a");
}
