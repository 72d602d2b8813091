//! Which nodes have room for which tasks, kept up to date change by change.
//!
//! Tasks that ask for the same and demand the same of their node share a [`Board`]: for each
//! node how many of them find room, and the nodes in the order in which they are to be taken.
//! Counts are kept at once, so that whether a gang fits is one comparison; the order only when a
//! gang is placed. Nodes with equal rooms are measured once.
//!
//! All of it follows from the cluster's nodes. It can be dropped and made again.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::cluster::Cluster;
use crate::id::NodeId;
use crate::job::{Ask, Shape};
use crate::needs::Needs;
use crate::node::{NodeState, Spec};
use crate::others::Others;
use crate::pairs::Work;
use crate::placement::{self, Rank, Wanted};
use crate::policy::Policy;
use crate::resource::Resources;
use crate::room::Room;
use crate::states::{Memo, States};

/// A board, by its number.
pub(crate) type BoardId = usize;

/// Boards that nobody waits at are kept until they hold this many nodes together.
const IDLE_SEATS_MAX: usize = 320_000;

/// Nodes that are gone are kept up to this number, or as many as there are.
const GONE_NODES_MAX: usize = 64;

/// What is free where, and for whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rooms {
    nodes: Vec<Entry>,
    index: BTreeMap<NodeId, usize>,
    states: States,
    boards: Vec<Board>,
    board_of: BTreeMap<(Resources, Arc<Needs>), BoardId>,
    /// Tasks that were placed at random.
    pub(crate) drawn: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    id: NodeId,
    /// `None` on a node that takes no new work.
    state: Option<usize>,
    reserved: bool,
    /// What new work can have there of what is charged to nobody.
    others: Others,
    /// As it was when it was last looked at.
    spec: Option<Arc<Spec>>,
    /// What it means to each board: a change of one node goes through them in a row.
    seats: Vec<Seat>,
}

/// One kind of task, and the nodes as they look to it.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    pub(crate) task: Resources,
    pub(crate) ask: Ask,
    needs: Arc<Needs>,
    /// Kinds of jobs that wait at it.
    users: usize,
    /// The place of each node in the order.
    ranks: Vec<Option<Rank>>,
    /// Tasks that find room, by what each is charged.
    slots: BTreeMap<u64, Slots>,
    /// Tasks that would find room if nothing ran, by what each would be charged.
    empty: BTreeMap<u64, u64>,
    /// Those in all, and the highest charge.
    empty_total: (u64, u64),
    /// Nodes that would have room if nothing ran.
    empty_nodes: usize,
    /// Tasks that find room in all.
    total: Slots,
    /// The nodes with room, in the order in which they are to be taken.
    order: BTreeSet<Rank>,
    /// Nodes whose place in the order is out of date.
    stale: Vec<usize>,
}

/// A node as it looks to a board.
#[derive(Clone, Debug, Default)]
struct Seat {
    allowed: bool,
    /// Tasks that would find room if nothing ran, and what each would be charged.
    empty: u32,
    empty_charge: u64,
    count: u32,
    charge: u64,
    reserved: bool,
    stale: bool,
    /// It has a place in the order.
    ranked: bool,
}

/// How many tasks find room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slots {
    /// Wherever it is.
    pub(crate) all: u64,
    /// Outside of what is reserved.
    pub(crate) open: u64,
}

impl Slots {
    /// Of one node: how many, what each is charged, and whether it is reserved.
    fn of((count, _, reserved): (u32, u64, bool)) -> Self {
        let all = u64::from(count);
        let open = if reserved { 0 } else { all };
        Self { all, open }
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            all: self.all + other.all,
            open: self.open + other.open,
        }
    }

    const fn less(self, other: Self) -> Self {
        Self {
            all: self.all - other.all,
            open: self.open - other.open,
        }
    }
}

impl Rooms {
    /// Nothing is known of any node yet; draws go on.
    pub(crate) fn drawn_from(drawn: u64) -> Self {
        Self {
            drawn,
            ..Self::default()
        }
    }

    /// Nodes have changed, or are new or gone.
    pub(crate) fn update(&mut self, cluster: &Cluster, nodes: impl IntoIterator<Item = NodeId>) {
        for id in nodes {
            self.update_node(cluster, &id, None);
        }
    }

    /// Shows nodes to one board alone, as they are in a trial. It must be shown what is so
    /// afterwards; the other boards never hear of it.
    pub(crate) fn show(&mut self, board: BoardId, cluster: &Cluster, nodes: &BTreeSet<NodeId>) {
        for id in nodes {
            self.update_node(cluster, id, Some(board));
        }
    }

    fn update_node(&mut self, cluster: &Cluster, id: &NodeId, only: Option<BoardId>) {
        let known = cluster.nodes.get(id);
        let room = known.and_then(|node| node.room());
        let number = self.number(id);
        let state = room.map(|room| self.states.enter(room.into_key()));
        let reserved = is_reserved(cluster, id);
        let others = known.map(NodeState::others).unwrap_or_default();
        let spec = known.and_then(|node| node.spec.as_ref());
        let Self {
            nodes,
            states,
            boards,
            ..
        } = self;
        let entry = &mut nodes[number];
        let same = match (&entry.spec, spec) {
            (Some(before), Some(spec)) => Arc::ptr_eq(before, spec),
            (None, None) => true,
            _ => false,
        };
        let before = core::mem::replace(&mut entry.state, state);
        let is_as_before =
            same && (before, entry.reserved) == (state, reserved) && entry.others == others;
        (entry.reserved, entry.others) = (reserved, others);
        if !same {
            entry.spec = spec.cloned();
        }
        let concerned = match only {
            _ if is_as_before => 0..0,
            Some(board) => board..board + 1,
            None => 0..boards.len(),
        };
        let all = boards.iter_mut().zip(&mut entry.seats).enumerate();
        for (id, (board, seat)) in all.skip(concerned.start).take(concerned.len()) {
            if !same {
                board.look_at(seat, spec, cluster);
            }
            let found = board.find(id, states, (state, seat, &entry.others), cluster);
            board.seat(seat, number, found, reserved);
        }
        if let Some(before) = before {
            states.leave(before);
        }
    }

    fn number(&mut self, id: &NodeId) -> usize {
        if let Some(number) = self.index.get(id) {
            return *number;
        }
        let number = self.nodes.len();
        self.nodes.push(Entry {
            id: id.clone(),
            state: None,
            reserved: false,
            others: Others::NONE,
            spec: None,
            seats: alloc::vec![Seat::default(); self.boards.len()],
        });
        self.index.insert(id.clone(), number);
        for board in &mut self.boards {
            board.ranks.push(None);
        }
        number
    }

    /// The board of a kind of task; made when there is none yet. `None` when the task makes no
    /// sense.
    pub(crate) fn board(&mut self, cluster: &Cluster, shape: &Shape) -> Option<BoardId> {
        let key = (shape.task, shape.needs.clone());
        if let Some(board) = self.board_of.get(&key) {
            return Some(*board);
        }
        let ask = Ask::of(&shape.task, &shape.needs)?;
        let mut board = Board::new(shape, ask, self.nodes.len());
        let id = self.boards.len();
        for (number, entry) in self.nodes.iter_mut().enumerate() {
            let mut seat = Seat::default();
            board.look_at(&mut seat, entry.spec.as_ref(), cluster);
            let there = (entry.state, &seat, &entry.others);
            let found = board.find(id, &mut self.states, there, cluster);
            board.seat(&mut seat, number, found, entry.reserved);
            entry.seats.push(seat);
        }
        self.boards.push(board);
        self.board_of.insert(key, id);
        Some(id)
    }

    /// The board of a kind of task, if there is one.
    pub(crate) fn find(&self, shape: &Shape) -> Option<&Board> {
        let board = self.board_of.get(&(shape.task, shape.needs.clone()))?;
        self.boards.get(*board)
    }

    pub(crate) fn at(&self, board: BoardId) -> &Board {
        &self.boards[board]
    }

    /// One more kind of job waits at a board, or one less.
    pub(crate) fn attend(&mut self, board: BoardId, comes: bool) {
        let users = &mut self.boards[board].users;
        *users = if comes {
            *users + 1
        } else {
            users.saturating_sub(1)
        };
    }

    /// Whether so many boards are idle, or so many nodes gone, that it is time to drop them all.
    pub(crate) fn is_crowded(&self, nodes: usize) -> bool {
        let idle = self.boards.iter().filter(|board| board.users == 0).count();
        idle * self.nodes.len() > IDLE_SEATS_MAX || self.nodes.len() > 2 * nodes + GONE_NODES_MAX
    }

    /// Brings the order of a board up to date.
    pub(crate) fn sort(&mut self, cluster: &Cluster, id: BoardId) {
        let board = &mut self.boards[id];
        let mut stale = core::mem::take(&mut board.stale);
        for number in stale.drain(..) {
            let entry = &mut self.nodes[number];
            let rank = board.rank(id, &mut self.states, (number, entry), cluster);
            let seat = &mut entry.seats[id];
            (seat.stale, seat.ranked) = (false, rank.is_some());
            let before = core::mem::replace(&mut board.ranks[number], rank.clone());
            if before != rank {
                before.map(|before| board.order.remove(&before));
                board.order.extend(rank);
            }
        }
        // Its memory serves the next changes.
        board.stale = stale;
    }

    /// The score of a room on a board, remembered where some node has such a room.
    pub(crate) fn score(&mut self, cluster: &Cluster, id: BoardId, room: &Room) -> i64 {
        let board = &self.boards[id];
        if !placement::has_say(&cluster.policy, board.work(&cluster.policy)) {
            return 0;
        }
        match self.states.of(room) {
            Some(state) => self.states.score(state, (id, board), cluster),
            None => {
                let lost = placement::loss(&cluster.policy, room);
                let wanted = board.wanted(&cluster.policy);
                placement::score(&cluster.policy, (room, lost), wanted)
            }
        }
    }

    /// Whether a node would have room for a task of a board if nothing ran there.
    pub(crate) fn suits_when_empty(&self, board: BoardId, node: &NodeId) -> bool {
        let number = self.index.get(node);
        number.is_some_and(|number| self.nodes[*number].seats[board].empty > 0)
    }

    /// Whether a node, by its number, is kept for the job with the reservation.
    pub(crate) fn is_reserved(&self, number: usize) -> bool {
        self.nodes[number].reserved
    }
}

fn is_reserved(cluster: &Cluster, node: &NodeId) -> bool {
    let reservation = cluster.reservation.as_ref();
    reservation.is_some_and(|r| r.nodes.contains(node))
}

impl Board {
    /// A board that knows of so many nodes, and nothing about them.
    fn new(shape: &Shape, ask: Ask, nodes: usize) -> Self {
        Self {
            task: shape.task,
            ask,
            needs: shape.needs.clone(),
            users: 0,
            ranks: alloc::vec![None; nodes],
            slots: BTreeMap::new(),
            empty: BTreeMap::new(),
            empty_total: (0, 0),
            empty_nodes: 0,
            total: Slots::default(),
            order: BTreeSet::new(),
            stale: Vec::new(),
        }
    }

    /// What its tasks demand of their nodes.
    pub(crate) const fn needs(&self) -> &Arc<Needs> {
        &self.needs
    }

    /// The kind of work of its tasks, where something is known of that.
    pub(crate) fn work(&self, policy: &Policy) -> Option<Work> {
        policy.pairs.work(self.needs.work.as_deref()?)
    }

    /// What counts of its tasks when they are placed.
    pub(crate) fn wanted(&self, policy: &Policy) -> Wanted<'_> {
        Wanted {
            task: &self.task,
            ask: &self.ask,
            work: self.work(policy),
        }
    }

    /// Tasks that find room, whatever they are charged.
    pub(crate) const fn total(&self) -> Slots {
        self.total
    }

    /// Tasks that find room, by what each is charged.
    pub(crate) const fn found(&self) -> &BTreeMap<u64, Slots> {
        &self.slots
    }

    /// Tasks that would find room if nothing ran.
    pub(crate) const fn slots_when_empty(&self) -> u64 {
        self.empty_total.0
    }

    /// Nodes that would have room for a task if nothing ran.
    pub(crate) const fn nodes_when_empty(&self) -> usize {
        self.empty_nodes
    }

    /// What a task is charged at most, if nothing else runs.
    pub(crate) const fn charge_when_empty(&self) -> u64 {
        self.empty_total.1
    }

    /// What a task is charged at least, if nothing else runs; `None` where it finds no room even then.
    pub(crate) fn least_charge_when_empty(&self) -> Option<u64> {
        self.empty.keys().next().copied()
    }

    fn look_at(&mut self, seat: &mut Seat, spec: Option<&Arc<Spec>>, cluster: &Cluster) {
        let spec = spec.filter(|spec| spec.node.schedulable && spec.allows(&self.needs));
        let room = spec.map(|spec| &spec.room);
        let empty = room
            .as_ref()
            .map_or(0, |room| room.times(&self.task, &self.ask));
        let others = spec.map_or(0, |spec| self.needs.times_in(&spec.node.others));
        let empty = empty.min(others);
        let charge = room.map_or(0, |room| {
            cluster
                .policy
                .charge(room.model(), room.milli_for(&self.ask))
        });
        if let Some(before) = self.empty.get_mut(&seat.empty_charge) {
            *before -= u64::from(seat.empty);
        }
        *self.empty.entry(charge).or_default() += u64::from(empty);
        self.empty.retain(|_, count| *count > 0);
        let dearest = self.empty.keys().next_back().copied();
        self.empty_total = (self.empty.values().sum(), dearest.unwrap_or_default());
        self.empty_nodes -= usize::from(seat.empty > 0);
        self.empty_nodes += usize::from(empty > 0);
        (seat.allowed, seat.empty, seat.empty_charge) = (spec.is_some(), empty, charge);
    }

    /// The nodes with room, in the order in which they are to be taken. Sort it first.
    pub(crate) fn order(&self) -> impl Iterator<Item = &Rank> {
        self.order.iter()
    }

    fn seat(&mut self, seat: &mut Seat, number: usize, found: Memo, reserved: bool) {
        let before = (seat.count, seat.charge, seat.reserved);
        let after = (found.count, found.charge, reserved);
        if before != after {
            (seat.count, seat.charge, seat.reserved) = after;
            let (less, more) = (Slots::of(before), Slots::of(after));
            let slots = self.slots.entry(before.1).or_default();
            *slots = slots.less(less);
            if slots.all == 0 {
                self.slots.remove(&before.1);
            }
            if more.all > 0 {
                let slots = self.slots.entry(after.1).or_default();
                *slots = slots.plus(more);
            }
            self.total = self.total.less(less).plus(more);
        }
        if !seat.stale && (seat.count > 0 || seat.ranked) {
            seat.stale = true;
            self.stale.push(number);
        }
    }

    /// What its tasks find on a node that has this room: nothing where they may not go.
    fn find(
        &self,
        id: BoardId,
        states: &mut States,
        (state, seat, others): (Option<usize>, &Seat, &Others),
        cluster: &Cluster,
    ) -> Memo {
        let Some(state) = state.filter(|_| seat.allowed) else {
            return Memo::default();
        };
        let mut found = *states.look(state, (id, self), cluster);
        found.count = found.count.min(self.needs.times_in(others));
        found
    }

    fn rank(
        &self,
        id: BoardId,
        states: &mut States,
        (number, entry): (usize, &Entry),
        cluster: &Cluster,
    ) -> Option<Rank> {
        let seat = &entry.seats[id];
        let state = entry.state.filter(|_| seat.count > 0)?;
        let score = states.score(state, (id, self), cluster);
        let free = &states.room(state).free;
        let mut rank = Rank::new(&cluster.policy, score, free, (&entry.id, number));
        (rank.count, rank.charge) = (seat.count, seat.charge);
        Some(rank)
    }
}
