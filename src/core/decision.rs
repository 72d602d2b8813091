//! Commands that a cycle gives.

use alloc::vec::Vec;
use core::fmt;

use crate::id::JobId;
use crate::job::Placement;
use crate::reason::Verdict;

/// A command. What it takes is assumed until an event confirms it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Decision {
    /// Start this job's gang here.
    Admit(JobId, Placement),
    /// End this job's tasks, so that another job can start. It waits again, with its age kept.
    Evict {
        /// Who leaves.
        victim: JobId,
        /// Who gets the room.
        preemptor: JobId,
        /// What entitles it to.
        rule: Rule,
    },
}

/// What entitles a job to another's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Rule {
    /// It comes before a job of its own tenant.
    Priority,
    /// Its tenant is within its guarantee, and the other borrows.
    Reclaim,
    /// Its tenant's share stays below the other's.
    FairShare,
    /// The order of all jobs puts it first.
    Order,
}

impl Rule {
    /// Its name in scripts, reports and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::Reclaim => "reclaim",
            Self::FairShare => "fair-share",
            Self::Order => "order",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The outcome of one cycle. Why the others wait is not in it, because a cycle costs what it
/// decides and not what waits: see [`crate::Scheduler::explain`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "decisions that nobody carries out hold capacity for nothing"]
pub struct Cycle {
    /// What to do, in the order in which it was decided.
    pub decisions: Vec<Decision>,
    /// Jobs with places whose verdict has changed since the last cycle, by name.
    pub changed: Vec<(JobId, Verdict)>,
}
