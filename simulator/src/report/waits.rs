//! The chart of waits per tenant: from the median to p95, the orders side by side.

use plotters::coord::combinators::BindKeyPoints as _;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{self, INK, colour, css, fault, text};
use super::words::span;
use super::{Report, ReportError};
use crate::metrics::{Distribution, float};

/// Minutes that the axis names: from one to a week.
const TICKS: [f64; 9] = [1.0, 5.0, 15.0, 60.0, 240.0, 720.0, 1440.0, 2880.0, 10_080.0];
const ROW: u32 = 24;
const SMALL: u32 = 15;

/// For the page. Waits below a minute stand at one minute.
pub(super) fn inline(report: &Report<'_>) -> Result<String, ReportError> {
    let orders = report.summary.orders.len();
    let tenants = report.scenario.tenants.len();
    let rows = u32::try_from(tenants * (orders + 1)).unwrap_or(1);
    let title = "Wait per tenant, from the median to the 95th percentile, under each order";
    canvas::inline(title, (960, 70 + ROW * rows), |area| {
        let (left, right) = area.split_horizontally(130);
        let height = f64::from(rows);
        let minutes_max = minutes_max(report);
        let mut chart = ChartBuilder::on(&right)
            .margin(8)
            .margin_right(40)
            .x_label_area_size(44)
            .build_cartesian_2d(
                (1.0..minutes_max)
                    .log_scale()
                    .with_key_points(TICKS.to_vec()),
                height..0.0,
            )
            .map_err(fault)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(INK.mix(0.0))
            .bold_line_style(INK.mix(0.15))
            .axis_style(INK.mix(0.6))
            .label_style(text(SMALL))
            .axis_desc_style(text(SMALL))
            .x_labels(TICKS.len())
            .x_desc("wait from submission to start (logarithmic)")
            .x_label_formatter(&|m| tick(*m))
            .draw()
            .map_err(fault)?;
        for (tenant, name) in report.tenants() {
            for (number, order) in report.summary.orders.iter().enumerate() {
                let row = tenant * (orders + 1) + number;
                let y = float(row as u128) + 1.0;
                if let Some(wait) = &order.tenants[tenant].group.wait_ms {
                    let (line, dot) = (
                        bar(wait, order.order, y),
                        Circle::new((minutes(wait.p50), y), 6, shade(order.order).filled()),
                    );
                    chart.draw_series([line]).map_err(fault)?;
                    chart.draw_series([dot]).map_err(fault)?;
                    let label = label(order.order, wait, (y, minutes_max));
                    chart.draw_series([label]).map_err(fault)?;
                }
            }
            let middle = tenant * (orders + 1) * 2 + orders + 1;
            let y = 8 + i32::try_from(middle).unwrap_or(0) * i32::try_from(ROW / 2).unwrap_or(0);
            let style = text(16).pos(Pos::new(HPos::Right, VPos::Center));
            left.draw(&Text::new(name.to_owned(), (120, y), style))
                .map_err(fault)?;
        }
        Ok(())
    })
}

/// What an order is drawn with, for the legend.
pub(super) fn swatch(order: &str) -> String {
    css(shade(order))
}

/// From the median to p95.
fn bar(wait: &Distribution, order: &str, y: f64) -> PathElement<(f64, f64)> {
    let (p50, p95) = (minutes(wait.p50), minutes(wait.p95));
    // Where both are the same there is still a bar to be seen.
    PathElement::new(
        [(p50, y), (p95.max(p50 * 1.01), y)],
        shade(order).stroke_width(7),
    )
}

/// Says beside the bar what it is, on the side that has more room.
fn label(
    order: &str,
    wait: &Distribution,
    (y, minutes_max): (f64, f64),
) -> Text<'static, (f64, f64), String> {
    let words = format!("{order}: median {}, p95 {}", span(wait.p50), span(wait.p95));
    let (p50, p95) = (minutes(wait.p50), minutes(wait.p95));
    let left = p50 > minutes_max / p95;
    let (x, side) = if left {
        (p50 / 1.15, HPos::Right)
    } else {
        (p95 * 1.07, HPos::Left)
    };
    let style = text(SMALL).pos(Pos::new(side, VPos::Center));
    Text::new(words, (x, y), style)
}

/// An order has its colour in every report; fifo, which others are compared with, is grey.
fn shade(order: &str) -> RGBColor {
    match order {
        "fifo" => colour(7),
        "drf" => colour(5),
        _ => colour(2),
    }
}

fn minutes(ms: u64) -> f64 {
    (float(ms.into()) / 60_000.0).max(1.0)
}

fn minutes_max(report: &Report<'_>) -> f64 {
    let tenants = report
        .summary
        .orders
        .iter()
        .flat_map(|order| &order.tenants);
    let p95 = tenants.filter_map(|t| Some(minutes(t.group.wait_ms.as_ref()?.p95)));
    let most = p95.fold(60.0, f64::max) * 1.1;
    TICKS.into_iter().find(|tick| *tick >= most).unwrap_or(most)
}

fn tick(minutes: f64) -> String {
    match minutes {
        1.0 => "≤ 1 min".to_owned(),
        m if m < 60.0 => format!("{m} min"),
        m if m < 1440.0 => format!("{} h", m / 60.0),
        m => format!("{} d", m / 1440.0),
    }
}
