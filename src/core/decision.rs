//! Commands and explanations that a cycle gives.

use alloc::vec::Vec;

use crate::id::JobId;
use crate::job::Placement;
use crate::reason::Verdict;

/// A command. What it takes is assumed until an event confirms it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start this job's gang here.
    Admit(JobId, Placement),
}

/// The outcome of one cycle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "decisions that nobody carries out hold capacity for nothing"]
pub struct Cycle {
    /// What to do, in the order in which it was decided.
    pub decisions: Vec<Decision>,
    /// Verdicts that are new or have changed, by tenant and then in the order of its queue.
    pub changed: Vec<(JobId, Verdict)>,
}
