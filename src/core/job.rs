//! A job: a gang of equal tasks that starts whole or not at all.

use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use crate::device::{Devices, Part, WHOLE};
use crate::id::{JobId, NodeId, TenantId};
use crate::needs::{Needs, Text};
use crate::pool::Home;
use crate::resource::{Resource, Resources};
use crate::time::Time;

/// What a job asks for. It says what its user wants, not what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Job {
    /// Its name and UID.
    pub id: JobId,
    /// The tenant that it counts against.
    pub tenant: TenantId,
    /// Value of its PriorityClass; higher goes first within the tenant.
    pub priority: i32,
    /// Its PriorityClass counts across tenants: it goes before fairness, higher values first.
    pub cluster_wide: bool,
    /// When it was created; older goes first.
    pub submitted: Time,
    /// How many tasks run at the same time: all of them or none.
    pub gang: u32,
    /// What each task asks for. GPUs are whole, or a share of one: at most 999 milli-GPU and
    /// some of its memory.
    pub task: Resources,
    /// What each task demands of its node.
    pub needs: Arc<Needs>,
    /// Why it must not start, although it might: it keeps its age meanwhile.
    pub hold: Option<Hold>,
    /// It ends by then, or may be ended: lets it fill gaps before a reservation.
    pub max_duration: Option<Duration>,
    /// How long its user or its trace says that it runs; what shortest-first orders go by.
    pub expected: Option<Duration>,
    /// Its user lets it be evicted. One that may not be is admitted only within the guarantee.
    pub preemptible: bool,
    /// An administrator protects its PriorityClass from eviction.
    pub protected: bool,
}

/// Why a job must not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Hold {
    /// Its user holds it.
    User,
    /// Something else must happen first.
    Dependency,
    /// So many of its tasks exist; the others are still to be made.
    Incomplete(u32),
}

impl Job {
    /// The largest gang that is taken.
    pub const MAX_GANG: u32 = 65_536;

    /// A job of one tenant that asks for `gang` times `task` and nothing special.
    #[must_use]
    pub fn new(id: JobId, tenant: TenantId, gang: u32, task: Resources) -> Self {
        Self {
            id,
            tenant,
            priority: 0,
            cluster_wide: false,
            submitted: Time::ZERO,
            gang,
            task,
            needs: Arc::default(),
            hold: None,
            max_duration: None,
            expected: None,
            preemptible: true,
            protected: false,
        }
    }

    /// All of it that decides whether it may start.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind {
            shape: self.shape(),
            hold: self.hold,
            preemptible: self.preemptible,
            span: self.max_duration.map(Span::of),
        }
    }

    /// What matters to whether it fits.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape {
            task: self.task,
            needs: self.needs.clone(),
            gang: self.gang,
        }
    }

    /// Milli-GPU that the whole gang asks for.
    #[must_use]
    pub fn milli_gpu(&self) -> u64 {
        milli_gpu(&self.task, self.gang)
    }

    /// Its work belongs there.
    pub(crate) fn set_home(&mut self, home: Home) {
        if self.needs.home != home {
            Arc::make_mut(&mut self.needs).home = home;
        }
    }
}

fn milli_gpu(task: &Resources, gang: u32) -> u64 {
    task.get(Resource::Gpu).saturating_mul(u64::from(gang))
}

/// All of a job that decides whether it may start. Jobs of one tenant and kind start or fail
/// together. The order means nothing; it makes a kind a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// What it takes.
    pub shape: Shape,
    /// Why it must not start.
    pub hold: Option<Hold>,
    /// Whether it may be evicted.
    pub preemptible: bool,
    /// How long it takes at most.
    pub span: Option<Span>,
}

impl Kind {
    /// The same kind, however long it takes.
    pub(crate) fn of_any_length(&self) -> Self {
        Self {
            span: None,
            ..self.clone()
        }
    }
}

/// A declared maximum duration, rounded up so that jobs of about the same length are of one
/// kind: steps are less than a fifth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u64);

impl Span {
    /// The step at or above `duration`: four between a power of two of milliseconds and the next.
    #[must_use]
    pub fn of(duration: Duration) -> Self {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> 1);
        let step = ms.next_power_of_two() >> 4;
        Self(ms.checked_next_multiple_of(step.max(1)).unwrap_or(u64::MAX))
    }

    /// No shorter than any duration of the step.
    #[must_use]
    pub const fn at_most(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// What matters to whether a job fits. The order means nothing; it makes a shape a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    // What tells most apart, and is compared fastest, comes first.
    /// What each task asks for.
    pub task: Resources,
    /// How many tasks.
    pub gang: u32,
    /// What each task demands of its node.
    pub needs: Arc<Needs>,
}

impl Shape {
    /// A gang that demands nothing special of its nodes.
    #[must_use]
    pub fn new(task: Resources, gang: u32) -> Self {
        Self {
            task,
            needs: Arc::default(),
            gang,
        }
    }

    /// Milli-GPU that the whole gang asks for.
    #[must_use]
    pub fn milli_gpu(&self) -> u64 {
        milli_gpu(&self.task, self.gang)
    }

    /// Whether jobs ask for the same, wherever their work belongs: that is their tenants' to say.
    #[must_use]
    pub fn asks_as(&self, other: &Self) -> bool {
        let asked = |shape: &Self| {
            let mut shape = shape.clone();
            Arc::make_mut(&mut shape.needs).home = Home::Common;
            shape
        };
        self == other || asked(self) == asked(other)
    }

    /// What the whole gang asks for; `None` when the shape is one that no cluster could run:
    /// no task, too many, no resource at all, an amount beyond every node, or GPUs that are
    /// neither whole nor a share of one.
    #[must_use]
    pub fn request(&self) -> Option<Resources> {
        let sensible = (1..=Job::MAX_GANG).contains(&self.gang)
            && !self.task.is_zero()
            && self.task == self.task.bounded()
            && Ask::of(&self.task, &self.needs).is_some();
        sensible.then(|| self.task.checked_mul(self.gang))?
    }
}

/// What a task asks of a node's GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Ask {
    /// Nothing.
    Nothing,
    /// So many whole devices; instances of this profile, or cards.
    Devices(u32, Option<Text>),
    /// At least this of one device that others share.
    Share(Part),
}

impl Ask {
    /// `None` where it makes no sense.
    pub(crate) fn of(task: &Resources, needs: &Needs) -> Option<Self> {
        let whole = u64::from(WHOLE);
        let (milli, memory) = (task.get(Resource::Gpu), task.get(Resource::GpuMemory));
        match (milli, memory, &needs.profile) {
            (0, 0, None) => Some(Self::Nothing),
            (m, 0, profile) if m > 0 && m % whole == 0 => {
                let devices = u32::try_from(m / whole).ok()?;
                Some(Self::Devices(devices, profile.clone()))
            }
            (m, memory, None) if m < whole => {
                let milli = u32::try_from(m).ok()?;
                Some(Self::Share(Part { milli, memory }))
            }
            _ => None,
        }
    }
}

/// Where one task runs, and what it has there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Slot {
    /// The node.
    pub node: NodeId,
    /// The GPUs that it is expected to get there. The device plugin has the last word on which
    /// they are; how many is certain.
    pub devices: Devices,
    /// What it has of each of them.
    pub part: Part,
    /// Milli-GPU that it has in all.
    pub gpu: u64,
    /// What its tenant is charged for them: milli-GPU times the value of the model.
    pub charge: u64,
}

impl Slot {
    /// Whole cards of a node.
    #[must_use]
    pub fn whole(node: NodeId, devices: Devices) -> Self {
        let gpu = u64::from(devices.len()) * u64::from(WHOLE);
        Self {
            node,
            devices,
            part: Part {
                milli: WHOLE,
                memory: 0,
            },
            gpu,
            charge: gpu,
        }
    }

    /// What is taken of its node by one that asked for `task`.
    #[must_use]
    pub const fn takes(&self, task: &Resources) -> Resources {
        task.with(Resource::Gpu, self.gpu)
    }

    /// What its tenant is charged, when it asked for `task`.
    #[must_use]
    pub const fn charges(&self, task: &Resources) -> Resources {
        task.with(Resource::Gpu, self.charge)
    }
}

/// Where each task of a gang runs, in order of task index.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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

    /// The same, with another slot for one task.
    pub(crate) fn replace(&mut self, task: u32, slot: Slot) {
        let slots = Arc::make_mut(&mut self.0);
        let place = usize::try_from(task).ok().and_then(|i| slots.get_mut(i));
        if let Some(place) = place {
            *place = slot;
        }
    }
}

impl FromIterator<Slot> for Placement {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        Self(slots.into_iter().collect())
    }
}

impl fmt::Display for Placement {
    /// Each node once, in the order of its first task, with the devices used there:
    /// `a[0-3] b[0]`. A share of a device shows how much: `c[0:250m]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut nodes: alloc::vec::Vec<(&NodeId, Devices, u32)> = alloc::vec::Vec::new();
        for slot in self.slots() {
            let same = |(node, _, milli): &&mut (&NodeId, Devices, u32)| {
                **node == slot.node && *milli == slot.part.milli && *milli >= WHOLE
            };
            match nodes.iter_mut().find(same) {
                Some((_, devices, _)) => devices.insert(&slot.devices),
                None => nodes.push((&slot.node, slot.devices, slot.part.milli)),
            }
        }
        for (i, (node, devices, milli)) in nodes.iter().enumerate() {
            let separator = if i == 0 { "" } else { " " };
            write!(f, "{separator}{node}")?;
            match (devices.is_empty(), *milli >= WHOLE) {
                (true, _) => {}
                (false, true) => write!(f, "[{devices}]")?,
                (false, false) => write!(f, "[{devices}:{milli}m]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_whole_or_a_share_of_one() {
        let shape = |milli| Shape::new(Resources::ZERO.with(Resource::Gpu, milli), 1);
        assert!(shape(2000).request().is_some());
        assert!(shape(250).request().is_some());
        assert!(shape(1250).request().is_none());
        assert!(shape(0).request().is_none());
    }

    #[test]
    fn a_span_is_no_shorter_and_less_than_a_fifth_longer() {
        for ms in [1, 7, 8, 9, 999, 1000, 1025, 3_600_000, 86_399_999] {
            let span = Span::of(Duration::from_millis(ms)).0;
            assert!(span >= ms && (span - ms) * 5 < ms.max(5), "{ms}: {span}");
        }
        assert!(Span::of(Duration::MAX).0 > 1 << 62);
    }
}
