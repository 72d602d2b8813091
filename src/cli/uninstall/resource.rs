//! By which resource the queue hands out GPUs: by that it is told which suspended Jobs are its own.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicy;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::ListParams;

use super::super::cluster::{Cluster, Scope};
use super::super::failure::Failure;
use super::held::full_name;
use crate::admission;
use crate::api::labels;
use crate::translate::JobView;

/// The resource that is said, else that of the installed policies, else the usual one.
///
/// # Errors
/// When there are no policies any more and Jobs may wait for another resource: whoever lets them go
/// has to know.
pub(super) async fn of(cluster: &Cluster, said: Option<&str>) -> Result<String, Failure> {
    if let Some(said) = said {
        return Ok(said.to_owned());
    }
    let policies: Vec<MutatingAdmissionPolicy> = cluster.list_all().await?;
    if let Some(installed) = policies.iter().find_map(installed) {
        return Ok(installed);
    }
    let jobs = cluster.list(&Scope::All, ListParams::default()).await?;
    match refused(&doubtful(&jobs)) {
        Some(failure) => Err(failure),
        None => Ok(labels::GPU_RESOURCE.to_owned()),
    }
}

fn installed(policy: &MutatingAdmissionPolicy) -> Option<String> {
    let is_it = policy.metadata.name.as_deref() == Some(admission::QUEUED);
    let said = policy.annotations().get(labels::POLICY_RESOURCE);
    said.filter(|_| is_it).cloned()
}

/// Jobs that the queue may have suspended, by another resource that they ask for. That a user
/// suspended them would be noted on those that the queue knew.
fn doubtful(jobs: &[Job]) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for job in jobs {
        if !job.annotations().contains_key(labels::CREATED_BY) {
            continue;
        }
        for resource in extended(job) {
            let view = JobView::new(job, &resource);
            let is_over = view.has_ended || view.is_leaving;
            let waits = view.is_suspended && !view.is_held && view.is_queued && !is_over;
            let is_known = JobView::new(job, labels::GPU_RESOURCE).is_queued;
            if waits && !is_known {
                found.entry(resource).or_default().push(full_name(job));
            }
        }
    }
    found
}

/// Names of resources that are of no kind of Kubernetes' own.
fn extended(job: &Job) -> BTreeSet<String> {
    let pods = job
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let containers = pods.into_iter().flat_map(|pods| {
        let initial = pods.init_containers.iter().flatten();
        pods.containers.iter().chain(initial)
    });
    let resources = containers.filter_map(|container| container.resources.as_ref());
    let named = resources.flat_map(|r| r.limits.iter().chain(&r.requests));
    let named = named.flat_map(BTreeMap::keys);
    named.filter(|name| name.contains('/')).cloned().collect()
}

fn refused(doubtful: &BTreeMap<String, Vec<String>>) -> Option<Failure> {
    let (first, jobs) = doubtful.iter().next()?;
    let all: Vec<&str> = doubtful.keys().map(String::as_str).collect();
    Some(Failure::input(
        format!(
            "the policies that say by which resource GPUs were handed out are gone, and {} may \
             wait for them by {}",
            jobs.join(", "),
            all.join(" or ")
        ),
        format!(
            "say which it was: --gpu-resource {first}, or {} if these Jobs wait for something else",
            labels::GPU_RESOURCE
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn job(name: &str, annotations: &Value, resource: &str) -> Job {
        let container = json!({"name": "c", "resources": {"limits": {resource: "1", "cpu": "1"}}});
        let job = json!({
            "metadata": {"name": name, "namespace": "red", "uid": name, "annotations": annotations},
            "spec": {"suspend": true, "template": {"spec": {"containers": [container]}}},
        });
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn whoever_may_wait_for_another_resource_is_named() {
        let seen = json!({labels::CREATED_BY: "ada"});
        let held = json!({labels::CREATED_BY: "ada", labels::HELD: "true"});
        let jobs = [
            job("mine", &held, "amd.com/gpu"),
            job("never-seen", &json!({}), "amd.com/gpu"),
            job("usual", &seen, labels::GPU_RESOURCE),
            job("plain", &seen, "memory"),
        ];
        assert!(refused(&doubtful(&jobs)).is_none());
        let mut jobs = Vec::from(jobs);
        jobs.push(job("waits", &seen, "amd.com/gpu"));
        let told = refused(&doubtful(&jobs)).unwrap().to_string();
        assert!(
            told.contains("red/waits may wait for them by amd.com/gpu"),
            "{told}"
        );
        assert!(told.contains("--gpu-resource amd.com/gpu"), "{told}");
    }

    #[test]
    fn the_policy_says_which_it_is() {
        let of = |resource: &str| {
            let all = admission::mutating(resource);
            all.iter().find_map(installed)
        };
        assert_eq!(of("amd.com/gpu").as_deref(), Some("amd.com/gpu"));
    }
}
