//! Who usage is charged to: the Tenants that are teams, with their budgets and guarantees.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use prorata_core::Resource;
use prorata_ledger::account::Team;
use prorata_ledger::money;
use prorata_simulator::quantity;

use crate::api::Tenant;

/// What Tenants say, by name. Usage is charged to teams: those that are environments of one, or only
/// stand above others, are left out.
#[must_use]
pub fn teams(tenants: &[Tenant]) -> BTreeMap<String, Team> {
    let is_environment = |tenant: &Tenant| {
        tenant
            .owner_references()
            .iter()
            .any(|owner| owner.kind == "Tenant")
    };
    let own: Vec<&Tenant> = tenants
        .iter()
        .filter(|tenant| !is_environment(tenant))
        .collect();
    let parents: BTreeSet<&String> = own
        .iter()
        .filter_map(|tenant| tenant.spec.parent.as_ref())
        .collect();
    let named = own.iter().map(|tenant| (tenant.name_any(), team(tenant)));
    named.filter(|(name, _)| !parents.contains(name)).collect()
}

fn team(tenant: &Tenant) -> Team {
    let budget = tenant.spec.budget.as_ref();
    let guaranteed = tenant.spec.guaranteed.gpu.as_ref();
    Team {
        budget: budget.and_then(|budget| {
            Some((
                money::parse(budget.monthly.as_str()).ok()?,
                budget.currency.clone(),
            ))
        }),
        guaranteed_milli: guaranteed
            .and_then(|gpu| quantity::parse(Resource::Gpu, gpu.as_str()).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn teams_are_neither_environments_nor_above_others() {
        let tenant = |name: &str, spec: serde_json::Value, owner: Option<&str>| -> Tenant {
            let owners: Vec<_> = owner.iter().map(|name| json!({"apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant", "name": name, "uid": "u"})).collect();
            let metadata = json!({"name": name, "ownerReferences": owners});
            serde_json::from_value(json!({"apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant", "metadata": metadata, "spec": spec})).unwrap()
        };
        let vision = json!({"parent": "research", "guaranteed": {"gpu": "2.5"}, "budget": {"monthly": "1000.50", "currency": "EUR"}});
        let teams = teams(&[
            tenant("research", json!({"guaranteed": {"gpu": 8}}), None),
            tenant("vision", vision, None),
            tenant("vision-dev", json!({"parent": "vision"}), Some("vision")),
        ]);
        let vision = Team {
            budget: Some((1_000_500_000, "EUR".to_owned())),
            guaranteed_milli: Some(2500),
        };
        assert_eq!(teams, [("vision".to_owned(), vision)].into());
    }
}
