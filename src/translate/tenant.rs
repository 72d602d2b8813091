//! Tenants.

use prorata_core::{Limits, Resource, Resources, Tenant};
use prorata_simulator::quantity::{self, QuantityError};

use crate::api::{Amount, Amounts, TenantSpec};

/// A tenant as the core sees it.
///
/// # Errors
/// The field and what is wrong with it, for what the CRD's rules let pass.
pub fn tenant(name: &str, spec: &TenantSpec) -> Result<Tenant, (String, QuantityError)> {
    let weight = quantity::parse_weight(spec.weight.as_str());
    let mut tenant = Tenant {
        weight: weight.map_err(|error| ("spec.weight".to_owned(), error))?,
        ..Tenant::new(name)
    };
    for (resource, amount) in amounts("guaranteed", &spec.guaranteed)? {
        tenant.guaranteed = Resources::with(tenant.guaranteed, resource, amount);
    }
    for (resource, amount) in amounts("limit", &spec.limit)? {
        tenant.limit = Limits::with(tenant.limit, resource, amount);
    }
    Ok(tenant)
}

fn amounts(
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
        let red =
            read("{weight: 1/2, guaranteed: {gpu: 48}, limit: {gpu: 64, memory: 1Ti}}").unwrap();
        assert_eq!(red.weight, quantity::parse_weight("1/2").unwrap());
        assert_eq!(red.guaranteed, Resources::gpus(48));
        assert_eq!(red.limit.get(Resource::Gpu), Some(64_000));
        assert_eq!(red.limit.get(Resource::Memory), Some(1 << 40));
        assert_eq!(red.limit.get(Resource::Cpu), None);
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let (field, error) = read("{limit: {gpu: 1E}}").unwrap_err();
        assert_eq!(field, "spec.limit.gpu");
        assert!(error.to_string().contains("more than any node"), "{error}");
    }
}
