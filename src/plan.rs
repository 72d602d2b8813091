//! An admission in force: which place is which pod's.

use std::collections::BTreeMap;
use std::sync::Arc;

use prorata_core::{JobId, NodeId, Placement};

use crate::translate::PodView;

/// The places of an admitted Job, and the pods that have taken them.
#[derive(Clone, Debug)]
pub struct Plan {
    fixed: Arc<Fixed>,
    /// UID of the pod in each seat that is taken.
    pods: BTreeMap<u32, String>,
}

/// What does not change while the admission is in force.
#[derive(Debug)]
struct Fixed {
    job: JobId,
    epoch: i64,
    placement: Placement,
}

impl Plan {
    /// The plan of an admission, all seats free.
    #[must_use]
    pub fn new(job: &JobId, epoch: i64, placement: Placement) -> Self {
        let job = job.clone();
        Self {
            fixed: Arc::new(Fixed {
                job,
                epoch,
                placement,
            }),
            pods: BTreeMap::new(),
        }
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &JobId {
        &self.fixed.job
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

    /// Whether a pod has this place.
    #[must_use]
    pub fn is_taken(&self, seat: u32) -> bool {
        self.pods.contains_key(&seat)
    }

    /// The place of a bound pod: the one it has, else that of its completion index, else a free
    /// one on its node, else any; `None` when all are taken.
    pub fn seat(&mut self, pod: &PodView) -> Option<u32> {
        let has = self.pods.iter().find(|(_, uid)| **uid == pod.uid);
        if let Some((seat, _)) = has {
            return Some(*seat);
        }
        let free = |seat: &u32| !self.is_taken(*seat);
        let indexed = pod
            .index
            .filter(|index| *index < self.seats() && free(index));
        let here = |seat: &u32| free(seat) && self.node(*seat) == pod.node.as_ref();
        let seat = indexed
            .or_else(|| (0..self.seats()).find(here))
            .or_else(|| (0..self.seats()).find(free))?;
        self.pods.insert(seat, pod.uid.clone());
        Some(seat)
    }

    /// The pod is gone; its place is free for another of the same job.
    pub fn leave(&mut self, pod: &str) {
        self.pods.retain(|_, uid| uid != pod);
    }
}
