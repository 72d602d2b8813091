//! Jobs that were let go, and admissions that are heard of after what they started.

use super::*;
use crate::api::QueuedJobStatus;

/// The record of the Job, by which it is admitted like this.
fn record(observed: &Observed, version: u64, admitted: Option<i64>) -> Object {
    let job = observed.wanted("j").unwrap();
    let slot = Slot::whole("a".into(), [0].into_iter().collect());
    let placement: Placement = [slot].into_iter().collect();
    let admission = admitted.map(|epoch| (epoch, &placement));
    let form = translate::Form::Job;
    Object::QueuedJob(Box::new(RecordView {
        name: "j".to_owned(),
        namespace: "red".to_owned(),
        version,
        generation: 1,
        is_unowned: false,
        spec: translate::desired_spec(&job, form, admission, "nvidia.com/gpu"),
        status: QueuedJobStatus::default(),
    }))
}

fn job(observed: &Observed, version: u64, edit: impl FnOnce(&mut JobView)) -> Change {
    let mut view = observed.jobs["j"].clone();
    view.version = version;
    edit(&mut view);
    Change::Applied(Object::Job(Box::new(view)))
}

fn has(news: &News, fact: &Event) -> bool {
    news.facts.contains(fact)
}

fn id() -> JobId {
    JobId::new("red", "train", "j")
}

fn ended() -> Event {
    let job = id();
    Event::TaskFinished(TaskId { job, index: 0 })
}

#[test]
fn a_held_job_keeps_its_place_until_nothing_can_start_it_any_more() {
    let mut observed = observed();
    observed.apply(Change::Applied(record(&observed, 2, Some(1))));
    let news = observed.let_go(&id());
    assert!(has(&news, &Event::JobReleased(id())), "{news:?}");
    let news = observed.apply(job(&observed, 3, |view| {
        (view.is_held, view.is_quiet) = (true, true);
    }));
    assert!(!has(&news, &ended()), "it may be started by now");
    let news = observed.end_let_go("j");
    assert!(!has(&news, &ended()), "a patch may be on its way");
    let news = observed.apply(job(&observed, 4, |view| view.epoch = Some(1)));
    assert!(has(&news, &ended()), "{news:?}");
}

#[test]
fn a_held_job_whose_admission_never_came_on_record_has_no_place_once_nobody_writes_it() {
    let mut observed = observed();
    observed.let_go(&id());
    let news = observed.apply(job(&observed, 3, |view| view.is_held = true));
    assert!(!has(&news, &ended()), "its record may be being written");
    let news = observed.end_let_go("j");
    assert!(has(&news, &ended()), "{news:?}");
}

#[test]
fn a_held_job_that_was_started_keeps_its_place_until_its_pods_are_known_to_be_gone() {
    let mut observed = observed();
    observed.apply(Change::Applied(record(&observed, 2, Some(1))));
    observed.let_go(&id());
    let news = observed.apply(job(&observed, 3, |view| {
        (view.is_held, view.epoch, view.is_quiet) = (true, Some(1), false);
    }));
    observed.end_let_go("j");
    assert!(!has(&news, &ended()), "Kubernetes may have made a pod");
    let news = observed.apply(job(&observed, 4, |view| {
        (view.is_quiet, view.terminating) = (true, 1);
    }));
    assert!(!has(&news, &ended()), "its pod has not been seen");
    let news = observed.apply(job(&observed, 5, |view| view.terminating = 0));
    assert!(has(&news, &ended()), "{news:?}");
}

#[test]
fn a_record_that_is_heard_of_after_its_job_runs_is_in_force() {
    let mut observed = observed();
    observed.plans.remove_mut("j");
    observed.apply(job(&observed, 2, |view| {
        (view.is_suspended, view.epoch) = (false, Some(7));
    }));
    let news = observed.apply(Change::Applied(pod("p", "red")));
    assert!(!is_seated(&news, "p") && observed.bypasses("j"));
    let told = record(&self::observed(), 3, Some(7));
    let news = observed.apply(Change::Applied(told.clone()));
    assert_eq!(observed.plan("j").map(Plan::epoch), Some(7));
    assert!(is_seated(&news, "p") && !observed.bypasses("j"));
    assert!(has(&news, &Event::JobReleased(id())), "{news:?}");

    observed.withdraw("j");
    observed.apply(Change::Applied(told));
    assert!(observed.plan("j").is_none(), "it has ended here");
}

#[test]
fn what_runs_by_a_record_that_was_not_heard_of_is_not_admitted_anew() {
    let mut observed = observed();
    assert_eq!(observed.plan("j").map(Plan::epoch), Some(1));
    let told = record(&observed, 3, Some(7));
    observed.apply(job(&observed, 2, |view| {
        (view.is_suspended, view.epoch) = (false, Some(7));
    }));
    let news = observed.apply(Change::Applied(told));
    assert_eq!(observed.plan("j").map(Plan::epoch), Some(7));
    assert!(has(&news, &Event::JobWithdrawn(id())), "{news:?}");
}

#[test]
fn what_was_taken_back_here_and_runs_all_the_same_is_in_force() {
    let mut observed = observed();
    observed.apply(Change::Applied(record(&observed, 2, Some(1))));
    observed.withdraw("j");
    observed.apply(job(&observed, 3, |view| {
        (view.is_suspended, view.epoch) = (false, Some(1));
    }));
    assert_eq!(observed.plan("j").map(Plan::epoch), Some(1));
}

/// Its namespace may be heard of last.
#[test]
fn what_runs_keeps_the_tenant_by_which_it_was_started() {
    let mut observed = running();
    observed.apply(Change::Applied(record(&observed, 2, Some(1))));
    let nobodys = Object::Namespace("red".to_owned(), None);
    let news = observed.apply(Change::Applied(nobodys));
    assert!(!has(&news, &Event::JobWithdrawn(id())), "{news:?}");
    let tenant = observed.wanted("j").map(|job| job.tenant);
    assert_eq!(tenant, Some("red".into()));
}

/// The Job was started and is deleted, and keeps its place while a pod of it has no node.
fn left_unbound() -> (Observed, PodView) {
    let mut observed = observed();
    observed.apply(job(&observed, 2, |view| {
        (view.is_suspended, view.epoch) = (false, Some(1));
    }));
    let Object::Pod(mut unbound) = pod("p", "red") else {
        panic!("a pod")
    };
    unbound.node = None;
    observed.apply(Change::Applied(Object::Pod(unbound.clone())));
    let view = observed.jobs["j"].clone();
    let news = observed.apply(Change::Deleted(Object::Job(Box::new(view))));
    assert!(has(&news, &Event::JobWithdrawn(id())), "{news:?}");
    assert!(!has(&news, &ended()), "{news:?}");
    (observed, unbound)
}

#[test]
fn a_job_that_is_deleted_keeps_its_place_while_its_pod_may_still_be_bound() {
    let (mut observed, _) = left_unbound();
    let news = observed.apply(Change::Deleted(pod("p", "red")));
    assert!(has(&news, &ended()), "{news:?}");
}

/// Watches go each at its own pace: the pod may be heard of before its Job.
#[test]
fn a_pod_that_is_heard_of_before_its_job_keeps_its_place_too() {
    let mut observed = observed();
    let view = observed.jobs.remove("j").unwrap();
    let Object::Pod(mut unbound) = pod("p", "red") else {
        panic!("a pod")
    };
    unbound.node = None;
    observed.apply(Change::Applied(Object::Pod(unbound)));
    let mut started = view;
    (started.is_suspended, started.epoch) = (false, Some(1));
    observed.apply(Change::Applied(Object::Job(Box::new(started.clone()))));
    let news = observed.apply(Change::Deleted(Object::Job(Box::new(started))));
    assert!(!has(&news, &ended()), "{news:?}");
    let news = observed.apply(Change::Deleted(pod("p", "red")));
    assert!(has(&news, &ended()), "{news:?}");
}

#[test]
fn a_job_that_is_edited_while_its_start_is_written_is_planned_anew_only_after_that() {
    let mut observed = observed();
    observed.let_go(&id());
    let failed = Event::DecisionFailed(id());
    let news = observed.apply(job(&observed, 3, |view| view.gang = 2));
    assert!(!has(&news, &failed), "{news:?}");
    let news = observed.end_let_go("j");
    assert!(has(&news, &failed), "{news:?}");
}

/// `kubectl delete job --cascade=orphan`, while a pod has no node yet.
#[test]
fn what_a_job_leaves_behind_takes_no_place_of_it() {
    let (mut observed, mut coming) = left_unbound();
    coming.job = None;
    let news = observed.apply(Change::Applied(Object::Pod(coming)));
    assert!(has(&news, &ended()), "{news:?}");
}
