//! A node: what it offers, what is taken, and what new work can have.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::device::{Devices, Gpus, Part, Taken};
use crate::id::{NodeId, TenantId};
use crate::job::{Ask, Job, Slot};
use crate::needs::{Labels, Needs, Taint};
use crate::others::Others;
use crate::pairs::{Pairs, Work};
use crate::pool::Home;
use crate::resource::{Resource, Resources};
use crate::room::{Room, plain};

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// What it offers to pods. Its GPUs are whole cards, however they are given out.
    pub allocatable: Resources,
    /// What else it offers.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Others::is_empty")
    )]
    pub others: Others,
    /// What its GPUs are.
    pub gpus: Gpus,
    /// Its labels.
    pub labels: Arc<Labels>,
    /// What repels tasks that do not tolerate it.
    pub taints: Arc<[Taint]>,
    /// Whether new work may go there: ready and not cordoned.
    pub schedulable: bool,
    /// Whether its shared GPUs take nobody new for now. They count as capacity, and whoever is on
    /// them stays.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "core::ops::Not::not")
    )]
    pub closed: bool,
}

impl Node {
    /// A node that offers nothing yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            id: name.into(),
            allocatable: Resources::ZERO,
            others: Others::NONE,
            gpus: Gpus::default(),
            labels: Arc::default(),
            taints: Arc::default(),
            schedulable: true,
            closed: false,
        }
    }

    /// How many cards it has.
    #[must_use]
    pub fn cards(&self) -> u32 {
        let cards = self.allocatable.bounded().get(Resource::Gpu) / Resource::Gpu.scale();
        u32::try_from(cards).unwrap_or(u32::MAX)
    }

    /// What it offers when empty: its healthy devices, and the rest as it says.
    #[must_use]
    pub fn offer(&self) -> Resources {
        let cards = self.cards();
        let all = 0..self.gpus.devices(cards);
        let known = all.map(|index| u64::from(self.gpus.device(cards, index).milli));
        let untold = cards.saturating_sub(Devices::MAX);
        let gpu = known.sum::<u64>() + u64::from(untold) * Resource::Gpu.scale();
        self.allocatable.bounded().with(Resource::Gpu, gpu)
    }
}

/// A node's description with what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) node: Node,
    /// What it offers when empty: its healthy devices, and the rest as it says.
    pub(crate) offer: Resources,
    /// The room that it has when nothing is taken.
    pub(crate) room: Room,
    /// Whose work belongs here.
    pub(crate) home: Home,
}

impl Spec {
    pub(crate) fn new(node: Node, home: Home) -> Self {
        let cards = node.cards();
        let all = 0..node.gpus.devices(cards);
        let devices: Vec<Part> = all.map(|index| node.gpus.device(cards, index)).collect();
        let offer = node.offer();
        Self {
            room: Room::new(&node.gpus, &offer, devices),
            offer,
            node,
            home,
        }
    }

    /// Whether a task with these needs may go here, as far as pools, labels, taints and GPUs go.
    pub(crate) fn allows(&self, needs: &Needs) -> bool {
        self.home == needs.home && needs.allow(&self.node)
    }

    /// What each of its devices is when nothing is taken.
    pub(crate) fn devices(&self) -> &[Part] {
        self.room.parts()
    }
}

/// What is taken of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) amounts: Resources,
    pub(crate) others: Others,
    pub(crate) devices: Taken,
    /// How many tasks of each kind of work are on each device, where that is known.
    works: BTreeMap<(u32, Work), u32>,
    /// How many tasks there are.
    tasks: u32,
    /// How many of them are at home in a pool, by whose it is.
    at_home: BTreeMap<TenantId, u32>,
}

impl Held {
    /// Takes what one task of a job has.
    pub(crate) fn take(&mut self, job: &Job, slot: &Slot) {
        self.amounts = grown(&self.amounts, &slot.takes(&job.task));
        self.others.grow(&job.needs.others);
        self.devices.add(&slot.devices, slot.part);
        self.tasks += 1;
        self.enter(&job.needs.home);
    }

    pub(crate) fn give_back(&mut self, job: &Job, slot: &Slot) {
        self.amounts = shrunk(&self.amounts, &slot.takes(&job.task));
        self.others.shrink(&job.needs.others);
        self.devices.remove(&slot.devices, slot.part);
        self.tasks -= 1;
        self.quit(&job.needs.home);
    }

    /// Counts a task where it is at home.
    fn enter(&mut self, home: &Home) {
        if let Home::Of(tenant) = home {
            *self.at_home.entry(tenant.clone()).or_default() += 1;
        }
    }

    fn quit(&mut self, home: &Home) {
        if let Home::Of(tenant) = home
            && let Some(count) = self.at_home.get_mut(tenant)
        {
            *count -= 1;
            self.at_home.retain(|_, count| *count > 0);
        }
    }

    /// A task that is here is at home elsewhere from now on.
    pub(crate) fn move_home(&mut self, before: &Home, after: &Home) {
        self.quit(before);
        self.enter(after);
    }

    /// Where those that are here are at home.
    pub(crate) fn homes(&self) -> impl Iterator<Item = Option<&TenantId>> {
        let at_home = self.at_home.values().sum::<u32>();
        let common = (at_home < self.tasks).then_some(None);
        self.at_home.keys().map(Some).chain(common)
    }

    /// Whether tasks are here that do not belong to this home.
    pub(crate) fn has_strangers(&self, home: &Home) -> bool {
        match home {
            Home::Of(tenant) => self.at_home.get(tenant).copied().unwrap_or_default() < self.tasks,
            Home::Common => !self.at_home.is_empty(),
            Home::Contested => self.tasks > 0,
        }
    }

    /// The same for a task of a job, whose kind of work may be known.
    pub(crate) fn take_for(&mut self, job: &Job, slot: &Slot, pairs: &Pairs) {
        self.take(job, slot);
        if let Some(work) = pairs.of(job) {
            for device in slot.devices.iter() {
                *self.works.entry((device, work)).or_default() += 1;
            }
        }
    }

    pub(crate) fn give_back_for(&mut self, job: &Job, slot: &Slot, pairs: &Pairs) {
        self.give_back(job, slot);
        if let Some(work) = pairs.of(job) {
            for device in slot.devices.iter() {
                let count = self.works.entry((device, work)).or_default();
                *count = count.saturating_sub(1);
            }
            self.works.retain(|_, count| *count > 0);
        }
    }
}

impl Held {
    /// Whether a node offers all of this, and each of its devices its part.
    pub(crate) fn fits_in(&self, spec: &Spec) -> bool {
        // Memory of GPUs is counted device by device, where it is known at all.
        let amounts = self.amounts.with(Resource::GpuMemory, 0);
        let mut devices = (0..).take(spec.devices().len());
        amounts.fits_in(&spec.offer)
            && self.others.fits_in(&spec.node.others)
            && devices.all(|index| self.is_within(spec, index))
    }

    /// Whether no more is taken of a device than there is.
    fn is_within(&self, spec: &Spec, index: u32) -> bool {
        let device = usize::try_from(index)
            .ok()
            .and_then(|i| spec.devices().get(i));
        let (device, taken) = (
            device.copied().unwrap_or(Part::NONE),
            self.devices.of(index),
        );
        taken.milli <= device.milli && (device.memory == 0 || taken.memory <= device.memory)
    }
}

/// A node with what is taken of it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct NodeState {
    /// `None` while something is on a node that nobody has described, or that is gone.
    pub(crate) spec: Option<Arc<Spec>>,
    /// Held or assumed by tasks, and held by other pods.
    pub(crate) held: Held,
    /// Promised to gangs that wait for others to leave.
    pub(crate) claimed: Held,
}

impl NodeState {
    /// Whether nothing would be lost by forgetting it.
    pub(crate) fn is_empty(&self) -> bool {
        let has_none = |held: &Held| held.amounts.is_zero() && held.others.is_empty();
        self.spec.is_none() && has_none(&self.held) && has_none(&self.claimed)
    }

    /// Its description, if it takes new work.
    pub(crate) fn open(&self) -> Option<&Spec> {
        self.spec.as_deref().filter(|spec| spec.node.schedulable)
    }

    /// Its description, if it takes new work now: nobody comes to those who must not share a node
    /// with anybody else.
    fn inviting(&self) -> Option<&Spec> {
        let spec = self.open()?;
        (!self.held.has_strangers(&spec.home)).then_some(spec)
    }

    /// What new work can have here now; `None` on a node that takes none.
    pub(crate) fn free(&self) -> Option<Resources> {
        let free = self.inviting()?.offer.beyond(&self.held.amounts);
        Some(free.beyond(&self.claimed.amounts))
    }

    /// What new work can have here now, device by device; `None` on a node that takes none.
    pub(crate) fn room(&self) -> Option<Room> {
        let spec = self.inviting()?;
        let room = room_beside(spec, &[&self.held, &self.claimed]);
        let is_closed = spec.node.closed && spec.node.gpus.mode.is_shared();
        Some(if is_closed { room.closed() } else { room })
    }

    /// How many tasks of a job find room here.
    pub(crate) fn times(&self, job: &Job, ask: &Ask) -> u32 {
        let allowed = self.open().is_some_and(|spec| spec.allows(&job.needs));
        if allowed {
            self.times_of(&job.task, &job.needs, ask)
        } else {
            0
        }
    }

    /// How many such tasks find room here that may use this node.
    pub(crate) fn times_of(&self, task: &Resources, needs: &Needs, ask: &Ask) -> u32 {
        let others = self.others_times(needs);
        if others == 0 || !self.has_some_for(task) {
            return 0;
        }
        self.room()
            .map_or(0, |room| room.times(task, ask))
            .min(others)
    }

    /// What new work can have here now of what is charged to nobody.
    pub(crate) fn others(&self) -> Others {
        match self.open() {
            Some(spec) if !spec.node.others.is_empty() => {
                let free = spec.node.others.beyond(&self.held.others);
                match self.claimed.others.is_empty() {
                    true => free,
                    false => free.beyond(&self.claimed.others),
                }
            }
            _ => Others::NONE,
        }
    }

    /// How many tasks with these needs find as much of that.
    pub(crate) fn others_times(&self, needs: &Needs) -> u32 {
        match needs.others.is_empty() {
            true => needs.times_in(&Others::NONE),
            false => needs.times_in(&self.others()),
        }
    }

    /// How many tasks with these needs would find as much of that, whatever is promised.
    pub(crate) fn others_unclaimed(&self, needs: &Needs) -> u32 {
        let spec = self.spec.as_ref().filter(|_| !needs.others.is_empty());
        let free = spec.map(|spec| spec.node.others.beyond(&self.held.others));
        needs.times_in(&free.unwrap_or_default())
    }

    /// Whether something of all that a task asks for is free. It spares a look at each device,
    /// which on most nodes of a full cluster would be in vain.
    fn has_some_for(&self, task: &Resources) -> bool {
        let asks_gpu = task.get(Resource::Gpu) > 0;
        self.free().is_some_and(|free| {
            let has_gpu = free.get(Resource::Gpu) > 0;
            plain(task).fits_in(&plain(&free)) && (!asks_gpu || has_gpu)
        })
    }

    /// Whether room here is promised to somebody.
    pub(crate) fn is_promised(&self) -> bool {
        self.claimed != Held::default()
    }

    /// Whether tasks of a job can have these places here beside what is held, whatever is promised.
    pub(crate) fn can_hold(&self, job: &Job, slots: &[&Slot]) -> bool {
        let Some(spec) = self.inviting() else {
            return false;
        };
        let mut held = self.held.clone();
        slots.iter().for_each(|slot| held.take(job, slot));
        // What they do not ask for cannot stand in their way, even where the node is overfull.
        let mut asked = job.needs.others.iter();
        let others = asked.all(|(name, _)| held.others.get(name) <= spec.node.others.get(name));
        let asked = job
            .task
            .iter()
            .filter(|(r, amount)| *r != Resource::GpuMemory && *amount > 0);
        let mut devices = slots.iter().flat_map(|slot| slot.devices.iter());
        asked
            .into_iter()
            .all(|(r, _)| held.amounts.get(r) <= spec.offer.get(r))
            && others
            && devices.all(|index| held.is_within(spec, index))
    }

    /// The room that its description leaves beside what is held, whether or not it takes new
    /// work and whatever is promised.
    pub(crate) fn room_unclaimed(&self) -> Option<Room> {
        let spec = self.spec.as_deref()?;
        Some(room_beside(spec, &[&self.held]))
    }

    /// The room that its description leaves beside what is held and promised, whether or not it takes
    /// new work.
    pub(crate) fn room_left(&self) -> Option<Room> {
        let spec = self.spec.as_deref()?;
        Some(room_beside(spec, &[&self.held, &self.claimed]))
    }
}

fn room_beside(spec: &Spec, taken: &[&Held]) -> Room {
    let mut free = spec.offer;
    let mut devices = spec.devices().to_vec();
    let mut unplaced = 0;
    for held in taken {
        free = free.beyond(&held.amounts);
        for (index, part) in (0..).zip(&mut devices) {
            *part = part.less(held.devices.of(index));
        }
        let gpu = held.amounts.get(Resource::Gpu);
        unplaced += gpu.saturating_sub(held.devices.milli());
    }
    occupy(&mut devices, unplaced, spec.room.slot());
    let all = taken.iter().flat_map(|held| held.works.keys());
    Room::new(&spec.node.gpus, &free, devices).with_works(all)
}

/// GPUs that are taken, nobody knows which: the last ones, so that the first stay together; slot
/// by slot where cards are split.
fn occupy(devices: &mut [Part], mut milli: u64, slot: Option<Part>) {
    for part in devices.iter_mut().rev() {
        while milli > 0 && !part.is_none() {
            let taken = slot.filter(|slot| slot.fits_in(*part)).unwrap_or(*part);
            milli = milli.saturating_sub(u64::from(taken.milli));
            *part = part.less(taken);
        }
    }
}

/// The sum of two amounts.
///
/// # Panics
/// Beyond 2⁶⁴, which bounded amounts do not reach.
pub(crate) fn grown(sum: &Resources, by: &Resources) -> Resources {
    sum.checked_add(by)
        .expect("amounts are bounded, so sums stay below 2^64")
}

/// What is left of an amount.
///
/// # Panics
/// When more is taken away than there is.
pub(crate) fn shrunk(sum: &Resources, by: &Resources) -> Resources {
    sum.checked_sub(by)
        .expect("only what was taken is given back")
}
