//! Manifests checked offline: the rules that the API server applies to a Tenant, and those of our
//! own readers, with a place and a remedy for each.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use prorata_core::{Resource, Tenant};
use prorata_ledger::price_file::{self, PriceFile};
use prorata_simulator::problem::Problem;
use prorata_simulator::quantity::{self, QuantityError};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::{Amounts, TenantSpec};
use crate::config::{self, Configuration};
use crate::manifest::{Document, Problems};
use crate::tenancy;
use crate::tenants::{self, Fault, Tenants};
use crate::translate;

const TENANT_API_VERSION: &str = "prorata.dev/v1alpha1";

const NAMES: &str =
    "write at most 63 small letters, digits and dashes, with none of the dashes at an end";

/// Checks every document of every file, and returns how many there were.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn files(paths: &[PathBuf]) -> Result<usize, Problems> {
    let (mut documents, mut problems, mut prices) = (Vec::new(), Vec::new(), 0);
    for path in paths {
        match Document::load(path) {
            Ok(found) if found.iter().any(is_prices) => {
                prices += 1;
                problems.extend(self::prices(path, &found));
            }
            Ok(found) if found.is_empty() => problems.push(empty(path)),
            Ok(found) => documents.extend(found),
            Err(found) => problems.extend(found.0),
        }
    }
    problems.extend(documents.iter().flat_map(document));
    problems.extend(repeated(&documents));
    problems.extend(tree(&documents));
    if problems.is_empty() {
        Ok(documents.len() + prices)
    } else {
        Err(Problems(problems))
    }
}

fn is_prices(document: &Document) -> bool {
    document.text("kind") == Some(price_file::KIND)
}

/// What is wrong with a price file, which its own reader tells.
fn prices(path: &Path, documents: &[Document]) -> Vec<Problem> {
    if let [first, _, ..] = documents {
        let remedy = "keep it in a file of its own";
        return vec![first.problem("kind", "of Prices stands beside another document", remedy)];
    }
    let file = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| {
        let remedy = "name a file that exists and that you may read";
        vec![Problem::new(&file, "file", error.to_string(), remedy)]
    });
    let read = text.and_then(|text| PriceFile::parse(&file, &text));
    read.err().unwrap_or_default()
}

fn empty(path: &Path) -> Problem {
    let remedy = "name a file with a Tenant, a Configuration or Prices";
    Problem::new(&path.display().to_string(), "document", "is empty", remedy)
}

/// Tenants that are described a second time.
fn repeated(documents: &[Document]) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    let again = |document: &&Document| {
        let name = document
            .text("metadata.name")
            .filter(|_| document.text("kind") == Some("Tenant"));
        name.is_some_and(|name| !seen.insert(name.to_owned()))
    };
    let remedy = "keep one of the two: the second would replace the first";
    let repeated: Vec<&Document> = documents.iter().filter(again).collect();
    let problem = |document: &Document| {
        document.problem(
            "metadata.name",
            "names a Tenant that is described before",
            remedy,
        )
    };
    repeated.into_iter().map(problem).collect()
}

/// What is wrong with the tree of all tenants that can be read. A parent may be described
/// elsewhere.
fn tree(documents: &[Document]) -> Vec<Problem> {
    let read = |document: &Document| {
        let tenant: TenantManifest = (document.text("kind") == Some("Tenant"))
            .then(|| document.read().ok())
            .flatten()?;
        translate::tenant(&tenant.metadata.name?, &tenant.spec).ok()
    };
    let read = documents
        .iter()
        .map(|document| Some((document, read(document)?)));
    let read: Vec<(&Document, Tenant)> = read.flatten().collect();
    let tenants: Tenants<'_> = read
        .iter()
        .map(|(_, tenant)| (&tenant.id, tenant))
        .collect();
    let faults = tenants::faults(&tenants);
    let problem = |(document, tenant): &(&Document, Tenant)| match faults.get(&tenant.id)? {
        Fault::UnknownParent(_) => None,
        Fault::Circle => Some(document.problem(
            "spec.parent",
            "leads in a circle",
            "leave out the parent of one tenant of the circle",
        )),
        Fault::PoolClaimed(other) => Some(document.problem(
            "spec.compliance.nodePool",
            format!("is that of `{other}` too"),
            "name another pool in one of them: its tenant has it alone",
        )),
        Fault::GuaranteesAbove { resource, .. } => Some(document.problem(
            &format!("spec.guaranteed.{resource}"),
            "is less than what those right below it are guaranteed together",
            "raise it, or lower theirs: a parent's guarantee is what all below it own",
        )),
    };
    read.iter().filter_map(problem).collect()
}

/// What is wrong with one document.
#[must_use]
pub fn document(document: &Document) -> Vec<Problem> {
    let outcome = match (document.text("apiVersion"), document.text("kind")) {
        (Some(TENANT_API_VERSION), Some("Tenant")) => tenant(document),
        (Some(config::API_VERSION), Some(config::KIND)) => Configuration::read(document).map(drop),
        (_, kind) => Err(unknown_kind(document, kind).into()),
    };
    outcome.err().map_or_else(Vec::new, |problems| problems.0)
}

fn unknown_kind(document: &Document, kind: Option<&str>) -> Problem {
    let what = kind.map_or("is missing".to_owned(), |kind| {
        format!("`{kind}` of this apiVersion is not known here")
    });
    let remedy = format!(
        "write `kind: Tenant` with `apiVersion: {TENANT_API_VERSION}`, or `kind: {}` with `apiVersion: {}`",
        config::KIND,
        config::API_VERSION
    );
    document.problem("kind", what, remedy)
}

/// A Tenant with every field that a file may have; the schema of the CRD leaves out its frame.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct TenantManifest {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: ObjectMeta,
    spec: TenantSpec,
}

fn tenant(document: &Document) -> Result<(), Problems> {
    let tenant: TenantManifest = document.read()?;
    let mut problems = Vec::new();
    if !is_name(tenant.metadata.name.as_deref().unwrap_or_default()) {
        let what = "is no name that Kubernetes takes, or too long for the label prorata.dev/tenant";
        problems.push(document.problem("metadata.name", what, NAMES));
    }
    if let Err(error) = quantity::parse_weight(tenant.spec.weight.as_str()) {
        problems.push(unreadable(document, "spec.weight", &error));
    }
    let guaranteed = amounts(
        document,
        "spec.guaranteed",
        &tenant.spec.guaranteed,
        &mut problems,
    );
    let limit = amounts(document, "spec.limit", &tenant.spec.limit, &mut problems);
    let lending = &tenant.spec.lending_limit;
    amounts(document, "spec.lendingLimit", lending, &mut problems);
    if tenant
        .spec
        .parent
        .as_ref()
        .is_some_and(|parent| !is_name(parent))
    {
        let what = "is not the name of a Tenant";
        problems.push(document.problem("spec.parent", what, NAMES));
    }
    for ((resource, guaranteed), (_, limit)) in guaranteed.into_iter().zip(limit) {
        if guaranteed
            .zip(limit)
            .is_some_and(|(guaranteed, limit)| guaranteed > limit)
        {
            let field = format!("spec.guaranteed.{resource}");
            let what = format!("is more than spec.limit.{resource}");
            problems.push(document.problem(&field, what, "raise the limit or lower the guarantee"));
        }
    }
    let name = tenant.metadata.name.as_deref().unwrap_or_default();
    problems.extend(
        tenancy::problems(name, &tenant.spec)
            .into_iter()
            .map(|wrong| document.problem(&wrong.field, wrong.what, wrong.remedy)),
    );
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Problems(problems))
    }
}

/// A tenant's name is also the value of a label.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let ends = !text.starts_with('-') && !text.ends_with('-');
    (1..=63).contains(&text.len()) && ends && text.bytes().all(plain)
}

/// Each amount in the core's units, where it is there and can be read.
fn amounts(
    document: &Document,
    path: &str,
    amounts: &Amounts,
    problems: &mut Vec<Problem>,
) -> [(&'static str, Option<u64>); 3] {
    let fields = [
        ("gpu", Resource::Gpu, &amounts.gpu),
        ("cpu", Resource::Cpu, &amounts.cpu),
        ("memory", Resource::Memory, &amounts.memory),
    ];
    fields.map(|(name, resource, amount)| {
        let parsed = amount
            .as_ref()
            .map(|amount| quantity::parse(resource, amount.as_str()));
        let read = parsed.and_then(|parsed| {
            let report =
                |error| problems.push(unreadable(document, &format!("{path}.{name}"), &error));
            parsed.map_err(report).ok()
        });
        (name, read)
    })
}

/// The texts of amounts say what is wrong, and after a semicolon what would be right.
fn unreadable(document: &Document, field: &str, error: &QuantityError) -> Problem {
    let text = error.to_string();
    let (what, remedy) = text
        .split_once("; ")
        .unwrap_or((&text, "write another amount"));
    document.problem(field, what, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: &str) -> Vec<String> {
        let head = "apiVersion: prorata.dev/v1alpha1\nkind: Tenant\nmetadata: {name: red}\n";
        let documents = Document::parse("t.yaml", &format!("{head}spec:\n{spec}\n")).unwrap();
        documents
            .iter()
            .flat_map(document)
            .map(|problem| problem.to_string())
            .collect()
    }

    #[test]
    fn passes_what_the_server_passes() {
        assert_eq!(check("  {}"), [""; 0]);
        assert_eq!(
            check(
                "  weight: 1/2\n  guaranteed: {gpu: 8, memory: 64Gi}\n  limit: {gpu: '8', cpu: 500m}"
            ),
            [""; 0]
        );
    }

    #[test]
    fn names_place_field_and_remedy_of_every_mistake() {
        assert_eq!(
            check(
                "  weight: half\n  guaranteed: {gpu: -1, memory: 64Gi}\n  limit:\n    memory: 32Gi"
            ),
            [
                "error: t.yaml:5:11: spec.weight: `half` is not a weight\n  help: write a whole number or a fraction such as 2, 1/2 or 0.5",
                "error: t.yaml:6:21: spec.guaranteed.gpu: `-1` is not an amount\n  help: write a number such as 2, 0.5, 500m or 64Gi",
                "error: t.yaml:6:33: spec.guaranteed.memory: is more than spec.limit.memory\n  help: raise the limit or lower the guarantee",
            ]
        );
        assert_eq!(
            check("  weight: 0.5"),
            [
                "error: t.yaml:5:11: spec.weight: invalid type: floating point `0.5`\n  help: write a whole number or a text in quotes"
            ]
        );
        assert_eq!(
            check("  guaranteed: {gpus: 1}\n  wieght: 2"),
            [
                "error: t.yaml:5:16: spec.guaranteed.gpus: there is no such field here\n  help: did you mean `gpu`?",
                "error: t.yaml:6:3: spec.wieght: there is no such field here\n  help: did you mean `weight`?",
            ]
        );
    }

    #[test]
    fn mistakes_in_lists_are_found_at_their_entry() {
        let found = check(
            "  environments:\n  - {name: dev, percent: 60}\n  members:\n    admins:\n    - {group: 'system:masters'}",
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("error: t.yaml:6:")
                && found[0]
                    .contains(": spec.environments: have 60 percent together\n  help: change"),
            "{found:?}"
        );
        assert!(
            found[1]
                .starts_with("error: t.yaml:9:7: spec.members.admins[0]: names `system:masters`"),
            "{found:?}"
        );
    }

    #[test]
    fn the_tree_of_a_file_has_no_circle_and_no_more_below_than_above() {
        let tenant = |name: &str, spec: &str| {
            format!(
                "apiVersion: prorata.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n---\n"
            )
        };
        let text = [
            tenant("a", "parent: b"),
            tenant("b", "parent: a"),
            tenant("lab", "guaranteed: {gpu: 2}"),
            tenant("x", "{parent: lab, guaranteed: {gpu: 3}}"),
            tenant("elsewhere", "parent: unknown-here"),
        ]
        .concat();
        let documents = Document::parse("t.yaml", &text).unwrap();
        let found: Vec<_> = tree(&documents).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("error: t.yaml:5:11: spec.parent: leads in a circle"));
        assert!(found[1].contains("t.yaml:11:11"), "{found:?}");
        assert!(
            found[2].contains("spec.guaranteed.gpu: is less than"),
            "{found:?}"
        );
        assert!(check("  parent: Not A Name")[0].contains("spec.parent: is not the name"));
        assert!(check("  lendingLimit: {gpu: x}")[0].contains("spec.lendingLimit.gpu"));
    }

    #[test]
    fn finds_the_place_in_a_later_document() {
        let text = "kind: Tenant\n---\napiVersion: v1\nkind: Pod\n";
        let documents = Document::parse("t.yaml", text).unwrap();
        let found: Vec<_> = documents
            .iter()
            .flat_map(document)
            .map(|p| p.to_string())
            .collect();
        assert!(
            found[0].starts_with("error: t.yaml:1:7: kind: `Tenant` of this apiVersion"),
            "{found:?}"
        );
        assert!(
            found[1].starts_with("error: t.yaml:4:7: kind: `Pod` of this"),
            "{found:?}"
        );
        let broken = Document::parse("t.yaml", "a: [1\nb: 2\n")
            .unwrap_err()
            .to_string();
        assert!(broken.starts_with("error: t.yaml:2:"), "{broken}");
    }
}
