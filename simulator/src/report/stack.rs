//! The chart of GPUs per tenant over time, stacked, below the line of what there is.

use plotters::prelude::*;

use super::canvas::{self, Area, INK, colour, fault, text};
use super::columns::{axes, columns, steps};
use super::{Report, ReportError, under};
use crate::run::Run;

/// For the page.
pub(super) fn inline(report: &Report<'_>, run: &Run) -> Result<String, ReportError> {
    let title = format!("{}: GPUs held by each tenant over time", under(run));
    canvas::inline(&title, (960, 300), |area| stack(report, run, area, 15))
}

/// All orders below each other, with a legend.
pub(super) fn standalone(report: &Report<'_>) -> Result<String, ReportError> {
    const LEGEND: u32 = 34;
    let panels = u32::try_from(report.runs.len()).unwrap_or(1);
    let title = format!(
        "{}: GPUs held by each tenant over time",
        report.scenario.name
    );
    canvas::standalone(&title, (960, LEGEND + 290 * panels), |area| {
        let (top, rest) = area.split_vertically(LEGEND);
        legend(report, &top)?;
        let panels = rest.split_evenly((report.runs.len(), 1));
        for (run, panel) in report.runs.iter().zip(&panels) {
            let titled = panel.titled(&under(run), text(18)).map_err(fault)?;
            stack(report, run, &titled, 15)?;
        }
        Ok(())
    })
}

fn stack(report: &Report<'_>, run: &Run, area: &Area<'_>, px: u32) -> Result<(), ReportError> {
    let capacity = report.summary.gpus;
    let hours = report.hours_max();
    let mut chart = axes(area, (hours, (capacity * 1.08).max(1.0)), (px, 6))?;
    let columns = columns(run);
    let sum = |tenants: usize| steps(&columns, move |column| column.held[..tenants].iter().sum());
    for (tenant, _) in report.tenants() {
        let lower = sum(tenant).into_iter().rev();
        let band: Vec<(f64, f64)> = sum(tenant + 1).into_iter().chain(lower).collect();
        let fill = colour(tenant).mix(0.85).filled();
        chart
            .draw_series([Polygon::new(band, fill)])
            .map_err(fault)?;
    }
    let ends = [(0.0, capacity), (hours, capacity)];
    let line = DashedLineSeries::new(ends, 7, 4, INK.stroke_width(2));
    chart.draw_series(line).map_err(fault)?;
    Ok(())
}

fn legend(report: &Report<'_>, area: &Area<'_>) -> Result<(), ReportError> {
    let mut x = 54;
    for (tenant, name) in report.tenants() {
        let swatch = Rectangle::new([(x, 12), (x + 14, 26)], colour(tenant).mix(0.85).filled());
        area.draw(&swatch).map_err(fault)?;
        area.draw(&Text::new(name.to_owned(), (x + 20, 12), text(16)))
            .map_err(fault)?;
        x += 50 + 8 * i32::try_from(name.len()).unwrap_or(0);
    }
    let dashes = [(x, 19), (x + 8, 19), (x + 13, 19), (x + 21, 19)];
    for dash in dashes.chunks(2) {
        let line = PathElement::new(dash.to_vec(), INK.stroke_width(2));
        area.draw(&line).map_err(fault)?;
    }
    area.draw(&Text::new("all GPUs", (x + 28, 12), text(16)))
        .map_err(fault)
}
