//! The `GpuNode` object: the GPUs of one node. Its spec is the administrator's, its status the agent's
//! of that node alone, but for what the controller does about how they are divided.
//!
//! The status holds what seldom changes, so that a cluster of idle agents writes nothing. What
//! changes all the time is in the agent's metrics.
#![expect(
    clippy::duplicated_attributes,
    reason = "columns of one type are not duplicates"
)]
#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod occupancy;
mod repartition;

pub use occupancy::{Contention, Ended, Ending, GpuPod, Noise, Offender, PodName};
pub use repartition::{Cause, Demand, Proposal, Repartition, Step};

/// Condition: the driver answers.
pub const DRIVER_READY: &str = "DriverReady";

/// Condition: every GPU is healthy.
pub const GPUS_HEALTHY: &str = "GpusHealthy";

/// Condition: the kubelet tells which pods it has given GPUs to.
pub const KUBELET_ANSWERS: &str = "KubeletAnswers";

/// Condition: pods on some GPU disturb each other.
pub const NOISY: &str = "Noisy";

/// Condition: clients of MPS that were to be terminated are. Absent until some could not be.
pub const CLIENTS_END: &str = "ClientsEnd";

/// Pods whose clients of MPS are to be terminated at the same time.
pub const ENDING_MAX: usize = 64;

/// Pods that are named of one GPU; no mode but time slicing takes as many.
pub const PODS_MAX: usize = 48;

/// The GPUs of the node of the same name: how they are to be divided, and what they are.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "prorata.dev",
    version = "v1alpha1",
    kind = "GpuNode",
    status = "GpuNodeStatus",
    derive = "PartialEq",
    shortname = "gn",
    category = "prorata",
    doc = "The GPUs of the node of the same name. Prorata's agent on that node writes the status.",
    printcolumn(
        name = "Model",
        type_ = "string",
        json_path = ".status.gpus[0].model",
        description = "Of its first GPU"
    ),
    printcolumn(name = "GPUs", type_ = "integer", json_path = ".status.count"),
    printcolumn(name = "Healthy", type_ = "integer", json_path = ".status.healthy"),
    printcolumn(
        name = "Wanted",
        type_ = "string",
        json_path = ".spec.partition",
        description = "How they are to be divided"
    ),
    printcolumn(
        name = "Mode",
        type_ = "string",
        json_path = ".status.mode",
        description = "How they are divided"
    ),
    printcolumn(
        name = "Step",
        type_ = "string",
        json_path = ".status.repartition.step",
        description = "How far the last change of that is"
    ),
    printcolumn(
        name = "Driver",
        type_ = "string",
        json_path = ".status.driver.version"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='DriverReady')].status",
        description = "Whether the driver answers"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='GpusHealthy')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(format!("!has(self.partition) || self.partition.matches(r'{PARTITION}')"))
        .message("partition is no mode of a node: write exclusive, timeslice-2 to timeslice-1000, mps-2 to mps-48, or mig- and a profile such as mig-1g.10gb"),
)]
pub struct GpuNodeSpec {
    /// How each GPU is to be divided: `exclusive`, `timeslice-4`, `mps-4` or `mig-1g.10gb`. Nothing: as
    /// it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub partition: Option<String>,
    /// UIDs of pods that are about to be evicted: the agent terminates their clients of MPS first, or
    /// they would take others on their GPU with them. The controller's to write.
    #[schemars(length(max = 64), inner(length(max = 63)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub end_clients_of: Vec<String>,
}

/// MPS takes 48 clients at most, and a share is at least a thousandth.
const PARTITION: &str = r"^(exclusive|timeslice-([2-9]|[1-9][0-9]{1,2}|1000)|mps-([2-9]|[1-3][0-9]|4[0-8])|mig-[0-9]g\.[0-9]{1,3}gb)$";

/// What the agent of the node sees.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GpuNodeStatus {
    /// The generation of the spec that the agent has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Grows whenever what the GPUs are changes; their health and use do not count.
    #[serde(default)]
    pub inventory: i64,
    /// The driver; absent while none answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<GpuDriver>,
    /// How many GPUs there are.
    #[schemars(with = "i32", range(min = 0))]
    #[serde(default)]
    pub count: u32,
    /// How many of them are healthy.
    #[schemars(with = "i32", range(min = 0))]
    #[serde(default)]
    pub healthy: u32,
    /// How the GPUs are given out: `exclusive`, `timeslice-4`, `mps-4`, `mig-1g.10gb`, or `mixed` where
    /// they differ. Absent while the kubelet does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Grows whenever another pod is on a GPU, or one is gone.
    #[serde(default)]
    pub occupancy: i64,
    /// What has become of the pods of `spec.endClientsOf`.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<Ended>,
    /// The last change of how they are divided. The controller's to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repartition: Option<Repartition>,
    /// How jobs that wait would have it. The controller's to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demand: Option<Demand>,
    /// A change that the jobs that wait would gain by. The controller's to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Proposal>,
    /// Each GPU, by index.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["index".into()]))]
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<Gpu>,
    /// `DriverReady`: the driver answers. `GpusHealthy`: every GPU is healthy. `KubeletAnswers`: the
    /// kubelet tells which pods it has given GPUs to. `Noisy`: pods on a GPU disturb each other.
    /// `ClientsEnd`: clients of MPS that were to be terminated are; absent until some could not be.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// What reads the GPUs.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GpuDriver {
    /// Such as 550.54.15.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version of NVML, NVIDIA's management library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvml: Option<String>,
    /// The newest CUDA that it runs, such as 12.4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuda: Option<String>,
}

/// One GPU. What the card or its driver does not tell is absent.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gpu {
    /// Its number on the node.
    #[schemars(with = "i32", range(min = 0))]
    pub index: u32,
    /// Whether work should be given to it.
    #[serde(default)]
    pub health: Health,
    /// Why it is not healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Such as `GPU-` and a UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// The product's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The board's serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The number of its device file.
    #[schemars(with = "Option<i32>", range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<u32>,
    /// Where it is on the PCI bus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci_bus_id: Option<String>,
    /// The NUMA node beside it.
    #[schemars(with = "Option<i32>", range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
    /// Such as Ampere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Such as 8.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_capability: Option<String>,
    /// Its memory, as Kubernetes writes quantities.
    #[schemars(regex(pattern = r"^[0-9]{1,9}Mi$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Who may use it: `Default` is anybody, `ExclusiveProcess` one process, such as the MPS server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_mode: Option<String>,
    /// Its instances; absent where it cannot have any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig: Option<Mig>,
    /// Whether it corrects errors of its memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecc: Option<bool>,
    /// Watts that it may draw.
    #[schemars(with = "Option<i32>", range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_limit_watts: Option<u32>,
    /// Links to NVSwitches, through which it reaches all others that have some.
    #[schemars(with = "Option<i32>", range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch_links: Option<u32>,
    /// The way to each other GPU of the node.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,
    /// How it is given out, as the mode of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The pods that the kubelet has given it to, or whose processes use it.
    #[schemars(length(max = 48))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<GpuPod>,
    /// How many more pods there are than are named.
    #[schemars(with = "Option<i32>", range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_pods: Option<u32>,
    /// What its pods fight for, if they disturb each other.
    #[schemars(length(max = 4))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub noise: Vec<Noise>,
}

impl Gpu {
    /// Whether this is its UUID or that of one of its instances.
    #[must_use]
    pub fn has(&self, uuid: &str) -> bool {
        let mut instances = self.mig.iter().flat_map(|mig| &mig.instances);
        self.uuid.as_deref() == Some(uuid) || instances.any(|instance| instance.uuid == uuid)
    }
}

/// Whether work should be given to a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Health {
    /// Nothing is known against it.
    #[default]
    Healthy,
    /// It works, and somebody should look at it.
    Degraded,
    /// Work on it fails.
    Unhealthy,
    /// It does not answer.
    Unresponsive,
    /// The driver does not find it any more.
    Lost,
}

impl Health {
    /// The name, as in the object.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Degraded => "Degraded",
            Self::Unhealthy => "Unhealthy",
            Self::Unresponsive => "Unresponsive",
            Self::Lost => "Lost",
        }
    }
}

/// A GPU's division in hardware.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mig {
    /// Whether it is divided.
    pub enabled: bool,
    /// Whether that changes with the next reset.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changes: bool,
    /// Into how many instances at most.
    #[schemars(with = "Option<i32>", range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// The instances.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<MigInstance>,
}

/// An instance of a GPU.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MigInstance {
    /// Such as `MIG-` and a UUID.
    pub uuid: String,
    /// Such as 1g.5gb.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Its memory, as Kubernetes writes quantities.
    #[schemars(regex(pattern = r"^[0-9]{1,9}Mi$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Slices of the GPU's processors.
    #[schemars(with = "Option<i32>", range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slices: Option<u32>,
}

/// The way to another GPU.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// The other's number on the node.
    #[schemars(with = "i32", range(min = 0))]
    pub index: u32,
    /// What lies between on the PCI bus: `Internal`, `Switch`, `Switches`, `HostBridge`, `NumaNode` or
    /// `System`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// NVLinks straight to it.
    #[schemars(with = "Option<i32>", range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvlinks: Option<u32>,
}
