//! What past forecasts teach the next: waits are stretched where jobs waited longer than foretold,
//! and shortened where they did not.
//!
//! Each quantile has a factor of its own: the one by which the last forecasts, had they been
//! multiplied by it, would have had the least pinball loss. That is regression of a quantile by a
//! line through the origin (Koenker and Bassett, *Regression Quantiles*, Econometrica 1978): the
//! quantile of how many times as long as foretold each job waited, where each counts as much as it
//! was foretold to wait. By that a long wait that is misjudged counts more than many short ones,
//! as it does to those who wait.

use std::collections::VecDeque;
use std::time::Duration;

use prorata_core::Time;

use super::Eta;

/// Outcomes that are remembered.
const OUTCOMES_MAX: usize = 400;

/// So many outcomes tell something.
const OUTCOMES_MIN: usize = 20;

/// No factor is greater than this, or less than one divided by it.
const FACTOR_MAX: f64 = 20.0;

/// A factor for each quantile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    p50: Factor,
    p90: Factor,
}

/// By how much to multiply the waits of one quantile.
#[derive(Clone, Debug, Default, PartialEq)]
struct Factor {
    last: VecDeque<Outcome>,
    /// `None` while too little is known.
    best: Option<f64>,
}

/// What became of one forecast.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Outcome {
    /// How many times as long as foretold the job waited.
    times: f64,
    /// How long it was foretold to wait, in seconds.
    foretold: f64,
}

impl Calibration {
    /// The forecast of a job, as it is to be told at `now`.
    #[must_use]
    pub fn corrected(&self, eta: Eta, now: Time) -> Eta {
        let scaled = |at: Option<Time>, factor: &Factor| at.map(|at| factor.applied(at, now));
        let p50 = scaled(eta.p50, &self.p50);
        let p90 = scaled(eta.p90, &self.p90);
        // The one that is less sure is no later.
        let p50 = p50.map(|p50| p90.map_or(p50, |p90| p50.min(p90)));
        Eta { p50, p90 }
    }

    /// A job has started for which this was foretold at `asked`, before it was corrected.
    pub fn learn(&mut self, foretold: Eta, asked: Time, started: Time) {
        let waited = started.since(asked);
        for (factor, quantile, at) in [
            (&mut self.p50, 0.5, foretold.p50),
            (&mut self.p90, 0.9, foretold.p90),
        ] {
            // Beyond the horizon, or at once: no factor changes that.
            if let Some(at) = at.filter(|at| *at > asked) {
                factor.learn(quantile, at.since(asked), waited);
            }
        }
    }
}

impl Factor {
    fn applied(&self, at: Time, now: Time) -> Time {
        let wait = at.since(now).as_secs_f64() * self.best.unwrap_or(1.0);
        now + Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX)
    }

    fn learn(&mut self, quantile: f64, foretold: Duration, waited: Duration) {
        let foretold = foretold.as_secs_f64();
        let times = waited.as_secs_f64() / foretold;
        self.last.push_back(Outcome { times, foretold });
        if self.last.len() > OUTCOMES_MAX {
            self.last.pop_front();
        }
        if self.last.len() >= OUTCOMES_MIN {
            self.best = self.quantile(quantile);
        }
    }

    fn quantile(&self, quantile: f64) -> Option<f64> {
        let mut sorted: Vec<Outcome> = self.last.iter().copied().collect();
        sorted.sort_by(|a, b| a.times.total_cmp(&b.times));
        let all: f64 = sorted.iter().map(|outcome| outcome.foretold).sum();
        let mut passed = 0.0;
        let reached = sorted.iter().find(|outcome| {
            passed += outcome.foretold;
            passed >= quantile * all
        });
        let times = reached.or(sorted.last())?.times;
        Some(times.clamp(1.0 / FACTOR_MAX, FACTOR_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn a_forecast_that_is_wrong_in_the_same_way_becomes_right() {
        // Waits are drawn evenly from 0 to 1000 s; 100 and 200 s are foretold.
        let eta = Eta {
            p50: Some(at(100)),
            p90: Some(at(200)),
        };
        let mut calibration = Calibration::default();
        let mut covered = (0, 0);
        for n in 0..4000_u64 {
            let started = at(n * 379 % 1000);
            let told = calibration.corrected(eta, at(0));
            covered.0 += u32::from(told.p50 >= Some(started));
            covered.1 += u32::from(told.p90 >= Some(started));
            calibration.learn(eta, at(0), started);
        }
        assert!((1900..2100).contains(&covered.0), "{covered:?}");
        assert!((3500..3700).contains(&covered.1), "{covered:?}");
    }

    #[test]
    fn what_costs_least_is_told_not_what_is_right_most_often() {
        // Two jobs of three start after half of their short wait, the third after twice its long one.
        let told = |wait| Eta {
            p50: Some(at(wait)),
            p90: Some(at(wait)),
        };
        let mut calibration = Calibration::default();
        for n in 0..60 {
            let (wait, started) = if n % 3 == 0 { (1000, 2000) } else { (100, 50) };
            calibration.learn(told(wait), at(0), at(started));
        }
        assert_eq!(calibration.corrected(told(300), at(0)), told(600));
    }

    #[test]
    fn what_is_foretold_for_now_stays_and_order_is_kept() {
        let eta = Eta {
            p50: Some(at(50)),
            p90: Some(at(60)),
        };
        let mut calibration = Calibration::default();
        assert_eq!(calibration.corrected(eta, at(50)), eta);
        for _ in 0..40 {
            calibration.learn(eta, at(0), at(55));
        }
        let told = calibration.corrected(eta, at(0));
        assert!(told.p50 <= told.p90 && told.p50.is_some(), "{told:?}");
    }
}
