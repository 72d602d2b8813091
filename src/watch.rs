//! Watches: what the API server says, one stream per kind, into one inbox.
//!
//! Each object is trimmed to its view on the way, so that the inbox stays small.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::{Api, Client, Resource, ResourceExt};
use prorata_core::{Devices, NodeId, TenantId, Time};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::api;
use crate::api::labels;
use crate::kinds::{COMPOSITES, Composite};
use crate::translate::{self, Form, JobView, PodView, RecordView, TenantView};
use crate::view::Views;

mod follow;
mod heard;
mod served;
#[cfg(test)]
mod tests;

use follow::Follower;
pub use heard::Heard;
pub(crate) use served::resource;

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
    /// Objects that operators make Jobs or pods of: the place of their kind in the table.
    Composite(u8),
    /// Jobs.
    Job,
    /// Pods.
    Pod,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Composite(_) => match self.composite() {
                Some(kind) => f.write_str(&kind.full_name()),
                None => f.write_str("unknown"),
            },
            plain => fmt::Debug::fmt(plain, f),
        }
    }
}

impl Kind {
    /// Every kind, in the order in which first lists are taken up: what others depend on first.
    pub const ALL: [Self; 16] = [
        Self::Node,
        Self::Namespace,
        Self::PriorityClass,
        Self::Tenant,
        Self::QueuedJob,
        Self::Composite(0),
        Self::Composite(1),
        Self::Composite(2),
        Self::Composite(3),
        Self::Composite(4),
        Self::Composite(5),
        Self::Composite(6),
        Self::Composite(7),
        Self::Composite(8),
        Self::Job,
        Self::Pod,
    ];

    /// Its place among all.
    #[must_use]
    pub fn index(self) -> usize {
        let place = Self::ALL.iter().position(|kind| *kind == self);
        place.expect("all are known")
    }

    /// The kind of objects that operators make Jobs or pods of, if it is one.
    #[must_use]
    pub fn composite(self) -> Option<&'static Composite> {
        match self {
            Self::Composite(place) => COMPOSITES.get(usize::from(place)),
            _ => None,
        }
    }

    /// The same the other way round.
    #[must_use]
    pub fn of(form: Form) -> Self {
        let Form::Composite(wanted) = form else {
            return Self::Job;
        };
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.composite() == Some(wanted))
            .unwrap_or(Self::Job)
    }
}

/// Of pods in the queue: those that have been let go first, then by index, age and name.
pub type Rank = Option<(bool, Option<u32>, Time, String)>;

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
    /// A Job, or an object that an operator makes some or pods of.
    Job(Box<JobView>),
    /// A pod.
    Pod(PodView),
}

impl Object {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Node(..) => Kind::Node,
            Self::Namespace(..) => Kind::Namespace,
            Self::PriorityClass(..) => Kind::PriorityClass,
            Self::Tenant(_) => Kind::Tenant,
            Self::QueuedJob(_) => Kind::QueuedJob,
            Self::Job(job) => Kind::of(job.form),
            Self::Pod(_) => Kind::Pod,
        }
    }

    /// The order in which those of a first list are taken up.
    #[must_use]
    pub fn rank(&self) -> Rank {
        match self {
            Self::Pod(PodView {
                index,
                gated: Some(gated),
                ..
            }) => Some((gated.is_waiting, *index, gated.created, gated.name.clone())),
            _ => None,
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
    /// These are all the nodes whose shared GPUs take nobody new for now.
    Closed(BTreeSet<NodeId>),
    /// Jobs that may be evicted are to leave this node, whose GPUs are to be divided anew.
    Drained(NodeId),
    /// Pods with these UIDs have these GPUs of a node, and no others of it have any.
    Occupied(NodeId, BTreeMap<String, Devices>),
    /// These are all the pods that disturb others on shared GPUs, with their nodes. Their jobs are not
    /// started there for so long after that.
    Disturbing(BTreeSet<(String, NodeId)>, Duration),
}

/// Follows each kind. That ends when the set is dropped.
#[must_use]
pub fn start(
    client: &Client,
    gpu_resource: &str,
    views: &Views,
    inbox: &mpsc::Sender<Change>,
) -> JoinSet<()> {
    let (node_gpu, job_gpu, pod_gpu) = (
        gpu_resource.to_owned(),
        gpu_resource.to_owned(),
        gpu_resource.to_owned(),
    );
    let mut watches = Watches {
        client,
        views,
        inbox,
        told: watch::Sender::new(BTreeSet::new()),
        set: JoinSet::new(),
    };
    watches.add(Kind::Node, move |node: &Node| {
        let is_ready = translate::is_ready(node);
        Some(Object::Node(translate::node(node, &node_gpu), is_ready))
    });
    watches.add(Kind::Job, move |job: &Job| {
        Some(Object::Job(Box::new(JobView::new(job, &job_gpu))))
    });
    watches.add(Kind::Pod, move |pod: &Pod| {
        Some(Object::Pod(PodView::new(pod, &pod_gpu)))
    });
    watches.add(Kind::Namespace, namespace);
    watches.add(Kind::PriorityClass, priority);
    watches.add(Kind::Tenant, tenant);
    watches.add(Kind::QueuedJob, |record: &api::QueuedJob| {
        Some(Object::QueuedJob(Box::new(RecordView::new(record))))
    });
    watches.add_composites(gpu_resource);
    watches.set
}

struct Watches<'a> {
    client: &'a Client,
    views: &'a Views,
    inbox: &'a mpsc::Sender<Change>,
    /// The kinds of which a list was told.
    told: watch::Sender<BTreeSet<Kind>>,
    set: JoinSet<()>,
}

impl Watches<'_> {
    fn add<K>(&mut self, kind: Kind, view: impl Fn(&K) -> Option<Object> + Send + Sync + 'static)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let follower = Follower {
            kind,
            api: Api::all(self.client.clone()),
            fields: fields(kind),
            is_optional: false,
            told: self.told.clone(),
            view,
            heard: self.views.heard().clone(),
            metrics: self.views.metrics().clone(),
            inbox: self.inbox.clone(),
        };
        self.set.spawn(async move {
            let _ = follower.run().await;
        });
    }

    /// Kinds that come and go with their operators.
    fn add_composites(&mut self, gpu_resource: &str) {
        let (sender, served) = watch::channel(None);
        self.set
            .spawn(served::discover(self.client.clone(), sender));
        for kind in Kind::ALL {
            if let Some(composite) = kind.composite() {
                let optional = served::Optional {
                    kind,
                    composite,
                    gpu_resource: gpu_resource.to_owned(),
                    client: self.client.clone(),
                    heard: self.views.heard().clone(),
                    told: self.told.clone(),
                    metrics: self.views.metrics().clone(),
                    inbox: self.inbox.clone(),
                };
                self.set.spawn(optional.run(served.clone()));
            }
        }
    }
}

/// Of pods only those that are not over. The API server says of one that ends what it says of one
/// that is deleted.
pub(crate) const fn fields(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Pod => Some("status.phase!=Succeeded,status.phase!=Failed"),
        _ => None,
    }
}

pub(crate) fn namespace(namespace: &Namespace) -> Option<Object> {
    let tenant = namespace.labels().get(labels::TENANT);
    let tenant = tenant.map(|name| TenantId::from(name.as_str()));
    Some(Object::Namespace(namespace.name_any(), tenant))
}

pub(crate) fn priority(class: &PriorityClass) -> Option<Object> {
    let is_default = class.global_default.unwrap_or_default();
    Some(Object::PriorityClass(
        class.name_any(),
        class.value.unwrap_or_default(),
        is_default,
    ))
}

pub(crate) fn tenant(tenant: &api::Tenant) -> Option<Object> {
    Some(Object::Tenant(Box::new(TenantView::new(tenant))))
}
