//! The roles of a tenant's people, each bound in the tenant's own namespaces alone.
//!
//! None of them reaches quotas, limits, network policies or roles: those are the Tenant's to say.

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};

use super::rbac::rule;
use crate::api::{GROUP, labels};
use crate::tenancy::{ADMIN_ROLE, USER_ROLE, VIEWER_ROLE};

/// The group of roles.
pub(super) const RBAC: &str = "rbac.authorization.k8s.io";

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "update", "patch", "delete"];
const OWN: &[&str] = &[
    "get", "list", "watch", "create", "update", "patch", "delete",
];

/// Admin, user and viewer.
#[must_use]
pub fn roles() -> [ClusterRole; 3] {
    let user = [reads(), vec![rule("batch", &["jobs"], WRITE)]].concat();
    let admin = [user.clone(), owns()].concat();
    [
        (ADMIN_ROLE, admin),
        (USER_ROLE, user),
        (VIEWER_ROLE, reads()),
    ]
    .map(|(name, rules)| ClusterRole {
        metadata: labels::metadata(name),
        rules: Some(rules),
        ..Default::default()
    })
}

/// What everybody of a tenant reads: all but secrets.
fn reads() -> Vec<PolicyRule> {
    let core = [
        "pods",
        "pods/log",
        "pods/status",
        "services",
        "endpoints",
        "configmaps",
        "persistentvolumeclaims",
        "serviceaccounts",
        "resourcequotas",
        "limitranges",
        "events",
    ];
    vec![
        rule("", &core, READ),
        rule("events.k8s.io", &["events"], READ),
        rule("batch", &["jobs", "jobs/status", "cronjobs"], READ),
        rule(
            "apps",
            &["deployments", "replicasets", "statefulsets"],
            READ,
        ),
        rule("policy", &["poddisruptionbudgets"], READ),
        rule("networking.k8s.io", &["networkpolicies"], READ),
        rule(RBAC, &["roles", "rolebindings"], READ),
        rule(GROUP, &["queuedjobs"], READ),
    ]
}

/// What an admin has beyond a user: the namespace, and the Jobs of others (`manage`).
fn owns() -> Vec<PolicyRule> {
    let core = [
        "configmaps",
        "secrets",
        "services",
        "persistentvolumeclaims",
        "serviceaccounts",
    ];
    vec![
        rule("", &core, OWN),
        rule("", &["pods"], WRITE),
        rule(
            "",
            &["pods/exec", "pods/attach", "pods/portforward"],
            &["get", "create"],
        ),
        rule("", &["pods/eviction"], &["create"]),
        rule("batch", &["cronjobs"], WRITE),
        rule("apps", &["deployments", "statefulsets"], WRITE),
        rule(
            "apps",
            &["deployments/scale", "statefulsets/scale"],
            &["get", "update", "patch"],
        ),
        rule("policy", &["poddisruptionbudgets"], WRITE),
        rule(GROUP, &["queuedjobs"], &["manage"]),
    ]
}
