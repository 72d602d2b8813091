//! Watches: what the API server says, one stream per kind, into one inbox.
//!
//! Each object is trimmed to its view on the way, so that the inbox stays small.

use std::fmt::Debug;

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use prorata_core::TenantId;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{error, warn};

use crate::api;
use crate::api::labels;
use crate::translate::{self, JobView, PodView, RecordView, TenantView};

/// A kind that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nodes.
    Node,
    /// Namespaces.
    Namespace,
    /// PriorityClasses.
    PriorityClass,
    /// Tenants.
    Tenant,
    /// QueuedJobs.
    QueuedJob,
    /// Jobs.
    Job,
    /// Pods.
    Pod,
}

impl Kind {
    /// Every kind, in the order in which first lists are taken up: what others depend on first.
    pub const ALL: [Self; 7] = [
        Self::Node,
        Self::Namespace,
        Self::PriorityClass,
        Self::Tenant,
        Self::QueuedJob,
        Self::Job,
        Self::Pod,
    ];
}

/// An object as the controller keeps it.
#[derive(Clone, Debug)]
pub enum Object {
    /// A node, and whether it is ready.
    Node(prorata_core::Node, bool),
    /// A namespace, and the tenant that it belongs to.
    Namespace(String, Option<TenantId>),
    /// A PriorityClass: its value, and whether it is the default.
    PriorityClass(String, i32, bool),
    /// A tenant.
    Tenant(Box<TenantView>),
    /// A QueuedJob.
    QueuedJob(Box<RecordView>),
    /// A Job.
    Job(Box<JobView>),
    /// A pod.
    Pod(PodView),
}

impl Object {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Node(..) => Kind::Node,
            Self::Namespace(..) => Kind::Namespace,
            Self::PriorityClass(..) => Kind::PriorityClass,
            Self::Tenant(_) => Kind::Tenant,
            Self::QueuedJob(_) => Kind::QueuedJob,
            Self::Job(_) => Kind::Job,
            Self::Pod(_) => Kind::Pod,
        }
    }

    /// What tells it from others of its kind: the UID where a name may be used again, the UID of
    /// the Job for a QueuedJob, the name otherwise.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Node(node, _) => node.id.to_string(),
            Self::Namespace(name, _) | Self::PriorityClass(name, ..) => name.clone(),
            Self::Tenant(view) => view.id.to_string(),
            Self::QueuedJob(record) => record.spec.job.uid.clone(),
            Self::Job(job) => job.id.uid().to_owned(),
            Self::Pod(pod) => pod.uid.clone(),
        }
    }
}

/// What happened to the objects of a kind.
#[derive(Clone, Debug)]
pub enum Change {
    /// An object is like this now.
    Applied(Object),
    /// An object was last like this, and is gone.
    Deleted(Object),
    /// These are all the objects of the kind.
    Listed(Kind, Vec<Object>),
}

/// Starts a watch of each kind. They end when the set is dropped.
#[must_use]
pub fn start(client: &Client, gpu_resource: &str, inbox: &mpsc::Sender<Change>) -> JoinSet<()> {
    let mut watches = JoinSet::new();
    let gpu = gpu_resource.to_owned();
    let nodes = move |node: &Node| {
        let is_ready = translate::is_ready(node);
        Some(Object::Node(translate::node(node, &gpu), is_ready))
    };
    watches.spawn(watch(
        Kind::Node,
        Api::all(client.clone()),
        inbox.clone(),
        nodes,
    ));
    let gpu = gpu_resource.to_owned();
    let jobs = move |job: &Job| Some(Object::Job(Box::new(JobView::new(job, &gpu))));
    watches.spawn(watch(
        Kind::Job,
        Api::all(client.clone()),
        inbox.clone(),
        jobs,
    ));
    let gpu = gpu_resource.to_owned();
    let pods = move |pod: &Pod| Some(Object::Pod(PodView::new(pod, &gpu)));
    watches.spawn(watch(
        Kind::Pod,
        Api::all(client.clone()),
        inbox.clone(),
        pods,
    ));
    watches.spawn(watch(
        Kind::Namespace,
        Api::all(client.clone()),
        inbox.clone(),
        namespace,
    ));
    watches.spawn(watch(
        Kind::PriorityClass,
        Api::all(client.clone()),
        inbox.clone(),
        priority,
    ));
    watches.spawn(watch(
        Kind::Tenant,
        Api::all(client.clone()),
        inbox.clone(),
        tenant,
    ));
    let record =
        |record: &api::QueuedJob| Some(Object::QueuedJob(Box::new(RecordView::new(record))));
    watches.spawn(watch(
        Kind::QueuedJob,
        Api::all(client.clone()),
        inbox.clone(),
        record,
    ));
    watches
}

/// Follows one kind until nobody listens any more.
async fn watch<K>(
    kind: Kind,
    api: Api<K>,
    inbox: mpsc::Sender<Change>,
    view: impl Fn(&K) -> Option<Object> + Send,
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut events = watcher(api, config(kind)).default_backoff().boxed();
    let mut listing = Vec::new();
    while let Some(event) = events.next().await {
        let change = match event {
            Ok(watcher::Event::Init) => {
                listing.clear();
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                listing.extend(view(&object));
                continue;
            }
            Ok(watcher::Event::InitDone) => {
                Some(Change::Listed(kind, std::mem::take(&mut listing)))
            }
            Ok(watcher::Event::Apply(object)) => view(&object).map(Change::Applied),
            Ok(watcher::Event::Delete(object)) => view(&object).map(Change::Deleted),
            Err(error) => {
                warn!(?kind, %error, "the watch broke off; it is taken up again");
                continue;
            }
        };
        if let Some(change) = change
            && inbox.send(change).await.is_err()
        {
            return;
        }
    }
    error!(?kind, "the watch ended");
}

/// Of pods only those that are not over: the others hold nothing. The API server says of one that
/// ends what it says of one that is deleted.
fn config(kind: Kind) -> watcher::Config {
    let config = watcher::Config::default();
    match kind {
        Kind::Pod => config.fields("status.phase!=Succeeded,status.phase!=Failed"),
        _ => config,
    }
}

fn namespace(namespace: &Namespace) -> Option<Object> {
    let tenant = namespace.labels().get(labels::TENANT);
    let tenant = tenant.map(|name| TenantId::from(name.as_str()));
    Some(Object::Namespace(namespace.name_any(), tenant))
}

fn priority(class: &PriorityClass) -> Option<Object> {
    let is_default = class.global_default.unwrap_or_default();
    Some(Object::PriorityClass(
        class.name_any(),
        class.value.unwrap_or_default(),
        is_default,
    ))
}

fn tenant(tenant: &api::Tenant) -> Option<Object> {
    Some(Object::Tenant(Box::new(TenantView::new(tenant))))
}
