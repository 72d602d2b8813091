//! A job: a gang of equal tasks that starts whole or not at all.

use alloc::sync::Arc;
use core::fmt;

use crate::device::Devices;
use crate::id::{JobId, NodeId, TenantId};
use crate::resource::Resources;
use crate::time::Time;

/// What a job asks for. It says what its user wants, not what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name and UID.
    pub id: JobId,
    /// The tenant that it counts against.
    pub tenant: TenantId,
    /// Value of its PriorityClass; higher goes first within the tenant.
    pub priority: i32,
    /// When it was created; older goes first.
    pub submitted: Time,
    /// How many tasks run at the same time: all of them or none.
    pub gang: u32,
    /// What each task asks for.
    pub task: Resources,
    /// Its user holds it: it keeps its age, and is not to run.
    pub held: bool,
}

impl Job {
    /// The largest gang that is taken.
    pub const MAX_GANG: u32 = 65_536;

    /// All of it that decides whether it may start.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        Kind {
            shape: self.shape(),
            held: self.held,
        }
    }

    /// What matters to whether it fits.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        Shape {
            task: self.task,
            gang: self.gang,
        }
    }
}

/// All of a job that decides whether it may start. Jobs of one tenant and kind start or fail
/// together. The order means nothing; it makes a kind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// What it takes.
    pub shape: Shape,
    /// Its user holds it.
    pub held: bool,
}

/// What matters to whether a job fits. The order means nothing; it makes a shape a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    /// What each task asks for.
    pub task: Resources,
    /// How many tasks.
    pub gang: u32,
}

impl Shape {
    /// What the whole gang asks for; `None` when the shape is one that no cluster could run:
    /// no task, too many, no resource at all, or an amount beyond every node.
    #[must_use]
    pub fn request(&self) -> Option<Resources> {
        let sensible = (1..=Job::MAX_GANG).contains(&self.gang)
            && !self.task.is_zero()
            && self.task == self.task.bounded();
        sensible.then(|| self.task.checked_mul(self.gang))?
    }
}

/// Where one task runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The node.
    pub node: NodeId,
    /// The GPUs that it is expected to get there. The device plugin has the last word on which
    /// they are; how many is certain.
    pub devices: Devices,
}

/// Where each task of a gang runs, in order of task index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement(Arc<[Slot]>);

impl Placement {
    /// A slot for each task.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = &Slot> {
        self.0.iter()
    }

    /// The slot of one task.
    #[must_use]
    pub fn slot(&self, task: u32) -> Option<&Slot> {
        self.0.get(usize::try_from(task).ok()?)
    }
}

impl FromIterator<Slot> for Placement {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        Self(slots.into_iter().collect())
    }
}

impl fmt::Display for Placement {
    /// Each node once, in the order of its first task, with the devices used there: `a[0-3] b[0]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut nodes: alloc::vec::Vec<(&NodeId, Devices)> = alloc::vec::Vec::new();
        for slot in self.slots() {
            match nodes.iter_mut().find(|(node, _)| **node == slot.node) {
                Some((_, devices)) => devices.insert(&slot.devices),
                None => nodes.push((&slot.node, slot.devices.clone())),
            }
        }
        for (i, (node, devices)) in nodes.iter().enumerate() {
            let separator = if i == 0 { "" } else { " " };
            write!(f, "{separator}{node}")?;
            if !devices.is_empty() {
                write!(f, "[{devices}]")?;
            }
        }
        Ok(())
    }
}
