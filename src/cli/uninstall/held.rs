//! What the queue holds back, and how it is let go. What a user holds stays held, without what the
//! queue has put into it.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodSchedulingGate};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::cluster::{Cluster, Scope};
use super::super::failure::Failure;
use super::composites;
use crate::api::{QueuedJob, State, labels};
use crate::translate::JobView;

/// How long something may take that only waits for others.
const WITHIN: Duration = Duration::from_secs(120);

/// How long after it was deleted a policy may still be in force somewhere.
const IN_FORCE: Duration = Duration::from_secs(3);

const PAUSE: Duration = Duration::from_millis(250);

/// What the queue holds back.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Suspended by the queue.
    jobs: Vec<Job>,
    /// Suspended by their users, with what the queue put into them.
    kept: Vec<Job>,
    /// Not suspended, but their template has the queue's gate.
    gated_templates: Vec<Job>,
    /// Objects of operators, suspended by the queue or with what it put into them.
    composites: Vec<composites::Part>,
    /// With the queue's gate.
    pods: Vec<Pod>,
}

impl Held {
    /// Looks through the whole cluster.
    pub(super) async fn find(cluster: &Cluster, gpu_resource: &str) -> Result<Self, Failure> {
        let waiting = waiting(cluster).await?;
        let mut held = Self::default();
        for job in cluster.list(&Scope::All, ListParams::default()).await? {
            let view = JobView::new(&job, gpu_resource);
            if view.has_ended || view.is_leaving {
                continue;
            }
            if view.is_held {
                if view.is_suspended && has_ours(&job) {
                    held.kept.push(job);
                }
            } else if view.is_suspended {
                // One that starts in part is held by the gate in its template instead.
                let is_queued = view.is_queued || template_gate(&job).is_some();
                if is_ours(&job, is_queued, &waiting) {
                    held.jobs.push(job);
                }
            } else if template_gate(&job).is_some() {
                held.gated_templates.push(job);
            }
        }
        held.composites = composites::find(cluster.client(), &waiting, gpu_resource).await?;
        let pods = cluster.list(&Scope::All, ListParams::default()).await?;
        held.pods = pods
            .into_iter()
            .filter(|pod| pod_gate(pod).is_some())
            .collect();
        Ok(held)
    }

    /// Whether there are Jobs that cannot be let go as they run.
    pub(super) fn needs_restart(&self) -> bool {
        !self.gated_templates.is_empty()
    }

    /// Says what there is.
    pub(super) fn tell(&self) {
        let (jobs, pods) = (self.jobs.len(), self.pods.len());
        let others = match self.composites.len() {
            0 => String::new(),
            count => format!(", {count} objects of operators"),
        };
        eprintln!("the queue holds {jobs} Jobs{others} and {pods} pods");
        for job in &self.gated_templates {
            eprintln!(
                "{} runs with the queue's gate in its template",
                full_name(job)
            );
        }
    }

    fn is_empty(&self) -> bool {
        self.jobs.is_empty()
            && self.kept.is_empty()
            && self.gated_templates.is_empty()
            && self.composites.is_empty()
            && self.pods.is_empty()
    }
}

/// Lets everything go, and looks again until nothing is held: whatever was created while a policy
/// was still in force is found by a later look.
pub(super) async fn release(cluster: &Cluster, gpu_resource: &str) -> Result<(), Failure> {
    let mut free_since = None;
    until("everything is released", async || {
        let held = Held::find(cluster, gpu_resource).await?;
        if held.is_empty() {
            let since = *free_since.get_or_insert_with(Instant::now);
            return Ok(since.elapsed() >= IN_FORCE);
        }
        free_since = None;
        release_once(cluster, held).await?;
        Ok(false)
    })
    .await
}

async fn release_once(cluster: &Cluster, held: Held) -> Result<(), Failure> {
    for job in &held.gated_templates {
        stop(cluster, job).await?;
    }
    for job in &held.jobs {
        if let Some(Some(spec)) = patch(cluster, "release Job", job, job_patch(job))
            .await?
            .map(|job: Job| job.spec)
            && spec.suspend != Some(true)
        {
            eprintln!("released job {}", full_name(job));
        }
    }
    for job in &held.kept {
        let clean = Value::Array(clean_patch(job));
        patch(cluster, "clean Job", job, clean).await?;
    }
    for part in &held.composites {
        part.release(cluster.client()).await?;
    }
    for pod in &held.pods {
        if patch(cluster, "release pod", pod, pod_patch(pod))
            .await?
            .is_some()
        {
            eprintln!("released pod {}", full_name(pod));
        }
    }
    Ok(())
}

/// Stops a Job whose template has the queue's gate. While a policy is still in force somewhere it
/// takes that for its user's wish, and the Job would stay on hold: then it goes on as before.
async fn stop(cluster: &Cluster, job: &Job) -> Result<(), Failure> {
    let suspend = json!([test_uid(job.uid()), replace("/spec/suspend", json!(true))]);
    let stopped: Option<Job> = patch(cluster, "stop Job", job, suspend).await?;
    if stopped.is_some_and(|job| job.annotations().contains_key(labels::HELD)) {
        let resume = json!([
            test_uid(job.uid()),
            remove_annotation(labels::HELD),
            replace("/spec/suspend", json!(false)),
        ]);
        patch(cluster, "resume Job", job, resume).await?;
    }
    Ok(())
}

/// Asks again and again whether something is so.
pub(super) async fn until(
    what: &str,
    mut holds: impl AsyncFnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let deadline = Instant::now() + WITHIN;
    while !holds().await? {
        if Instant::now() > deadline {
            return Err(
                Failure::new(format!("not within {} s: {what}", WITHIN.as_secs()))
                    .help("see what holds it up, and run this again: it goes on where it ended"),
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// The UIDs of what waits by its record; none when the definition has gone already.
async fn waiting(cluster: &Cluster) -> Result<BTreeSet<String>, Failure> {
    let api: Api<QueuedJob> = Api::all(cluster.client().clone());
    let records = match api.list(&ListParams::default()).await {
        Ok(records) => records.items,
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => return Err(Failure::api("list queuedjobs.prorata.dev", error)),
    };
    let waits = |record: &QueuedJob| {
        let state = record.status.as_ref().and_then(|status| status.state);
        matches!(state, None | Some(State::Waiting | State::Admitted))
    };
    let records = records.into_iter().filter(waits);
    Ok(records.map(|record| record.spec.job.uid).collect())
}

/// Whether the queue has suspended it: our policy marked it as it came, or we wrote a record of it.
/// Who created it is noted on other Jobs as well, so that says so only of what the queue starts.
pub(super) fn is_ours(job: &impl ResourceExt, is_queued: bool, waiting: &BTreeSet<String>) -> bool {
    let has = |mark| job.annotations().contains_key(mark);
    let marked = has(labels::EPOCH) || (is_queued && has(labels::CREATED_BY));
    marked || job.uid().is_some_and(|uid| waiting.contains(&uid))
}

/// Whether there is anything in it that the queue, or its user for the queue, has put there.
fn has_ours(job: &Job) -> bool {
    job.annotations().contains_key(labels::EPOCH) || template_gate(job).is_some()
}

/// Takes out what was ours, and starts it. It applies to this very Job alone.
fn job_patch(job: &Job) -> Value {
    let mut patch = clean_patch(job);
    patch.push(replace("/spec/suspend", json!(false)));
    Value::Array(patch)
}

/// Takes out what was ours, where it is suspended. It applies to this very Job alone.
fn clean_patch(job: &Job) -> Vec<Value> {
    let mut patch = vec![
        test_uid(job.uid()),
        json!({"op": "test", "path": "/spec/suspend", "value": true}),
    ];
    // Neither epoch nor affinity depends on the resource.
    let view = JobView::new(job, labels::GPU_RESOURCE);
    if view.epoch.is_some() {
        let affinity = view
            .affinity
            .map_or(Value::Null, |affinity| json!(affinity));
        patch.push(json!({"op": "add", "path": "/spec/template/spec/affinity", "value": affinity}));
        patch.push(remove_annotation(labels::EPOCH));
    }
    if let Some(at) = template_gate(job) {
        let path = format!("/spec/template/spec/schedulingGates/{at}");
        patch.push(json!({"op": "remove", "path": path}));
    }
    patch
}

fn pod_patch(pod: &Pod) -> Value {
    let at = pod_gate(pod).unwrap_or_default();
    let path = format!("/spec/schedulingGates/{at}");
    json!([
        test_uid(pod.uid()),
        {"op": "test", "path": path, "value": {"name": labels::GATE}},
        {"op": "remove", "path": path},
    ])
}

fn template_gate(job: &Job) -> Option<usize> {
    let template = job.spec.as_ref()?.template.spec.as_ref()?;
    gate(template.scheduling_gates.as_ref()?)
}

fn pod_gate(pod: &Pod) -> Option<usize> {
    gate(pod.spec.as_ref()?.scheduling_gates.as_ref()?)
}

fn gate(gates: &[PodSchedulingGate]) -> Option<usize> {
    gates.iter().position(|gate| gate.name == labels::GATE)
}

pub(super) fn test_uid(uid: Option<String>) -> Value {
    json!({"op": "test", "path": "/metadata/uid", "value": uid})
}

pub(super) fn remove_annotation(annotation: &str) -> Value {
    let key = annotation.replace('~', "~0").replace('/', "~1");
    json!({"op": "remove", "path": format!("/metadata/annotations/{key}")})
}

pub(super) fn replace(path: &str, value: Value) -> Value {
    json!({"op": "replace", "path": path, "value": value})
}

/// Patches an object; `None` when it has changed or gone meanwhile, which the next look sees, or
/// cannot be changed yet, because pods of it are still on their way out.
async fn patch<K>(
    cluster: &Cluster,
    verb: &str,
    object: &K,
    patch: Value,
) -> Result<Option<K>, Failure>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<K> = Api::namespaced(cluster.client().clone(), &namespace);
    let patch = serde_json::from_value(patch).map_err(|error| Failure::new(error.to_string()))?;
    let patch: Patch<()> = Patch::Json(patch);
    let name = object.name_any();
    let patched = api.patch(&name, &PatchParams::default(), &patch).await;
    settled(patched, &format!("{verb} {}", full_name(object)))
}

/// What came of a patch; `None` as [`patch`] has it.
pub(super) fn settled<K>(patched: kube::Result<K>, attempt: &str) -> Result<Option<K>, Failure> {
    match patched {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => Ok(None),
        // A policy of ours that is still in force.
        Err(kube::Error::Api(status)) if status.message.contains("denied request") => Ok(None),
        Err(error) => Err(Failure::api(attempt, error)),
    }
}

pub(super) fn full_name(object: &impl kube::ResourceExt) -> String {
    format!(
        "{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_without_gpus_or_of_an_operator_is_not_the_queues() {
        let annotations = json!({ labels::CREATED_BY: "ada" });
        let owner = json!([{ "apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "name": "s",
            "uid": "o", "controller": true }]);
        for (limits, owners, expected) in [
            (json!({ "amd.com/gpu": "1" }), json!([]), true),
            (json!({ labels::GPU_RESOURCE: "1" }), json!([]), false),
            (json!({}), json!([]), false),
            (json!({ "amd.com/gpu": "1" }), owner, false),
        ] {
            let job = json!({
                "metadata": { "name": "a", "namespace": "n", "uid": "u", "annotations": annotations,
                    "ownerReferences": owners },
                "spec": { "suspend": true, "template": { "spec": { "restartPolicy": "Never",
                    "containers": [{ "name": "main", "resources": { "limits": limits } }] } } },
            });
            let job: Job = serde_json::from_value(job).unwrap();
            let view = JobView::new(&job, "amd.com/gpu");
            let found = is_ours(&job, view.is_queued, &BTreeSet::new());
            assert_eq!(found, expected, "{job:?}");
        }
    }

    #[test]
    fn what_a_user_holds_loses_what_was_ours_and_stays_suspended() {
        let job = json!({
            "metadata": {"name": "a", "uid": "u", "annotations": {
                labels::HELD: "true", labels::EPOCH: "3"}},
            "spec": {"suspend": true, "template": {"spec": {
                "containers": [], "schedulingGates": [{"name": "other"}, {"name": labels::GATE}]}}},
        });
        let mut job: Job = serde_json::from_value(job).unwrap();
        assert!(has_ours(&job));
        let patch = json!(clean_patch(&job)).to_string();
        for path in [
            "/template/spec/affinity",
            "prorata.dev~1epoch",
            "/schedulingGates/1",
        ] {
            assert!(patch.contains(path), "{patch}");
        }
        assert!(!patch.contains("replace"), "{patch}");
        assert!(job_patch(&job).to_string().contains("replace"));

        job.metadata.annotations = None;
        job.spec.as_mut().unwrap().template.spec = None;
        assert!(!has_ours(&job));
    }
}
