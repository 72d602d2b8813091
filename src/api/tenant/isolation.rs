//! What keeps a tenant's namespaces apart from others, and what is told about its money.
#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function"
)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Amount;

/// Whom its pods may talk to, beyond each other and the cluster's DNS. All else is denied.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Whether they reach addresses outside of the cluster: all but private and link-local ones.
    #[serde(default, skip_serializing_if = "is_false")]
    pub internet: bool,
    /// Services of other namespaces that they reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub services: Vec<SharedService>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Network {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Pods of another namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedService {
    /// The namespace.
    #[schemars(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// The ports of its pods. Nothing: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub ports: Vec<Port>,
}

/// A port.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its number.
    #[schemars(with = "i32", range(min = 1, max = 65535))]
    pub port: u16,
    /// TCP, unless it says UDP.
    #[serde(default)]
    pub protocol: Protocol,
}

/// A protocol with ports.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// What its pods may be.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Security {
    /// Kubernetes' standard for pods that its namespaces enforce.
    #[serde(default)]
    pub level: PodSecurity,
    /// Whether the file system of every container has to be read-only but for its volumes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only_root: bool,
    /// The RuntimeClass that every pod has to name. Nothing: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub runtime_class: Option<String>,
}

/// A standard for pods. The one without any restriction would let them have their node.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PodSecurity {
    /// No pod gets hold of its node.
    #[default]
    Baseline,
    /// And each drops whatever it can do without.
    Restricted,
}

impl PodSecurity {
    /// Its name, as Kubernetes' labels have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// Under which rules its data are kept.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Compliance {
    /// The rules. Its namespaces are labelled with them.
    #[serde(default)]
    pub class: ComplianceClass,
    /// The nodes that it has alone with those below it, by the value of their label
    /// `prorata.dev/node-pool`: its pods run there and nowhere else, and no other tenant's do. No two
    /// Tenants have one pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 63),
        regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub node_pool: Option<String>,
}

/// Rules for data.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComplianceClass {
    /// No particular ones.
    #[default]
    Standard,
    /// Of patients, in the USA.
    Hipaa,
    /// Of payment cards.
    Pci,
}

impl ComplianceClass {
    /// Its name, as a label has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Hipaa => "hipaa",
            Self::Pci => "pci",
        }
    }
}

/// What it may cost. Where there is a ledger and the controller knows prices, it is told at 80, 90 and
/// 100 %, and when the month will come to more than that.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// In a month.
    #[schemars(extend("pattern" = MONEY, "minimum" = 0, "maximum" = 999_999_999_999_u64))]
    pub monthly: Amount,
    /// In which currency (ISO 4217), such as EUR.
    #[schemars(length(max = 3), regex(pattern = "^[A-Z]{3}$"))]
    pub currency: String,
    /// What becomes of its next jobs once it is spent. Whatever runs goes on.
    #[serde(default)]
    pub policy: BudgetPolicy,
}

/// What becomes of the next jobs of a tenant whose budget is spent, until the next month.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BudgetPolicy {
    /// Nothing.
    #[default]
    Notify,
    /// They have what the tenant is guaranteed, and beyond that only what nobody else wants.
    LowerPriority,
    /// They wait.
    BlockNew,
}

impl BudgetPolicy {
    /// Its name, as the object has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Notify => "Notify",
            Self::LowerPriority => "LowerPriority",
            Self::BlockNew => "BlockNew",
        }
    }
}

/// Money, to the millionth.
const MONEY: &str = r"^\d{1,12}(\.\d{1,6})?$";

/// A label by which a service mesh finds namespaces.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("!self.name.matches('(^|[.])(kubernetes.io|k8s.io|prorata.dev)/')")
        .message("labels of Kubernetes and of Prorata are set by other fields: name one of a mesh, such as istio-injection"),
)]
pub struct MeshLabel {
    /// Its key, such as istio-injection.
    #[schemars(
        length(max = 253),
        regex(
            pattern = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
        )
    )]
    pub name: String,
    /// Its value, such as enabled.
    #[schemars(
        length(max = 63),
        regex(pattern = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
    )]
    pub value: String,
}
