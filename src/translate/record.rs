//! QueuedJobs: what we wrote ourselves, and what we want to write.

use std::collections::BTreeMap;

use kube::ResourceExt;
use prorata_core::device::{Devices, WHOLE};
use prorata_core::{Job, Part, Placement, Resource, Resources, Slot, Time};
use prorata_simulator::quantity;

use super::{Form, moment, node::counted, version};
use crate::api::labels;
use crate::api::{
    Admission, Amount, JobReference, Place, QueuedJob, QueuedJobSpec, QueuedJobStatus,
};

/// Type of the condition that says whether the job is admitted, and since when.
pub const ADMITTED: &str = "Admitted";

/// What the controller keeps of a QueuedJob.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordView {
    /// Its name, in the namespace of its job.
    pub name: String,
    /// That namespace.
    pub namespace: String,
    /// Grows with each change. A change must be based on it.
    pub version: u64,
    /// Grows with each change of the spec.
    pub generation: i64,
    /// Nobody would delete it: it has no owner.
    pub is_unowned: bool,
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
            namespace: record.namespace().unwrap_or_default(),
            version: version(&record.metadata),
            generation: record.metadata.generation.unwrap_or_default(),
            is_unowned: record.owner_references().is_empty(),
            spec: record.spec.clone(),
            status: record.status.clone().unwrap_or_default(),
        }
    }

    /// The last number that an admission of its job had; 0 before the first.
    #[must_use]
    pub fn last_epoch(&self) -> i64 {
        let admission = self.spec.admission.as_ref();
        let epoch = admission.map_or(0, |admission| admission.epoch);
        epoch.max(self.spec.last_epoch)
    }

    /// When its job was admitted, to the second; `None` while it waits.
    #[must_use]
    pub fn admitted(&self) -> Option<Time> {
        let mut conditions = self.status.conditions.iter();
        let admitted = conditions.find(|c| c.type_ == ADMITTED && c.status == "True")?;
        Some(moment(&admitted.last_transition_time))
    }
}

/// What the record of `job` is to say.
#[must_use]
pub fn desired_spec(
    job: &Job,
    form: Form,
    admission: Option<(i64, &Placement)>,
    gpu_resource: &str,
) -> QueuedJobSpec {
    let asked = job.task.checked_mul(job.gang).unwrap_or_default();
    // A slot may be larger than what was asked for, and counts as what it is.
    let held = admission.map(|(_, placement)| placement);
    let parts = held.filter(|placement| placement.slots().any(is_part));
    let gpus = parts.map_or(asked.get(Resource::Gpu), |placement| {
        placement.slots().map(|slot| slot.gpu).sum()
    });
    QueuedJobSpec {
        job: JobReference {
            api_version: form.api_version().to_owned(),
            kind: form.kind().to_owned(),
            name: job.id.name().to_owned(),
            uid: job.id.uid().to_owned(),
        },
        tenant: job.tenant.to_string(),
        priority: job.priority,
        gang: job.gang,
        gpus: amount(Resource::Gpu, gpus).0,
        requests: requests(&job.task, gpu_resource),
        admission: admission.map(|(epoch, placement)| Admission {
            epoch,
            placement: places(placement),
        }),
        last_epoch: admission.map_or(0, |(epoch, _)| epoch),
        eviction: None,
        evictions: 0,
        promise: Vec::new(),
        aside: None,
    }
}

/// What each pod of the recorded job takes; `None` when the record cannot be read.
#[must_use]
pub fn task(spec: &QueuedJobSpec, gpu_resource: &str) -> Option<Resources> {
    let read = |task: Resources, (resource, key): (Resource, &str)| {
        let amount = spec.requests.get(key);
        let amount = amount.map_or(Ok(0), |amount| quantity::parse(resource, amount.as_str()));
        Some(task.with(resource, amount.ok()?))
    };
    recorded(gpu_resource).try_fold(Resources::ZERO, read)
}

/// The resources that a record names, with what it calls them.
fn recorded(gpu_resource: &str) -> impl Iterator<Item = (Resource, &str)> {
    let counted = counted(gpu_resource).into_iter();
    counted.chain([(Resource::GpuMemory, labels::GPU_MEMORY)])
}

/// Where the recorded job's pods are to run.
#[must_use]
pub fn placement(places: &[Place]) -> Placement {
    places.iter().map(slot).collect()
}

fn slot(place: &Place) -> Slot {
    let devices: Devices = place.devices.iter().copied().collect();
    let whole = Slot::whole(place.node.as_str().into(), devices);
    let Some(milli) = place.milli else {
        return whole;
    };
    let gpu = u64::from(milli) * u64::from(devices.len().max(1));
    Slot {
        part: Part { milli, memory: 0 },
        gpu,
        charge: gpu,
        ..whole
    }
}

/// The places of a job's pods, as they are recorded.
#[must_use]
pub fn places(placement: &Placement) -> Vec<Place> {
    placement.slots().map(place).collect()
}

fn place(slot: &Slot) -> Place {
    Place {
        node: slot.node.to_string(),
        devices: slot.devices.iter().collect(),
        milli: is_part(slot).then_some(slot.part.milli),
        model: None,
    }
}

/// Whether a pod has a part of a card there.
fn is_part(slot: &Slot) -> bool {
    (1..WHOLE).contains(&slot.part.milli)
}

fn requests(task: &Resources, gpu_resource: &str) -> BTreeMap<String, Amount> {
    let asked = recorded(gpu_resource).filter(|(resource, _)| task.get(*resource) > 0);
    asked
        .map(|(resource, key)| (key.to_owned(), amount(resource, task.get(resource))))
        .collect()
}

fn amount(resource: Resource, units: u64) -> Amount {
    Amount(prorata_core::resource::Amount(resource, units).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
    use prorata_core::JobId;
    use serde_json::json;

    #[test]
    fn what_is_written_reads_back() {
        let task = Resources::gpus(2)
            .with(Resource::Cpu, 1500)
            .with(Resource::Memory, 3 << 30);
        let job = Job {
            priority: -5,
            ..Job::new(JobId::new("red", "train", "uid"), "red".into(), 3, task)
        };
        let slot =
            |node: &str, devices: [u32; 2]| Slot::whole(node.into(), devices.into_iter().collect());
        let planned: Placement = [slot("a", [0, 1]), slot("a", [2, 3]), slot("b", [0, 1])]
            .into_iter()
            .collect();
        let spec = desired_spec(&job, Form::Job, Some((7, &planned)), "nvidia.com/gpu");
        assert_eq!(spec.gpus, "6");
        assert_eq!(super::task(&spec, "nvidia.com/gpu"), Some(task));
        assert_eq!(placement(&spec.admission.unwrap().placement), planned);
    }

    #[test]
    fn parts_of_a_card_read_back_as_what_they_are() {
        let task = Resources::ZERO.with(Resource::Gpu, 100);
        let task = task.with(Resource::GpuMemory, 8 << 30);
        let job = Job::new(JobId::new("red", "p", "uid"), "red".into(), 2, task);
        let quarter = Slot {
            part: Part {
                milli: 250,
                memory: 0,
            },
            gpu: 250,
            charge: 250,
            ..Slot::whole("a".into(), [3].into_iter().collect())
        };
        let planned: Placement = [quarter.clone(), quarter].into_iter().collect();
        let spec = desired_spec(&job, Form::Job, Some((7, &planned)), "nvidia.com/gpu");
        assert_eq!(spec.gpus, "0.5", "what it has, and not what it asked for");
        assert_eq!(spec.requests["prorata.dev/gpu-memory"].0, "8589934592");
        assert_eq!(super::task(&spec, "nvidia.com/gpu"), Some(task));
        assert_eq!(placement(&spec.admission.unwrap().placement), planned);
        let waits = desired_spec(&job, Form::Job, None, "nvidia.com/gpu");
        assert_eq!(waits.gpus, "0.2");
    }

    #[test]
    fn a_record_says_since_when_its_job_is_admitted() {
        let admitted = |status: &str| {
            let condition: Condition = serde_json::from_value(json!({
                "type": ADMITTED, "status": status, "reason": "", "message": "",
                "lastTransitionTime": "1970-01-01T00:01:30Z",
            }))
            .unwrap();
            let job = Job::new(JobId::default(), "red".into(), 1, Resources::gpus(1));
            let mut record =
                QueuedJob::new("", desired_spec(&job, Form::Job, None, "nvidia.com/gpu"));
            record.status = Some(QueuedJobStatus {
                conditions: vec![condition],
                ..QueuedJobStatus::default()
            });
            RecordView::new(&record).admitted()
        };
        assert_eq!(admitted("True"), Some(Time::from_millis(90_000)));
        assert_eq!(admitted("False"), None);
    }
}
