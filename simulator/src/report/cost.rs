//! Where the GPU-hours went, and the money: used, lost and idle.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axes::number;
use super::canvas::{self, TEXT, WIDE, fault, text};
use super::palette::{DOWN, HATCH, IDLE, INK};
use super::scene::Scene;
use super::words::{amount, money, percent};
use super::{ReportError, table::Table};
use crate::fairness::hours;
use crate::metrics::float;
use crate::run::Run;
use crate::summary::OrderSummary;

/// What jobs of one tenant, or nobody, took.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    hours: f64,
    lost: f64,
    cost: f64,
    cost_lost: f64,
}

const BAR: u32 = 34;

/// A bar for each order.
pub(super) fn bars(scene: &Scene<'_>) -> Result<String, ReportError> {
    let orders = &scene.report.summary.orders;
    let rows = u32::try_from(orders.len()).unwrap_or(1);
    let most = orders.iter().map(|o| o.gpu_hours.fleet);
    let most = most.fold(0.01, f64::max);
    let title = "GPU-hours of each order: used by each tenant, lost, idle, and of nodes down";
    canvas::inline(title, (WIDE, rows * BAR + TEXT * 5 / 2 + 12), |area| {
        let (left, right) = area.split_horizontally(90);
        let mut chart = ChartBuilder::on(&right)
            .margin(6)
            .margin_right(26)
            .x_label_area_size(TEXT * 5 / 2)
            .build_cartesian_2d(0.0..most, float(rows.into())..0.0)
            .map_err(fault)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(INK.mix(0.0))
            .bold_line_style(INK.mix(0.15))
            .axis_style(INK.mix(0.6))
            .label_style(text(TEXT))
            .axis_desc_style(text(TEXT))
            .x_labels(8)
            .x_desc("GPU-hours")
            .x_label_formatter(&|hours| number(*hours))
            .draw()
            .map_err(fault)?;
        for ((row, name, run), order) in scene.runs().zip(orders) {
            let mut from = 0.0;
            let top = float(row as u128);
            for (hours, fill) in segments(scene, run, order) {
                let corners = [(from, top + 0.15), (from + hours, top + 0.85)];
                chart
                    .draw_series([Rectangle::new(corners, fill)])
                    .map_err(fault)?;
                from += hours;
            }
            let middle = 6 + i32::try_from(row as u32 * BAR + BAR / 2).unwrap_or(0);
            let style = text(TEXT).pos(Pos::new(HPos::Right, VPos::Center));
            left.draw(&Text::new(name, (84, middle), style))
                .map_err(fault)?;
        }
        Ok(())
    })
}

fn segments(scene: &Scene<'_>, run: &Run, order: &OrderSummary) -> Vec<(f64, ShapeStyle)> {
    let parts = parts(scene, run);
    let lost: f64 = parts.iter().map(|part| part.lost).sum();
    let used = parts.iter().zip(scene.cast.colours());
    let mut segments: Vec<(f64, ShapeStyle)> = used
        .map(|(part, colour)| (part.hours - part.lost, colour.mix(0.85).filled()))
        .collect();
    segments.push((lost, HATCH.filled()));
    segments.push((idle(order), IDLE[0].filled()));
    segments.push((order.gpu_hours.down, DOWN.mix(0.9).filled()));
    segments.retain(|(hours, _)| *hours > 0.0);
    segments
}

/// A row for each tenant under each order, and for what nobody held.
pub(super) fn table(scene: &Scene<'_>) -> Table {
    let priced = scene.report.summary.orders.iter().any(|o| o.cost.is_some());
    let mut header = vec![
        "Order",
        "Tenant",
        "GPU-hours",
        "Of that lost",
        "Part of all",
    ];
    if priced {
        header.extend(["Cost", "Of that lost"]);
    }
    let mut table = Table::new("GPU-hours and what they cost, by tenant", &header);
    for ((_, name, run), order) in scene.runs().zip(&scene.report.summary.orders) {
        let mut rows: Vec<(String, Part)> = scene
            .cast
            .names()
            .iter()
            .cloned()
            .zip(parts(scene, run))
            .collect();
        rows.extend(nobody(order));
        for (tenant, part) in rows {
            let fleet = order.gpu_hours.fleet.max(f64::MIN_POSITIVE);
            let mut row = vec![
                name.to_owned(),
                tenant,
                amount(part.hours),
                amount(part.lost),
                percent(part.hours / fleet),
            ];
            if priced {
                row.extend([money(part.cost), money(part.cost_lost)]);
            }
            table.push(row);
        }
        let all = order.gpu_hours;
        let mut total = vec![
            name.to_owned(),
            "all".to_owned(),
            amount(all.fleet),
            amount(all.lost),
            percent(1.0),
        ];
        if priced {
            let cost = order
                .cost
                .map_or((0.0, 0.0), |cost| (cost.total, cost.lost));
            total.extend([money(cost.0), money(cost.1)]);
        }
        table.total(total);
    }
    table
}

/// A row for each tenant under each order at the prices of a price file; empty without one.
pub(super) fn priced(scene: &Scene<'_>) -> Table {
    let orders = &scene.report.summary.orders;
    let currency = orders
        .iter()
        .find_map(|order| Some(order.priced.as_ref()?.currency.as_str()));
    let caption = format!("The bill, in {}", currency.unwrap_or_default());
    let header = ["Order", "Tenant", "Used", "Lost", "Shared out", "Cost"];
    let mut table = Table::new(&caption, &header);
    for ((_, name, _), order) in scene.runs().zip(orders) {
        let Some(priced) = &order.priced else {
            continue;
        };
        let mut row = |tenant: &str, amounts: [f64; 4]| {
            let words = [name.to_owned(), tenant.to_owned()];
            table.push(words.into_iter().chain(amounts.map(money)).collect());
        };
        for tenant in &priced.tenants {
            let amounts = [tenant.used, tenant.lost, tenant.shared, tenant.cost];
            row(&tenant.tenant, amounts);
        }
        row(
            "nobody: idle, and discounts",
            [0.0, 0.0, 0.0, priced.nobody],
        );
        let shared = priced.tenants.iter().map(|tenant| tenant.shared).sum();
        let all = [priced.held - priced.lost, priced.lost, shared, priced.total].map(money);
        table.total(
            [name.to_owned(), "all".to_owned()]
                .into_iter()
                .chain(all)
                .collect(),
        );
    }
    table
}

fn idle(order: &OrderSummary) -> f64 {
    let all = &order.gpu_hours;
    all.idle_unwanted + all.idle_no_fit + all.idle_quota + all.idle_kept
}

fn nobody(order: &OrderSummary) -> Vec<(String, Part)> {
    let idle = Part {
        hours: idle(order) + order.gpu_hours.down,
        cost: order.cost.map_or(0.0, |cost| cost.idle),
        ..Part::default()
    };
    let name = match order.gpu_hours.down > 0.0 {
        true => "idle or down",
        false => "idle",
    };
    vec![(name.to_owned(), idle)]
}

fn parts(scene: &Scene<'_>, run: &Run) -> Vec<Part> {
    let mut parts = vec![Part::default(); scene.cast.len()];
    let gpu_hours = |milli_ms: u128| {
        let second = hours(std::time::Duration::from_secs(1));
        float(milli_ms) / 1_000_000.0 * second
    };
    for fate in &run.jobs {
        let part = &mut parts[scene.cast.number(&fate.job.tenant)];
        part.hours += gpu_hours(fate.gpu);
        part.lost += gpu_hours(fate.gpu_lost);
        part.cost += fate.cost.0;
        part.cost_lost += fate.cost.1;
    }
    parts
}
