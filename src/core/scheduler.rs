//! The whole story: facts in, decisions and explanations out.
//!
//! [`Scheduler::observe`] records a fact and decides nothing, so that a burst of a thousand
//! facts costs one [`Scheduler::cycle`]. A cycle goes through these steps:
//!
//! 1. **promote**: jobs that waited for others to leave start once these are gone.
//! 2. **reserve**: the first job in fair order that has waited too long for room gets nodes
//!    reserved ([`crate::reservation`]).
//! 3. **admit**: a tournament between the tenants ([`crate::drf`]). Each enters with the first
//!    job of its queue that could start now; the least claim wins, takes its places
//!    ([`crate::placement`]), and the next round begins. It ends when nobody's job could start.
//! 4. **preempt**: the same tournament between those that cannot, for the right to have others
//!    leave ([`crate::preemption`]). The room is promised to the winner.
//!
//! [`Scheduler::explain`] says why the rest waits. It is no part of the cycle, because it costs
//! what waits and not what is decided. Both ask `trial` whether a job could start, so an
//! explanation cannot drift from what was decided.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::cluster::Cluster;
use crate::decision::{Cycle, Decision, Rule};
use crate::drf::{Arena, Candidate, Contest, Entry};
use crate::event::Event;
use crate::id::{JobId, TenantId};
use crate::job::{Job, Kind, Placement, Slot};
use crate::policy::{Order, Policy};
use crate::preemption::{self, Search};
use crate::queue::{Group, Line, Queue, Turn};
use crate::reason::{Reason, Verdict};
use crate::reservation::{self, Overdue};
use crate::resource::{Resource, Resources};
use crate::rooms::Rooms;
use crate::share::Share;
use crate::snapshot::Snapshot;
use crate::time::Time;
use crate::tree::{ROOT, Seat};
use crate::{placement, trial};

/// The decision core: one owner, no locks, no clock.
#[derive(Debug, Default)]
pub struct Scheduler {
    cluster: Cluster,
    rooms: Rooms,
    queue: Queue,
    decided: Time,
    /// Admitted in the cycle that is going on, or the last one.
    fresh: BTreeSet<JobId>,
    /// GPU-milliseconds of work lost to evictions within the last hour, and when.
    losses: Vec<(Time, u64)>,
    /// What was last told of each waiting job.
    told: BTreeMap<JobId, Reason>,
    /// Kinds for which nobody could be made to leave, since all were last tried.
    tried: BTreeSet<(Seat, Kind)>,
    /// Some were not tried in the last cycle.
    is_unfinished: bool,
    /// Something has happened since all were last tried.
    has_changed: bool,
}

/// No further search for victims begins in a cycle once so many have been looked at. The others
/// have their turn in the next cycles, so that each cycle is short and none is forgotten.
const VICTIMS_PER_CYCLE: usize = 128;

/// What a search costs besides, in victims looked at.
const SEARCH_COSTS: usize = 4;

/// When searches are left over and nothing happens, the next cycle is due after this long.
const NEXT_SEARCHES: Duration = Duration::from_secs(1);

/// Losses count against the budget for this long.
const LOSS_WINDOW: Duration = Duration::from_secs(3600);

impl Clone for Scheduler {
    fn clone(&self) -> Self {
        let mut cluster = self.cluster.clone();
        cluster.news.nodes.clone_from(&self.cluster.news.nodes);
        cluster
            .news
            .verdicts
            .clone_from(&self.cluster.news.verdicts);
        Self {
            cluster,
            rooms: self.rooms.clone(),
            queue: self.queue.clone(),
            decided: self.decided,
            fresh: self.fresh.clone(),
            losses: self.losses.clone(),
            told: self.told.clone(),
            tried: self.tried.clone(),
            is_unfinished: self.is_unfinished,
            has_changed: self.has_changed,
        }
    }
}

impl Scheduler {
    /// A scheduler that knows nothing yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            cluster: Cluster::new(policy),
            ..Self::default()
        }
    }

    /// Records a fact. Decides nothing, and cannot fail.
    pub fn observe(&mut self, now: Time, event: Event) {
        self.cluster.observe(now, event);
        self.has_changed = true;
        self.file();
    }

    /// Decides all that can be decided at `now`.
    pub fn cycle(&mut self, now: Time) -> Cycle {
        let now = self.decided.max(now);
        self.decided = now;
        self.fresh.clear();
        self.sync();
        let mut decisions = self.promote(now);
        self.reserve(now);
        self.admit(now, &mut decisions);
        if self.cluster.policy.preemption.enabled && self.preempt(now, &mut decisions) {
            decisions.extend(self.promote(now));
        }
        let changed = self.cluster.take_verdicts();
        Cycle { decisions, changed }
    }

    /// When a cycle is due although nothing was observed; `None` while time alone changes nothing.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Time> {
        let preemption = &self.cluster.policy.preemption;
        if !preemption.enabled || self.queue.waiting == 0 {
            return None;
        }
        let min_runtime = preemption.min_runtime;
        let grown_up = self.decided.since(Time::ZERO + min_runtime);
        let first_young = (Time::ZERO + grown_up, JobId::default());
        let young = self
            .queue
            .running_since
            .range(first_young..)
            .map(|(started, _)| *started + min_runtime);
        let ripe = young.filter(|at| *at > self.decided).take(1);
        let refund = self.losses.first().map(|(at, _)| *at + LOSS_WINDOW);
        let refund = refund.filter(|at| preemption.loss_budget.is_some() && *at > self.decided);
        let unfinished = self.is_unfinished.then(|| self.decided + NEXT_SEARCHES);
        let ripe = ripe.filter(|_| !min_runtime.is_zero());
        ripe.chain(refund).chain(unfinished).min()
    }

    /// What is true now, for readers on other threads. Shares structure; copies nothing.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut cluster = self.cluster.clone();
        cluster.settle_tree();
        Snapshot::new(cluster, self.decided)
    }

    /// Why each waiting job waits, of those where that is new or has changed since this was last
    /// asked: by tenant, and then in the order of its queue. Costs what waits.
    pub fn explain(&mut self) -> Vec<(JobId, Verdict)> {
        self.sync();
        let snapshot = self.snapshot();
        let mut changed = Vec::new();
        let mut told = BTreeMap::new();
        for (job, reason) in snapshot.waiting() {
            if self.told.get(&job.id) != Some(&reason) {
                changed.push((
                    job.tenant.clone(),
                    Turn::of(&self.cluster, job),
                    reason.clone(),
                ));
            }
            told.insert(job.id.clone(), reason);
        }
        self.told = told;
        changed.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        let verdict = |(_, turn, reason): (_, Turn, Reason)| (turn.job, Verdict::Waiting(reason));
        changed.into_iter().map(verdict).collect()
    }

    /// Brings what follows from the facts up to date.
    fn sync(&mut self) {
        self.cluster.settle_tree();
        let nodes = core::mem::take(&mut self.cluster.news.nodes);
        self.rooms.update(&self.cluster, nodes);
        for (before, after) in core::mem::take(&mut self.cluster.news.jobs) {
            self.queue
                .update(&self.cluster, &mut self.rooms, before, after);
        }
        if self.rooms.is_crowded() {
            self.rooms = Rooms::drawn_from(self.rooms.drawn);
            self.rooms
                .update(&self.cluster, self.cluster.nodes.keys().cloned());
            self.queue.seat_all(&self.cluster, &mut self.rooms);
        }
    }

    /// Puts jobs where they stand now.
    fn file(&mut self) {
        for (before, after) in core::mem::take(&mut self.cluster.news.jobs) {
            self.queue
                .update(&self.cluster, &mut self.rooms, before, after);
        }
    }

    fn arena(&self, now: Time) -> Arena<'_> {
        Arena {
            cluster: &self.cluster,
            rooms: &self.rooms,
            queue: &self.queue,
            now,
        }
    }

    /// Starts the jobs for which others have left.
    fn promote(&mut self, now: Time) -> Vec<Decision> {
        let nominees: Vec<JobId> = self.cluster.nominees.iter().cloned().collect();
        let mut decisions = Vec::new();
        for id in nominees {
            let state = &self.cluster.jobs[&id];
            let (job, placement) = (state.job.clone(), state.nominated.clone());
            let Some(placement) = placement else {
                continue;
            };
            if !self.still_possible(&job, &placement) {
                self.cluster.unnominate(&id);
            } else if self.is_free(&job, &placement) {
                self.assume(now, &id, &placement);
                decisions.push(Decision::Admit(id, placement));
            }
        }
        self.sync();
        decisions
    }

    /// Whether the nodes of a promise still take work of this kind.
    fn still_possible(&self, job: &Job, placement: &Placement) -> bool {
        placement.slots().all(|slot| {
            let node = self
                .cluster
                .nodes
                .get(&slot.node)
                .and_then(|node| node.open());
            node.is_some_and(|spec| job.needs.allow(&spec.node))
        })
    }

    /// Whether all places of a promise are free.
    fn is_free(&self, job: &Job, placement: &Placement) -> bool {
        let mut on: BTreeMap<&crate::NodeId, Vec<&Slot>> = BTreeMap::new();
        for slot in placement.slots() {
            on.entry(&slot.node).or_default().push(slot);
        }
        on.into_iter().all(|(node, slots)| {
            let node = self.cluster.nodes.get(node);
            node.is_some_and(|node| node.can_hold(&job.task, &slots))
        })
    }

    /// Keeps a good reservation, or makes one for the first job that is overdue.
    fn reserve(&mut self, now: Time) {
        if self.cluster.policy.reserve_after.is_none() {
            return;
        }
        let held = self.cluster.reservation.clone();
        if held
            .as_ref()
            .is_some_and(|held| held.is_good(&self.cluster, now))
        {
            return;
        }
        self.set_reservation(None);
        let contest = Contest::new(&self.arena(now), Overdue);
        let Some(winner) = contest.winner().cloned() else {
            return;
        };
        let Some(job) = self
            .cluster
            .jobs
            .get(&winner.turn.job)
            .map(|state| state.job.clone())
        else {
            return;
        };
        if let Some(board) = self.rooms.board(&self.cluster, &winner.kind.shape) {
            let made = reservation::reserve(&self.cluster, &mut self.rooms, &job, board);
            self.set_reservation(made);
        }
    }

    fn set_reservation(&mut self, reservation: Option<reservation::Reservation>) {
        let before = self.cluster.reservation.take();
        self.cluster.reservation = reservation.map(Into::into);
        let both = before.iter().chain(&self.cluster.reservation);
        let nodes: BTreeSet<_> = both.flat_map(|r| r.nodes.iter().cloned()).collect();
        self.rooms.update(&self.cluster, nodes);
    }

    /// Starts all that can start, the least claim first; before all, the job with the reservation.
    fn admit(&mut self, now: Time, decisions: &mut Vec<Decision>) {
        decisions.extend(self.admit_holder(now));
        let mut contest = Contest::new(&self.arena(now), Startable);
        while let Some(winner) = contest.winner().cloned() {
            match self.start(now, &winner.turn.job, &winner.kind) {
                Some(decision) => {
                    decisions.push(decision);
                    contest.served(&self.arena(now), winner.seat);
                    contest.check(&self.arena(now));
                }
                None => contest.refused(&self.arena(now), winner.seat),
            }
        }
    }

    fn admit_holder(&mut self, now: Time) -> Option<Decision> {
        let holder = self.cluster.reservation.as_ref()?.job.clone();
        let kind = self.cluster.jobs.get(&holder)?.job.kind();
        let decision = self.start(now, &holder, &kind)?;
        self.set_reservation(None);
        Some(decision)
    }

    fn start(&mut self, now: Time, id: &JobId, kind: &Kind) -> Option<Decision> {
        let state = self.cluster.jobs.get(id)?;
        let seat = self.cluster.tree.seat(&state.job.tenant)?;
        let board = self.rooms.board(&self.cluster, &kind.shape)?;
        let holder = trial::is_holder(&self.cluster, id);
        let found = self.rooms.at(board).found();
        let fit = trial::fit(&self.cluster, seat, kind, found, now, holder)?;
        let placement = placement::place(
            &self.cluster,
            &mut self.rooms,
            board,
            kind.shape.gang,
            fit.bounds,
        )?;
        self.assume(now, id, &placement);
        self.sync();
        Some(Decision::Admit(id.clone(), placement))
    }

    fn assume(&mut self, now: Time, id: &JobId, placement: &Placement) {
        self.cluster.assume(now, id, placement);
        self.fresh.insert(id.clone());
        self.told.remove(id);
    }

    /// Has others leave for those that are entitled to it; whether anybody has to.
    fn preempt(&mut self, now: Time, decisions: &mut Vec<Decision>) -> bool {
        self.is_unfinished = false;
        if !self.anybody_may_leave(now) {
            return false;
        }
        let before = decisions.len();
        self.losses.retain(|(at, _)| now.since(*at) < LOSS_WINDOW);
        let mut looked_at = 0;
        let mut passed_over = false;
        let mut contest = Contest::new(&self.arena(now), Entitled::new(&self.arena(now)));
        while let Some(winner) = contest.winner().cloned() {
            let key = (winner.seat, winner.kind.clone());
            if self.tried.contains(&key) {
                passed_over = true;
                contest.refused(&self.arena(now), winner.seat);
                continue;
            }
            if looked_at >= VICTIMS_PER_CYCLE {
                self.is_unfinished = true;
                break;
            }
            let evictions = self.evict_for(now, &winner, &mut looked_at);
            if evictions.is_empty() {
                self.tried.insert(key);
                contest.refused(&self.arena(now), winner.seat);
                continue;
            }
            decisions.extend(evictions);
            contest.entry = Entitled::new(&self.arena(now));
            contest.served(&self.arena(now), winner.seat);
            contest.check(&self.arena(now));
        }
        if !self.is_unfinished {
            // All have had their turn. Those passed over get another if something has changed.
            self.tried.clear();
            self.is_unfinished = passed_over && core::mem::take(&mut self.has_changed);
        }
        decisions.len() > before
    }

    /// Whether some running job has run for long enough to be evicted.
    fn anybody_may_leave(&self, now: Time) -> bool {
        let min_runtime = self.cluster.policy.preemption.min_runtime;
        let oldest = self.queue.running_since.first();
        oldest.is_some_and(|(started, _)| now.since(*started) >= min_runtime)
    }

    /// Has others leave for one job, and promises it their room.
    fn evict_for(&mut self, now: Time, winner: &Candidate, looked_at: &mut usize) -> Vec<Decision> {
        let id = &winner.turn.job;
        let Some(job) = self.cluster.jobs.get(id).map(|state| state.job.clone()) else {
            return Vec::new();
        };
        let Some(board) = self.rooms.board(&self.cluster, &job.shape()) else {
            return Vec::new();
        };
        let holder = trial::is_holder(&self.cluster, id);
        let total = self.rooms.at(board).total();
        let slots = if holder { total.all } else { total.open };
        let search = Search::new(
            &self.cluster,
            &self.queue,
            &self.fresh,
            (&job, winner.seat),
            (winner.request, slots),
            now,
            self.may_lose(),
        );
        let (found, looked) = search.find();
        *looked_at += SEARCH_COSTS + looked;
        let Some((victims, then)) = found else {
            return Vec::new();
        };
        let Some(placement) = self.place_then(&then, board, job.gang, holder) else {
            return Vec::new();
        };
        let evict = |(victim, rule): (JobId, Rule)| {
            let state = self.cluster.jobs.get(&victim);
            let lost = state.map_or(0, |state| preemption::loss(state, now));
            self.losses.push((now, lost));
            self.cluster.evict(now, &victim);
            let preemptor = id.clone();
            Decision::Evict {
                victim,
                preemptor,
                rule,
            }
        };
        let decisions = victims.into_iter().map(evict).collect();
        self.cluster.nominate(now, id, &placement);
        self.sync();
        decisions
    }

    /// Where a gang would go in the state that follows when others have left.
    fn place_then(
        &mut self,
        then: &Cluster,
        board: usize,
        gang: u32,
        reserved: bool,
    ) -> Option<Placement> {
        let bounds = placement::Bounds {
            reserved,
            charge_max: u64::MAX,
        };
        self.rooms.update(then, then.news.nodes.iter().cloned());
        let placement = placement::place(then, &mut self.rooms, board, gang, bounds);
        self.rooms
            .update(&self.cluster, then.news.nodes.iter().cloned());
        placement
    }

    /// GPU-milliseconds of work that may still be lost within the hour.
    fn may_lose(&self) -> Option<u64> {
        let budget = self
            .cluster
            .policy
            .preemption
            .loss_budget?
            .saturating_mul(1000);
        let lost = self.losses.iter().map(|(_, lost)| lost).sum();
        Some(budget.saturating_sub(lost))
    }
}

/// Who may start: those for whom there are room and quota.
struct Startable;

impl Entry for Startable {
    fn enter(
        &self,
        arena: &Arena<'_>,
        seat: Seat,
        kind: &Kind,
        group: &Group,
        _: &Turn,
    ) -> Option<Resources> {
        let found = arena.rooms.at(group.board?).found();
        let fit = trial::fit(arena.cluster, seat, kind, found, arena.now, false)?;
        Some(fit.request)
    }
}

/// Who may be entitled to have others leave. It lets in some that turn out not to be, and leaves
/// out nobody that is.
struct Entitled {
    /// Where only guarantees and priorities entitle: of each tenant, whether it holds less of
    /// anything than it is guaranteed, and the lowest priority of what it runs. All of its other
    /// jobs are out at a glance.
    means: Option<BTreeMap<Seat, (bool, i32)>>,
    /// The highest share that stands beside a tenant or one above it, level by level, the lowest
    /// of what the tenant itself has there. Empty where nobody leaves for the sake of shares.
    beside: BTreeMap<Seat, Vec<(Seat, Share)>>,
}

impl Entitled {
    fn new(arena: &Arena<'_>) -> Self {
        let tree = &arena.cluster.tree;
        let policy = &arena.cluster.policy;
        if policy.order == Order::Drf && !policy.preemption.fair_share {
            return Self {
                means: Some(means(arena)),
                beside: BTreeMap::new(),
            };
        }
        let all = all_resources();
        let beside = |tenant| {
            let seat = tree.seat(tenant)?;
            let level = |at: Seat| {
                let beside = tree
                    .children(tree.parent(at))
                    .iter()
                    .filter(|other| **other != at);
                let highest = beside.map(|other| tree.share_now(*other, &all)).max();
                (at, highest.unwrap_or(Share::ZERO))
            };
            Some((seat, tree.way_up(seat, ROOT).map(level).collect()))
        };
        Self {
            means: None,
            beside: arena.queue.lines.keys().filter_map(beside).collect(),
        }
    }

    /// Whether some other side would still have more than that of the tenant with the job.
    fn by_share(&self, arena: &Arena<'_>, seat: Seat, kind: &Kind, request: &Resources) -> bool {
        let tree = &arena.cluster.tree;
        let levels = self.beside.get(&seat).into_iter().flatten();
        let with = tree.with(seat, request);
        let mut levels = levels.zip(&with);
        levels.any(|((at, highest), with)| tree.share(*at, with, &kind.shape.task) < *highest)
    }
}

impl Entry for Entitled {
    fn enter(
        &self,
        arena: &Arena<'_>,
        seat: Seat,
        kind: &Kind,
        group: &Group,
        first: &Turn,
    ) -> Option<Resources> {
        let Arena { cluster, rooms, .. } = arena;
        if let Some(means) = &self.means {
            let (owns, lowest) = means.get(&seat)?;
            if !owns && *lowest >= first.priority.0 {
                return None;
            }
        }
        let board = rooms.at(group.board.filter(|_| kind.hold.is_none())?);
        let tenant = cluster
            .tenants
            .get(cluster.tree.id(seat))?
            .spec
            .as_deref()?;
        let gang = u64::from(kind.shape.gang);
        let request = kind.shape.request()?;
        let request = request.with(
            Resource::Gpu,
            board.charge_when_empty().saturating_mul(gang),
        );
        if tenant.exhausted
            || !cluster.tree.is_leaf(seat)
            || tenant.limit.passed_by(&request).is_some()
        {
            return None;
        }
        let line = arena.queue.lines.get(cluster.tree.id(seat))?;
        // Not even all of them together would be enough where this is less than what is asked.
        let below = line.held_below(first.priority.0);
        let own = || {
            let lowest = line.running.first().map(|victim| victim.priority);
            let all = cluster.free.get(Resource::Gpu).saturating_add(below);
            lowest.is_some_and(|lowest| lowest < first.priority.0) && all >= kind.shape.milli_gpu()
        };
        let mut asked = Resource::ALL.into_iter().filter(|r| request.get(*r) > 0);
        let owns = |r| preemption::within_guarantee(&cluster.tree, seat, &request, &[r]);
        let entitled = match cluster.policy.order {
            Order::Drf => own() || asked.any(owns) || self.by_share(arena, seat, kind, &request),
            order => order.is_preemptive(),
        };
        let could = entitled && board.slots_when_empty() >= gang;
        could.then_some(request)
    }
}

/// See [`Entitled::means`].
fn means(arena: &Arena<'_>) -> BTreeMap<Seat, (bool, i32)> {
    let tree = &arena.cluster.tree;
    let of = |(tenant, line): (&TenantId, &Line)| {
        let seat = tree.seat(tenant)?;
        let left = tree.subtree(seat).beyond(tree.usage(seat));
        let lowest = line.running.first().map_or(i32::MAX, |v| v.priority);
        Some((seat, (!left.is_zero(), lowest)))
    };
    arena.queue.lines.iter().filter_map(of).collect()
}

/// An amount of which every resource is asked for.
fn all_resources() -> Resources {
    Resource::ALL
        .into_iter()
        .fold(Resources::ZERO, |all, r| all.with(r, 1))
}
