//! A tenant: what it is entitled to.

use crate::id::TenantId;
use crate::needs::Text;
use crate::resource::{Resource, Resources};
use crate::share::Weight;

/// What a tenant is entitled to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// The tenant that it is a part of; `None` at the top.
    pub parent: Option<TenantId>,
    /// How what is borrowed is shared: twice the weight, twice the borrowing.
    pub weight: Weight,
    /// Its own while it wants it, lent to others while it does not. A parent's is what it and
    /// all below it own together; where that is less than what those own, it is their sum.
    pub guaranteed: Resources,
    /// What it lends at most of what it does not use; where nothing is said, all.
    pub lending_limit: Limits,
    /// What it may never pass.
    pub limit: Limits,
    /// Its budget is spent: nothing new starts, and nothing is evicted for that.
    pub exhausted: bool,
    /// The nodes that it has alone, together with all below it, by the value of [`crate::pool::LABEL`].
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub pool: Option<Text>,
    /// Of its jobs that wait, those that would borrow come after all others' and push nobody out. What
    /// runs is as safe as before.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "core::ops::Not::not")
    )]
    pub deferred: bool,
}

impl Tenant {
    /// A tenant at the top, of weight 1, that owns nothing and is not limited.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            id: name.into(),
            parent: None,
            weight: Weight::ONE,
            guaranteed: Resources::ZERO,
            lending_limit: Limits::NONE,
            limit: Limits::NONE,
            exhausted: false,
            pool: None,
            deferred: false,
        }
    }
}

/// A cap on some resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Limits([Option<u64>; Resource::ALL.len()]);

impl Limits {
    /// No cap at all.
    pub const NONE: Self = Self([None; Resource::ALL.len()]);

    /// The same, with a cap on one resource.
    #[must_use]
    pub const fn with(mut self, resource: Resource, amount: u64) -> Self {
        self.0[resource as usize] = Some(amount);
        self
    }

    /// The cap on one resource.
    #[must_use]
    pub const fn get(&self, resource: Resource) -> Option<u64> {
        self.0[resource as usize]
    }

    /// The first resource of which `amount` passes its cap, with the cap.
    #[must_use]
    pub fn passed_by(&self, amount: &Resources) -> Option<(Resource, u64)> {
        let capped = |r| Some((r, self.get(r)?));
        let mut caps = Resource::ALL.into_iter().filter_map(capped);
        caps.find(|(r, cap)| amount.get(*r) > *cap)
    }
}
