//! Pods that run on without their Job.

use super::*;
use crate::translate::{FOUND, JOB_CONTROLLER};
use k8s_openapi::api::core::v1::Pod;

const GPU: &str = "nvidia.com/gpu";

/// The pod of the Job `j`, on the node `a`, as it is controlled by `owner`.
fn pod(owner: Option<&str>, version: &str) -> Object {
    let owner = owner.map(
        |uid| json!({"apiVersion": "batch/v1", "kind": "Job", "name": "o", "uid": uid, "controller": true}),
    );
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {
            "namespace": "red", "name": "p", "uid": "p", "resourceVersion": version,
            "labels": {"batch.kubernetes.io/controller-uid": "j"},
            "annotations": {"prorata.dev/gang": "4"},
            "ownerReferences": owner.into_iter().collect::<Vec<_>>(),
        },
        "spec": {
            "nodeName": "a",
            "containers": [{"name": "c", "resources": {"limits": {GPU: 1}}}],
        },
        "status": {"phase": "Running"},
    }))
    .unwrap();
    Object::Pod(PodView::new(&pod, GPU))
}

/// The Job has been started, and its pod runs.
fn running() -> Observed {
    let mut observed = observed();
    let mut view = observed.jobs["j"].clone();
    (view.is_suspended, view.epoch) = (false, Some(1));
    view.creator = Some("alice".to_owned());
    observed.apply(Change::Applied(Object::Job(Box::new(view))));
    let news = observed.apply(Change::Applied(pod(Some("j"), "2")));
    assert!(is_seated(&news, "p"), "{news:?}");
    observed
}

fn job(observed: &Observed) -> Object {
    Object::Job(Box::new(observed.jobs["j"].clone()))
}

/// What the queue knows of the pod by itself.
fn alone(news: &News) -> Option<&Job> {
    let submitted = news.facts.iter().rev().find_map(|fact| match fact {
        Event::JobSubmitted(job) if job.id.uid() == "p" => Some(job),
        _ => None,
    });
    let admitted = |fact: &Event| matches!(fact, Event::JobAdmitted(id, ..) if id.uid() == "p");
    submitted.filter(|_| news.facts.iter().any(admitted))
}

#[test]
fn it_goes_on_by_itself_once_its_job_is_gone_and_may_be_evicted() {
    let mut observed = running();
    let news = observed.apply(Change::Applied(pod(None, "3")));
    assert!(alone(&news).is_none() && observed.plan("j").unwrap().is_full());

    let news = observed.apply(Change::Deleted(job(&observed)));
    let known = alone(&news).expect("it is admitted where it runs");
    assert!(known.preemptible && (known.gang, known.tenant.as_str()) == (1, "red"));
    let plan = observed.plan("p").unwrap();
    assert!(plan.is_full() && plan.is_on(&"a".into()) && plan.epoch() == FOUND);
    let task = TaskId {
        job: JobId::new("red", "train", "j"),
        index: 0,
    };
    let at = |fact: &Event| news.facts.iter().position(|known| known == fact);
    let leaves = at(&Event::TaskFinished(task)).expect("its place in the Job is free");
    let own = TaskId {
        job: JobId::new("red", "p", "p"),
        index: 0,
    };
    assert!(leaves < at(&Event::TaskBound(own, "a".into())).unwrap());
    let view = observed.job("p").unwrap();
    assert!(!observed.is_found(view), "nothing is written on the pod");
    assert!(!observed.bypassing().contains("p"));
}

#[test]
fn it_does_so_before_its_job_is_gone_if_that_leaves() {
    let mut observed = running();
    let mut view = observed.jobs["j"].clone();
    view.is_leaving = true;
    observed.apply(Change::Applied(Object::Job(Box::new(view))));
    assert!(observed.plan("j").unwrap().is_full(), "it is the Job's yet");
    let news = observed.apply(Change::Applied(pod(None, "3")));
    assert!(alone(&news).is_some(), "{news:?}");
    let creator = observed.job("p").unwrap().creator.as_deref();
    assert_eq!(creator, Some("alice"), "who made the Job");
}

#[test]
fn whoever_takes_it_then_does_not_get_it_out_of_the_queue() {
    let mut observed = running();
    observed.apply(Change::Deleted(job(&observed)));
    observed.apply(Change::Applied(pod(None, "3")));
    let plan = observed.plan("p").cloned().unwrap();
    for (owner, version) in [(None, "4"), (Some("other"), "5")] {
        observed.apply(Change::Applied(pod(owner, version)));
        assert_eq!(observed.plan("p").unwrap().epoch(), plan.epoch());
        assert_eq!(observed.members("p").len(), 1);
        assert_eq!(observed.pod("p").unwrap().job.as_deref(), Some("p"));
    }
    let news = observed.apply(Change::Deleted(pod(None, "6")));
    assert!(observed.job("p").is_none() && observed.left.is_empty());
    let own = TaskId {
        job: JobId::new("red", "p", "p"),
        index: 0,
    };
    assert!(
        news.facts.contains(&Event::TaskFinished(own)),
        "its room is free: {news:?}"
    );
}

/// Something else keeps the Job's object, and what its record tells of is not in force any more.
#[test]
fn nobody_waits_for_the_record_of_a_job_that_leaves() {
    let mut observed = running();
    let known = observed.wanted("j").unwrap();
    let mut record = record_of(&known);
    let plan = observed.plan("j").unwrap();
    let admission = Some((plan.epoch(), plan.placement()));
    record.spec = translate::desired_spec(&known, translate::Form::Job, admission, GPU);
    let record = Object::QueuedJob(Box::new(record));
    observed.apply(Change::Applied(record.clone()));
    let mut leaves = observed.jobs["j"].clone();
    leaves.is_leaving = true;
    let leaves = Object::Job(Box::new(leaves));
    observed.apply(Change::Applied(leaves.clone()));
    observed.apply(Change::Applied(pod(None, "3")));
    observed.withdraw("j");
    observed.forget_withdrawn(|_| false);
    assert!(!observed.is_withdrawn("j") && !observed.awaits_others("p"));

    // Nor does who starts anew take it for one in force.
    let mut anew = Observed::new(GPU, Classes::default(), Patience::default());
    let red = Object::Namespace("red".to_owned(), Some("red".into()));
    let lists = [
        (Kind::Namespace, vec![red]),
        (Kind::Job, vec![leaves]),
        (Kind::Pod, vec![pod(None, "4")]),
        (Kind::QueuedJob, vec![record]),
    ];
    let news = anew.begin(lists.into());
    assert!(
        alone(&news).is_some() && anew.plan("j").is_none(),
        "{news:?}"
    );
}

/// With what is on record of it, and where it was left while nobody looked.
#[test]
fn whoever_starts_anew_sees_the_same() {
    let mut before = running();
    before.apply(Change::Deleted(job(&before)));
    let news = before.apply(Change::Applied(pod(None, "3")));
    let known = alone(&news).cloned().unwrap();
    let mut record = record_of(&known);
    let plan = before.plan("p").unwrap();
    let admission = Some((plan.epoch(), plan.placement()));
    record.spec = translate::desired_spec(&known, translate::Form::Pod, admission, GPU);
    let red = || vec![Object::Namespace("red".to_owned(), Some("red".into()))];
    for records in [vec![], vec![Object::QueuedJob(Box::new(record))]] {
        for owner in [None, Some("other")] {
            let mut observed = Observed::new(GPU, Classes::default(), Patience::default());
            let lists = [
                (Kind::Namespace, red()),
                (Kind::Pod, vec![pod(owner, "4")]),
                (Kind::QueuedJob, records.clone()),
            ];
            let news = observed.begin(lists.into());
            assert!(alone(&news).is_some_and(|job| job.preemptible), "{news:?}");
            assert!(observed.plan("p").unwrap().is_full());
        }
    }
}

#[test]
fn who_says_so_by_a_label_waits_by_itself_as_ever() {
    let pod = |creator: &str, owner: &str| {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "namespace": "red", "name": "p", "uid": "p",
                "labels": {"batch.kubernetes.io/controller-uid": owner},
                "annotations": {"internal.prorata.dev/created-by": creator},
            },
            "spec": {"nodeName": "a", "containers": [
                {"name": "c", "resources": {"limits": {GPU: 1}}},
            ]},
        }))
        .unwrap();
        PodView::new(&pod, GPU)
    };
    let forged = pod("alice", "j");
    assert!(forged.left.is_none() && !forged.gated.unwrap().preemptible);
    let queued = pod(JOB_CONTROLLER, "j");
    assert!(queued.left.is_some() && queued.gated.unwrap().preemptible);
}
