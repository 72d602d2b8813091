//! The words of a line: names between commas, and `key=value`.

use std::collections::BTreeSet;
use std::time::Duration;

use prorata_core::{JobId, Limits, Others, Resource, Resources};

use super::wrong::Wrong;
use crate::quantity;

/// The `key=value` words of a line.
pub(super) struct Settings<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Settings<'a> {
    pub(super) fn read(words: impl Iterator<Item = &'a str>) -> Result<Self, Wrong> {
        let mut settings: Vec<(&str, &str)> = Vec::new();
        for word in words {
            let pair = word.split_once('=');
            let (key, value) = pair
                .ok_or_else(|| Wrong::new(word, "has no value", format!("write {word}=VALUE")))?;
            if settings.iter().any(|(seen, _)| *seen == key) {
                return Err(Wrong::new(key, "is set twice", "keep one of the two"));
            }
            settings.push((key, value));
        }
        Ok(Self(settings))
    }

    /// Refuses keys other than these. One that ends in a colon stands for all that begin so.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Wrong> {
        let fits = |key: &str| {
            known.iter().any(|known| match known.strip_suffix(':') {
                Some(_) => key.len() > known.len() && key.starts_with(known),
                None => key == *known,
            })
        };
        let Some((key, _)) = self.0.iter().find(|(key, _)| !fits(key)) else {
            return Ok(());
        };
        let remedy = match known {
            [] => "this line takes no settings".to_owned(),
            _ => format!("use {}", known.join(", ")),
        };
        Err(Wrong::new(key, "is not known here", remedy))
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(k, _)| *k == key);
        found.map(|(_, value)| *value)
    }

    /// What begins with `prefix`: the rest of each key, with its value.
    pub(super) fn with_prefix(
        &self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        let rest = move |(key, value): &(&'a str, &'a str)| {
            Some((key.strip_prefix(prefix)?, *value)).filter(|(rest, _)| !rest.is_empty())
        };
        self.0.iter().filter_map(rest)
    }

    /// `other:NAME=N`: resources that are counted node by node and charged to nobody.
    pub(super) fn others(&self) -> Result<Others, Wrong> {
        let amount = |(name, text): (&str, &str)| {
            Ok((
                name.into(),
                number("other", &format!("other:{name}="), text)?,
            ))
        };
        self.with_prefix("other:").map(amount).collect()
    }

    /// The names between the commas of a value.
    pub(super) fn names(&self, key: &str) -> Result<Vec<&'a str>, Wrong> {
        self.get(key)
            .map_or_else(|| Ok(Vec::new()), |text| split(key, text))
    }

    pub(super) fn number<N: std::str::FromStr>(&self, key: &str, default: N) -> Result<N, Wrong> {
        self.get(key)
            .map_or(Ok(default), |text| number(key, &format!("{key}="), text))
    }

    pub(super) fn duration(&self, key: &str) -> Result<Option<Duration>, Wrong> {
        self.get(key).map(|text| duration(key, text)).transpose()
    }

    /// `yes` or `no`.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, Wrong> {
        match self.get(key) {
            None => Ok(default),
            Some("yes") => Ok(true),
            Some("no") => Ok(false),
            Some(word) => Err(Wrong::word(key, word, &["yes", "no"])),
        }
    }

    /// `gpu=4 cpu=8 memory=64Gi`.
    pub(super) fn resources(&self) -> Result<Resources, Wrong> {
        let mut resources = Resources::ZERO;
        for resource in Resource::ALL {
            if let Some(text) = self.get(resource.name()) {
                let amount = quantity::parse(resource, text);
                let amount = amount.map_err(|e| Wrong::quantity(resource.name(), &e))?;
                resources = resources.with(resource, amount);
            }
        }
        Ok(resources)
    }

    /// `gpu:2,cpu:4`.
    pub(super) fn amounts(&self, key: &str) -> Result<Vec<(Resource, u64)>, Wrong> {
        self.get(key)
            .map_or_else(|| Ok(Vec::new()), |text| amounts(key, text))
    }

    /// The same, as caps.
    pub(super) fn caps(&self, key: &str) -> Result<Limits, Wrong> {
        let caps = self.amounts(key)?.into_iter();
        Ok(caps.fold(Limits::NONE, |caps, (r, amount)| caps.with(r, amount)))
    }
}

/// `gpu:2,cpu:4`.
pub(super) fn amounts(key: &str, text: &str) -> Result<Vec<(Resource, u64)>, Wrong> {
    let amount = |part: &str| {
        let named = part.split_once(':').and_then(|(name, amount)| {
            let resource = Resource::ALL.into_iter().find(|r| r.name() == name)?;
            Some((resource, amount))
        });
        let example = format!("for example: {key}=gpu:2,cpu:4");
        let (resource, text) =
            named.ok_or_else(|| Wrong::new(key, format!("`{part}` is no amount"), example))?;
        let amount = quantity::parse(resource, text);
        Ok((resource, amount.map_err(|e| Wrong::quantity(key, &e))?))
    };
    text.split(',').map(amount).collect()
}

/// A whole number; `example` is what the remedy writes before it.
pub(super) fn number<N: std::str::FromStr>(
    field: &str,
    example: &str,
    text: &str,
) -> Result<N, Wrong> {
    let what = || format!("`{text}` is no whole number in range");
    let remedy = || format!("for example: {example}8");
    text.parse()
        .map_err(|_| Wrong::new(field, what(), remedy()))
}

/// Names between commas.
pub(super) fn split<'a>(field: &str, names: &'a str) -> Result<Vec<&'a str>, Wrong> {
    let names: Vec<&str> = names.split(',').collect();
    let mut seen = BTreeSet::new();
    let wrong = names
        .iter()
        .find(|name| name.is_empty() || !seen.insert(**name));
    match wrong {
        None => Ok(names),
        Some(&"") => Err(Wrong::new(
            field,
            "a name is empty",
            "write names with single commas between them",
        )),
        Some(name) => Err(Wrong::new(
            field,
            format!("{name} is named twice"),
            "name it once",
        )),
    }
}

pub(super) fn job_id(text: &str) -> Result<JobId, Wrong> {
    match text.split_once('/') {
        Some((tenant, job)) if !tenant.is_empty() && !job.is_empty() && !job.contains('/') => {
            Ok(JobId::new(tenant, job, ""))
        }
        _ => {
            let what = format!("`{text}` names no job");
            Err(Wrong::new(
                "job",
                what,
                "write TENANT/JOB, for example red/train",
            ))
        }
    }
}

pub(super) fn duration(key: &str, text: &str) -> Result<Duration, Wrong> {
    humantime::parse_duration(text).map_err(|error| {
        let what = format!("`{text}` is no time: {error}");
        Wrong::new(key, what, "write for example 90s, 1h30m or 250ms")
    })
}
