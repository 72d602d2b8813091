//! A summary as one flat map of numbers, so that whatever a summary tells can be tabulated and
//! compared without being named here.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Numbers by their path in `summary.json`: `wait_ms.p95`, `allocation_ratio`,
/// `tenant.red.wait_ms.mean`. One that a run does not have is absent.
pub type Metrics = BTreeMap<String, f64>;

/// Flattens a summary of one order.
///
/// Numbers beside the orders (`gpus`) come first, then the order's. What it says over `all` jobs
/// goes without that word. A list whose items have a name (`tenants`) counts by that name, as
/// `tenant.NAME.…`; of any other list (`unfinished`) only the length.
#[must_use]
pub fn flatten(summary: &Value) -> Metrics {
    let mut metrics = Metrics::new();
    let Value::Object(fields) = summary else {
        return metrics;
    };
    for (name, value) in fields.iter().filter(|(name, _)| *name != "seed") {
        if value.is_number() {
            walk(name, value, &mut metrics);
        }
    }
    if let Some(Value::Object(order)) = summary.pointer("/orders/0") {
        all_of(order, "", &mut metrics);
    }
    metrics
}

/// The fields of an object. Where `all` repeats a number, the one outside counts.
fn all_of(fields: &Map<String, Value>, prefix: &str, metrics: &mut Metrics) {
    let (all, others): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| *name == "all");
    for (name, value) in others {
        walk(&joined(prefix, name), value, metrics);
    }
    for (_, value) in all {
        walk(prefix, value, metrics);
    }
}

fn walk(path: &str, value: &Value, metrics: &mut Metrics) {
    match value {
        Value::Number(number) => {
            if let Some(number) = number.as_f64() {
                metrics.entry(path.to_owned()).or_insert(number);
            }
        }
        Value::Object(fields) => all_of(fields, path, metrics),
        Value::Array(items) => list(path, items, metrics),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn list(path: &str, items: &[Value], metrics: &mut Metrics) {
    let named: Option<Vec<_>> = items.iter().map(|i| Some((name(i)?, i))).collect();
    match named {
        Some(named) if !named.is_empty() => {
            let one = path.strip_suffix('s').unwrap_or(path);
            for (name, item) in named {
                walk(&joined(one, name), item, metrics);
            }
        }
        _ => {
            let length = crate::experiment::estimate::float(items.len());
            metrics.entry(path.to_owned()).or_insert(length);
        }
    }
}

/// What an item of a list is called.
fn name(item: &Value) -> Option<&str> {
    let name = item.get("name").or_else(|| item.get("tenant"));
    name.and_then(Value::as_str)
}

fn joined(prefix: &str, name: &str) -> String {
    match prefix {
        "" => name.to_owned(),
        _ => format!("{prefix}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_found_by_their_path() {
        let summary = json!({
            "schema": "any", "seed": 7, "gpus": 64.0,
            "orders": [{
                "order": "drf", "makespan_ms": 9, "jain_index": null, "truth": true,
                "all": {"makespan_ms": 8, "wait_ms": {"p50": 1.5}},
                "tenants": [{"tenant": "red", "jobs": 3}, {"tenant": "blue", "jobs": 4}],
                "unfinished": [{"job": "red/a"}, {"job": "red/b"}],
                "later": {"deep": {"er": 2}, "pools": [{"name": "h100", "idle": 0.5}]},
            }],
        });
        let flat: Vec<(String, f64)> = flatten(&summary).into_iter().collect();
        let expected = [
            ("gpus", 64.0),
            ("later.deep.er", 2.0),
            ("later.pool.h100.idle", 0.5),
            ("makespan_ms", 9.0),
            ("tenant.blue.jobs", 4.0),
            ("tenant.red.jobs", 3.0),
            ("unfinished", 2.0),
            ("wait_ms.p50", 1.5),
        ];
        assert_eq!(flat, expected.map(|(name, n)| (name.to_owned(), n)));
    }

    #[test]
    fn an_empty_list_counts_nothing() {
        let summary = json!({"orders": [{"unfinished": []}]});
        assert_eq!(flatten(&summary)["unfinished"], 0.0);
    }
}
