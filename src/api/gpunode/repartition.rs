//! A change of how the GPUs of a node are divided: how far it is, or why somebody should make it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A change of how the GPUs of a node are divided. It is on record before anything is done, so that
/// whoever takes over goes on with it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repartition {
    /// How they were divided when it began.
    pub from: String,
    /// How they are to be.
    pub to: String,
    /// Who wants it.
    pub cause: Cause,
    /// What is being done, or was done last.
    pub step: Step,
    /// Since when.
    pub since: Time,
    /// Whether somebody else had cordoned the node: then it stays cordoned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_cordoned: bool,
    /// Whether it is taken back: the node did not come to be as it was to be, and becomes what it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken_back: bool,
    /// Why it does not go on, or has failed: a stable code. Absent while all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for people, with what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Repartition {
    /// Whether something is still to be done.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !matches!(self.step, Step::Done | Step::Failed)
    }

    /// How the GPUs are to be divided now.
    #[must_use]
    pub fn target(&self) -> &str {
        if self.taken_back {
            &self.from
        } else {
            &self.to
        }
    }

    /// Whether it has taken longer than it should, and goes on only when somebody helps.
    #[must_use]
    pub const fn is_stalled(&self) -> bool {
        let waits = match self.step {
            Step::Await | Step::Verify => true,
            Step::Drain => self.taken_back,
            _ => false,
        };
        waits && self.reason.is_some()
    }
}

/// Who wants GPUs to be divided in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Cause {
    /// An administrator, by `spec.partition`.
    Spec,
    /// The jobs that wait.
    Demand,
}

/// What is done to a node whose GPUs are to be divided in another way, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Step {
    /// It takes no new pods.
    Cordon,
    /// Those that may be evicted leave, and the others are waited for.
    Drain,
    /// The device plugin is told how.
    Switch,
    /// The kubelet is to offer what the plugin makes of it.
    Await,
    /// The agent is to see the same.
    Verify,
    /// It takes pods again, unless somebody else had cordoned it.
    Uncordon,
    /// It is given up before anything was changed, and takes pods again.
    Return,
    /// It is done.
    Done,
    /// It was given up.
    Failed,
}

impl Step {
    /// The name, as in the object.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cordon => "Cordon",
            Self::Drain => "Drain",
            Self::Switch => "Switch",
            Self::Await => "Await",
            Self::Verify => "Verify",
            Self::Uncordon => "Uncordon",
            Self::Return => "Return",
            Self::Done => "Done",
            Self::Failed => "Failed",
        }
    }
}

/// How jobs that wait would have a node divide its GPUs. It becomes a proposal or a change once that has
/// lasted, also when another decides by then.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Demand {
    /// How the GPUs would be divided.
    pub to: String,
    /// Since when nodes in that mode have been wanted, as far as anybody has looked.
    pub since: Time,
}

/// A change that the jobs that wait would gain by.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// How the GPUs should be divided.
    pub to: String,
    /// Since when that is proposed.
    pub since: Time,
    /// Why, with numbers of when it was first proposed.
    pub message: String,
}
