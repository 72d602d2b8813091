//! What is to be written about a job: the difference between what is wanted and what is there.
//!
//! Pure. It is asked again after every change and every write, so it never has to remember what
//! it asked for before.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use prorata_core::{Snapshot, Verdict};
use serde_json::{Value, json};

use crate::api::{QueuedJobSpec, State};
use crate::effects::{Effect, Notice, RecordWrite};
use crate::observed::Observed;
use crate::plan::Plan;
use crate::status::Standing;
use crate::translate::{self, JOB_CONDITION, JobView, RecordView};

/// How long a job may be on its way before its record says so.
pub const STARTS_WITHIN: SignedDuration = SignedDuration::from_secs(2);

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
    let standing = Standing::of(&verdict, observed.obstacle(uid));
    // A job that starts is told so by an Event. Its record's status follows once it runs, which
    // saves a write, or when that takes long.
    let starting = matches!(verdict, Verdict::Admitted(_))
        && plan.is_some_and(|plan| now.duration_since(plan.since()) < STARTS_WITHIN);
    let shown = if starting {
        None
    } else {
        status(&standing, record, now)
    };
    let move_ = plan.and_then(|plan| start(view, plan).or_else(|| take_back(view, plan, snapshot)));
    let effect = Effect {
        job: view.id.clone(),
        condition: condition(&standing, view, now),
        notice: notice(&standing, move_.as_ref(), shown.is_some()),
        patch: move_.map(|(_, patch)| patch),
        status: shown,
        record: Some(record_write(record, spec)),
    };
    effect.changes_anything().then_some(effect)
}

/// A job that is over keeps its record, which says so, until it is deleted.
fn finished(view: &JobView, record: &RecordView, now: Timestamp) -> Option<Effect> {
    if !view.has_ended {
        return None;
    }
    Some(Effect {
        job: view.id.clone(),
        record: Some(RecordWrite::Keep(Box::new(record.clone()))),
        patch: None,
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

/// A patch of the Job, and what its user is told.
type Move = (Notice, Value);

/// Starts the Job, unless this admission has already done so.
fn start(view: &JobView, plan: &Plan) -> Option<Move> {
    let due = view.is_suspended && view.epoch != Some(plan.epoch());
    let notice = Notice {
        reason: "Admitted".to_owned(),
        message: "its places are decided, and its pods are on their way there".to_owned(),
    };
    due.then(|| {
        (
            notice,
            translate::release(view, plan.epoch(), plan.placement()),
        )
    })
}

/// Takes the start back, because a node of the plan has gone before its pod came.
fn take_back(view: &JobView, plan: &Plan, snapshot: &Snapshot) -> Option<Move> {
    let released = !view.is_suspended && view.epoch == Some(plan.epoch());
    let node = plan.lost_node(snapshot).filter(|_| released)?;
    let notice = Notice {
        reason: "Requeued".to_owned(),
        message: format!("node {node}, where it was to run, takes no pods any more"),
    };
    Some((notice, translate::take_back(view, plan.epoch())))
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

fn notice(standing: &Standing, move_: Option<&Move>, is_news: bool) -> Option<Notice> {
    if let Some((notice, _)) = move_ {
        return Some(notice.clone());
    }
    let waits = matches!(standing.state, State::Waiting | State::Held);
    (waits && is_news).then(|| Notice {
        reason: standing.reason.clone(),
        message: standing.message.clone(),
    })
}

const fn is_admitted(standing: &Standing) -> &'static str {
    match standing.state {
        State::Admitted | State::Running => "True",
        State::Waiting | State::Held | State::Finished => "False",
    }
}
