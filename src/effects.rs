//! Writes to the API server about jobs: their objects, records, pods, nodes and Events, and what
//! tenants hold. Nobody else writes any of these. What belongs to one duty is written beside that
//! duty: what is kept for a Tenant, how its budget stands, what policies look up, who leads, and by
//! each agent its own GpuNode. A test knows every file of ours that writes.
//!
//! Every write carries what it was based on (UID, resourceVersion or generation). If that is no
//! longer so, the write fails and nothing has happened: the watch brings the news, and whoever
//! asked asks anew.

mod clients;
mod events;
mod eviction;
mod failure;
pub(crate) mod fault;
mod merge;
mod nodes;
mod pods;
mod record;
#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use prorata_core::{JobId, NodeId, TenantId};
use serde_json::{Value, json};
use tracing::warn;

use crate::api::{QueuedJob, QueuedJobSpec, QueuedJobStatus, Tenant, TenantStatus, labels};
use crate::gpus::Heard;
use crate::kinds::Composite;
use crate::translate::{Form, JobView, PodView, RecordView, TenantView};
use crate::watch::{self, Object};
use events::Events;

pub(crate) use eviction::evict;
pub use failure::Failure;
pub use pods::{PodName, PodsWrite};
pub use record::RecordWrite;

/// Characters of a name that are part of its record's or its Events': theirs may have 253.
const NAME_MAX: usize = 200;

/// How long the writes about one job may take.
const WRITES_WITHIN: Duration = Duration::from_secs(30);

/// What is to be written about one job. The parts are written in the order in which they stand
/// here; after a failure none of the later ones.
#[derive(Clone, Debug)]
pub struct Effect {
    /// The job.
    pub job: JobId,
    /// What stands for it in the cluster.
    pub form: Form,
    /// A JSON Patch of the Job: it cannot be started any more by what its record gives up, or says
    /// that it runs already.
    pub fence: Option<Value>,
    /// Our record of it, before anything acts on it.
    pub record: RecordWrite,
    /// A JSON Patch of the Job: it starts it, or takes that back.
    pub patch: Option<Value>,
    /// Whether that patch starts it.
    pub starts: bool,
    /// What is done to its pods, where these wait in the queue themselves.
    pub pods: Option<PodsWrite>,
    /// Our condition on the Job.
    pub condition: Option<Value>,
    /// Its pods that the patch ends, or what is done to them, with the UID of each by node.
    pub leaving: Vec<(NodeId, String)>,
    /// What its user is told.
    pub notice: Option<Notice>,
    /// The pod that this is told of, where the job is a gang of pods and no object.
    pub about: Option<PodName>,
}

impl Effect {
    /// What writes nothing.
    #[must_use]
    pub const fn nothing(job: JobId, form: Form) -> Self {
        Self {
            job,
            form,
            fence: None,
            record: RecordWrite::Keep,
            patch: None,
            starts: false,
            pods: None,
            condition: None,
            leaving: Vec::new(),
            notice: None,
            about: None,
        }
    }

    /// Whether it starts the job, or lets pods of it go.
    #[must_use]
    pub const fn lets_go(&self) -> bool {
        self.starts || matches!(self.pods, Some(PodsWrite::LetGo(_)))
    }

    /// Whether it ends pods.
    #[must_use]
    pub const fn stops(&self) -> bool {
        let ends = matches!(
            self.pods,
            Some(PodsWrite::Evict(_) | PodsWrite::Delete(_) | PodsWrite::End(_))
        );
        (self.patch.is_some() && !self.starts) || ends
    }

    /// How many requests it takes.
    #[must_use]
    pub fn requests(&self) -> u32 {
        let parts = [
            self.fence.is_some(),
            !matches!(self.record, RecordWrite::Keep),
            self.patch.is_some(),
            self.condition.is_some(),
            self.notice.is_some(),
        ];
        let pods = self.pods.as_ref().map_or(0, PodsWrite::requests);
        pods + parts.into_iter().map(u32::from).sum::<u32>()
    }

    /// Whether anything is to be written at all.
    #[must_use]
    pub const fn changes_anything(&self) -> bool {
        let kept = matches!(self.record, RecordWrite::Keep);
        let patches = self.fence.is_some() || self.patch.is_some();
        !kept || patches || self.pods.is_some() || self.condition.is_some()
    }

    /// Whether somebody's start waits for it. The rest only reports.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        let patches = self.fence.is_some() || self.patch.is_some();
        patches || self.pods.is_some() || self.record.binds()
    }
}

/// An Event on the user's object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// What happened to it: a stable code.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// What came of an effect.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The Job.
    pub job: JobId,
    /// The objects as they are now, where they were written.
    pub record: Option<RecordView>,
    /// Likewise.
    pub view: Option<JobView>,
    /// Likewise.
    pub pods: Vec<PodView>,
    /// Whether an eviction was put on record: from there on it is carried out, whatever happens.
    pub evicts: bool,
    /// Why it was not carried out to its end.
    pub failure: Option<Failure>,
}

/// Who writes.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    events: Events,
    gpu_resource: String,
    /// What the agents say, where that is followed.
    heard: Option<Heard>,
}

impl Writer {
    /// Writes through this client.
    #[must_use]
    pub fn new(client: Client, gpu_resource: &str) -> Self {
        Self {
            events: Events::new(client.clone()),
            client,
            gpu_resource: gpu_resource.to_owned(),
            heard: None,
        }
    }

    /// The same, which asks of no node whose agent says that nothing is shared there.
    #[must_use]
    pub fn hearing(self, heard: Heard) -> Self {
        Self {
            heard: Some(heard),
            ..self
        }
    }

    /// Carries out an effect.
    pub async fn perform(&self, effect: Effect) -> Outcome {
        let mut outcome = Outcome {
            job: effect.job.clone(),
            record: None,
            view: None,
            pods: Vec::new(),
            evicts: false,
            failure: None,
        };
        let (starts, evicts) = (effect.starts, effect.record.evicts());
        let before = effect.record.version();
        let written = tokio::time::timeout(WRITES_WITHIN, self.write(effect, &mut outcome)).await;
        outcome.evicts = evicts && outcome.record.is_some();
        outcome.failure = match written {
            Ok(Ok(())) if starts && outcome.view.as_ref().is_some_and(|view| view.is_suspended) => {
                Some(Failure::Refused(
                    "something suspends the Job again".to_owned(),
                ))
            }
            Ok(Ok(())) => {
                let after = outcome.record.as_ref().map(|record| record.version);
                (before.is_some() && before == after).then_some(Failure::Vain)
            }
            Ok(Err(failure)) => Some(failure),
            Err(_) => Some(Failure::Unanswered(format!(
                "no answer within {WRITES_WITHIN:?}"
            ))),
        };
        outcome
    }

    async fn write(&self, effect: Effect, outcome: &mut Outcome) -> Result<(), Failure> {
        let Effect {
            job,
            form,
            fence,
            record,
            patch,
            pods,
            condition,
            notice,
            about,
            leaving,
            ..
        } = effect;
        if let Some(fence) = fence {
            outcome.view = Some(self.patch(&job, form, fence).await?);
        }
        outcome.record = self.record(&job, form, record).await?;
        self.end_clients(&leaving).await?;
        if let Some(patch) = patch {
            outcome.view = Some(self.patch(&job, form, patch).await?);
        }
        if let Some(pods) = pods {
            let (written, all) = self.pods(&job, pods).await;
            outcome.pods = written;
            // Of what is done in part nothing is told later.
            if let Err(error) = all {
                let notice = notice.filter(|_| !outcome.pods.is_empty());
                if let Some(notice) = notice {
                    self.notify(&job, subject(&job, form, about.as_ref()), notice)
                        .await;
                }
                return Err(error.into());
            }
        }
        if let Some(condition) = condition {
            outcome.view = Some(self.condition(&job, condition).await?);
        }
        if let Some(notice) = notice {
            let subject = subject(&job, form, about.as_ref());
            self.notify(&job, subject, notice).await;
        }
        Ok(())
    }

    async fn record(
        &self,
        job: &JobId,
        form: Form,
        write: RecordWrite,
    ) -> kube::Result<Option<RecordView>> {
        let api = self.records(job);
        let written = match write {
            RecordWrite::Keep => return Ok(None),
            RecordWrite::Delete(record) => {
                self.delete(&api, &record).await?;
                fault::after_write();
                return Ok(None);
            }
            RecordWrite::Create(spec, status) => {
                let record = new_record(job, form, *spec, *status);
                api.create(&PostParams::default(), &record).await?
            }
            RecordWrite::Change(record, spec, status) => {
                let before = json!({"spec": record.spec, "status": record.status});
                let after = json!({"spec": *spec, "status": *status});
                let mut patch = merge::difference(&before, &after);
                // Nobody else writes records: who wrote which field need not be kept, nor compared.
                patch["metadata"] =
                    json!({"resourceVersion": record.version.to_string(), "managedFields": [{}]});
                let patch = Patch::Merge(patch);
                api.patch(&record.name, &PatchParams::default(), &patch)
                    .await?
            }
        };
        fault::after_write();
        Ok(Some(RecordView::new(&written)))
    }

    async fn patch(&self, job: &JobId, form: Form, patch: Value) -> kube::Result<JobView> {
        let patch = serde_json::from_value(patch).map_err(kube::Error::SerdeError)?;
        let patch: Patch<()> = Patch::Json(patch);
        let (name, params) = (job.name(), PatchParams::default());
        let view = match form {
            Form::Composite(kind) => {
                let api = self.composites(job, kind);
                let written = api.patch(name, &params, &patch).await?;
                JobView::of_composite(kind, &written, &self.gpu_resource)
            }
            Form::Job | Form::Pod | Form::Gang => {
                let written = self.jobs(job).patch(name, &params, &patch).await?;
                JobView::new(&written, &self.gpu_resource)
            }
        };
        fault::after_write();
        Ok(view)
    }

    async fn condition(&self, job: &JobId, condition: Value) -> kube::Result<JobView> {
        let metadata = json!({"uid": job.uid()});
        let patch = json!({"metadata": metadata, "status": {"conditions": [condition]}});
        let patch = Patch::Strategic(patch);
        let written = self
            .jobs(job)
            .patch_status(job.name(), &PatchParams::default(), &patch)
            .await?;
        fault::after_write();
        Ok(JobView::new(&written, &self.gpu_resource))
    }

    async fn delete(&self, api: &Api<QueuedJob>, record: &RecordView) -> kube::Result<()> {
        let preconditions = Preconditions {
            uid: None,
            resource_version: Some(record.version.to_string()),
        };
        let params = DeleteParams {
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        api.delete(&record.name, &params).await.map(drop)
    }

    /// Shows what a tenant holds, and returns it as it is now; `None` if it has changed meanwhile,
    /// or cannot be written.
    pub async fn show_tenant(
        &self,
        id: &TenantId,
        version: u64,
        (before, after): (&TenantStatus, &TenantStatus),
    ) -> Option<Object> {
        let api: Api<Tenant> = Api::all(self.client.clone());
        // What was never shown reads as zeros, which have to be written all the same.
        let before = match before.observed_generation {
            Some(_) => json!({"status": before}),
            None => json!({}),
        };
        let mut patch = merge::difference(&before, &json!({"status": after}));
        patch["metadata"] = json!({"resourceVersion": version.to_string()});
        let patch = Patch::Merge(patch);
        let params = PatchParams::default();
        let patched = api.patch_status(id.as_str(), &params, &patch);
        match tokio::time::timeout(WRITES_WITHIN, patched).await {
            Ok(Ok(tenant)) => {
                fault::after_write();
                Some(Object::Tenant(Box::new(TenantView::new(&tenant))))
            }
            Ok(Err(error)) => {
                let failure = Failure::from(error);
                if failure != Failure::Stale {
                    warn!(tenant = %id, %failure, "what a tenant holds could not be shown");
                }
                None
            }
            Err(_) => None,
        }
    }

    /// Tells the users of an object something that is about no job. An Event that cannot be written is
    /// no reason to do anything twice.
    pub async fn tell(&self, about: ObjectReference, notice: Notice) {
        let name = about.name.clone();
        match self.events.tell(about, notice).await {
            Ok(()) => fault::after_write(),
            Err(error) => warn!(object = name, %error, "nobody could be told"),
        }
    }

    async fn notify(&self, job: &JobId, regarding: ObjectReference, notice: Notice) {
        if let Err(error) = self.events.tell(regarding, notice).await {
            warn!(%job, %error, "an Event could not be written");
        } else {
            fault::after_write();
        }
    }

    fn records(&self, job: &JobId) -> Api<QueuedJob> {
        Api::namespaced(self.client.clone(), job.namespace())
    }

    fn jobs(&self, job: &JobId) -> Api<Job> {
        Api::namespaced(self.client.clone(), job.namespace())
    }

    fn composites(&self, job: &JobId, kind: &Composite) -> Api<DynamicObject> {
        let client = self.client.clone();
        Api::namespaced_with(client, job.namespace(), &watch::resource(kind))
    }
}

/// The object that an Event about the job is about.
fn subject(job: &JobId, form: Form, about: Option<&PodName>) -> ObjectReference {
    let (name, uid) = about.map_or((job.name(), job.uid()), |pod| (&pod.name, &pod.uid));
    ObjectReference {
        api_version: Some(form.api_version().to_owned()),
        kind: Some(form.kind().to_owned()),
        namespace: Some(job.namespace().to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

/// The record of a job. It is its object's: deleted with it, and never confused with that of a
/// later one of the same name. A gang is no object, so its record is deleted by us.
fn new_record(job: &JobId, form: Form, spec: QueuedJobSpec, status: QueuedJobStatus) -> QueuedJob {
    let mut record = QueuedJob::new("", spec);
    record.status = Some(status);
    record.metadata = labels::metadata(&record_name(job, form));
    record.metadata.namespace = Some(job.namespace().to_owned());
    let owner = OwnerReference {
        api_version: form.api_version().to_owned(),
        kind: form.kind().to_owned(),
        name: job.name().to_owned(),
        uid: job.uid().to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    record.metadata.owner_references = (form != Form::Gang).then(|| vec![owner]);
    record
}

/// Of a kind and a name there may be two at a time: one that was deleted may have left its record.
/// The name of a gang is whatever its users say.
fn record_name(job: &JobId, form: Form) -> String {
    let uid = job.uid().split('-').next().unwrap_or_default();
    let kind = match form {
        Form::Gang => "gang".to_owned(),
        Form::Pod | Form::Job | Form::Composite(_) => form.kind().to_lowercase(),
    };
    let legal = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9') => c,
        _ => '-',
    };
    let name: String = job.name().chars().map(legal).take(NAME_MAX).collect();
    format!("{kind}-{name}-{uid}")
}
