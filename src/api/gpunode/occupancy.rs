//! Who is on a GPU, who disturbs whom there, and who is to leave.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A pod on a GPU.
#[derive(
    KubeSchema, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub struct GpuPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID; absent where the node does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// How many slots of the GPU, or instances, the kubelet has given it. 0: none, and its processes
    /// use the GPU all the same.
    #[schemars(with = "i32", range(min = 0))]
    #[serde(default)]
    pub slots: u32,
    /// The instances among them, by UUID.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<String>,
}

/// What the pods on a GPU fight for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Contention {
    /// Time of its multiprocessors.
    Compute,
    /// Bandwidth of its memory.
    Bandwidth,
    /// Its memory.
    Memory,
    /// The power that it may draw, and so its clocks.
    Power,
}

impl Contention {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Compute, Self::Bandwidth, Self::Memory, Self::Power];

    /// The name, as in the object.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compute => "Compute",
            Self::Bandwidth => "Bandwidth",
            Self::Memory => "Memory",
            Self::Power => "Power",
        }
    }
}

/// Pods on one GPU that disturb each other. The numbers are of when it was noticed.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Noise {
    /// What they fight for.
    pub contention: Contention,
    /// Since when that is told.
    pub since: Time,
    /// Percent of the GPU in use; of power, percent of the time in which it held the clocks back.
    #[schemars(with = "i32", range(min = 0))]
    pub measured: u32,
    /// Percent from which on that is told.
    #[schemars(with = "i32", range(min = 0))]
    pub threshold: u32,
    /// Who uses more than its part; absent where nobody does, or where nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offender: Option<Offender>,
    /// The others on the GPU.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disturbed: Vec<PodName>,
}

/// A pod that uses more than its part of a GPU.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offender {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID; absent where the node does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Percent of the GPU that it uses.
    #[schemars(with = "i32", range(min = 0))]
    pub uses: u32,
    /// Percent of the GPU that is its part.
    #[schemars(with = "i32", range(min = 0))]
    pub part: u32,
    /// Whether that is its memory, because what it computes cannot be told apart, as with MPS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_memory: bool,
}

/// A pod, by name.
#[derive(
    KubeSchema, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What has become of a pod's clients of MPS.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// The pod's UID.
    pub uid: String,
    /// What has become of them.
    pub how: Ending,
    /// Why they could not be terminated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What becomes of clients of MPS that are to be terminated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Ending {
    /// They are terminated.
    Terminated,
    /// There were none.
    NoClients,
    /// They could not be; it is tried again.
    Failed,
}
