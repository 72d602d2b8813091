//! What an administrator chooses. Everything has a default that works.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::fragmentation::Mix;
use crate::id::Model;
use crate::needs::Text;
use crate::pairs::Pairs;

/// What an administrator chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Policy {
    /// Who goes first.
    pub order: Order,
    /// Where they go.
    pub place: Place,
    /// Who has to leave for whom.
    pub preemption: Preemption,
    /// The first job that has waited this long for room gets nodes reserved; `None`: nobody does.
    pub reserve_after: Option<Duration>,
    /// After this long, past use counts half in who is next; `None`: it does not count at all.
    pub half_life: Option<Duration>,
    /// What a GPU of a model is worth, in thousandths; 1000 where nothing is said.
    pub values: BTreeMap<Model, u32>,
    /// The tasks that are typical here; placement keeps room for them.
    pub mix: Arc<Mix>,
    /// Labels that name what nodes have in common, from the nearest (an NVLink domain) to the
    /// widest (a rack, a zone): gangs stay together.
    pub topology: Vec<Text>,
    /// How fast kinds of work run beside each other: none is put beside one with which it would
    /// lose, where there is room elsewhere.
    #[cfg_attr(feature = "serde", serde(default))]
    pub pairs: Arc<Pairs>,
}

/// Who goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Order {
    /// Between tenants by weighted hierarchical dominant share above the guarantee, within a
    /// tenant by PriorityClass and then age.
    #[default]
    Drf,
    /// The oldest job of all that fits, whoever's it is and whatever its priority.
    Fifo,
    /// By PriorityClass and then age, whoever's it is.
    Priority,
    /// Shortest remaining time first.
    Srtf,
    /// Shortest remaining service first: remaining time times GPUs.
    Srsf,
    /// Least attained service first, in two queues as Tiresias has them (Gu et al., NSDI 2019).
    Las,
}

impl Order {
    /// Whether a job may push out one that comes after it, whoever's it is.
    #[must_use]
    pub const fn is_preemptive(self) -> bool {
        matches!(self, Self::Priority | Self::Srtf | Self::Srsf | Self::Las)
    }
}

/// Which of the nodes that fit a task gets it. Ties go to the smaller name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Place {
    /// The one after which the least is lost to fragmentation and to a lack of CPUs or memory
    /// beside free GPUs, then near the gang's other tasks. While no task is typical, the tightest.
    #[default]
    Prorata,
    /// The one after which the least is lost to fragmentation (Weng et al., USENIX ATC 2023).
    Fgd,
    /// The one with the least GPUs and CPUs free, 16 CPUs counted as a GPU.
    BestFit,
    /// The first by name.
    FirstFit,
    /// Any, drawn from this seed.
    Random(u64),
}

/// Who has to leave for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Preemption {
    /// Whether anybody has to.
    pub enabled: bool,
    /// Nobody leaves before having run this long.
    pub min_runtime: Duration,
    /// GPU-seconds of work that may be lost within an hour; `None`: any.
    pub loss_budget: Option<u64>,
    /// Whether anybody leaves only because its tenant has more than its fair share. Otherwise
    /// only tenants that want back what they are guaranteed, and higher priorities of the same
    /// tenant, have others leave.
    pub fair_share: bool,
}

impl Default for Preemption {
    fn default() -> Self {
        Self {
            enabled: true,
            min_runtime: Duration::ZERO,
            loss_budget: None,
            fair_share: true,
        }
    }
}

impl Policy {
    /// What a tenant is charged for `milli` milli-GPU of this model.
    #[must_use]
    pub fn charge(&self, model: &Model, milli: u64) -> u64 {
        match self.values.get(model) {
            Some(value) => milli * u64::from(*value) / 1000,
            None => milli,
        }
    }
}
