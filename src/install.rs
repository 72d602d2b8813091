//! What an administrator installs: every object of ours in the cluster, and the configuration of
//! kube-scheduler. It renders; it never talks to a cluster.

pub mod agent;
pub mod certificates;
pub mod dashboard;
pub mod rbac;
pub mod scheduler;
pub mod tenants;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde::Serialize;

use crate::api::{GpuNode, QueuedJob, Tenant, labels};
use crate::{admission, tenancy};
use scheduler::SchedulerConfig;

/// Why something could not be printed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be written as YAML.
    #[error("YAML")]
    Yaml(#[from] serde_saphyr::ser::Error),
    /// A certificate cannot be made.
    #[error("certificates")]
    Certificate(#[from] rcgen::Error),
}

/// A file of the installation: objects that are changed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What the file is called where it is kept as one.
    pub file: &'static str,
    /// Documents of YAML.
    pub text: String,
}

/// Everything, as one stream for `kubectl apply -f -`: each object after those that it needs.
///
/// # Errors
/// When an object cannot be written as YAML.
pub fn render(scheduler: &SchedulerConfig) -> Result<String, Error> {
    let parts = parts(scheduler)?;
    Ok(parts.into_iter().map(|part| part.text).collect())
}

/// The same by file. The chart and the kustomize base hold these very bytes.
///
/// # Errors
/// When an object cannot be written as YAML.
pub fn parts(scheduler: &SchedulerConfig) -> Result<Vec<Part>, Error> {
    let part = |file, text| Part { file, text };
    Ok(vec![
        part("namespace.yaml", render_namespace()?),
        part("crds.yaml", render_crds()?),
        part("policies.yaml", render_policies(&scheduler.gpu_resource)?),
        part("permissions.yaml", render_permissions()?),
        part(
            "scheduler-config.yaml",
            document(&scheduler_config_map(scheduler)?)?,
        ),
    ])
}

/// Its pods are held to the strictest of Kubernetes' standards for pods.
fn render_namespace() -> Result<String, Error> {
    let mut metadata = labels::metadata(labels::NAMESPACE);
    let enforce = "pod-security.kubernetes.io/enforce".to_owned();
    metadata
        .labels
        .get_or_insert_default()
        .insert(enforce, "restricted".to_owned());
    document(&Namespace {
        metadata,
        ..Default::default()
    })
}

/// The custom resource definitions alone.
///
/// # Errors
/// When one cannot be written as YAML.
pub fn render_crds() -> Result<String, Error> {
    let mut stream = Stream::default();
    stream.push(&labelled(Tenant::crd()))?;
    stream.push(&labelled(queued_jobs()))?;
    stream.push(&labelled(GpuNode::crd()))?;
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

fn render_policies(gpu_resource: &str) -> Result<String, Error> {
    let mut stream = Stream::default();
    for policy in admission::mutating(gpu_resource) {
        stream.push(&policy)?;
        stream.push(&admission::bind_mutating(&policy))?;
    }
    for policy in admission::validating(gpu_resource) {
        stream.push(&policy)?;
        stream.push(&admission::bind_validating(&policy))?;
    }
    Ok(stream.text)
}

fn render_permissions() -> Result<String, Error> {
    let mut account = ServiceAccount {
        metadata: labels::metadata(labels::CONTROLLER),
        ..Default::default()
    };
    account.metadata.namespace = Some(labels::NAMESPACE.to_owned());
    let mut stream = Stream::default();
    stream.push(&account)?;
    for map in tenancy::config_maps() {
        stream.push(&map)?;
    }
    stream.push(&rbac::controller_role())?;
    stream.push(&rbac::controller_binding())?;
    stream.push(&rbac::leader_role())?;
    stream.push(&rbac::leader_binding())?;
    stream.push(&rbac::view_role())?;
    for role in tenants::roles() {
        stream.push(&role)?;
    }
    Ok(stream.text)
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

fn document(object: &impl Serialize) -> Result<String, Error> {
    let mut stream = Stream::default();
    stream.push(object)?;
    Ok(stream.text)
}

/// YAML with long lines left whole: folded ones hide what an expression says.
pub(crate) fn to_yaml(object: &impl Serialize) -> Result<String, Error> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    Ok(serde_saphyr::to_string_with_options(object, options)?)
}
