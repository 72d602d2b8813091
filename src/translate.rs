//! Kubernetes' objects as the core sees them, and the core's decisions as Kubernetes sees them.
//!
//! Pure: what is read here is all that the rest of the controller keeps of an object, so memory
//! does not grow with what users put into their manifests.

mod apart;
mod asked;
mod composite;
mod gated;
mod job;
mod needs;
mod node;
mod plan;
mod pod;
mod progress;
mod record;
mod sharing;
mod template;
mod tenant;
mod terms;

pub use asked::{Annotations, AskError, Unit, demand};
pub use gated::{Gated, JOB_CONTROLLER, KUBERNETES, Left, gang_uid_of_job, group};
pub use job::{Form, JOB_CONDITION, JobView, Part};
pub use node::{is_ready, node};
pub use plan::{
    AFFINITY_NODES_MAX, FOUND, FREED, NAME_FIELD as NODE_NAME, fence, free, leads_to, release,
    take_back, take_up,
};
pub use pod::{PodView, requests};
pub use record::{ADMITTED, RecordView, desired_spec, placement, places, task};
pub use tenant::{Account, TenantView, tenant};
pub use terms::terms;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{self as meta, ObjectMeta, OwnerReference};
use prorata_core::Time;

use crate::kinds::Composite;

/// The object that controls the one with this metadata, if any.
fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    let mut owners = metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true))
}

/// UID of the object of an operator's that the one with this metadata is a part of, if it is.
fn composite_owner(metadata: &ObjectMeta) -> Option<String> {
    let owner = controller(metadata)?;
    Composite::of_owner(&owner.api_version, &owner.kind)?;
    Some(owner.uid.clone())
}

/// When an object was created.
fn created(metadata: &ObjectMeta) -> Time {
    let created = metadata.creation_timestamp.as_ref();
    created.map(moment).unwrap_or_default()
}

/// A moment as Kubernetes keeps it: in whole seconds.
fn moment(time: &meta::Time) -> Time {
    let seconds = u64::try_from(time.0.as_second()).unwrap_or_default();
    Time::from_millis(seconds.saturating_mul(1000))
}

/// The version of an object. Since Kubernetes 1.35 it is a number that only grows.
fn version(metadata: &ObjectMeta) -> u64 {
    let version = metadata.resource_version.as_deref();
    version
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    Some(metadata.annotations.as_ref()?.get(key)?.as_str())
}
