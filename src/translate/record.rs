//! QueuedJobs: what we wrote ourselves, and what we want to write.

use std::collections::BTreeMap;

use kube::ResourceExt;
use prorata_core::{Job, Placement, Resource, Resources, Slot};
use prorata_simulator::quantity;

use super::{node::key, version};
use crate::api::{
    Admission, Amount, JobReference, Place, QueuedJob, QueuedJobSpec, QueuedJobStatus,
};

/// What the controller keeps of a QueuedJob.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordView {
    /// Its name, in the namespace of its job.
    pub name: String,
    /// Grows with each change. A change must be based on it.
    pub version: u64,
    /// Grows with each change of the spec.
    pub generation: i64,
    /// What it says.
    pub spec: QueuedJobSpec,
    /// What it shows.
    pub status: QueuedJobStatus,
}

impl RecordView {
    /// What the controller keeps of `record`.
    #[must_use]
    pub fn new(record: &QueuedJob) -> Self {
        Self {
            name: record.name_any(),
            version: version(&record.metadata),
            generation: record.metadata.generation.unwrap_or_default(),
            spec: record.spec.clone(),
            status: record.status.clone().unwrap_or_default(),
        }
    }
}

/// What the record of `job` is to say.
#[must_use]
pub fn desired_spec(
    job: &Job,
    admission: Option<(i64, &Placement)>,
    gpu_resource: &str,
) -> QueuedJobSpec {
    let gpus = job.task.checked_mul(job.gang).unwrap_or_default();
    QueuedJobSpec {
        job: JobReference {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            name: job.id.name().to_owned(),
            uid: job.id.uid().to_owned(),
        },
        tenant: job.tenant.to_string(),
        priority: job.priority,
        gang: job.gang,
        gpus: amount(Resource::Gpu, gpus.get(Resource::Gpu)).0,
        requests: requests(&job.task, gpu_resource),
        admission: admission.map(|(epoch, placement)| Admission {
            epoch,
            placement: placement.slots().map(place).collect(),
        }),
    }
}

/// What each pod of the recorded job takes; `None` when the record cannot be read.
#[must_use]
pub fn task(spec: &QueuedJobSpec, gpu_resource: &str) -> Option<Resources> {
    Resource::ALL
        .into_iter()
        .try_fold(Resources::ZERO, |task, resource| {
            let amount = spec.requests.get(key(resource, gpu_resource));
            let amount = amount.map_or(Ok(0), |amount| quantity::parse(resource, amount.as_str()));
            Some(task.with(resource, amount.ok()?))
        })
}

/// Where the recorded job's pods are to run.
#[must_use]
pub fn placement(admission: &Admission) -> Placement {
    let slot = |place: &Place| Slot {
        node: place.node.as_str().into(),
        devices: place.devices.iter().copied().collect(),
    };
    admission.placement.iter().map(slot).collect()
}

fn place(slot: &Slot) -> Place {
    Place {
        node: slot.node.to_string(),
        devices: slot.devices.iter().collect(),
    }
}

fn requests(task: &Resources, gpu_resource: &str) -> BTreeMap<String, Amount> {
    let asked = task.iter().filter(|(_, units)| *units > 0);
    asked
        .map(|(r, units)| (key(r, gpu_resource).to_owned(), amount(r, units)))
        .collect()
}

fn amount(resource: Resource, units: u64) -> Amount {
    Amount(prorata_core::resource::Amount(resource, units).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prorata_core::{JobId, Time};

    #[test]
    fn what_is_written_reads_back() {
        let task = Resources::gpus(2)
            .with(Resource::Cpu, 1500)
            .with(Resource::Memory, 3 << 30);
        let job = Job {
            id: JobId::new("red", "train", "uid"),
            tenant: "red".into(),
            priority: -5,
            submitted: Time::ZERO,
            gang: 3,
            task,
            held: false,
        };
        let slot = |node: &str, devices: [u32; 2]| Slot {
            node: node.into(),
            devices: devices.into_iter().collect(),
        };
        let planned: Placement = [slot("a", [0, 1]), slot("a", [2, 3]), slot("b", [0, 1])]
            .into_iter()
            .collect();
        let spec = desired_spec(&job, Some((7, &planned)), "nvidia.com/gpu");
        assert_eq!(spec.gpus, "6");
        assert_eq!(super::task(&spec, "nvidia.com/gpu"), Some(task));
        assert_eq!(placement(spec.admission.as_ref().unwrap()), planned);
    }
}
