//! Waiting for objects that are no Jobs: how far they have come stands in their records.

use futures::{StreamExt, pin_mut};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::Value;

use super::{Milestone, Reached, Target, refused, tell_change};
use crate::api::{QueuedJob, State, labels};
use crate::cli::failure::Failure;
use crate::cli::queue::Entry;

/// Looks at the object's record whenever that changes, until it has come so far.
pub(super) async fn follow(
    target: &Target,
    milestone: Milestone,
    last: &mut String,
) -> Result<Reached, Failure> {
    if milestone == Milestone::Running && target.kind != "Pod" {
        let what = format!("nobody says when a {} runs", target.kind);
        let help = "wait --for admitted or finished; `kubectl wait` waits for its own conditions";
        return Err(Failure::new(what).help(help));
    }
    let namespace = target.object.namespace().unwrap_or_default();
    let client = target.api.clone().into_client();
    let records: Api<QueuedJob> = Api::namespaced(client, &namespace);
    let events = watcher(records, watcher::Config::default()).default_backoff();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        let (record, is_gone) = match event {
            Ok(watcher::Event::InitApply(record) | watcher::Event::Apply(record)) => {
                (record, false)
            }
            Ok(watcher::Event::Delete(record)) => (record, true),
            Ok(watcher::Event::Init | watcher::Event::InitDone) => continue,
            Err(error) => {
                refused(error, "queuedjobs.prorata.dev")?;
                continue;
            }
        };
        if !is_of(&record, &target.object) {
            continue;
        }
        let entry = Entry::new(&record);
        match entry.state {
            _ if is_gone => return end(target).await,
            State::Finished => return end(target).await,
            State::Admitted if milestone == Milestone::Admitted => {
                return Ok(Reached::Admitted);
            }
            State::Admitted if milestone == Milestone::Running => return runs(target).await,
            State::Admitted => tell_change("is admitted".to_owned(), &target.full_name(), last),
            State::Waiting | State::Held => {
                let waits = format!("waits ({})", entry.reason);
                tell_change(waits, &target.full_name(), last);
            }
        }
    }
    Err(Failure::new("the watch has ended"))
}

/// Whether a record stands for the object, or for the gang that it names.
fn is_of(record: &QueuedJob, object: &DynamicObject) -> bool {
    let job = &record.spec.job;
    let gang = object.annotations().get(labels::GANG);
    let is_its_gang = job.uid.ends_with("-gang") && gang == Some(&job.name);
    Some(&job.uid) == object.uid().as_ref() || is_its_gang
}

/// An admitted pod starts soon, or is over.
async fn runs(target: &Target) -> Result<Reached, Failure> {
    let name = target.object.name_any();
    let one = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let events = watcher(target.api.clone(), one).default_backoff();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::InitApply(pod) | watcher::Event::Apply(pod)) => {
                match pod.data["status"]["phase"].as_str() {
                    Some("Running") => return Ok(Reached::Running),
                    Some("Succeeded" | "Failed") => return Ok(told(&pod)),
                    _ => {}
                }
            }
            Ok(watcher::Event::Delete(_)) => return end(target).await,
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) => refused(error, "pods")?,
        }
    }
    Err(Failure::new("the watch has ended"))
}

/// It is over: well, or not.
async fn end(target: &Target) -> Result<Reached, Failure> {
    let read = target.api.get_opt(&target.object.name_any()).await;
    let read = read.map_err(|error| Failure::api(&format!("get {}", target.full_name()), error))?;
    match read.filter(|object| object.uid() == target.object.uid()) {
        Some(object) => Ok(told(&object)),
        None => Err(Failure::new(format!(
            "{} has been deleted",
            target.full_name()
        ))),
    }
}

fn told(object: &DynamicObject) -> Reached {
    failed(&object.data["status"]).map_or(Reached::Complete, Reached::Failed)
}

/// Why it has failed, if it has, by what its status says: a pod's phase, or a condition.
fn failed(status: &Value) -> Option<String> {
    if status["phase"] == "Failed" {
        let why = status["reason"].as_str().or(status["message"].as_str());
        return Some(why.unwrap_or("see `kubectl describe pod`").to_owned());
    }
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut failed = conditions.filter(|c| c["type"] == "Failed" && c["status"] == "True");
    let failed = failed.next()?;
    let text = |field: &str| failed[field].as_str().unwrap_or_default();
    Some(format!("{}: {}", text("reason"), text("message")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_says_that_it_has_failed_by_its_phase_and_others_by_a_condition() {
        assert_eq!(failed(&json!({"phase": "Succeeded"})), None);
        assert_eq!(
            failed(&json!({"phase": "Failed", "reason": "Evicted"})).unwrap(),
            "Evicted"
        );
        let conditions = |status: &str| {
            let failed = json!({"type": "Failed", "status": status, "reason": "R", "message": "m"});
            json!({"conditions": [{"type": "Suspended", "status": "True"}, failed]})
        };
        assert_eq!(failed(&conditions("False")), None);
        assert_eq!(failed(&conditions("True")).unwrap(), "R: m");
    }

    #[test]
    fn the_record_of_a_pod_is_its_own_or_that_of_its_gang() {
        let record = |uid: &str, name: &str| -> QueuedJob {
            let job = json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
            let spec = json!({"job": job, "tenant": "red", "priority": 0, "gang": 1, "gpus": "1"});
            serde_json::from_value(json!({
                "apiVersion": "prorata.dev/v1alpha1", "kind": "QueuedJob", "metadata": {"name": "r"},
                "spec": spec,
            }))
            .unwrap()
        };
        let pod: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "uid": "u", "annotations": {labels::GANG: "ranks"}},
        }))
        .unwrap();
        assert!(is_of(&record("u", "p"), &pod));
        assert!(is_of(&record("1f-gang", "ranks"), &pod));
        assert!(!is_of(&record("1f-gang", "others"), &pod));
        assert!(!is_of(&record("v", "p"), &pod));
    }
}
