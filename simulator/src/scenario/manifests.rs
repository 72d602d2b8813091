//! The `Tenant` objects of a cluster as the tenants of a scenario: what the queue knows of them. What
//! they say of namespaces, members, networks and the like does not matter here.

use std::fs;

use prorata_core::{Resource, Resources, Tenant};
use serde::Deserialize;
use serde_saphyr::Location;

use super::Pool;
use super::changes::{self, GrantText, ScheduleText};
use super::fields::{Fields, key};
use super::file::{self, Amounts};
use super::tenants::{self, guaranteed_below, is_below_itself};
use super::written::{Text, Written};
use crate::calendar::Terms;
use crate::problem::Problem;
use crate::split::parted;

const API_VERSION: &str = "prorata.dev/v1alpha1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    api_version: Text,
    kind: Text,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Text,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    parent: Option<Text>,
    weight: Option<Text>,
    guaranteed: Option<Written<Amounts>>,
    lending_limit: Option<Written<Amounts>>,
    limit: Option<Written<Amounts>>,
    #[serde(default)]
    environments: Vec<Environment>,
    quotas: Option<String>,
    #[serde(default)]
    compliance: Compliance,
    #[serde(default)]
    schedules: Vec<ScheduleText>,
    #[serde(default)]
    grants: Vec<GrantText>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Compliance {
    node_pool: Option<Text>,
}

#[derive(Deserialize)]
struct Environment {
    name: Text,
    percent: Option<Text>,
}

/// Adds the tenants of a file, each with its environments below it: `TENANT-ENVIRONMENT`.
pub(super) fn tenants(
    fields: &mut Fields<'_>,
    file: &Text,
    pools: &[Pool],
    (tenants, changing): (&mut Vec<Tenant>, &mut Vec<Terms>),
) {
    let path = fields.beside(&file.value);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let what = format!("`{}` cannot be read: {error}", path.display());
            fields.wrong(
                file.referenced,
                "tenantsFrom",
                what,
                "name a file with Tenants",
            );
            return;
        }
    };
    fields.also_read(&text);
    let name = path.display().to_string();
    let mut inner = Fields::new(&name);
    match serde_saphyr::from_multiple::<Manifest>(&text) {
        Ok(manifests) => add(&mut inner, manifests, pools, (tenants, changing)),
        Err(error) => inner.problems.push(Problem::of_yaml(&name, &error)),
    }
    fields.problems.append(&mut inner.problems);
}

fn add(
    fields: &mut Fields<'_>,
    manifests: Vec<Manifest>,
    pools: &[Pool],
    (tenants, changing): (&mut Vec<Tenant>, &mut Vec<Terms>),
) {
    let mut described = Vec::new();
    for manifest in manifests {
        for (field, text, right) in [
            ("apiVersion", &manifest.api_version, API_VERSION),
            ("kind", &manifest.kind, "Tenant"),
        ] {
            if text.value != right {
                let what = format!("`{}` is not what tenants are described by", text.value);
                fields.wrong(
                    text.referenced,
                    field,
                    what,
                    format!("write {right}, or keep it in another file"),
                );
            }
        }
        // The controller makes these of the environments of their tenants, and so do we.
        if manifest
            .metadata
            .owner_references
            .iter()
            .any(|owner| owner.kind == "Tenant")
        {
            continue;
        }
        let at = manifest.metadata.name.referenced;
        for terms in with_environments(fields, manifest, pools) {
            let tenant = terms.base.clone();
            if tenants.iter().any(|known| known.id == tenant.id) {
                let what = format!("`{}` is described twice", tenant.id);
                fields.wrong(at, "metadata.name", what, "keep one of them");
            }
            described.push((tenant.clone(), at));
            tenants.push(tenant);
            if !terms.is_fixed() {
                changing.push(terms);
            }
        }
    }
    for (tenant, at) in &described {
        stands(fields, tenant, *at, tenants);
    }
}

fn with_environments(fields: &mut Fields<'_>, manifest: Manifest, pools: &[Pool]) -> Vec<Terms> {
    let Spec {
        parent,
        weight,
        guaranteed,
        lending_limit,
        limit,
        environments,
        quotas,
        compliance,
        schedules,
        grants,
    } = manifest.spec;
    let written = file::Tenant {
        name: manifest.metadata.name,
        parent,
        weight,
        guaranteed,
        lending_limit,
        limit,
        node_pool: compliance.node_pool,
    };
    let team = tenants::tenant(fields, ("spec", "metadata.name"), &written, pools);
    let weights: Vec<u32> = environments
        .iter()
        .enumerate()
        .map(|(index, part)| percent(fields, index, part))
        .collect();
    let mut parts: Vec<Tenant> = environments
        .iter()
        .map(|part| Tenant {
            parent: Some(team.id.clone()),
            ..Tenant::new(&format!("{}-{}", team.id, part.name.value))
        })
        .collect();
    for resource in Resource::ALL {
        let amounts = parted(resource, team.guaranteed.get(resource), &weights);
        for (part, amount) in parts.iter_mut().zip(amounts) {
            part.guaranteed = part.guaranteed.with(resource, amount);
            if quotas.as_deref() == Some("hard") && resource == Resource::Gpu {
                part.limit = part.limit.with(resource, amount);
            }
        }
    }
    let terms = changes::terms(fields, &team, (&schedules, &grants));
    let mut all: Vec<Terms> = parts
        .iter()
        .enumerate()
        .map(|(index, part)| changes::of_environment(&terms, part, index, &weights))
        .collect();
    all.insert(0, terms);
    all
}

/// What of a tenant's guarantee an environment has, as a cluster has it too.
fn percent(fields: &mut Fields<'_>, index: usize, part: &Environment) -> u32 {
    let field = format!("spec.environments[{index}].percent");
    match (&part.percent, part.name.value.as_str()) {
        (Some(text), _) => fields.number(&field, text, 0, 100),
        (None, "dev") => 30,
        (None, "staging") => 20,
        (None, "prod") => 50,
        (None, _) => {
            fields.wrong(
                part.name.referenced,
                &field,
                "is missing",
                "add `percent:`; only dev, staging and prod have one by default",
            );
            0
        }
    }
}

/// Whether a tenant stands below one that there is, without a circle, and is guaranteed no less than
/// all below it.
fn stands(fields: &mut Fields<'_>, tenant: &Tenant, at: Location, tenants: &[Tenant]) {
    let known = |id: &prorata_core::TenantId| tenants.iter().any(|tenant| tenant.id == *id);
    if let Some(parent) = tenant.parent.as_ref().filter(|parent| !known(parent)) {
        let what = format!("no tenant is called `{parent}`");
        fields.wrong(
            at,
            "spec.parent",
            what,
            "describe it too, here or in the scenario",
        );
    }
    if is_below_itself(tenants, tenant.id.as_str()) {
        let what = format!("`{}` is above itself", tenant.id);
        fields.wrong(
            at,
            "spec.parent",
            what,
            "leave out the parent of one tenant of the circle",
        );
    }
    let below: Resources = guaranteed_below(tenants, &tenant.id);
    let is_less = |r: &Resource| (1..below.get(*r)).contains(&tenant.guaranteed.get(*r));
    for resource in Resource::ALL.into_iter().filter(is_less) {
        let field = format!("spec.guaranteed.{}", key(resource));
        let what = "is less than what its children are guaranteed together";
        let remedy = "raise it, or lower theirs: a parent's guarantee is what all below it own";
        fields.wrong(at, &field, what, remedy);
    }
    if let Some(rival) = tenants::rival(tenants, tenant) {
        let field = "spec.compliance.nodePool";
        fields.wrong(at, field, tenants::claimed_by(rival), tenants::APART);
    }
}
