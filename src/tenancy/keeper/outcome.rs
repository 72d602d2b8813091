//! Writes what there is to do for one Tenant, and says what came of it.

use futures::{StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::DynamicObject;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use tracing::warn;

use super::work::{self, Removal, Work};
use crate::api::{Tenant, labels};
use crate::effects::{Failure, fault};
use crate::tenancy::object::{Kind, Wanted};
use crate::tenancy::store::{self, Key};

/// Objects of one Tenant that are written at the same time.
const WRITES_MAX: usize = 8;
/// The field manager of a Tenant's condition. The queue writes the rest of its status.
const CONDITION_MANAGER: &str = "prorata-tenancy";
/// The most that one Event tells.
const NOTE_MAX: usize = 900;

/// What came of it.
pub(super) struct Outcome {
    pub(super) team: String,
    /// Objects as they are now.
    pub(super) written: Vec<(Kind, DynamicObject)>,
    /// How many objects were removed.
    pub(super) removed: usize,
    /// What could not be written, and why.
    pub(super) failures: Vec<String>,
}

/// Who writes, by a client that writes only while this process leads.
#[derive(Clone)]
pub(super) struct Writer {
    client: Client,
    events: Recorder,
}

impl Writer {
    pub(super) fn new(client: Client) -> Self {
        let reporter = Reporter {
            controller: labels::CONTROLLER.to_owned(),
            instance: None,
        };
        Self {
            events: Recorder::new(client.clone(), reporter),
            client,
        }
    }

    /// Does what there is to do.
    pub(super) async fn perform(&self, work: Work) -> Outcome {
        let mut outcome = Outcome {
            team: work.team.clone(),
            written: Vec::new(),
            removed: 0,
            failures: Vec::new(),
        };
        // Nothing goes into a namespace that is not there.
        for kinds in [
            &[Kind::Tenant, Kind::Namespace][..],
            &Kind::ALL[2..5],
            &Kind::ALL[5..],
        ] {
            let writes = work.writes.iter();
            let writes: Vec<Wanted> = writes
                .filter(|w| kinds.contains(&w.kind))
                .cloned()
                .collect();
            let apply = |wanted: Wanted| {
                let writer = self.clone();
                async move { writer.apply(&wanted).await }
            };
            let answers = stream::iter(writes).map(apply).buffer_unordered(WRITES_MAX);
            let answers: Vec<_> = answers.collect().await;
            for answer in answers {
                match answer {
                    Ok(written) => outcome.written.push(written),
                    Err(failure) => outcome.failures.push(failure),
                }
            }
            if !outcome.failures.is_empty() {
                break;
            }
        }
        for removal in &work.removals {
            match self.remove(removal).await {
                Ok(()) => outcome.removed += 1,
                Err(failure) => outcome.failures.push(failure),
            }
        }
        outcome.failures.extend(work.foreign.iter().cloned());
        if let Some(tenant) = &work.tenant {
            self.tell(tenant, &work, &mut outcome).await;
        }
        outcome
    }

    async fn apply(&self, wanted: &Wanted) -> Result<(Kind, DynamicObject), String> {
        let api = self.api(wanted.kind, wanted.namespace.as_deref());
        let params = PatchParams::apply(labels::MANAGER).force();
        let patched = api
            .patch(&wanted.name, &params, &Patch::Apply(&wanted.body))
            .await;
        match patched {
            Ok(object) => {
                fault::after_write();
                Ok((wanted.kind, object))
            }
            Err(error) => Err(format!("{}: {}", wanted.title(), Failure::from(error))),
        }
    }

    async fn remove(&self, Removal { key, uid }: &Removal) -> Result<(), String> {
        let api = self.api(key.0, key.1.as_deref());
        let preconditions = Preconditions {
            uid: uid.clone(),
            resource_version: None,
        };
        let params = DeleteParams {
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        match api.delete(&key.2, &params).await {
            Ok(_) => {
                fault::after_write();
                Ok(())
            }
            // It is gone, or another by now.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(format!("{}: {}", work::title_of(key), Failure::from(error))),
        }
    }

    fn api(&self, kind: Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = kind.resource();
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Shows on the Tenant how it stands, and what others had changed.
    async fn tell(&self, tenant: &Tenant, work: &Work, outcome: &mut Outcome) {
        let condition = match outcome.failures.is_empty() {
            true => work.condition.clone(),
            false => work::condition(tenant, "False", "Refused", outcome.failures.join("; ")),
        };
        if let Some(condition) = condition {
            match self.show(&tenant.name_any(), &condition).await {
                Ok(object) => {
                    fault::after_write();
                    outcome.written.push((Kind::Tenant, object));
                }
                Err(error) => outcome.failures.push(format!("its status: {error}")),
            }
        }
        let is_written = |wanted: &Key| {
            let mut written = outcome.written.iter();
            written.any(|(kind, object)| store::key(*kind, object) == *wanted)
        };
        let corrected = work.drift.iter().filter(|(key, _)| is_written(key));
        let corrected: Vec<&str> = corrected.map(|(_, told)| told.as_str()).collect();
        if !corrected.is_empty() {
            self.notify(tenant, &corrected).await;
        }
    }

    async fn show(&self, name: &str, condition: &Condition) -> kube::Result<DynamicObject> {
        let api = self.api(Kind::Tenant, None);
        let status = json!({
            "apiVersion": Tenant::api_version(&()), "kind": Tenant::kind(&()),
            "status": { "conditions": [condition] },
        });
        let params = PatchParams::apply(CONDITION_MANAGER).force();
        api.patch_status(name, &params, &Patch::Apply(status)).await
    }

    async fn notify(&self, tenant: &Tenant, drift: &[&str]) {
        let mut note = format!("{}: as the Tenant wants it again", drift.join(", "));
        if note.len() > NOTE_MAX {
            note = format!(
                "{} objects were changed or deleted, the first: {}",
                drift.len(),
                drift[0]
            );
        }
        let event = Event {
            type_: EventType::Warning,
            reason: "DriftCorrected".to_owned(),
            note: Some(note),
            action: "Provisioning".to_owned(),
            secondary: None,
        };
        let regarding = tenant.object_ref(&());
        match self.events.publish(&event, &regarding).await {
            Ok(()) => fault::after_write(),
            Err(error) => {
                warn!(tenant = tenant.name_any(), %error, "an Event could not be written");
            }
        }
    }
}
