//! The month that passes faster than it is long.

use prorata_ledger::period::{DAY, Period};
use prorata_ledger::record::Extract;

/// From which moment on the month passes, and how much faster.
pub(crate) struct Month {
    /// When it began, in milliseconds of Unix time.
    began_ms: u64,
    /// Seconds of the month in one of the control plane.
    scale: u64,
}

impl Month {
    /// The month that the reports are of: one of 30 days.
    pub(crate) const NAME: &str = "2026-04";

    /// The month that began when there was something to hold, and took so many seconds.
    pub(crate) fn of(told: &Extract, seconds: u64) -> Self {
        let began_ms = told.stock.iter().map(|stock| stock.from_ms).min().unwrap();
        let of_month = 30 * DAY / 1000;
        assert_eq!(of_month % seconds, 0, "{seconds} s are no part of a month");
        let month = Self {
            began_ms,
            scale: of_month / seconds,
        };
        let lasted = told.kept_until_ms - began_ms;
        assert!(
            lasted >= seconds * 1000,
            "the book was kept for {lasted} ms"
        );
        month
    }

    /// From its first moment to its last.
    pub(crate) fn period() -> Period {
        Period::month(Self::NAME).unwrap()
    }

    /// Seconds of the month in one of the control plane.
    pub(crate) const fn scale(&self) -> u64 {
        self.scale
    }

    /// A moment of the control plane as one of the month; what was before it begins with it.
    pub(crate) fn at(&self, ms: u64) -> u64 {
        Self::period().from_ms + ms.saturating_sub(self.began_ms) * self.scale
    }

    /// What a book says, with every moment as one of the month.
    pub(crate) fn stretched(&self, told: &Extract) -> Extract {
        let mut told = told.clone();
        let at = |ms: &mut u64| *ms = self.at(*ms);
        at(&mut told.from_ms);
        at(&mut told.until_ms);
        at(&mut told.kept_until_ms);
        for hold in &mut told.holds {
            at(&mut hold.from_ms);
            hold.end.iter_mut().for_each(|end| at(&mut end.at_ms));
        }
        for stock in &mut told.stock {
            at(&mut stock.from_ms);
            stock.until_ms.iter_mut().for_each(at);
        }
        for (from, until) in &mut told.gaps {
            at(from);
            at(until);
        }
        // Nobody kept the book before there was something to hold.
        told.gaps.retain(|(from, until)| from < until);
        told
    }
}
