//! The table of tenants and priorities, and the tiles.

use super::Report;
use super::scene::Scene;
use super::table::Table;
use super::verdict::{Loudest, loudest, waits_of_others};
use super::words::{amount, grouped, money, percent, span};
use crate::summary::{Group, OrderSummary};

/// Rows of the table; a trace may have thousands of tenants.
const ROWS_MAX: usize = 240;

/// One measure under each order.
pub(super) struct Tile {
    pub(super) label: String,
    pub(super) values: Vec<(String, String)>,
}

/// What is measured, and how it reads under an order.
type Measure<'a> = (&'a str, &'a dyn Fn(&OrderSummary) -> Option<String>);

pub(super) fn tiles(report: &Report<'_>) -> Vec<Tile> {
    let measures: [Measure<'_>; 12] = [
        ("p50 wait", &|o| Some(span(o.all.wait_ms?.p50))),
        ("p95 wait", &|o| Some(span(o.all.wait_ms?.p95))),
        ("longest wait", &|o| Some(span(o.all.wait_ms?.max))),
        ("utilisation", &|o| Some(percent(o.utilisation))),
        ("GPUs allocated", &|o| Some(percent(o.allocation_ratio))),
        ("GPUs allocated while jobs waited", &|o| {
            o.allocation_ratio_while_waiting.map(percent)
        }),
        ("idle GPUs lost to fragmentation", &|o| {
            o.fragmentation_ratio.map(percent)
        }),
        ("preemptions per 100 jobs", &|o| {
            Some(format!("{:.1}", o.all.evictions_per_100_jobs))
        }),
        ("Jain index", &|o| Some(format!("{:.2}", o.jain_index?))),
        ("deficit, GPU-hours", &|o| {
            Some(amount(o.all.deficit_gpu_hours))
        }),
        ("makespan", &|o| o.makespan_ms.map(span)),
        ("cost (of that idle)", &|o| {
            let cost = o.cost?;
            Some(format!("{} ({})", money(cost.total), money(cost.idle)))
        }),
    ];
    let of = |(label, value): Measure<'_>| Tile {
        label: label.to_owned(),
        values: report
            .summary
            .orders
            .iter()
            .map(|order| cell(order, value(order)))
            .collect(),
    };
    let known = |tile: &Tile| tile.values.iter().any(|(_, value)| value != "–");
    let compares = report.runs.len() > 1;
    let loudest = loudest(report).filter(|_| compares);
    let others = loudest.map(|loudest| others(report, &loudest));
    let measured = measures.into_iter().map(of).filter(known);
    others.into_iter().chain(measured).collect()
}

fn others(report: &Report<'_>, loudest: &Loudest) -> Tile {
    let orders = report.summary.orders.iter().zip(report.runs);
    let value = |(order, run)| {
        let waits = waits_of_others(report, run, loudest);
        cell(order, waits.map(|waits| span(waits.p95)))
    };
    Tile {
        label: format!(
            "p95 wait of all but {}",
            report.scenario.tenants[loudest.tenant].id
        ),
        values: orders.map(value).collect(),
    }
}

fn cell(order: &OrderSummary, value: Option<String>) -> (String, String) {
    (order.order.to_owned(), value.unwrap_or_else(dash))
}

fn dash() -> String {
    "–".to_owned()
}

/// Each tenant and priority, the orders below each other.
pub(super) fn table(scene: &Scene<'_>) -> Table {
    let header = [
        "Tenant",
        "Priority",
        "Order",
        "Jobs done",
        "Wait p50",
        "Wait p95",
        "Longest wait",
        "Completion p50",
        "Slowdown",
        "GPU-hours",
        "Deficit",
        "Preempted",
    ];
    let mut table = Table::new(
        "Waits, completion and what was due, by tenant and priority",
        &header,
    );
    table.words = 3;
    let orders = &scene.report.summary.orders;
    let Some(first) = orders.first() else {
        return table;
    };
    for (place, tenant) in first.tenants.iter().enumerate() {
        let of = |number: usize| &first.priorities[number];
        let own = (0..first.priorities.len()).filter(|i| of(*i).tenant == tenant.tenant);
        let own: Vec<usize> = own.collect();
        if tenant.group.jobs == 0 {
            continue;
        }
        let name = match own.is_empty() {
            true => format!("{} and below", tenant.tenant),
            false => tenant.tenant.clone(),
        };
        let only = own.first().filter(|_| own.len() == 1);
        let priority = only.map_or_else(|| "all".to_owned(), |i| named(scene, of(*i).priority));
        let title = [name.clone(), priority];
        for order in orders {
            let group = &order.tenants[place].group;
            table.push(row(title.clone(), order, group, true));
        }
        for number in own.iter().filter(|_| own.len() > 1) {
            let title = [name.clone(), named(scene, of(*number).priority)];
            for order in orders {
                let group = &order.priorities[*number].group;
                table.push(row(title.clone(), order, group, false));
            }
        }
    }
    let left_out = table.rows.len().saturating_sub(ROWS_MAX);
    table.rows.truncate(ROWS_MAX);
    if left_out > 0 {
        table.note = format!("And {left_out} more rows, all in summary.json.");
    }
    for order in orders {
        let title = ["all".to_owned(), "all".to_owned()];
        table.total(row(title, order, &order.all, true));
    }
    table
}

/// A priority by its class, where it has one: `high (1000)`.
fn named(scene: &Scene<'_>, priority: i32) -> String {
    let classes = scene.report.scenario.classes.iter();
    let class = classes.clone().find(|(_, value)| **value == priority);
    class.map_or_else(
        || priority.to_string(),
        |(name, _)| format!("{name} ({priority})"),
    )
}

fn row(title: [String; 2], order: &OrderSummary, group: &Group, has_deficit: bool) -> Vec<String> {
    let wait = |of: fn(&crate::metrics::Distribution) -> u64| {
        group.wait_ms.as_ref().map_or_else(dash, |w| span(of(w)))
    };
    let [tenant, priority] = title;
    vec![
        tenant,
        priority,
        order.order.to_owned(),
        grouped(&group.finished.to_string()) + " / " + &grouped(&group.jobs.to_string()),
        wait(|w| w.p50),
        wait(|w| w.p95),
        wait(|w| w.max),
        group.jct_ms.as_ref().map_or_else(dash, |jct| span(jct.p50)),
        group
            .bounded_slowdown_mean
            .map_or_else(dash, |s| grouped(&format!("{s:.1}"))),
        amount(group.gpu_hours),
        match has_deficit {
            true => amount(group.deficit_gpu_hours),
            false => dash(),
        },
        grouped(&group.evictions.to_string()),
    ]
}
