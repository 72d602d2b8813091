//! What is to be written about a job: the difference between what is wanted and what is there.
//!
//! Pure. It is asked again after every change and every write, so it never has to remember what
//! it asked for before.

mod pods;
mod record;
mod shares;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use prorata_core::{NodeId, Reason, Snapshot, Verdict};
use serde_json::{Value, json};

use crate::api::{Eviction, Forecast, QueuedJobSpec, QueuedJobStatus, State};
use crate::effects::{Effect, Notice, RecordWrite};
use crate::explained::Explained;
use crate::observed::{Leaver, Observed};
use crate::plan::Plan;
use crate::status::Standing;
use crate::translate::{self, ADMITTED, Form, JOB_CONDITION, JobView, RecordView};

/// What is admitted so soon did not wait. Moments on record are in whole seconds.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The next thing to write about the Job of this UID, if anything is. Nothing is while it waits
/// and it has not been explained why. `may_start`: kube-scheduler would get an answer about its pods.
#[must_use]
pub fn effect(
    observed: &Observed,
    snapshot: &Snapshot,
    explained: &Explained,
    gpu_resource: &str,
    uid: &str,
    may_start: bool,
    now: Timestamp,
) -> Option<Effect> {
    let record = observed.record(uid);
    let Some(view) = observed.job(uid) else {
        return pods::left(record?, now);
    };
    let outlived = outlived(observed, view, record, now);
    let Some(job) = snapshot.job(&view.id).filter(|_| outlived.is_none()) else {
        return outlived.or_else(|| unqueued(observed, view, record, now));
    };
    let leaver = observed.leaver(uid);
    if leaver.is_some_and(|leaver| awaits_promise(leaver, observed, snapshot)) {
        return None;
    }
    // Two that have changed places wait for each other: each gives up what it had first.
    let awaits = observed.awaits_others(uid);
    let standing = match awaits {
        true => Standing::of(&Verdict::Waiting(Reason::NotYetEvaluated), None),
        false => standing(observed, snapshot, explained, view)?,
    };
    // What one that leaves still holds is on record until it is free.
    let holds = leaver.is_some() || snapshot.placement(&view.id).is_some();
    let plan = observed.plan(uid).filter(|_| holds && !awaits);
    let pods = pods::write(observed, snapshot, view);
    let due = plan.filter(|plan| leaver.is_none() && is_due(view, plan));
    let begins = due.is_some() || pods::begins(pods.as_ref(), view);
    let standing = standing.held_back(begins && !may_start);
    let admission = plan.map(|plan| (plan.epoch(), plan.placement()));
    let spec = translate::desired_spec(job, view.form, admission, gpu_resource);
    let spec = record::whole(spec, observed, snapshot, view);
    let forecast = explained.forecast(uid);
    let was_told = record.is_some_and(|record| has_waited(record, view));
    let record = record_write(record, Some(spec), &standing, forecast, now);
    let fence = fence(view, &record);
    let due = due.filter(|_| may_start && fence.is_none() && !observed.is_outlasted(uid));
    let start = due.map(|plan| translate::release(view, plan.epoch(), plan.placement()));
    let starts = start.is_some();
    let stop = if starts {
        None
    } else {
        stop(view, plan, observed, snapshot)
    };
    let pods = pods.filter(|pods| pods::may_be_made(pods, may_start, stop.is_some()));
    let is_news = is_news(&record, &standing);
    // That a Job waits no more is said when it has been started.
    let condition = condition(&standing, view, now).filter(|_| !starts);
    let (notice, patch) = match stop {
        Some((notice, patch)) => (Some(notice), Some(patch)),
        None => {
            let said = if starts {
                // A Job is told by its condition, which follows; what has none is told now.
                (was_told && view.form != Form::Job).then(|| told(&standing))
            } else {
                notice(&standing, condition.as_ref(), is_news)
                    .or_else(|| pods::notice(pods.as_ref()?, was_told))
            };
            (said, start)
        }
    };
    let effect = Effect {
        job: view.id.clone(),
        form: view.form,
        fence,
        condition,
        notice,
        about: pods::about(observed, view),
        leaving: Vec::new(),
        patch,
        pods,
        starts,
        record,
    };
    effect.changes_anything().then_some(effect)
}

/// Where the job stands; `None` while it waits and it has not been explained why.
fn standing(
    observed: &Observed,
    snapshot: &Snapshot,
    explained: &Explained,
    view: &JobView,
) -> Option<Standing> {
    let uid = view.id.uid();
    if let Some(leaver) = observed.leaver(uid) {
        return Some(Standing::leaving(&leaver.eviction));
    }
    if observed.is_stopping(uid) && !view.is_held {
        let lost = observed.lost_and_awaited(uid);
        return Some(lost.map_or_else(Standing::stopping, Standing::stopping_on));
    }
    let verdict = explained.verdict(snapshot, &view.id)?;
    let job = snapshot.job(&view.id);
    let standing = job
        .and_then(|job| shares::standing(observed, job, &verdict))
        .unwrap_or_else(|| Standing::of(&verdict, observed.obstacle(uid).as_deref()));
    Some(pods::advised(standing, view))
}

/// Nobody leaves before it is on record what for: after a crash the room goes to the same job.
fn awaits_promise(leaver: &Leaver, observed: &Observed, snapshot: &Snapshot) -> bool {
    let waiting = leaver.by.as_ref();
    let promised = waiting.filter(|by| snapshot.promised(by).is_some());
    promised.is_some_and(|by| {
        let record = observed.record(by.uid());
        record.is_none_or(|record| record.spec.promise.is_empty())
    })
}

/// What is to be written about what is not in the queue.
fn unqueued(
    observed: &Observed,
    view: &JobView,
    record: Option<&RecordView>,
    now: Timestamp,
) -> Option<Effect> {
    match observed.is_free(view) {
        true => Some(freed(view)),
        false if observed.is_found(view) => Some(found(view)),
        false => finished(view, record?, now),
    }
}

/// What was suspended before anybody could know that it asks for no GPUs goes on.
fn freed(view: &JobView) -> Effect {
    Effect {
        patch: Some(translate::free(view)),
        ..nothing(view)
    }
}

/// What ran before the queue was there says that it is taken up. That ends nothing.
fn found(view: &JobView) -> Effect {
    Effect {
        fence: Some(translate::take_up(view)),
        ..nothing(view)
    }
}

/// Ends pods that have run on for too long since the job was over.
fn outlived(
    observed: &Observed,
    view: &JobView,
    record: Option<&RecordView>,
    now: Timestamp,
) -> Option<Effect> {
    let pods = pods::end(observed, view)?;
    Some(Effect {
        record: record_write(record, None, &Standing::finished(), None, now),
        notice: pods::notice(&pods, true),
        pods: Some(pods),
        ..nothing(view)
    })
}

fn nothing(view: &JobView) -> Effect {
    Effect::nothing(view.id.clone(), view.form)
}

/// A job that is over keeps its record, which says so, until it is deleted.
fn finished(view: &JobView, record: &RecordView, now: Timestamp) -> Option<Effect> {
    // It may have ended before anybody wrote that it waits no more.
    let has_run = view.epoch.is_some() && view.begun.is_some();
    let runs = Standing::of(&Verdict::Running, None);
    let effect = Effect {
        record: record_write(Some(record), None, &Standing::finished(), None, now),
        condition: condition(&runs, view, now).filter(|_| has_run),
        ..nothing(view)
    };
    (view.has_ended && effect.changes_anything()).then_some(effect)
}

/// What makes the record say `spec`, or what it says already, and show where the job stands. While
/// it waits and nothing new is foretold, what was foretold stays.
fn record_write(
    record: Option<&RecordView>,
    spec: Option<QueuedJobSpec>,
    standing: &Standing,
    forecast: Option<&Forecast>,
    now: Timestamp,
) -> RecordWrite {
    let shown = record.and_then(|record| record.status.forecast.as_ref());
    let forecast = forecast.or(shown).cloned();
    let is_open = standing.state == State::Waiting && !standing.has_places();
    let forecast = forecast.filter(|_| is_open);
    let Some(record) = record else {
        let status = Box::new(status(standing, forecast, Time(now)));
        return spec.map_or(RecordWrite::Keep, |spec| {
            RecordWrite::Create(Box::new(spec), status)
        });
    };
    let spec = spec.unwrap_or_else(|| record.spec.clone());
    let shown = &record.status;
    let up_to_date = says(shown, standing);
    if up_to_date && record.spec == spec && shown.forecast == forecast {
        return RecordWrite::Keep;
    }
    // Another admission is another start.
    let same = spec.admission == record.spec.admission;
    let status = match up_to_date && same {
        true => QueuedJobStatus {
            forecast,
            ..shown.clone()
        },
        false => {
            let since = shown
                .conditions
                .first()
                .filter(|condition| same && condition.status == is_true(standing.has_places()));
            let since = since.map_or(Time(now), |known| known.last_transition_time.clone());
            status(standing, forecast, since)
        }
    };
    RecordWrite::Change(Box::new(record.clone()), Box::new(spec), Box::new(status))
}

/// Whether it shows where the job stands.
fn says(shown: &QueuedJobStatus, standing: &Standing) -> bool {
    shown.state == Some(standing.state)
        && shown.reason == standing.reason
        && shown.message == standing.message
}

/// Whether the write says what its user has not been told: another standing, or another eviction. That
/// the places of one that leaves are free by now is none.
fn is_news(write: &RecordWrite, standing: &Standing) -> bool {
    match write {
        RecordWrite::Keep => false,
        RecordWrite::Create(..) | RecordWrite::Delete(_) => true,
        RecordWrite::Change(record, spec, _) => {
            let leaves_anew = spec.eviction.is_some() && spec.eviction != record.spec.eviction;
            leaves_anew || !says(&record.status, standing)
        }
    }
}

/// What is shown, since when it is so whether its places are its own.
fn status(standing: &Standing, forecast: Option<Forecast>, since: Time) -> QueuedJobStatus {
    let condition = Condition {
        type_: ADMITTED.to_owned(),
        status: is_true(standing.has_places()).to_owned(),
        reason: standing.reason.clone(),
        message: standing.message.clone(),
        last_transition_time: since,
        observed_generation: None,
    };
    QueuedJobStatus {
        state: Some(standing.state),
        reason: standing.reason.clone(),
        message: standing.message.clone(),
        forecast,
        conditions: vec![condition],
    }
}

/// A patch of the Job that ends its pods, and what its user is told.
type Stop = (Notice, Value);

/// Ends its pods, if they are to end.
fn stop(
    view: &JobView,
    plan: Option<&Plan>,
    observed: &Observed,
    snapshot: &Snapshot,
) -> Option<Stop> {
    let uid = view.id.uid();
    let leaver = observed.leaver(uid);
    let leaves = leaver.and_then(|leaver| evict(view, &leaver.eviction));
    leaves.or_else(|| match observed.runs_unplanned(uid) {
        true => Some(requeue(view)),
        false => take_back(view, plan?, observed, snapshot),
    })
}

/// Whether the Job is to be started: this admission has not done so yet.
fn is_due(view: &JobView, plan: &Plan) -> bool {
    view.form.suspends() && view.is_suspended && view.epoch != Some(plan.epoch())
}

/// Makes sure that a Job that was not started by what its record gives up will not be: a patch that
/// does may be on its way, or done without anybody having heard of it.
fn fence(view: &JobView, record: &RecordWrite) -> Option<Value> {
    let epoch = record.ends().filter(|_| view.form.suspends())?;
    let is_open = view.is_suspended && view.epoch != Some(epoch);
    is_open.then(|| translate::fence(view, epoch))
}

/// Ends the pods of a Job that leaves for another, unless it has been suspended already.
fn evict(view: &JobView, eviction: &Eviction) -> Option<Stop> {
    let notice = Notice {
        reason: "Evicted".to_owned(),
        message: Standing::leaving(eviction).message,
    };
    runs_by(view, eviction).then(|| (notice, translate::take_back(view, eviction.epoch)))
}

/// Whether the Job still runs by the admission that this ends.
fn runs_by(view: &JobView, eviction: &Eviction) -> bool {
    !view.is_suspended && view.epoch == Some(eviction.epoch)
}

/// Suspends what was let go as one without GPUs, and asks for some now.
fn requeue(view: &JobView) -> Stop {
    let notice = Notice {
        reason: "Requeued".to_owned(),
        message: "it asks for GPUs now, which are given out by a queue: it waits for them"
            .to_owned(),
    };
    (notice, translate::take_back(view, translate::FREED))
}

/// Takes the start back: a node of the plan has gone before its pod came or with its pod on it, or
/// kube-scheduler cannot place a pod.
fn take_back(
    view: &JobView,
    plan: &Plan,
    observed: &Observed,
    snapshot: &Snapshot,
) -> Option<Stop> {
    let released = !view.is_suspended && view.epoch == Some(plan.epoch());
    let has = |node: &NodeId| {
        let spec = observed.node(node);
        let may = spec.is_some_and(|spec| plan.shape().needs.allow(spec));
        let gives = || snapshot.gives(node, plan.shape());
        may && snapshot.takes_work(node) && !snapshot.is_overfull(node) && gives()
    };
    let uid = view.id.uid();
    let message = if !released {
        return None;
    } else if observed.is_refused(uid) {
        observed.obstacle(uid)?.into_owned()
    } else if let Some(node) = plan.lost_node(observed.remaining(view), has) {
        format!("node {node}, where it was to run, does not take its pods any more")
    } else {
        let node = observed.lost_node(uid)?;
        let when = match observed.lost_and_awaited(uid) {
            Some(_) => ", once its pods there are known to have ended",
            None => "",
        };
        format!("node {node}, where it ran, is lost; it queues again with its age kept{when}")
    };
    let notice = Notice {
        reason: "Requeued".to_owned(),
        message,
    };
    Some((notice, translate::take_back(view, plan.epoch())))
}

/// Our condition on the user's Job: why it waits, and later that it no longer does. A Job that
/// never waited has none. The status of other kinds is their operators' alone.
fn condition(standing: &Standing, view: &JobView, now: Timestamp) -> Option<Value> {
    if view.form != Form::Job {
        return None;
    }
    let status = is_true(standing.state == State::Admitted);
    let reason = &standing.reason;
    let up_to_date = match &view.condition {
        None => status == "True",
        Some((shown, code)) => shown == status && code == reason,
    };
    (!up_to_date).then(|| {
        json!({
            "type": JOB_CONDITION,
            "status": status,
            "reason": reason,
            "message": standing.message,
            "lastTransitionTime": now,
            "lastProbeTime": now,
        })
    })
}

/// What the user is told of where the job stands: why it waits when that is new, and that it waits
/// no more if the Job says that it does. One that never waited is told nothing.
fn notice(standing: &Standing, condition: Option<&Value>, is_news: bool) -> Option<Notice> {
    let is_told = match waits(Some(standing.state)) {
        true => is_news,
        false => standing.state == State::Admitted && condition.is_some(),
    };
    is_told.then(|| told(standing))
}

/// Whether its user is told that it waits no more. The record says first that it is admitted, and
/// may do so for several tries to start it.
fn has_waited(record: &RecordView, view: &JobView) -> bool {
    let waited = record.admitted().map(|at| at.since(view.created));
    let waited = waited.is_some_and(|waited| waited > AT_ONCE);
    waits(record.status.state) || (waited && !view.has_begun)
}

fn told(standing: &Standing) -> Notice {
    Notice {
        reason: standing.reason.clone(),
        message: standing.message.clone(),
    }
}

const fn waits(state: Option<State>) -> bool {
    matches!(state, Some(State::Waiting | State::Held))
}

const fn is_true(is_so: bool) -> &'static str {
    if is_so { "True" } else { "False" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Composite;

    fn record(state: &str, status: &str, at: &str) -> RecordView {
        let job = json!({"apiVersion": "v1", "kind": "JobSet", "name": "set", "uid": "u"});
        let condition = json!({
            "type": ADMITTED, "status": status, "reason": "r", "message": "m",
            "lastTransitionTime": at,
        });
        let object = json!({
            "apiVersion": "prorata.dev/v1alpha1", "kind": "QueuedJob",
            "metadata": {"name": "set", "namespace": "red"},
            "spec": {"job": job, "tenant": "red", "priority": 0, "gang": 1, "gpus": "1"},
            "status": {"state": state, "reason": "r", "message": "m", "conditions": [condition]},
        });
        RecordView::new(&serde_json::from_value(object).unwrap())
    }

    fn view() -> JobView {
        let kind = Composite::of_owner("jobset.x-k8s.io/v1alpha2", "JobSet").unwrap();
        let metadata = json!({
            "name": "set", "namespace": "red", "uid": "u",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        });
        let object = json!({"metadata": metadata, "spec": {"suspend": true}});
        JobView::of_composite(
            kind,
            &serde_json::from_value(object).unwrap(),
            "nvidia.com/gpu",
        )
    }

    #[test]
    fn a_second_try_to_start_it_is_told_like_the_first() {
        let view = view();
        let waits = record("Waiting", "False", "2026-01-01T00:00:00Z");
        assert!(has_waited(&waits, &view));
        let admitted = record("Admitted", "True", "2026-01-01T00:01:00Z");
        assert!(has_waited(&admitted, &view));
        let at_once = record("Admitted", "True", "2026-01-01T00:00:01Z");
        assert!(!has_waited(&at_once, &view));
        let others_have_gone = JobView {
            has_begun: true,
            ..view
        };
        assert!(!has_waited(&admitted, &others_have_gone));
    }
}
