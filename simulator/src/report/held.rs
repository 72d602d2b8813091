//! The chart of one tenant over time: what it holds against what it is entitled to.

use plotters::prelude::*;

use super::canvas::{self, DEFICIT, INK, colour, fault};
use super::columns::{Column, axes, columns, steps};
use super::{Report, ReportError, under};
use crate::run::Run;

/// For the page; `tenant` is its position in the scenario.
pub(super) fn inline(report: &Report<'_>, run: &Run, tenant: usize) -> Result<String, ReportError> {
    let name = &report.scenario.tenants[tenant].id;
    let title = format!(
        "{}: GPUs held by {name} over time, and what it is entitled to",
        under(run)
    );
    let columns = columns(run);
    canvas::inline(&title, (470, 180), |area| {
        let gpus = gpus_max(report, tenant);
        let mut chart = axes(area, (report.hours_max(), gpus * 1.1), (14, 4))?;
        let held = steps(&columns, |c| c.held[tenant]);
        let due = steps(&columns, |c| c.entitled[tenant].max(c.held[tenant]));
        let entitled = steps(&columns, |c| c.entitled[tenant]);
        let missing = due.into_iter().chain(held.iter().copied().rev());
        let missing: Vec<(f64, f64)> = missing.collect();
        chart
            .draw_series([Polygon::new(missing, DEFICIT.filled())])
            .map_err(fault)?;
        let area = AreaSeries::new(held, 0.0, colour(tenant).mix(0.75));
        chart.draw_series(area).map_err(fault)?;
        let line = LineSeries::new(entitled, INK.stroke_width(2));
        chart.draw_series(line).map_err(fault)?;
        Ok(())
    })
}

/// One axis for all orders, so that they compare.
fn gpus_max(report: &Report<'_>, tenant: usize) -> f64 {
    let most = |c: &Column| c.held[tenant].max(c.entitled[tenant]);
    let all = report.runs.iter().flat_map(columns);
    all.map(|column| most(&column)).fold(1.0, f64::max)
}
