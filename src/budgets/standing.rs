//! What Tenants show of their budgets, so that the queue goes by it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use prorata_ledger::budget::Threshold;

use super::Assessed;
use crate::api::{BudgetPolicy, Tenant};

/// Type of the condition: the budget of this month is spent. Its reason is the policy.
pub const SPENT: &str = "BudgetSpent";

/// The reason while it is not.
const WITHIN: &str = "WithinBudget";

/// What is wrong with a Tenant, as its conditions say. That a budget is not spent is not wrong.
#[must_use]
pub fn wrong(tenant: &Tenant) -> Option<&Condition> {
    let mut others = shown(tenant).filter(|condition| condition.type_ != SPENT);
    others.find(|condition| condition.status == "False")
}

/// Whether a Tenant shows that its budget is spent.
#[must_use]
pub fn is_spent(tenant: &Tenant) -> bool {
    shown(tenant).any(|condition| condition.type_ == SPENT && condition.status == "True")
}

fn shown(tenant: &Tenant) -> impl Iterator<Item = &Condition> {
    let status = tenant.status.iter();
    status.flat_map(|status| &status.conditions)
}

/// The conditions that Tenants do not show yet as they should, by name. Those below a tenant whose new
/// jobs are to wait show it too, for it is their jobs.
#[must_use]
pub fn conditions(tenants: &[Tenant], assessed: &[Assessed]) -> Vec<(String, Condition)> {
    let spent = assessed
        .iter()
        .filter(|one| one.standing.reached().contains(&Threshold::Spent));
    let spent: BTreeMap<String, BudgetPolicy> = spent
        .map(|one| (one.tenant.name_any(), one.policy))
        .collect();
    let parents: BTreeMap<String, &str> = tenants
        .iter()
        .filter_map(|tenant| Some((tenant.name_any(), tenant.spec.parent.as_deref()?)))
        .collect();
    let wanted = tenants.iter().filter_map(|tenant| {
        let name = tenant.name_any();
        let condition = changed(tenant, state(&name, &spent, &parents))?;
        Some((name, condition))
    });
    wanted.collect()
}

/// The policy that a tenant is under, and whose budget is spent.
fn state<'a>(
    name: &'a str,
    spent: &BTreeMap<String, BudgetPolicy>,
    parents: &BTreeMap<String, &'a str>,
) -> Option<(BudgetPolicy, &'a str)> {
    let own = spent.get(name).map(|policy| (*policy, name));
    let (mut at, mut steps) = (name, 0);
    while let Some(parent) = parents.get(at).copied().filter(|_| steps <= parents.len()) {
        if spent.get(parent) == Some(&BudgetPolicy::BlockNew) {
            return Some((BudgetPolicy::BlockNew, parent));
        }
        (at, steps) = (parent, steps + 1);
    }
    own
}

/// What a Tenant is to show, unless it does; nothing where it never had to say anything.
fn changed(tenant: &Tenant, wanted: Option<(BudgetPolicy, &str)>) -> Option<Condition> {
    let shown = shown(tenant).find(|condition| condition.type_ == SPENT);
    let (status, reason, message) = match wanted {
        Some((policy, whose)) => {
            let message = format!("the budget of {whose} for this month is spent");
            ("True", policy.name(), message)
        }
        None => ("False", WITHIN, String::new()),
    };
    let is_shown = match shown {
        Some(shown) => shown.status == status && shown.reason == reason,
        None => wanted.is_none(),
    };
    (!is_shown).then(|| Condition {
        type_: SPENT.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: Time(Timestamp::now()),
        observed_generation: tenant.metadata.generation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use prorata_ledger::budget::Standing;
    use serde_json::json;

    fn tenant(name: &str, parent: Option<&str>, shows: Option<&str>) -> Tenant {
        let condition = shows.map(|reason| {
            let status = if reason == WITHIN { "False" } else { "True" };
            json!({
                "type": SPENT, "status": status, "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        });
        serde_json::from_value(json!({
            "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name},
            "spec": {"parent": parent},
            "status": {"conditions": condition.into_iter().collect::<Vec<_>>()},
        }))
        .unwrap()
    }

    fn assessed(name: &str, spent_micros: i128, policy: BudgetPolicy) -> Assessed {
        Assessed {
            tenant: tenant(name, None, None),
            currency: "EUR".to_owned(),
            policy,
            standing: Standing {
                budget_micros: 100,
                spent_micros,
                forecast_micros: None,
            },
        }
    }

    fn shown(tenants: &[Tenant], assessed: &[Assessed]) -> Vec<(String, String)> {
        let all = conditions(tenants, assessed).into_iter();
        all.map(|(name, condition)| (name, condition.reason))
            .collect()
    }

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
        all.iter().map(own).collect()
    }

    #[test]
    fn those_below_wait_with_the_tenant_and_nobody_else_does() {
        let tenants = [
            tenant("red", None, None),
            tenant("red-dev", Some("red"), None),
            tenant("blue", None, None),
        ];
        let blocked = [assessed("red", 100, BudgetPolicy::BlockNew)];
        let both = pairs(&[("red", "BlockNew"), ("red-dev", "BlockNew")]);
        assert_eq!(shown(&tenants, &blocked), both);
        let lowered = [assessed("red", 100, BudgetPolicy::LowerPriority)];
        assert_eq!(
            shown(&tenants, &lowered),
            pairs(&[("red", "LowerPriority")])
        );
        assert_eq!(
            shown(&tenants, &[assessed("red", 99, BudgetPolicy::BlockNew)]),
            []
        );
    }

    #[test]
    fn it_is_written_only_when_it_changes_and_ends_with_the_month() {
        let tenants = [
            tenant("red", None, Some("BlockNew")),
            tenant("red-dev", Some("red"), Some("BlockNew")),
            tenant("blue", None, Some(WITHIN)),
        ];
        let blocked = [assessed("red", 100, BudgetPolicy::BlockNew)];
        assert_eq!(shown(&tenants, &blocked), []);
        let over = pairs(&[("red", WITHIN), ("red-dev", WITHIN)]);
        assert_eq!(
            shown(&tenants, &[assessed("red", 0, BudgetPolicy::BlockNew)]),
            over
        );
    }
}
