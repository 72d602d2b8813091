//! What changes amount to, where it is not plain.

use super::*;
use k8s_openapi::jiff::Timestamp;
use prorata_core::{Resources, Slot, TaskId};
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
        job: Some("j".to_owned()),
        index: Some(0),
        node: Some("a".into()),
        takes: Resources::gpus(1),
        unschedulable: None,
        is_over: false,
        gated: None,
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
    let takes_room = Event::PodBound("new".into(), "a".into(), Resources::gpus(1));
    assert!(news.facts.contains(&takes_room), "{news:?}");
    let news = observed.apply(Change::Deleted(pod("old", "red")));
    assert!(is_seated(&news, "new"), "{news:?}");
}

#[test]
fn a_pod_of_another_namespace_takes_room_and_no_seat() {
    let news = observed().apply(Change::Applied(pod("forged", "free")));
    let takes_room = Event::PodBound("forged".into(), "a".into(), Resources::gpus(1));
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
    let takes_room = Event::PodBound("p".into(), "a".into(), Resources::gpus(1));
    assert!(
        facts.contains(&gone) && facts.contains(&takes_room),
        "{facts:?}"
    );
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
    observed.expire(at(220));
    observed.plans.remove_mut("p");
    let mut spec = translate::desired_spec(&job, translate::Form::Pod, None, "nvidia.com/gpu");
    spec.eviction = Some(observed.leaver("p").unwrap().eviction.clone());
    let record = RecordView {
        name: "p".to_owned(),
        namespace: "red".to_owned(),
        version: 1,
        generation: 1,
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

#[test]
fn a_closed_node_stays_so_whatever_else_is_told_of_it() {
    let mut observed = running();
    let closes = |news: &News| match news.facts.as_slice() {
        [Event::NodeSeen(node)] => Some(node.closed),
        _ => None,
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
