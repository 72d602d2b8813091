//! The `Tenant` object: who shares the cluster, and what is due to each. Written by administrators.
#![expect(
    clippy::duplicated_attributes,
    reason = "columns of one type are not duplicates"
)]
#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function"
)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use prorata_core::Resources;
use serde::{Deserialize, Serialize};

use super::amount::Amount;

mod bounds;
mod changes;
mod environment;
mod isolation;

pub use bounds::{ClassStorage, ContainerSizes, ObjectCounts, PodSizes, Size, Storage};
pub use changes::{Day, Due, Grant, InForce, Schedule};
pub use environment::{Environment, Member, Members, Quotas};
pub use isolation::{
    Budget, BudgetPolicy, Compliance, ComplianceClass, MeshLabel, Network, PodSecurity, Port,
    Protocol, Security, SharedService,
};

/// A team that shares the cluster's GPUs. A namespace belongs to it by the label
/// `prorata.dev/tenant`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "prorata.dev",
    version = "v1alpha1",
    kind = "Tenant",
    status = "TenantStatus",
    derive = "PartialEq",
    shortname = "tn",
    category = "prorata",
    doc = "A team that shares the cluster's GPUs. A namespace belongs to it by the label prorata.dev/tenant.",
    printcolumn(name = "Parent", type_ = "string", json_path = ".spec.parent"),
    printcolumn(name = "Weight", type_ = "string", json_path = ".spec.weight"),
    printcolumn(
        name = "Guaranteed",
        type_ = "string",
        json_path = ".spec.guaranteed.gpu",
        description = "GPUs that it owns"
    ),
    printcolumn(
        name = "Limit",
        type_ = "string",
        json_path = ".spec.limit.gpu",
        description = "GPUs that it never exceeds"
    ),
    printcolumn(
        name = "Used",
        type_ = "string",
        json_path = ".status.used.gpu",
        description = "GPUs that its jobs hold, and those of all below it"
    ),
    printcolumn(
        name = "Borrowed",
        type_ = "string",
        json_path = ".status.borrowed.gpu",
        description = "GPUs that it holds above what it owns",
        priority = 1
    ),
    printcolumn(
        name = "Share",
        type_ = "string",
        json_path = ".status.share",
        description = "Its weighted dominant share of what nobody owns: the least goes first"
    ),
    printcolumn(name = "Running", type_ = "integer", json_path = ".status.running"),
    printcolumn(name = "Waiting", type_ = "integer", json_path = ".status.waiting"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("string(self.weight).matches(r'^\\d{1,9}(\\.\\d{1,9}|/[1-9]\\d{0,8})?$')")
        .message("weight is not a weight: write a whole number or a fraction such as 2, \"1/2\" or \"0.5\""),
    validation = within_limit("gpu"),
    validation = within_limit("cpu"),
    validation = within_limit("memory"),
    validation = environment::parts_are_the_whole(),
    validation = environment::pools_are_for_environments(),
    validation = environment::hard_quotas_are_static(),
    validation = changes::one_clock(),
)]
pub struct TenantSpec {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub display_name: Option<String>,
    /// Who answers for it: a person or an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub owner: Option<String>,
    /// Who pays for it. Its namespaces are labelled with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 63),
        regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub cost_center: Option<String>,
    /// Where it belongs. Its namespaces are labelled with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 63),
        regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub department: Option<String>,
    /// The tenant that it is a part of. Nothing: it stands at the top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub parent: Option<String>,
    /// Its part of what nobody owns, against the other tenants': 2, "1/2" or "0.5".
    #[serde(default = "one")]
    pub weight: Amount,
    /// What it owns while it wants it, and lends while it does not. A parent's is what all below
    /// it own together, who may not be guaranteed more; a parent without one owns their sum.
    #[serde(default, skip_serializing_if = "Amounts::is_empty")]
    pub guaranteed: Amounts,
    /// What it lends at most of what it owns and does not use. Nothing: all of it.
    #[serde(default, skip_serializing_if = "Amounts::is_empty")]
    pub lending_limit: Amounts,
    /// What it never exceeds, even if the rest is idle. Nothing: no limit.
    #[serde(default, skip_serializing_if = "Amounts::is_empty")]
    pub limit: Amounts,
    /// Hours of the week in which something else is due to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub schedules: Vec<Schedule>,
    /// More for a while, with an end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub grants: Vec<Grant>,
    /// The PriorityClasses that its jobs may name. Nothing: all but those that count across
    /// tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub priority_classes: Option<Vec<String>>,
    /// Its parts. For each the controller makes a namespace, with all that is said below, and a
    /// child of this tenant. Nothing: an administrator labels the tenant's namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub environments: Vec<Environment>,
    /// Whether environments may have more than their part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<Quotas>,
    /// Who may do what in its namespaces.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub members: Members,
    /// The sizes of its containers.
    #[serde(default, skip_serializing_if = "ContainerSizes::is_empty")]
    pub containers: ContainerSizes,
    /// The sizes of its pods.
    #[serde(default, skip_serializing_if = "PodSizes::is_empty")]
    pub pods: PodSizes,
    /// How many objects there may be in each of its namespaces.
    #[serde(default, skip_serializing_if = "ObjectCounts::is_empty")]
    pub objects: ObjectCounts,
    /// How much storage it may ask for.
    #[serde(default, skip_serializing_if = "Storage::is_empty")]
    pub storage: Storage,
    /// Whom its pods may talk to.
    #[serde(default, skip_serializing_if = "Network::is_empty")]
    pub network: Network,
    /// What its pods may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// Labels of its namespaces by which a service mesh finds them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub mesh_labels: Vec<MeshLabel>,
    /// Under which rules its data are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compliance: Option<Compliance>,
    /// What it may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// What becomes of a tenant. The controller writes it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// The generation of the spec that this is about.
    #[serde(default)]
    pub observed_generation: Option<i64>,
    /// What its jobs hold, and those of all below it.
    #[serde(default)]
    pub used: BTreeMap<String, String>,
    /// What it owns with all below it.
    #[serde(default)]
    pub guaranteed: BTreeMap<String, String>,
    /// What it holds above what it owns.
    #[serde(default)]
    pub borrowed: BTreeMap<String, String>,
    /// Its weighted dominant share of what can be borrowed, against those beside it; `∞` where
    /// it borrows with weight 0.
    #[serde(default)]
    pub share: Option<String>,
    /// Jobs that hold GPUs.
    #[schemars(with = "i32", range(min = 0))]
    #[serde(default)]
    pub running: u32,
    /// Jobs that wait.
    #[schemars(with = "i32", range(min = 0))]
    #[serde(default)]
    pub waiting: u32,
    /// What is due to it now, if it has schedules or grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<InForce>,
    /// `Ready`: it stands where its spec puts it. `GuaranteeCovered`: there is as much as all
    /// tenants are guaranteed.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

impl TenantSpec {
    /// The nodes that it has alone, by the value of their label `prorata.dev/node-pool`.
    #[must_use]
    pub fn node_pool(&self) -> Option<&str> {
        self.compliance.as_ref()?.node_pool.as_deref()
    }
}

impl Default for TenantSpec {
    fn default() -> Self {
        Self {
            display_name: None,
            owner: None,
            cost_center: None,
            department: None,
            parent: None,
            weight: one(),
            guaranteed: Amounts::default(),
            lending_limit: Amounts::default(),
            limit: Amounts::default(),
            schedules: Vec::new(),
            grants: Vec::new(),
            priority_classes: None,
            environments: Vec::new(),
            quotas: None,
            members: Members::default(),
            containers: ContainerSizes::default(),
            pods: PodSizes::default(),
            objects: ObjectCounts::default(),
            storage: Storage::default(),
            network: Network::default(),
            security: None,
            mesh_labels: Vec::new(),
            compliance: None,
            budget: None,
        }
    }
}

/// What is guaranteed and never given would be a lie.
fn within_limit(resource: &str) -> Rule {
    let named = |field| format!("has(self.{field}) && has(self.{field}.{resource})");
    let amount = |field| format!("quantity(string(self.{field}.{resource}))");
    let both = format!("{} && {}", named("guaranteed"), named("limit"));
    let compare = format!("{}.compareTo({})", amount("guaranteed"), amount("limit"));
    Rule::new(format!("{both} ? {compare} <= 0 : true")).message(&*format!(
        "guaranteed.{resource} is more than limit.{resource}: raise the limit or lower the guarantee"
    ))
}

/// An amount, with as many decimals as our reader takes.
const AMOUNT: &str = r"^\d+(\.\d{1,18})?([mkMGTPE]|[KMGTPE]i)?$";

/// The amounts that our own reader takes, and no others that Kubernetes knows (`1e3`, `-1`).
fn is_amount(resource: &str) -> Rule {
    Rule::new(format!(
        "!has(self.{resource}) || string(self.{resource}).matches(r'{AMOUNT}')"
    ))
    .message(&*format!(
        "{resource} is not an amount: write a number such as 2, \"500m\" or \"64Gi\", not below 0"
    ))
}

/// What is written in whole thousandths or whole bytes for all to see.
///
/// By its text, because the server rounds its own quantities up to a billionth. By short patterns,
/// because it bounds what the rules of a schema may cost: fractions that our reader would take
/// though they have more than three decimals are refused (`0.0625Gi`, which is 64Mi).
fn is_coarse(resource: &str) -> Rule {
    let (pattern, message) = if resource == "memory" {
        (
            r"^(\d+(\.0+)?([kKMGTPE]i?)?|\d+\.(\d{0,3}0*[kMGTPE]|(5|[27]5|(12|37|62|87)5)0*[KMGTPE]i)|\d*000m)$",
            "is not plainly a whole number of bytes: write fewer decimals, or a smaller suffix such as \"64Mi\"",
        )
    } else {
        (
            r"^\d+((\.\d{0,3}0*)?([kKMGTPE]i?)?|(\.0+)?m)$",
            "is finer than a thousandth, the smallest amount there is: write at most three decimals",
        )
    };
    let text = format!("string(self.{resource})");
    Rule::new(format!(
        "!has(self.{resource}) || {text}.matches(r'{pattern}')"
    ))
    .message(&*format!("{resource} {message}"))
}

/// What a cluster can have: our reader's `Resources::MAX_AMOUNT` units.
fn is_possible(resource: &str) -> Rule {
    let most = Resources::MAX_AMOUNT;
    let suffix = if resource == "memory" { "" } else { "m" };
    let text = format!("string(self.{resource})");
    Rule::new(format!(
        "!has(self.{resource}) || !isQuantity({text}) || quantity({text}).compareTo(quantity('{most}{suffix}')) <= 0"
    ))
    .message(&*format!(
        "{resource} is more than any node can have: write at most {most}{suffix}"
    ))
}

fn one() -> Amount {
    Amount::from("1")
}

/// An amount of each resource, as Kubernetes writes quantities.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = is_amount("gpu"),
    validation = is_amount("cpu"),
    validation = is_amount("memory"),
    validation = is_coarse("gpu"),
    validation = is_coarse("cpu"),
    validation = is_coarse("memory"),
    validation = is_possible("gpu"),
    validation = is_possible("cpu"),
    validation = is_possible("memory"),
)]
pub struct Amounts {
    /// GPUs, whole or in thousandths (500m).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Amount>,
    /// CPU cores, whole or in thousandths (500m).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Amount>,
    /// Memory in bytes, usually with a suffix (64Gi).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Amount>,
}

impl Amounts {
    /// Whether no resource is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
