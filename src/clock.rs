//! Unix time, as the loop reads it.

use std::time::{SystemTime, UNIX_EPOCH};

use k8s_openapi::jiff::Timestamp;
use prorata_core::Time;
use tokio::time::Instant;

/// Where the time of day comes from. By default from the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock(Option<(Time, Instant)>);

impl Clock {
    /// One that shows `at` now, and goes on as the clock of the runtime does: where that is set by
    /// hand, everything can be repeated.
    #[must_use]
    pub fn set(at: Time) -> Self {
        Self(Some((at, Instant::now())))
    }

    /// This moment, as the core counts: Unix time.
    #[must_use]
    pub fn now(self) -> Time {
        match self.0 {
            Some((at, since)) => at + since.elapsed(),
            None => system(),
        }
    }

    /// The same, as Kubernetes writes it.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        match self.0 {
            Some(_) => i64::try_from(self.now().as_millis())
                .ok()
                .and_then(|ms| Timestamp::from_millisecond(ms).ok())
                .unwrap_or_default(),
            None => Timestamp::now(),
        }
    }
}

fn system() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
