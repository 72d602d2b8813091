//! What is wrong with a spec: the rules of the schema and those of our own readers, each with its
//! field and a remedy.

mod changes;
mod text;

use std::collections::BTreeSet;

use prorata_core::Resource;
use prorata_simulator::quantity::{self, QuantityError};

use super::namespace::{Template, is_name};
use super::plan::{Wrong, child_name};
use text::{is_bytes, is_cores, is_label, is_money, is_subdomain};

use crate::api::{Amount, Environment, Member, Size, TenantSpec};

const NAME: &str =
    "write at most 63 small letters, digits and dashes, with none of the dashes at an end";
const LABEL: &str = "write at most 63 letters, digits, dashes, dots and underscores, with a letter or digit at both ends";
const CORES: &str = "write whole cores, at most three decimals, or thousandths such as 500m";
const BYTES: &str = "write whole bytes, usually with a suffix such as 500Gi, at most 249Ti";
/// The most objects of a kind that a quota may say.
const COUNT_MAX: u32 = 1_000_000;
/// The most environments.
const ENVIRONMENTS_MAX: usize = 8;
const MEMBERS_MAX: usize = 64;

/// Amounts, and what is wrong with them.
#[derive(Default)]
pub(super) struct Reader(Vec<Wrong>);

impl Reader {
    /// The amount, if it can be read.
    pub(super) fn take(&mut self, field: &str, read: Result<u64, QuantityError>) -> Option<u64> {
        read.map_err(|error| {
            let text = error.to_string();
            let (what, remedy) = text
                .split_once("; ")
                .unwrap_or((&text, "write another amount"));
            self.0.push(wrong(field, what, remedy));
        })
        .ok()
    }

    /// CPU and memory, as far as they are said and can be read.
    pub(super) fn size(&mut self, field: &str, size: &Size) -> (Option<u64>, Option<u64>) {
        let mut read = |resource: Resource, amount: &Option<Amount>| {
            let parsed = quantity::parse(resource, amount.as_ref()?.as_str());
            self.take(&format!("{field}.{}", resource.name()), parsed)
        };
        (
            read(Resource::Cpu, &size.cpu),
            read(Resource::Memory, &size.memory),
        )
    }

    /// What was wrong.
    pub(super) fn into_wrong(self) -> Vec<Wrong> {
        self.0
    }
}

/// What is wrong with what makes up a tenant's namespaces.
#[must_use]
pub(crate) fn spec(spec: &TenantSpec) -> Vec<Wrong> {
    let mut found = texts(spec);
    found.extend(environments(&spec.environments));
    let members = &spec.members;
    let roles = [
        ("admins", &members.admins),
        ("users", &members.users),
        ("viewers", &members.viewers),
    ];
    for (role, who) in roles {
        found.extend(too_many(
            &format!("spec.members.{role}"),
            who.len(),
            MEMBERS_MAX,
        ));
        let member =
            |(index, member)| self::member(&format!("spec.members.{role}[{index}]"), member);
        found.extend(who.iter().enumerate().filter_map(member));
    }
    found.extend(sizes(spec));
    found.extend(counts(spec));
    found.extend(storage(spec));
    found.extend(network(spec));
    found.extend(mesh(spec));
    found.extend(money(spec));
    found.extend(changes::all(spec));
    found
}

/// What is wrong with the names that the spec gives to namespaces and children.
pub(crate) fn names(tenant: &str, spec: &TenantSpec, template: &Template) -> Vec<Wrong> {
    let (mut found, mut taken) = (children(tenant, spec), BTreeSet::new());
    for (index, environment) in spec.environments.iter().enumerate() {
        let said = environment.namespace.clone();
        let namespace = said.unwrap_or_else(|| template.name(tenant, &environment.name));
        let field = format!("spec.environments[{index}].namespace");
        if namespace.len() > 63 {
            let what = format!("`{namespace}` is longer than the 63 characters of a namespace");
            found.push(wrong(&field, what, "name a shorter one here"));
        }
        if !taken.insert(namespace.clone()) {
            let what = format!("`{namespace}` is that of another environment too");
            found.push(wrong(
                &field,
                what,
                "give each environment a namespace of its own",
            ));
        }
    }
    found
}

/// What is wrong with the names of children alone, which no configuration decides.
pub(crate) fn children(tenant: &str, spec: &TenantSpec) -> Vec<Wrong> {
    let child = |(index, environment): (usize, &Environment)| {
        let child = child_name(tenant, &environment.name);
        (child.len() > 63).then(|| {
            let what = format!("makes the Tenant `{child}`, longer than 63 characters");
            let field = format!("spec.environments[{index}].name");
            wrong(&field, what, "shorten it, or the name of the tenant")
        })
    };
    spec.environments
        .iter()
        .enumerate()
        .filter_map(child)
        .collect()
}

fn texts(spec: &TenantSpec) -> Vec<Wrong> {
    let mut found = Vec::new();
    for (field, text, most) in [
        ("spec.displayName", &spec.display_name, 128),
        ("spec.owner", &spec.owner, 253),
    ] {
        let length = text.as_ref().map_or(0, |text| text.chars().count());
        if length > most {
            let what = format!("has {length} characters");
            found.push(wrong(field, what, format!("write at most {most}")));
        }
    }
    let pool = spec.node_pool().map(str::to_owned);
    if pool.is_some() && spec.environments.is_empty() {
        let what = "would bind nobody: only the namespaces of environments are held to a pool";
        let remedy = "add `environments:`, if only one of 100 percent";
        found.push(wrong("spec.compliance.nodePool", what, remedy));
    }
    for (field, text) in [
        ("spec.costCenter", &spec.cost_center),
        ("spec.department", &spec.department),
        ("spec.compliance.nodePool", &pool),
    ] {
        if text.as_ref().is_some_and(|text| !is_label(text)) {
            found.push(wrong(field, "is not the value of a label", LABEL));
        }
    }
    let runtime = spec
        .security
        .as_ref()
        .and_then(|security| security.runtime_class.as_ref());
    if runtime.is_some_and(|name| name.len() > 63 || !is_subdomain(name)) {
        let remedy = "write the name of one, such as gvisor";
        found.push(wrong(
            "spec.security.runtimeClass",
            "is not the name of a RuntimeClass",
            remedy,
        ));
    }
    found
}

fn environments(environments: &[Environment]) -> Vec<Wrong> {
    let mut found = Vec::from_iter(too_many(
        "spec.environments",
        environments.len(),
        ENVIRONMENTS_MAX,
    ));
    let mut seen = BTreeSet::new();
    for (index, environment) in environments.iter().enumerate() {
        let field = |name| format!("spec.environments[{index}].{name}");
        if environment.name.len() > 20 || !is_name(&environment.name) {
            let remedy = "write at most 20 small letters, digits and dashes, with none of the dashes at an end";
            found.push(wrong(
                &field("name"),
                "is not the name of an environment",
                remedy,
            ));
        }
        if !seen.insert(&environment.name) {
            found.push(wrong(
                &field("name"),
                "names an environment twice",
                "keep one of the two",
            ));
        }
        let usual = ["dev", "staging", "prod"].contains(&environment.name.as_str());
        if environment.percent.is_none() && !usual {
            let what = "is missing: only dev, staging and prod have one by default (30, 20 and 50)";
            found.push(wrong(&field("percent"), what, "add `percent:` here"));
        }
        if environment.percent() > 100 {
            let what = format!("is {}", environment.percent());
            found.push(wrong(
                &field("percent"),
                what,
                "write a whole number from 0 to 100",
            ));
        }
        if environment
            .namespace
            .as_deref()
            .is_some_and(|name| !is_name(name))
        {
            found.push(wrong(
                &field("namespace"),
                "is not the name of a namespace",
                NAME,
            ));
        }
        let classes = environment.priority_classes.as_ref().map_or(0, Vec::len);
        found.extend(too_many(&field("priorityClasses"), classes, 64));
    }
    let sum: u64 = environments.iter().map(|e| u64::from(e.percent())).sum();
    if !environments.is_empty() && sum != 100 {
        let what = format!("have {sum} percent together");
        found.push(wrong(
            "spec.environments",
            what,
            "change their percents until they are 100",
        ));
    }
    found
}

fn member(field: &str, member: &Member) -> Option<Wrong> {
    let (kind, name, own) = match (&member.user, &member.group) {
        (Some(user), None) => ("user", user, "system:serviceaccount:"),
        (None, Some(group)) => ("group", group, "system:serviceaccounts:"),
        _ => {
            return Some(wrong(
                field,
                "is not one member",
                "name either a user or a group",
            ));
        }
    };
    if name.is_empty() || name.chars().count() > 253 {
        let what = format!("has a {kind} of {} characters", name.chars().count());
        return Some(wrong(field, what, "write from 1 to 253"));
    }
    (name.starts_with("system:") && !name.starts_with(own)).then(|| {
        let what = format!("names `{name}`, and names that begin with system: are Kubernetes' own");
        wrong(
            field,
            what,
            "name a user, a group or a service account of yours",
        )
    })
}

fn sizes(spec: &TenantSpec) -> Vec<Wrong> {
    let (containers, pods) = (&spec.containers, &spec.pods);
    let mut reader = Reader::default();
    let sizes = [
        ("spec.containers.default", &containers.default),
        ("spec.containers.min", &containers.min),
        ("spec.containers.max", &containers.max),
        ("spec.pods.min", &pods.min),
        ("spec.pods.max", &pods.max),
    ];
    let [default, min, max, pod_min, pod_max] =
        sizes.map(|(field, size)| (field, reader.size(field, size)));
    let mut found = reader.into_wrong();
    if found.is_empty() {
        found.extend(sizes_of_ours(spec));
    }
    for (less, more) in [
        (min, default),
        (default, max),
        (min, max),
        (pod_min, pod_max),
    ] {
        let resources = [("cpu", less.1.0, more.1.0), ("memory", less.1.1, more.1.1)];
        for (resource, least, most) in resources {
            if least.zip(most).is_some_and(|(least, most)| least > most) {
                let what = format!("is more than {}.{resource}", more.0);
                let remedy = "lower the one or raise the other";
                found.push(wrong(&format!("{}.{resource}", less.0), what, remedy));
            }
        }
    }
    found
}

/// Amounts that our reader takes and the schema does not.
fn sizes_of_ours(spec: &TenantSpec) -> Vec<Wrong> {
    let (containers, pods) = (&spec.containers, &spec.pods);
    let sizes = [
        ("spec.containers.default", &containers.default),
        ("spec.containers.min", &containers.min),
        ("spec.containers.max", &containers.max),
        ("spec.pods.min", &pods.min),
        ("spec.pods.max", &pods.max),
    ];
    let mut found = Vec::new();
    for (field, size) in sizes {
        if size.cpu.as_ref().is_some_and(|cpu| !is_cores(cpu.as_str())) {
            found.push(wrong(
                &format!("{field}.cpu"),
                "is no plain amount of CPU",
                CORES,
            ));
        }
        if size
            .memory
            .as_ref()
            .is_some_and(|memory| !is_bytes(memory.as_str()))
        {
            found.push(wrong(
                &format!("{field}.memory"),
                "is no plain amount of memory",
                BYTES,
            ));
        }
    }
    found
}

fn counts(spec: &TenantSpec) -> Vec<Wrong> {
    let objects = &spec.objects;
    let counts = [
        ("pods", objects.pods),
        ("jobs", objects.jobs),
        ("services", objects.services),
        ("loadBalancers", objects.load_balancers),
        ("configMaps", objects.config_maps),
        ("secrets", objects.secrets),
        ("volumeClaims", objects.volume_claims),
    ];
    let above = counts
        .into_iter()
        .filter(|(_, count)| count.is_some_and(|count| count > COUNT_MAX));
    let problem = |(kind, _)| {
        let remedy = format!("write at most {COUNT_MAX}");
        wrong(
            &format!("spec.objects.{kind}"),
            "is more than a quota of ours says",
            remedy,
        )
    };
    above.map(problem).collect()
}

fn storage(spec: &TenantSpec) -> Vec<Wrong> {
    let storage = &spec.storage;
    let mut found = Vec::from_iter(too_many("spec.storage.classes", storage.classes.len(), 16));
    if storage
        .total
        .as_ref()
        .is_some_and(|total| !is_bytes(total.as_str()))
    {
        found.push(wrong(
            "spec.storage.total",
            "is not an amount of storage",
            BYTES,
        ));
    }
    let mut seen = BTreeSet::new();
    for (index, class) in storage.classes.iter().enumerate() {
        let field = |name| format!("spec.storage.classes[{index}].{name}");
        if !is_subdomain(&class.name) {
            found.push(wrong(
                &field("name"),
                "is not the name of a StorageClass",
                "write the name of one",
            ));
        }
        if !seen.insert(&class.name) {
            found.push(wrong(
                &field("name"),
                "names a StorageClass twice",
                "keep one of the two",
            ));
        }
        if !is_bytes(class.amount.as_str()) {
            found.push(wrong(
                &field("amount"),
                "is not an amount of storage",
                BYTES,
            ));
        }
    }
    found
}

fn network(spec: &TenantSpec) -> Vec<Wrong> {
    let services = &spec.network.services;
    let mut found = Vec::from_iter(too_many("spec.network.services", services.len(), 32));
    for (index, service) in services.iter().enumerate() {
        let field = |name| format!("spec.network.services[{index}].{name}");
        if !is_name(&service.namespace) {
            found.push(wrong(
                &field("namespace"),
                "is not the name of a namespace",
                NAME,
            ));
        }
        found.extend(too_many(&field("ports"), service.ports.len(), 16));
        if service.ports.iter().any(|port| port.port == 0) {
            found.push(wrong(
                &field("ports"),
                "has port 0",
                "write ports from 1 to 65535",
            ));
        }
    }
    found
}

fn mesh(spec: &TenantSpec) -> Vec<Wrong> {
    let mut found = Vec::from_iter(too_many("spec.meshLabels", spec.mesh_labels.len(), 4));
    let mut seen = BTreeSet::new();
    for (index, label) in spec.mesh_labels.iter().enumerate() {
        let field = |name| format!("spec.meshLabels[{index}].{name}");
        let (prefix, name) = label.name.split_once('/').unwrap_or(("", &label.name));
        let prefixed = !label.name.contains('/') || is_subdomain(prefix);
        if !prefixed || !is_label(name) || label.name.len() > 253 {
            let remedy = "write that of a mesh, such as istio-injection";
            found.push(wrong(&field("name"), "is not the key of a label", remedy));
        }
        let reserved = ["kubernetes.io", "k8s.io", "prorata.dev"];
        let is_within = |of: &&str| prefix == *of || prefix.ends_with(&format!(".{of}"));
        if reserved.iter().any(is_within) {
            let what = "is a label of Kubernetes or of Prorata, which other fields set";
            found.push(wrong(
                &field("name"),
                what,
                "name one of a mesh, such as istio-injection",
            ));
        }
        if !seen.insert(&label.name) {
            found.push(wrong(
                &field("name"),
                "names a label twice",
                "keep one of the two",
            ));
        }
        if !label.value.is_empty() && !is_label(&label.value) {
            found.push(wrong(&field("value"), "is not the value of a label", LABEL));
        }
    }
    found
}

fn money(spec: &TenantSpec) -> Vec<Wrong> {
    let Some(budget) = &spec.budget else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if !is_money(budget.monthly.as_str()) {
        let what = format!("`{}` is not an amount of money", budget.monthly);
        let remedy = "write a number such as 2500 or \"2500.50\", not below 0";
        found.push(wrong("spec.budget.monthly", what, remedy));
    }
    let code = &budget.currency;
    if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_uppercase()) {
        let what = format!("`{code}` is not a currency");
        found.push(wrong(
            "spec.budget.currency",
            what,
            "write its three capital letters, such as EUR",
        ));
    }
    found
}

fn too_many(field: &str, count: usize, most: usize) -> Option<Wrong> {
    (count > most).then(|| {
        wrong(
            field,
            format!("has {count} entries"),
            format!("keep at most {most}"),
        )
    })
}

fn wrong(field: &str, what: impl Into<String>, remedy: impl Into<String>) -> Wrong {
    Wrong {
        field: field.to_owned(),
        what: what.into(),
        remedy: remedy.into(),
    }
}
