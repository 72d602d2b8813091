//! The scenario's file as it is written. Every scalar is kept as its text with its place, so that
//! all that is wrong can be told at once; what it means is for the checks.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::Spanned;

/// A scalar as it was written.
pub(super) type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct File {
    pub(super) api_version: Text,
    pub(super) kind: Text,
    pub(super) name: Text,
    #[serde(default)]
    pub(super) description: String,
    pub(super) seed: Option<Text>,
    pub(super) pools: BTreeMap<String, Spanned<Pool>>,
    pub(super) tenants: Spanned<Vec<Tenant>>,
    #[serde(default)]
    pub(super) policy: Policy,
    pub(super) workload: Spanned<Vec<Stream>>,
    pub(super) until: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pool {
    pub(super) count: Text,
    pub(super) gpus: Text,
    pub(super) cpu: Text,
    pub(super) memory: Text,
    pub(super) model: Option<String>,
}

/// The same fields as the `Tenant` object of a cluster has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tenant {
    pub(super) name: Text,
    pub(super) weight: Option<Text>,
    #[serde(default)]
    pub(super) guaranteed: Amounts,
    #[serde(default)]
    pub(super) limit: Amounts,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Amounts {
    pub(super) gpu: Option<Text>,
    pub(super) cpu: Option<Text>,
    pub(super) memory: Option<Text>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) orders: Option<Vec<Text>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stream {
    pub(super) tenant: Text,
    pub(super) name: Text,
    pub(super) jobs: Text,
    pub(super) arrivals: Spanned<Arrivals>,
    #[serde(default)]
    pub(super) gang: Option<Spanned<Gang>>,
    pub(super) task: Spanned<Amounts>,
    pub(super) priority: Option<Text>,
    pub(super) duration: Spanned<Runtime>,
}

/// Exactly one of `at`, `every` and `poisson`; `from` goes with the last two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arrivals {
    pub(super) at: Option<Text>,
    pub(super) every: Option<Text>,
    pub(super) poisson: Option<Poisson>,
    pub(super) from: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Poisson {
    pub(super) mean: Text,
}

/// Exactly one of the two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Runtime {
    pub(super) fixed: Option<Text>,
    pub(super) lognormal: Option<Lognormal>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lognormal {
    pub(super) median: Text,
    pub(super) sigma: Text,
}

/// One size for all, or a mix of sizes with weights.
pub(super) enum Gang {
    One(String),
    Mix(Vec<(Text, Text)>),
}

// Not `untagged`, which would lose the places inside.
impl<'de> Deserialize<'de> for Gang {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GangVisitor)
    }
}

struct GangVisitor;

impl<'de> de::Visitor<'de> for GangVisitor {
    type Value = Gang;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of tasks, or a mix such as {1: 0.5, 4: 0.5}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Gang, E> {
        Ok(Gang::One(text.to_owned()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Gang, E> {
        Ok(Gang::One(number.to_string()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Gang, E> {
        Ok(Gang::One(number.to_string()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Gang, E> {
        Ok(Gang::One(number.to_string()))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Gang, A::Error> {
        let mut mix = Vec::new();
        while let Some(size) = map.next_key()? {
            mix.push((size, map.next_value()?));
        }
        Ok(Gang::Mix(mix))
    }
}
