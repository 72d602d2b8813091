//! What is to be written about a job: the difference between what is wanted and what is there.
//!
//! Pure. It is asked again after every change and every write, so it never has to remember what
//! it asked for before.

use k8s_openapi::jiff::Timestamp;
use prorata_core::{Snapshot, Verdict};
use serde_json::{Value, json};

use crate::api::{QueuedJobSpec, State};
use crate::effects::{Effect, Notice, RecordWrite};
use crate::observed::Observed;
use crate::plan::Plan;
use crate::status::Standing;
use crate::translate::{self, JOB_CONDITION, JobView, RecordView};

/// The next thing to write about the Job of this UID, if anything is.
#[must_use]
pub fn effect(
    observed: &Observed,
    snapshot: &Snapshot,
    gpu_resource: &str,
    uid: &str,
    now: Timestamp,
) -> Option<Effect> {
    let view = observed.job(uid)?;
    let record = observed.record(uid);
    let Some(job) = snapshot.job(&view.id) else {
        return finished(view, record?, now);
    };
    let verdict = snapshot.verdict(&view.id)?;
    let plan = observed
        .plan(uid)
        .filter(|_| snapshot.placement(&view.id).is_some());
    let admission = plan.map(|plan| (plan.epoch(), plan.placement()));
    let spec = translate::desired_spec(job, admission, gpu_resource);
    let release = plan.and_then(|plan| release(view, plan));
    let standing = Standing::of(&verdict, view.obstacle.as_deref());
    let changed = record.is_none_or(|record| record.spec != spec);
    // A job that starts is told so by an Event; its record's status follows once it runs.
    let starting = matches!(verdict, Verdict::Admitted(_));
    let status = (!starting)
        .then(|| status(&standing, record, now))
        .flatten();
    let condition = condition(&standing, view, now);
    let notice = notice(&standing, release.is_some(), status.is_some());
    if !changed && release.is_none() && status.is_none() && condition.is_none() {
        return None;
    }
    Some(Effect {
        job: view.id.clone(),
        record: Some(record_write(record, spec)),
        release,
        status,
        condition,
        notice,
    })
}

/// A job that is over keeps its record, which says so, until it is deleted.
fn finished(view: &JobView, record: &RecordView, now: Timestamp) -> Option<Effect> {
    if !view.has_ended {
        return None;
    }
    Some(Effect {
        job: view.id.clone(),
        record: Some(RecordWrite::Keep(Box::new(record.clone()))),
        release: None,
        status: Some(status(&Standing::finished(), Some(record), now)?),
        condition: None,
        notice: None,
    })
}

fn record_write(record: Option<&RecordView>, spec: QueuedJobSpec) -> RecordWrite {
    match record {
        None => RecordWrite::Create(Box::new(spec)),
        Some(record) if record.spec == spec => RecordWrite::Keep(Box::new(record.clone())),
        Some(record) => RecordWrite::Change(Box::new(record.clone()), Box::new(spec)),
    }
}

/// The patch that starts the Job, unless this admission has already done so.
fn release(view: &JobView, plan: &Plan) -> Option<Value> {
    let due = view.is_suspended && view.epoch != Some(plan.epoch());
    due.then(|| translate::release(view, plan.epoch(), plan.placement()))
}

fn status(standing: &Standing, record: Option<&RecordView>, now: Timestamp) -> Option<Value> {
    let shown = record.map(|record| &record.status);
    let same = |shown: &crate::api::QueuedJobStatus| {
        shown.state == Some(standing.state) && shown.reason == standing.reason
    };
    if shown.is_some_and(same) {
        return None;
    }
    let generation = record.map(|record| record.generation);
    Some(json!({
        "state": standing.state,
        "reason": standing.reason,
        "message": standing.message,
        "observedGeneration": generation,
        "conditions": [{
            "type": "Admitted",
            "status": is_admitted(standing),
            "reason": standing.reason,
            "message": standing.message,
            "lastTransitionTime": now,
            "observedGeneration": generation,
        }],
    }))
}

/// Our condition on the user's Job: why it waits, and later that it no longer does. A Job that
/// never waited has none.
fn condition(standing: &Standing, view: &JobView, now: Timestamp) -> Option<Value> {
    let status = is_admitted(standing);
    // Admitted or running, the queue has no more to say.
    let reason = if status == "True" {
        "Admitted"
    } else {
        &standing.reason
    };
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

fn notice(standing: &Standing, starts: bool, waits_anew: bool) -> Option<Notice> {
    let reason = match standing.state {
        State::Admitted if starts => "Admitted",
        State::Waiting | State::Held if waits_anew => &standing.reason,
        _ => return None,
    };
    Some(Notice {
        reason: reason.to_owned(),
        message: standing.message.clone(),
    })
}

const fn is_admitted(standing: &Standing) -> &'static str {
    match standing.state {
        State::Admitted | State::Running => "True",
        State::Waiting | State::Held | State::Finished => "False",
    }
}
