//! What becomes of Tenants with environments.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use crate::tenancy::Template;

/// What becomes of Tenants with environments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Tenancy {
    /// How their namespaces are called, with `{tenant}` and `{environment}` in it; by default
    /// `ml-{tenant}-{environment}`. Namespaces that are there keep their name: theirs is to be named
    /// in the Tenant first.
    #[serde(deserialize_with = "read")]
    #[schemars(with = "String")]
    pub namespace_template: Template,
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Template, D::Error> {
    Template::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}
