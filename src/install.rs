//! What an administrator installs: every object of ours in the cluster, and the configuration of
//! kube-scheduler. It renders; it never talks to a cluster.

pub mod rbac;
pub mod scheduler;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde::Serialize;

use crate::admission;
use crate::api::{QueuedJob, Tenant, labels};
use scheduler::SchedulerConfig;

/// Why something could not be written as YAML.
pub type Error = serde_saphyr::ser::Error;

/// Everything, as one stream for `kubectl apply -f -`: each object after those that it needs.
///
/// # Errors
/// When an object cannot be written as YAML.
pub fn render(scheduler: &SchedulerConfig) -> Result<String, Error> {
    let mut stream = Stream::default();
    stream.push(&Namespace {
        metadata: labels::metadata(labels::NAMESPACE),
        ..Default::default()
    })?;
    stream.push(&labelled(Tenant::crd()))?;
    stream.push(&labelled(queued_jobs()))?;
    push_policies(&mut stream, &scheduler.gpu_resource)?;
    push_permissions(&mut stream)?;
    stream.push(&scheduler_config_map(scheduler)?)?;
    Ok(stream.text)
}

/// The custom resource definitions alone.
///
/// # Errors
/// When one cannot be written as YAML.
pub fn render_crds() -> Result<String, Error> {
    let mut stream = Stream::default();
    stream.push(&labelled(Tenant::crd()))?;
    stream.push(&labelled(queued_jobs()))?;
    Ok(stream.text)
}

/// Without a status subresource: one controller writes spec and status, so they go in one write.
fn queued_jobs() -> CustomResourceDefinition {
    let mut definition = QueuedJob::crd();
    for version in &mut definition.spec.versions {
        version.subresources = None;
    }
    definition
}

fn push_policies(stream: &mut Stream, gpu_resource: &str) -> Result<(), Error> {
    for policy in admission::mutating(gpu_resource) {
        stream.push(&policy)?;
        stream.push(&admission::bind_mutating(&policy))?;
    }
    for policy in admission::validating(gpu_resource) {
        stream.push(&policy)?;
        stream.push(&admission::bind_validating(&policy))?;
    }
    Ok(())
}

fn push_permissions(stream: &mut Stream) -> Result<(), Error> {
    let mut account = ServiceAccount {
        metadata: labels::metadata(labels::CONTROLLER),
        ..Default::default()
    };
    account.metadata.namespace = Some(labels::NAMESPACE.to_owned());
    stream.push(&account)?;
    stream.push(&rbac::controller_role())?;
    stream.push(&rbac::controller_binding())?;
    stream.push(&rbac::view_role())
}

fn scheduler_config_map(config: &SchedulerConfig) -> Result<ConfigMap, Error> {
    let file = ("config.yaml".to_owned(), config.render()?);
    let mut map = ConfigMap {
        metadata: labels::metadata("prorata-scheduler-config"),
        data: Some(BTreeMap::from([file])),
        ..Default::default()
    };
    map.metadata.namespace = Some(labels::NAMESPACE.to_owned());
    Ok(map)
}

fn labelled<R: kube::Resource>(mut object: R) -> R {
    let common = labels::metadata("").labels;
    object.meta_mut().labels = common;
    object
}

/// Documents of YAML, one after the other.
#[derive(Default)]
struct Stream {
    text: String,
}

impl Stream {
    fn push(&mut self, object: &impl Serialize) -> Result<(), Error> {
        self.text.push_str("---\n");
        self.text.push_str(&to_yaml(object)?);
        Ok(())
    }
}

/// YAML with long lines left whole: folded ones hide what an expression says.
pub(crate) fn to_yaml(object: &impl Serialize) -> Result<String, Error> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(object, options)
}
