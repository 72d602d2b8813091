//! A node: what it offers, what is taken, and what new work can have.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::device::{Devices, Gpus, Part, Taken};
use crate::id::NodeId;
use crate::job::{Ask, Job, Slot};
use crate::needs::{Labels, Taint};
use crate::pairs::{Pairs, Work};
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
}

/// A node's description with what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) node: Node,
    /// What it offers when empty: its healthy devices, and the rest as it says.
    pub(crate) offer: Resources,
    /// The room that it has when nothing is taken.
    pub(crate) room: Room,
}

impl Spec {
    pub(crate) fn new(node: Node) -> Self {
        let cards = node.cards();
        let all = 0..node.gpus.devices(cards);
        let devices: Vec<Part> = all.map(|index| node.gpus.device(cards, index)).collect();
        let known: u64 = devices.iter().map(|device| u64::from(device.milli)).sum();
        let untold = cards.saturating_sub(Devices::MAX);
        let gpu = known + u64::from(untold) * Resource::Gpu.scale();
        let offer = node.allocatable.bounded().with(Resource::Gpu, gpu);
        Self {
            room: Room::new(&node.gpus, &offer, devices),
            offer,
            node,
        }
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
    pub(crate) devices: Taken,
    /// How many tasks of each kind of work are on each device, where that is known.
    works: BTreeMap<(u32, Work), u32>,
}

impl Held {
    pub(crate) fn take(&mut self, task: &Resources, slot: &Slot) {
        self.amounts = grown(&self.amounts, &slot.takes(task));
        self.devices.add(&slot.devices, slot.part);
    }

    pub(crate) fn give_back(&mut self, task: &Resources, slot: &Slot) {
        self.amounts = shrunk(&self.amounts, &slot.takes(task));
        self.devices.remove(&slot.devices, slot.part);
    }

    /// The same for a task of a job, whose kind of work may be known.
    pub(crate) fn take_for(&mut self, job: &Job, slot: &Slot, pairs: &Pairs) {
        self.take(&job.task, slot);
        if let Some(work) = pairs.of(job) {
            for device in slot.devices.iter() {
                *self.works.entry((device, work)).or_default() += 1;
            }
        }
    }

    pub(crate) fn give_back_for(&mut self, job: &Job, slot: &Slot, pairs: &Pairs) {
        self.give_back(&job.task, slot);
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
        amounts.fits_in(&spec.offer) && devices.all(|index| self.is_within(spec, index))
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
        self.spec.is_none() && self.held.amounts.is_zero() && self.claimed.amounts.is_zero()
    }

    /// Its description, if it takes new work.
    pub(crate) fn open(&self) -> Option<&Spec> {
        self.spec.as_deref().filter(|spec| spec.node.schedulable)
    }

    /// What it offers to new work when empty; `None` on a node that takes none.
    pub(crate) fn offer(&self) -> Option<Resources> {
        Some(self.open()?.offer)
    }

    /// What new work can have here now; `None` on a node that takes none.
    pub(crate) fn free(&self) -> Option<Resources> {
        let free = self.offer()?.beyond(&self.held.amounts);
        Some(free.beyond(&self.claimed.amounts))
    }

    /// What new work can have here now, device by device; `None` on a node that takes none.
    pub(crate) fn room(&self) -> Option<Room> {
        let spec = self.open()?;
        let room = room_beside(spec, &[&self.held, &self.claimed]);
        let is_closed = spec.node.closed && spec.node.gpus.mode.is_shared();
        Some(if is_closed { room.closed() } else { room })
    }

    /// How many tasks of a job find room here.
    pub(crate) fn times(&self, job: &Job, ask: &Ask) -> u32 {
        let allowed = self.open().is_some_and(|spec| job.needs.allow(&spec.node));
        if allowed {
            self.times_of(&job.task, ask)
        } else {
            0
        }
    }

    /// How many such tasks find room here that may use this node.
    pub(crate) fn times_of(&self, task: &Resources, ask: &Ask) -> u32 {
        if !self.has_some_for(task) {
            return 0;
        }
        self.room().map_or(0, |room| room.times(task, ask))
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

    /// Whether tasks that ask for this can have these places here beside what is held, whatever
    /// is promised.
    pub(crate) fn can_hold(&self, task: &Resources, slots: &[&Slot]) -> bool {
        let Some(spec) = self.open() else {
            return false;
        };
        let mut held = self.held.clone();
        slots.iter().for_each(|slot| held.take(task, slot));
        // What they do not ask for cannot stand in their way, even where the node is overfull.
        let asked = task
            .iter()
            .filter(|(r, amount)| *r != Resource::GpuMemory && *amount > 0);
        let mut devices = slots.iter().flat_map(|slot| slot.devices.iter());
        asked
            .into_iter()
            .all(|(r, _)| held.amounts.get(r) <= spec.offer.get(r))
            && devices.all(|index| held.is_within(spec, index))
    }

    /// The room that its description leaves beside what is held, whether or not it takes new
    /// work and whatever is promised.
    pub(crate) fn room_unclaimed(&self) -> Option<Room> {
        let spec = self.spec.as_deref()?;
        Some(room_beside(spec, &[&self.held]))
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
    occupy(&mut devices, unplaced);
    let all = taken.iter().flat_map(|held| held.works.keys());
    Room::new(&spec.node.gpus, &free, devices).with_works(all)
}

/// GPUs that are taken, nobody knows which: the last ones, so that the first stay together.
fn occupy(devices: &mut [Part], mut milli: u64) {
    for part in devices.iter_mut().rev() {
        if milli == 0 {
            return;
        }
        milli = milli.saturating_sub(u64::from(part.milli));
        *part = Part::NONE;
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
