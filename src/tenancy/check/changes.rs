//! What is wrong with schedules and grants.

use super::{NAME, is_name, too_many, wrong};
use crate::api::{Quotas, TenantSpec};
use crate::tenancy::Wrong;
use crate::translate;

/// The most schedules.
const SCHEDULES_MAX: usize = 8;
/// The most grants.
const GRANTS_MAX: usize = 16;
/// The longest reason.
const REASON_MAX: usize = 253;

pub(super) fn all(spec: &TenantSpec) -> Vec<Wrong> {
    let (schedules, grants) = (&spec.schedules, &spec.grants);
    let mut found = Vec::from_iter(too_many("spec.schedules", schedules.len(), SCHEDULES_MAX));
    found.extend(too_many("spec.grants", grants.len(), GRANTS_MAX));
    let changes = !schedules.is_empty() || !grants.is_empty();
    if changes && spec.quotas == Some(Quotas::Hard) {
        let remedy = "leave out schedules and grants, or let the quotas be `limit`";
        found.push(wrong(
            "spec.quotas",
            "are static where they are hard",
            remedy,
        ));
    }
    let named = |field: &str, (index, name): (usize, &String)| {
        let field = format!("spec.{field}[{index}].name");
        (!is_name(name)).then(|| wrong(&field, "is not a name", NAME))
    };
    let names = schedules.iter().map(|schedule| &schedule.name).enumerate();
    found.extend(names.filter_map(|name| named("schedules", name)));
    let names = grants.iter().map(|grant| &grant.name).enumerate();
    found.extend(names.filter_map(|name| named("grants", name)));
    for (index, grant) in grants.iter().enumerate() {
        let length = grant
            .reason
            .as_ref()
            .map_or(0, |reason| reason.chars().count());
        if length > REASON_MAX {
            let what = format!("has {length} characters");
            let field = format!("spec.grants[{index}].reason");
            found.push(wrong(&field, what, format!("write at most {REASON_MAX}")));
        }
    }
    // Whether the rest can be read is told where that is.
    if let Ok(base) = translate::tenant("", spec) {
        found.extend(translate::terms(base, spec).err().unwrap_or_default());
    }
    found
}
