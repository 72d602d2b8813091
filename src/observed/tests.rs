//! What changes amount to, where it is not plain.

use super::*;
use prorata_core::Slot;
use serde_json::json;

/// The Job `red/train` with one pod, admitted.
fn observed() -> Observed {
    let mut observed = Observed::new("nvidia.com/gpu");
    let manifest = json!({
        "metadata": {"namespace": "red", "name": "train", "uid": "j", "resourceVersion": "1"},
        "spec": {"suspend": true, "template": {"spec": {"containers": [
            {"name": "c", "resources": {"limits": {"nvidia.com/gpu": 1}}},
        ]}}},
    });
    let view = JobView::new(&serde_json::from_value(manifest).unwrap(), "nvidia.com/gpu");
    let (node, devices) = ("a".into(), [0].into_iter().collect());
    let slot = Slot { node, devices };
    let red = Object::Namespace("red".to_owned(), Some("red".into()));
    observed.apply(Change::Applied(red));
    observed.apply(Change::Applied(Object::Job(Box::new(view))));
    observed.admit(
        &JobId::new("red", "train", "j"),
        1,
        [slot].into_iter().collect(),
    );
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
        is_over: false,
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
    assert!(!is_seated(&news, "forged"));
    assert!(matches!(news.facts[..], [Event::PodBound(..)]), "{news:?}");
}
