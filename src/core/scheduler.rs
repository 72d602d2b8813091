//! The whole story: facts in, decisions and explanations out.
//!
//! [`Scheduler::observe`] records a fact and decides nothing, so that a burst of a thousand
//! facts costs one [`Scheduler::cycle`]. A cycle goes through these steps:
//!
//! 1. **promote**: jobs that waited for others to leave start once these are gone.
//! 2. **reserve**: the first job in fair order that has waited too long for room gets nodes
//!    reserved (`reservation`).
//! 3. **admit**: a tournament between the tenants (`drf`). Each enters with the first
//!    job of its queue that could start now; the least claim wins, takes its places
//!    (`placement`), and the next round begins. It ends when nobody's job could start.
//! 4. **preempt**: the same tournament between those that cannot, for the right to have others
//!    leave (`preemption`). The room is promised to the winner. Under an order other
//!    than by share this comes before, and its winners start where they need nobody to leave:
//!    nothing starts in room that a job before it could have.
//!
//! [`Scheduler::explain`] says why the rest waits. It is no part of the cycle, because it costs
//! what waits and not what is decided. Both ask `trial` whether a job could start, so an
//! explanation cannot drift from what was decided.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use crate::cluster::Cluster;
use crate::decision::{Cycle, Decision, Rule};
use crate::drf::{Arena, Candidate, Contest};
use crate::entry::{Entitled, Startable};
use crate::event::Event;
use crate::id::JobId;
use crate::job::{Job, Kind, Placement};
use crate::policy::Policy;
use crate::preemption::{Search, Wants};
use crate::queue::{Queue, Turn};
use crate::reason::{Reason, Verdict};
use crate::reservation::{self, Overdue};
use crate::rooms::Rooms;
use crate::snapshot::Snapshot;
use crate::time::Time;
use crate::told::Told;
use crate::tree::Seat;
use crate::{placement, promise, trial};

mod wakeups;

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
    told: Told,
    /// Kinds for which nobody could be made to leave, since all were last tried.
    tried: BTreeSet<Like>,
    /// Some were not tried in the last cycle.
    is_unfinished: bool,
    /// Something has happened since all were last tried.
    has_changed: bool,
}

/// Jobs for which a search ends alike: of one tenant and priority, evicted as often, and of one
/// shape.
type Like = (Seat, i32, u32, Kind);

/// No further search for victims begins in a cycle once so many have been looked at. The others
/// have their turn in the next cycles, so that each cycle is short and none is forgotten.
const VICTIMS_PER_CYCLE: usize = 48;

/// What a search costs besides, in victims looked at.
const SEARCH_COSTS: usize = 4;

/// When searches are left over and nothing happens, the next cycle is due after this long.
const NEXT_SEARCHES: Duration = Duration::from_secs(1);

/// Losses count against the budget for this long.
const LOSS_WINDOW: Duration = Duration::from_secs(3600);

impl Clone for Scheduler {
    fn clone(&self) -> Self {
        let mut cluster = self.cluster.clone();
        let (news, known) = (&mut cluster.news, &self.cluster.news);
        news.nodes.clone_from(&known.nodes);
        news.verdicts.clone_from(&known.verdicts);
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
        let decisions = self.decide_all(now);
        let changed = self.cluster.take_verdicts();
        Cycle { decisions, changed }
    }

    /// The same, for whoever does not ask which verdicts have changed.
    #[must_use = "decisions that nobody carries out hold capacity for nothing"]
    pub fn decide(&mut self, now: Time) -> Vec<Decision> {
        let decisions = self.decide_all(now);
        self.cluster.news.verdicts.clear();
        decisions
    }

    fn decide_all(&mut self, now: Time) -> Vec<Decision> {
        let now = self.decided.max(now);
        self.has_changed |= self.has_ripened(self.decided, now);
        self.decided = now;
        self.fresh.clear();
        self.sync();
        self.tidy();
        let mut decisions = self.promote(now);
        self.reserve(now);
        decisions.extend(self.admit_holder(now));
        let preempts = self.cluster.policy.preemption.enabled;
        let in_order = preempts && self.cluster.policy.order.is_preemptive();
        let mut evicts = in_order && self.preempt(now, &mut decisions);
        self.admit(now, &mut decisions);
        evicts |= preempts && !in_order && self.preempt(now, &mut decisions);
        if evicts {
            decisions.extend(self.promote(now));
        }
        decisions
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
        self.tidy();
        let snapshot = self.snapshot();
        let news = self.told.renew(snapshot.waiting());
        let placed = |(job, reason): (&Job, Reason)| {
            let turn = Turn::of(&self.cluster, job);
            (job.tenant.clone(), turn, reason)
        };
        let mut changed: Vec<_> = news.into_iter().map(placed).collect();
        changed.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        let verdict = |(_, turn, reason): (_, Turn, Reason)| (turn.job, Verdict::Waiting(reason));
        changed.into_iter().map(verdict).collect()
    }

    /// Brings what follows from the facts up to date.
    fn sync(&mut self) {
        self.cluster.settle_tree();
        let nodes = core::mem::take(&mut self.cluster.news.nodes);
        self.rooms.update(&self.cluster, nodes);
        self.file();
    }

    /// Drops what is known of room where too much of it serves nobody. Boards have other numbers
    /// then, so it comes before anything is decided.
    fn tidy(&mut self) {
        if self.rooms.is_crowded(self.cluster.nodes.size()) {
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
            if !promise::is_possible(&self.cluster, &job, &placement) {
                self.cluster.unnominate(&id);
                self.has_changed = true;
            } else if promise::is_free(&self.cluster, &job, &placement) {
                self.assume(now, &id, &placement);
                decisions.push(Decision::Admit(id, placement));
            }
        }
        self.sync();
        decisions
    }

    /// Keeps a good reservation, or makes one for the first job that is overdue.
    fn reserve(&mut self, now: Time) {
        if self.cluster.policy.reserve_after.is_none() {
            return;
        }
        let held = self.cluster.reservation.as_ref();
        if held.is_some_and(|held| held.is_good(&self.cluster, &self.rooms, now)) {
            return;
        }
        self.set_reservation(None);
        let contest = Contest::new(&self.arena(now), Overdue);
        let Some(winner) = contest.winner().cloned() else {
            return;
        };
        let state = self.cluster.jobs.get(&winner.turn.job);
        let board = self.rooms.board(&self.cluster, &winner.head.kind.shape);
        if let Some((state, board)) = state.zip(board) {
            let (rooms, queue) = (&mut self.rooms, &self.queue);
            let made = reservation::reserve(&self.cluster, rooms, queue, &state.job, board);
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

    /// Starts all that can start, the least claim first.
    fn admit(&mut self, now: Time, decisions: &mut Vec<Decision>) {
        let mut contest = Contest::new(&self.arena(now), Startable::new(&self.cluster));
        while let Some(winner) = contest.winner().cloned() {
            match self.start_winner(now, &winner) {
                Some(decision) => {
                    decisions.push(decision);
                    contest.pass(&self.arena(now), winner.seat);
                    contest.check(&self.arena(now));
                }
                None => contest.pass(&self.arena(now), winner.seat),
            }
        }
    }

    /// Before all others, starts the job with the reservation if it can.
    fn admit_holder(&mut self, now: Time) -> Option<Decision> {
        let holder = self.cluster.reservation.as_ref()?.job.clone();
        let job = &self.cluster.jobs.get(&holder)?.job;
        let (kind, seat) = (job.kind(), self.cluster.tree.seat(&job.tenant)?);
        self.start(now, &holder, seat, &kind)
    }

    fn start_winner(&mut self, now: Time, winner: &Candidate) -> Option<Decision> {
        self.start(now, &winner.turn.job, winner.seat, &winner.head.kind)
    }

    fn start(&mut self, now: Time, id: &JobId, seat: Seat, kind: &Kind) -> Option<Decision> {
        // The holder of a reservation may have become one that no cluster could run.
        kind.shape.request()?;
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
        if holder {
            self.set_reservation(None);
        }
        Some(Decision::Admit(id.clone(), placement))
    }

    fn assume(&mut self, now: Time, id: &JobId, placement: &Placement) {
        self.cluster.assume(now, id, placement);
        self.fresh.insert(id.clone());
        self.told.forget(id);
    }

    /// Has others leave for those that are entitled to it; whether anybody has to. Under an order
    /// other than by share, those that fit start when it is their turn.
    fn preempt(&mut self, now: Time, decisions: &mut Vec<Decision>) -> bool {
        self.is_unfinished = false;
        if !self.anybody_may_leave(now) {
            return false;
        }
        let in_order = self.cluster.policy.order.is_preemptive();
        let mut anybody_leaves = false;
        self.losses.retain(|(at, _)| now.since(*at) < LOSS_WINDOW);
        let mut looked_at = 0;
        let mut passed_over = false;
        let mut contest = Contest::new(&self.arena(now), Entitled::new(&self.arena(now)));
        while let Some(winner) = contest.winner().cloned() {
            if in_order && let Some(started) = self.start_winner(now, &winner) {
                decisions.push(started);
                contest.pass(&self.arena(now), winner.seat);
                contest.check(&self.arena(now));
                continue;
            }
            let key = self.like(&winner);
            if self.tried.contains(&key) {
                passed_over = true;
                contest.pass(&self.arena(now), winner.seat);
                continue;
            }
            if looked_at >= VICTIMS_PER_CYCLE {
                self.is_unfinished = true;
                break;
            }
            let evictions = self.evict_for(now, &winner, &mut looked_at);
            if evictions.is_empty() {
                self.tried.insert(key);
                contest.pass(&self.arena(now), winner.seat);
                continue;
            }
            anybody_leaves = true;
            decisions.extend(evictions);
            contest.entry = Entitled::new(&self.arena(now));
            contest.pass(&self.arena(now), winner.seat);
            contest.check(&self.arena(now));
        }
        if !self.is_unfinished {
            // All have had their turn. Those passed over get another if something has changed.
            self.tried.clear();
            self.is_unfinished = passed_over && core::mem::take(&mut self.has_changed);
        }
        anybody_leaves
    }

    fn like(&self, candidate: &Candidate) -> Like {
        let turn = &candidate.turn;
        let evicted = self.cluster.evicted.get(&turn.job).copied();
        let evicted = evicted.unwrap_or_default();
        let kind = candidate.head.kind.of_any_length();
        (candidate.seat, turn.priority.0, evicted, kind)
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
        let found = self.rooms.at(board);
        let total = found.total();
        let wants = Wants {
            request: winner.request,
            slots: if holder { total.all } else { total.open },
            is_picky: found.nodes_when_empty() < self.cluster.nodes.size(),
        };
        let search = Search::new(
            &self.arena(now),
            board,
            &self.fresh,
            (&job, winner.seat),
            wants,
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
            let lost = state.map_or(0, |state| state.loss(now));
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
        self.rooms.show(board, then, &then.news.nodes);
        let placement = placement::place(then, &mut self.rooms, board, gang, bounds);
        self.rooms.show(board, &self.cluster, &then.news.nodes);
        placement
    }

    /// GPU-milliseconds of work that may still be lost within the hour.
    fn may_lose(&self) -> Option<u64> {
        let preemption = &self.cluster.policy.preemption;
        let budget = preemption.loss_budget?.saturating_mul(1000);
        let lost = self.losses.iter().map(|(_, lost)| lost).sum();
        Some(budget.saturating_sub(lost))
    }
}
