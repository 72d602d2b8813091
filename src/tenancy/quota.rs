//! How much and how many there may be in a namespace.
//!
//! The queue gives out what is guaranteed and lent, so a quota of Kubernetes' own only repeats the
//! tenant's hard limit, which environments may use in turn. With `quotas: hard` it is the
//! environment's own part of what is guaranteed.

use prorata_core::Resource;
use serde_json::{Map, Value, json};

use super::object::{Kind, Wanted};
use super::plan::{Part, Whole};
use super::quantity;
use crate::api::{ObjectCounts, Quotas};

/// The quota, if anything is bounded.
pub(super) fn object(team: &Whole<'_>, part: &Part) -> Option<Wanted> {
    let mut hard = counts(&team.spec.objects);
    for (key, bytes) in &part.storage {
        hard.insert(key.clone(), json!(quantity::bytes(*bytes)));
    }
    for (resource, amount) in compute(team, part) {
        bound(&mut hard, team.gpu_resource, resource, amount);
    }
    let rest = json!({ "spec": { "hard": hard } });
    (!hard.is_empty()).then(|| Wanted::new(Kind::ResourceQuota, team.name, part, "prorata", rest))
}

/// The amounts of CPU, memory and GPUs that bound the namespace: the tenant's limit, and with
/// `quotas: hard` the part instead wherever the tenant is guaranteed anything.
pub(super) fn compute(team: &Whole<'_>, part: &Part) -> Vec<(Resource, u64)> {
    if team.spec.quotas != Some(Quotas::Hard) {
        return team.limit.clone();
    }
    let own = &part.guaranteed;
    let is_own = |resource| own.iter().any(|(guaranteed, _)| *guaranteed == resource);
    let rest = team.limit.iter().filter(|(resource, _)| !is_own(*resource));
    own.iter().chain(rest).copied().collect()
}

fn bound(hard: &mut Map<String, Value>, gpu_resource: &str, resource: Resource, amount: u64) {
    let text = |amount| json!(quantity::text(resource, amount));
    match resource {
        // Kubernetes has no limits of GPUs that are not requests, and counts whole ones.
        Resource::Gpu => {
            let whole = amount.div_ceil(resource.scale()) * resource.scale();
            hard.insert(format!("requests.{gpu_resource}"), text(whole));
        }
        _ => {
            let name = resource.name();
            hard.insert(format!("requests.{name}"), text(amount));
            hard.insert(format!("limits.{name}"), text(amount + amount / 5));
        }
    }
}

fn counts(objects: &ObjectCounts) -> Map<String, Value> {
    let named = [
        ("pods", objects.pods),
        ("count/jobs.batch", objects.jobs),
        ("services", objects.services),
        ("services.loadbalancers", objects.load_balancers),
        ("configmaps", objects.config_maps),
        ("secrets", objects.secrets),
        ("persistentvolumeclaims", objects.volume_claims),
    ];
    let said = named.into_iter();
    said.filter_map(|(key, count)| Some((key.to_owned(), json!(quantity::count(count?)))))
        .collect()
}
