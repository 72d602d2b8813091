//! A run's timeline as the columns of a chart: never so many that the file grows large.

use prorata_core::Time;

use super::ReportError;
use super::canvas::{INK, fault, text};
use crate::fairness::{Span, gpus, hours, spans};
use crate::run::Run;

/// More stretches than this are averaged into [`COLUMNS`] of equal length.
const STRETCHES_MAX: usize = 1_000;
const COLUMNS: u32 = 500;

/// What is drawn from one hour to another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) from: f64,
    pub(super) to: f64,
    /// GPUs that each tenant holds.
    pub(super) held: Vec<f64>,
    /// GPUs that each tenant is entitled to.
    pub(super) entitled: Vec<f64>,
}

pub(super) fn columns(run: &Run) -> Vec<Column> {
    let exact: Vec<Column> = spans(run).map(|span| column(&span)).collect();
    if exact.len() <= STRETCHES_MAX {
        return exact;
    }
    let (from, to) = (exact[0].from, exact[exact.len() - 1].to);
    let width = (to - from) / f64::from(COLUMNS);
    let edge = |i: u32| from + width * f64::from(i);
    let mut rest = exact.as_slice();
    (0..COLUMNS)
        .map(|i| {
            while rest.len() > 1 && rest[0].to <= edge(i) {
                rest = &rest[1..];
            }
            average(rest, edge(i), edge(i + 1))
        })
        .collect()
}

/// The outline of a value over time: two corners for each column.
pub(super) fn steps(columns: &[Column], value: impl Fn(&Column) -> f64) -> Vec<(f64, f64)> {
    let corners = |c: &Column| [(c.from, value(c)), (c.to, value(c))];
    let mut outline: Vec<(f64, f64)> = columns.iter().flat_map(corners).collect();
    outline.dedup();
    outline
}

fn column(span: &Span<'_>) -> Column {
    let from = hours(span.from.since(Time::ZERO));
    Column {
        from,
        to: from + span.hours,
        held: span.tenants.iter().map(|t| gpus(&t.held)).collect(),
        entitled: span.entitled.clone(),
    }
}

/// The mean over time from `from` to `to` of columns that cover it.
fn average(columns: &[Column], from: f64, to: f64) -> Column {
    let overlap = |c: &Column| (c.to.min(to) - c.from.max(from)).max(0.0) / (to - from);
    let covering = || columns.iter().take_while(|c| c.from < to);
    let tenants = columns[0].held.len();
    let mean = |of: fn(&Column) -> &[f64]| {
        let one = |t: usize| covering().map(|c| of(c)[t] * overlap(c)).sum();
        (0..tenants).map(one).collect()
    };
    Column {
        from,
        to,
        held: mean(|c| &c.held),
        entitled: mean(|c| &c.entitled),
    }
}

/// Axes of hours and GPUs.
pub(super) fn axes<'a, 'b>(
    area: &'a super::canvas::Area<'b>,
    (hours, gpus): (f64, f64),
    (size, labels): (u32, usize),
) -> Result<Chart<'a, 'b>, ReportError> {
    let mut chart = plotters::prelude::ChartBuilder::on(area)
        .margin(6)
        .margin_right(14)
        .x_label_area_size(size * 3)
        .y_label_area_size(size * 4)
        .build_cartesian_2d(0.0..hours, 0.0..gpus)
        .map_err(fault)?;
    use plotters::prelude::Color as _;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(INK.mix(0.0))
        .bold_line_style(INK.mix(0.15))
        .axis_style(INK.mix(0.6))
        .label_style(text(size))
        .axis_desc_style(text(size))
        .x_labels(labels * 2)
        .y_labels(labels)
        .x_desc("hours since the beginning")
        .y_desc("GPUs")
        .x_label_formatter(&|hours| format!("{hours}"))
        .y_label_formatter(&|gpus| format!("{gpus:.0}"))
        .draw()
        .map_err(fault)?;
    Ok(chart)
}

/// A chart over time.
pub(super) type Chart<'a, 'b> = plotters::prelude::ChartContext<
    'a,
    plotters::prelude::SVGBackend<'b>,
    plotters::prelude::Cartesian2d<
        plotters::coord::types::RangedCoordf64,
        plotters::coord::types::RangedCoordf64,
    >,
>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_over_what_a_column_covers() {
        let column = |from, to, held| Column {
            from,
            to,
            held: vec![held],
            entitled: vec![0.0],
        };
        let exact = [column(0.0, 1.0, 4.0), column(1.0, 4.0, 8.0)];
        assert_eq!(average(&exact, 0.0, 2.0).held, [6.0]);
        assert_eq!(average(&exact[1..], 2.0, 4.0).held, [8.0]);
    }
}
