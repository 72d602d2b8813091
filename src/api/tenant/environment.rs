//! The parts of a tenant, and the people in it.
#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function"
)]

use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A part of a tenant with a namespace of its own. It becomes a child of the tenant, guaranteed its
/// part of what the tenant is guaranteed, so that others of the team may borrow what it leaves.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.percent) || self.name in ['dev', 'staging', 'prod']")
        .message("percent is missing: only dev, staging and prod have one by default (30, 20 and 50)"),
)]
pub struct Environment {
    /// Its name, such as prod.
    #[schemars(length(max = 20), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Its part of what the tenant is guaranteed, in percent. Nothing: 30 for dev, 20 for staging,
    /// 50 for prod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0, max = 100))]
    pub percent: Option<u32>,
    /// The PriorityClasses that its jobs may name. Nothing: those of the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub priority_classes: Option<Vec<String>>,
    /// Its namespace, where that is not named after tenant and environment. One that exists has to
    /// be handed over first: `prorata tenant adopt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
}

impl Environment {
    /// Its part in percent; 0 where none is said of a name that has no default.
    #[must_use]
    pub fn percent(&self) -> u32 {
        self.percent.unwrap_or(match self.name.as_str() {
            "dev" => 30,
            "staging" => 20,
            "prod" => 50,
            _ => 0,
        })
    }
}

/// The rule that all parts together are the whole.
pub(super) fn parts_are_the_whole() -> Rule {
    Rule::new(
        "!has(self.environments) || size(self.environments) == 0 || \
         self.environments.map(e, has(e.percent) ? e.percent : e.name == 'dev' ? 30 : \
         e.name == 'staging' ? 20 : e.name == 'prod' ? 50 : 0).sum() == 100",
    )
    .message("the percents of environments are not 100 together: change them until they are")
}

/// The rule that whoever has nodes alone has environments, whose namespaces are held to them.
pub(super) fn pools_are_for_environments() -> Rule {
    Rule::new(
        "!has(self.compliance) || !has(self.compliance.nodePool) || \
         (has(self.environments) && size(self.environments) > 0)",
    )
    .message(
        "compliance.nodePool would bind nobody: only the namespaces of environments are held to a pool, so add environments",
    )
}

/// The rule that quotas of Kubernetes' own, which do not change over time, bind nobody to what does.
pub(super) fn hard_quotas_are_static() -> Rule {
    Rule::new(
        "!has(self.quotas) || self.quotas != 'hard' || \
         ((!has(self.schedules) || size(self.schedules) == 0) && (!has(self.grants) || size(self.grants) == 0))",
    )
    .message("quotas: hard are static: leave out schedules and grants, or let the quotas be `limit`")
}

/// How the split binds.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quotas {
    /// Environments borrow from each other and from other tenants, up to the tenant's limit.
    #[default]
    Limit,
    /// Each environment has its part and never more.
    Hard,
}

/// Who may do what in the tenant's namespaces.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// They have the namespaces, but not what this Tenant says of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub admins: Vec<Member>,
    /// They submit Jobs, and change and delete their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub users: Vec<Member>,
    /// They read all but secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub viewers: Vec<Member>,
}

impl Members {
    /// Whether nobody is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A user or a group, as the API server knows them.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.user) != has(self.group)")
        .message("this is not one member: name either a user or a group"),
    validation = Rule::new(
        "(!has(self.user) || !self.user.startsWith('system:') || self.user.startsWith('system:serviceaccount:')) && \
         (!has(self.group) || !self.group.startsWith('system:') || self.group.startsWith('system:serviceaccounts:'))"
    )
    .message("names that begin with system: are Kubernetes' own: name a user, a group or a service account of yours"),
)]
pub struct Member {
    /// A user's name; a service account is `system:serviceaccount:NAMESPACE:NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub user: Option<String>,
    /// A group's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub group: Option<String>,
}
