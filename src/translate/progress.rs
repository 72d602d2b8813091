//! How far a Job has come, as its status and its user say.

use k8s_openapi::api::batch::v1 as k8s;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use prorata_core::Time;

use super::job::JOB_CONDITION;
use super::{annotation, moment};
use crate::api::labels;

fn conditions(job: &k8s::Job) -> impl Iterator<Item = &k8s::JobCondition> {
    let status = job.status.iter();
    status.flat_map(|status| status.conditions.iter().flatten())
}

/// The condition by which it is over, completed or failed.
pub(super) fn end(job: &k8s::Job) -> Option<&k8s::JobCondition> {
    conditions(job)
        .find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")
}

/// When it was over, where that is said.
pub(super) fn ended(job: &k8s::Job) -> Option<Time> {
    end(job)?.last_transition_time.as_ref().map(moment)
}

/// When Kubernetes began to make its pods.
pub(super) fn begun(job: &k8s::Job) -> Option<Time> {
    job.status.as_ref()?.start_time.as_ref().map(moment)
}

/// Whether Kubernetes has stopped it, and it has no pods that run.
pub(super) fn is_quiet(job: &k8s::Job) -> bool {
    let is_suspended = conditions(job).any(|c| c.type_ == "Suspended" && c.status == "True");
    is_suspended && active(job) == 0
}

/// Pods that are not over.
pub(super) fn active(job: &k8s::Job) -> u32 {
    count(job, |status| status.active)
}

/// Pods that are being deleted.
pub(super) fn terminating(job: &k8s::Job) -> u32 {
    count(job, |status| status.terminating)
}

fn count(job: &k8s::Job, of: fn(&k8s::JobStatus) -> Option<i32>) -> u32 {
    let count = job.status.as_ref().and_then(of).unwrap_or_default();
    u32::try_from(count).unwrap_or_default()
}

/// Pods that Kubernetes still waits for: what has succeeded, or failed for good, is not made anew. Where
/// a Job does not say how many have to succeed, it is as many as can be counted until one has, and none
/// but those that run from then on.
pub(super) fn left(spec: &k8s::JobSpec, job: &k8s::Job) -> u32 {
    let succeeded = count(job, |status| status.succeeded);
    let failed = job
        .status
        .as_ref()
        .and_then(|s| s.failed_indexes.as_deref());
    match spec.completions {
        Some(all) => u32::try_from(all)
            .unwrap_or_default()
            .saturating_sub(succeeded)
            .saturating_sub(indexes(failed.unwrap_or_default())),
        None if succeeded > 0 => active(job),
        None => u32::MAX,
    }
}

/// How many indexes Kubernetes lists, as in `1,3-5`.
fn indexes(list: &str) -> u32 {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bounds = first.parse::<u32>().ok().zip(last.parse::<u32>().ok());
        let beyond = bounds.and_then(|(first, last)| last.checked_sub(first));
        beyond.map_or(0, |beyond| beyond.saturating_add(1))
    };
    list.split(',').map(count).fold(0, u32::saturating_add)
}

/// Our condition on it: its status and its reason.
pub(super) fn told(job: &k8s::Job) -> Option<(String, String)> {
    let ours = conditions(job).find(|c| c.type_ == JOB_CONDITION)?;
    Some((ours.status.clone(), ours.reason.clone().unwrap_or_default()))
}

/// Type of the condition by which a Job says that its work is saved.
pub(super) const CHECKPOINTED: &str = "prorata.dev/Checkpointed";

/// When it last saved its work, as its annotation or its own status says, whichever is later.
pub(super) fn saved(job: &k8s::Job) -> Option<Time> {
    let touched = conditions(job).find(|c| c.type_ == CHECKPOINTED && c.status == "True");
    let touched = touched.into_iter();
    let touched = touched.flat_map(|c| [&c.last_transition_time, &c.last_probe_time]);
    let touched = touched.flatten().map(moment);
    touched.chain(checkpointed(&job.metadata)).max()
}

/// What is no moment says nothing.
pub(super) fn checkpointed(metadata: &ObjectMeta) -> Option<Time> {
    let text = annotation(metadata, labels::CHECKPOINTED_AT)?;
    let moment: Timestamp = text.parse().ok()?;
    let ms = u64::try_from(moment.as_millisecond()).ok()?;
    Some(Time::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn job(status: Value) -> k8s::Job {
        serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap()
    }

    #[test]
    fn a_job_ends_with_its_condition() {
        let with = |kind: &str| {
            let condition = json!({"type": kind, "status": "True"});
            end(&job(json!({"conditions": [condition]}))).is_some()
        };
        assert!(with("Complete"));
        assert!(with("Failed"));
        assert!(!with("Suspended"));
    }

    #[test]
    fn what_is_over_for_good_is_not_waited_for() {
        let left = |spec: Value, status: Value| {
            let mut spec = spec;
            spec["template"] = json!({});
            left(&serde_json::from_value(spec).unwrap(), &job(status))
        };
        let four = json!({"completions": 4});
        assert_eq!(left(four.clone(), json!({})), 4);
        assert_eq!(left(four.clone(), json!({"succeeded": 1})), 3);
        let failed = json!({"succeeded": 1, "failedIndexes": "2"});
        assert_eq!(left(four, failed), 2);
        let many = json!({"succeeded": 1, "failedIndexes": "0,3-5,9"});
        assert_eq!(left(json!({"completions": 20}), many), 14);
        assert_eq!(left(json!({}), json!({"active": 5})), u32::MAX);
        assert_eq!(left(json!({}), json!({"active": 5, "succeeded": 3})), 5);
    }

    #[test]
    fn nobody_can_say_how_many_indexes_there_are() {
        for (list, count) in [("", 0), ("x", 0), ("5-3", 0), ("4294967295", 1), ("1,", 1)] {
            assert_eq!(indexes(list), count, "{list}");
        }
    }

    #[test]
    fn a_checkpoint_is_a_moment_or_nothing() {
        let read = |text: &str| {
            checkpointed(&ObjectMeta {
                annotations: Some([(labels::CHECKPOINTED_AT.to_owned(), text.to_owned())].into()),
                ..ObjectMeta::default()
            })
        };
        let minute = Some(Time::from_millis(60_000));
        assert_eq!(read("1970-01-01T00:01:00Z"), minute);
        assert_eq!(read("1970-01-01T01:01:00+01:00"), minute);
        assert_eq!(read("a minute ago"), None);
    }

    #[test]
    fn a_job_may_touch_its_own_status_instead_of_its_annotation() {
        let read = |annotation: &str, condition: Value| {
            let mut job = job(json!({"conditions": [condition]}));
            let said = (labels::CHECKPOINTED_AT.to_owned(), annotation.to_owned());
            job.metadata.annotations = Some([said].into());
            saved(&job).map(Time::as_millis)
        };
        let minute = "1970-01-01T00:01:00Z";
        let condition = |status: &str, since: &str, probed: Value| {
            json!({"type": CHECKPOINTED, "status": status, "lastTransitionTime": since,
                "lastProbeTime": probed})
        };
        let first = condition("True", minute, json!(null));
        assert_eq!(read("", first.clone()), Some(60_000));
        assert_eq!(read("1970-01-01T00:02:00Z", first), Some(120_000));
        let again = condition("True", minute, json!("1970-01-01T00:03:00Z"));
        assert_eq!(read("1970-01-01T00:02:00Z", again), Some(180_000));
        assert_eq!(read("", condition("False", minute, json!(null))), None);
    }

    #[test]
    fn a_suspended_job_is_quiet_once_kubernetes_has_said_so() {
        let quiet = |status| is_quiet(&job(status));
        let suspended = json!([{"type": "Suspended", "status": "True"}]);
        assert!(!quiet(json!({})));
        assert!(!quiet(json!({"conditions": suspended, "active": 1})));
        assert!(quiet(json!({"conditions": suspended, "active": 0})));
    }
}
