//! An admission in force: which place is which pod's.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use prorata_core::{JobId, NodeId, Placement, Snapshot};

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
    since: Timestamp,
}

impl Plan {
    /// The plan of an admission, all seats free.
    #[must_use]
    pub fn new(job: &JobId, epoch: i64, placement: Placement, since: Timestamp) -> Self {
        let job = job.clone();
        Self {
            fixed: Arc::new(Fixed {
                job,
                epoch,
                placement,
                since,
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

    /// When it came into force here.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.fixed.since
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

    /// Whether every place has its pod.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.pods.len() == self.fixed.placement.slots().len()
    }

    /// A planned node that no longer takes the pod that is to go there.
    #[must_use]
    pub fn lost_node(&self, snapshot: &Snapshot) -> Option<&NodeId> {
        let free = (0..self.seats()).filter(|seat| !self.is_taken(*seat));
        let mut nodes = free.filter_map(|seat| self.node(seat));
        nodes.find(|node| !snapshot.takes_work(node))
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
