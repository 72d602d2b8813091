//! A job as the core knows it: where its tasks are, and with that how it stands in the queue.

use alloc::sync::Arc;
use core::time::Duration;

use crate::job::{Job, Placement};
use crate::preemption;
use crate::task::Tasks;
use crate::time::Time;

/// A job that has had to leave so often is spared for a while when it starts again.
const OFTEN: u32 = 2;
/// For so long at first; four times as long after each further time, up to the last.
const SPARED: Duration = Duration::from_secs(4);
const SPARED_MAX: Duration = Duration::from_secs(64);

/// How long a job that has had to leave so often need not leave when it starts again. However often
/// others come that may push it out, it ends: what runs for less than a quarter of a minute leaves
/// four times at most, and whoever is to get its room waits for a minute at most.
fn spared(evictions: u32) -> Duration {
    let Some(further) = evictions.checked_sub(OFTEN) else {
        return Duration::ZERO;
    };
    let factor = 4_u32.saturating_pow(further);
    SPARED.saturating_mul(factor).min(SPARED_MAX)
}

/// A job with what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobState {
    pub(crate) job: Arc<Job>,
    /// Where its tasks are; `None` while it waits.
    pub(crate) tasks: Option<Tasks>,
    /// Room that is promised to it, while it waits for others to leave.
    pub(crate) nominated: Option<Placement>,
    /// It has to leave for another job. It no longer counts as its tenant's usage.
    pub(crate) evicting: bool,
    /// When it started; `None` unless it runs.
    pub(crate) started: Option<Time>,
    /// Its work up to then is safe.
    pub(crate) saved: Time,
    /// How long it ran in earlier starts.
    pub(crate) ran: Duration,
    /// How often it had to leave for others.
    pub(crate) evictions: u32,
}

/// How a job stands in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not at all.
    Away,
    /// It waits; it ran so long before.
    Waits(Arc<Job>, Duration),
    /// It runs.
    Runs(Arc<Job>, Since),
}

/// Since when a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Since {
    pub(crate) started: Time,
    /// Its work up to then is safe.
    pub(crate) safe: Time,
    /// It has had to leave so often that it need not before then.
    pub(crate) spared_until: Time,
}

impl JobState {
    pub(crate) fn waiting(job: Arc<Job>) -> Self {
        Self {
            job,
            tasks: None,
            nominated: None,
            evicting: false,
            started: None,
            saved: Time::ZERO,
            ran: Duration::ZERO,
            evictions: 0,
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        match &self.tasks {
            None if self.nominated.is_some() => Standing::Away,
            None => Standing::Waits(self.job.clone(), self.ran),
            Some(tasks) if tasks.is_leaving() => Standing::Away,
            Some(_) => {
                let started = self.started.unwrap_or_default();
                let since = Since {
                    started,
                    safe: self.unsafe_since(),
                    spared_until: started + spared(self.evictions),
                };
                Standing::Runs(self.job.clone(), since)
            }
        }
    }

    /// From when on its work would be lost.
    pub(crate) fn unsafe_since(&self) -> Time {
        self.started.unwrap_or_default().max(self.saved)
    }

    /// GPU-milliseconds of work that are lost when it leaves now.
    pub(crate) fn loss(&self, now: Time) -> u64 {
        preemption::loss(self.job.milli_gpu(), self.unsafe_since(), now)
    }
}
