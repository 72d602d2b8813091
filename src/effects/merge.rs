//! What a JSON Merge Patch (RFC 7386) has to say so that one document becomes another.

use serde_json::{Map, Value};

/// The patch that makes `after` of `before`. A field that is gone has to be named in it: what a
/// merge patch does not name stays.
pub(super) fn difference(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return after.clone();
    };
    let gone = before.keys().filter(|field| !after.contains_key(*field));
    let mut patch: Map<String, Value> = gone.map(|field| (field.clone(), Value::Null)).collect();
    for (field, value) in after {
        match before.get(field) {
            Some(before) if before == value => {}
            // What replaces no object is taken as it stands, so nothing of it needs to be removed.
            before => {
                let value = before.map_or_else(|| value.clone(), |b| difference(b, value));
                patch.insert(field.clone(), value);
            }
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::difference;
    use serde_json::json;

    /// Each document, and the patch that makes the next of it.
    #[test]
    fn what_is_gone_is_named() {
        for (before, after, patch) in [
            (json!({}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}})),
            (json!({"a": 1, "b": 2}), json!({"b": 2}), json!({"a": null})),
            (
                json!({"forecast": {"ahead": ["x"], "p50": "soon"}, "state": "Waiting"}),
                json!({"forecast": {"p50": "late"}, "state": "Waiting"}),
                json!({"forecast": {"ahead": null, "p50": "late"}}),
            ),
            (json!({"a": [1, 2]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"a": {"b": 1}}), json!({"a": "b"}), json!({"a": "b"})),
            (json!({"a": {"b": 1}}), json!({"a": {"b": 1}}), json!({})),
        ] {
            assert_eq!(difference(&before, &after), patch, "{before} {after}");
            let mut merged = before.clone();
            json_merge(&mut merged, &patch);
            assert_eq!(merged, after);
        }
    }

    /// RFC 7386, section 2.
    fn json_merge(target: &mut serde_json::Value, patch: &serde_json::Value) {
        let Some(patch) = patch.as_object() else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        let target = target.as_object_mut().unwrap();
        for (field, value) in patch {
            if value.is_null() {
                target.remove(field);
            } else {
                json_merge(
                    target.entry(field).or_insert(serde_json::Value::Null),
                    value,
                );
            }
        }
    }
}
