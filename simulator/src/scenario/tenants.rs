//! Who shares the machines of a scenario.

use prorata_core::{Limits, Resource, Resources, Tenant, TenantId, pool};
use serde_saphyr::Location;

use super::fields::{Fields, key};
use super::file::{self, File};
use super::manifests;
use super::written::{Map, Written};
use super::{Pool, capacity};
use crate::calendar::Terms;
use crate::problem::Problem;

/// The tenants; `None` may be described where a trace brings its own.
/// Also, what of them changes over time.
pub(super) fn tenants(
    fields: &mut Fields<'_>,
    written: &File,
    pools: &[Pool],
) -> (Vec<Tenant>, Vec<Terms>) {
    let mut tenants: Vec<Tenant> = Vec::new();
    let mut changing = Vec::new();
    let list = written.tenants.as_ref();
    for (index, tenant) in list.iter().flat_map(|list| &list.value).enumerate() {
        let path = format!("tenants[{index}]");
        let Some(tenant) = fields.below(&path, tenant, "- name: research") else {
            // Its name it is, most likely, so what refers to it is not told to be wrong too.
            tenants.extend(misplaced_name(tenant));
            continue;
        };
        let name = format!("{path}.name");
        let read = self::tenant(fields, (&path, &name), tenant, pools);
        if tenants.iter().any(|known| known.id == read.id) {
            let what = format!("`{}` is described twice", read.id);
            fields.wrong(tenant.name.referenced, &name, what, "keep one of them");
        }
        tenants.push(read);
    }
    if let Some(file) = &written.tenants_from {
        manifests::tenants(fields, file, pools, (&mut tenants, &mut changing));
    }
    if tenants.is_empty() && written.trace.is_none() {
        let at = list.map_or(written.name.referenced, |list| list.referenced);
        let remedy = "describe at least one tenant, such as `- name: research`";
        fields.wrong(at, "tenants", "there are none", remedy);
    }
    tree(fields, written, &tenants);
    (tenants, changing)
}

fn misplaced_name(written: &Written<file::Tenant>) -> Option<Tenant> {
    match &written.value {
        Map::Scalar(name) => Some(Tenant::new(name)),
        Map::Fields(_) => None,
    }
}

/// A tenant, with what its fields and its name are called in the file.
pub(super) fn tenant(
    fields: &mut Fields<'_>,
    (path, name): (&str, &str),
    written: &file::Tenant,
    pools: &[Pool],
) -> Tenant {
    let name = fields.name(name, &written.name.value, written.name.referenced);
    let mut tenant = Tenant::new(&name);
    tenant.parent = written
        .parent
        .as_ref()
        .map(|parent| parent.value.as_str().into());
    tenant.pool = written.node_pool.as_ref().map(|named| {
        let label = |pool: &Pool| pool.node.labels.get(pool::LABEL).cloned();
        let known: Vec<_> = pools.iter().filter_map(label).collect();
        let nobody = format!("no pool has the label {} with the value", pool::LABEL);
        let field = format!("{path}.nodePool");
        fields.known(&field, named, &nobody, known.iter().map(|value| &**value));
        named.value.as_str().into()
    });
    tenant.weight = fields.weight(&format!("{path}.weight"), written.weight.as_ref());
    let mut amounts = |name: &str, written: Option<&Written<file::Amounts>>| {
        let field = format!("{path}.{name}");
        let amounts = fields.amounts(&field, written);
        for (resource, _, at) in &amounts {
            limited(
                fields,
                &format!("{field}.{}", key(*resource)),
                (*resource, *at),
                pools,
            );
        }
        amounts
    };
    let limit = amounts("limit", written.limit.as_ref());
    let lending = amounts("lendingLimit", written.lending_limit.as_ref());
    let guaranteed = amounts("guaranteed", written.guaranteed.as_ref());
    tenant.limit = limits(&limit);
    tenant.lending_limit = limits(&lending);
    for (resource, amount, at) in guaranteed {
        if tenant
            .limit
            .get(resource)
            .is_some_and(|limit| limit < amount)
        {
            let field = format!("{path}.guaranteed.{}", key(resource));
            let remedy = "raise the limit or lower the guarantee";
            fields.wrong(at, &field, "is more than the tenant's limit", remedy);
        }
        tenant.guaranteed = tenant.guaranteed.with(resource, amount);
    }
    tenant
}

fn limits(amounts: &[(Resource, u64, Location)]) -> Limits {
    let add = |limits: Limits, (r, amount, _): &(_, u64, _)| limits.with(*r, *amount);
    amounts.iter().fold(Limits::NONE, add)
}

/// What no pool says that it has is not limited: whoever names it expects something else.
pub(super) fn limited(
    fields: &mut Fields<'_>,
    field: &str,
    (resource, at): (Resource, Location),
    pools: &[Pool],
) {
    let has = |pool: &Pool| match resource {
        // Pools without GPUs are pools that say so.
        Resource::Gpu => true,
        Resource::GpuMemory => pool.node.gpus.memory > 0 || pool.node.gpus.profile(0).is_some(),
        r => pool.node.allocatable.get(r) > 0,
    };
    if !pools.is_empty() && !pools.iter().any(has) {
        let name = key(resource);
        let what = format!("no pool says how much {name} its nodes have, so it is not limited");
        let remedy = format!("add `{name}:` to the pools, or leave it out here");
        fields.wrong(at, field, what, remedy);
    }
}

/// Parents that there are, without circles, that guarantee no less than their children.
fn tree(fields: &mut Fields<'_>, written: &File, tenants: &[Tenant]) {
    let list = written.tenants.iter().flat_map(|list| &list.value);
    let described = list.map(|tenant| tenant.value.fields());
    for (index, described) in described.enumerate() {
        let Some((described, parent)) = described.and_then(|d| Some((d, d.parent.as_ref()?)))
        else {
            continue;
        };
        let field = format!("tenants[{index}].parent");
        let names = tenants.iter().map(|tenant| tenant.id.as_str());
        fields.known(&field, parent, "no tenant is called", names);
        if is_below_itself(tenants, &described.name.value) {
            let what = format!("`{}` is above itself", described.name.value);
            let remedy = "leave out the parent of one tenant of the circle";
            fields.wrong(parent.referenced, &field, what, remedy);
        }
    }
    let list = written.tenants.iter().flat_map(|list| &list.value);
    for (index, (tenant, described)) in tenants.iter().zip(list).enumerate() {
        let children = guaranteed_below(tenants, &tenant.id);
        let is_less = |r: &Resource| (1..children.get(*r)).contains(&tenant.guaranteed.get(*r));
        for resource in Resource::ALL.into_iter().filter(is_less) {
            let field = format!("tenants[{index}].guaranteed.{}", key(resource));
            let what = "is less than what its children are guaranteed together";
            let remedy = "raise it, or lower theirs: a parent's guarantee is what all below it own";
            fields.wrong(described.referenced, &field, what, remedy);
        }
        if let Some(rival) = rival(tenants, tenant) {
            let field = format!("tenants[{index}].nodePool");
            fields.wrong(described.referenced, &field, claimed_by(rival), APART);
        }
    }
}

/// What to do about a pool that two tenants claim.
pub(super) const APART: &str = "name another pool in one of them: its tenant has it alone";

pub(super) fn claimed_by(rival: &Tenant) -> String {
    format!("is the pool of `{}` too", rival.id)
}

/// Another tenant with the pool of this one, where neither is above the other.
pub(super) fn rival<'t>(tenants: &'t [Tenant], tenant: &Tenant) -> Option<&'t Tenant> {
    let pool = tenant.pool.as_ref()?;
    let is_below = |tenant: &Tenant, other: &Tenant| {
        let mut above = above(tenants, &tenant.id).take(tenants.len());
        above.any(|above| above == other.id)
    };
    tenants.iter().find(|other| {
        let claims = other.pool.as_ref() == Some(pool) && other.id != tenant.id;
        claims && !is_below(other, tenant) && !is_below(tenant, other)
    })
}

/// Those above a tenant, from its parent on; for ever where they form a circle.
fn above(tenants: &[Tenant], id: &TenantId) -> impl Iterator<Item = TenantId> {
    let parent = |of: &TenantId| {
        let tenant = tenants.iter().find(|tenant| tenant.id == *of);
        tenant.and_then(|tenant| tenant.parent.clone())
    };
    std::iter::successors(parent(id), parent)
}

pub(super) fn is_below_itself(tenants: &[Tenant], name: &str) -> bool {
    let id = TenantId::from(name);
    let mut above = above(tenants, &id).take(tenants.len());
    above.any(|above| above == id)
}

pub(super) fn guaranteed_below(tenants: &[Tenant], parent: &TenantId) -> Resources {
    let children = tenants.iter().filter(|t| t.parent.as_ref() == Some(parent));
    let add = |sum: Resources, child: &Tenant| sum.checked_add(&child.guaranteed).unwrap_or(sum);
    children.fold(Resources::ZERO, add)
}

/// Promises that the machines cannot keep, as a cluster would report them too.
pub(super) fn overcommitted(
    fields: &Fields<'_>,
    written: &File,
    pools: &[Pool],
    tenants: &[Tenant],
) -> Vec<Problem> {
    let capacity = capacity(pools);
    let at = written.tenants.as_ref();
    let at = at.map_or(written.name.referenced, |tenants| tenants.referenced);
    let promised = |r: Resource| -> u128 {
        let top = tenants.iter().filter(|tenant| tenant.parent.is_none());
        let below = |t: &Tenant| guaranteed_below(tenants, &t.id).get(r);
        top.map(|t| u128::from(t.guaranteed.get(r).max(below(t))))
            .sum()
    };
    let over =
        |r: &Resource| *r != Resource::GpuMemory && promised(*r) > u128::from(capacity.get(*r));
    let warn = |r: Resource| {
        let what = format!("the guarantees of {r} sum to more than all pools have");
        let remedy = "lower the guarantees or add nodes; until then they cannot all be kept";
        fields.warning(at, "tenants", &what, remedy)
    };
    Resource::ALL.into_iter().filter(over).map(warn).collect()
}
