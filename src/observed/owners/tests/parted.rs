//! Pods of an operator's object that lose their Job, or say that they had one.

use super::*;

/// The pod `one` says by its label that it is of the Job `of`, and its owner is the set or nobody.
fn labelled(of: &str, owner: Option<(&str, &str, &str)>) -> Object {
    let mut spec = pods(1);
    spec["nodeName"] = json!("a");
    let mut metadata = owned("one", 9, owner);
    metadata["labels"] = json!({"batch.kubernetes.io/controller-uid": of});
    let pod: Pod = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
    Object::Pod(PodView::new(&pod, GPU))
}

/// Whether the pod `one` is a job of its own.
fn is_alone(observed: &Observed) -> bool {
    observed.job("one").is_some()
}

/// The Job may be made anew meanwhile, and its pods come to the places of the set.
#[test]
fn a_pod_stays_with_the_set_for_as_long_as_that_is_there() {
    let mut observed = running();
    observed.apply(Change::Applied(labelled("job", None)));
    let Object::Job(part) = job(false) else {
        panic!("a Job");
    };
    observed.apply(Change::Deleted(Object::Job(part)));
    assert!(!is_alone(&observed) && observed.plan("set").unwrap().is_full());

    let mut leaves = set(3, false, json!([]));
    if let Object::Job(view) = &mut leaves {
        (view.is_leaving, view.epoch) = (true, Some(1));
    }
    observed.apply(Change::Applied(leaves));
    assert!(is_alone(&observed));
}

/// Nobody gets a pod out of what controls it by a label.
#[test]
fn a_label_of_a_job_that_never_was_parts_nobody() {
    let owner = ("kubeflow.org/v1", "PyTorchJob", "set");
    let Object::Pod(pod) = labelled("never", Some(owner)) else {
        panic!("a pod");
    };
    assert!(pod.left.is_none() && pod.job.as_deref() == Some("set"));
    let mut observed = running();
    observed.apply(Change::Applied(labelled("never", Some(owner))));
    assert!(!is_alone(&observed) && observed.plan("set").unwrap().is_full());
}
