//! What the agents on GPU nodes need: a namespace, an account, and few rights.
//!
//! They have a namespace of their own, because they see the host's processes, which the standard of
//! ours forbids.

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleRef, Subject};

use super::rbac::rule;
use super::{Error, Stream};
use crate::api::{GROUP, labels};

/// Namespace, account, role and binding, as YAML.
///
/// # Errors
/// When an object cannot be written as YAML.
pub fn render() -> Result<String, Error> {
    let mut account = ServiceAccount {
        metadata: labels::metadata(labels::AGENT),
        ..Default::default()
    };
    account.metadata.namespace = Some(labels::AGENT_NAMESPACE.to_owned());
    let mut stream = Stream::default();
    stream.push(&namespace())?;
    stream.push(&account)?;
    stream.push(&role())?;
    stream.push(&binding())?;
    Ok(stream.text)
}

/// Whoever makes pods here can reach every GPU node, so nobody but administrators should.
fn namespace() -> Namespace {
    let mut metadata = labels::metadata(labels::AGENT_NAMESPACE);
    let enforce = "pod-security.kubernetes.io/enforce".to_owned();
    metadata
        .labels
        .get_or_insert_default()
        .insert(enforce, "privileged".to_owned());
    Namespace {
        metadata,
        ..Default::default()
    }
}

/// What an agent may do. Of which GpuNode, an admission policy says.
#[must_use]
pub fn role() -> ClusterRole {
    ClusterRole {
        metadata: labels::metadata(labels::AGENT),
        rules: Some(vec![
            // Its GpuNode is to go when its node goes.
            rule("", &["nodes"], &["get"]),
            rule(GROUP, &["gpunodes"], &["get", "list", "watch", "create"]),
            rule(GROUP, &["gpunodes/status"], &["update"]),
            // It tells the controller alone how busy pods were.
            rule("authentication.k8s.io", &["tokenreviews"], &["create"]),
        ]),
        ..Default::default()
    }
}

fn binding() -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: labels::metadata(labels::AGENT),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "ClusterRole".to_owned(),
            name: labels::AGENT.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: labels::AGENT.to_owned(),
            namespace: Some(labels::AGENT_NAMESPACE.to_owned()),
            ..Default::default()
        }]),
    }
}
