//! Where the newest picture hangs, with what came before it and what tenants cost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use prorata_dashboard::{Money, Timeline};

use super::history::History;
use super::picture::{Picture, Shown};
use crate::cli::words;

/// What tenants cost, by name. Empty where nobody keeps a ledger with prices.
pub(crate) type Costs = BTreeMap<String, Money>;

/// Where the newest picture hangs. Copies share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    picture: ArcSwapOption<Picture>,
    history: Mutex<History>,
    costs: ArcSwap<Costs>,
}

impl Board {
    /// Replaces the picture.
    pub(crate) fn show(&self, picture: Picture) {
        let mut history = self
            .0
            .history
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        history.record(&picture);
        self.0.picture.store(Some(Arc::new(picture)));
    }

    /// The newest picture; nothing until everything was read once.
    pub(crate) fn picture(&self) -> Option<Arc<Picture>> {
        self.0.picture.load_full()
    }

    /// Replaces what tenants cost.
    pub(crate) fn tell_costs(&self, costs: Costs) {
        self.0.costs.store(Arc::new(costs));
    }

    /// What tenants cost.
    pub(crate) fn costs(&self) -> Arc<Costs> {
        self.0.costs.load_full()
    }

    /// What those who are seen held over time, and for how long that is known, for people.
    pub(crate) fn timeline(&self, shown: &Shown<'_>) -> (Timeline, String) {
        let history = self
            .0
            .history
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = shown.whole.at.as_second();
        let timeline = history.timeline(now, &shown.strands());
        let known = u64::try_from(now - history.since().unwrap_or(now)).unwrap_or_default();
        let since = words::span(std::time::Duration::from_secs(known));
        (timeline, format!("over the last {since}"))
    }
}
