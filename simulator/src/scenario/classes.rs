//! PriorityClasses of a scenario.

use std::collections::BTreeMap;

use super::fields::Fields;
use super::file::{self, File};
use super::written::{Map, Text};

/// A PriorityClass.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Class {
    pub(super) value: i32,
    /// It counts across tenants, before fairness.
    pub(super) cluster_wide: bool,
    /// Its jobs are not evicted.
    pub(super) protected: bool,
}

/// All of them, by name.
pub(super) type Classes = BTreeMap<String, Class>;

pub(super) fn classes(fields: &mut Fields<'_>, written: &File) -> Classes {
    let mut classes = Classes::new();
    for (name, written) in &written.priority_classes {
        let path = format!("priorityClasses.{name}");
        fields.name(&path, name, written.referenced);
        let class = match &written.value {
            Map::Fields(class) => self::class(fields, &path, class),
            Map::Scalar(value) => Class {
                value: fields.number_at(&path, value, written.referenced, (i32::MIN, i32::MAX)),
                ..Class::default()
            },
        };
        classes.insert(name.clone(), class);
    }
    classes
}

fn class(fields: &mut Fields<'_>, path: &str, written: &file::Class) -> Class {
    let mut flag = |name: &str, text: Option<&Text>| {
        text.is_some_and(|text| fields.flag(&format!("{path}.{name}"), text))
    };
    let cluster_wide = flag("clusterWide", written.cluster_wide.as_ref());
    let protected = flag("protected", written.protected.as_ref());
    Class {
        value: fields.number(&format!("{path}.value"), &written.value, i32::MIN, i32::MAX),
        cluster_wide,
        protected,
    }
}

/// The class that a job names, or the value that it gives itself.
pub(super) fn priority(
    fields: &mut Fields<'_>,
    field: &str,
    text: &Text,
    classes: &Classes,
) -> Class {
    if let Some(class) = classes.get(&text.value) {
        return *class;
    }
    if let Ok(value) = text.value.parse() {
        return Class {
            value,
            ..Class::default()
        };
    }
    if classes.is_empty() {
        let what = format!(
            "`{}` is not a number from {} to {}",
            text.value,
            i32::MIN,
            i32::MAX
        );
        let remedy = "write a number in that range, or describe priorityClasses and name one";
        fields.wrong(text.referenced, field, what, remedy);
    } else {
        let names = classes.keys().map(String::as_str);
        fields.known(field, text, "no PriorityClass is called", names);
    }
    Class::default()
}
