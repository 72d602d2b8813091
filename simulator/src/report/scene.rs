//! What all charts of a report have in common: who is drawn in which colour, the axis of time,
//! and each run's timeline as columns.

use prorata_core::Time;

use super::Report;
use super::canvas::{HALF, WIDE};
use super::cast::Cast;
use super::columns::{Column, columns};
use crate::run::Run;
use crate::scenario::order_name;

/// A report that is being drawn.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) report: Report<'a>,
    pub(super) cast: Cast,
    pub(super) clock: Clock,
    /// Of each run.
    pub(super) columns: Vec<Vec<Column>>,
}

/// The axis of time, the same for all orders.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Hours of its unit.
    pub(super) unit: f64,
    /// The end of the latest run, in units.
    pub(super) end: f64,
}

/// Corners that all charts over time have together, about: each takes some eight bytes.
const CORNERS: usize = 80_000;
/// Corners of a column: above and below in three charts.
const CORNERS_OF_COLUMN: usize = 16;

impl<'a> Scene<'a> {
    pub(super) fn new(report: Report<'a>) -> Self {
        let (cast, clock) = (Cast::of(&report), Clock::of(report.runs));
        let each = CORNERS_OF_COLUMN * (cast.len() * report.runs.len()).max(1);
        let many = (CORNERS / each).clamp(60, 450);
        let of = |run| columns(run, &cast, &clock, many);
        Self {
            columns: report.runs.iter().map(of).collect(),
            report,
            cast,
            clock,
        }
    }

    /// How wide a chart of one order is: alone, or beside that of another.
    pub(super) const fn width(&self) -> u32 {
        match self.columns.len() {
            1 => WIDE,
            _ => HALF,
        }
    }

    /// Of each run, its number, its order's name and itself.
    pub(super) fn runs(&self) -> impl Iterator<Item = (usize, &'static str, &'a Run)> + '_ {
        let runs = self.report.runs.iter().enumerate();
        runs.map(|(number, run)| (number, order_name(run.order), run))
    }
}

impl Clock {
    fn of(runs: &[Run]) -> Self {
        let ends = runs.iter().map(|run| run.end.since(Time::ZERO));
        let hours = ends.map(crate::fairness::hours).fold(0.01, f64::max);
        let unit = if hours > 96.0 { 24.0 } else { 1.0 };
        Self {
            unit,
            end: hours / unit,
        }
    }

    /// What stands below the axis.
    pub(super) fn label(&self) -> &'static str {
        if self.unit > 1.0 {
            "days since the beginning"
        } else {
            "hours since the beginning"
        }
    }

    /// A moment on the axis.
    pub(super) fn at(&self, time: Time) -> f64 {
        crate::fairness::hours(time.since(Time::ZERO)) / self.unit
    }
}
