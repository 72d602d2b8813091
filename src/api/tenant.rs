//! The `Tenant` object: who shares the cluster, and what is due to each. Written by administrators;
//! only its status is ours.
#![expect(
    clippy::duplicated_attributes,
    reason = "columns of one type are not duplicates"
)]
#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::amount::Amount;

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
    validation = Rule::new("string(self.weight).matches('^[0-9]{1,9}([.][0-9]{1,9}|/[1-9][0-9]{0,8})?$')")
        .message("weight is not a weight: write a whole number or a fraction such as 2, \"1/2\" or \"0.5\""),
    validation = within_limit("gpu"),
    validation = within_limit("cpu"),
    validation = within_limit("memory"),
)]
pub struct TenantSpec {
    /// Its part of what nobody owns, against the other tenants': 2, "1/2" or "0.5".
    #[serde(default = "one")]
    pub weight: Amount,
    /// What it owns while it wants it, and lends while it does not.
    #[serde(default, skip_serializing_if = "Amounts::is_empty")]
    pub guaranteed: Amounts,
    /// What it never exceeds, even if the rest is idle. Nothing: no limit.
    #[serde(default, skip_serializing_if = "Amounts::is_empty")]
    pub limit: Amounts,
}

impl Default for TenantSpec {
    fn default() -> Self {
        Self {
            weight: one(),
            guaranteed: Amounts::default(),
            limit: Amounts::default(),
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

/// The amounts that our own reader takes, and no others that Kubernetes knows (`1e3`, `-1`).
fn is_amount(resource: &str) -> Rule {
    let pattern = "^[0-9]+([.][0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$";
    Rule::new(format!(
        "!has(self.{resource}) || string(self.{resource}).matches('{pattern}')"
    ))
    .message(&*format!(
        "{resource} is not an amount: write a number such as 2, \"500m\" or \"64Gi\", not below 0"
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

/// What the controller makes of a tenant.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// `Ready`: the tenant takes part. False says why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
