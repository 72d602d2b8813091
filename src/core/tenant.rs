//! A tenant: what it is entitled to, and what it holds.

use crate::id::TenantId;
use crate::queue::{Order, Queue};
use crate::resource::{Resource, Resources};
use crate::share::Weight;

/// What a tenant is entitled to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// How what is borrowed is shared: twice the weight, twice the borrowing.
    pub weight: Weight,
    /// Its own while it wants it, lent to others while it does not.
    pub guaranteed: Resources,
    /// What it may never pass.
    pub limit: Limits,
}

impl Tenant {
    /// A tenant of weight 1 that owns nothing and is not limited.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            id: name.into(),
            weight: Weight::ONE,
            guaranteed: Resources::ZERO,
            limit: Limits::NONE,
        }
    }
}

/// A hard cap on some resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// A tenant with what it holds and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TenantState {
    /// `None` while jobs name a tenant that nobody has described.
    pub(crate) spec: Option<Tenant>,
    /// Held or assumed by its tasks.
    pub(crate) usage: Resources,
    /// Its waiting jobs.
    pub(crate) queue: Queue,
}

impl TenantState {
    pub(crate) fn new(order: Order) -> Self {
        Self {
            spec: None,
            usage: Resources::ZERO,
            queue: Queue::new(order),
        }
    }

    /// Whether nothing would be lost by forgetting it.
    pub(crate) fn is_empty(&self) -> bool {
        self.spec.is_none() && self.usage.is_zero() && self.queue.is_empty()
    }
}
