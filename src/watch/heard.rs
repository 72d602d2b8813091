//! When the API server was last heard about each kind. A cache that nobody speaks to any more
//! looks like one where nothing happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Kind;

/// A kind that was not heard of for so long is listed anew. On a good connection there is a
/// bookmark at least once a minute.
pub(super) const SILENT_MAX: Duration = Duration::from_secs(90);
/// When that does not help either for so long, nothing is answered from what was known.
const STALE_AFTER: Duration = Duration::from_secs(150);

/// The times, shared by the watches and whoever asks.
#[derive(Clone, Debug)]
pub struct Heard(Arc<Times>);

#[derive(Debug)]
struct Times {
    start: Instant,
    /// Milliseconds since the start, by kind.
    last: [AtomicU64; Kind::ALL.len()],
    /// Whether the API server serves a kind of operators, by kind.
    served: [AtomicBool; Kind::ALL.len()],
}

impl Default for Heard {
    fn default() -> Self {
        Self(Arc::new(Times {
            start: Instant::now(),
            last: Default::default(),
            served: Default::default(),
        }))
    }
}

impl Heard {
    /// The API server has said something about a kind: a list, an event or a bookmark.
    pub fn word(&self, kind: Kind) {
        let now = self.0.start.elapsed().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.0.last[kind.index()].store(now, Ordering::Relaxed);
    }

    /// The API server serves a kind of operators from now on, or does not any more.
    pub fn serves(&self, kind: Kind, is_served: bool) {
        self.word(kind);
        self.0.served[kind.index()].store(is_served, Ordering::Relaxed);
    }

    /// Whether there is anything to be heard of a kind: those of operators come and go.
    #[must_use]
    pub fn is_expected(&self, kind: Kind) -> bool {
        kind.composite().is_none() || self.0.served[kind.index()].load(Ordering::Relaxed)
    }

    /// When it last did; as if at the start, if never.
    #[must_use]
    pub fn last(&self, kind: Kind) -> Instant {
        let last = self.0.last[kind.index()].load(Ordering::Relaxed);
        self.0.start + Duration::from_millis(last)
    }

    /// The kind that was not heard of for the longest, and how long. Kinds of operators come and go,
    /// and may be broken: nobody else waits for them.
    #[must_use]
    pub fn quietest(&self) -> (Kind, Duration) {
        let all = Kind::ALL.into_iter();
        let own = all.filter(|kind| kind.composite().is_none());
        let ages = own.map(|kind| (kind, self.last(kind).elapsed()));
        let oldest = ages.max_by_key(|(_, age)| *age);
        oldest.expect("there are kinds")
    }

    /// Whether every kind that counts has been heard of recently enough to answer by it.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.quietest().1 < STALE_AFTER
    }
}
