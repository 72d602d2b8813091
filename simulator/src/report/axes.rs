//! The axes that charts share: time and GPUs, and a logarithm of waits.

use plotters::coord::combinators::{BindKeyPoints as _, LogCoord, WithKeyPoints};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::ReportError;
use super::canvas::{Area, TEXT, fault, text};
use super::palette::INK;
use super::scene::Clock;

/// A chart over time.
pub(super) type OverTime<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A logarithmic axis with chosen marks.
pub(super) type Log = WithKeyPoints<LogCoord<f64>>;

/// Minutes that an axis of waits names: from one to three months.
const MINUTES: [f64; 12] = [
    1.0, 5.0, 15.0, 60.0, 240.0, 720.0, 1440.0, 2880.0, 10_080.0, 20_160.0, 43_200.0, 129_600.0,
];

/// Axes of time and `what`, up to `top`, with about so many marks of time.
pub(super) fn over_time<'a, 'b>(
    area: &'a Area<'b>,
    clock: &Clock,
    (what, top): (&str, f64),
    marks: usize,
) -> Result<OverTime<'a, 'b>, ReportError> {
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .margin_right(18)
        .x_label_area_size(TEXT * 5 / 2)
        .y_label_area_size(TEXT * 7 / 2)
        .build_cartesian_2d(0.0..clock.end, 0.0..top)
        .map_err(fault)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(INK.mix(0.0))
        .bold_line_style(INK.mix(0.15))
        .axis_style(INK.mix(0.6))
        .label_style(text(TEXT))
        .axis_desc_style(text(TEXT))
        .x_labels(marks)
        .y_labels(5)
        .x_desc(clock.label())
        .y_desc(what)
        .x_label_formatter(&|at| number(*at))
        .y_label_formatter(&|value| number(*value))
        .draw()
        .map_err(fault)?;
    Ok(chart)
}

/// The axis of time alone, above so many rows from the top down.
pub(super) fn over_time_of<'a, 'b>(
    area: &'a Area<'b>,
    clock: &Clock,
    rows: f64,
) -> Result<OverTime<'a, 'b>, ReportError> {
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .margin_right(18)
        .x_label_area_size(TEXT * 5 / 2)
        .build_cartesian_2d(0.0..clock.end, rows..0.0)
        .map_err(fault)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .disable_y_axis()
        .axis_style(INK.mix(0.6))
        .label_style(text(TEXT))
        .axis_desc_style(text(TEXT))
        .x_labels(12)
        .x_desc(clock.label())
        .x_label_formatter(&|at| number(*at))
        .draw()
        .map_err(fault)?;
    Ok(chart)
}

/// An axis of waits in minutes, up to one that is at least so long, with every so many of the
/// marks. What is shorter than a minute stands at one minute.
pub(super) fn waits(most: f64, sparse: usize) -> Log {
    let top = MINUTES.into_iter().position(|mark| mark >= most.max(15.0));
    let known = &MINUTES[..=top.unwrap_or(MINUTES.len() - 1)];
    let step = known.len().div_ceil(8 / sparse.max(1));
    let mut marks: Vec<f64> = known.iter().copied().rev().step_by(step.max(1)).collect();
    if !marks.contains(&MINUTES[0]) {
        marks.push(MINUTES[0]);
    }
    let end = most.max(known[known.len() - 1]);
    (1.0..end).log_scale().with_key_points(marks)
}

/// What a mark on it says.
pub(super) fn wait_mark(minutes: f64) -> String {
    match minutes {
        1.0 => "≤ 1 min".to_owned(),
        m if m < 60.0 => format!("{m} min"),
        m if m < 1440.0 => format!("{} h", m / 60.0),
        m => format!("{} d", m / 1440.0),
    }
}

/// As many decimals as it has, without the noise of floats.
pub(super) fn number(value: f64) -> String {
    match (value * 100.0).round() / 100.0 {
        large if large >= 10_000.0 => format!("{}k", (large / 100.0).round() / 10.0),
        small => small.to_string(),
    }
}
