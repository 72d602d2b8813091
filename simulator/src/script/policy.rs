//! The `policy` line: what an administrator chooses, and the classes that jobs may name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prorata_core::{Mix, Needs, Order, Place, Policy, Resource, Resources};

use super::settings::{Settings, amounts, number};
use super::wrong::Wrong;
use crate::quantity;

/// What the policy lines have said.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) policy: Policy,
    /// The priority of each class.
    pub(super) classes: BTreeMap<String, i32>,
    /// Classes that count across tenants.
    pub(super) cluster_wide: BTreeSet<String>,
    /// Classes whose jobs are not evicted.
    pub(super) protected: BTreeSet<String>,
}

const KEYS: [&str; 15] = [
    "order",
    "place",
    "preemption",
    "min-runtime",
    "loss-budget",
    "fair-share",
    "grace",
    "reserve-after",
    "half-life",
    "topology",
    "mix",
    "value:",
    "class:",
    "cluster-wide",
    "protected",
];

const ORDERS: [(&str, Order); 6] = [
    ("drf", Order::Drf),
    ("fifo", Order::Fifo),
    ("priority", Order::Priority),
    ("srtf", Order::Srtf),
    ("srsf", Order::Srsf),
    ("las", Order::Las),
];

const PLACES: [(&str, Place); 4] = [
    ("prorata", Place::Prorata),
    ("fgd", Place::Fgd),
    ("best-fit", Place::BestFit),
    ("first-fit", Place::FirstFit),
];

impl Rules {
    /// Reads one more line.
    pub(super) fn read(&mut self, settings: &Settings<'_>) -> Result<(), Wrong> {
        settings.only(&KEYS)?;
        let policy = &mut self.policy;
        if let Some(text) = settings.get("order") {
            policy.order = one_of("order", text, &ORDERS)?;
        }
        if let Some(text) = settings.get("place") {
            policy.place = place(text)?;
        }
        if let Some(text) = settings.get("preemption") {
            let switch = [("on", true), ("off", false)];
            policy.preemption.enabled = one_of("preemption", text, &switch)?;
        }
        if let Some(span) = settings.duration("min-runtime")? {
            policy.preemption.min_runtime = span;
        }
        if let Some(text) = settings.get("loss-budget") {
            policy.preemption.loss_budget = Some(number("loss-budget", "loss-budget=", text)?);
        }
        if let Some(text) = settings.get("fair-share") {
            let switch = [("on", true), ("off", false)];
            policy.preemption.fair_share = one_of("fair-share", text, &switch)?;
        }
        policy.reserve_after = settings.duration("reserve-after")?.or(policy.reserve_after);
        policy.half_life = settings.duration("half-life")?.or(policy.half_life);
        let labels = settings.names("topology")?.into_iter();
        policy.topology.extend(labels.map(Into::into));
        if let Some(text) = settings.get("mix") {
            policy.mix = Arc::new(mix(text)?);
        }
        for (model, text) in settings.with_prefix("value:") {
            let value = quantity::parse(Resource::Gpu, text).ok();
            let value = value.and_then(|value| u32::try_from(value).ok());
            let wrong = || {
                let what = format!("`{text}` is no value of a GPU");
                Wrong::new("value", what, format!("for example: value:{model}=1.5"))
            };
            policy.values.insert(model.into(), value.ok_or_else(wrong)?);
        }
        self.classes(settings)
    }

    fn classes(&mut self, settings: &Settings<'_>) -> Result<(), Wrong> {
        for (class, text) in settings.with_prefix("class:") {
            let priority = number("class", &format!("class:{class}="), text)?;
            self.classes.insert(class.to_owned(), priority);
        }
        let named = |key| {
            let names = settings.names(key)?;
            match names.iter().find(|name| !self.classes.contains_key(**name)) {
                Some(name) => Err(Wrong::new(
                    key,
                    format!("no class is called {name}"),
                    format!("give it a value: class:{name}=100"),
                )),
                None => Ok(names.into_iter().map(str::to_owned)),
            }
        };
        self.cluster_wide.extend(named("cluster-wide")?);
        self.protected.extend(named("protected")?);
        Ok(())
    }

    /// A priority by number or by class, with the class.
    pub(super) fn priority<'s>(
        &self,
        settings: &Settings<'s>,
    ) -> Result<(i32, Option<&'s str>), Wrong> {
        let Some(text) = settings.get("priority") else {
            return Ok((0, None));
        };
        match self.classes.get(text) {
            Some(priority) => Ok((*priority, Some(text))),
            None => Ok((number("priority", "priority=", text)?, None)),
        }
    }
}

fn one_of<T: Copy>(key: &str, text: &str, known: &[(&str, T)]) -> Result<T, Wrong> {
    let found = known.iter().find(|(name, _)| *name == text);
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| Wrong::word(key, text, &names))
}

fn place(text: &str) -> Result<Place, Wrong> {
    match text.strip_prefix("random:") {
        Some(seed) => Ok(Place::Random(number("place", "place=random:", seed)?)),
        None => one_of("place", text, &PLACES).map_err(|_| {
            Wrong::word(
                "place",
                text,
                &["prorata", "fgd", "best-fit", "first-fit", "random:SEED"],
            )
        }),
    }
}

/// `gpu:1*6+gpu:8,cpu:32*1`: typical tasks, with how often each is seen.
fn mix(text: &str) -> Result<Mix, Wrong> {
    let kind = |part: &str| {
        let (task, count) = part.rsplit_once('*').unwrap_or((part, "1"));
        let task = amounts("mix", task)?.into_iter();
        let task = task.fold(Resources::ZERO, |task, (r, amount)| task.with(r, amount));
        let count: u32 = number("mix", "mix=gpu:1*", count)?;
        Ok((task, Arc::<Needs>::default(), u64::from(count)))
    };
    let seen: Result<Vec<_>, Wrong> = text.split('+').map(kind).collect();
    Ok(Mix::of(seen?, 100))
}
