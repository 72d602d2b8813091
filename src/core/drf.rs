//! Who is next: a tournament down the tree of tenants, by weighted dominant share.
//!
//! The measure is in `tree`. At each level, with each child's candidate taken, these
//! decide in turn: not borrowing on what is asked for, not being deferred, the lower share with the
//! candidate, the lower share without it, the older job, its name. A tenant's candidate is the first job of its
//! queue that may enter, not only its head.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::hash::{BuildHasherDefault, Hasher};
use core::ops::Bound;

use priority_queue::PriorityQueue;

use crate::cluster::Cluster;
use crate::id::{JobId, TenantId};
use crate::policy::Order;
use crate::queue::{Head, Line, Queue, Turn};
use crate::resource::Resources;
use crate::rooms::Rooms;
use crate::share::Share;
use crate::time::Time;
use crate::tree::{ROOT, Seat};

/// What a contest is held on.
#[derive(Clone, Copy)]
pub(crate) struct Arena<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) rooms: &'a Rooms,
    pub(crate) queue: &'a Queue,
    pub(crate) now: Time,
}

/// Which jobs may enter a contest.
pub(crate) trait Entry {
    /// What the first job of a kind would be charged; `None` where none of the kind may enter
    /// for as long as nothing changes in its favour.
    fn enter(&self, arena: &Arena<'_>, seat: Seat, head: &Head, first: &Turn) -> Option<Resources>;
}

/// A heap with changing keys.
type Heap<K, P> = PriorityQueue<K, Reverse<P>, BuildHasherDefault<Fnv>>;

/// A tournament. Within one cycle what a job could have only shrinks, so a kind that may not
/// enter is not asked again.
pub(crate) struct Contest<E> {
    pub(crate) entry: E,
    /// By seat.
    entrants: Vec<Option<Entrant>>,
    /// Of each tenant with tenants below it, those of them that have a candidate.
    heaps: BTreeMap<Seat, Heap<Seat, Claim>>,
}

/// One tenant in the tournament.
struct Entrant {
    tenant: TenantId,
    /// Of the first jobs of each kind, the last one that is out.
    out: Option<Turn>,
    candidate: Option<Candidate>,
}

/// A tenant's candidate.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) seat: Seat,
    pub(crate) head: Head,
    pub(crate) turn: Turn,
    /// What its tenant would be charged.
    pub(crate) request: Resources,
}

impl<E: Entry> Contest<E> {
    /// A tournament between all tenants that have a job to enter.
    pub(crate) fn new(arena: &Arena<'_>, entry: E) -> Self {
        let mut contest = Self {
            entry,
            entrants: Vec::new(),
            heaps: BTreeMap::new(),
        };
        contest
            .entrants
            .resize_with(arena.cluster.tree.len(), || None);
        for (tenant, line) in &arena.queue.lines {
            let Some(seat) = arena.cluster.tree.seat(tenant) else {
                continue;
            };
            // Whoever has no candidate now will have none.
            let (candidate, out) = first(&contest.entry, arena, (seat, line), None);
            if candidate.is_some() {
                let entrant = Entrant {
                    tenant: tenant.clone(),
                    out,
                    candidate,
                };
                contest.entrants[seat] = Some(entrant);
                contest.report(arena, seat);
            }
        }
        contest
    }

    /// The candidate that is next.
    pub(crate) fn winner(&self) -> Option<&Candidate> {
        self.candidate(self.best_of(ROOT)?)
    }

    /// The candidate of a tenant is out: it got what it wanted, and the next job of its kind is
    /// first, or it did not, and none of its kind will.
    pub(crate) fn pass(&mut self, arena: &Arena<'_>, seat: Seat) {
        if let Some(entrant) = &mut self.entrants[seat] {
            let candidate = entrant.candidate.take();
            entrant.out = candidate.map(|candidate| candidate.turn);
        }
        self.choose(arena, seat);
    }

    /// What could be had has shrunk: candidates that may no longer enter are replaced.
    pub(crate) fn check(&mut self, arena: &Arena<'_>) {
        let out = |(seat, entrant): (Seat, &Option<Entrant>)| {
            let entrant = entrant.as_ref()?;
            let candidate = entrant.candidate.as_ref()?;
            let Candidate { head, turn, .. } = candidate;
            if self.entry.enter(arena, seat, head, turn) == Some(candidate.request) {
                return None;
            }
            // One that is no longer the first of its kind keeps its claim.
            let line = arena.queue.lines.get(&entrant.tenant)?;
            line.heads.contains_key(turn).then_some(seat)
        };
        let out: Vec<Seat> = (0..).zip(&self.entrants).filter_map(out).collect();
        for seat in out {
            self.choose(arena, seat);
        }
    }

    /// Finds the first job of a tenant that may enter, and tells those above.
    fn choose(&mut self, arena: &Arena<'_>, seat: Seat) {
        let Some(entrant) = &mut self.entrants[seat] else {
            return;
        };
        entrant.candidate = None;
        if let Some(line) = arena.queue.lines.get(&entrant.tenant) {
            let after = entrant.out.as_ref();
            let (candidate, out) = first(&self.entry, arena, (seat, line), after);
            entrant.candidate = candidate;
            entrant.out = out.or(entrant.out.take());
        }
        self.report(arena, seat);
    }

    /// Puts the claims of a tenant and of those above it into their heaps.
    fn report(&mut self, arena: &Arena<'_>, leaf: Seat) {
        let tree = &arena.cluster.tree;
        for seat in tree.way_up(leaf, ROOT) {
            let best = self.best_of(seat);
            let candidate = best.and_then(|best| self.candidate(best));
            let claim = candidate.map(|candidate| Claim::new(arena, seat, candidate));
            let heap = self.heaps.entry(tree.parent(seat)).or_default();
            match claim {
                Some(claim) => drop(heap.push(seat, Reverse(claim))),
                None => drop(heap.remove(&seat)),
            }
        }
    }

    fn candidate(&self, seat: Seat) -> Option<&Candidate> {
        self.entrants[seat].as_ref()?.candidate.as_ref()
    }

    /// The leaf at or below a seat whose candidate is next.
    fn best_of(&self, seat: Seat) -> Option<Seat> {
        let mut seat = seat;
        while let Some(heap) = self.heaps.get(&seat) {
            seat = *heap.peek()?.0;
        }
        (seat != ROOT).then_some(seat)
    }
}

/// The first job of a tenant, after one that is out, that may enter; and the last before it that
/// may not.
fn first<E: Entry>(
    entry: &E,
    arena: &Arena<'_>,
    (seat, line): (Seat, &Line),
    after: Option<&Turn>,
) -> (Option<Candidate>, Option<Turn>) {
    let after = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut out: Option<&Turn> = None;
    let heads = line.heads.range::<Turn, _>((after, Bound::Unbounded));
    for (turn, head) in heads {
        if let Some(request) = entry.enter(arena, seat, head, turn) {
            let candidate = Candidate {
                seat,
                head: head.clone(),
                turn: turn.clone(),
                request,
            };
            return (Some(candidate), out.cloned());
        }
        out = Some(turn);
    }
    (None, out.cloned())
}

/// A candidate as the tournament sees it at one level. The least claim wins.
// The order of the fields is the order of the rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    /// Its turn, where turns go before tenants.
    turn: Option<Turn>,
    /// Its priority, where its class counts across tenants.
    cluster_wide: Reverse<Option<i32>>,
    /// It would pass what its side owns of what it asks for.
    borrows: bool,
    /// It comes after all others that would.
    deferred: bool,
    /// What its side has used in the past, by weight.
    past: Share,
    /// The share that its side would have with it.
    after: Share,
    /// The share that its side has without it.
    before: Share,
    submitted: Time,
    job: JobId,
}

impl Claim {
    /// The claim of a candidate for the side that stands at `seat`: its tenant, or one above.
    fn new(arena: &Arena<'_>, seat: Seat, candidate: &Candidate) -> Self {
        let Arena { cluster, now, .. } = arena;
        let tree = &cluster.tree;
        let turn = &candidate.turn;
        let mut claim = Self {
            turn: (cluster.policy.order != Order::Drf).then(|| turn.clone()),
            cluster_wide: Reverse(None),
            borrows: false,
            deferred: false,
            past: Share::ZERO,
            after: Share::ZERO,
            before: Share::ZERO,
            submitted: turn.submitted,
            job: turn.job.clone(),
        };
        if cluster.policy.order != Order::Drf {
            return claim;
        }
        let asked = &candidate.head.kind.shape.task;
        let mut ways = tree.with(candidate.seat, &candidate.request);
        if let Some((_, with)) = ways.find(|(at, _)| *at == seat) {
            claim.borrows = tree.borrows(seat, &with, asked);
            claim.after = tree.share(seat, &with, asked);
        }
        claim.deferred = tree.defers(candidate.seat, &candidate.request, asked);
        claim.before = tree.share_now(seat, asked);
        claim.past = cluster.past(seat, *now);
        claim.cluster_wide = Reverse(turn.cluster_wide.then_some(turn.priority.0));
        claim
    }
}

/// FNV-1a (Fowler, Noll and Vo): the heap needs a hash, and nothing depends on which.
#[derive(Clone, Copy)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
