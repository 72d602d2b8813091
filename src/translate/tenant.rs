//! Tenants.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use prorata_core::{Limits, Resource, Resources, Tenant, TenantId};
use prorata_simulator::calendar::Terms;
use prorata_simulator::quantity::{self, QuantityError};

use super::terms::terms;
use super::version;
use crate::api::{self, Amount, Amounts, BudgetPolicy, TenantSpec, TenantStatus, labels};
use crate::budgets::SPENT;
use crate::tenancy::Wrong;

/// What the controller keeps of a Tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantView {
    /// Its name.
    pub id: TenantId,
    /// Grows with each change. A change must be based on it.
    pub version: u64,
    /// Grows with each change of the spec.
    pub generation: i64,
    /// Its UID, for whoever tells something about it.
    pub uid: Option<String>,
    /// What is due to it over time, or what is wrong with its spec.
    pub terms: Result<Terms, String>,
    /// The tenant as the core sees it: what is due as of the moment that it was last brought to.
    pub tenant: Result<Tenant, String>,
    /// The PriorityClasses that its jobs may name; `None` where nothing is said.
    pub classes: Option<BTreeSet<String>>,
    /// What the ledger says of it.
    pub account: Account,
    /// What it shows.
    pub status: TenantStatus,
}

/// Who pays for what a tenant holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The team that it is an environment of.
    pub team: Option<String>,
    /// The name of that environment.
    pub environment: Option<String>,
    /// What people call it.
    pub display_name: Option<String>,
    /// Its cost centre.
    pub cost_center: Option<String>,
    /// Its department.
    pub department: Option<String>,
}

impl Account {
    fn new(object: &api::Tenant) -> Self {
        let label = |key| object.labels().get(key).cloned();
        let spec = &object.spec;
        Self {
            team: label(labels::TEAM),
            environment: label(labels::ENVIRONMENT),
            display_name: spec.display_name.clone(),
            cost_center: spec.cost_center.clone(),
            department: spec.department.clone(),
        }
    }
}

impl TenantView {
    /// What the controller keeps of `object`.
    #[must_use]
    pub fn new(object: &api::Tenant) -> Self {
        let name = object.name_any();
        let base = tenant(&name, &object.spec);
        let base = base.map_err(|(field, error)| format!("{field}: {error}"));
        let first = |wrong: Vec<Wrong>| wrong.first().map(ToString::to_string).unwrap_or_default();
        let terms = base.and_then(|base| terms(base, &object.spec).map_err(first));
        let terms = terms.map(|terms| within_budget(terms, object));
        let classes = object.spec.priority_classes.as_ref();
        Self {
            id: TenantId::from(name.as_str()),
            version: version(&object.metadata),
            generation: object.metadata.generation.unwrap_or_default(),
            uid: object.metadata.uid.clone(),
            tenant: terms.clone().map(|terms| terms.base),
            terms,
            classes: classes.map(|classes| classes.iter().cloned().collect()),
            account: Account::new(object),
            status: object.status.clone().unwrap_or_default(),
        }
    }

    /// Brings what is due to a moment. When something else is due next, if ever.
    pub fn bring_to(&mut self, now: Timestamp) -> Option<Timestamp> {
        let terms = self.terms.as_ref().ok()?;
        if terms.is_fixed() {
            return None;
        }
        self.tenant = Ok(terms.at(now));
        terms.next_change(now)
    }
}

/// The same terms, as they are once the budget is spent, if it is.
fn within_budget(mut terms: Terms, object: &api::Tenant) -> Terms {
    let shown = object.status.iter().flat_map(|status| &status.conditions);
    let mut spent = shown.filter(|shown| shown.type_ == SPENT && shown.status == "True");
    let policy = spent.next().map(|spent| spent.reason.as_str());
    terms.base.exhausted = policy == Some(BudgetPolicy::BlockNew.name());
    terms.base.deferred = policy == Some(BudgetPolicy::LowerPriority.name());
    terms
}

/// A tenant as the core sees it.
///
/// # Errors
/// The field and what is wrong with it, for what the CRD's rules let pass.
pub fn tenant(name: &str, spec: &TenantSpec) -> Result<Tenant, (String, QuantityError)> {
    let weight = quantity::parse_weight(spec.weight.as_str());
    let mut tenant = Tenant {
        parent: spec.parent.as_deref().map(TenantId::from),
        weight: weight.map_err(|error| ("spec.weight".to_owned(), error))?,
        pool: spec.node_pool().map(Into::into),
        ..Tenant::new(name)
    };
    for (resource, amount) in amounts("guaranteed", &spec.guaranteed)? {
        tenant.guaranteed = Resources::with(tenant.guaranteed, resource, amount);
    }
    for (resource, amount) in amounts("lendingLimit", &spec.lending_limit)? {
        tenant.lending_limit = Limits::with(tenant.lending_limit, resource, amount);
    }
    for (resource, amount) in amounts("limit", &spec.limit)? {
        tenant.limit = Limits::with(tenant.limit, resource, amount);
    }
    Ok(tenant)
}

pub(super) fn amounts(
    field: &str,
    amounts: &Amounts,
) -> Result<Vec<(Resource, u64)>, (String, QuantityError)> {
    let written = |resource| match resource {
        Resource::Gpu => amounts.gpu.as_ref(),
        Resource::Cpu => amounts.cpu.as_ref(),
        Resource::Memory => amounts.memory.as_ref(),
        Resource::GpuMemory => None,
    };
    let read = |(resource, amount): (Resource, &Amount)| {
        let amount = quantity::parse(resource, amount.as_str());
        let amount = amount.map_err(|error| (format!("spec.{field}.{resource}"), error))?;
        Ok((resource, amount))
    };
    let named = Resource::ALL
        .into_iter()
        .filter_map(|r| Some((r, written(r)?)));
    named.map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Tenant, (String, QuantityError)> {
        tenant("red", &serde_saphyr::from_str(yaml).unwrap())
    }

    #[test]
    fn reads_every_field() {
        let yaml = "{parent: lab, weight: 1/2, guaranteed: {gpu: 48}, lendingLimit: {gpu: 8}, \
                    limit: {gpu: 64, memory: 1Ti}, compliance: {class: pci, nodePool: cards}}";
        let red = read(yaml).unwrap();
        assert_eq!(red.pool.as_deref(), Some("cards"));
        assert_eq!(red.parent, Some("lab".into()));
        assert_eq!(red.lending_limit.get(Resource::Gpu), Some(8000));
        assert_eq!(red.weight, quantity::parse_weight("1/2").unwrap());
        assert_eq!(red.guaranteed, Resources::gpus(48));
        assert_eq!(red.limit.get(Resource::Gpu), Some(64_000));
        assert_eq!(red.limit.get(Resource::Memory), Some(1 << 40));
        assert_eq!(red.limit.get(Resource::Cpu), None);
    }

    #[test]
    fn a_budget_that_is_spent_changes_what_starts_next() {
        let with = |reason: &str, status: &str| {
            let object = serde_json::json!({
                "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "red"},
                "spec": {"weight": 2},
                "status": {"conditions": [{
                    "type": SPENT, "status": status, "reason": reason, "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }]},
            });
            TenantView::new(&serde_json::from_value(object).unwrap())
                .tenant
                .unwrap()
        };
        let seen = |tenant: Tenant| {
            assert_eq!(tenant.weight, quantity::parse_weight("2").unwrap());
            (tenant.exhausted, tenant.deferred)
        };
        assert_eq!(seen(with("BlockNew", "True")), (true, false));
        assert_eq!(seen(with("LowerPriority", "True")), (false, true));
        assert_eq!(seen(with("Notify", "True")), (false, false));
        assert_eq!(seen(with("BlockNew", "False")), (false, false));
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let (field, error) = read("{limit: {gpu: 1E}}").unwrap_err();
        assert_eq!(field, "spec.limit.gpu");
        assert!(error.to_string().contains("more than any node"), "{error}");
    }
}
