//! Where a gang runs: what costs the least to fragmentation, then together, then by name; where
//! nobody knows what is typical, together, then the tightest node, then by name. Whole or not at
//! all.

use alloc::collections::btree_map::Entry::{Occupied, Vacant};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::cluster::Cluster;
use crate::fragmentation::STEP;
use crate::id::NodeId;
use crate::job::{Ask, Placement, Slot};
use crate::needs::Text;
use crate::pairs::Work;
use crate::policy::{Place, Policy};
use crate::resource::{Resource, Resources};
use crate::room::{Grant, Room};
use crate::rooms::{BoardId, Rooms};

/// A node's place in the order in which nodes are taken. The least goes first.
// The order of the fields is the order of preference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// Growth of fragmentation.
    score: i64,
    /// What is free, where that counts: GPUs before CPU before memory, because GPUs are what is
    /// scarce.
    gpu: u64,
    cpu: u64,
    memory: u64,
    pub(crate) node: NodeId,
    /// The node's number, which never decides.
    pub(crate) number: usize,
    /// Tasks that found room there when the node was put in order, and what each is charged;
    /// neither decides.
    pub(crate) count: u32,
    pub(crate) charge: u64,
}

impl Rank {
    pub(crate) fn new(
        policy: &Policy,
        score: i64,
        free: &Resources,
        node: (&NodeId, usize),
    ) -> Self {
        let [gpu, cpu, memory] =
            [Resource::Gpu, Resource::Cpu, Resource::Memory].map(|r| free.get(r));
        let (gpu, cpu, memory) = match policy.place {
            // The score has seen how tight it is. To go by that once more would fill the smallest
            // nodes first, whose models are often the rarest.
            Place::Prorata if !policy.mix.is_empty() => (0, 0, 0),
            Place::Prorata => (gpu, cpu, memory),
            // As its authors have it: GPUs and CPUs are one sum, memory does not count.
            Place::BestFit => (gpu * CPUS_PER_GPU + cpu, 0, 0),
            Place::Fgd | Place::FirstFit | Place::Random(_) => (0, 0, 0),
        };
        Self {
            score,
            gpu,
            cpu,
            memory,
            node: node.0.clone(),
            number: node.1,
            count: 0,
            charge: 0,
        }
    }
}

/// So many CPUs count as much as a GPU to the best fit: a large machine has 8 GPUs and 128 CPUs.
const CPUS_PER_GPU: u64 = 16;

/// What is lost to fragmentation in a room as it is; 0 where the policy does not measure it.
pub(crate) fn loss(policy: &Policy, room: &Room) -> i64 {
    if measures(policy) {
        policy.mix.loss(policy.place, room)
    } else {
        0
    }
}

/// What counts of a task when it is placed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) task: &'a Resources,
    pub(crate) ask: &'a Ask,
    /// Its kind of work, where something is known of that.
    pub(crate) work: Option<Work>,
}

/// What a pair costs that gets less done than one of them alone: more than fragmentation ever does.
const LOSING: i64 = 1 << 40;

/// By how much fragmentation grows when a task takes its best devices in a room in which `lost`
/// is lost already, and what it loses by its neighbours there; 0 where the policy measures neither.
pub(crate) fn score(policy: &Policy, (room, lost): (&Room, i64), wanted: Wanted<'_>) -> i64 {
    if !has_say(policy, wanted.work) {
        return 0;
    }
    let grants = room.grants(wanted.task, wanted.ask);
    let cost = |grant| cost(policy, room, wanted, grant, lost);
    grants.iter().map(cost).min().unwrap_or_default()
}

/// Whether a score can be anything but 0 for this kind of work.
pub(crate) fn has_say(policy: &Policy, work: Option<Work>) -> bool {
    measures(policy) || work.is_some()
}

fn cost(policy: &Policy, room: &Room, wanted: Wanted<'_>, grant: &Grant, lost: i64) -> i64 {
    let loses = wanted
        .work
        .is_some_and(|work| room.loses(work, grant, &policy.pairs));
    let neighbours = if loses { LOSING } else { 0 };
    after(policy, room, wanted.task, grant, lost) + neighbours
}

/// The devices that a task takes in a room: those where it loses nothing by its neighbours, and after
/// which the least is lost to fragmentation; then the tightest, where the policy has it so; then the first.
pub(crate) fn grant(policy: &Policy, room: &Room, wanted: Wanted<'_>) -> Option<Grant> {
    let grants = room.grants(wanted.task, wanted.ask);
    if let Place::Random(seed) = policy.place {
        return drawn(seed, room, &grants);
    }
    if let [only] = *grants {
        return Some(only);
    }
    let lost = loss(policy, room);
    let measured = grants.iter().map(|grant| {
        let tightness = match policy.place {
            Place::Prorata | Place::BestFit => room.free_of(grant),
            Place::Fgd | Place::FirstFit | Place::Random(_) => 0,
        };
        (cost(policy, room, wanted, grant, lost), tightness, grant)
    });
    let (_, _, grant) = measured.min_by_key(|(growth, free, _)| (*growth, *free))?;
    Some(*grant)
}

/// Whether what is typical has a say.
fn measures(policy: &Policy) -> bool {
    matches!(policy.place, Place::Prorata | Place::Fgd) && !policy.mix.is_empty()
}

/// Any device of those that would do, as likely as any other: drawn from the seed and what is
/// free here, so that the same room gives the same answer.
fn drawn(seed: u64, room: &Room, grants: &[Grant]) -> Option<Grant> {
    // Grants on devices of which as much is free stand for each other.
    let alike = |grant: &Grant| {
        let free = room.free_of(grant);
        let alike = room.parts().iter().filter(|part| free == part.milli.into());
        alike.count().max(1) as u64
    };
    let of_room = Resource::ALL
        .into_iter()
        .fold(0, |sum, r| mixed(sum, room.free.get(r)));
    let mut draw = mixed(seed, of_room) % grants.iter().map(alike).sum::<u64>().max(1);
    let found = grants.iter().find(|grant| {
        let here = draw < alike(grant);
        draw = draw.saturating_sub(alike(grant));
        here
    });
    found.copied()
}

/// By how much fragmentation grows, in [`STEP`]s begun: any loss is worse than none, and gains
/// count when they are whole.
fn after(policy: &Policy, room: &Room, task: &Resources, grant: &Grant, before: i64) -> i64 {
    if !measures(policy) {
        return 0;
    }
    let mut room = room.clone();
    room.take(task, grant);
    let growth = policy.mix.loss(policy.place, &room) - before;
    -(-growth).div_euclid(STEP)
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
    let holds = |rank: &&Rank| rank.count >= gang && is_within(rooms, rank, bounds);
    let nodes = rooms.at(board).order().filter(holds);
    Some(nodes.min_by_key(|rank| rank.count)?.number)
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
    for rank in nodes.filter(|rank| is_within(rooms, rank, bounds)) {
        if let Some(domain) = domain(&rank.node) {
            *held.entry(domain).or_default() += u64::from(rank.count);
        }
    }
    let whole = held
        .into_iter()
        .filter(|(_, count)| *count >= u64::from(gang));
    Some(whole.min_by_key(|(_, count)| *count)?.0)
}

fn is_within(rooms: &Rooms, rank: &Rank, bounds: Bounds) -> bool {
    rank.charge <= bounds.charge_max && (bounds.reserved || !rooms.is_reserved(rank.number))
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
    if gang == 1 {
        return draft_of_one(cluster, rooms, board, bounds, allowed);
    }
    let policy = &cluster.policy;
    let (task, ask) = (rooms.at(board).task, rooms.at(board).ask.clone());
    let needs = rooms.at(board).needs().clone();
    let work = rooms.at(board).work(policy);
    let wanted = Wanted {
        task: &task,
        ask: &ask,
        work,
    };
    // With how many more there may be of what is charged to nobody.
    let mut begun: BTreeMap<usize, (Room, u32)> = BTreeMap::new();
    let mut ranks: BTreeSet<Rank> = BTreeSet::new();
    let mut draft = Draft {
        slots: Vec::new(),
        loss: 0,
    };
    let usable = untouched(cluster, rooms, board, gang, bounds, allowed);
    let mut ahead = usable.into_iter().peekable();
    for to_follow in (0..gang).rev() {
        let next = match (ranks.first(), ahead.peek()) {
            (Some(known), Some(new)) if known <= new => ranks.pop_first()?,
            (Some(_), None) => ranks.pop_first()?,
            _ => ahead.next()?,
        };
        let (room, left) = match begun.entry(next.number) {
            Occupied(begun) => begun.into_mut(),
            Vacant(new) => {
                let node = cluster.nodes.get(&next.node)?;
                new.insert((node.room()?, node.others_times(&needs)))
            }
        };
        let granted = grant(policy, room, wanted)?;
        room.take_for(&task, &granted, work);
        *left = left.saturating_sub(1);
        draft.loss = draft.loss.saturating_add(next.score);
        draft.slots.push(granted.slot(policy, room, &next.node));
        if to_follow > 0 && *left > 0 && room.times(&task, &ask) > 0 {
            let score = rooms.score(cluster, board, room);
            let node = (&next.node, next.number);
            ranks.insert(Rank::new(policy, score, &room.free, node));
        }
    }
    Some(draft)
}

/// The same for a single task, after which no node's rank counts.
fn draft_of_one(
    cluster: &Cluster,
    rooms: &mut Rooms,
    board: BoardId,
    bounds: Bounds,
    allowed: &dyn Fn(&Rank) -> bool,
) -> Option<Draft> {
    let policy = &cluster.policy;
    let first = untouched(cluster, rooms, board, 1, bounds, allowed).pop()?;
    let room = cluster.nodes.get(&first.node)?.room()?;
    let granted = grant(policy, &room, rooms.at(board).wanted(policy))?;
    Some(Draft {
        slots: [granted.slot(policy, &room, &first.node)].into(),
        loss: first.score,
    })
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
    let usable = |rank: &&Rank| is_within(rooms, rank, bounds) && allowed(rank);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Mode;
    use crate::fragmentation::Mix;
    use crate::needs::Needs;
    use crate::node::{Node, Spec};
    use crate::pool::Home;
    use alloc::sync::Arc;

    fn share(milli: u64) -> (Resources, Ask) {
        let task = Resources::ZERO.with(Resource::Gpu, milli);
        (task, Ask::of(&task, &Needs::default()).unwrap())
    }

    /// A room of whole cards of which these shares were taken, each of the first that had it.
    fn room(cards: u64, taken: &[u64]) -> Room {
        let mut node = Node::new("a");
        node.allocatable = Resources::gpus(cards);
        node.gpus.mode = Mode::Fractional;
        let mut room = Spec::new(node, Home::Common).room;
        for milli in taken {
            let (task, ask) = share(*milli);
            let grant = room.grants(&task, &ask)[0];
            room.take(&task, &grant);
        }
        room
    }

    fn policy(place: Place, typical: &[u64]) -> Policy {
        let seen = typical.iter().map(|m| (share(*m).0, Arc::default(), 1));
        Policy {
            place,
            mix: Arc::new(Mix::of(seen, 100)),
            ..Policy::default()
        }
    }

    fn wanted<'a>(task: &'a Resources, ask: &'a Ask) -> Wanted<'a> {
        let work = None;
        Wanted { task, ask, work }
    }

    fn device(place: Place, room: &Room) -> u32 {
        let (task, ask) = share(100);
        let grant = grant(&policy(place, &[]), room, wanted(&task, &ask)).unwrap();
        grant.devices.iter().next().unwrap()
    }

    #[test]
    fn losses_are_compared_in_steps_begun() {
        let score = |typical: u64, asked: u64, room: &Room| {
            let (task, ask) = share(asked);
            let policy = policy(Place::Fgd, &[typical]);
            score(&policy, (room, loss(&policy, room)), wanted(&task, &ask))
        };
        let half_taken = room(1, &[500]);
        // 490 are left, in which no typical task finds room: 12.25 steps.
        assert_eq!(score(500, 10, &half_taken), 13);
        // 500 of no use become 461: less than a step is won.
        assert_eq!(score(600, 39, &half_taken), 0);
        assert_eq!(score(600, 40, &half_taken), -1);
        assert_eq!(score(400, 100, &half_taken), 0);
    }

    #[test]
    fn a_share_goes_where_its_policy_has_it() {
        // 500, 400 and 300 are free.
        let room = room(3, &[500, 600, 700]);
        assert_eq!(device(Place::FirstFit, &room), 0);
        assert_eq!(device(Place::BestFit, &room), 2);
        assert_eq!(device(Place::Prorata, &room), 2);
    }

    #[test]
    fn any_device_that_would_do_is_as_likely_as_any_other() {
        // Device 0 has less free than the other three, which are alike.
        let room = room(4, &[500]);
        let draws = (0..4000).map(|seed| device(Place::Random(seed), &room));
        let on_the_first = draws.filter(|device| *device == 0).count();
        assert!((850..1150).contains(&on_the_first), "{on_the_first}");
    }

    #[test]
    fn tightness_is_gpus_first_or_one_sum() {
        let node = NodeId::from("a");
        let rank = |place, gpu, cpu| {
            let free = Resources::ZERO.with(Resource::Gpu, gpu);
            let free = free.with(Resource::Cpu, cpu);
            Rank::new(&policy(place, &[]), 0, &free, (&node, 0))
        };
        let few_gpus_wins = |place| rank(place, 1000, 96_000) < rank(place, 2000, 64_000);
        assert!(few_gpus_wins(Place::Prorata));
        assert!(!few_gpus_wins(Place::BestFit));
        assert!(rank(Place::BestFit, 1000, 79_999) < rank(Place::BestFit, 2000, 64_000));
        assert_eq!(rank(Place::FirstFit, 1, 2), rank(Place::FirstFit, 3, 4));
    }
}
