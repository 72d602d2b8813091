//! What the API server has said, as far as the core needs to know, and what it means as facts.
//!
//! Facts are told level by level: whatever touched a job, all facts about it are told again.
//! That is harmless, because they are idempotent, and it makes relists, duplicates and missed
//! events one case. This file knows no cluster connection and makes no decision.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use prorata_core::{Devices, Event, Job, JobId, Node, NodeId, Placement, Snapshot, TenantId, Time};
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use crate::plan::Plan;
use crate::translate::{JobView, Part, PodView, RecordView, TenantView};
use crate::watch::{Change, Kind, Object};
use aside::Apart;
use coming::Coming;
use deadlines::Unplaced;
use departed::Departed;
use followed::Waiting;
use groups::Groups;
use outliving::Outlived;
use owners::Owners;

/// UID of an object.
pub type Uid = String;

/// The observed state of the cluster.
#[derive(Debug, Default)]
pub struct Observed {
    gpu_resource: String,
    /// What an administrator says of PriorityClasses.
    classes: Classes,
    nodes: BTreeMap<NodeId, Node>,
    /// Namespaces that belong to a tenant.
    namespaces: RedBlackTreeMapSync<String, TenantId>,
    tenants: BTreeMap<TenantId, TenantView>,
    /// As of when it counts what is due to them.
    now: Timestamp,
    /// When something else is due next, to those to whom it ever is.
    turns: BTreeMap<TenantId, Timestamp>,
    /// Value of each PriorityClass, and whether it is the default.
    priorities: BTreeMap<String, (i32, bool)>,
    jobs: BTreeMap<Uid, JobView>,
    records: BTreeMap<Uid, RecordView>,
    /// Pods that are not over, and bound or in the queue themselves.
    pods: BTreeMap<Uid, PodView>,
    /// Which of the pods in the queue start together.
    groups: Groups,
    /// What each object that is a part of another is held by.
    owners: Owners,
    /// Admissions in force, by UID of their Job.
    plans: RedBlackTreeMapSync<Uid, Plan>,
    /// Jobs that the core has been told of.
    told: BTreeMap<Uid, JobId>,
    /// Jobs that the API server refused to start, with its words.
    refused: BTreeMap<Uid, String>,
    /// Jobs that somebody with the right to do so started past the queue.
    bypassing: RedBlackTreeSetSync<Uid>,
    /// How long what may pass by itself is waited for.
    patience: Patience,
    /// Nodes that are not ready, since when as far as anybody has looked at the clock.
    unready: BTreeMap<NodeId, Option<Time>>,
    /// Nodes whose shared GPUs take nobody new for now.
    closed: BTreeSet<NodeId>,
    /// Which GPUs of a node pods have, as its agent says.
    occupied: BTreeMap<NodeId, BTreeMap<Uid, Devices>>,
    /// Nodes that were not ready for too long.
    lost: BTreeSet<NodeId>,
    /// Jobs about which a write is under way that starts them, or lets pods of theirs go.
    let_go: BTreeSet<Uid>,
    /// Jobs that leave for others.
    leavers: BTreeMap<Uid, Leaver>,
    /// Admissions that are no longer in force, though their records may still say so, by job and
    /// epoch.
    withdrawn: BTreeMap<(Uid, i64), Withdrawn>,
    /// Bound pods of Jobs that have no seat any more: nobody waits for their end.
    detached: BTreeSet<Uid>,
    /// Pods of Jobs that kube-scheduler has not placed, as it says.
    unscheduled: BTreeMap<Uid, Unscheduled>,
    /// Started Jobs whose pods are not all made or placed, since when as far as anybody has
    /// looked at the clock.
    incomplete: BTreeMap<Uid, Option<Time>>,
    /// Objects of operators that are over, while pods of theirs run on.
    outlived: BTreeMap<Uid, Outlived>,
    /// Jobs whose pods could not be placed.
    unplaced: BTreeMap<Uid, Unplaced>,
    /// Jobs that disturb others on shared GPUs.
    apart: Apart,
    /// Pods of Jobs that ask for GPUs and are not on a node.
    coming: Coming,
    /// Pods that went without having been seen on a node.
    departed: Departed,
    /// Pods that their Job does not control any more, and that have not gone on by themselves.
    left: BTreeSet<Uid>,
    /// The greatest epoch that was ever seen on record.
    last_epoch: i64,
    /// Another controller decides.
    follows: bool,
    /// What waits meanwhile.
    waiting: Waiting,
}

/// A pod that kube-scheduler has not placed.
#[derive(Clone, Debug)]
struct Unscheduled {
    job: Uid,
    name: String,
    version: u64,
    index: Option<u32>,
    /// Whether it asks for GPUs, and so has a place.
    asks: bool,
    /// What kube-scheduler says, if it cannot.
    why: Option<String>,
    /// Where it has been told to go.
    nominated: Option<NodeId>,
    /// The node of its place, if that has not been looked at.
    overlooked: Option<NodeId>,
}

/// What an administrator says of PriorityClasses, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    /// Those that count across tenants, before fairness.
    pub cluster_wide: BTreeSet<String>,
    /// Those whose jobs are never evicted.
    pub protected: BTreeSet<String>,
}

/// What a change amounts to.
#[derive(Debug, Default)]
pub struct News {
    /// Facts for the core.
    pub facts: Vec<Event>,
    /// Jobs that it is about.
    pub touched: BTreeSet<Uid>,
}

impl Observed {
    /// Nothing observed yet.
    #[must_use]
    pub fn new(gpu_resource: &str, classes: Classes, patience: Patience) -> Self {
        Self {
            gpu_resource: gpu_resource.to_owned(),
            classes,
            patience,
            ..Self::default()
        }
    }

    /// A node, while it exists.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// The nodes that exist, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// A Job, while it exists.
    #[must_use]
    pub fn job(&self, uid: &str) -> Option<&JobView> {
        self.jobs.get(uid)
    }

    /// A pod that is not over, and is bound or in the queue itself.
    #[must_use]
    pub fn pod(&self, uid: &str) -> Option<&PodView> {
        self.pods.get(uid)
    }

    /// The QueuedJob that stands for a Job.
    #[must_use]
    pub fn record(&self, uid: &str) -> Option<&RecordView> {
        self.records.get(uid)
    }

    /// The admission of a Job that is in force.
    #[must_use]
    pub fn plan(&self, uid: &str) -> Option<&Plan> {
        self.plans.get(uid)
    }

    /// All admissions in force.
    #[must_use]
    pub const fn plans(&self) -> &RedBlackTreeMapSync<Uid, Plan> {
        &self.plans
    }

    /// The namespaces that belong to a tenant, with it.
    #[must_use]
    pub const fn namespaces(&self) -> &RedBlackTreeMapSync<String, TenantId> {
        &self.namespaces
    }

    /// Jobs that were started past the queue. Their pods only take room.
    #[must_use]
    pub const fn bypassing(&self) -> &RedBlackTreeSetSync<Uid> {
        &self.bypassing
    }

    /// What each object that is a part of another is held by, by UID.
    #[must_use]
    pub const fn owners(&self) -> &RedBlackTreeMapSync<Uid, Uid> {
        &self.owners.of_part
    }

    /// The last pods that went without having been seen on a node, by UID.
    #[must_use]
    pub const fn departed(&self) -> &RedBlackTreeSetSync<Uid> {
        self.departed.pods()
    }

    /// Why a Job cannot be planned, for its user.
    #[must_use]
    pub fn obstacle(&self, uid: &str) -> Option<Cow<'_, str>> {
        let refused = self.refused.get(uid).map(String::as_str);
        let view = self.jobs.get(uid)?;
        let known = refused.or(view.obstacle.as_deref()).map(Cow::Borrowed);
        known.or_else(|| self.forbidden(view).map(Cow::Owned))
    }

    /// The tenants that are described.
    #[must_use]
    pub const fn tenants(&self) -> &BTreeMap<TenantId, TenantView> {
        &self.tenants
    }

    /// Whether the API server refused to start the Job.
    #[must_use]
    pub fn is_refused(&self, uid: &str) -> bool {
        self.refused.contains_key(uid)
    }

    /// The greatest epoch that was ever seen on record.
    #[must_use]
    pub const fn last_epoch(&self) -> i64 {
        self.last_epoch
    }

    /// Takes up a change.
    pub fn apply(&mut self, change: Change) -> News {
        let mut news = News::default();
        match change {
            Change::Applied(object) => self.put(object, &mut news),
            Change::Deleted(object) => self.drop(object.kind(), &object.key(), &mut news),
            Change::Listed(kind, objects) => self.relist(kind, objects, &mut news),
            Change::Closed(nodes) => self.close(nodes, &mut news),
            Change::Occupied(node, pods) => self.occupy(node, pods, &mut news),
            // These take the core, or a clock.
            Change::Drained(_) | Change::Disturbing(..) => {}
        }
        self.tell(&mut news);
        news
    }

    /// Takes up the first list of every kind, and with it the admissions that were recorded
    /// before a restart and not withdrawn since.
    pub fn begin(&mut self, lists: BTreeMap<Kind, Vec<Object>>) -> News {
        let mut news = News::default();
        for (kind, objects) in lists {
            self.relist(kind, objects, &mut news);
        }
        self.go_on_alone(&mut news);
        for uid in self.records.keys().cloned().collect::<Vec<_>>() {
            self.adopt(&uid, &mut news);
            self.adopt_aside(&uid);
            if !self.plans.contains_key(&uid) {
                self.adopt_overdue(&uid);
            }
        }
        for pod in self.pods.keys().cloned().collect::<Vec<_>>() {
            self.place(&pod, &mut news);
        }
        self.readopt_evictions(&mut news);
        news.touched.extend(self.jobs.keys().cloned());
        news.touched.extend(self.records.keys().cloned());
        self.tell(&mut news);
        self.readopt_promises(&mut news);
        news
    }

    /// An admission is in force from now on.
    pub fn admit(&mut self, job: &Job, epoch: i64, placement: Placement) {
        let uid = job.id.uid();
        let indexed = self
            .jobs
            .get(uid)
            .is_some_and(|view| view.is_indexed_in(&placement));
        let plan = Plan::new(job, epoch, placement, indexed);
        self.plans.insert_mut(uid.to_owned(), plan);
    }

    /// The API server refuses to start a Job. It cannot be planned until that is tried again.
    pub fn refuse(&mut self, job: &JobId, why: String) -> News {
        let uid = job.uid().to_owned();
        let mut news = News::default();
        news.facts.push(Event::DecisionFailed(job.clone()));
        news.touched.insert(uid.clone());
        self.refused.insert(uid, why);
        self.tell(&mut news);
        news
    }

    /// A refused Job may be planned again; `None` if it was not refused.
    pub fn forgive(&mut self, uid: &str) -> Option<News> {
        self.refused.remove(uid)?;
        let mut news = News::default();
        news.touched.insert(uid.to_owned());
        self.tell(&mut news);
        Some(news)
    }

    /// Forgets the plan of a job that holds no place any more, and the job when it is over. A pod
    /// that was bound in the meantime only takes room.
    pub fn settle(&mut self, uid: &str, snapshot: &Snapshot) -> News {
        let mut news = News::default();
        let Some(job) = self.told.get(uid).cloned() else {
            return news;
        };
        let job = &job;
        if snapshot.job(job).is_none() {
            self.told.remove(uid);
            self.refused.remove(uid);
            self.unplaced.remove(uid);
            self.forget_aside(uid);
        }
        if !snapshot.holds_places(job) && self.plans.contains_key(uid) {
            self.withdraw(uid);
            self.seat_pods_of(uid, &mut news);
            news.touched.insert(uid.to_owned());
            self.tell(&mut news);
        }
        news
    }

    /// Takes up what a write of ours answered. A Job that is gone meanwhile stays gone.
    pub fn apply_written(&mut self, object: Object) -> News {
        let uid = object.key();
        let is_known = match &object {
            // It may have a node meanwhile.
            Object::Pod(pod) if pod.node.is_none() && pod.gated.is_none() => {
                self.unscheduled.contains_key(&uid)
            }
            _ => self.jobs.contains_key(&uid) || self.pods.contains_key(&uid),
        };
        if is_known {
            self.apply(Change::Applied(object))
        } else {
            News::default()
        }
    }

    fn relist(&mut self, kind: Kind, objects: Vec<Object>, news: &mut News) {
        let listed: BTreeSet<String> = objects.iter().map(Object::key).collect();
        for key in self
            .keys(kind)
            .into_iter()
            .filter(|key| !listed.contains(key))
        {
            self.drop(kind, &key, news);
        }
        let mut objects = objects;
        // The places of a gang are those of the pods that have been let go first.
        objects.sort_by_cached_key(Object::rank);
        for object in objects {
            self.put(object, news);
        }
    }

    fn keys(&self, kind: Kind) -> Vec<String> {
        match kind {
            Kind::Node => self.nodes.keys().map(ToString::to_string).collect(),
            Kind::Namespace => self.namespaces.keys().cloned().collect(),
            Kind::Tenant => self.tenants.keys().map(ToString::to_string).collect(),
            Kind::PriorityClass => self.priorities.keys().cloned().collect(),
            Kind::Job | Kind::Composite(_) => {
                let of_kind = |job: &JobView| job.form.suspends() && Kind::of(job.form) == kind;
                let jobs = self.jobs.iter().filter(|(_, job)| of_kind(job));
                jobs.map(|(uid, _)| uid.clone()).collect()
            }
            Kind::QueuedJob => self.records.keys().cloned().collect(),
            Kind::Pod => {
                let all = self.pods.keys().chain(self.coming.pods());
                all.chain(self.unscheduled.keys()).cloned().collect()
            }
        }
    }

    fn put(&mut self, object: Object, news: &mut News) {
        match object {
            Object::Node(node, is_ready) => self.put_node(node, is_ready, news),
            Object::Namespace(name, tenant) => self.assign(name, tenant, news),
            Object::Tenant(view) => self.put_tenant(*view, news),
            Object::PriorityClass(name, value, is_default) => {
                self.priorities.insert(name, (value, is_default));
                news.touched.extend(self.jobs.keys().cloned());
            }
            Object::Job(view) => {
                self.last_epoch = self.last_epoch.max(view.epoch.unwrap_or_default());
                let uid = view.id.uid().to_owned();
                let known = self.jobs.get(&uid).map(|job| job.version);
                if known <= Some(view.version) {
                    let starts_in_part = view.part != Part::Whole;
                    news.touched.insert(uid.clone());
                    self.jobs.insert(uid.clone(), *view);
                    self.link(&uid, news);
                    if starts_in_part {
                        self.join_pods_of(&uid, news);
                    }
                }
            }
            Object::QueuedJob(record) => {
                self.last_epoch = self.last_epoch.max(record.last_epoch());
                let uid = record.spec.job.uid.clone();
                let known = self.records.get(&uid).map(|record| record.version);
                if known <= Some(record.version) {
                    news.touched.insert(uid.clone());
                    self.records.insert(uid, *record);
                }
            }
            Object::Pod(pod) if pod.is_over => self.drop(Kind::Pod, &pod.uid, news),
            Object::Pod(pod) if pod.node.is_none() && pod.gated.is_none() => {
                self.put_unbound(pod, news);
            }
            Object::Pod(pod) => self.put_pod(pod, news),
        }
    }

    fn drop(&mut self, kind: Kind, key: &str, news: &mut News) {
        match kind {
            Kind::Node => {
                let node = NodeId::from(key);
                self.nodes.remove(&node);
                self.unready.remove(&node);
                self.lost.remove(&node);
                self.occupied.remove(&node);
                news.touched.extend(self.jobs_on(&node));
                news.facts.push(Event::NodeGone(node));
            }
            Kind::Namespace => self.assign(key.to_owned(), None, news),
            Kind::Tenant => {
                self.tenants.remove(&TenantId::from(key));
                self.turns.remove(&TenantId::from(key));
                news.facts.push(Event::TenantGone(key.into()));
            }
            Kind::PriorityClass => {
                self.priorities.remove(key);
                news.touched.extend(self.jobs.keys().cloned());
            }
            Kind::Job | Kind::Composite(_) => {
                self.jobs.remove(key);
                self.unlink(key, news);
                news.touched.insert(key.to_owned());
            }
            Kind::QueuedJob => {
                self.records.remove(key);
                news.touched.insert(key.to_owned());
            }
            Kind::Pod => self.pod_gone(key, news),
        }
    }
}

mod adopted;
mod aside;
mod coming;
mod deadlines;
mod departed;
mod evictions;
mod followed;
mod found;
mod groups;
mod left;
mod nodes;
mod outliving;
mod owners;
mod pods;
mod released;
mod tenants;

pub use deadlines::{Expired, Patience};
pub use evictions::Leaver;
use evictions::Withdrawn;
pub(crate) use evictions::{DRAIN, TOGETHER};
pub use owners::topmost;
#[cfg(test)]
mod tests;
mod wanted;
