//! The `tenant` line.

use std::collections::BTreeSet;

use prorata_core::{Resource, Tenant, TenantId};

use super::settings::{Settings, split};
use super::wrong::Wrong;
use crate::quantity;

const KEYS: [&str; 8] = [
    "parent",
    "weight",
    "guaranteed",
    "limit",
    "lend",
    "exhausted",
    "pool",
    "deferred",
];

/// The tenants that a line describes. `named` are the resources that some node names, `known`
/// the tenants so far.
pub(super) fn describe(
    names: &str,
    settings: &Settings<'_>,
    named: &BTreeSet<Resource>,
    known: &mut BTreeSet<TenantId>,
) -> Result<Vec<Tenant>, Wrong> {
    settings.only(&KEYS)?;
    let mut tenant = Tenant::new("");
    if let Some(text) = settings.get("weight") {
        let weight = quantity::parse_weight(text);
        tenant.weight = weight.map_err(|e| Wrong::quantity("weight", &e))?;
    }
    for (resource, amount) in settings.amounts("guaranteed")? {
        tenant.guaranteed = tenant.guaranteed.with(resource, amount);
    }
    tenant.limit = settings.caps("limit")?;
    tenant.lending_limit = settings.caps("lend")?;
    let unnamed = |r: &Resource| tenant.limit.get(*r).is_some() && !named.contains(r);
    if let Some(resource) = Resource::ALL.into_iter().find(unnamed) {
        let what = format!("no node names {resource}, so this limit could never bind");
        let remedy = format!("add {resource}= to a node line");
        return Err(Wrong::new("limit", what, remedy));
    }
    tenant.exhausted = settings.flag("exhausted", false)?;
    tenant.pool = settings.get("pool").map(Into::into);
    tenant.deferred = settings.flag("deferred", false)?;
    if let Some(parent) = settings.get("parent") {
        if !known.contains(&TenantId::from(parent)) {
            let what = format!("no tenant is called {parent}");
            return Err(Wrong::new("parent", what, "name it in a tenant line above"));
        }
        tenant.parent = Some(parent.into());
    }
    let called = |name: &str| Tenant {
        id: name.into(),
        ..tenant.clone()
    };
    let tenants: Vec<Tenant> = split("tenant", names)?.into_iter().map(called).collect();
    known.extend(tenants.iter().map(|tenant| tenant.id.clone()));
    Ok(tenants)
}
