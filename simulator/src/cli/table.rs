//! The numbers of a summary as an aligned table for a terminal.

use crate::pricing::Priced;
use crate::report::words::{gpu_hours, money, percent, span};
use crate::summary::{Group, OrderSummary, Summary};

/// One line for each order and tenant, with a line for all of an order, and one for each job
/// that did not end.
pub(super) fn table(summary: &Summary) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    for order in &summary.orders {
        for tenant in &order.tenants {
            rows.push(row(order, &tenant.tenant, &tenant.group));
        }
        rows.push(row(order, "(all)", &order.all));
    }
    let mut text = aligned(&rows);
    for order in &summary.orders {
        text.push_str(&notes(order));
    }
    text
}

const HEADER: [&str; 7] = [
    "ORDER",
    "TENANT",
    "JOBS",
    "WAIT P50",
    "WAIT P95",
    "GPU-HOURS",
    "DEFICIT",
];

/// Names stand on the left, numbers on the right.
const NAMES: usize = 2;

fn row(order: &OrderSummary, name: &str, group: &Group) -> [String; 7] {
    let wait = |of: fn(&crate::metrics::Distribution) -> u64| {
        group
            .wait_ms
            .as_ref()
            .map_or_else(|| "-".to_owned(), |w| span(of(w)))
    };
    [
        order.order.to_owned(),
        name.to_owned(),
        group.jobs.to_string(),
        wait(|w| w.p50),
        wait(|w| w.p95),
        gpu_hours(group.gpu_hours),
        gpu_hours(group.deficit_gpu_hours),
    ]
}

fn notes(order: &OrderSummary) -> String {
    let makespan = order.makespan_ms.map_or_else(|| "-".to_owned(), span);
    let waiting = order.allocation_ratio_while_waiting;
    let busy = waiting.map_or_else(String::new, |ratio| {
        format!(
            ", {} of the GPUs allocated while jobs waited",
            percent(ratio)
        )
    });
    let mut text = format!("\n{}: makespan {makespan}{busy}\n", order.order);
    if let Some(priced) = &order.priced {
        text.push_str(&costs(priced));
    }
    for job in order.unfinished.iter().take(UNFINISHED_MAX) {
        let why = job.reason.as_deref().unwrap_or("still runs at the end");
        text.push_str(&format!("  unfinished: {}: {why}\n", job.job));
    }
    match order.unfinished.len().checked_sub(UNFINISHED_MAX) {
        Some(more @ 1..) => text + &format!("  and {more} more; all are in summary.json\n"),
        _ => text,
    }
}

/// What a run costs, and who owes it.
fn costs(priced: &Priced) -> String {
    let currency = &priced.currency;
    let mut text = format!(
        "  costs {} {currency}: {} held, of which {} lost; {} nobody's\n",
        money(priced.total),
        money(priced.held),
        money(priced.lost),
        money(priced.nobody)
    );
    for tenant in &priced.tenants {
        let (cost, lost) = (money(tenant.cost), money(tenant.lost));
        text.push_str(&format!(
            "  {}: {cost} {currency}, of which {lost} lost\n",
            tenant.tenant
        ));
    }
    text
}

const UNFINISHED_MAX: usize = 10;

pub(super) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let cell = |column: usize, text: &String| match (column < NAMES, widths[column]) {
        (true, width) => format!("{text:<width$}"),
        (false, width) => format!("{text:>width$}"),
    };
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().enumerate().map(|(c, t)| cell(c, t)).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
