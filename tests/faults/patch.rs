//! Patches, as far as they are used.

use serde_json::Value;

/// RFC 6902: `test`, `add`, `replace` and `remove`. A failed one says so as the API server does.
pub(crate) fn json(object: &mut Value, operations: &Value) -> Result<(), String> {
    for operation in operations.as_array().unwrap() {
        let path = operation["path"].as_str().unwrap();
        let value = operation.get("value").cloned().unwrap_or_default();
        let (parent, field) = path.rsplit_once('/').unwrap();
        let field = field.replace("~1", "/").replace("~0", "~");
        let there = object.pointer(path).cloned().unwrap_or_default();
        match operation["op"].as_str().unwrap() {
            "test" if there == value => continue,
            "test" => return Err(format!("testing value {path} failed: test failed")),
            "replace" if there.is_null() => return Err(format!("replace: {path} is missing")),
            _ => {}
        }
        let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) else {
            return Err(format!("{path}: its parent is missing"));
        };
        match operation["op"].as_str().unwrap() {
            "add" | "replace" => drop(parent.insert(field, value)),
            "remove" => drop(parent.remove(&field)),
            other => panic!("an operation {other}"),
        }
    }
    Ok(())
}

/// RFC 7386.
pub(crate) fn merge(object: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Default::default());
    }
    let object = object.as_object_mut().unwrap();
    for (field, value) in fields {
        if value.is_null() {
            object.remove(field);
        } else {
            merge(object.entry(field.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Kubernetes' own: some lists are merged by a key of their items.
pub(crate) fn strategic(object: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Default::default());
    }
    let object = object.as_object_mut().unwrap();
    for (field, value) in fields {
        let merged_by = match field.as_str() {
            "conditions" => Some("type"),
            "schedulingGates" => Some("name"),
            _ => None,
        };
        match merged_by.zip(value.as_array()) {
            Some((by, items)) => merge_list(
                object.entry(field.clone()).or_insert(Value::Null),
                items,
                by,
            ),
            None if value.is_null() => drop(object.remove(field)),
            None => strategic(object.entry(field.clone()).or_insert(Value::Null), value),
        }
    }
}

fn merge_list(list: &mut Value, items: &[Value], by: &str) {
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    let list = list.as_array_mut().unwrap();
    for item in items {
        let at = list.iter().position(|known| known[by] == item[by]);
        match at {
            Some(at) if item["$patch"] == "delete" => drop(list.remove(at)),
            Some(at) => strategic(&mut list[at], item),
            None if item["$patch"] == "delete" => {}
            None => list.push(item.clone()),
        }
    }
}
