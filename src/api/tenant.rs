//! The `Tenant` object: who shares the cluster, and what is due to each. Written by administrators.
#![expect(
    clippy::duplicated_attributes,
    reason = "columns of one type are not duplicates"
)]
#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function"
)]

use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use prorata_core::Resources;
use serde::{Deserialize, Serialize};

use super::amount::Amount;

/// A team that shares the cluster's GPUs. A namespace belongs to it by the label
/// `prorata.dev/tenant`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "prorata.dev",
    version = "v1alpha1",
    kind = "Tenant",
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

/// An amount, with as many decimals as our reader takes.
const AMOUNT: &str = "^[0-9]+([.][0-9]{1,18})?([mkMGTPE]|[KMGTPE]i)?$";

/// The amounts that our own reader takes, and no others that Kubernetes knows (`1e3`, `-1`).
fn is_amount(resource: &str) -> Rule {
    Rule::new(format!(
        "!has(self.{resource}) || string(self.{resource}).matches('{AMOUNT}')"
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
            "^([0-9]+([.]0+)?([kKMGTPE]i?)?|\
             [0-9]+[.]([0-9]{0,3}0*[kMGTPE]|(5|[27]5|(12|37|62|87)5)0*[KMGTPE]i)|\
             [0-9]*000m)$",
            "is not plainly a whole number of bytes: write fewer decimals, or a smaller suffix such as \"64Mi\"",
        )
    } else {
        (
            "^[0-9]+(([.][0-9]{0,3}0*)?([kKMGTPE]i?)?|([.]0+)?m)$",
            "is finer than a thousandth, the smallest amount there is: write at most three decimals",
        )
    };
    let text = format!("string(self.{resource})");
    Rule::new(format!(
        "!has(self.{resource}) || !isQuantity({text}) || {text}.matches('{pattern}')"
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
