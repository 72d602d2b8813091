//! All objects that a Tenant becomes. Pure: the same Tenant gives the same plan.

use prorata_core::Resource;
use prorata_simulator::quantity;
use prorata_simulator::split::parted;

use super::check::{self, Reader};
use super::namespace::{Template, is_name};
use super::object::Wanted;
use super::{child, limits, members, namespace, network, quota};
use crate::api::{Amounts, Size, Storage, TenantSpec};
use crate::translate;

/// What an administrator chooses for all tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How namespaces are called.
    pub template: Template,
    /// The resource that pods name to get a GPU.
    pub gpu_resource: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            template: Template::default(),
            gpu_resource: crate::api::labels::GPU_RESOURCE.to_owned(),
        }
    }
}

/// What a Tenant becomes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Its environments, and what is left of former ones.
    pub parts: Vec<Part>,
    /// The objects, each after those that it needs.
    pub objects: Vec<Wanted>,
}

/// An environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The child of the tenant that it is.
    pub child: String,
    /// The PriorityClasses that its jobs may name, where it says so.
    pub priority_classes: Option<Vec<String>>,
    /// Its part of what the tenant is guaranteed, in the core's units.
    pub guaranteed: Vec<(Resource, u64)>,
    /// Its part of the tenant's storage in bytes, by the key of a quota.
    pub storage: Vec<(String, u64)>,
    /// Whether its Tenant names it no more, and only its namespace is left.
    pub is_left: bool,
}

impl Part {
    /// What it is guaranteed, such as `2 gpu, 60 cpu`; nothing where that is nothing.
    #[must_use]
    pub fn owned(&self) -> String {
        let owned = self.guaranteed.iter().filter(|(_, amount)| *amount > 0);
        let text = |(resource, amount): &(Resource, u64)| {
            let amount = super::quantity::text(*resource, *amount);
            format!("{amount} {}", resource.name())
        };
        owned.map(text).collect::<Vec<_>>().join(", ")
    }
}

/// What is labelled as an environment of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// The environment.
    pub environment: String,
    /// The namespace; `None` for a child, which may have lost its own.
    pub namespace: Option<String>,
}

/// A field that cannot be made a plan of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}: {remedy}")]
pub struct Wrong {
    /// Its path, such as `spec.environments[0].percent`.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// What all parts of a tenant have in common.
pub(super) struct Whole<'a> {
    pub(super) name: &'a str,
    pub(super) uid: Option<&'a str>,
    pub(super) spec: &'a TenantSpec,
    pub(super) gpu_resource: &'a str,
    pub(super) limit: Vec<(Resource, u64)>,
    pub(super) bounds: Bounds,
    pub(super) parts: &'a [Part],
}

impl<'a> Whole<'a> {
    /// The names of all its namespaces.
    pub(super) fn namespaces(&self) -> Vec<&'a str> {
        let names = self.parts.iter().map(|part| part.namespace.as_str());
        names.collect()
    }
}

/// How large containers and pods are, in the core's units.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    pub(super) containers: ContainerBounds,
    pub(super) pods: PodBounds,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ContainerBounds {
    pub(super) default: Sized,
    pub(super) min: Sized,
    pub(super) max: Sized,
}

#[derive(Clone, Debug, Default)]
pub(super) struct PodBounds {
    pub(super) min: Sized,
    pub(super) max: Sized,
}

/// A size in the core's units.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sized {
    cpu: Option<u64>,
    memory: Option<u64>,
}

impl Sized {
    pub(super) const fn get(&self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::Cpu => self.cpu,
            Resource::Memory => self.memory,
            Resource::Gpu | Resource::GpuMemory => None,
        }
    }
}

impl Plan {
    /// The plan of the Tenant of this name. `uid` is that of the object, once there is one; `left`
    /// is what is labelled as its environments.
    ///
    /// # Errors
    /// Every field that is wrong.
    pub fn new(
        (name, uid): (&str, Option<&str>),
        spec: &TenantSpec,
        left: &[Left],
        settings: &Settings,
    ) -> Result<Self, Vec<Wrong>> {
        let mut wrong = check::spec(spec);
        wrong.extend(check::names(name, spec, &settings.template));
        if spec.environments.is_empty() && left.is_empty() {
            return if wrong.is_empty() {
                Ok(Self::default())
            } else {
                Err(wrong)
            };
        }
        let mut reader = Reader::default();
        let guaranteed = amounts(&mut reader, "spec.guaranteed", &spec.guaranteed);
        let mut limit = amounts(&mut reader, "spec.limit", &spec.limit);
        let bounds = bounds(&mut reader, spec);
        let storage = storage(&mut reader, &spec.storage);
        wrong.extend(reader.into_wrong());
        if !wrong.is_empty() {
            wrong.dedup();
            return Err(wrong);
        }
        // What Kubernetes bounds does not change by the hour, so it bounds at the most.
        if let Ok(base) = translate::tenant(name, spec)
            && let Ok(terms) = translate::terms(base, spec)
        {
            let at_most = |r: Resource, amount| terms.limit_at_most(r).unwrap_or(amount);
            limit
                .iter_mut()
                .for_each(|(r, amount)| *amount = at_most(*r, *amount));
        }
        let mut parts = parts(name, spec, settings, &guaranteed, &storage);
        parts.extend(leftovers(name, spec, left, &parts));
        let whole = Whole {
            name,
            uid,
            spec,
            gpu_resource: &settings.gpu_resource,
            limit,
            bounds,
            parts: &parts,
        };
        let mut objects: Vec<Wanted> = parts
            .iter()
            .flat_map(|part| of_part(&whole, part))
            .collect();
        objects.extend(childless(name, left, &parts).map(|part| child::object(&whole, &part)));
        objects.sort_by_key(|object| object.kind);
        Ok(Self { parts, objects })
    }

    /// Whether the part is the former namespace of an environment that has another one now, whose
    /// child both share.
    pub(super) fn is_moved(&self, part: &Part) -> bool {
        is_moved(&self.parts, part)
    }
}

fn of_part(whole: &Whole<'_>, part: &Part) -> Vec<Wanted> {
    let is_moved = is_moved(whole.parts, part);
    let mut objects = vec![namespace::object(whole.name, whole.spec, part)];
    objects.extend((!is_moved).then(|| child::object(whole, part)));
    objects.extend(network::objects(whole, part));
    objects.extend(limits::object(whole, part));
    objects.extend(members::objects(whole, part));
    // What is left stays as bounded as it was.
    if !part.is_left {
        objects.extend(quota::object(whole, part));
    }
    objects
}

fn parts(
    name: &str,
    spec: &TenantSpec,
    settings: &Settings,
    guaranteed: &[(Resource, u64)],
    storage: &[(String, u64)],
) -> Vec<Part> {
    let weights: Vec<u32> = spec.environments.iter().map(|e| e.percent()).collect();
    let mut parts: Vec<Part> = spec
        .environments
        .iter()
        .map(|environment| Part {
            name: environment.name.clone(),
            namespace: environment
                .namespace
                .clone()
                .unwrap_or_else(|| settings.template.name(name, &environment.name)),
            child: child_name(name, &environment.name),
            priority_classes: environment.priority_classes.clone(),
            guaranteed: Vec::new(),
            storage: Vec::new(),
            is_left: false,
        })
        .collect();
    for (resource, amount) in guaranteed {
        for (part, amount) in parts.iter_mut().zip(parted(*resource, *amount, &weights)) {
            part.guaranteed.push((*resource, amount));
        }
    }
    for (key, amount) in storage {
        for (part, amount) in parts
            .iter_mut()
            .zip(parted(Resource::Memory, *amount, &weights))
        {
            part.storage.push((key.clone(), amount));
        }
    }
    parts
}

fn is_moved(parts: &[Part], part: &Part) -> bool {
    let mut open = parts.iter().filter(|other| !other.is_left);
    part.is_left && open.any(|other| other.child == part.child)
}

/// Namespaces that the spec gives to no environment any more.
fn leftovers(name: &str, spec: &TenantSpec, left: &[Left], open: &[Part]) -> Vec<Part> {
    let part = |left: &Left| {
        let namespace = left.namespace.clone()?;
        let is_open = open.iter().any(|part| part.namespace == namespace);
        if !is_name(&left.environment) || is_open {
            return None;
        }
        let kept = spec
            .environments
            .iter()
            .find(|e| e.name == left.environment);
        Some(Part {
            priority_classes: kept.and_then(|e| e.priority_classes.clone()),
            ..leftover(name, &left.environment, namespace)
        })
    };
    left.iter().filter_map(part).collect()
}

/// Children of former environments of which not even the namespace is left.
fn childless(name: &str, left: &[Left], parts: &[Part]) -> impl Iterator<Item = Part> {
    let children = left.iter().filter(|left| left.namespace.is_none());
    children
        .map(|left| leftover(name, &left.environment, String::new()))
        .filter(|gone| is_name(&gone.name) && !parts.iter().any(|part| part.child == gone.child))
}

fn leftover(tenant: &str, environment: &str, namespace: String) -> Part {
    Part {
        name: environment.to_owned(),
        namespace,
        child: child_name(tenant, environment),
        priority_classes: None,
        guaranteed: Vec::new(),
        storage: Vec::new(),
        is_left: true,
    }
}

/// The name of the child that an environment is.
pub(super) fn child_name(tenant: &str, environment: &str) -> String {
    format!("{tenant}-{environment}")
}

fn amounts(reader: &mut Reader, field: &str, amounts: &Amounts) -> Vec<(Resource, u64)> {
    let named = [
        (Resource::Cpu, &amounts.cpu),
        (Resource::Memory, &amounts.memory),
        (Resource::Gpu, &amounts.gpu),
    ];
    let mut read = Vec::new();
    for (resource, amount) in named {
        if let Some(amount) = amount {
            let parsed = quantity::parse(resource, amount.as_str());
            let amount = reader.take(&format!("{field}.{}", resource.name()), parsed);
            read.extend(amount.map(|amount| (resource, amount)));
        }
    }
    read
}

fn bounds(reader: &mut Reader, spec: &TenantSpec) -> Bounds {
    let mut size = |field: &str, size: &Size| reader.size(field, size);
    let (containers, pods) = (&spec.containers, &spec.pods);
    let sized = |(cpu, memory)| Sized { cpu, memory };
    Bounds {
        containers: ContainerBounds {
            default: sized(size("spec.containers.default", &containers.default)),
            min: sized(size("spec.containers.min", &containers.min)),
            max: sized(size("spec.containers.max", &containers.max)),
        },
        pods: PodBounds {
            min: sized(size("spec.pods.min", &pods.min)),
            max: sized(size("spec.pods.max", &pods.max)),
        },
    }
}

/// The keys of a quota for storage, and how many bytes.
fn storage(reader: &mut Reader, storage: &Storage) -> Vec<(String, u64)> {
    let mut bounds = Vec::new();
    if let Some(total) = &storage.total {
        let parsed = quantity::parse(Resource::Memory, total.as_str());
        let total = reader.take("spec.storage.total", parsed);
        bounds.extend(total.map(|total| ("requests.storage".to_owned(), total)));
    }
    for (index, class) in storage.classes.iter().enumerate() {
        let parsed = quantity::parse(Resource::Memory, class.amount.as_str());
        let key = format!(
            "{}.storageclass.storage.k8s.io/requests.storage",
            class.name
        );
        let amount = reader.take(&format!("spec.storage.classes[{index}].amount"), parsed);
        bounds.extend(amount.map(|amount| (key, amount)));
    }
    bounds
}
