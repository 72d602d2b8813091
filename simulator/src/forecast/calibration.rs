//! What past forecasts teach the next: where too many jobs started later than foretold, waits are
//! stretched; where too few did, they are shortened.
//!
//! Each quantile has a factor of its own. After every start it grows if the job was later than
//! told, and shrinks otherwise, in the proportion in which the two are due, so that it rests where
//! the quantile is right. That holds whatever the future is like (Gibbs and Candès, *Adaptive
//! Conformal Inference Under Distribution Shift*, NeurIPS 2021).

use std::time::Duration;

use prorata_core::Time;

use super::Eta;

/// By how much of its logarithm a factor changes with one outcome.
const RATE: f64 = 0.05;

/// No factor is further from one than this: e³, about 20.
const LOG_MAX: f64 = 3.0;

/// Factors, as logarithms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Calibration {
    p50: f64,
    p90: f64,
}

impl Calibration {
    /// The forecast of a job, as it is to be told at `now`.
    #[must_use]
    pub fn corrected(&self, eta: Eta, now: Time) -> Eta {
        let scaled = |at: Option<Time>, log: f64| at.map(|at| now + times(at.since(now), log));
        let p50 = scaled(eta.p50, self.p50);
        let p90 = scaled(eta.p90, self.p90);
        // The one that is less sure is no later.
        let p50 = p50.map(|p50| p90.map_or(p50, |p90| p50.min(p90)));
        Eta { p50, p90 }
    }

    /// A job has started for which this was told.
    pub fn learn(&mut self, told: Eta, started: Time) {
        learn(&mut self.p50, 0.5, told.p50, started);
        learn(&mut self.p90, 0.9, told.p90, started);
    }
}

fn learn(log: &mut f64, quantile: f64, told: Option<Time>, started: Time) {
    let is_late = told.is_some_and(|told| started > told);
    let step = if is_late { quantile } else { quantile - 1.0 };
    *log = (*log + RATE * step).clamp(-LOG_MAX, LOG_MAX);
}

fn times(span: Duration, log: f64) -> Duration {
    Duration::try_from_secs_f64(span.as_secs_f64() * log.exp()).unwrap_or(Duration::MAX)
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
            calibration.learn(told, started);
        }
        assert!((1900..2100).contains(&covered.0), "{covered:?}");
        assert!((3500..3700).contains(&covered.1), "{covered:?}");
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
            calibration.learn(eta, at(55));
        }
        let told = calibration.corrected(eta, at(0));
        assert!(told.p50 <= told.p90 && told.p50.is_some(), "{told:?}");
    }
}
