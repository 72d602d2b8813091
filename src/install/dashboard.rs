//! What the controller needs to show the dashboard: who its reader is, what that may see, and which
//! cards there are. A role of its own, for whoever wants the dashboard.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleRef, Subject};

use super::rbac::rule;
use super::{Error, Stream};
use crate::api::{GROUP, labels};

/// The role's name.
const NAME: &str = "prorata-dashboard";

/// Role and binding, as YAML.
///
/// # Errors
/// When an object cannot be written as YAML.
pub fn render() -> Result<String, Error> {
    let mut stream = Stream::default();
    stream.push(&role())?;
    stream.push(&binding())?;
    Ok(stream.text)
}

/// What the controller may do for the dashboard's sake: read, and ask about others.
#[must_use]
pub fn role() -> ClusterRole {
    ClusterRole {
        metadata: labels::metadata(NAME),
        rules: Some(vec![
            rule("authentication.k8s.io", &["tokenreviews"], &["create"]),
            rule(
                "authorization.k8s.io",
                &["subjectaccessreviews"],
                &["create"],
            ),
            rule(GROUP, &["gpunodes"], &["list", "watch"]),
            // What was decided about a job, in its order.
            rule("", &["events"], &["list"]),
        ]),
        ..Default::default()
    }
}

fn binding() -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: labels::metadata(NAME),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "ClusterRole".to_owned(),
            name: NAME.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: labels::CONTROLLER.to_owned(),
            namespace: Some(labels::NAMESPACE.to_owned()),
            ..Default::default()
        }]),
    }
}
