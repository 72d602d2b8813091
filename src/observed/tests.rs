//! What changes amount to, where it is not plain.

mod aside;
mod crowded;
mod due;
mod found;
mod leaving;
mod left;
mod occupied;
mod overlooked;
mod released;

use std::time::Duration;

use super::*;
use crate::translate;
use prorata_core::{Others, Resources, Slot, TaskId};
use serde_json::json;

/// The Job `red/train` with one pod, admitted.
fn observed() -> Observed {
    let mut observed = Observed::new("nvidia.com/gpu", Classes::default(), Patience::default());
    let manifest = json!({
        "metadata": {"namespace": "red", "name": "train", "uid": "j", "resourceVersion": "1"},
        "spec": {"suspend": true, "template": {"spec": {"containers": [
            {"name": "c", "resources": {"limits": {"nvidia.com/gpu": 1}}},
        ]}}},
    });
    let view = JobView::new(&serde_json::from_value(manifest).unwrap(), "nvidia.com/gpu");
    let slot = Slot::whole("a".into(), [0].into_iter().collect());
    let red = Object::Namespace("red".to_owned(), Some("red".into()));
    observed.apply(Change::Applied(red));
    observed.apply(Change::Applied(Object::Job(Box::new(view))));
    let job = observed.wanted("j").unwrap();
    let placement = [slot].into_iter().collect();
    observed.admit(&job, 1, placement);
    observed
}

/// A bound pod that claims to be the Job's first.
fn pod(uid: &str, namespace: &str) -> Object {
    Object::Pod(PodView {
        uid: uid.to_owned(),
        namespace: namespace.to_owned(),
        name: String::new(),
        version: 0,
        bound: None,
        job: Some("j".to_owned()),
        maker: Some("j".to_owned()),
        index: Some(0),
        node: Some("a".into()),
        takes: Resources::gpus(1),
        unit: Default::default(),
        others: Others::NONE,
        nominated: None,
        unschedulable: None,
        overlooked: None,
        is_leaving: false,
        is_over: false,
        gated: None,
        left: None,
    })
}

fn is_seated(news: &News, uid: &str) -> bool {
    let mut facts = news.facts.iter();
    facts.any(|fact| matches!(fact, Event::TaskBound(..)))
        && news.facts.contains(&Event::PodGone(uid.into()))
}

#[test]
fn a_pod_that_came_before_its_predecessor_was_gone_takes_its_seat() {
    let mut observed = observed();
    assert!(is_seated(
        &observed.apply(Change::Applied(pod("old", "red"))),
        "old"
    ));
    let news = observed.apply(Change::Applied(pod("new", "red")));
    let takes_room = Event::PodBound("new".into(), "a".into(), Resources::gpus(1), Others::NONE);
    assert!(news.facts.contains(&takes_room), "{news:?}");
    let news = observed.apply(Change::Deleted(pod("old", "red")));
    assert!(is_seated(&news, "new"), "{news:?}");
}

#[test]
fn a_pod_of_another_namespace_takes_room_and_no_seat() {
    let news = observed().apply(Change::Applied(pod("forged", "free")));
    let (name, one) = ("forged".into(), Resources::gpus(1));
    let takes_room = Event::PodBound(name, "a".into(), one, Others::NONE);
    assert!(news.facts.contains(&takes_room), "{news:?}");
    assert!(!is_seated(&news, "forged"));
}

/// `kubectl delete job --cascade=orphan` strips the owner from the pods that go on running.
#[test]
fn a_pod_that_lost_its_owner_keeps_its_seat_until_it_is_gone() {
    let mut observed = observed();
    observed.apply(Change::Applied(pod("p", "red")));
    let Object::Pod(mut orphan) = pod("p", "red") else {
        panic!("a pod")
    };
    orphan.job = None;
    let news = observed.apply(Change::Applied(Object::Pod(orphan.clone())));
    assert!(is_seated(&news, "p"), "{news:?}");
    observed.jobs.remove("j");
    let news = observed.apply(Change::Deleted(Object::Pod(orphan)));
    let job = JobId::new("red", "train", "j");
    let finished = Event::TaskFinished(TaskId { job, index: 0 });
    assert!(news.facts.contains(&finished), "{news:?}");
}

#[test]
fn a_job_that_is_edited_before_it_starts_is_planned_anew() {
    let mut observed = observed();
    let mut view = observed.jobs["j"].clone();
    view.gang = 2;
    let news = observed.apply(Change::Applied(Object::Job(Box::new(view))));
    let failed = Event::DecisionFailed(JobId::new("red", "train", "j"));
    assert_eq!(news.facts.first(), Some(&failed), "{news:?}");
}

/// The Job has been started, and its pod runs on the node `a`.
fn running() -> Observed {
    let mut observed = observed();
    let node = Node {
        allocatable: Resources::gpus(1),
        ..Node::new("a")
    };
    observed.apply(Change::Applied(Object::Node(node, true)));
    let mut view = observed.jobs["j"].clone();
    (view.is_suspended, view.epoch) = (false, Some(1));
    observed.apply(Change::Applied(Object::Job(Box::new(view))));
    observed.apply(Change::Applied(pod("p", "red")));
    observed
}

fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1000)
}

/// The first look at the clock begins the wait.
#[test]
fn a_node_is_lost_when_it_was_not_ready_for_long() {
    let mut observed = running();
    let node = observed.node(&"a".into()).unwrap().clone();
    observed.apply(Change::Applied(Object::Node(node.clone(), false)));
    observed.expire(at(100));
    assert_eq!(observed.lost_node("j"), None);
    assert_eq!(observed.next_deadline(), Some(at(160)));
    let touched = observed.expire(at(160)).news.touched;
    assert!(touched.contains("j"), "{touched:?}");
    assert_eq!(observed.lost_node("j"), Some(&"a".into()));
    observed.apply(Change::Applied(Object::Node(node, true)));
    assert_eq!(observed.lost_node("j"), None);
}

/// Its pod takes its room until it is gone, and the Job waits for that.
#[test]
fn a_victim_that_does_not_end_is_not_waited_for_and_frees_nothing() {
    let mut observed = running();
    let job = observed.wanted("j").unwrap();
    let by = Job::new(JobId::new("blue", "b", "b"), "blue".into(), 1, job.task);
    let now = Timestamp::from_second(100).unwrap();
    observed.evict(&job, &by, prorata_core::Rule::Reclaim, now);
    let who = &observed.leaver("j").unwrap().eviction.by;
    assert_eq!(who, "a job of tenant blue");
    assert_eq!(observed.next_deadline(), Some(at(220)));
    let facts = observed.expire(at(220)).news.facts;
    let (id, index) = (job.id, 0);
    let gone = Event::TaskFinished(TaskId { job: id, index });
    let takes_room = Event::PodBound("p".into(), "a".into(), Resources::gpus(1), Others::NONE);
    assert!(
        facts.contains(&gone) && facts.contains(&takes_room),
        "{facts:?}"
    );
    let charged = Event::PodCharged("p".into(), "red".into());
    assert!(facts.contains(&charged), "{facts:?}");
    assert!(observed.is_stopping("j"));
    let facts = observed.apply(Change::Deleted(pod("p", "red"))).facts;
    assert!(facts.contains(&Event::PodGone("p".into())), "{facts:?}");
}

#[test]
fn a_pod_that_finds_no_place_has_its_job_wait_and_its_node_avoided() {
    let mut observed = observed();
    let mut view = observed.jobs["j"].clone();
    (view.is_suspended, view.epoch, view.active) = (false, Some(1), 1);
    observed.apply(Change::Applied(Object::Job(Box::new(view))));
    assert_eq!(observed.next_deadline(), None);
    let Object::Pod(mut unbound) = pod("p", "red") else {
        panic!("a pod")
    };
    unbound.node = None;
    unbound.unschedulable = Some("no volume".to_owned());
    observed.apply(Change::Applied(Object::Pod(unbound)));
    observed.expire(at(100));
    let expired = observed.expire(at(160));
    assert_eq!(expired.paused.len(), 1);
    assert!(observed.obstacle("j").unwrap().ends_with("no volume"));
    let wanted = observed.wanted("j").unwrap();
    assert!(!wanted.needs.allow(&Node::new("a")) && wanted.needs.allow(&Node::new("b")));
}

/// A PodDisruptionBudget may hold it back for longer than anyone waits.
#[test]
fn a_pod_that_may_not_be_evicted_in_time_is_evicted_later() {
    let mut observed = observed();
    let node = Node::new("a");
    observed.apply(Change::Applied(Object::Node(node, true)));
    let mut manifest = json!({
        "metadata": {
            "namespace": "red", "name": "p", "uid": "p", "resourceVersion": "1",
            "annotations": {"internal.prorata.dev/created-by": "alice"},
        },
        "spec": {
            "schedulingGates": [{"name": "prorata.dev/queue"}],
            "containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": 1}}}],
        },
        "status": {},
    });
    let pod = |manifest: &serde_json::Value| {
        let pod = serde_json::from_value(manifest.clone()).unwrap();
        Object::Pod(PodView::new(&pod, "nvidia.com/gpu"))
    };
    observed.apply(Change::Applied(pod(&manifest)));
    let job = observed.wanted("p").unwrap();
    let slot = Slot::whole("a".into(), [0].into_iter().collect());
    observed.admit(&job, 1, [slot].into_iter().collect());
    manifest["metadata"]["resourceVersion"] = json!("2");
    manifest["spec"]["schedulingGates"] = json!([]);
    manifest["spec"]["nodeName"] = json!("a");
    observed.apply(Change::Applied(pod(&manifest)));
    let by = Job::new(JobId::new("blue", "b", "b"), "blue".into(), 1, job.task);
    let now = Timestamp::from_second(100).unwrap();
    observed.evict(&job, &by, prorata_core::Rule::Reclaim, now);
    observed.expire(at(159));
    assert!(!observed.leaver("p").unwrap().insists());
    observed.expire(observed.next_deadline().unwrap());
    assert!(observed.leaver("p").unwrap().insists());
    observed.expire(at(220));
    observed.plans.remove_mut("p");
    let mut spec = translate::desired_spec(&job, translate::Form::Pod, None, "nvidia.com/gpu");
    spec.eviction = Some(observed.leaver("p").unwrap().eviction.clone());
    let record = RecordView {
        name: "p".to_owned(),
        namespace: "red".to_owned(),
        version: 1,
        generation: 1,
        is_unowned: false,
        spec,
        status: crate::api::QueuedJobStatus::default(),
    };
    observed.apply(Change::Applied(Object::QueuedJob(Box::new(record))));
    assert!(observed.leaver("p").is_some() && !observed.bypasses("p"));
    assert!(observed.wanted("p").is_some(), "it stays in the queue");
    // So it does after a restart.
    observed.leavers.clear();
    observed.begin(BTreeMap::new());
    assert!(observed.leaver("p").is_some() && !observed.bypasses("p"));
    observed.apply(Change::Deleted(pod(&manifest)));
    assert!(observed.leaver("p").is_none());
}

/// A pod of nobody's with a slot, which the API server shows like this.
fn pod_with_slot(metadata: serde_json::Value) -> Object {
    let mut manifest = json!({
        "metadata": metadata,
        "spec": {"nodeName": "s", "containers": [
            {"name": "c", "resources": {"limits": {"nvidia.com/gpu.shared": 1}}},
        ]},
        "status": {"phase": "Running"},
    });
    manifest["metadata"]["uid"] = "p".into();
    manifest["metadata"]["namespace"] = "other".into();
    let pod = serde_json::from_value(manifest).unwrap();
    Object::Pod(PodView::new(&pod, "nvidia.com/gpu"))
}

fn node_of_slots(mode: prorata_core::Mode) -> Object {
    let mut node = Node {
        allocatable: Resources::gpus(1),
        ..Node::new("s")
    };
    node.gpus.mode = mode;
    Object::Node(node, true)
}

/// What the core hears that the pod takes.
fn taken(news: &News) -> Option<Resources> {
    news.facts.iter().find_map(|fact| match fact {
        Event::PodBound(_, _, takes, _) => Some(*takes),
        _ => None,
    })
}

fn milli(milli: u64) -> Option<Resources> {
    Some(Resources::ZERO.with(prorata_core::Resource::Gpu, milli))
}

#[test]
fn a_slot_takes_what_it_is_on_its_node_until_its_pod_is_gone() {
    use prorata_core::Mode::{Exclusive, Mps, TimeSlice};
    let mut observed = running();
    let early = observed.apply(Change::Applied(pod_with_slot(json!({}))));
    assert_eq!(taken(&early), milli(0), "nobody has described its node");
    for (mode, takes) in [(TimeSlice(4), 250), (Mps(8), 125), (Exclusive, 0)] {
        let news = observed.apply(Change::Applied(node_of_slots(mode)));
        assert_eq!(taken(&news), milli(takes));
    }
    observed.apply(Change::Applied(node_of_slots(TimeSlice(4))));
    let leaving = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
    let news = observed.apply(Change::Applied(pod_with_slot(leaving)));
    let is_gone = |news: &News| news.facts.contains(&Event::PodGone("p".into()));
    assert!(!is_gone(&news), "it has not ended yet");
    assert_eq!(taken(&news), milli(250));
    let news = observed.apply(Change::Deleted(pod_with_slot(json!({}))));
    assert!(is_gone(&news));
}

/// Of a job that nobody has decided about it is open which room it gets.
#[test]
fn whoever_follows_knows_what_is_not_decided_yet() {
    let mut observed = Observed::new("nvidia.com/gpu", Classes::default(), Patience::default());
    observed.follow();
    assert!(!observed.has_undecided(false, at(0)));
    let manifest = json!({
        "metadata": {
            "namespace": "red", "name": "train", "uid": "j", "resourceVersion": "1",
            "creationTimestamp": "1970-01-01T00:01:40Z",
        },
        "spec": {"suspend": true, "template": {"spec": {"containers": [
            {"name": "c", "resources": {"limits": {"nvidia.com/gpu": 1}}},
        ]}}},
    });
    let view = JobView::new(&serde_json::from_value(manifest).unwrap(), "nvidia.com/gpu");
    let red = Object::Namespace("red".to_owned(), Some("red".into()));
    observed.apply(Change::Applied(red));
    observed.apply(Change::Applied(Object::Job(Box::new(view))));
    assert!(observed.has_undecided(true, at(101)));
    assert!(
        !observed.has_undecided(true, at(200)),
        "no record will come"
    );
    assert!(observed.has_undecided(false, at(200)), "nobody decides");
    let job = observed.wanted("j").unwrap();
    let mut record = record_of(&job);
    observed.apply(Change::Applied(Object::QueuedJob(Box::new(record.clone()))));
    assert!(
        !observed.has_undecided(true, at(101)),
        "it was decided about"
    );
    assert!(observed.has_undecided(false, at(101)), "nobody decides");
    let place = crate::api::Place {
        node: "a".to_owned(),
        devices: vec![0],
        milli: None,
        model: None,
    };
    record.version = 2;
    record.spec.admission = Some(crate::api::Admission {
        epoch: 1,
        placement: vec![place],
    });
    observed.apply(Change::Applied(Object::QueuedJob(Box::new(record.clone()))));
    assert!(!observed.has_undecided(false, at(101)), "it has its place");
    assert!(observed.plan("j").is_some());
    record.version = 3;
    record.spec.eviction = Some(crate::api::Eviction {
        epoch: 1,
        by: "job other".to_owned(),
        rule: "priority".to_owned(),
        at: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH),
    });
    observed.apply(Change::Applied(Object::QueuedJob(Box::new(record))));
    assert!(observed.plan("j").is_none(), "it leaves for another");
}

/// However often a controller ends, none of the times that a job had to leave is forgotten.
#[test]
fn how_often_it_had_to_leave_is_known_after_a_restart() {
    let mut record = record_of(&observed().wanted("j").unwrap());
    record.spec.evictions = 3;
    let job = observed().jobs["j"].clone();
    let news = Observed::new("nvidia.com/gpu", Classes::default(), Patience::default()).begin(
        BTreeMap::from([
            (
                Kind::Namespace,
                vec![Object::Namespace("red".to_owned(), Some("red".into()))],
            ),
            (Kind::Job, vec![Object::Job(Box::new(job.clone()))]),
            (Kind::QueuedJob, vec![Object::QueuedJob(Box::new(record))]),
        ]),
    );
    let told = Event::JobLeft(job.id, 3);
    assert_eq!(news.facts.last(), Some(&told));
}

fn record_of(job: &Job) -> RecordView {
    RecordView {
        name: job.id.name().to_owned(),
        namespace: job.id.namespace().to_owned(),
        version: 1,
        generation: 1,
        is_unowned: false,
        spec: translate::desired_spec(job, translate::Form::Job, None, "nvidia.com/gpu"),
        status: crate::api::QueuedJobStatus::default(),
    }
}

/// What an admission has started is nobody's who bypasses the queue, though the record may be heard
/// of later than the Job.
#[test]
fn whoever_follows_knows_what_was_admitted_without_its_record() {
    let started = |follows: bool, epoch: Option<&str>| {
        let mut observed = Observed::new("nvidia.com/gpu", Classes::default(), Patience::default());
        if follows {
            observed.follow();
        }
        let annotations = epoch.map(|epoch| json!({crate::api::labels::EPOCH: epoch}));
        let manifest = json!({
            "metadata": {
                "namespace": "red", "name": "train", "uid": "j", "resourceVersion": "1",
                "annotations": annotations,
            },
            "spec": {"suspend": false, "template": {"spec": {"containers": [
                {"name": "c", "resources": {"limits": {"nvidia.com/gpu": 1}}},
            ]}}},
        });
        let view = JobView::new(&serde_json::from_value(manifest).unwrap(), "nvidia.com/gpu");
        let red = Object::Namespace("red".to_owned(), Some("red".into()));
        observed.apply(Change::Applied(red));
        observed.apply(Change::Applied(Object::Job(Box::new(view))));
        observed.bypassing().contains("j")
    };
    assert!(!started(true, Some("7")));
    assert!(started(true, None), "somebody broke the glass");
    assert!(started(false, Some("7")), "the record is gone");
}

/// A record of an admission by a controller that has ended may come after the first lists.
#[test]
fn an_admission_whose_number_another_has_gets_a_new_one() {
    let mut observed = observed();
    let mut record = record_of(&observed.wanted("j").unwrap());
    let place = |node: &str| crate::api::Place {
        node: node.to_owned(),
        devices: vec![0],
        milli: None,
        model: None,
    };
    let admitted = |node: &str| crate::api::Admission {
        epoch: 1,
        placement: vec![place(node)],
    };
    record.spec.admission = Some(admitted("a"));
    observed.apply(Change::Applied(Object::QueuedJob(Box::new(record.clone()))));
    assert!(!observed.is_overtaken("j"), "that is ours");
    record.version = 2;
    record.spec.admission = Some(admitted("b"));
    observed.apply(Change::Applied(Object::QueuedJob(Box::new(record.clone()))));
    assert!(observed.is_overtaken("j"));
    assert_eq!(observed.last_epoch(), 1);
    assert!(observed.renumber("j", 2).touched.contains("j"));
    assert!(!observed.is_overtaken("j"));
    assert_eq!(observed.plan("j").map(Plan::epoch), Some(2));
    // It may be over already, and its Job be heard of as it was before.
    record.version = 3;
    record.spec.admission = None;
    record.spec.last_epoch = 5;
    observed.apply(Change::Applied(Object::QueuedJob(Box::new(record))));
    assert!(observed.is_overtaken("j"));
    assert_eq!(observed.last_epoch(), 5);
}

#[test]
fn a_closed_node_stays_so_whatever_else_is_told_of_it() {
    let mut observed = running();
    let closes = |news: &News| {
        news.facts.iter().find_map(|fact| match fact {
            Event::NodeSeen(node) => Some(node.closed),
            _ => None,
        })
    };
    let only_a: BTreeSet<NodeId> = ["a".into()].into();
    let news = observed.apply(Change::Closed(only_a.clone()));
    assert_eq!(closes(&news), Some(true));
    assert!(observed.apply(Change::Closed(only_a)).facts.is_empty());
    let told = Node {
        allocatable: Resources::gpus(2),
        ..Node::new("a")
    };
    let news = observed.apply(Change::Applied(Object::Node(told, true)));
    assert_eq!(closes(&news), Some(true));
    let news = observed.apply(Change::Closed(BTreeSet::new()));
    assert_eq!(closes(&news), Some(false));
}
