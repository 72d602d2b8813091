//! The user's own object behind a job in the queue, of whatever kind, and changes of it.

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::core::TypeMeta;
use kube::{Client, ResourceExt, discovery};
use prorata_simulator::problem::suggest;
use serde_json::{Value, json};

use super::cluster::{Cluster, Scope, if_allowed};
use super::failure::Failure;
use super::queue::{self, Entry};
use super::report::{self, Object, Outcome, Report};
use crate::api::{State, labels};

/// An object that exists, and where it stands in the queue.
pub(super) struct Target {
    /// How to reach objects of its kind in its namespace.
    pub(super) api: Api<DynamicObject>,
    /// As it was read.
    pub(super) object: DynamicObject,
    /// Its kind, such as `Job`.
    pub(super) kind: String,
    /// Where it stands; absent where it is not in the queue, or that may not be read.
    pub(super) entry: Option<Entry>,
}

impl Target {
    /// Finds a job of the caller's namespace by its name, or `KIND/NAME`.
    pub(super) async fn find(cluster: &Cluster, job: &str) -> Result<Self, Failure> {
        let name = name(job);
        let scope = Scope::Namespace(cluster.namespace().to_owned());
        let entries = queue::read(cluster, &scope).await;
        let entries = if_allowed("the queue", entries)?.unwrap_or_default();
        let entry = queue::find(&entries, cluster.namespace(), name).cloned();
        let (version, kind) = match &entry {
            Some(entry) => (entry.api_version.clone(), entry.kind.clone()),
            None => ("batch/v1".to_owned(), "Job".to_owned()),
        };
        let api = api(cluster.client(), cluster.namespace(), &version, &kind).await?;
        let read = api.get_opt(name).await;
        let attempt = format!("get {kind} {}/{name}", cluster.namespace());
        match read.map_err(|error| Failure::api(&attempt, error))? {
            Some(object) => Ok(Self {
                api,
                object,
                kind,
                entry,
            }),
            None => Err(unknown(cluster.namespace(), name, &entries)),
        }
    }

    /// An object that has just been created: it may not be in the queue yet.
    pub(super) async fn created(
        cluster: &Cluster,
        object: &DynamicObject,
    ) -> Result<Self, Failure> {
        let types = object.types.clone().unwrap_or_default();
        let namespace = object.namespace().unwrap_or_default();
        let (version, kind) = (&types.api_version, &types.kind);
        Ok(Self {
            api: api(cluster.client(), &namespace, version, kind).await?,
            object: object.clone(),
            kind: types.kind.clone(),
            entry: None,
        })
    }

    /// The object of this entry, if it still exists.
    pub(super) async fn of(cluster: &Cluster, entry: &Entry) -> Result<Option<Self>, Failure> {
        let (version, kind) = (&entry.api_version, &entry.kind);
        let api = api(cluster.client(), &entry.namespace, version, kind).await?;
        let read = api.get_opt(&entry.name).await;
        let attempt = format!("get {kind} {}/{}", entry.namespace, entry.name);
        let object = read.map_err(|error| Failure::api(&attempt, error))?;
        let same = object.filter(|object| object.uid().as_ref() == Some(&entry.uid));
        Ok(same.map(|object| Self {
            api,
            object,
            kind: kind.clone(),
            entry: Some(entry.clone()),
        }))
    }

    /// `namespace/name`.
    pub(super) fn full_name(&self) -> String {
        let namespace = self.object.namespace().unwrap_or_default();
        format!("{namespace}/{}", self.object.name_any())
    }

    /// Reports what was done to it, in words that follow its name.
    pub(super) fn report(
        &self,
        report: &mut Report,
        outcome: Outcome,
        words: &str,
    ) -> Result<(), Failure> {
        let message = format!("{} {words}", self.full_name());
        report.tell(self.reported(), outcome, message)
    }

    /// It, as a report names it.
    pub(super) fn reported(&self) -> Object {
        let types = self.object.types.clone().unwrap_or_default();
        Object {
            api_version: types.api_version,
            kind: self.kind.clone(),
            namespace: self.object.namespace(),
            name: self.object.name_any(),
        }
    }

    /// Whether its user holds it.
    pub(super) fn is_held(&self) -> bool {
        let told = self.object.annotations().get(labels::HELD);
        told.is_some_and(|value| value == "true")
    }

    /// Whether its places are decided: its pods run, or are on their way.
    pub(super) fn is_admitted(&self) -> bool {
        let entry = self.entry.as_ref();
        entry.is_some_and(|entry| entry.state == State::Admitted)
    }

    /// Whether its suspend field is set.
    pub(super) fn is_suspended(&self) -> bool {
        let spec = &self.object.data["spec"];
        spec["suspend"] == true || spec["runPolicy"]["suspend"] == true
    }

    /// The change that sets its suspend field.
    pub(super) fn suspend(&self, to: bool) -> Result<Value, Failure> {
        match SUSPENDS.iter().find(|(kind, _)| *kind == self.kind) {
            Some((_, true)) => Ok(json!({"spec": {"runPolicy": {"suspend": to}}})),
            Some((_, false)) => Ok(json!({"spec": {"suspend": to}})),
            None => Err(Failure::new(format!(
                "{} {} cannot be held or released: its kind has no suspend field",
                self.kind,
                self.full_name()
            ))
            .help("delete what makes its pods, or scale it to 0")),
        }
    }

    /// Merges a change into the object, unless it is another one by now.
    pub(super) async fn merge(
        &self,
        attempt: &str,
        mut change: Value,
    ) -> Result<DynamicObject, Failure> {
        change["metadata"]["uid"] = json!(self.object.uid());
        let name = self.object.name_any();
        let (params, patch) = (PatchParams::default(), Patch::Merge(change));
        let patched = self.api.patch(&name, &params, &patch).await;
        let attempt = format!("{attempt} {} {}", self.kind, self.full_name());
        patched.map_err(|error| Failure::api(&attempt, error))
    }
}

/// Kinds that can be suspended, and whether the field is in `runPolicy`.
const SUSPENDS: [(&str, bool); 11] = [
    ("Job", false),
    ("JobSet", false),
    ("RayJob", false),
    ("RayCluster", false),
    ("TrainJob", false),
    ("PyTorchJob", true),
    ("TFJob", true),
    ("MPIJob", true),
    ("XGBoostJob", true),
    ("PaddleJob", true),
    ("JAXJob", true),
];

/// The name in `NAME`, `job/NAME` or `job.batch/NAME`.
pub(super) fn name(job: &str) -> &str {
    job.rsplit_once('/').map_or(job, |(_, name)| name)
}

/// No job has this name.
pub(super) fn unknown(namespace: &str, job: &str, entries: &[Entry]) -> Failure {
    let here = entries.iter().filter(|entry| entry.namespace == namespace);
    let names: Vec<&str> = here.map(|entry| entry.name.as_str()).collect();
    let what = format!("there is no job {job} in namespace {namespace}");
    match names.is_empty() {
        true => {
            Failure::new(what).help("name another namespace by -n; `prorata list -A` shows all")
        }
        false => Failure::new(what).help(suggest(job, names)),
    }
}

/// The objects of a kind in a namespace. Kinds but Jobs are looked up first.
pub(super) async fn api(
    client: &Client,
    namespace: &str,
    api_version: &str,
    kind: &str,
) -> Result<Api<DynamicObject>, Failure> {
    let resource = match (api_version, kind) {
        ("batch/v1", "Job") => ApiResource::erase::<Job>(&()),
        _ => resource(client, api_version, kind).await?,
    };
    Ok(Api::namespaced_with(client.clone(), namespace, &resource))
}

async fn resource(client: &Client, api_version: &str, kind: &str) -> Result<ApiResource, Failure> {
    let types = TypeMeta {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
    };
    let what = format!("{api_version} {kind}");
    let gvk = GroupVersionKind::try_from(&types).map_err(|_| {
        Failure::input(
            format!("{what} is no kind"),
            "correct its apiVersion and kind",
        )
    })?;
    match discovery::pinned_kind(client, &gvk).await {
        Ok((resource, capabilities)) if capabilities.scope == discovery::Scope::Namespaced => {
            Ok(resource)
        }
        Ok(_) => Err(Failure::input(
            format!("{what} belongs to no namespace"),
            "leave it to `kubectl apply`",
        )),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(no_such_kind(&what)),
        Err(kube::Error::Discovery(_)) => Err(no_such_kind(&what)),
        Err(error) => Err(Failure::api(&format!("look up {what}"), error)),
    }
}

fn no_such_kind(what: &str) -> Failure {
    Failure::input(
        format!("this cluster knows no {what}"),
        "correct its apiVersion and kind, or have its custom resource definition installed",
    )
}

/// `job.batch/name` of any object, as kubectl prints it.
pub(super) fn resource_name(object: &DynamicObject) -> String {
    let types = object.types.clone().unwrap_or_default();
    report::resource_name(&types.api_version, &types.kind, &object.name_any())
}
