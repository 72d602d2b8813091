//! What ran before the queue was there.

use super::*;
use crate::translate::FOUND;

/// A Job of two pods that runs, and says no more than Kubernetes has it say.
fn job(annotations: serde_json::Value, version: &str) -> Object {
    let manifest = json!({
        "metadata": {"namespace": "red", "name": "train", "uid": "j", "resourceVersion": version,
            "annotations": annotations},
        "spec": {"suspend": false, "parallelism": 2, "completions": 2, "template": {"spec": {
            "containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": 1}}}],
        }}},
        "status": {"active": 2, "startTime": "1970-01-01T00:01:00Z"},
    });
    let job = serde_json::from_value(manifest).unwrap();
    Object::Job(Box::new(JobView::new(&job, "nvidia.com/gpu")))
}

fn bound(uid: &str, job: Option<&str>) -> Object {
    let Object::Pod(mut pod) = super::pod(uid, "red") else {
        panic!("a pod")
    };
    pod.job = job.map(str::to_owned);
    pod.index = None;
    Object::Pod(pod)
}

fn tenant(of: Option<&str>) -> Change {
    let namespace = Object::Namespace("red".to_owned(), of.map(Into::into));
    Change::Applied(namespace)
}

/// The Job and its first pod are there, in a namespace of a tenant.
fn observed() -> Observed {
    let mut observed = Observed::new("nvidia.com/gpu", Classes::default(), Patience::default());
    observed.apply(tenant(Some("red")));
    observed.apply(Change::Applied(job(json!({}), "1")));
    observed.apply(Change::Applied(bound("p", Some("j"))));
    observed
}

fn charged(news: &News) -> Vec<(&str, &str)> {
    let facts = news.facts.iter();
    let charged = facts.filter_map(|fact| match fact {
        Event::PodCharged(pod, tenant) => Some((pod.as_str(), tenant.as_str())),
        _ => None,
    });
    charged.collect()
}

fn is_found(observed: &Observed) -> bool {
    observed.is_found(observed.job("j").unwrap())
}

#[test]
fn a_job_is_taken_up_where_it_runs_once_all_its_pods_have_nodes() {
    let mut observed = observed();
    assert!(!is_found(&observed), "one is still to come");
    let news = observed.apply(Change::Applied(bound("q", Some("j"))));
    assert!(is_found(&observed));
    assert_eq!(charged(&news), [("q", "red")]);

    let says = json!({"internal.prorata.dev/epoch": FOUND.to_string()});
    let news = observed.apply(Change::Applied(job(says, "2")));
    let plan = observed.plan("j").expect("it is in force");
    assert_eq!((plan.epoch(), plan.is_full()), (FOUND, true));
    assert!(!observed.bypassing().contains("j") && !is_found(&observed));
    let id = JobId::new("red", "train", "j");
    let since = Time::from_millis(60_000);
    let admitted = Event::JobAdmitted(id, plan.placement().clone(), since);
    let at = |fact: &Event| news.facts.iter().position(|known| known == fact);
    assert!(at(&Event::PodGone("p".into())) < at(&admitted), "{news:?}");
    assert!(at(&admitted).is_some() && is_seated(&news, "q"), "{news:?}");
    assert_eq!(charged(&news), []);
}

#[test]
fn whoever_follows_waits_for_the_record() {
    let mut observed = observed();
    observed.follow();
    observed.apply(Change::Applied(bound("q", Some("j"))));
    let says = json!({"internal.prorata.dev/epoch": FOUND.to_string()});
    observed.apply(Change::Applied(job(says, "2")));
    assert!(observed.plan("j").is_none());
}

#[test]
fn what_the_queue_has_seen_come_is_not_found() {
    for mark in ["created-by", "epoch"] {
        let mut observed = observed();
        observed.apply(Change::Applied(bound("q", Some("j"))));
        let says = json!({format!("internal.prorata.dev/{mark}"): "7"});
        observed.apply(Change::Applied(job(says, "2")));
        assert!(!is_found(&observed) && observed.plan("j").is_none());
    }
}

#[test]
fn a_bare_pod_is_charged_to_whose_the_namespace_is() {
    let mut observed = Observed::new("nvidia.com/gpu", Classes::default(), Patience::default());
    let news = observed.apply(Change::Applied(bound("bare", None)));
    assert_eq!(charged(&news), []);
    let news = observed.apply(tenant(Some("red")));
    assert_eq!(charged(&news), [("bare", "red")]);
    let news = observed.apply(tenant(Some("blue")));
    assert_eq!(news.facts.first(), Some(&Event::PodGone("bare".into())));
    assert_eq!(charged(&news), [("bare", "blue")]);
    assert_eq!(charged(&observed.apply(tenant(Some("blue")))), []);
    let news = observed.apply(tenant(None));
    assert_eq!((charged(&news), news.facts.len()), (vec![], 2));
}

#[test]
fn pods_without_gpus_are_charged_to_nobody() {
    let mut observed = observed();
    let Object::Pod(mut plain) = bound("plain", None) else {
        panic!("a pod")
    };
    plain.takes = Resources::ZERO;
    let news = observed.apply(Change::Applied(Object::Pod(plain)));
    assert_eq!(charged(&news), []);
}

#[test]
fn a_job_that_ran_before_its_namespace_had_a_tenant_is_charged_and_found() {
    let mut observed = Observed::new("nvidia.com/gpu", Classes::default(), Patience::default());
    observed.apply(Change::Applied(job(json!({}), "1")));
    for pod in ["p", "q"] {
        observed.apply(Change::Applied(bound(pod, Some("j"))));
    }
    assert!(!is_found(&observed));
    let news = observed.apply(tenant(Some("red")));
    assert_eq!(charged(&news), [("p", "red"), ("q", "red")]);
    assert!(is_found(&observed) && news.touched.contains("j"));
}

/// Or the next controller would evict what is protected.
#[test]
fn what_an_administrator_says_of_its_class_holds_after_a_restart() {
    let classes = Classes {
        protected: ["safe".to_owned()].into(),
        ..Classes::default()
    };
    let mut observed = Observed::new("nvidia.com/gpu", classes, Patience::default());
    let Object::Job(mut view) = job(json!({"internal.prorata.dev/epoch": "7"}), "1") else {
        panic!("a Job")
    };
    view.priority_class = Some("safe".to_owned());
    let mut record = record_of(&view.job("red".into(), 0));
    let place = crate::api::Place {
        node: "a".to_owned(),
        devices: vec![],
        milli: None,
        model: None,
    };
    record.spec.admission = Some(crate::api::Admission {
        epoch: 7,
        placement: vec![place.clone(), place],
    });
    let red = Object::Namespace("red".to_owned(), Some("red".into()));
    let lists = [
        (Kind::Namespace, vec![red]),
        (Kind::Job, vec![Object::Job(view)]),
        (Kind::QueuedJob, vec![Object::QueuedJob(Box::new(record))]),
    ];
    let news = observed.begin(lists.into());
    let submitted = news.facts.iter().find_map(|fact| match fact {
        Event::JobSubmitted(job) => Some(job.protected),
        _ => None,
    });
    assert_eq!(submitted, Some(true), "{news:?}");
}
