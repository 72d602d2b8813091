//! What is counted of the ledger, where this process writes it.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use super::Metrics;

#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    lines: Counter,
    failures: Counter,
    gap: Counter<f64, AtomicU64>,
    pending: Gauge,
    /// When it was last written; `None` where another process does.
    written: Arc<Mutex<Option<Instant>>>,
}

impl Ledger {
    fn since(&self, moment: Option<Instant>) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = moment;
    }

    pub(super) fn register(self, registry: &mut Registry) {
        let written = *self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(written) = written else {
            return;
        };
        let age = Gauge::<f64, AtomicU64>::default();
        age.set(written.elapsed().as_secs_f64());
        let help = "Since the ledger was last written";
        registry.register_with_unit("ledger_age", help, Unit::Seconds, age);
        let help = "Time in which nobody kept the ledger: what ended then is estimated";
        registry.register_with_unit("ledger_gap", help, Unit::Seconds, self.gap);
        registry.register(
            "ledger_lines",
            "Lines of the ledger that were written",
            self.lines,
        );
        let help = "Writes of the ledger that failed, and are tried again";
        registry.register("ledger_failures", help, self.failures);
        let help = "Lines of the ledger that are still to be written";
        registry.register("ledger_pending", help, self.pending);
    }
}

impl Metrics {
    /// This process begins to write the ledger, or ends.
    pub fn keeps_ledger(&self, keeps: bool) {
        self.0.counted.ledger.since(keeps.then(Instant::now));
    }

    /// The ledger was written; that made so many lines.
    pub fn ledger_written(&self, lines: u64) {
        let ledger = &self.0.counted.ledger;
        ledger.lines.inc_by(lines);
        ledger.pending.set(0);
        ledger.since(Some(Instant::now()));
    }

    /// The ledger could not be written; so many lines are still to come.
    pub fn ledger_failed(&self, pending: u64) {
        let ledger = &self.0.counted.ledger;
        ledger.failures.inc();
        ledger
            .pending
            .set(i64::try_from(pending).unwrap_or(i64::MAX));
    }

    /// Nobody kept the ledger for so long.
    pub fn ledger_gap(&self, gap: Duration) {
        self.0.counted.ledger.gap.inc_by(gap.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Views;

    #[test]
    fn only_who_writes_it_shows_how_old_it_is() {
        let metrics = Metrics::default();
        metrics.keeps_ledger(true);
        metrics.ledger_failed(7);
        metrics.ledger_written(9);
        metrics.ledger_gap(Duration::from_secs(90));
        let text = metrics.render(&Views::default()).unwrap();
        for line in [
            "prorata_ledger_lines_total 9\n",
            "prorata_ledger_gap_seconds_total 90.0\n",
            "prorata_ledger_failures_total 1\n",
            "prorata_ledger_pending 0\n",
            "prorata_ledger_age_seconds 0.",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        metrics.keeps_ledger(false);
        let text = metrics.render(&Views::default()).unwrap();
        assert!(!text.contains("prorata_ledger_age"), "{text}");
    }
}
