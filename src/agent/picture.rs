//! What the agent knows now, for whoever asks: a picture that never changes, replaced by a newer one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::holders::Holder;
use super::kubelet::Given;
use super::reading::Reading;
use super::usage::Usage;
use crate::api::GpuNodeStatus;
use crate::api::gpunode::DRIVER_READY;

/// What is known after a look.
#[derive(Clone, Debug)]
pub struct Picture {
    /// When it was taken.
    pub at: Instant,
    /// How long the look took.
    pub duration: Duration,
    /// Looks so far, and those of them that failed.
    pub looks: u64,
    /// See `looks`.
    pub failures: u64,
    /// The reading; `None` where the look failed.
    pub reading: Option<Reading>,
    /// Whose each process is; what is no pod's is known too.
    pub holders: BTreeMap<u32, Option<Holder>>,
    /// Errors that the driver has told so far, by card and number.
    pub xids: BTreeMap<(u32, Option<u64>), u64>,
    /// How busy pods kept what they were given.
    pub usages: Vec<Usage>,
    /// What the kubelet has given, as far as it has said.
    pub given: Option<Given>,
    /// Whether it answers.
    pub kubelet_answers: bool,
    /// What the `GpuNode` says.
    pub status: GpuNodeStatus,
}

impl Picture {
    /// Whether the driver answers.
    #[must_use]
    pub fn driver_answers(&self) -> bool {
        let mut conditions = self.status.conditions.iter();
        conditions.any(|condition| condition.type_ == DRIVER_READY && condition.status == "True")
    }
}

/// Where the newest picture is.
#[derive(Clone, Debug, Default)]
pub struct Pictures(Arc<ArcSwapOption<Picture>>);

impl Pictures {
    /// The newest, if any has been taken.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Picture>> {
        self.0.load_full()
    }

    /// Shows a newer one.
    pub fn show(&self, picture: Picture) {
        self.0.store(Some(Arc::new(picture)));
    }
}
