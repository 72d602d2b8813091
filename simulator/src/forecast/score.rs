//! How good forecasts were: each is compared with what happened.

use std::time::Duration;

use prorata_core::Time;

use super::Eta;
use crate::metrics::float;

/// How good one quantile was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Forecasts that were compared.
    pub count: u64,
    /// Jobs that had started by then. Right is the quantile's own share of them.
    pub covered: u64,
    /// Sum of the pinball losses, in seconds: with y the start and q the forecast, and the
    /// quantile τ, τ·(y − q) for one that starts later and (1 − τ)·(q − y) for one that does not.
    pub pinball_seconds: f64,
}

/// How good forecasts were.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Of the median.
    pub p50: Tally,
    /// Of the ninth decile.
    pub p90: Tally,
}

impl Score {
    /// A job has started for which this was foretold. A quantile beyond the horizon counts as the
    /// horizon, as seen from `asked`.
    pub fn enter(&mut self, eta: Eta, started: Time, asked: Time, horizon: Duration) {
        let told = |quantile: Option<Time>| quantile.unwrap_or(asked + horizon);
        self.p50.enter(0.5, told(eta.p50), started);
        self.p90.enter(0.9, told(eta.p90), started);
    }
}

impl Tally {
    /// The share of jobs that had started by then; `None` before any was compared.
    #[must_use]
    pub fn coverage(&self) -> Option<f64> {
        let covered = float(self.covered.into());
        (self.count > 0).then(|| covered / float(self.count.into()))
    }

    /// The mean pinball loss, in seconds; `None` before any was compared.
    #[must_use]
    pub fn pinball(&self) -> Option<f64> {
        (self.count > 0).then(|| self.pinball_seconds / float(self.count.into()))
    }

    fn enter(&mut self, quantile: f64, told: Time, started: Time) {
        let late = started.since(told).as_secs_f64();
        let early = told.since(started).as_secs_f64();
        self.count += 1;
        self.covered += u64::from(started <= told);
        self.pinball_seconds += quantile * late + (1.0 - quantile) * early;
    }
}
