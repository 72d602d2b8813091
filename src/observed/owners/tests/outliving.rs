//! Pods that run on when what they are of is over.

use super::*;

fn seconds(count: u64) -> prorata_core::Time {
    prorata_core::Time::from_millis(count * 1000)
}

/// A PyTorchJob of two workers and a master without GPUs.
fn net(version: u32, epoch: Option<i64>, conditions: Value) -> Object {
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
    let mut view = JobView::of_composite(kind, &object, GPU);
    view.epoch = epoch;
    Object::Job(Box::new(view))
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

/// It is over, and its workers run on.
fn over(epoch: Option<i64>) -> Observed {
    let mut observed = of_red();
    observed.apply(Change::Applied(record(1)));
    observed.apply(Change::Applied(net(1, epoch, json!([]))));
    for (uid, gpus) in [("one", 1), ("two", 1), ("master", 0)] {
        observed.apply(Change::Applied(member(uid, gpus, false)));
    }
    let done = json!([{"type": "Succeeded", "status": "True"}]);
    observed.apply(Change::Applied(net(2, epoch, done)));
    observed
}

/// However long it takes, none of its pods is to be deleted.
fn assert_let_alone(mut observed: Observed) {
    observed.expire(seconds(0));
    observed.expire(seconds(1000));
    assert_eq!(names(&observed), Vec::<&str>::new());
}

fn names(observed: &Observed) -> Vec<&str> {
    observed.leftovers("set").map(|pod| &*pod.name).collect()
}

#[test]
fn pods_that_run_on_are_ended_after_a_while() {
    let mut observed = over(Some(1));
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
fn pods_that_are_heard_of_later_are_ended_too() {
    let mut observed = over(Some(1));
    for uid in ["one", "two"] {
        observed.apply(Change::Deleted(member(uid, 1, false)));
    }
    assert_eq!(observed.next_deadline(), None);
    // It holds no places any more.
    observed.plans.remove_mut("set");
    observed.apply(Change::Applied(member("late", 1, false)));
    observed.expire(seconds(0));
    observed.expire(seconds(120));
    assert_eq!(names(&observed), ["late"]);
}

#[test]
fn what_the_queue_has_not_started_is_let_alone() {
    for epoch in [None, Some(translate::FREED)] {
        let observed = over(epoch);
        assert_eq!(observed.next_deadline(), None);
        assert_let_alone(observed);
    }
}

#[test]
fn what_is_no_tenants_any_more_is_let_alone() {
    let mut observed = over(Some(1));
    let nobodys = Object::Namespace("red".to_owned(), None);
    observed.apply(Change::Applied(nobodys));
    let touched = net(3, Some(1), json!([{"type": "Succeeded", "status": "True"}]));
    observed.apply(Change::Applied(touched));
    assert_let_alone(observed);
}

#[test]
fn pods_that_end_by_themselves_are_not_waited_for() {
    let mut observed = over(Some(1));
    observed.expire(seconds(0));
    for uid in ["one", "two"] {
        observed.apply(Change::Deleted(member(uid, 1, false)));
    }
    assert_let_alone(observed);
}

/// The operator of a JobSet ends its Jobs, and the controller may delete no pod of those.
#[test]
fn pods_of_jobs_are_their_operators_to_end() {
    let mut observed = running();
    observed.apply(Change::Applied(record(1)));
    observed.apply(Change::Applied(done(3)));
    assert_let_alone(observed);
}

/// A JobSet that was started, one pod of which is still to come.
fn with_one_to_come() -> Observed {
    let mut observed = started();
    observed.apply(Change::Applied(record(1)));
    observed.apply(Change::Applied(job(false)));
    observed.apply(Change::Applied(unbound("p", 1, None)));
    observed
}

/// Once it is over, and what else happens then, its places are free after a while.
fn assert_keeps_no_places(mut observed: Observed, then: Option<Change>) {
    let frees = |news: &News| {
        let is_freed = |fact: &&Event| matches!(fact, Event::TaskFinished(..));
        news.facts.iter().filter(is_freed).count()
    };
    assert_eq!(frees(&observed.apply(Change::Applied(done(3)))), 0);
    assert_eq!(frees(&observed.expire(seconds(0)).news), 0);
    let news = then.map(|change| observed.apply(change));
    assert_eq!(news.as_ref().map_or(0, frees), 0);
    assert_eq!(frees(&observed.expire(seconds(119)).news), 0);
    assert_eq!(observed.next_deadline(), Some(seconds(120)));
    assert_eq!(frees(&observed.expire(seconds(120)).news), 2);
    assert_eq!(observed.next_deadline(), None);
}

/// Somebody else's gate may hold a pod back for ever.
#[test]
fn pods_that_do_not_come_keep_no_places() {
    assert_keeps_no_places(with_one_to_come(), None);
}

#[test]
fn nor_do_they_when_nobody_pays_for_them_any_more() {
    for then in [
        Change::Applied(Object::Namespace("red".to_owned(), None)),
        Change::Deleted(record(1)),
    ] {
        assert_keeps_no_places(with_one_to_come(), Some(then));
    }
}

/// They are in nobody's way where another controller decides either.
#[test]
fn nor_do_they_for_whoever_follows() {
    let mut observed = of_red();
    observed.follow();
    observed.apply(Change::Applied(record(1)));
    observed.apply(Change::Applied(of_epoch(set(2, false, json!([])))));
    observed.apply(Change::Applied(job(false)));
    observed.apply(Change::Applied(unbound("p", 1, None)));
    assert_keeps_no_places(observed, None);
}

/// The JobSet, which is over.
fn done(version: u32) -> Object {
    let conditions = json!([{"type": "Completed", "status": "True"}]);
    of_epoch(set(version, false, conditions))
}

fn of_epoch(mut set: Object) -> Object {
    if let Object::Job(view) = &mut set {
        view.epoch = Some(1);
    }
    set
}
