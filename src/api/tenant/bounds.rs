//! How large and how many a tenant's objects may be.
#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function"
)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::Amount;

/// Cores, whole or with three decimals, or thousandths of one.
pub(super) const CORES: &str = r"^(\d{1,6}(\.\d{1,3})?|\d{1,9}m)$";
/// Whole bytes, as many as our own reader takes (`Resources::MAX_AMOUNT`) or a few fewer.
pub(super) const BYTES: &str =
    r"^(\d{1,14}|\d{1,11}(k|Ki)|\d{1,8}Mi?|\d{1,5}Gi?|(\d{1,2}|1\d\d|2[0-4]\d)Ti?)$";

/// CPU and memory of one container or pod. GPUs are not here: a Kubernetes LimitRange would hand
/// them to every container that asks for none.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// CPU cores, whole or in thousandths (500m).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = CORES, "minimum" = 0, "maximum" = 999_999))]
    pub cpu: Option<Amount>,
    /// Memory in bytes, usually with a suffix (4Gi).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = BYTES, "minimum" = 0, "maximum" = 99_999_999_999_999_u64))]
    pub memory: Option<Amount>,
}

impl Size {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The sizes of containers. That the least is not above the greatest is for the controller to check:
/// what the rules of a schema may cost together is used up.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSizes {
    /// What a container gets that says nothing.
    #[serde(default, skip_serializing_if = "Size::is_empty")]
    pub default: Size,
    /// The least.
    #[serde(default, skip_serializing_if = "Size::is_empty")]
    pub min: Size,
    /// The greatest.
    #[serde(default, skip_serializing_if = "Size::is_empty")]
    pub max: Size,
}

impl ContainerSizes {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The sizes of pods: those of their containers together.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSizes {
    /// The least.
    #[serde(default, skip_serializing_if = "Size::is_empty")]
    pub min: Size,
    /// The greatest.
    #[serde(default, skip_serializing_if = "Size::is_empty")]
    pub max: Size,
}

impl PodSizes {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How many objects there may be in the namespace of each environment. Nothing: any number.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectCounts {
    /// Pods that have not ended; those that wait count too, suspended Jobs have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0, max = 1_000_000))]
    pub pods: Option<u32>,
    /// Jobs, also those that are over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0, max = 1_000_000))]
    pub jobs: Option<u32>,
    /// Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0, max = 1_000_000))]
    pub services: Option<u32>,
    /// Services of type LoadBalancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0, max = 1_000_000))]
    pub load_balancers: Option<u32>,
    /// ConfigMaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0, max = 1_000_000))]
    pub config_maps: Option<u32>,
    /// Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0, max = 1_000_000))]
    pub secrets: Option<u32>,
    /// PersistentVolumeClaims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0, max = 1_000_000))]
    pub volume_claims: Option<u32>,
}

impl ObjectCounts {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How much storage the tenant's claims may ask for. Environments get their part of it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// In all StorageClasses together. Nothing: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = BYTES, "minimum" = 0, "maximum" = 99_999_999_999_999_u64))]
    pub total: Option<Amount>,
    /// In single StorageClasses. One that is not named has no limit but the total.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub classes: Vec<ClassStorage>,
}

impl Storage {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How much storage of one StorageClass.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassStorage {
    /// The StorageClass.
    #[schemars(length(max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// In bytes, usually with a suffix (500Gi).
    #[schemars(extend("pattern" = BYTES, "minimum" = 0, "maximum" = 99_999_999_999_999_u64))]
    pub amount: Amount,
}
