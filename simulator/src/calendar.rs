//! What is due to a tenant over time: hours that come back every week, and grants with an end.
//!
//! Pure: the same words and the same moment give the same tenant, in a cluster as in a simulation.
//! Hours are told by the clock on the wall of their time zone. Where a clock is put forward over a
//! moment, that is as much later; where it is put back, the first of two moments counts.

use std::num::NonZeroU32;

use jiff::Timestamp;
use prorata_core::{Limits, Resource, Resources, Tenant, Weight};

mod hours;
mod text;

pub use hours::{Hours, overlap};
pub use text::{DAYS, HoursError, moment};

/// How far ahead a change is looked for: a week and a day, for a clock may be put back.
const DAYS_AHEAD: i64 = 8;

/// What is due to a tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// When nothing else is in force.
    pub base: Tenant,
    /// Hours in which something else is due. No two of them overlap.
    pub hours: Vec<Hours>,
    /// What is due for a while on top of that.
    pub grants: Vec<Grant>,
}

/// What is due instead. What is not said stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Its weight.
    pub weight: Option<Weight>,
    /// What it owns.
    pub guaranteed: Limits,
    /// What it lends at most.
    pub lending_limit: Limits,
    /// What it may hold at most.
    pub limit: Limits,
}

/// What is due on top for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its name.
    pub name: String,
    /// When it begins; nothing: at once.
    pub from: Option<Timestamp>,
    /// When it ends.
    pub until: Timestamp,
    /// More that it weighs.
    pub weight: Option<Weight>,
    /// More that the tenant owns.
    pub guaranteed: Resources,
    /// More that it may hold, where that is limited.
    pub limit: Resources,
}

impl Grant {
    fn is_in_force(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && now < self.until
    }
}

impl Terms {
    /// What never changes.
    #[must_use]
    pub const fn fixed(base: Tenant) -> Self {
        Self {
            base,
            hours: Vec::new(),
            grants: Vec::new(),
        }
    }

    /// Whether nothing ever changes.
    #[must_use]
    pub const fn is_fixed(&self) -> bool {
        self.hours.is_empty() && self.grants.is_empty()
    }

    /// What is due now.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Tenant {
        let hours = self.hours.iter().filter(|hours| hours.is_in_force(now));
        let grants = self.grants.iter().filter(|grant| grant.is_in_force(now));
        grants.fold(hours.fold(self.base.clone(), instead), on_top)
    }

    /// The names of the hours and grants that are in force now.
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> Vec<&str> {
        let hours = self.hours.iter().filter(|hours| hours.is_in_force(now));
        let grants = self.grants.iter().filter(|grant| grant.is_in_force(now));
        let hours = hours.map(|hours| hours.name.as_str());
        hours
            .chain(grants.map(|grant| grant.name.as_str()))
            .collect()
    }

    /// When something else is due next; `None` where that is never, or more than a week away for
    /// hours that a clock swallows.
    #[must_use]
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let current = (self.at(now), self.in_force(now));
        let mut moments: Vec<Timestamp> = self.moments(now).collect();
        moments.sort();
        moments
            .into_iter()
            .find(|at| (self.at(*at), self.in_force(*at)) != current)
    }

    /// The moments from now on at which hours or grants begin or end: all of grants, and those of
    /// hours within the next week.
    pub fn moments(&self, now: Timestamp) -> impl Iterator<Item = Timestamp> {
        let hours = self
            .hours
            .iter()
            .flat_map(move |hours| hours.moments(now, DAYS_AHEAD));
        let grants = self.grants.iter();
        let grants = grants.flat_map(|grant| grant.from.into_iter().chain([grant.until]));
        hours.chain(grants).filter(move |at| *at > now)
    }

    /// All that is ever due, and perhaps more: each of the hours with the grants of each moment.
    #[must_use]
    pub fn variants(&self) -> Vec<Tenant> {
        let one = |hours: &Hours| instead(self.base.clone(), hours);
        let bases: Vec<Tenant> = std::iter::once(self.base.clone())
            .chain(self.hours.iter().map(one))
            .collect();
        // Grants add up most where one of them begins.
        let begins = |grant: &Grant| grant.from.unwrap_or(Timestamp::MIN);
        let mut moments: Vec<Timestamp> = self.grants.iter().map(begins).collect();
        moments.extend(self.grants.iter().map(|grant| grant.until));
        moments.push(Timestamp::MAX);
        moments.sort();
        moments.dedup();
        let with = |base: &Tenant, at: Timestamp| {
            let grants = self.grants.iter().filter(|grant| grant.is_in_force(at));
            grants.fold(base.clone(), on_top)
        };
        let each = |at: Timestamp| bases.iter().map(move |base| (base, at));
        let all = moments.into_iter().flat_map(each);
        all.map(|(base, at)| with(base, at)).collect()
    }

    /// The most that the tenant may ever hold of a resource; `None` where that is not limited.
    #[must_use]
    pub fn limit_at_most(&self, resource: Resource) -> Option<u64> {
        let limits = self.variants().into_iter();
        let limits: Option<Vec<u64>> = limits.map(|tenant| tenant.limit.get(resource)).collect();
        limits?.into_iter().max()
    }
}

fn instead(mut tenant: Tenant, hours: &Hours) -> Tenant {
    let change = &hours.change;
    tenant.weight = change.weight.unwrap_or(tenant.weight);
    for r in Resource::ALL {
        if let Some(amount) = change.guaranteed.get(r) {
            tenant.guaranteed = tenant.guaranteed.with(r, amount);
        }
        if let Some(amount) = change.lending_limit.get(r) {
            tenant.lending_limit = tenant.lending_limit.with(r, amount);
        }
        if let Some(amount) = change.limit.get(r) {
            tenant.limit = tenant.limit.with(r, amount);
        }
    }
    tenant
}

fn on_top(mut tenant: Tenant, grant: &Grant) -> Tenant {
    // Beyond what any node has, more makes no difference.
    let sum = |amount: u64, more: u64| amount.saturating_add(more).min(Resources::MAX_AMOUNT);
    tenant.weight = grant
        .weight
        .map_or(tenant.weight, |more| together(tenant.weight, more));
    for r in Resource::ALL {
        let owned = sum(tenant.guaranteed.get(r), grant.guaranteed.get(r));
        tenant.guaranteed = tenant.guaranteed.with(r, owned);
        if let Some(limit) = tenant.limit.get(r) {
            tenant.limit = tenant.limit.with(r, sum(limit, grant.limit.get(r)));
        }
    }
    tenant
}

/// Two weights as one, exactly where that is a fraction of whole numbers of 32 bits.
fn together(one: Weight, other: Weight) -> Weight {
    let parts = |weight: Weight| {
        let (above, below) = (weight.numerator(), weight.denominator());
        (u128::from(above), u128::from(below))
    };
    let ((above, below), (more, of)) = (parts(one), parts(other));
    let (above, below) = (above * of + more * below, below * of);
    let by = greatest_divisor(above, below);
    let (above, below) = (above / by, below / by);
    let beyond = (above.max(below) >> 32).checked_ilog2();
    let shift = beyond.map_or(0, |bits| bits + 1);
    let part = |number: u128| u32::try_from(number >> shift).unwrap_or(u32::MAX);
    Weight::new(
        part(above),
        NonZeroU32::new(part(below)).unwrap_or(NonZeroU32::MIN),
    )
}

/// The greatest common divisor. `other` is not 0.
const fn greatest_divisor(one: u128, other: u128) -> u128 {
    let (mut one, mut other) = (one, other);
    while one > 0 {
        (one, other) = (other % one, one);
    }
    other
}

#[cfg(test)]
mod tests;
