//! How large containers and pods are.

use prorata_core::Resource;
use serde_json::{Map, Value, json};

use super::object::{Kind, Wanted};
use super::plan::{Bounds, Part, Whole};
use super::{quantity, quota};

/// What a container gets where it says nothing, nobody says what it gets then, and it has to get
/// something because its namespace is bounded: half a core and 1 GiB.
const DEFAULTS: [(Resource, u64); 2] = [(Resource::Cpu, 500), (Resource::Memory, 1 << 30)];

/// The LimitRange, if anything is bounded.
///
/// It spells out what the API server would fill in, so that both can be compared.
pub(super) fn object(team: &Whole<'_>, part: &Part) -> Option<Wanted> {
    let quota = quota::compute(team, part);
    let Bounds { containers, pods } = &team.bounds;
    let mut container = Map::new();
    for (resource, usual) in DEFAULTS {
        let bounded = quota.iter().any(|(bounded, _)| *bounded == resource);
        let pod = pods.max.get(resource).is_some() || pods.min.get(resource).is_some();
        let (min, max) = (containers.min.get(resource), containers.max.get(resource));
        let said = containers.default.get(resource);
        if !(bounded || pod || min.is_some() || max.is_some() || said.is_some()) {
            continue;
        }
        let most = [max, pods.max.get(resource)].into_iter().flatten().min();
        let usual = usual.min(most.unwrap_or(u64::MAX)).max(min.unwrap_or(0));
        let name = resource.name();
        let default = quantity::text(resource, said.unwrap_or(usual));
        for (field, value) in [
            ("default", Some(default.clone())),
            ("defaultRequest", Some(default)),
            ("min", min.map(|min| quantity::text(resource, min))),
            ("max", max.map(|max| quantity::text(resource, max))),
        ] {
            put(&mut container, field, name, value);
        }
    }
    let mut pod = Map::new();
    for (resource, _) in DEFAULTS {
        let texts = [("min", &pods.min), ("max", &pods.max)];
        for (field, size) in texts {
            let text = size
                .get(resource)
                .map(|amount| quantity::text(resource, amount));
            put(&mut pod, field, resource.name(), text);
        }
    }
    let items = [("Container", container), ("Pod", pod)].into_iter();
    let limits: Vec<Value> = items
        .filter(|(_, item)| !item.is_empty())
        .map(|(kind, mut item)| {
            item.insert("type".to_owned(), json!(kind));
            Value::Object(item)
        })
        .collect();
    let rest = json!({ "spec": { "limits": limits } });
    (!limits.is_empty()).then(|| Wanted::new(Kind::LimitRange, team.name, part, "prorata", rest))
}

fn put(item: &mut Map<String, Value>, field: &str, resource: &str, text: Option<String>) {
    if let Some(text) = text {
        let field = item.entry(field).or_insert_with(|| json!({}));
        field[resource] = json!(text);
    }
}
