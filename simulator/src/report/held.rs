//! The chart of one tenant over time: what it holds against what it is entitled to.

use plotters::prelude::*;

use super::ReportError;
use super::axes::over_time;
use super::canvas::{self, HALF, fault};
use super::columns::{Column, steps};
use super::palette::{HATCH, INK};
use super::scene::Scene;

/// For the page; `number` is the tenant's among those that are drawn.
pub(super) fn inline(
    scene: &Scene<'_>,
    (run, order): (usize, &str),
    number: usize,
) -> Result<String, ReportError> {
    let name = &scene.cast.names()[number];
    let title = format!("Under {order}: GPUs held by {name} over time, and what it is entitled to");
    let columns = &scene.columns[run];
    canvas::inline(&title, (HALF, 210), |area| {
        let top = gpus_max(scene, number) * 1.1;
        let mut chart = over_time(area, &scene.clock, ("GPUs", top), 6)?;
        let held = steps(columns, |c| c.held[number]);
        let due = steps(columns, |c| c.entitled[number].max(c.held[number]));
        let missing = due.into_iter().chain(held.iter().copied().rev());
        let missing: Vec<(f64, f64)> = missing.collect();
        chart
            .draw_series([Polygon::new(missing, HATCH.filled())])
            .map_err(fault)?;
        let colour = scene.cast.colours()[number];
        let area = AreaSeries::new(held, 0.0, colour.mix(0.75));
        chart.draw_series(area).map_err(fault)?;
        let entitled = steps(columns, |c| c.entitled[number]);
        let line = LineSeries::new(entitled, INK.stroke_width(2));
        chart.draw_series(line).map_err(fault)?;
        Ok(())
    })
}

/// One axis for all orders, so that they compare.
fn gpus_max(scene: &Scene<'_>, number: usize) -> f64 {
    let most = |c: &Column| c.held[number].max(c.entitled[number]);
    scene.columns.iter().flatten().map(most).fold(1.0, f64::max)
}
