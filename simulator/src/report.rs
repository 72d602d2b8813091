//! `report.html`: one file that shows how the tenants fared, on screen and on paper, without
//! network. Also the chart of it that stands alone.

use crate::run::Run;
use crate::scenario::Scenario;
use crate::summary::Summary;

mod axes;
mod canvas;
mod cast;
mod cdf;
mod columns;
mod cost;
mod definitions;
mod heat;
mod held;
mod neighbours;
mod numbers;
mod page;
mod palette;
mod preemption;
mod scatter;
mod scene;
mod stack;
mod table;
mod verdict;
pub mod words;
mod worst;

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
}
