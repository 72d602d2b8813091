//! What of an object is not as it is wanted.

use std::fmt;

use serde_json::{Map, Value};

/// Fields of which nothing may be there but what is wanted: one label more in a selector, and it
/// means less.
const WHOLE: [&str; 1] = ["podSelector"];

/// A field that is not as it is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Its path, such as `spec.hard.pods`.
    pub path: String,
    /// What is wanted.
    pub wanted: Value,
    /// What is there.
    pub found: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Some(found) => write!(f, "{}: {found} instead of {}", self.path, self.wanted),
            None => write!(f, "{}: missing, {} is wanted", self.path, self.wanted),
        }
    }
}

/// What of `found` is not as it is wanted. What others added to its maps is theirs; lists have to
/// be the same, because the API server replaces the lists of all these kinds as a whole, but for the
/// owners, which are a map by their UIDs.
#[must_use]
pub fn differences(wanted: &Value, found: &Value) -> Vec<Difference> {
    let mut differences = Vec::new();
    if let Some(wanted) = wanted.as_object() {
        let rest = wanted
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind"));
        for (key, wanted) in rest {
            compare(key.clone(), wanted, found.get(key), &mut differences);
        }
    }
    differences
}

fn compare(path: String, wanted: &Value, found: Option<&Value>, differences: &mut Vec<Difference>) {
    let is_whole = WHOLE.iter().any(|key| path.ends_with(key));
    match (wanted, found) {
        (Value::Object(wanted), Some(Value::Object(found))) if !is_whole => {
            inner(&path, wanted, found, differences);
        }
        (Value::Array(wanted), Some(Value::Array(found)))
            if path.ends_with("ownerReferences") && has_all(found, wanted) => {}
        // An empty map is often left out.
        (Value::Object(map), None) if map.is_empty() => {}
        (wanted, found) if found == Some(wanted) => {}
        (wanted, found) => differences.push(Difference {
            path,
            wanted: wanted.clone(),
            found: found.cloned(),
        }),
    }
}

/// Whether each that is wanted is among those that are there.
fn has_all(found: &[Value], wanted: &[Value]) -> bool {
    let mut wanted = wanted.iter().filter_map(Value::as_object);
    wanted.all(|wanted| {
        let is_it = |found: &Value| {
            wanted
                .iter()
                .all(|(key, value)| found.get(key) == Some(value))
        };
        found.iter().any(is_it)
    })
}

fn inner(
    path: &str,
    wanted: &Map<String, Value>,
    found: &Map<String, Value>,
    differences: &mut Vec<Difference>,
) {
    for (key, wanted) in wanted {
        compare(format!("{path}.{key}"), wanted, found.get(key), differences);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(wanted: Value, found: Value) -> Vec<String> {
        let differences = differences(&wanted, &found);
        differences
            .into_iter()
            .map(|difference| difference.path)
            .collect()
    }

    #[test]
    fn what_others_add_to_maps_is_theirs_and_what_is_missing_or_else_is_told() {
        let wanted = json!({ "kind": "A", "metadata": { "labels": { "a": "1" } }, "spec": { "hard": { "pods": "4" } } });
        let found = json!({ "metadata": { "labels": { "a": "1", "b": "2" }, "uid": "x" }, "spec": { "hard": { "pods": "5" } } });
        assert_eq!(paths(wanted.clone(), found), ["spec.hard.pods"]);
        assert_eq!(
            paths(wanted, json!({ "metadata": {} })),
            ["metadata.labels", "spec"]
        );
    }

    #[test]
    fn owners_of_others_are_theirs() {
        let owners = |owners: Value| json!({ "metadata": { "ownerReferences": owners } });
        let wanted = owners(json!([{ "kind": "Tenant", "uid": "1" }]));
        let among = json!([{ "kind": "App", "uid": "2" }, { "kind": "Tenant", "uid": "1", "controller": false }]);
        assert_eq!(paths(wanted.clone(), owners(among)), [""; 0]);
        let others = json!([{ "kind": "App", "uid": "2" }, { "kind": "Tenant", "uid": "3" }]);
        assert_eq!(paths(wanted, owners(others)), ["metadata.ownerReferences"]);
    }

    #[test]
    fn lists_and_selectors_are_compared_as_a_whole() {
        let wanted = json!({ "spec": { "podSelector": {}, "egress": [{ "to": [1] }] } });
        let narrowed = json!({ "spec": { "podSelector": { "matchLabels": { "a": "b" } }, "egress": [{ "to": [1] }, {}] } });
        assert_eq!(
            paths(wanted.clone(), narrowed),
            ["spec.egress", "spec.podSelector"]
        );
        assert_eq!(
            paths(wanted, json!({ "spec": { "egress": [{ "to": [1] }] } })),
            [""; 0]
        );
    }
}
