//! A node: what it offers, and what is taken.

use crate::device::Devices;
use crate::id::NodeId;
use crate::resource::{Resource, Resources};

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// What it offers to pods.
    pub allocatable: Resources,
    /// Whether new work may go there: ready, not cordoned, without taints that repel it.
    pub schedulable: bool,
}

/// A node with what is taken of it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct NodeState {
    /// `None` while something is on a node that nobody has described, or that is gone.
    pub(crate) spec: Option<Node>,
    /// Held or assumed by tasks, and held by other pods.
    pub(crate) used: Resources,
    /// The GPUs that tasks are expected to have.
    pub(crate) devices: Devices,
}

impl NodeState {
    /// Whether nothing would be lost by forgetting it.
    pub(crate) fn is_empty(&self) -> bool {
        self.spec.is_none() && self.used.is_zero()
    }

    /// What it offers to new work when empty; `None` on a node that takes none.
    pub(crate) fn offer(&self) -> Option<Resources> {
        let spec = self.spec.as_ref().filter(|spec| spec.schedulable)?;
        Some(spec.allocatable.bounded())
    }

    /// What new work can have here now; `None` on a node that takes none.
    pub(crate) fn free(&self) -> Option<Resources> {
        Some(self.offer()?.beyond(&self.used))
    }

    /// The lowest free GPUs for one more task; fewer when the node is overfull.
    pub(crate) fn devices_for(&self, task: &Resources) -> Devices {
        let whole = |r: &Resources| r.get(Resource::Gpu) / Resource::Gpu.scale();
        let has = self
            .spec
            .as_ref()
            .map_or(0, |spec| whole(&spec.allocatable));
        let has = u32::try_from(has.min(Self::DEVICES_MAX)).unwrap_or_default();
        let count = usize::try_from(whole(task)).unwrap_or(usize::MAX);
        Devices::first(has).lowest_without(&self.devices, count)
    }

    /// Devices beyond these are counted, but not told apart.
    const DEVICES_MAX: u64 = 4096;
}
