//! An admission in force: which place is which pod's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prorata_core::job::Shape;
use prorata_core::{Job, JobId, NodeId, Placement};

use crate::translate::PodView;

/// The places of an admitted Job, and the pods that have taken them.
#[derive(Clone, Debug)]
pub struct Plan {
    fixed: Arc<Fixed>,
    /// UID of the pod in each seat that is taken.
    pods: BTreeMap<u32, String>,
    /// Seats that were ever taken.
    visited: BTreeSet<u32>,
}

/// What does not change while the admission is in force.
#[derive(Clone, Debug)]
struct Fixed {
    job: JobId,
    shape: Shape,
    epoch: i64,
    placement: Placement,
    indexed: bool,
}

impl Plan {
    /// The plan of an admission, all seats free. `indexed` says that the pods are told apart by
    /// their completion index.
    #[must_use]
    pub fn new(job: &Job, epoch: i64, placement: Placement, indexed: bool) -> Self {
        let fixed = Fixed {
            job: job.id.clone(),
            shape: job.shape(),
            epoch,
            placement,
            indexed,
        };
        Self {
            fixed: Arc::new(fixed),
            pods: BTreeMap::new(),
            visited: BTreeSet::new(),
        }
    }

    /// The same, as another admission.
    #[must_use]
    pub fn renumbered(&self, epoch: i64) -> Self {
        let fixed = Fixed {
            epoch,
            ..Fixed::clone(&self.fixed)
        };
        Self {
            fixed: Arc::new(fixed),
            ..self.clone()
        }
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &JobId {
        &self.fixed.job
    }

    /// What was admitted.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.fixed.shape
    }

    /// The seat of a pod with this completion index, if that is what tells pods apart.
    #[must_use]
    pub fn seat_of_index(&self, index: u32) -> Option<u32> {
        (self.fixed.indexed && index < self.seats()).then_some(index)
    }

    /// The admission's number.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.fixed.epoch
    }

    /// Where the tasks go.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.fixed.placement
    }

    /// How many places there are.
    #[must_use]
    pub fn seats(&self) -> u32 {
        u32::try_from(self.fixed.placement.slots().len()).unwrap_or(u32::MAX)
    }

    /// The planned node of a place.
    #[must_use]
    pub fn node(&self, seat: u32) -> Option<&NodeId> {
        Some(&self.fixed.placement.slot(seat)?.node)
    }

    /// The node of a place: where the pod was that had it before, for that is what is held for the next
    /// one, unless it is none of the planned nodes, which the template may name.
    #[must_use]
    pub fn node_of<'a>(&'a self, held: &'a Placement, seat: u32) -> Option<&'a NodeId> {
        let held = held.slot(seat).map(|slot| &slot.node);
        held.filter(|node| self.is_on(node))
            .or_else(|| self.node(seat))
    }

    /// Whether that is this node.
    #[must_use]
    pub fn is_at(&self, held: &Placement, seat: u32, node: &NodeId) -> bool {
        // To ask it of all places must not take the square of their number.
        let may_be =
            self.node(seat) == Some(node) || held.slot(seat).is_some_and(|slot| slot.node == *node);
        may_be && self.node_of(held, seat) == Some(node)
    }

    /// Whether any place is on this node.
    #[must_use]
    pub fn is_on(&self, node: &NodeId) -> bool {
        self.fixed.placement.slots().any(|slot| slot.node == *node)
    }

    /// Whether every place has its pod.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.pods.len() == self.fixed.placement.slots().len()
    }

    /// A planned node that the pod that is still to come to it cannot have any more, where
    /// `expected` pods are to run at the same time.
    #[must_use]
    pub fn lost_node(&self, expected: u32, has: impl Fn(&NodeId) -> bool) -> Option<&NodeId> {
        if !self.has_fewer_than(expected) {
            return None;
        }
        let coming = (0..self.seats()).filter(|seat| !self.visited.contains(seat));
        let mut nodes = coming.filter_map(|seat| self.node(seat));
        nodes.find(|node| !has(node))
    }

    /// Whether a pod has this place.
    #[must_use]
    pub fn is_taken(&self, seat: u32) -> bool {
        self.pods.contains_key(&seat)
    }

    /// Whether a pod has or had this place.
    #[must_use]
    pub fn was_taken(&self, seat: u32) -> bool {
        self.visited.contains(&seat)
    }

    /// The place of a bound pod: the one it has, else that of its completion index where that tells
    /// pods apart, else a free one on its node, else on the node that it was told and could not have, else any;
    /// `None` when all are taken.
    pub fn seat(&mut self, pod: &PodView) -> Option<u32> {
        let has = self.pods.iter().find(|(_, uid)| **uid == pod.uid);
        if let Some((seat, _)) = has {
            return Some(*seat);
        }
        let free = |seat: &u32| !self.is_taken(*seat);
        let indexed = pod.index.and_then(|index| self.seat_of_index(index));
        let indexed = indexed.filter(free);
        let on = |node: Option<&NodeId>| {
            let mut seats = 0..self.seats();
            seats.find(|seat| free(seat) && node.is_some() && self.node(*seat) == node)
        };
        let seat = indexed
            .or_else(|| on(pod.node.as_ref()))
            .or_else(|| on(pod.nominated.as_ref()))
            .or_else(|| (0..self.seats()).find(free))?;
        self.pods.insert(seat, pod.uid.clone());
        self.visited.insert(seat);
        Some(seat)
    }

    /// The place that a pod has.
    #[must_use]
    pub fn seat_of(&self, pod: &str) -> Option<u32> {
        let mut pods = self.pods.iter();
        pods.find(|(_, uid)| *uid == pod).map(|(seat, _)| *seat)
    }

    /// The pod is gone; its place, if it had one, is free for another of the same job.
    pub fn leave(&mut self, pod: &str) -> Option<u32> {
        let seat = self.seat_of(pod)?;
        self.pods.remove(&seat);
        Some(seat)
    }

    /// UIDs of the pods that have places.
    pub fn pods(&self) -> impl Iterator<Item = &String> {
        self.pods.values()
    }

    /// The same, each with its place.
    pub fn seated(&self) -> impl Iterator<Item = (u32, &String)> {
        self.pods.iter().map(|(seat, pod)| (*seat, pod))
    }

    /// Whether any place has a pod.
    #[must_use]
    pub fn has_pods(&self) -> bool {
        !self.pods.is_empty()
    }

    /// Whether fewer have places than are to run at the same time.
    #[must_use]
    pub fn has_fewer_than(&self, expected: u32) -> bool {
        usize::try_from(expected).is_ok_and(|expected| self.pods.len() < expected)
    }

    /// Whether some place has never had a pod.
    #[must_use]
    pub fn awaits_pods(&self) -> bool {
        self.visited.len() < self.fixed.placement.slots().len()
    }
}
