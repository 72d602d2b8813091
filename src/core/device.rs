//! The GPUs of one node: which they are, how they are shared, and what is taken of each.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::id::Model;

/// Milli-GPU of a whole card.
pub const WHOLE: u32 = 1000;

/// How the cards of a node are given out.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Mode {
    /// A card belongs to one task.
    #[default]
    Exclusive,
    /// A card is this many slots, whose users take turns.
    TimeSlice(u32),
    /// A card is this many slots, whose users compute side by side.
    Mps(u32),
    /// Each device is an instance of a card: its size is a part of the card.
    Mig(Arc<[Instance]>),
    /// Any share of a card can be had, and several whole cards.
    Fractional,
}

/// A MIG instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Instance {
    /// Its profile, such as `1g.10gb`.
    pub profile: Arc<str>,
    /// Milli-GPU that it counts as.
    pub milli: u32,
    /// Its memory, in bytes.
    pub memory: u64,
}

impl Mode {
    /// Whether several tasks share a card without walls between them.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::TimeSlice(_) | Self::Mps(_) | Self::Fractional)
    }
}

/// What the GPUs of a node are.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Gpus {
    /// Their model; empty where it is not known.
    pub model: Model,
    /// How they are given out.
    pub mode: Mode,
    /// Memory of each card, in bytes; 0 where it is not known, and then it is not counted.
    pub memory: u64,
    /// Devices that are there but must not be used.
    pub unhealthy: Devices,
}

/// What a device is, or what is taken or free of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Part {
    /// Milli-GPU.
    pub milli: u32,
    /// Memory, in bytes.
    pub memory: u64,
}

impl Part {
    /// Nothing.
    pub const NONE: Self = Self {
        milli: 0,
        memory: 0,
    };

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.milli == 0 && self.memory == 0
    }

    /// What is left when `other` is taken away; nothing where there is too little.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self {
            milli: self.milli.saturating_sub(other.milli),
            memory: self.memory.saturating_sub(other.memory),
        }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            milli: self.milli.saturating_add(other.milli),
            memory: self.memory.saturating_add(other.memory),
        }
    }

    /// Whether this fits into `room`.
    #[must_use]
    pub const fn fits_in(self, room: Self) -> bool {
        self.milli <= room.milli && self.memory <= room.memory
    }
}

impl Gpus {
    /// What device `index` is when nothing is taken, on a node of `cards` cards; nothing beyond
    /// the last and where it is unhealthy.
    #[must_use]
    pub fn device(&self, cards: u32, index: u32) -> Part {
        if self.unhealthy.contains(index) {
            return Part::NONE;
        }
        match &self.mode {
            Mode::Mig(instances) => {
                let instance = usize::try_from(index).ok().and_then(|i| instances.get(i));
                instance.map_or(Part::NONE, |i| Part {
                    milli: i.milli,
                    memory: i.memory,
                })
            }
            _ if index < cards => Part {
                milli: WHOLE,
                memory: self.memory,
            },
            _ => Part::NONE,
        }
    }

    /// How many devices a node of `cards` cards has.
    #[must_use]
    pub fn devices(&self, cards: u32) -> u32 {
        match &self.mode {
            Mode::Mig(instances) => u32::try_from(instances.len()).unwrap_or(u32::MAX),
            _ => cards,
        }
        .min(Devices::MAX)
    }

    /// The slot of a card that is split; `None` where cards are not split into equal slots.
    #[must_use]
    pub fn slot(&self) -> Option<Part> {
        let (Mode::TimeSlice(slots) | Mode::Mps(slots)) = self.mode else {
            return None;
        };
        let slots = slots.clamp(1, WHOLE);
        Some(Part {
            milli: WHOLE / slots,
            memory: self.memory / u64::from(slots),
        })
    }

    /// The profile of device `index`, where it is an instance.
    #[must_use]
    pub fn profile(&self, index: u32) -> Option<&str> {
        let Mode::Mig(instances) = &self.mode else {
            return None;
        };
        let instance = instances.get(usize::try_from(index).ok()?)?;
        Some(&instance.profile)
    }
}

impl fmt::Display for Mode {
    /// As in scripts and scenarios: `exclusive`, `timeslice-4`, `mps-4`, `mig`, `fractional`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exclusive => f.write_str("exclusive"),
            Self::TimeSlice(slots) => write!(f, "timeslice-{slots}"),
            Self::Mps(slots) => write!(f, "mps-{slots}"),
            Self::Mig(_) => f.write_str("mig"),
            Self::Fractional => f.write_str("fractional"),
        }
    }
}

/// A set of GPUs of one node, by their index there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Devices([u64; 2]);

impl Devices {
    /// Devices from this index on are counted, but not told apart.
    pub const MAX: u32 = 128;

    /// The devices `0` to `count - 1`.
    #[must_use]
    pub fn first(count: u32) -> Self {
        (0..count).collect()
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0
    }

    /// How many it holds.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.0[0].count_ones() + self.0[1].count_ones()
    }

    /// Whether device `index` is among them.
    #[must_use]
    pub const fn contains(&self, index: u32) -> bool {
        index < Self::MAX && self.0[(index / 64) as usize] >> (index % 64) & 1 == 1
    }

    /// Their indexes, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<> {
        let mut left = u128::from(self.0[1]) << 64 | u128::from(self.0[0]);
        core::iter::from_fn(move || {
            let next = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            (next < Self::MAX).then_some(next)
        })
    }

    /// Whether they share a device.
    #[must_use]
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.0[0] & other.0[0] != 0 || self.0[1] & other.0[1] != 0
    }

    /// Adds one.
    pub const fn add(&mut self, index: u32) {
        if index < Self::MAX {
            self.0[(index / 64) as usize] |= 1 << (index % 64);
        }
    }

    /// Adds these.
    pub const fn insert(&mut self, others: &Self) {
        self.0[0] |= others.0[0];
        self.0[1] |= others.0[1];
    }

    /// Takes these away.
    pub const fn remove(&mut self, others: &Self) {
        self.0[0] &= !others.0[0];
        self.0[1] &= !others.0[1];
    }
}

impl FromIterator<u32> for Devices {
    fn from_iter<I: IntoIterator<Item = u32>>(indexes: I) -> Self {
        let mut devices = Self::default();
        indexes.into_iter().for_each(|index| devices.add(index));
        devices
    }
}

impl fmt::Display for Devices {
    /// Ranges: `0-3,7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut indexes = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = indexes.next() {
            let mut last = first;
            while let Some(next) = indexes.next_if(|next| *next == last + 1) {
                last = next;
            }
            write!(f, "{separator}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

/// What is taken of each device. Ends with the last device of which something is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken(Vec<Part>);

impl Taken {
    /// What is taken of device `index`.
    pub(crate) fn of(&self, index: u32) -> Part {
        let part = usize::try_from(index).ok().and_then(|i| self.0.get(i));
        part.copied().unwrap_or(Part::NONE)
    }

    /// Takes `part` of each of these devices.
    pub(crate) fn add(&mut self, devices: &Devices, part: Part) {
        for index in devices.iter().filter_map(|i| usize::try_from(i).ok()) {
            if self.0.len() <= index {
                self.0.resize(index + 1, Part::NONE);
            }
            self.0[index] = self.0[index].plus(part);
        }
        self.trim();
    }

    /// Gives `part` of each of these devices back.
    pub(crate) fn remove(&mut self, devices: &Devices, part: Part) {
        for index in devices.iter().filter_map(|i| usize::try_from(i).ok()) {
            if let Some(taken) = self.0.get_mut(index) {
                *taken = taken.less(part);
            }
        }
        self.trim();
    }

    /// Milli-GPU in all.
    pub(crate) fn milli(&self) -> u64 {
        self.0.iter().map(|part| u64::from(part.milli)).sum()
    }

    fn trim(&mut self) {
        while self.0.last().is_some_and(|part| part.is_none()) {
            self.0.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn prints_runs_as_ranges() {
        let devices: Devices = [7, 0, 1, 2, 5, 4, 64].into_iter().collect();
        assert_eq!(devices.to_string(), "0-2,4-5,7,64");
        assert_eq!(devices.len(), 7);
    }

    #[test]
    fn a_split_card_has_equal_slots() {
        let gpus = Gpus {
            mode: Mode::Mps(3),
            memory: 90,
            ..Gpus::default()
        };
        let slot = Part {
            milli: 333,
            memory: 30,
        };
        assert_eq!(gpus.slot(), Some(slot));
        assert_eq!(gpus.device(2, 2), Part::NONE);
    }

    #[test]
    fn what_is_taken_forgets_what_was_given_back() {
        let half = Part {
            milli: 500,
            memory: 0,
        };
        let mut taken = Taken::default();
        taken.add(&Devices::first(2), half);
        taken.add(&Devices::first(1), half);
        assert_eq!((taken.of(0).milli, taken.milli()), (1000, 1500));
        taken.remove(&Devices::first(2), half);
        taken.remove(&Devices::first(1), half);
        assert_eq!(taken, Taken::default());
    }
}
