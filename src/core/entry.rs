//! Which jobs may enter the tournaments of a cycle.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::cluster::Cluster;
use crate::drf::{Arena, Entry};
use crate::job::Kind;
use crate::policy::Order;
use crate::queue::{Head, Line, Turn};
use crate::resource::{Resource, Resources};
use crate::share::Share;
use crate::tenant::{Limits, Tenant};
use crate::tree::{ROOT, Seat, Tree};
use crate::trial;

/// Who may start: those for whom there are room and quota. Of each seat, whose it is if it is one
/// that may have jobs.
pub(crate) struct Startable(Vec<Option<Arc<Tenant>>>);

impl Startable {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let tenant = |seat| trial::described(cluster, seat).ok().cloned();
        Self((0..cluster.tree.len()).map(tenant).collect())
    }
}

impl Entry for Startable {
    fn enter(&self, arena: &Arena<'_>, seat: Seat, head: &Head, _: &Turn) -> Option<Resources> {
        let board = arena.rooms.at(head.board?);
        if board.total().all < u64::from(head.gang) {
            return None;
        }
        let tenant = self.0.get(seat)?.as_deref()?;
        let Arena { cluster, now, .. } = *arena;
        let found = board.found();
        let fit = trial::fit_of(cluster, (seat, tenant), &head.kind, found, now, false)?;
        Some(fit.request)
    }
}

/// Who may be entitled to have others leave. It lets in some that turn out not to be, and leaves
/// out nobody that is.
pub(crate) struct Entitled(Vec<Option<Claimant>>);

/// What a tenant can ask of others at most.
struct Claimant {
    limit: Limits,
    usage: Resources,
    /// What it owns and does not use.
    unused: Resources,
    /// With more than this, its share would be no lower than any beside it.
    below_others: Resources,
    /// Some tenant above it has a lower share than one beside that.
    is_low_above: bool,
    /// Milli-GPU that its running jobs of each priority hold.
    held: Vec<(i32, u64)>,
    /// Others may have to leave because they have more than their share.
    by_share: bool,
}

impl Entitled {
    pub(crate) fn new(arena: &Arena<'_>) -> Self {
        let tree = &arena.cluster.tree;
        let highest = match arena.cluster.policy.preemption.fair_share {
            true => highest_beside(tree),
            false => Vec::new(),
        };
        let mut all: Vec<Option<Claimant>> = Vec::new();
        all.resize_with(tree.len(), || None);
        for (tenant, line) in &arena.queue.lines {
            if let Some(seat) = tree.seat(tenant) {
                all[seat] = Claimant::new(arena, seat, line, &highest);
            }
        }
        Self(all)
    }
}

/// Whether anybody may have to leave for a tenant because of shares. Whoever comes after all others
/// pushes nobody out for what it would borrow.
pub(crate) fn may_by_share(cluster: &Cluster, seat: Seat) -> bool {
    cluster.policy.preemption.fair_share && !cluster.tree.is_deferred(seat)
}

impl Claimant {
    /// `highest` is of [`highest_beside`], where shares count.
    fn new(arena: &Arena<'_>, seat: Seat, line: &Line, highest: &[Share]) -> Option<Self> {
        let tree = &arena.cluster.tree;
        let state = arena.cluster.tenants.get(tree.id(seat))?;
        let spec = state.spec.as_deref()?;
        if spec.exhausted || !tree.is_leaf(seat) || line.heads.is_empty() {
            return None;
        }
        let unused = tree.subtree(seat).beyond(tree.usage(seat));
        let held: Vec<(i32, u64)> = line.held().collect();
        let by_share = may_by_share(arena.cluster, seat);
        if arena.cluster.policy.order == Order::Drf
            && !by_share
            && unused.is_zero()
            && held.is_empty()
        {
            return None;
        }
        let (below_others, is_low_above) = if by_share {
            beside(tree, seat, highest)
        } else {
            (Resources::ZERO, false)
        };
        Some(Self {
            limit: spec.limit,
            usage: *tree.usage(seat),
            unused,
            below_others,
            is_low_above,
            held,
            by_share,
        })
    }

    /// Whether its own jobs of lower priority hold enough, as far as GPUs tell.
    fn comes_before_enough(&self, free: u64, priority: i32, kind: &Kind) -> bool {
        // What a GPU is worth does not matter here: on both sides cards are counted.
        let gang = u64::from(kind.shape.gang);
        let asked = kind.shape.task.get(Resource::Gpu).saturating_mul(gang);
        let lower = self.held.iter().filter(|(other, _)| *other < priority);
        let mut lower = lower.map(|(_, held)| held).peekable();
        lower.peek().is_some() && free.saturating_add(lower.sum()) >= asked
    }

    /// Whether it stays within what it owns of anything that is asked for.
    fn owns(&self, request: &Resources) -> bool {
        let within = |(r, asked): (Resource, u64)| asked > 0 && asked <= self.unused.get(r);
        request.iter().any(within)
    }

    /// Whether some other side would still have more than its own.
    fn stays_low(&self, request: &Resources) -> bool {
        let with = |(r, asked): (Resource, u64)| self.usage.get(r).saturating_add(asked);
        let mut each = request.iter().map(|asked| (asked.0, with(asked)));
        self.is_low_above || each.all(|(r, with)| with <= self.below_others.get(r))
    }
}

/// Of each seat, the highest share of those beside it.
fn highest_beside(tree: &Tree) -> Vec<Share> {
    let all = Resource::ALL
        .into_iter()
        .fold(Resources::ZERO, |all, r| all.with(r, 1));
    let shares: Vec<Share> = (0..tree.len()).map(|at| tree.share_now(at, &all)).collect();
    let mut highest = alloc::vec![Share::ZERO; tree.len()];
    for parent in 0..tree.len() {
        let children = tree.children(parent);
        let first = children.iter().copied().max_by_key(|at| shares[*at]);
        let others = children.iter().filter(|at| Some(**at) != first);
        let second = others.map(|at| shares[*at]).max().unwrap_or(Share::ZERO);
        for at in children {
            let is_first = Some(*at) == first;
            let other = first.filter(|_| !is_first);
            highest[*at] = other.map_or(second, |first| shares[first]);
        }
    }
    highest
}

/// The most that a tenant may use so that its share is lower than the highest beside it, and
/// whether some tenant above it has a lower share than one beside that.
fn beside(tree: &Tree, seat: Seat, highest: &[Share]) -> (Resources, bool) {
    let mut above = tree.way_up(seat, ROOT).skip(1);
    let (own, potential) = (tree.subtree(seat), tree.potential(tree.parent(seat)));
    let ceiling = highest[seat];
    let below_others = Resource::ALL.into_iter().fold(Resources::ZERO, |most, r| {
        let borrowed = ceiling.most_below(potential.get(r), tree.weight(seat));
        most.with(r, own.get(r).saturating_add(borrowed))
    });
    let is_low = |at: Seat| tree.share_now(at, &Resources::ZERO) < highest[at];
    (below_others, above.any(is_low))
}

impl Entry for Entitled {
    fn enter(&self, arena: &Arena<'_>, seat: Seat, head: &Head, first: &Turn) -> Option<Resources> {
        let kind = &head.kind;
        let claimant = self.0.get(seat)?.as_ref()?;
        let Arena { cluster, rooms, .. } = arena;
        let board = rooms.at(head.board.filter(|_| kind.hold.is_none())?);
        let gang = u64::from(kind.shape.gang);
        if board.slots_when_empty() < gang {
            return None;
        }
        let gpu = board.charge_when_empty().saturating_mul(gang);
        let request = kind.shape.task.checked_mul(kind.shape.gang)?;
        let request = request.with(Resource::Gpu, gpu);
        let free = cluster.free.get(Resource::Gpu);
        let entitled = match cluster.policy.order {
            Order::Drf => {
                claimant.owns(&request)
                    || (claimant.by_share && claimant.stays_low(&request))
                    || claimant.comes_before_enough(free, first.priority.0, kind)
            }
            order => order.is_preemptive(),
        };
        let allowed = entitled && claimant.limit.passed_by(&request).is_none();
        allowed.then_some(request)
    }
}
