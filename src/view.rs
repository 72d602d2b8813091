//! What readers on other threads see: one immutable picture, replaced after each cycle.

use std::sync::Arc;

use arc_swap::ArcSwap;
use prorata_core::{Snapshot, TenantId};
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use crate::forecast::Scored;
use crate::metrics::Metrics;
use crate::plan::Plan;
use crate::watch::Heard;

/// The picture. Its parts share structure with the driver's own state.
#[derive(Clone, Debug)]
pub struct View {
    /// What the core knows.
    pub snapshot: Snapshot,
    /// Admissions in force, by UID of their Job.
    pub plans: RedBlackTreeMapSync<String, Plan>,
    /// UIDs of Jobs that were started past the queue.
    pub bypassing: RedBlackTreeSetSync<String>,
    /// What each pod that waits in the queue itself does so as, by UID: that of a plan.
    pub groups: RedBlackTreeMapSync<String, String>,
    /// What each object that is a part of another is held by, by UID.
    pub owners: RedBlackTreeMapSync<String, String>,
    /// The last pods that went without having been seen on a node, by UID.
    pub departed: RedBlackTreeSetSync<String>,
    /// Namespaces that belong to a tenant.
    pub namespaces: RedBlackTreeMapSync<String, TenantId>,
    /// A job waits that nobody has decided about yet, as far as this process knows: any room may
    /// be what it is to have.
    pub is_undecided: bool,
}

impl View {
    /// One that shows nothing but what the core knows.
    #[must_use]
    pub fn of(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            plans: RedBlackTreeMapSync::default(),
            bypassing: RedBlackTreeSetSync::default(),
            groups: RedBlackTreeMapSync::default(),
            owners: RedBlackTreeMapSync::default(),
            departed: RedBlackTreeSetSync::default(),
            namespaces: RedBlackTreeMapSync::default(),
            is_undecided: false,
        }
    }
}

/// Where the newest picture hangs; `None` until everything has been listed once. Reading it takes
/// no lock.
#[derive(Clone, Debug, Default)]
pub struct Views {
    latest: Arc<ArcSwap<Option<View>>>,
    heard: Heard,
    metrics: Metrics,
    scored: Scored,
}

impl Views {
    /// Replaces the picture.
    pub fn publish(&self, view: View) {
        self.latest.store(Arc::new(Some(view)));
    }

    /// The newest picture.
    #[must_use]
    pub fn latest(&self) -> arc_swap::Guard<Arc<Option<View>>> {
        self.latest.load()
    }

    /// When the API server was last heard about what the picture shows.
    #[must_use]
    pub const fn heard(&self) -> &Heard {
        &self.heard
    }

    /// What was counted on the way.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How good forecasts were.
    #[must_use]
    pub const fn scored(&self) -> &Scored {
        &self.scored
    }

    /// Whether there is one to answer by: everything was listed once, and the API server has been
    /// heard since.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.latest().is_some() && self.heard.is_fresh()
    }
}
