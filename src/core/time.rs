//! Time as the core sees it: a number that its caller hands in. The core reads no clock.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A moment, in milliseconds since an epoch of the caller's choice: Unix time in a cluster,
/// the start of the simulation in a simulator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Time(u64);

impl Time {
    /// The epoch itself.
    pub const ZERO: Self = Self(0);

    /// The moment `milliseconds` after the epoch.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after it, because clocks step back.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Stays at the end of time rather than wrapping round to its beginning.
    fn add(self, span: Duration) -> Self {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(span))
    }
}

impl fmt::Display for Time {
    /// Seconds with as many decimals as are needed: `5s`, `0.25s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, milliseconds) = (self.0 / 1000, self.0 % 1000);
        match milliseconds {
            0 => write!(f, "{seconds}s"),
            m if m % 100 == 0 => write!(f, "{seconds}.{}s", m / 100),
            m if m % 10 == 0 => write!(f, "{seconds}.{:02}s", m / 10),
            m => write!(f, "{seconds}.{m:03}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn prints_no_more_decimals_than_needed() {
        let printed = [0, 5000, 250, 1100, 7].map(|ms| Time::from_millis(ms).to_string());
        assert_eq!(printed, ["0s", "5s", "0.25s", "1.1s", "0.007s"]);
    }

    #[test]
    fn a_clock_that_steps_back_gives_no_negative_span() {
        assert_eq!(Time::ZERO.since(Time::from_millis(9)), Duration::ZERO);
    }
}
