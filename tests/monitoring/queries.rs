//! The queries of rules and dashboards, and the names in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// A query, and where it stands.
pub(crate) struct Query {
    /// Such as `team.json [GPUs held]`.
    pub(crate) place: String,
    /// As Prometheus is asked.
    pub(crate) text: String,
}

/// The rules, one by one.
pub(crate) fn rules(directory: &Path) -> Vec<Value> {
    let text = fs::read_to_string(directory.join("rules.yaml")).unwrap();
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    let groups = file["groups"].as_array().unwrap();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap());
    rules.cloned().collect()
}

/// Every query of rules and dashboards.
pub(crate) fn all(directory: &Path) -> Vec<Query> {
    let mut queries: Vec<Query> = rules(directory)
        .iter()
        .map(|rule| Query {
            place: rule["alert"].as_str().unwrap().to_owned(),
            text: rule["expr"].as_str().unwrap().to_owned(),
        })
        .collect();
    for file in ["team", "platform", "cost"] {
        let path = directory.join(format!("dashboards/{file}.json"));
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            for target in panel["targets"].as_array().unwrap() {
                queries.push(Query {
                    place: format!("{file}.json [{title}]"),
                    text: filled(target["expr"].as_str().unwrap()),
                });
            }
        }
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            let query = variable["query"].as_str().unwrap();
            let asked = query.strip_prefix("label_values(");
            if let Some((series, _)) = asked.and_then(|rest| rest.split_once(',')) {
                queries.push(Query {
                    place: format!("{file}.json [variable]"),
                    text: series.to_owned(),
                });
            }
        }
    }
    queries
}

/// What Grafana puts in for its variables.
fn filled(text: &str) -> String {
    [
        ("$__range_s", "21600"),
        ("$__rate_interval", "1m"),
        ("$__range", "6h"),
        ("$tenant", "red"),
        ("$namespace", "vision|red"),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (name, value)| {
        text.replace(name, value)
    })
}

/// The metrics that a query names: whatever stands outside of braces and texts and is one of ours, or is
/// followed by a selector.
pub(crate) fn names(query: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = query;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_') {
        let from = &rest[start..];
        let end = from.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
        let (word, after) = from.split_at(end.unwrap_or(from.len()));
        if word.starts_with("prorata_") || after.starts_with('{') {
            names.insert(word.to_owned());
        }
        rest = match after.strip_prefix('{') {
            Some(inside) => inside.split_once('}').map_or("", |(_, outside)| outside),
            None => after,
        };
    }
    names
}

#[test]
fn names_are_found_in_and_out_of_selectors() {
    let query =
        "max(prorata_a{b=\"prorata_c\"}) + sum by (prorata) (rate(prorata_d[5m])) / up{job=~\"x\"}";
    let names: Vec<String> = names(query).into_iter().collect();
    assert_eq!(names, ["prorata_a", "prorata_d", "up"]);
}
