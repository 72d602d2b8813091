//! Who may do what in a tenant's namespaces: each role is a ClusterRole that is installed once, and
//! bound in each namespace. So the controller can hand out these three roles, and no other right.

use serde_json::{Value, json};

use super::object::{Kind, Wanted};
use super::plan::{Part, Whole};
use crate::api::Member;

/// The ClusterRole of admins.
pub const ADMIN_ROLE: &str = "prorata-tenant-admin";
/// The ClusterRole of users.
pub const USER_ROLE: &str = "prorata-tenant-user";
/// The ClusterRole of viewers.
pub const VIEWER_ROLE: &str = "prorata-tenant-viewer";

/// A RoleBinding for each role that somebody has.
pub(super) fn objects(team: &Whole<'_>, part: &Part) -> Vec<Wanted> {
    let members = &team.spec.members;
    let roles = [
        ("prorata-admins", ADMIN_ROLE, &members.admins),
        ("prorata-users", USER_ROLE, &members.users),
        ("prorata-viewers", VIEWER_ROLE, &members.viewers),
    ];
    let roles = roles.into_iter().filter(|(_, _, who)| !who.is_empty());
    let binding = |(name, role, who): (&str, &str, &Vec<Member>)| {
        let rest = json!({
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
            "subjects": who.iter().map(subject).collect::<Vec<_>>(),
        });
        Wanted::new(Kind::RoleBinding, team.name, part, name, rest)
    };
    roles.map(binding).collect()
}

fn subject(member: &Member) -> Value {
    let (kind, name) = match (&member.user, &member.group) {
        (Some(user), _) => ("User", user),
        (None, Some(group)) => ("Group", group),
        (None, None) => unreachable!("the plan reads members before"),
    };
    json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name })
}
