//! `report.html`: one file that shows how the tenants fared, on screen and on paper, without
//! network. Also the chart of it that stands alone.

use crate::run::Run;
use crate::scenario::{Scenario, order_name};
use crate::summary::Summary;

mod canvas;
mod columns;
mod held;
mod page;
mod stack;
mod verdict;
mod waits;
pub mod words;

/// What a report is made of.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// What was run.
    pub scenario: &'a Scenario,
    /// What happened, under each order.
    pub runs: &'a [Run],
    /// What it adds up to.
    pub summary: &'a Summary,
}

/// Why a report could not be made: always a bug of ours.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A chart.
    #[error("chart: {0}")]
    Chart(String),
    /// The page around the charts.
    #[error(transparent)]
    Page(#[from] askama::Error),
    /// `jobs.csv`.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// `summary.json`.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl Report<'_> {
    /// The whole page.
    ///
    /// # Errors
    /// When a chart or the page cannot be drawn, which is a bug.
    pub fn html(&self) -> Result<String, ReportError> {
        page::html(self)
    }

    /// GPUs per tenant over time, one order below the other, for a page that is light or dark.
    ///
    /// # Errors
    /// When a chart cannot be drawn, which is a bug.
    pub fn svg(&self) -> Result<String, ReportError> {
        stack::standalone(self)
    }

    /// The end of the latest run, in hours: all charts over time have one axis.
    fn hours_max(&self) -> f64 {
        let ends = self
            .runs
            .iter()
            .map(|run| run.end.since(prorata_core::Time::ZERO));
        ends.map(crate::fairness::hours)
            .fold(f64::MIN_POSITIVE, f64::max)
    }

    /// What each tenant is called and drawn with.
    fn tenants(&self) -> impl Iterator<Item = (usize, &str)> {
        self.scenario
            .tenants
            .iter()
            .map(|tenant| tenant.id.as_str())
            .enumerate()
    }
}

/// `Under fifo`, for titles.
fn under(run: &Run) -> String {
    format!("Under {}", order_name(run.order))
}
