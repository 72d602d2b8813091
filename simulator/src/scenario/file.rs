//! The scenario's file as it is written. Every scalar is kept as its text with its place, so that
//! all that is wrong can be told at once; what it means is for the checks.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, MapDeserializer};
use serde::{Deserialize, Deserializer, de};
use serde_saphyr::Spanned;

/// A scalar as it was written.
pub(super) type Text = Spanned<String>;

/// Fields, or the single value that was written in their place.
pub(super) type Written<T> = Spanned<Map<T>>;

pub(super) enum Map<T> {
    Fields(T),
    Scalar(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct File {
    pub(super) api_version: Text,
    pub(super) kind: Text,
    pub(super) name: Text,
    #[serde(default)]
    pub(super) description: String,
    pub(super) seed: Option<Text>,
    pub(super) pools: BTreeMap<String, Written<Pool>>,
    pub(super) tenants: Spanned<Vec<Written<Tenant>>>,
    pub(super) policy: Option<Written<Policy>>,
    pub(super) workload: Spanned<Vec<Written<Stream>>>,
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
    pub(super) guaranteed: Option<Written<Amounts>>,
    pub(super) limit: Option<Written<Amounts>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Amounts {
    pub(super) gpu: Option<Text>,
    pub(super) cpu: Option<Text>,
    pub(super) memory: Option<Text>,
}

#[derive(Deserialize)]
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
    pub(super) arrivals: Written<Arrivals>,
    #[serde(default)]
    pub(super) gang: Option<Spanned<Gang>>,
    pub(super) task: Written<Amounts>,
    pub(super) priority: Option<Text>,
    pub(super) duration: Written<Runtime>,
}

/// Exactly one of `at`, `every` and `poisson`; `from` goes with the last two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arrivals {
    pub(super) at: Option<Text>,
    pub(super) every: Option<Text>,
    pub(super) poisson: Option<Written<Poisson>>,
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
    pub(super) lognormal: Option<Written<Lognormal>>,
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

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Map<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MapVisitor(PhantomData))
    }
}

struct MapVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for MapVisitor<T> {
    type Value = Map<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fields such as {name: value}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Map<T>, E> {
        Ok(Map::Scalar(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Map<T>, E> {
        Ok(Map::Scalar(truth.to_string()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Map<T>, E> {
        Ok(Map::Scalar(number.to_string()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Map<T>, E> {
        Ok(Map::Scalar(number.to_string()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Map<T>, E> {
        Ok(Map::Scalar(number.to_string()))
    }

    /// Nothing written is no fields.
    fn visit_unit<E: de::Error>(self) -> Result<Map<T>, E> {
        let none = std::iter::empty::<(&str, &str)>();
        T::deserialize(MapDeserializer::new(none)).map(Map::Fields)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Map<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Map::Fields)
    }
}
