//! What there is to see at one moment.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::super::queue::Entry;
use super::super::shares::Holding;

/// What there is to see at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    /// Since the first look.
    pub(super) elapsed: Duration,
    /// Whether new jobs keep away.
    pub(super) paused: bool,
    /// GPUs of all nodes, in thousandths.
    pub(super) capacity: u64,
    /// What each team holds, and what is due to it.
    pub(super) teams: Vec<Holding>,
    /// The queue, in its order.
    pub(super) queue: Vec<Entry>,
    /// When it was looked at.
    pub(super) now: Timestamp,
    /// How kubectl gets there.
    pub(super) kubeconfig: String,
}

impl Scene {
    /// How many jobs wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.iter().filter(|entry| entry.is_in_line()).count()
    }

    /// GPUs that are held, in thousandths.
    pub(super) fn held(&self) -> u64 {
        self.teams.iter().map(|team| team.held_milli_gpus).sum()
    }
}
