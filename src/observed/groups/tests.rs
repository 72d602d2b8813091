//! Who starts with whom, in whatever order they come and go.

use super::super::{Classes, Patience};
use super::*;
use crate::watch::{Change, Object};
use k8s_openapi::api::core::v1::Pod;
use prorata_core::{Event, Job, Placement, Resources, Slot};
use serde_json::{Value, json};

const GPU: &str = "nvidia.com/gpu";
const SET_CONTROLLER: &str = "system:serviceaccount:kube-system:statefulset-controller";

fn observed() -> Observed {
    let mut observed = Observed::new(GPU, Classes::default(), Patience::default());
    let red = Object::Namespace("red".to_owned(), Some("red".into()));
    observed.apply(Change::Applied(red));
    observed
}

/// A pod that waits, of a gang of two.
fn pod(name: &str, creator: &str, controller: &str) -> Value {
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "uid": controller, "controller": true,
    });
    json!({
        "metadata": {
            "namespace": "red", "name": name, "uid": name, "resourceVersion": "1",
            "ownerReferences": [owner],
            "annotations": {
                "internal.prorata.dev/created-by": creator,
                "prorata.dev/gang": "ranks", "prorata.dev/gang-size": "2",
            },
        },
        "spec": {
            "schedulingGates": [{"name": "prorata.dev/queue"}],
            "containers": [{"name": "c", "resources": {"limits": {GPU: 1}}}],
        },
        "status": {},
    })
}

fn view(pod: &Value) -> Object {
    let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
    Object::Pod(PodView::new(&pod, GPU))
}

/// The jobs that were told, each with its hold.
fn told(news: &News) -> Vec<Job> {
    let job = |fact: &Event| match fact {
        Event::JobSubmitted(job) => Some(job.clone()),
        _ => None,
    };
    news.facts.iter().filter_map(job).collect()
}

#[test]
fn a_gang_waits_until_all_its_pods_are_made() {
    let mut observed = observed();
    let first = observed.apply(Change::Applied(view(&pod("a", SET_CONTROLLER, "s"))));
    let [gang] = &told(&first)[..] else {
        panic!("{first:?}")
    };
    assert_eq!((gang.gang, gang.hold), (2, Some(Hold::Incomplete(1))));
    assert_eq!(gang.id.name(), "ranks");
    let second = observed.apply(Change::Applied(view(&pod("b", SET_CONTROLLER, "s"))));
    assert_eq!(told(&second)[0].id, gang.id);
    assert_eq!(told(&second)[0].hold, None);
    assert_eq!(told(&second)[0].task, Resources::gpus(1));
}

#[test]
fn pods_of_another_creator_or_controller_are_of_another_gang() {
    let mut observed = observed();
    for pod in [
        pod("a", SET_CONTROLLER, "s"),
        pod("b", "alice", "s"),
        pod("c", SET_CONTROLLER, "other"),
    ] {
        let news = observed.apply(Change::Applied(view(&pod)));
        assert_eq!(told(&news)[0].hold, Some(Hold::Incomplete(1)));
    }
}

#[test]
fn pods_that_ask_for_different_things_are_no_gang() {
    let mut observed = observed();
    let mut large = pod("b", SET_CONTROLLER, "s");
    large["spec"]["containers"][0]["resources"]["limits"][GPU] = json!(2);
    observed.apply(Change::Applied(view(&pod("a", SET_CONTROLLER, "s"))));
    let news = observed.apply(Change::Applied(view(&large)));
    let gang = &told(&news)[0];
    assert_eq!(gang.task, Resources::ZERO);
    let why = observed.obstacle(gang.id.uid()).unwrap();
    assert!(why.contains("a gang is of equal pods"), "{why}");
}

#[test]
fn whoever_comes_too_many_waits_for_the_gang_and_then_queues_alone() {
    let mut observed = observed();
    observed.apply(Change::Applied(view(&pod("a", SET_CONTROLLER, "s"))));
    let news = observed.apply(Change::Applied(view(&pod("b", SET_CONTROLLER, "s"))));
    let gang = told(&news)[0].clone();
    let third = view(&pod("c", SET_CONTROLLER, "s"));
    let news = observed.apply(Change::Applied(third.clone()));
    assert_eq!(told(&news)[0].hold, Some(Hold::Dependency));
    let slot = |gpu: u32| Slot::whole("n".into(), [gpu].into_iter().collect());
    let placement: Placement = [slot(0), slot(1)].into_iter().collect();
    observed.admit(&gang, 1, placement);
    let news = observed.apply(Change::Applied(third));
    assert_eq!(told(&news)[0].id.uid(), "c");
    assert_eq!(told(&news)[0].hold, None);
}

#[test]
fn whoever_has_places_as_one_that_may_be_evicted_stays_so() {
    let mut observed = observed();
    let mut lone = pod("a", "alice", "s");
    lone["metadata"]["ownerReferences"] = json!([]);
    lone["metadata"]["annotations"] = json!({
        "internal.prorata.dev/created-by": "alice", "prorata.dev/preemptible": "true",
    });
    let mut kept = lone.clone();
    kept["metadata"]["annotations"] = json!({"internal.prorata.dev/created-by": "alice"});
    observed.apply(Change::Applied(view(&lone)));
    let news = observed.apply(Change::Applied(view(&kept)));
    assert!(
        !told(&news)[0].preemptible,
        "its user may think better of it"
    );
    let news = observed.apply(Change::Applied(view(&lone)));
    let slot = Slot::whole("n".into(), [0].into_iter().collect());
    observed.admit(&told(&news)[0], 1, [slot].into_iter().collect());
    let news = observed.apply(Change::Applied(view(&kept)));
    assert!(told(&news)[0].preemptible, "it has its place by it");
}

/// After a restart the places of a gang are those of the pods that have been let go.
#[test]
fn whoever_came_too_many_moves_up_when_another_is_gone() {
    let mut observed = observed();
    for name in ["a", "b", "c"] {
        observed.apply(Change::Applied(view(&pod(name, SET_CONTROLLER, "s"))));
    }
    let gang = observed.groups().get("a").cloned().unwrap();
    assert_eq!(observed.groups().get("c").unwrap(), "c");
    let news = observed.apply(Change::Deleted(view(&pod("b", SET_CONTROLLER, "s"))));
    assert_eq!(observed.groups().get("c"), Some(&gang));
    let told = told(&news);
    assert_eq!((told.len(), told[0].hold), (1, None), "{told:?}");
    let withdrawn = |fact: &Event| matches!(fact, Event::JobWithdrawn(id) if id.uid() == "c");
    assert!(news.facts.iter().any(withdrawn), "{news:?}");
}

/// A Deployment makes it before its predecessor has ended.
#[test]
fn whoever_is_made_in_place_of_one_that_leaves_waits_for_its_place() {
    let mut observed = observed();
    observed.apply(Change::Applied(Object::Node(
        prorata_core::Node::new("n"),
        true,
    )));
    let mut bound = pod("b", SET_CONTROLLER, "s");
    bound["spec"]["nodeName"] = json!("n");
    bound["spec"]["schedulingGates"] = json!([]);
    observed.apply(Change::Applied(view(&pod("a", SET_CONTROLLER, "s"))));
    let news = observed.apply(Change::Applied(view(&bound)));
    let gang = told(&news)[0].clone();
    let slot = |gpu: u32| Slot::whole("n".into(), [gpu].into_iter().collect());
    observed.admit(&gang, 1, [slot(0), slot(1)].into_iter().collect());
    bound["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    bound["metadata"]["resourceVersion"] = json!("2");
    observed.apply(Change::Applied(view(&bound)));
    let hold = |news: &News, uid: &str| {
        let jobs = told(news);
        jobs.into_iter().find(|job| job.id.uid() == uid)?.hold
    };
    let news = observed.apply(Change::Applied(view(&pod("c", SET_CONTROLLER, "s"))));
    assert_eq!(hold(&news, "c"), Some(Hold::Dependency));
    let news = observed.apply(Change::Applied(view(&pod("d", SET_CONTROLLER, "s"))));
    assert_eq!(hold(&news, "d"), None, "one place is to be free, for one");
    let node = Object::Node(prorata_core::Node::new("n"), true);
    let news = observed.apply(Change::Deleted(node.clone()));
    assert!(
        told(&news)
            .iter()
            .any(|job| job.id.uid() == "c" && job.hold.is_none())
    );
    observed.apply(Change::Applied(node));
    observed.apply(Change::Deleted(view(&bound)));
    assert_eq!(
        observed.groups().get("c").map(String::as_str),
        Some(gang.id.uid())
    );
}

#[test]
fn whoever_could_not_have_its_node_has_the_place_there_all_the_same() {
    let mut observed = observed();
    let mut waits = pod("b", SET_CONTROLLER, "s");
    waits["spec"]["schedulingGates"] = json!([]);
    waits["status"]["nominatedNodeName"] = json!("m");
    observed.apply(Change::Applied(view(&pod("a", SET_CONTROLLER, "s"))));
    let gang = told(&observed.apply(Change::Applied(view(&waits))))[0].clone();
    let slot = |node: &str| Slot::whole(node.into(), [0].into_iter().collect());
    observed.admit(&gang, 1, [slot("n"), slot("m")].into_iter().collect());
    waits["status"] = json!({});
    waits["spec"]["nodeName"] = json!("x");
    observed.apply(Change::Applied(view(&waits)));
    let plan = observed.plan(gang.id.uid()).unwrap();
    assert_eq!(plan.seat_of("b"), Some(1));
}

/// The record that it had alone says no more than that it waited.
#[test]
fn whoever_had_moved_up_is_in_the_gang_after_a_restart() {
    let restarted = |admission: Value| {
        let record: crate::api::QueuedJob = serde_json::from_value(json!({
            "metadata": {"name": "c", "namespace": "red", "uid": "r", "resourceVersion": "1"},
            "spec": {
                "job": {"apiVersion": "v1", "name": "c", "uid": "c", "kind": "Pod"}, "tenant": "red",
                "priority": 0, "gang": 1, "gpus": "1", "admission": admission,
            },
            "status": {"state": "Waiting"},
        }))
        .unwrap();
        let record = crate::translate::RecordView::new(&record);
        let mut observed = observed();
        observed.apply(Change::Applied(Object::QueuedJob(Box::new(record))));
        for name in ["a", "c"] {
            observed.apply(Change::Applied(view(&pod(name, SET_CONTROLLER, "s"))));
        }
        observed.groups().get("a") == observed.groups().get("c")
    };
    assert!(restarted(Value::Null));
    let place = json!({"node": "n", "devices": [0]});
    assert!(!restarted(json!({"epoch": 1, "placement": [place]})));
}

#[test]
fn those_that_were_let_go_are_taken_up_first() {
    let mut observed = observed();
    let mut gone = [pod("x", SET_CONTROLLER, "s"), pod("y", SET_CONTROLLER, "s")];
    for pod in &mut gone {
        pod["spec"]["schedulingGates"] = json!([]);
    }
    let waits = pod("a", SET_CONTROLLER, "s");
    let all = [view(&waits), view(&gone[0]), view(&gone[1])].to_vec();
    observed.apply(Change::Listed(crate::watch::Kind::Pod, all));
    let group = observed.groups().get("x").unwrap();
    assert_eq!(observed.groups().get("y"), Some(group));
    assert_eq!(observed.groups().get("a").unwrap(), "a");
}

#[test]
fn a_pod_that_is_gone_leaves_nothing_behind() {
    let mut observed = observed();
    let pod = view(&pod("a", SET_CONTROLLER, "s"));
    let id = told(&observed.apply(Change::Applied(pod.clone())))[0]
        .id
        .clone();
    let news = observed.apply(Change::Deleted(pod));
    assert!(news.facts.contains(&Event::JobWithdrawn(id.clone())));
    assert!(observed.job(id.uid()).is_none() && observed.groups().is_empty());
}
