//! What `prorata install` prints, beside what is there.

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

use super::super::cluster::Cluster;
use super::super::failure::Failure;
use super::finding::{Finding, few};
use crate::install::{self, Part, scheduler::SchedulerConfig};
use crate::manifest::Document;

const REMEDY: &str =
    "an administrator runs `prorata install | kubectl apply -f -`, or upgrades the chart";

/// Each file of the installation, the name of its check, and whether its objects are the same in every
/// cluster. The others are as their administrator wants them.
const CHECKS: [(&str, &str, bool); 5] = [
    ("namespace.yaml", "namespace", false),
    ("crds.yaml", "crds", true),
    ("policies.yaml", "admission-policies", true),
    ("permissions.yaml", "permissions", true),
    ("scheduler-config.yaml", "scheduler-config", false),
];

pub(super) async fn look(cluster: &Cluster, gpu_resource: &str) -> Result<Vec<Finding>, Failure> {
    let config = SchedulerConfig {
        gpu_resource: gpu_resource.to_owned(),
        ..SchedulerConfig::default()
    };
    let parts = install::parts(&config).map_err(|error| Failure::new(error.to_string()))?;
    let mut findings = Vec::new();
    for (file, check, same) in CHECKS {
        if let Some(part) = parts.iter().find(|part| part.file == file) {
            findings.push(compare(cluster, part, check, same).await?);
        }
    }
    Ok(findings)
}

async fn compare(
    cluster: &Cluster,
    part: &Part,
    check: &'static str,
    same: bool,
) -> Result<Finding, Failure> {
    let documents = Document::parse(part.file, &part.text).map_err(Failure::problems)?;
    let (mut missing, mut differing) = (Vec::new(), Vec::new());
    for document in &documents {
        let wanted = document.to_json();
        let name = format!(
            "{} {}",
            text(&wanted["kind"]),
            text(&wanted["metadata"]["name"])
        );
        match read(cluster, &wanted).await {
            Err(failure) => return Ok(Finding::unknown(check, &failure)),
            Ok(None) => missing.push(name),
            Ok(Some(found)) if same => {
                let found = serde_json::to_value(found).unwrap_or_default();
                differing
                    .extend(difference(&wanted, &found, "").map(|at| format!("{name} at {at}")));
            }
            Ok(Some(_)) => {}
        }
    }
    Ok(judge(check, documents.len(), &missing, &differing))
}

fn judge(check: &'static str, count: usize, missing: &[String], differing: &[String]) -> Finding {
    if !missing.is_empty() {
        return Finding::fail(check, format!("missing: {}", few(missing)), REMEDY);
    }
    if !differing.is_empty() {
        let seen = format!("other than this version installs: {}", few(differing));
        return Finding::fail(check, seen, REMEDY);
    }
    Finding::ok(check, format!("all {count} there"))
}

/// The object as it is in the cluster.
async fn read(cluster: &Cluster, wanted: &Value) -> Result<Option<DynamicObject>, Failure> {
    let (group, version) = match text(&wanted["apiVersion"]).split_once('/') {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => (String::new(), text(&wanted["apiVersion"]).to_owned()),
    };
    let kind = text(&wanted["kind"]);
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(&group, &version, kind));
    let resource = ApiResource {
        plural: plural(kind),
        ..resource
    };
    let client = cluster.client().clone();
    let api: Api<DynamicObject> = match wanted["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let name = text(&wanted["metadata"]["name"]);
    let attempt = format!("get {} {name}", resource.plural);
    match api.get_opt(name).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        read => read.map_err(|error| Failure::api(&attempt, error)),
    }
}

/// The kinds that we install follow the simplest rules.
fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Where what is there first lacks something that is wanted. What the API server adds by itself is
/// no difference.
fn difference(wanted: &Value, found: &Value, path: &str) -> Option<String> {
    match (wanted, found) {
        (Value::Object(fields), _) => fields
            .iter()
            .find_map(|(key, wanted)| difference(wanted, &found[key], &format!("{path}.{key}"))),
        (Value::Array(items), Value::Array(others)) if items.len() == others.len() => items
            .iter()
            .zip(others)
            .enumerate()
            .find_map(|(index, (wanted, found))| {
                difference(wanted, found, &format!("{path}[{index}]"))
            }),
        // 0 and 0.0 are written differently, and are the same.
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        (wanted, found) if wanted == found || is_nothing(wanted) && is_nothing(found) => None,
        _ => Some(path.trim_start_matches('.').to_owned()),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_set) => !is_set,
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_wanted_and_lacks_is_a_difference() {
        let wanted = json!({"spec": {"a": 1.0, "list": [{"b": "x"}], "none": null, "off": false}});
        let more =
            json!({"spec": {"a": 1, "list": [{"b": "x", "c": 2}], "default": true}, "status": {}});
        assert_eq!(difference(&wanted, &more, ""), None);
        let other = json!({"spec": {"a": 1, "list": [{"b": "y"}]}});
        assert_eq!(difference(&wanted, &other, "").unwrap(), "spec.list[0].b");
        let longer = json!({"spec": {"a": 1, "list": [{"b": "x"}, {"b": "z"}]}});
        assert_eq!(difference(&wanted, &longer, "").unwrap(), "spec.list");
        assert_eq!(difference(&wanted, &Value::Null, "").unwrap(), "spec.a");
    }

    #[test]
    fn every_part_of_the_installation_is_looked_at() {
        let parts = install::parts(&SchedulerConfig::default()).unwrap();
        let files: Vec<&str> = parts.iter().map(|part| part.file).collect();
        assert_eq!(files, CHECKS.map(|(file, _, _)| file));
        for (kind, plural) in [
            ("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
            ("ConfigMap", "configmaps"),
        ] {
            assert_eq!(super::plural(kind), plural);
        }
    }
}
