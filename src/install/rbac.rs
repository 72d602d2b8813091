//! What our processes may do in the cluster: no verb that is not called, no wildcard and no
//! secret.
//!
//! What is kept for Tenants reaches beyond our own objects. An admission policy
//! (`prorata-controller-confined`) narrows those rights to objects that carry our labels, and roles
//! are handed out by `bind` on three of them, so that no right can be made up.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};

use super::tenants;
use crate::api::{GROUP, labels};
use crate::kinds::COMPOSITES;
use crate::tenancy::{ADMIN_ROLE, USER_ROLE, VIEWER_ROLE};

/// What a reflector calls; the controller reads in no other way.
const FOLLOW: &[&str] = &["list", "watch"];

/// What is kept as a Tenant wants it, and removed when it is not wanted.
const KEEP: &[&str] = &["list", "watch", "create", "patch", "delete"];

const LEASES: &str = "coordination.k8s.io";

/// What the controller may do.
#[must_use]
pub fn controller_role() -> ClusterRole {
    let mut role = ClusterRole {
        metadata: labels::metadata(labels::CONTROLLER),
        rules: Some(vec![
            // A policy (`prorata-nodes-confined`) says what of a node.
            rule("", &["nodes"], &["get", "list", "watch", "patch"]),
            rule("", &["namespaces"], &["list", "watch", "create", "patch"]),
            rule("", &["resourcequotas", "limitranges"], KEEP),
            rule("networking.k8s.io", &["networkpolicies"], KEEP),
            rule(tenants::RBAC, &["rolebindings"], KEEP),
            bind(),
            // A policy (`prorata-controller-deletes`) says which pods.
            rule("", &["pods"], &["list", "watch", "patch", "delete"]),
            rule("", &["pods/status"], &["patch"]),
            rule("", &["pods/eviction"], &["create"]),
            rule("batch", &["jobs"], &["list", "watch", "patch"]),
            rule("batch", &["jobs/status"], &["patch"]),
            rule("scheduling.k8s.io", &["priorityclasses"], FOLLOW),
            rule(GROUP, &["tenants"], &["list", "watch", "create", "patch"]),
            rule(GROUP, &["tenants/status"], &["patch"]),
            rule(
                GROUP,
                &["queuedjobs"],
                &["list", "watch", "create", "patch", "delete"],
            ),
            rule(GROUP, &["gpunodes"], &["get", "list", "watch", "patch"]),
            rule(GROUP, &["gpunodes/status"], &["patch"]),
            rule("events.k8s.io", &["events"], &["create", "patch"]),
        ]),
        ..Default::default()
    };
    role.rules.get_or_insert_default().extend(composites());
    role
}

/// What it may do to objects of operators: suspend and release them. Their status is not ours.
fn composites() -> Vec<PolicyRule> {
    let mut plurals: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for kind in &COMPOSITES {
        plurals.entry(kind.group()).or_default().insert(kind.plural);
    }
    let rules = plurals.into_iter().map(|(group, plurals)| {
        let plurals: Vec<&str> = plurals.into_iter().collect();
        rule(group, &plurals, &["list", "watch", "patch"])
    });
    rules.collect()
}

/// Gives the role to the controller's service account.
#[must_use]
pub fn controller_binding() -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: labels::metadata(labels::CONTROLLER),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "ClusterRole".to_owned(),
            name: labels::CONTROLLER.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: labels::CONTROLLER.to_owned(),
            namespace: Some(labels::NAMESPACE.to_owned()),
            ..Default::default()
        }]),
    }
}

/// What the controller may do in its own namespace: hold the Lease that says which one decides, and
/// tell policies what they look up.
#[must_use]
pub fn leader_role() -> Role {
    let mut own = rule(LEASES, &["leases"], &["get", "update"]);
    own.resource_names = Some(vec![labels::CONTROLLER.to_owned()]);
    let mut told = rule("", &["configmaps"], &["get", "patch"]);
    told.resource_names = Some([labels::CLASSES, labels::POOLS].map(str::to_owned).into());
    let mut metadata = labels::metadata(labels::CONTROLLER);
    metadata.namespace = Some(labels::NAMESPACE.to_owned());
    Role {
        metadata,
        // No name is known yet when an object is created.
        rules: Some(vec![own, rule(LEASES, &["leases"], &["create"]), told]),
    }
}

/// Gives that role to the controller's service account.
#[must_use]
pub fn leader_binding() -> RoleBinding {
    let ClusterRoleBinding {
        mut metadata,
        role_ref,
        subjects,
    } = controller_binding();
    metadata.namespace = Some(labels::NAMESPACE.to_owned());
    RoleBinding {
        metadata,
        role_ref: RoleRef {
            kind: "Role".to_owned(),
            ..role_ref
        },
        subjects,
    }
}

/// Lets whoever may view a namespace see its queue, and whoever may view the cluster its GPUs.
#[must_use]
pub fn view_role() -> ClusterRole {
    let mut metadata = labels::metadata("prorata-view");
    let aggregate = "rbac.authorization.k8s.io/aggregate-to-view".to_owned();
    metadata
        .labels
        .get_or_insert_default()
        .insert(aggregate, "true".to_owned());
    let rules = Some(vec![rule(
        GROUP,
        &["queuedjobs", "gpunodes"],
        &["get", "list", "watch"],
    )]);
    ClusterRole {
        metadata,
        rules,
        ..Default::default()
    }
}

/// The roles that the controller may hand out, though it has not their rights itself.
fn bind() -> PolicyRule {
    let mut bind = rule(tenants::RBAC, &["clusterroles"], &["bind"]);
    bind.resource_names = Some(
        [ADMIN_ROLE, USER_ROLE, VIEWER_ROLE]
            .map(str::to_owned)
            .into(),
    );
    bind
}

pub(super) fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |texts: &[&str]| {
        texts
            .iter()
            .map(|&text| text.to_owned())
            .collect::<Vec<_>>()
    };
    PolicyRule {
        api_groups: Some(owned(&[group])),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rule_has_a_wildcard_or_reads_secrets() {
        let [_, user, viewer] = tenants::roles();
        let agent = super::super::agent::role();
        let dashboard = super::super::dashboard::role();
        let roles = [
            controller_role(),
            view_role(),
            agent,
            dashboard,
            user,
            viewer,
        ]
        .map(|role| (role.metadata, role.rules));
        let leader = leader_role();
        for (metadata, rules) in roles.into_iter().chain([(leader.metadata, leader.rules)]) {
            for rule in rules.unwrap() {
                let named = [rule.api_groups, rule.resources, Some(rule.verbs)];
                for text in named.into_iter().flatten().flatten() {
                    assert!(!text.contains('*'), "wildcard in {:?}", metadata.name);
                    assert_ne!(text, "secrets");
                }
            }
        }
    }
}
