//! Where a gang runs: what costs the least to fragmentation, then together, then the tightest
//! node, then by name. Whole or not at all.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::cluster::Cluster;
use crate::id::NodeId;
use crate::job::{Ask, Placement, Slot};
use crate::needs::Text;
use crate::policy::{Place, Policy};
use crate::resource::{Resource, Resources};
use crate::room::{Grant, Room};
use crate::rooms::{BoardId, Rooms};

/// A node's place in the order in which nodes are taken. The least goes first.
// The order of the fields is the order of preference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// Change of fragmentation.
    score: i64,
    /// What is free: GPUs before CPU before memory, because GPUs are what is scarce.
    gpu: u64,
    cpu: u64,
    memory: u64,
    pub(crate) node: NodeId,
    /// The node's number, which never decides.
    pub(crate) number: usize,
}

impl Rank {
    pub(crate) fn new(place: Place, score: i64, free: &Resources, node: (&NodeId, usize)) -> Self {
        let tightness = |r| match place {
            Place::Prorata | Place::BestFit => free.get(r),
            Place::Fgd | Place::FirstFit | Place::Random(_) => 0,
        };
        Self {
            score,
            gpu: tightness(Resource::Gpu),
            cpu: tightness(Resource::Cpu),
            memory: tightness(Resource::Memory),
            node: node.0.clone(),
            number: node.1,
        }
    }
}

/// By how much a room's fragmentation grows when a task takes its best place there.
pub(crate) fn score(policy: &Policy, room: &Room, task: &Resources, ask: &Ask) -> i64 {
    let wanted = matches!(policy.place, Place::Prorata | Place::Fgd) && !policy.mix.is_empty();
    if !wanted {
        return 0;
    }
    let before = fragments(policy, room);
    let after = choose(policy, room, task, ask).map(|(_, after)| after);
    after.map_or(0, |after| after.saturating_sub(before))
}

/// The devices that a task takes in a room: those after which the least is lost to
/// fragmentation; then the first.
pub(crate) fn grant(policy: &Policy, room: &Room, task: &Resources, ask: &Ask) -> Option<Grant> {
    Some(choose(policy, room, task, ask)?.0)
}

fn choose(policy: &Policy, room: &Room, task: &Resources, ask: &Ask) -> Option<(Grant, i64)> {
    let grants = room.grants(task, ask);
    if let [only] = grants.as_slice() {
        return Some((*only, after(policy, room, task, only)));
    }
    let measured = grants.iter().map(|grant| match policy.place {
        Place::Prorata | Place::Fgd => (after(policy, room, task, grant), 0, grant),
        Place::BestFit => (0, room.free_of(grant), grant),
        Place::FirstFit | Place::Random(_) => (0, 0, grant),
    });
    let (loss, _, grant) = measured.min_by_key(|(loss, free, _)| (*loss, *free))?;
    Some((*grant, loss))
}

fn after(policy: &Policy, room: &Room, task: &Resources, grant: &Grant) -> i64 {
    if policy.mix.is_empty() {
        return 0;
    }
    let mut room = room.clone();
    room.take(task, grant);
    fragments(policy, &room)
}

fn fragments(policy: &Policy, room: &Room) -> i64 {
    i64::try_from(policy.mix.fragments(room)).unwrap_or(i64::MAX)
}

/// What limits where a gang may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Whether it may use nodes that are reserved.
    pub(crate) reserved: bool,
    /// What each task may be charged at most.
    pub(crate) charge_max: u64,
}

/// Places for a gang, found one by one.
struct Draft {
    slots: Vec<Slot>,
    /// What it costs to fragmentation in all.
    loss: i64,
}

/// The places of a gang, in order of task index; `None` where it does not fit whole.
///
/// Of one node, each domain of the topology that holds the whole gang, and all nodes, the one
/// counts where the least is lost to fragmentation; of several such, the smallest.
pub(crate) fn place(
    cluster: &Cluster,
    rooms: &mut Rooms,
    board: BoardId,
    gang: u32,
    bounds: Bounds,
) -> Option<Placement> {
    rooms.sort(cluster, board);
    let mut best: Option<Draft> = None;
    let mut consider = |rooms: &mut Rooms, allowed: &dyn Fn(&Rank) -> bool| {
        let other = draft(cluster, rooms, board, gang, bounds, allowed);
        let loss = |draft: &Option<Draft>| draft.as_ref().map_or(i64::MAX, |d| d.loss);
        if loss(&other) < loss(&best) {
            best = other;
        }
    };
    if gang > 1 && cluster.policy.place == Place::Prorata {
        if let Some(node) = tightest(rooms, board, gang, bounds) {
            consider(rooms, &|rank| rank.number == node);
        }
        for label in &cluster.policy.topology {
            let value = |node: &NodeId| label_of(cluster, node, label);
            if let Some(domain) = smallest(rooms, board, gang, bounds, value) {
                consider(rooms, &|rank| value(&rank.node) == Some(domain));
            }
        }
    }
    consider(rooms, &|_| true);
    best.map(|draft| draft.slots.into_iter().collect())
}

fn label_of<'c>(cluster: &'c Cluster, node: &NodeId, label: &Text) -> Option<&'c Text> {
    cluster.nodes.get(node)?.open()?.node.labels.get(label)
}

/// Of the nodes that hold the whole gang, the one with the least room for more; then the first.
fn tightest(rooms: &Rooms, board: BoardId, gang: u32, bounds: Bounds) -> Option<usize> {
    let seats = rooms.at(board);
    let count = |rank: &&Rank| seats.count(rank.number);
    let holds = |rank: &&Rank| count(rank) >= gang && is_within(rooms, board, rank.number, bounds);
    let node = seats.order().filter(holds).min_by_key(count)?;
    Some(node.number)
}

/// Of the domains that hold the whole gang, the one with the least room for more; then the first.
fn smallest<D: Ord + Copy>(
    rooms: &Rooms,
    board: BoardId,
    gang: u32,
    bounds: Bounds,
    domain: impl Fn(&NodeId) -> Option<D>,
) -> Option<D> {
    let mut held: BTreeMap<D, u64> = BTreeMap::new();
    let nodes = rooms.at(board).order();
    for rank in nodes.filter(|rank| is_within(rooms, board, rank.number, bounds)) {
        if let Some(domain) = domain(&rank.node) {
            *held.entry(domain).or_default() += u64::from(rooms.at(board).count(rank.number));
        }
    }
    let whole = held
        .into_iter()
        .filter(|(_, count)| *count >= u64::from(gang));
    Some(whole.min_by_key(|(_, count)| *count)?.0)
}

fn is_within(rooms: &Rooms, board: BoardId, node: usize, bounds: Bounds) -> bool {
    let charge = rooms.at(board).charge(node);
    charge <= bounds.charge_max && (bounds.reserved || !rooms.is_reserved(node))
}

/// Task by task to the node that comes first; what a task takes changes its node's rank.
fn draft(
    cluster: &Cluster,
    rooms: &mut Rooms,
    board: BoardId,
    gang: u32,
    bounds: Bounds,
    allowed: &dyn Fn(&Rank) -> bool,
) -> Option<Draft> {
    let policy = &cluster.policy;
    let (task, ask) = (rooms.at(board).task, rooms.at(board).ask.clone());
    let mut begun: BTreeMap<NodeId, Room> = BTreeMap::new();
    let mut ranks: BTreeSet<Rank> = BTreeSet::new();
    let mut draft = Draft {
        slots: Vec::new(),
        loss: 0,
    };
    let usable = untouched(cluster, rooms, board, gang, bounds, allowed);
    let mut ahead = usable.into_iter().peekable();
    for _ in 0..gang {
        let next = match (ranks.first(), ahead.peek()) {
            (Some(known), Some(new)) if known <= new => ranks.pop_first()?,
            (Some(_), None) => ranks.pop_first()?,
            _ => ahead.next()?,
        };
        let node = cluster.nodes.get(&next.node)?;
        let room = match begun.get_mut(&next.node) {
            Some(room) => room,
            None => begun.entry(next.node.clone()).or_insert(node.room()?),
        };
        let granted = grant(policy, room, &task, &ask)?;
        room.take(&task, &granted);
        draft.loss = draft.loss.saturating_add(next.score);
        draft.slots.push(granted.slot(policy, room, &next.node));
        if room.times(&task, &ask) > 0 {
            let room = room.clone();
            let score = rooms.score(cluster, board, &room);
            let node = (&next.node, next.number);
            ranks.insert(Rank::new(policy.place, score, &room.free, node));
        }
    }
    Some(draft)
}

/// The nodes that a gang may begin on, as many as it could need, in the order to take them.
fn untouched(
    cluster: &Cluster,
    rooms: &mut Rooms,
    board: BoardId,
    gang: u32,
    bounds: Bounds,
    allowed: &dyn Fn(&Rank) -> bool,
) -> Vec<Rank> {
    let wanted = usize::try_from(gang).unwrap_or(usize::MAX);
    let usable = |rank: &&Rank| is_within(rooms, board, rank.number, bounds) && allowed(rank);
    let Place::Random(seed) = cluster.policy.place else {
        return rooms
            .at(board)
            .order()
            .filter(usable)
            .take(wanted)
            .cloned()
            .collect();
    };
    let mut left: Vec<Rank> = rooms.at(board).order().filter(usable).cloned().collect();
    let mut drawn = Vec::new();
    while drawn.len() < wanted && !left.is_empty() {
        rooms.drawn += 1;
        let draw = mixed(seed, rooms.drawn) % left.len() as u64;
        drawn.push(left.swap_remove(usize::try_from(draw).unwrap_or_default()));
    }
    drawn
}

/// A number that looks random: the finisher of Steele et al.'s *SplitMix*, OOPSLA 2014.
const fn mixed(seed: u64, count: u64) -> u64 {
    let mut z = seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Grant {
    pub(crate) fn slot(&self, policy: &Policy, room: &Room, node: &NodeId) -> Slot {
        Slot {
            node: node.clone(),
            devices: self.devices,
            part: self.part,
            gpu: self.gpu,
            charge: policy.charge(room.model(), self.gpu),
        }
    }
}
