//! What new work can have on one node, device by device.

use alloc::vec::Vec;

use crate::device::{Devices, Gpus, Mode, Part, Taken, WHOLE};
use crate::id::{Model, NodeId};
use crate::job::{Ask, Slot};
use crate::pairs::{Pairs, Work, Works};
use crate::resource::{Resource, Resources};

/// What is free on a node. Two nodes whose rooms are equal are the same to every task that may
/// use both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Room {
    model: Model,
    mode: Mode,
    /// Memory of a card, in bytes.
    memory: u64,
    pub(crate) free: Resources,
    /// What is free of each device.
    parts: Vec<Part>,
    /// The kinds of work on each device; empty where none is known.
    works: Vec<Works>,
}

/// What a task would have of a node's GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) devices: Devices,
    /// What it has of each of them.
    pub(crate) part: Part,
    /// Milli-GPU in all.
    pub(crate) gpu: u64,
}

impl Grant {
    /// What a task has on a node of which nothing is known.
    pub(crate) fn unseen(task: &Resources, ask: &Ask) -> Self {
        let part = match ask {
            Ask::Share(part) => *part,
            Ask::Devices(_, None) => Part {
                milli: WHOLE,
                memory: 0,
            },
            _ => Part::NONE,
        };
        Self {
            devices: Devices::default(),
            part,
            gpu: task.get(Resource::Gpu),
        }
    }

    /// Those of the devices on a record of which others leave its part. A device that does not
    /// work any more is still held.
    pub(crate) fn devices_of(&self, recorded: &Devices, taken: &Taken) -> Devices {
        let open = |index: &u32| taken.of(*index).milli + self.part.milli <= WHOLE;
        recorded.iter().filter(open).collect()
    }

    /// The slot on such a node.
    pub(crate) fn slot_unseen(&self, node: &NodeId) -> Slot {
        Slot {
            node: node.clone(),
            devices: self.devices,
            part: self.part,
            gpu: self.gpu,
            charge: self.gpu,
        }
    }
}

impl Room {
    pub(crate) fn new(gpus: &Gpus, free: &Resources, parts: Vec<Part>) -> Self {
        let Gpus {
            model,
            mode,
            memory,
            ..
        } = gpus;
        Self {
            model: model.clone(),
            mode: mode.clone(),
            memory: *memory,
            free: *free,
            parts,
            works: Vec::new(),
        }
    }

    /// The same, with this work on these devices.
    pub(crate) fn with_works<'w>(mut self, all: impl Iterator<Item = &'w (u32, Work)>) -> Self {
        all.for_each(|(device, work)| self.join(*device, *work));
        self
    }

    /// Work comes to a device.
    fn join(&mut self, device: u32, work: Work) {
        if self.works.is_empty() {
            self.works.resize(self.parts.len(), Works::default());
        }
        let index = usize::try_from(device).ok();
        if let Some(works) = index.and_then(|index| self.works.get_mut(index)) {
            works.add(work);
        }
    }

    /// Whether a task of this work would lose something beside those on the devices of a grant.
    pub(crate) fn loses(&self, work: Work, grant: &Grant, pairs: &Pairs) -> bool {
        let there = grant
            .devices
            .iter()
            .filter_map(|i| self.works.get(usize::try_from(i).ok()?));
        let mut all = Works::default();
        there.for_each(|works| all.insert(*works));
        all.lose(work, pairs)
    }

    /// The same room where GPUs take nobody new.
    pub(crate) fn closed(mut self) -> Self {
        self.free = self.free.with(Resource::Gpu, 0);
        self.parts.fill(Part::NONE);
        self
    }

    pub(crate) const fn model(&self) -> &Model {
        &self.model
    }

    /// The same room with its devices in an order that does not matter, as a key.
    pub(crate) fn into_key(self) -> Self {
        let mut key = self;
        if matches!(key.mode, Mode::Mig(_)) {
            return key;
        }
        if key.works.is_empty() {
            key.parts.sort_unstable();
            return key;
        }
        let mut devices: Vec<(Part, Works)> = key.parts.into_iter().zip(key.works).collect();
        devices.sort_unstable();
        (key.parts, key.works) = devices.into_iter().unzip();
        key
    }

    /// What is free of each device.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// How many tasks find room here.
    pub(crate) fn times(&self, task: &Resources, ask: &Ask) -> u32 {
        let plain = plain(task).times_in(&plain(&self.free));
        if plain == 0 {
            return 0;
        }
        // Where devices broke under their tasks, kubelet counts these against the others.
        let counted = self
            .free
            .get(Resource::Gpu)
            .checked_div(self.milli_for(ask));
        let counted = counted.map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(u32::MAX));
        plain.min(self.devices_for(ask)).min(counted)
    }

    fn devices_for(&self, ask: &Ask) -> u32 {
        match ask {
            Ask::Nothing => u32::MAX,
            Ask::Devices(count, profile) => self.whole(profile.as_deref()) / count,
            Ask::Share(part) => match self.unit(*part) {
                Some(unit) => self.parts.iter().map(|free| times(unit, *free)).sum(),
                None => 0,
            },
        }
    }

    /// Devices of which everything is free.
    fn whole(&self, profile: Option<&str>) -> u32 {
        if self.parts.len() >= Devices::MAX as usize {
            let free = self.free.get(Resource::Gpu) / u64::from(WHOLE);
            return u32::try_from(free).unwrap_or(u32::MAX);
        }
        let all = 0..self.parts.len();
        let free = all.filter(|i| self.is_whole(*i, profile)).count();
        u32::try_from(free).unwrap_or(u32::MAX)
    }

    fn is_whole(&self, index: usize, profile: Option<&str>) -> bool {
        let free = self.parts[index];
        match (&self.mode, profile) {
            (Mode::Exclusive | Mode::Fractional, None) => {
                free.milli == WHOLE && free.memory == self.memory
            }
            (Mode::Mig(instances), Some(profile)) => {
                let instance = &instances[index];
                *instance.profile == *profile && free.milli == instance.milli && free.milli > 0
            }
            _ => false,
        }
    }

    /// The slot of a card here that is split.
    pub(crate) fn slot(&self) -> Option<Part> {
        let gpus = Gpus {
            mode: self.mode.clone(),
            memory: self.memory,
            ..Gpus::default()
        };
        gpus.slot()
    }

    /// What somebody who asks for `part` of a device gets of it; `None` where no device is shared
    /// in such parts.
    fn unit(&self, part: Part) -> Option<Part> {
        // Where nobody knows how much memory there is, it is not counted.
        let asked = if self.memory == 0 {
            Part { memory: 0, ..part }
        } else {
            part
        };
        match &self.mode {
            Mode::Fractional => Some(asked),
            Mode::TimeSlice(_) | Mode::Mps(_) => self.slot().filter(|slot| asked.fits_in(*slot)),
            Mode::Exclusive | Mode::Mig(_) => None,
        }
    }

    /// Milli-GPU that one task would have here in all.
    pub(crate) fn milli_for(&self, ask: &Ask) -> u64 {
        match ask {
            Ask::Nothing => 0,
            Ask::Devices(count, None) => u64::from(*count) * u64::from(WHOLE),
            Ask::Devices(count, Some(profile)) => {
                let Mode::Mig(instances) = &self.mode else {
                    return 0;
                };
                let instance = instances.iter().find(|i| i.profile == *profile);
                instance.map_or(0, |i| u64::from(i.milli)) * u64::from(*count)
            }
            Ask::Share(part) => self.unit(*part).map_or(0, |unit| unit.milli.into()),
        }
    }

    /// The ways in which one task could have devices here: whole ones in the order of their
    /// indexes, a share on each different device that has room for it. None where it does not fit.
    pub(crate) fn grants(&self, task: &Resources, ask: &Ask) -> Vec<Grant> {
        if self.times(task, ask) == 0 {
            return Vec::new();
        }
        match ask {
            Ask::Nothing => [Grant::default()].into(),
            Ask::Devices(count, profile) => [self.first_whole(*count, profile.as_deref())].into(),
            Ask::Share(part) => self
                .unit(*part)
                .map_or_else(Vec::new, |unit| self.shares(unit)),
        }
    }

    /// As many whole devices as there are, up to `count`, in the order of their indexes.
    fn first_whole(&self, count: u32, profile: Option<&str>) -> Grant {
        let free = (0..self.parts.len()).filter(|i| self.is_whole(*i, profile));
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        let index = |i| u32::try_from(i).unwrap_or(u32::MAX);
        let devices: Devices = free.take(wanted).map(index).collect();
        let first = devices.iter().next().and_then(|i| usize::try_from(i).ok());
        Grant {
            devices,
            part: first.map_or(
                Part {
                    milli: WHOLE,
                    memory: self.memory,
                },
                |i| self.parts[i],
            ),
            gpu: self.milli_for(&Ask::Devices(count, profile.map(Into::into))),
        }
    }

    fn shares(&self, unit: Part) -> Vec<Grant> {
        let mut seen: Vec<(Part, Works)> = Vec::new();
        let mut grants = Vec::new();
        let works = self
            .works
            .iter()
            .copied()
            .chain(core::iter::repeat(Works::default()));
        for (index, (free, works)) in (0..).zip(self.parts.iter().zip(works)) {
            let alike = (*free, works);
            if unit.fits_in(*free) && !free.is_none() && !seen.contains(&alike) {
                seen.push(alike);
                grants.push(Grant {
                    devices: core::iter::once(index).collect(),
                    part: unit,
                    gpu: unit.milli.into(),
                });
            }
        }
        grants
    }

    /// What is free of the device on which one task would have its part.
    pub(crate) fn free_of(&self, grant: &Grant) -> u64 {
        let index = grant
            .devices
            .iter()
            .next()
            .and_then(|i| usize::try_from(i).ok());
        index.map_or(0, |i| self.parts[i].milli.into())
    }

    /// What a task that asks for this has here although it may not fit: it is here all the same.
    pub(crate) fn grant_anyway(&self, task: &Resources, ask: &Ask) -> Grant {
        let fitting = self.grants(task, ask).first().copied();
        fitting.unwrap_or_else(|| match ask {
            Ask::Nothing => Grant::default(),
            Ask::Devices(count, profile) => self.first_whole(*count, profile.as_deref()),
            // On a card that is split it has a slot, however little it asked for.
            Ask::Share(part) => {
                let part = self.unit(*part).unwrap_or(*part);
                Grant {
                    devices: Devices::default(),
                    part,
                    gpu: part.milli.into(),
                }
            }
        })
    }

    /// Whether GPUs are given out here as `ask` has it: in slots that are large enough for a share,
    /// or in instances of a profile. Of whole cards that is not asked: they are counted.
    pub(crate) fn gives(&self, ask: &Ask) -> bool {
        match ask {
            Ask::Nothing | Ask::Devices(_, None) => true,
            Ask::Devices(_, Some(_)) | Ask::Share(_) => self.milli_for(ask) > 0,
        }
    }

    /// What a task has here that is on record as having these devices: those of them that are
    /// free for it.
    pub(crate) fn grant_of(
        &self,
        task: &Resources,
        ask: &Ask,
        (devices, taken): (&Devices, &Taken),
    ) -> Grant {
        let usual = self.grant_anyway(task, ask);
        Grant {
            devices: usual.devices_of(devices, taken),
            ..usual
        }
    }

    /// Takes what one task has, which is of this kind of work.
    pub(crate) fn take_for(&mut self, task: &Resources, grant: &Grant, work: Option<Work>) {
        self.take(task, grant);
        if let Some(work) = work {
            grant
                .devices
                .iter()
                .for_each(|device| self.join(device, work));
        }
    }

    /// Takes what one task has.
    pub(crate) fn take(&mut self, task: &Resources, grant: &Grant) {
        let takes = task.with(Resource::Gpu, grant.gpu);
        self.free = self.free.beyond(&takes);
        for index in grant.devices.iter().filter_map(|i| usize::try_from(i).ok()) {
            if let Some(part) = self.parts.get_mut(index) {
                *part = part.less(grant.part);
            }
        }
    }
}

/// What kubelet counts on its own: without GPUs and their memory.
pub(crate) fn plain(amounts: &Resources) -> Resources {
    amounts.with(Resource::Gpu, 0).with(Resource::GpuMemory, 0)
}

fn times(unit: Part, free: Part) -> u32 {
    let milli = free.milli.checked_div(unit.milli).unwrap_or(u32::MAX);
    let memory = free.memory.checked_div(unit.memory);
    let memory = memory.map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(u32::MAX));
    match milli.min(memory) {
        u32::MAX => 0,
        times => times,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Instance;
    use crate::needs::Needs;
    use crate::node::{Node, Spec};
    use crate::pool::Home;
    use alloc::vec;

    const GB: u64 = 1 << 30;

    fn room(mode: Mode, cards: u64, memory: u64) -> Room {
        let mut node = Node::new("a");
        node.allocatable = Resources::gpus(cards);
        node.gpus.mode = mode;
        node.gpus.memory = memory;
        let spec = Spec::new(node, Home::Common);
        spec.room
    }

    fn share(milli: u64, memory: u64) -> Resources {
        Resources::ZERO
            .with(Resource::Gpu, milli)
            .with(Resource::GpuMemory, memory)
    }

    fn times(room: &Room, task: Resources) -> u32 {
        room.times(&task, &Ask::of(&task, &Needs::default()).unwrap())
    }

    #[test]
    fn a_closed_room_gives_no_gpu_and_whatever_else_it_has() {
        let room = room(Mode::TimeSlice(4), 2, 0).closed();
        assert_eq!(times(&room, share(250, 0)), 0);
        assert_eq!(times(&room, Resources::ZERO), u32::MAX);
    }

    #[test]
    fn a_slot_must_be_large_enough_and_is_taken_whole() {
        let mut room = room(Mode::Mps(4), 2, 80 * GB);
        assert_eq!(times(&room, share(250, 20 * GB)), 8);
        assert_eq!(times(&room, share(100, 0)), 8);
        assert_eq!(times(&room, share(251, 0)), 0);
        assert_eq!(times(&room, share(100, 21 * GB)), 0);
        assert_eq!(times(&room, Resources::gpus(1)), 0);
        let task = share(100, 0);
        let ask = Ask::of(&task, &Needs::default()).unwrap();
        let grant = room.grants(&task, &ask)[0];
        assert_eq!((grant.gpu, grant.part.memory), (250, 20 * GB));
        room.take(&task, &grant);
        assert_eq!(times(&room, task), 7);
    }

    #[test]
    fn fractions_do_not_add_up_across_devices() {
        let mut room = room(Mode::Fractional, 2, 0);
        let (large, small) = (share(600, 0), share(400, 0));
        let ask = |task| Ask::of(&task, &Needs::default()).unwrap();
        let grant = room.grants(&large, &ask(large))[0];
        room.take(&large, &grant);
        assert_eq!((times(&room, large), times(&room, small)), (1, 3));
        assert_eq!(times(&room, Resources::gpus(1)), 1);
        assert_eq!(times(&room, Resources::gpus(2)), 0);
    }

    #[test]
    fn an_instance_goes_to_those_who_ask_for_its_profile() {
        let instance = |profile: &str, milli| Instance {
            profile: profile.into(),
            milli,
            memory: 10 * GB,
        };
        let layout = vec![
            instance("3g.40gb", 428),
            instance("1g.10gb", 142),
            instance("1g.10gb", 142),
        ];
        let room = room(Mode::Mig(layout.into()), 1, 80 * GB);
        let needs = Needs {
            profile: Some("1g.10gb".into()),
            ..Needs::default()
        };
        let task = Resources::gpus(1);
        let ask = Ask::of(&task, &needs).unwrap();
        assert_eq!((room.times(&task, &ask), room.milli_for(&ask)), (2, 142));
        assert_eq!(times(&room, task), 0);
        assert_eq!(room.free.get(Resource::Gpu), 712);
    }
}
