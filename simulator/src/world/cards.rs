//! Who is on which card of the nodes whose cards are shared, and how fast that lets them run.

use std::collections::{BTreeMap, BTreeSet};

use prorata_core::pairs::{Pairs, Work};
use prorata_core::{JobId, Mode, Node, NodeId, Placement, Slot};

use crate::interference::{Client, Interference, ONE};

/// The cards that can be shared.
#[derive(Clone, Debug, Default)]
pub(super) struct Cards {
    modes: BTreeMap<NodeId, Mode>,
    on: BTreeMap<(NodeId, u32), Vec<Occupant>>,
}

/// A task on a card.
#[derive(Clone, Debug)]
struct Occupant {
    job: JobId,
    task: usize,
    client: Client,
}

/// How fast a gang runs: as fast as its slowest task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// How many times as long it takes, in millionths.
    pub(super) slowdown: u64,
    /// How many of its tasks share their card, and its part of those cards in millionths.
    pub(super) sharing: (u32, u64),
    /// Whether one of them takes turns with others.
    pub(super) takes_turns: bool,
}

impl Cards {
    /// A node is like this.
    pub(super) fn describe(&mut self, node: &Node) {
        match &node.gpus.mode {
            Mode::Exclusive => self.modes.remove(&node.id),
            mode => self.modes.insert(node.id.clone(), mode.clone()),
        };
    }

    /// Whether no card can be shared.
    pub(super) fn is_empty(&self) -> bool {
        self.modes.is_empty()
    }

    /// A gang takes its places: so busy, with this kind of work.
    pub(super) fn enter(&mut self, job: &JobId, placement: &Placement, does: (u32, Option<Work>)) {
        let (busy, work) = does;
        for (task, slot, card) in places(placement) {
            if self.modes.contains_key(&slot.node) {
                let part = slot.part.milli;
                let occupant = Occupant {
                    job: job.clone(),
                    task,
                    client: Client { busy, part, work },
                };
                let card = (slot.node.clone(), card);
                self.on.entry(card).or_default().push(occupant);
            }
        }
    }

    /// A gang gives its places up.
    pub(super) fn leave(&mut self, job: &JobId, placement: &Placement) {
        for (_, slot, card) in places(placement) {
            let card = (slot.node.clone(), card);
            if let Some(occupants) = self.on.get_mut(&card) {
                occupants.retain(|occupant| occupant.job != *job);
                if occupants.is_empty() {
                    self.on.remove(&card);
                }
            }
        }
    }

    /// Everybody on the cards of a placement.
    pub(super) fn beside(&self, placement: &Placement) -> BTreeSet<JobId> {
        let cards = places(placement).map(|(_, slot, card)| (slot.node.clone(), card));
        let occupants = cards.filter_map(|card| self.on.get(&card)).flatten();
        occupants.map(|occupant| occupant.job.clone()).collect()
    }

    /// How many pairs the tasks of a placement make with others on their cards whose work was measured
    /// beside theirs, and how many of those get less done than one alone would.
    pub(super) fn pairs(&self, job: &JobId, placement: &Placement, pairs: &Pairs) -> (u64, u64) {
        let mut counted = (0, 0);
        for (task, slot, card) in places(placement) {
            let occupants = self.on.get(&(slot.node.clone(), card));
            let occupants = occupants.map(Vec::as_slice).unwrap_or_default();
            let is_own = |o: &&Occupant| o.task == task && o.job == *job;
            let own = occupants.iter().find(is_own);
            let Some(work) = own.and_then(|own| own.client.work) else {
                continue;
            };
            // Tasks of one gang are counted once.
            let others = occupants.iter().filter(|o| o.job != *job || o.task > task);
            for other in others.filter_map(|other| other.client.work) {
                counted.0 += 1;
                counted.1 += u64::from(pairs.loses(work, other));
            }
        }
        counted
    }

    /// Everybody on the cards of one task that share a server with it; nobody where tasks have
    /// none in common.
    pub(super) fn served_with(&self, slot: &Slot) -> BTreeSet<JobId> {
        if !matches!(self.modes.get(&slot.node), Some(Mode::Mps(_))) {
            return BTreeSet::new();
        }
        self.beside(&[slot.clone()].into_iter().collect())
    }

    /// On how many cards with MPS a gang has tasks.
    pub(super) fn served(&self, placement: &Placement) -> usize {
        let served = |slot: &Slot| matches!(self.modes.get(&slot.node), Some(Mode::Mps(_)));
        places(placement)
            .filter(|(_, slot, _)| served(slot))
            .count()
    }

    /// How fast a gang runs beside those that are there now.
    pub(super) fn pace(
        &self,
        interference: &Interference,
        job: &JobId,
        placement: &Placement,
    ) -> Pace {
        let mut pace = Pace {
            slowdown: ONE,
            sharing: (0, 0),
            takes_turns: false,
        };
        for (task, slot, card) in places(placement) {
            let Some(mode) = self.modes.get(&slot.node) else {
                continue;
            };
            let Some(occupants) = self.on.get(&(slot.node.clone(), card)) else {
                continue;
            };
            let is_own = |o: &&Occupant| o.task == task && o.job == *job;
            let Some(own) = occupants.iter().find(is_own) else {
                continue;
            };
            let others = occupants.iter().filter(|o| !is_own(o));
            let others: Vec<Client> = others.map(|occupant| occupant.client).collect();
            let slowdown = interference.slowdown(mode, own.client, &others);
            pace.slowdown = pace.slowdown.max(slowdown);
            if !others.is_empty() {
                pace.sharing.0 += 1;
                pace.sharing.1 += ONE / (others.len() as u64 + 1);
                pace.takes_turns |= matches!(mode, Mode::TimeSlice(_));
            }
        }
        pace
    }
}

/// Each task with each of its devices.
fn places(placement: &Placement) -> impl Iterator<Item = (usize, &Slot, u32)> {
    let slots = placement.slots().enumerate();
    slots.flat_map(|(task, slot)| slot.devices.iter().map(move |card| (task, slot, card)))
}
