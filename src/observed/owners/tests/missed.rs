//! Pods of a start that do not come, and pods made anew that find no place.

use super::*;

#[test]
fn a_pod_without_gpus_stands_for_none_that_is_missed() {
    let mut observed = started();
    observed.apply(Change::Applied(job_with(false, 1, json!({"active": 1}))));
    assert!(observed.next_deadline().is_some(), "one of two is missed");
    let driver = json!({
        "metadata": owned("driver", 1, Some(("jobset.x-k8s.io/v1alpha2", "JobSet", "set"))),
        "spec": {"template": {"spec": pods(0)}}, "status": {"active": 1},
    });
    let driver = JobView::new(&serde_json::from_value(driver).unwrap(), GPU);
    observed.apply(Change::Applied(Object::Job(Box::new(driver))));
    assert!(observed.next_deadline().is_some(), "it still is");
    observed.apply(Change::Applied(job_with(false, 2, json!({"active": 2}))));
    assert_eq!(observed.next_deadline(), None);
}

#[test]
fn no_planned_node_is_blamed_for_a_pod_without_gpus() {
    let mut observed = started();
    observed.apply(Change::Applied(job(false)));
    let time = |seconds: u64| prorata_core::Time::from_millis(seconds * 1000);
    let avoided = |observed: &mut Observed, gpus: u32| {
        let name = format!("asks-for-{gpus}");
        observed.apply(Change::Applied(unbound(&name, gpus, Some("no room"))));
        observed.expire(time(0));
        observed.expire(time(60));
        assert!(observed.is_refused("set"));
        let node = prorata_core::Node::new("a");
        !observed.wanted("set").unwrap().needs.allow(&node)
    };
    assert!(!avoided(&mut observed, 0));
    let mut observed = started();
    observed.apply(Change::Applied(job(false)));
    let cordoned = prorata_core::Node {
        schedulable: false,
        ..prorata_core::Node::new("a")
    };
    observed.apply(Change::Applied(Object::Node(cordoned, true)));
    assert!(!avoided(&mut observed, 1), "it takes nobody");
    let mut observed = started();
    observed.apply(Change::Applied(job(false)));
    assert!(avoided(&mut observed, 1));
}

/// Each place had its pod before.
#[test]
fn a_pod_that_is_made_anew_and_finds_no_place_is_seen() {
    let mut observed = running();
    assert_eq!(observed.next_deadline(), None);
    observed.apply(Change::Deleted(pod("two", 1)));
    observed.apply(Change::Applied(unbound("driver", 0, Some("no room"))));
    assert_eq!(
        observed.next_deadline(),
        None,
        "none with a place is missed"
    );
    observed.apply(Change::Applied(unbound("three", 1, Some("no room"))));
    assert!(observed.next_deadline().is_some());
    observed.apply(Change::Applied(pod("three", 1)));
    assert_eq!(observed.next_deadline(), None);
}

#[test]
fn what_goes_on_without_a_missed_pod_is_let_alone() {
    let mut observed = running();
    observed.jobs.get_mut("set").unwrap().at_once = false;
    observed.apply(Change::Deleted(pod("two", 1)));
    observed.apply(Change::Applied(unbound("three", 1, Some("no room"))));
    assert_eq!(observed.next_deadline(), None, "the other goes on");
    observed.apply(Change::Deleted(pod("one", 1)));
    assert!(observed.next_deadline().is_some(), "nothing goes on");
}

/// Its autoscaler has added it.
#[test]
fn a_pod_beyond_the_places_is_not_missed() {
    let mut observed = running();
    let set = observed.jobs.get_mut("set").unwrap();
    assert!(set.at_once);
    set.remaining = 3;
    observed.apply(Change::Applied(unbound("three", 1, Some("no room"))));
    assert_eq!(observed.next_deadline(), None);
}

/// Its predecessor is still ending on the node, and another has ended well.
#[test]
fn a_pod_that_is_made_before_its_place_is_free_is_waited_for() {
    let mut observed = running();
    observed.apply(Change::Deleted(pod("two", 1)));
    let one = json!({"succeeded": 1, "active": 1});
    observed.apply(Change::Applied(job_with(false, 2, one)));
    observed.apply(Change::Applied(unbound("three", 1, Some("no room"))));
    assert_eq!(observed.next_deadline(), None);
    observed.apply(Change::Deleted(pod("one", 1)));
    assert!(observed.next_deadline().is_some());
}

#[test]
fn a_pod_without_gpus_that_has_its_node_is_missed_no_more() {
    let mut observed = started();
    observed.apply(Change::Applied(job_with(false, 1, json!({"active": 2}))));
    observed.apply(Change::Applied(unbound("driver", 0, Some("no room"))));
    assert!(observed.next_deadline().is_some());
    let Object::Pod(mut driver) = pod("driver", 0) else {
        panic!("a pod")
    };
    driver.node = Some("without-gpus".into());
    observed.apply(Change::Applied(Object::Pod(driver)));
    assert_eq!(observed.next_deadline(), None);
}

/// It was left there by an earlier start, and is deleted when that node is.
#[test]
fn what_ends_on_a_lost_node_is_not_waited_for() {
    let is_missed = |is_known: bool| {
        let mut observed = running();
        if is_known {
            let Object::Pod(mut left) = pod("left", 1) else {
                panic!("a pod")
            };
            (left.node, left.is_leaving) = (Some("gone".into()), true);
            observed.apply(Change::Applied(Object::Pod(left)));
        }
        observed.apply(Change::Deleted(pod("two", 1)));
        let ending = json!({"active": 1, "terminating": 1});
        observed.apply(Change::Applied(job_with(false, 2, ending)));
        observed.apply(Change::Applied(unbound("three", 1, Some("no room"))));
        observed.next_deadline().is_some()
    };
    assert!(!is_missed(false), "its predecessor may be ending");
    assert!(is_missed(true));
}
