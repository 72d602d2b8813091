//! Whether a scenario as written makes sense, and what it then is.

use prorata_core::{Limits, Order, Resource, Resources, Tenant};

use super::fields::Fields;
use super::file::{self, File, Map, Written};
use super::{ORDERS, Pool, Scenario, capacity, streams};
use crate::problem::{Problem, suggest};

const API_VERSION: &str = "sim.prorata.dev/v1alpha1";
const NODES_MAX: u64 = 65_536;

/// The scenario, without its hash.
pub(super) fn check(file: &str, written: &File) -> Result<Scenario, Vec<Problem>> {
    let mut fields = Fields::new(file);
    header(&mut fields, written);
    let name = fields.name("name", &written.name.value, written.name.referenced);
    let seed = written
        .seed
        .as_ref()
        .map(|s| fields.number("seed", s, 0, u64::MAX));
    let pools = pools(&mut fields, written);
    let tenants = tenants(&mut fields, written);
    let orders = orders(&mut fields, written.policy.as_ref());
    let streams = streams::streams(&mut fields, &written.workload, &tenants);
    let until = written.until.as_ref().map(|u| fields.span("until", u));
    if !fields.problems.is_empty() {
        return Err(fields.problems);
    }
    Ok(Scenario {
        name,
        description: written.description.trim().to_owned(),
        seed: seed.unwrap_or_default(),
        warnings: overcommitted(&fields, written, &pools, &tenants),
        pools,
        tenants,
        classes: std::collections::BTreeMap::new(),
        orders,
        policy: prorata_core::Policy::default(),
        mix_percent: 95,
        streams,
        replay: crate::workload::Replay::default(),
        trace: None,
        faults: Vec::new(),
        interference: crate::interference::Interference::table(),
        grace: std::time::Duration::ZERO,
        until,
        input_hash: String::new(),
    })
}

fn header(fields: &mut Fields<'_>, written: &File) {
    let expected = [
        ("apiVersion", &written.api_version, API_VERSION),
        ("kind", &written.kind, "Scenario"),
    ];
    for (field, text, right) in expected {
        if text.value != right {
            let what = format!("`{}` is not known", text.value);
            fields.wrong(text.referenced, field, what, format!("write {right}"));
        }
    }
}

fn pools(fields: &mut Fields<'_>, written: &File) -> Vec<Pool> {
    let mut pools = Vec::new();
    for (name, written) in &written.pools {
        let path = format!("pools.{name}");
        fields.name(&path, name, written.referenced);
        let example = format!("{name}: {{count: 4, gpus: 8, cpu: 96, memory: 1Ti}}");
        let Some(pool) = fields.below(&path, written, &example) else {
            continue;
        };
        let offer = Resources::ZERO
            .with(
                Resource::Gpu,
                fields.whole_gpus(&format!("{path}.gpus"), &pool.gpus),
            )
            .with(
                Resource::Cpu,
                fields.amount(&format!("{path}.cpu"), Resource::Cpu, &pool.cpu),
            )
            .with(
                Resource::Memory,
                fields.amount(&format!("{path}.memory"), Resource::Memory, &pool.memory),
            );
        let mut node = prorata_core::Node::new(name);
        node.allocatable = offer;
        node.gpus.model = pool.model.as_deref().unwrap_or_default().into();
        pools.push(Pool {
            name: name.clone(),
            count: fields.number(&format!("{path}.count"), &pool.count, 1, 65_536),
            node,
            price: None,
            failures: None,
        });
    }
    let nodes: u64 = pools.iter().map(|pool| u64::from(pool.count)).sum();
    if written.pools.is_empty() || nodes > NODES_MAX {
        let what = format!("have {nodes} nodes together");
        let remedy = format!(
            "describe 1 to {NODES_MAX} nodes, such as `small: {{count: 4, gpus: 8, cpu: 96, memory: 1Ti}}`"
        );
        fields.wrong(written.name.referenced, "pools", what, remedy);
    }
    pools
}

fn tenants(fields: &mut Fields<'_>, written: &File) -> Vec<Tenant> {
    let mut tenants: Vec<Tenant> = Vec::new();
    for (index, tenant) in written.tenants.value.iter().enumerate() {
        let path = format!("tenants[{index}]");
        let example = "- name: research";
        let Some(tenant) = fields.below(&path, tenant, example) else {
            // Its name it is, most likely, so what refers to it is not told to be wrong too.
            tenants.extend(misplaced_name(tenant));
            continue;
        };
        let read = self::tenant(fields, &path, tenant);
        if tenants.iter().any(|known| known.id == read.id) {
            let what = format!("`{}` is described twice", read.id);
            fields.wrong(
                tenant.name.referenced,
                &format!("{path}.name"),
                what,
                "keep one of them",
            );
        }
        tenants.push(read);
    }
    if tenants.is_empty() {
        let remedy = "describe at least one tenant, such as `- name: research`";
        fields.wrong(
            written.tenants.referenced,
            "tenants",
            "there are none",
            remedy,
        );
    }
    tenants
}

fn misplaced_name(written: &Written<file::Tenant>) -> Option<Tenant> {
    match &written.value {
        Map::Scalar(name) => Some(Tenant::new(name)),
        Map::Fields(_) => None,
    }
}

fn tenant(fields: &mut Fields<'_>, path: &str, written: &file::Tenant) -> Tenant {
    let name = &written.name;
    let name = fields.name(&format!("{path}.name"), &name.value, name.referenced);
    let mut tenant = Tenant::new(&name);
    tenant.weight = fields.weight(&format!("{path}.weight"), written.weight.as_ref());
    let limits = fields.amounts(&format!("{path}.limit"), written.limit.as_ref());
    let limit = |limits: Limits, (r, amount, _): &(_, u64, _)| limits.with(*r, *amount);
    tenant.limit = limits.iter().fold(Limits::NONE, limit);
    for (resource, amount, at) in
        fields.amounts(&format!("{path}.guaranteed"), written.guaranteed.as_ref())
    {
        if tenant
            .limit
            .get(resource)
            .is_some_and(|limit| limit < amount)
        {
            let field = format!("{path}.guaranteed.{resource}");
            let remedy = "raise the limit or lower the guarantee";
            fields.wrong(at, &field, "is more than the tenant's limit", remedy);
        }
        tenant.guaranteed = tenant.guaranteed.with(resource, amount);
    }
    tenant
}

fn orders(fields: &mut Fields<'_>, policy: Option<&Written<file::Policy>>) -> Vec<Order> {
    let example = "policy: {orders: [fifo, drf]}";
    let policy = policy.and_then(|policy| fields.below("policy", policy, example));
    let Some(written) = policy.and_then(|policy| policy.orders.as_ref()) else {
        return vec![Order::Fifo, Order::Drf];
    };
    let mut orders = Vec::new();
    for (index, name) in written.iter().enumerate() {
        let field = format!("policy.orders[{index}]");
        match ORDERS.iter().find(|(known, _)| *known == name.value) {
            Some((_, order)) if orders.contains(order) => {
                let what = format!("`{}` is named twice", name.value);
                fields.wrong(name.referenced, &field, what, "keep one of them");
            }
            Some((_, order)) => orders.push(*order),
            None => {
                let what = format!("`{}` is not an order", name.value);
                let remedy = suggest(&name.value, ORDERS.map(|(known, _)| known));
                fields.wrong(name.referenced, &field, what, remedy);
            }
        }
    }
    if orders.is_empty() {
        vec![Order::Fifo, Order::Drf]
    } else {
        orders
    }
}

/// Promises that the machines cannot keep, as a cluster would report them too.
fn overcommitted(
    fields: &Fields<'_>,
    written: &File,
    pools: &[Pool],
    tenants: &[Tenant],
) -> Vec<Problem> {
    let capacity = capacity(pools);
    let promised = |r: Resource| {
        tenants
            .iter()
            .map(|t| u128::from(t.guaranteed.get(r)))
            .sum::<u128>()
    };
    let over = |r: &Resource| promised(*r) > u128::from(capacity.get(*r));
    let warn = |r: Resource| {
        let what = format!("the guarantees of {r} sum to more than all pools have");
        let remedy = "lower the guarantees or add nodes; until then they cannot all be kept";
        fields.warning(written.tenants.referenced, "tenants", &what, remedy)
    };
    Resource::ALL.into_iter().filter(over).map(warn).collect()
}
