//! Pods that run on when what they are of is over.

use super::*;

fn seconds(count: u64) -> prorata_core::Time {
    prorata_core::Time::from_millis(count * 1000)
}

/// A PyTorchJob of two workers and a master without GPUs.
fn net(version: u32, conditions: Value) -> Object {
    let spec = json!({"pytorchReplicaSpecs": {
        "Master": {"template": {"spec": pods(0)}},
        "Worker": {"replicas": 2, "template": {"spec": pods(1)}},
    }});
    let object = json!({
        "metadata": owned("set", version, None), "spec": spec,
        "status": {"conditions": conditions},
    });
    let kind = Composite::of_owner("kubeflow.org/v1", "PyTorchJob").unwrap();
    let object = serde_json::from_value(object).unwrap();
    Object::Job(Box::new(JobView::of_composite(kind, &object, GPU)))
}

fn member(uid: &str, gpus: u32, is_leaving: bool) -> Object {
    let mut spec = pods(gpus);
    spec["nodeName"] = json!("a");
    let owner = ("kubeflow.org/v1", "PyTorchJob", "set");
    let object = json!({"metadata": owned(uid, 1, Some(owner)), "spec": spec});
    let pod: Pod = serde_json::from_value(object).unwrap();
    let mut view = PodView::new(&pod, GPU);
    view.is_leaving = is_leaving;
    Object::Pod(view)
}

/// It is over, and its workers run on. The queue has started it, or has not.
fn over(was_queued: bool) -> Observed {
    let mut observed = of_red();
    if was_queued {
        observed.apply(Change::Applied(record(1)));
    }
    observed.apply(Change::Applied(net(1, json!([]))));
    for (uid, gpus) in [("one", 1), ("two", 1), ("master", 0)] {
        observed.apply(Change::Applied(member(uid, gpus, false)));
    }
    let done = json!([{"type": "Succeeded", "status": "True"}]);
    observed.apply(Change::Applied(net(2, done)));
    observed
}

fn names(observed: &Observed) -> Vec<&str> {
    observed.overdue("set").map(|pod| &*pod.name).collect()
}

#[test]
fn pods_that_run_on_are_ended_after_a_while() {
    let mut observed = over(true);
    observed.expire(seconds(10));
    assert_eq!(observed.next_deadline(), Some(seconds(130)));
    observed.expire(seconds(129));
    assert_eq!(names(&observed), Vec::<&str>::new());
    let news = observed.expire(seconds(130)).news;
    assert!(news.touched.contains("set"));
    assert_eq!(names(&observed), ["one", "two"]);
    assert_eq!(observed.next_deadline(), None);
    observed.apply(Change::Applied(member("one", 1, true)));
    assert_eq!(names(&observed), ["two"], "once");
}

#[test]
fn what_was_there_before_the_queue_is_let_alone() {
    let mut observed = over(false);
    assert_eq!(observed.next_deadline(), None);
    observed.expire(seconds(1000));
    assert_eq!(names(&observed), Vec::<&str>::new());
}

#[test]
fn pods_that_end_by_themselves_are_not_waited_for() {
    let mut observed = over(true);
    observed.expire(seconds(0));
    for uid in ["one", "two"] {
        observed.apply(Change::Deleted(member(uid, 1, false)));
    }
    observed.expire(seconds(1000));
    assert_eq!(names(&observed), Vec::<&str>::new());
}

/// The operator of a JobSet ends its Jobs, and the controller may delete no pod of those.
#[test]
fn pods_of_jobs_are_their_operators_to_end() {
    let mut observed = running();
    observed.apply(Change::Applied(record(1)));
    let done = json!([{"type": "Completed", "status": "True"}]);
    observed.apply(Change::Applied(set(3, false, done)));
    observed.expire(seconds(1000));
    observed.expire(seconds(2000));
    assert_eq!(names(&observed), Vec::<&str>::new());
}
