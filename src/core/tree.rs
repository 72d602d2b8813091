//! The tree of tenants: what each owns, holds, borrows, and can still have.
//!
//! Usage within a guarantee is free; what is borrowed above it is measured by the weighted
//! dominant share (Ghodsi et al., *Dominant Resource Fairness*, NSDI 2011), level by level as in
//! hierarchical DRF (Bhattacharya et al., SoCC 2013). The names are those of Kueue's cohorts:
//!
//! ```text
//! own(n,r)      = guaranteed(n,r) − Σ_child guaranteed(c,r)             leaf: guaranteed(n,r)
//! subtree(n,r)  = own(n,r) + Σ_child (subtree(c,r) − kept(c,r))
//! kept(n,r)     = max(0, subtree(n,r) − lendingLimit(n,r))              no lendingLimit: 0
//! usage(n,r)    = Σ_child max(0, usage(c,r) − kept(c,r))                leaf: what its jobs hold
//! borrowed(n,r) = max(0, usage(n,r) − subtree(n,r))
//! potential(root,r) = capacity(r) − Σ_below kept;   potential(n,r) = min(limit(n,r), kept(n,r) + potential(parent,r))
//! share(n)      = max_r borrowed(n,r) / potential(parent(n),r) ÷ weight(n)
//! ```

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::id::TenantId;
use crate::resource::{Resource, Resources};
use crate::share::{Share, Weight};
use crate::tenant::{Limits, Tenant};

/// A tenant's place in the tree.
pub(crate) type Seat = usize;

/// Above all tenants.
pub(crate) const ROOT: Seat = 0;

/// The tree with what is held in it. A clone shares structure.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    shape: Arc<Shape>,
    potential: Arc<Vec<Resources>>,
    usage: Arc<Vec<Resources>>,
    /// By seat, good for leaves alone. They follow from the rest.
    shares: Arc<Vec<Share>>,
}

/// What follows from the tenants' descriptions alone.
#[derive(Clone, Debug, Default)]
struct Shape {
    seats: BTreeMap<TenantId, Seat>,
    branches: Vec<Branch>,
    /// Of each seat, the one on its way up that stands right below the root.
    tops: Vec<Seat>,
    /// Whether any tenant keeps anything from being lent.
    withholds: bool,
}

#[derive(Clone, Debug)]
struct Branch {
    id: TenantId,
    parent: Seat,
    /// By name.
    children: Vec<Seat>,
    weight: Weight,
    limit: Limits,
    deferred: bool,
    subtree: Resources,
    kept: Resources,
}

impl Default for Tree {
    /// No tenants.
    fn default() -> Self {
        Self::new(core::iter::empty(), core::iter::empty(), &Resources::ZERO)
    }
}

impl Tree {
    /// The tree of these tenants, in which nothing is held yet. One whose parent is unknown, or
    /// is its own descendant, stands at the top. `others` are names that hold something although
    /// nobody describes them; they own nothing.
    pub(crate) fn new<'t>(
        tenants: impl Iterator<Item = &'t Tenant>,
        others: impl Iterator<Item = &'t TenantId>,
        capacity: &Resources,
    ) -> Self {
        let known: BTreeMap<&TenantId, &Tenant> = tenants.map(|t| (&t.id, t)).collect();
        let unknown: Vec<Tenant> = others.map(|id| Tenant::new(id.as_str())).collect();
        let all = unknown.iter().chain(known.values().copied());
        let mut branches = vec![Branch::root()];
        branches.extend(all.map(Branch::of));
        let seats: BTreeMap<TenantId, Seat> = (0..)
            .zip(&branches)
            .skip(1)
            .map(|(seat, b)| (b.id.clone(), seat))
            .collect();
        for branch in branches.iter_mut().skip(1) {
            let spec = known.get(&branch.id).filter(|t| is_rooted(&known, t));
            let parent = spec.and_then(|t| seats.get(t.parent.as_ref()?));
            branch.parent = parent.copied().unwrap_or(ROOT);
        }
        for seat in seats.values() {
            let parent = branches[*seat].parent;
            branches[parent].children.push(*seat);
        }
        let top = |seat| {
            let above = |seat: &Seat| Some(branches[*seat].parent).filter(|seat| *seat != ROOT);
            core::iter::successors(Some(seat), above).last()
        };
        let tops = (0..branches.len()).filter_map(top).collect();
        let mut shape = Shape {
            seats,
            branches,
            tops,
            withholds: false,
        };
        shape.guarantee(ROOT, &known);
        let usage = vec![Resources::ZERO; shape.branches.len()];
        let mut tree = Self {
            shape: Arc::new(shape),
            usage: Arc::new(usage),
            potential: Arc::default(),
            shares: Arc::default(),
        };
        tree.fit(capacity);
        tree
    }

    /// Measures shares against this capacity from now on.
    pub(crate) fn fit(&mut self, capacity: &Resources) {
        let branches = &self.shape.branches;
        let mut potential = vec![Resources::ZERO; branches.len()];
        let kept = branches.iter().skip(1).map(|b| b.kept);
        potential[ROOT] = kept.fold(*capacity, |rest, kept| rest.beyond(&kept));
        let mut open = branches[ROOT].children.clone();
        while let Some(seat) = open.pop() {
            let branch = &branches[seat];
            let above = potential[branch.parent];
            for r in Resource::ALL {
                let most = branch.kept.get(r).saturating_add(above.get(r));
                let capped = branch.limit.get(r).map_or(most, |limit| limit.min(most));
                potential[seat] = potential[seat].with(r, capped);
            }
            open.extend(&branch.children);
        }
        self.potential = Arc::new(potential);
        let share = |seat| self.share(seat, self.usage(seat), &Resources::ZERO);
        self.shares = Arc::new((0..self.len()).map(share).collect());
    }

    pub(crate) fn seat(&self, tenant: &TenantId) -> Option<Seat> {
        self.shape.seats.get(tenant).copied()
    }

    pub(crate) fn id(&self, seat: Seat) -> &TenantId {
        &self.shape.branches[seat].id
    }

    pub(crate) fn weight(&self, seat: Seat) -> Weight {
        self.shape.branches[seat].weight
    }

    pub(crate) fn parent(&self, seat: Seat) -> Seat {
        self.shape.branches[seat].parent
    }

    /// The tenants right below, by name.
    pub(crate) fn children(&self, seat: Seat) -> &[Seat] {
        &self.shape.branches[seat].children
    }

    pub(crate) fn is_leaf(&self, seat: Seat) -> bool {
        self.children(seat).is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.shape.branches.len()
    }

    pub(crate) fn usage(&self, seat: Seat) -> &Resources {
        &self.usage[seat]
    }

    /// What the tenant and all below it own, less what these keep for themselves.
    pub(crate) fn subtree(&self, seat: Seat) -> &Resources {
        &self.shape.branches[seat].subtree
    }

    /// What it could hold if nobody else held anything.
    pub(crate) fn potential(&self, seat: Seat) -> &Resources {
        &self.potential[seat]
    }

    pub(crate) fn borrowed(&self, seat: Seat) -> Resources {
        self.usage(seat).beyond(self.subtree(seat))
    }

    /// From the seat up to, but without, `end`.
    pub(crate) fn way_up(&self, seat: Seat, end: Seat) -> impl Iterator<Item = Seat> + '_ {
        let below = move |seat: &Seat| *seat != end && *seat != ROOT;
        core::iter::successors(Some(seat), |seat| Some(self.parent(*seat))).take_while(below)
    }

    /// The nearest seat that is above both.
    pub(crate) fn common(&self, a: Seat, b: Seat) -> Seat {
        let above = |seat| self.way_up(seat, ROOT).map(|s| self.parent(s));
        let found = above(a).find(|one| above(b).any(|other| *one == other));
        found.unwrap_or(ROOT)
    }

    /// A leaf holds this much more.
    pub(crate) fn add(&mut self, leaf: Seat, amount: &Resources) {
        self.change(leaf, |usage| crate::node::grown(usage, amount));
    }

    /// A leaf holds this much less.
    pub(crate) fn remove(&mut self, leaf: Seat, amount: &Resources) {
        self.change(leaf, |usage| crate::node::shrunk(usage, amount));
    }

    fn change(&mut self, leaf: Seat, change: impl FnOnce(&Resources) -> Resources) {
        let usage = Arc::make_mut(&mut self.usage);
        let mut seat = leaf;
        let mut next = change(&usage[seat]);
        while seat != ROOT {
            let branch = &self.shape.branches[seat];
            let before = usage[seat].beyond(&branch.kept);
            usage[seat] = next;
            let rest = crate::node::shrunk(&usage[branch.parent], &before);
            next = crate::node::grown(&rest, &next.beyond(&branch.kept));
            seat = branch.parent;
        }
        usage[ROOT] = next;
        let share = self.share(leaf, self.usage(leaf), &Resources::ZERO);
        Arc::make_mut(&mut self.shares)[leaf] = share;
    }

    /// What the leaf, its parent and so on would use with `request` added at the leaf: each seat
    /// of [`Tree::way_up`] to the root, with what it would use.
    pub(crate) fn with(
        &self,
        leaf: Seat,
        request: &Resources,
    ) -> impl Iterator<Item = (Seat, Resources)> + '_ {
        let mut more = *request;
        let climb = move |seat: Seat| {
            let before = *self.usage(seat);
            let after = crate::node::grown(&before, &more);
            let kept = &self.shape.branches[seat].kept;
            more = after.beyond(kept).beyond(&before.beyond(kept));
            (seat, after)
        };
        self.way_up(leaf, ROOT).map(climb)
    }

    /// What the leaf, its parent and so on use when the leaf holds this much less: each seat of
    /// [`Tree::way_up`] to the root, with what [`Tree::remove`] leaves it.
    pub(crate) fn without(
        &self,
        leaf: Seat,
        amount: &Resources,
    ) -> impl Iterator<Item = (Seat, Resources)> + '_ {
        let mut next = crate::node::shrunk(self.usage(leaf), amount);
        let climb = move |seat: Seat| {
            let after = next;
            let branch = &self.shape.branches[seat];
            let before = self.usage(seat).beyond(&branch.kept);
            let rest = crate::node::shrunk(self.usage(branch.parent), &before);
            next = crate::node::grown(&rest, &after.beyond(&branch.kept));
            (seat, after)
        };
        self.way_up(leaf, ROOT).map(climb)
    }

    /// Whether the ways up from two seats meet below the root.
    pub(crate) fn are_kin(&self, a: Seat, b: Seat) -> bool {
        self.shape.tops[a] == self.shape.tops[b]
    }

    /// The weighted dominant share of a tenant that uses `usage`. Of an internal tenant only the
    /// resources count that are asked for, or complementary children would starve.
    pub(crate) fn share(&self, seat: Seat, usage: &Resources, asked: &Resources) -> Share {
        let branch = &self.shape.branches[seat];
        let potential = self.potential(branch.parent);
        let counts = |r: &Resource| branch.children.is_empty() || asked.get(*r) > 0;
        let borrowed = usage.beyond(&branch.subtree);
        // Most borrow nothing of most: such shares are not worth a comparison.
        let counts = |r: &Resource| borrowed.get(*r) > 0 && counts(r);
        Resource::ALL
            .into_iter()
            .filter(counts)
            .map(|r| Share::new(borrowed.get(r), potential.get(r), branch.weight))
            .max()
            .unwrap_or(Share::ZERO)
    }

    /// The share that a tenant has now.
    pub(crate) fn share_now(&self, seat: Seat, asked: &Resources) -> Share {
        if self.is_leaf(seat) {
            return self.shares[seat];
        }
        self.share(seat, self.usage(seat), asked)
    }

    pub(crate) fn is_set_back(&self, seat: Seat) -> bool {
        self.shape.branches[seat].deferred
    }

    /// Whether a tenant that would use `with` passes what it owns of what is asked for. A
    /// resource of which it owns nothing does not count, unless that is so of all those asked
    /// for: a tenant that owns nothing can only borrow.
    pub(crate) fn borrows(&self, seat: Seat, with: &Resources, asked: &Resources) -> bool {
        let own = self.subtree(seat);
        let owns = |r: &Resource| asked.get(*r) > 0 && own.get(*r) > 0;
        let mut owned = Resource::ALL.into_iter().filter(owns).peekable();
        owned.peek().is_none() || owned.any(|r| with.get(r) > own.get(r))
    }

    /// The first tenant, from the leaf up, that would pass its limit with `request` more, on a
    /// resource that is asked for.
    pub(crate) fn over_limit(&self, leaf: Seat, request: &Resources) -> Option<OverLimit> {
        let mut over = self.with(leaf, request).filter_map(|(seat, with)| {
            let limit = &self.shape.branches[seat].limit;
            let passed = |r: &Resource| {
                let above = limit.get(*r).is_some_and(|limit| with.get(*r) > limit);
                above && with.get(*r) > self.usage(seat).get(*r)
            };
            let resource = Resource::ALL.into_iter().find(passed)?;
            Some(OverLimit {
                seat,
                resource,
                limit: limit.get(resource)?,
            })
        });
        over.next()
    }

    /// The first resource of which the leaf, or one above it, may not hold `request` even when
    /// none of them holds anything, with what the leaf may hold.
    pub(crate) fn never(&self, leaf: Seat, request: &Resources) -> Option<(Resource, u64)> {
        let mut kept = Resources::ZERO;
        for seat in self.way_up(leaf, ROOT) {
            let branch = &self.shape.branches[seat];
            if let Some((resource, limit)) = branch.limit.passed_by(&request.beyond(&kept)) {
                return Some((resource, limit.saturating_add(kept.get(resource))));
            }
            kept = crate::node::grown(&kept, &branch.kept);
        }
        None
    }

    /// Whether a tenant, or one above it, holds more of what is asked for than it may.
    pub(crate) fn is_over_limit(&self, leaf: Seat, asked: &Resources) -> bool {
        self.way_up(leaf, ROOT).any(|seat| {
            let limit = &self.shape.branches[seat].limit;
            let over =
                |(r, cap): (Resource, u64)| asked.get(r) > 0 && self.usage(seat).get(r) > cap;
            let capped = |r| Some((r, limit.get(r)?));
            Resource::ALL.into_iter().filter_map(capped).any(over)
        })
    }

    /// The first resource of which the leaf cannot have `request` more because others keep what
    /// is free, with what it can have. `free` is what is free in all: where that is less than
    /// the request, nobody withholds it.
    pub(crate) fn withheld(
        &self,
        leaf: Seat,
        request: &Resources,
        free: &Resources,
    ) -> Option<(Resource, u64)> {
        if !self.shape.withholds {
            return None;
        }
        let unused = |seat: Seat| self.shape.branches[seat].kept.beyond(self.usage(seat));
        let all = (1..self.len()).map(unused);
        let kept = all.fold(Resources::ZERO, |sum, more| crate::node::grown(&sum, &more));
        let own = self.way_up(leaf, ROOT).map(unused);
        let own = own.fold(Resources::ZERO, |sum, more| crate::node::grown(&sum, &more));
        let room = crate::node::grown(&free.beyond(&kept), &own);
        let short = |r: &Resource| request.get(*r) > room.get(*r);
        let resource = Resource::ALL
            .into_iter()
            .filter(|r| (1..=free.get(*r)).contains(&request.get(*r)))
            .find(short)?;
        Some((resource, room.get(resource)))
    }
}

/// A limit that would be passed.
pub(crate) struct OverLimit {
    pub(crate) seat: Seat,
    pub(crate) resource: Resource,
    pub(crate) limit: u64,
}

impl Shape {
    /// Fills in what the seat and all below it own and keep; gives what they own.
    fn guarantee(&mut self, seat: Seat, known: &BTreeMap<&TenantId, &Tenant>) -> Resources {
        let mut below = Resources::ZERO;
        let mut lent = Resources::ZERO;
        for child in self.branches[seat].children.clone() {
            below = crate::node::grown(&below, &self.guarantee(child, known));
            let Branch { subtree, kept, .. } = &self.branches[child];
            lent = crate::node::grown(&lent, &subtree.beyond(kept));
        }
        let spec = known.get(&self.branches[seat].id);
        let own = spec.map_or(Resources::ZERO, |t| t.guaranteed.bounded().beyond(&below));
        let subtree = crate::node::grown(&own, &lent);
        let mut kept = Resources::ZERO;
        for r in Resource::ALL {
            if let Some(lend) = spec.and_then(|t| t.lending_limit.get(r)) {
                kept = kept.with(r, subtree.get(r).saturating_sub(lend));
            }
        }
        self.withholds |= !kept.is_zero();
        let branch = &mut self.branches[seat];
        (branch.subtree, branch.kept) = (subtree, kept);
        crate::node::grown(&own, &below)
    }
}

impl Branch {
    fn root() -> Self {
        Self::of(&Tenant::new(""))
    }

    fn of(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id.clone(),
            parent: ROOT,
            children: Vec::new(),
            weight: tenant.weight,
            limit: tenant.limit,
            deferred: tenant.deferred,
            subtree: Resources::ZERO,
            kept: Resources::ZERO,
        }
    }
}

/// Whether going up from here ends.
fn is_rooted(known: &BTreeMap<&TenantId, &Tenant>, tenant: &Tenant) -> bool {
    let above = |t: &&Tenant| known.get(t.parent.as_ref()?).copied();
    let steps = core::iter::successors(Some(tenant), above);
    steps.take(known.len() + 1).count() <= known.len()
}

#[cfg(test)]
mod tests;
