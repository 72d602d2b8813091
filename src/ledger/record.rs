//! What the book holds: who held which GPUs of which node, from when to when, and what there was.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What tells one hold from every other, for ever: told twice, it is the same hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldId {
    /// The UID of the user's object.
    pub job_uid: String,
    /// Which of its starts: the epoch of its admission.
    pub epoch: i64,
    /// The node.
    pub node: String,
    /// The model of the GPUs there.
    pub model: String,
}

/// GPUs of one model on one node, held by one start of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Which.
    #[serde(flatten)]
    pub id: HoldId,
    /// Who pays.
    #[serde(flatten)]
    pub payer: Payer,
    /// Whose object in that namespace: `Job`, `PyTorchJob`, `Pod`.
    pub kind: String,
    /// Its name.
    pub job: String,
    /// Its PriorityClass; empty where it names none.
    pub priority_class: String,
    /// The node's pool; empty where it is of none.
    pub pool: String,
    /// How the node divides its GPUs: `exclusive`, `timeslice-4`, `mps-4`, `mig-1g.10gb`.
    pub mode: String,
    /// How much, in thousandths of a GPU: a slot of a GPU in four is 250.
    pub gpu_milli: u64,
    /// From when on, in milliseconds of Unix time.
    pub from_ms: u64,
    /// When it ended, exclusively; absent while it lasts.
    pub end: Option<End>,
    /// How busy those GPUs were meanwhile, as a mean, in thousandths; absent where nobody measured.
    pub busy_milli: Option<u32>,
    /// For how much of the time that is known, as thousandths of a GPU times milliseconds; absent where
    /// nobody measured, or all of it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<u64>,
}

/// Whom a hold is charged to, as its tenant said when the hold began.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payer {
    /// The tenant that is a team; empty where the namespace belongs to nobody.
    pub tenant: String,
    /// Its environment; empty where it has none.
    pub environment: String,
    /// The namespace.
    pub namespace: String,
    /// Who created the job; empty where nobody knows.
    pub user: String,
    /// The tenant's cost centre; may be empty.
    pub cost_center: String,
    /// The tenant's department; may be empty.
    pub department: String,
}

/// How a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// When, exclusively, in milliseconds of Unix time.
    pub at_ms: u64,
    /// Why.
    pub why: Why,
    /// Whether nobody saw it end: then it is the last moment at which it was known to be held.
    pub estimated: bool,
}

/// Why a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Its job ended.
    Finished,
    /// It left for another job.
    Preempted,
    /// Its start was taken back: a node was lost, or kube-scheduler could not place it.
    Requeued,
    /// Its user withdrew it, or held it back.
    Withdrawn,
    /// Nobody knows.
    Unknown,
}

/// GPUs of one model on one node while they were there, whoever held them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stock {
    /// The node.
    pub node: String,
    /// Its pool; empty where it is of none.
    pub pool: String,
    /// The model.
    pub model: String,
    /// How many, in thousandths.
    pub gpu_milli: u64,
    /// From when on, in milliseconds of Unix time.
    pub from_ms: u64,
    /// Until when, exclusively; absent while they are there.
    pub until_ms: Option<u64>,
}

/// All that the book says of a period: what overlaps it, in the order in which it began, unclipped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Extract {
    /// From when on, in milliseconds of Unix time.
    pub from_ms: u64,
    /// Until when, exclusively.
    pub until_ms: u64,
    /// Up to when the book was kept: what lasts is known to have been held until then.
    pub kept_until_ms: u64,
    /// Who held what.
    pub holds: Vec<Hold>,
    /// What there was.
    pub stock: Vec<Stock>,
    /// When nobody kept the book: from, and until.
    pub gaps: Vec<(u64, u64)>,
    /// Display names of tenants, where they have any.
    pub names: BTreeMap<String, String>,
}
