//! The child of a tenant that an environment is: what the queue knows of it.

use prorata_core::Resource;
use serde_json::{Value, json};

use super::object::{Kind, Wanted};
use super::plan::{Part, Whole};
use super::{quantity, quota};
use crate::api::{Quotas, TenantSpec};

/// The child.
///
/// A part that its tenant no longer has keeps its child, which owns nothing and may start nothing
/// on GPUs: what runs there runs on.
pub(super) fn object(team: &Whole<'_>, part: &Part) -> Wanted {
    let mut spec = json!({ "parent": team.name, "weight": "1" });
    let own = amounts(&part.guaranteed);
    let guaranteed = own.as_object().is_some_and(|own| !own.is_empty());
    if guaranteed && !part.is_left {
        spec["guaranteed"] = own;
    }
    if part.is_left {
        spec["limit"] = json!({ "gpu": "0" });
    } else if team.spec.quotas == Some(Quotas::Hard) {
        spec["limit"] = amounts(&quota::compute(team, part));
    }
    if let Some(classes) = classes(team.spec, part) {
        spec["priorityClasses"] = json!(classes);
    }
    let mut rest = json!({ "spec": spec });
    if let Some(uid) = team.uid {
        rest["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant", "name": team.name, "uid": uid,
        }]);
    }
    Wanted::new(Kind::Tenant, team.name, part, &part.child, rest)
}

/// Amounts by the names of their resources.
fn amounts(amounts: &[(Resource, u64)]) -> Value {
    let text = |(resource, amount): &(Resource, u64)| {
        let text = quantity::text(*resource, *amount);
        (resource.name().to_owned(), json!(text))
    };
    Value::Object(amounts.iter().map(text).collect())
}

fn classes<'a>(spec: &'a TenantSpec, part: &'a Part) -> Option<&'a Vec<String>> {
    let own = part.priority_classes.as_ref();
    own.or(spec.priority_classes.as_ref())
}
