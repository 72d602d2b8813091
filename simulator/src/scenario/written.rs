//! How a scenario's file is kept as it was written: every scalar as its text with its place, so
//! that all that is wrong can be told at once. What it means is for the checks.

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

/// A list or a map; nothing written is an empty one.
pub(super) fn nothing_or<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// One value for all, or a mix of values with weights.
pub(super) enum Mix {
    One(String),
    Parts(Vec<(Text, Text)>),
}

// Not `untagged`, which would lose the places inside.
impl<'de> Deserialize<'de> for Mix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MixVisitor)
    }
}

struct MixVisitor;

impl<'de> de::Visitor<'de> for MixVisitor {
    type Value = Mix;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value, or a mix such as {1: 0.5, 4: 0.5}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Mix, E> {
        Ok(Mix::One(text.to_owned()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Mix, E> {
        Ok(Mix::One(number.to_string()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Mix, E> {
        Ok(Mix::One(number.to_string()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Mix, E> {
        Ok(Mix::One(number.to_string()))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Mix, A::Error> {
        let mut mix = Vec::new();
        while let Some(size) = map.next_key()? {
            mix.push((size, map.next_value()?));
        }
        Ok(Mix::Parts(mix))
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

impl<T> Map<T> {
    /// The fields, if there are any.
    pub(super) const fn fields(&self) -> Option<&T> {
        match self {
            Self::Fields(fields) => Some(fields),
            Self::Scalar(_) => None,
        }
    }
}
