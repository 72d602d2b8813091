//! What a world is told to come, and what it tells.

use std::time::Duration;

use prorata_core::{Event, Job, JobId, NodeId, Placement, Reason, Rule, Time};

use super::Spell;

/// Something worth telling, in the order in which it was decided or happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub time: Time,
    /// Which job.
    pub job: JobId,
    /// What.
    pub what: Change,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It starts here.
    Admitted(Placement),
    /// It has to leave for this job, by this rule, and waits again once it is gone.
    Evicted(JobId, Rule),
    /// It broke off, and waits again.
    Failed(Failure),
    /// It waits, for a reason that is new or has changed.
    Waiting(Reason),
    /// All its tasks have ended.
    Finished,
    /// Its GPUs are free again, after this spell. Follows what brought it about.
    Left(Spell),
}

/// Why a job broke off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A node of its is gone.
    Node(NodeId),
    /// A task of this job, perhaps its own, brought down all on a card that they share.
    Card(NodeId, JobId),
}

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A fact that the core is told.
    Fact(Event),
    /// A job arrives.
    Arrival(Work),
    /// A node fails, with all that is on it.
    NodeDown(NodeId),
    /// It is repaired. A node that failed twice has to be repaired twice.
    NodeUp(NodeId),
    /// The job that runs has done its work.
    End(JobId),
    /// The grace of a job that was evicted is over.
    Gone(JobId),
    /// A task of the job brings down all on its card.
    CardFault(JobId),
}

/// A job with what only the world knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The job, as the core is told.
    pub job: Job,
    /// How long it runs at full speed; `None`: until somebody ends it.
    pub runtime: Option<Duration>,
    /// How often it saves its work; `None`: never, so that an eviction loses all of it.
    pub checkpoint: Option<Duration>,
    /// Thousandths of a GPU that it keeps busy; matters on shared cards.
    pub busy: u32,
    /// How long it loads what it saved, at each start but the first.
    pub restart: Duration,
}

impl Work {
    /// A job that saves nothing, loads nothing, and keeps its GPUs busy.
    #[must_use]
    pub const fn new(job: Job, runtime: Option<Duration>) -> Self {
        Self {
            job,
            runtime,
            checkpoint: None,
            busy: 1000,
            restart: Duration::ZERO,
        }
    }
}
