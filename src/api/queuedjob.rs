//! The `QueuedJob` object: the queue's visible face. The controller alone writes it.
//!
//! `spec` is the plan, written before anything acts on it; `status` is what came of it. As one
//! controller writes both, there is no status subresource: they change in one write.
#![expect(
    clippy::duplicated_attributes,
    reason = "columns of one type are not duplicates"
)]
#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function"
)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::amount::Amount;

/// A user's job in the queue.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "prorata.dev",
    version = "v1alpha1",
    kind = "QueuedJob",
    namespaced,
    status = "QueuedJobStatus",
    derive = "PartialEq",
    shortname = "qj",
    category = "prorata",
    doc = "A job in the queue for GPUs: where it stands, and why. Prorata's controller writes it.",
    printcolumn(name = "Tenant", type_ = "string", json_path = ".spec.tenant"),
    printcolumn(name = "GPUs", type_ = "string", json_path = ".spec.gpus"),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Starts", type_ = "string", json_path = ".status.forecast.p50"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.admission) || !has(oldSelf.admission) || self.admission.epoch >= oldSelf.admission.epoch")
        .message("the epoch of an admission never falls"),
    validation = Rule::new("!has(self.admission) || !has(oldSelf.admission) || self.admission.epoch != oldSelf.admission.epoch || self.admission == oldSelf.admission")
        .message("an admission never changes: another one has another epoch"),
)]
pub struct QueuedJobSpec {
    /// The user's object.
    pub job: JobReference,
    /// The tenant that it is charged to.
    pub tenant: String,
    /// Order within the tenant: the value of its PriorityClass.
    pub priority: i32,
    /// How many pods start together or not at all.
    #[schemars(with = "i32", range(min = 0))]
    pub gang: u32,
    /// GPUs of all its pods together, for people to read.
    pub gpus: String,
    /// What each pod requests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Amount>,
    /// Where it runs; absent while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admission: Option<Admission>,
    /// The last number that an admission of it had; none that comes later has it again.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub last_epoch: i64,
    /// Why that admission ends before its job does; absent unless it has to leave for another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eviction: Option<Eviction>,
    /// How often it has had to leave for others; who had to often is spared for a while.
    #[schemars(with = "i32", range(min = 0))]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub evictions: u32,
    /// The places that others are leaving for it; absent unless it waits for that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub promise: Vec<Place>,
    /// Where it is not started for a while, because it disturbed others on shared GPUs there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aside: Option<Aside>,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// Nodes on which a job is not started for a while.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    /// Their names.
    #[schemars(length(max = 16))]
    pub nodes: Vec<String>,
    /// Until when; longer while it goes on.
    pub until: Time,
}

/// The object that waits, and no other of the same name.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a QueuedJob stands for one job for ever"))]
pub struct JobReference {
    /// Such as `batch/v1`.
    pub api_version: String,
    /// Such as `Job`.
    pub kind: String,
    /// In the namespace of the `QueuedJob`.
    pub name: String,
    /// Tells it from a later object of the same name.
    pub uid: String,
}

/// The decision to start a job.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// A counter over the whole cluster: the order of admissions, and the fence against an old one.
    pub epoch: i64,
    /// One place for each pod, in order of completion index.
    pub placement: Vec<Place>,
}

/// The decision that a job leaves for another.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eviction {
    /// The admission that it ends.
    pub epoch: i64,
    /// Who gets the room: a job's name, or its tenant's where that is another one; or for what it is
    /// needed.
    pub by: String,
    /// What entitles it to: `priority`, `reclaim`, `fair-share` or `order`; or
    /// `repartition`, where the GPUs of its node are to be divided anew; or `mps`, where clients of MPS on
    /// its GPU cannot be ended one by one.
    pub rule: String,
    /// When it was decided.
    pub at: Time,
}

/// Where one pod runs.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The node's name.
    pub node: String,
    /// The GPUs by index, where they are planned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<i32>")]
    pub devices: Vec<u32>,
    /// Thousandths that the pod has of each, where that is not a whole card.
    #[schemars(with = "Option<i32>", range(min = 1, max = 999))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milli: Option<u32>,
    /// The model of a card of which the pod has a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// What came of the plan.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueuedJobStatus {
    /// Where the job stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// A stable code for why it stands there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The same for people, with the numbers that decided.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it starts, while it waits for its turn and that has been foretold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// `Admitted` and `Finished`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// When a job starts, as the same decisions made forward from here many times have it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// Its place in its tenant's queue; the first is 1.
    #[schemars(with = "i32", range(min = 1))]
    pub position: u32,
    /// The last few before it that are of its own namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ahead: Vec<String>,
    /// As likely before as after this (RFC 3339); absent where that is more than 30 days away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<String>,
    /// Nine times out of ten before this (RFC 3339); absent likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90: Option<String>,
    /// The numbers that decided, in a sentence.
    pub detail: String,
    /// When this was foretold (RFC 3339).
    pub as_of: String,
}

/// Where a job stands.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// In the queue.
    Waiting,
    /// Its places are decided; its pods are on their way there, or run.
    Admitted,
    /// Nothing of it holds room any more.
    Finished,
    /// Its user holds it back.
    Held,
}
