//! The child of a tenant that an environment is: what the queue knows of it.

use prorata_core::Resource;
use prorata_simulator::quantity::parse as read;
use prorata_simulator::split::parted;
use serde_json::{Value, json};

use super::object::{Kind, Wanted};
use super::plan::{Part, Whole};
use super::{quantity, quota};
use crate::api::{Amount, Due, Grant, Quotas, Schedule, TenantSpec};

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
    if !part.is_left {
        over_time(&mut spec, team.spec, part);
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

/// Its part of what the tenant is guaranteed at other times: both change at the same moment.
fn over_time(child: &mut Value, team: &TenantSpec, part: &Part) {
    let named = |due: &Due| !due.is_empty();
    let schedules = team
        .schedules
        .iter()
        .filter(|schedule| named(&schedule.guaranteed));
    let schedules = schedules.map(|schedule| Schedule {
        guaranteed: part_of(&schedule.guaranteed, team, part),
        weight: None,
        lending_limit: Due::default(),
        limit: Due::default(),
        ..schedule.clone()
    });
    let schedules: Vec<Schedule> = schedules.collect();
    let grants = team.grants.iter().filter(|grant| named(&grant.guaranteed));
    let grants = grants.map(|grant| Grant {
        guaranteed: part_of(&grant.guaranteed, team, part),
        weight: None,
        limit: Due::default(),
        ..grant.clone()
    });
    let grants: Vec<Grant> = grants.collect();
    if !schedules.is_empty() {
        child["schedules"] = json!(schedules);
    }
    if !grants.is_empty() {
        child["grants"] = json!(grants);
    }
}

fn part_of(whole: &Due, team: &TenantSpec, part: &Part) -> Due {
    let weights: Vec<u32> = team.environments.iter().map(|e| e.percent()).collect();
    let index = team.environments.iter().position(|e| e.name == part.name);
    let own = |resource: Resource, amount: &Option<Amount>| {
        let whole = read(resource, amount.as_ref()?.as_str()).ok()?;
        let amount = parted(resource, whole, &weights).get(index?).copied()?;
        Some(Amount::from(quantity::text(resource, amount).as_str()))
    };
    Due {
        gpu: own(Resource::Gpu, &whole.gpu),
        cpu: own(Resource::Cpu, &whole.cpu),
        memory: own(Resource::Memory, &whole.memory),
    }
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
