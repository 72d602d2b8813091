//! Reports as CSV (RFC 4180), with exact amounts.

use csv::{Terminator, WriterBuilder};

use crate::account::{Books, Who};
use crate::bill::{Kind, Line};
use crate::fleet;
use crate::money::exact;
use crate::period::rfc3339;
use crate::record::{Hold, Why};
use crate::totals::{Sum, exact_gpu_hours};

use super::Error;

/// A row for each account.
pub(super) fn accounts(books: &Books<'_>, everybody: &[Who]) -> Result<String, Error> {
    let mut rows = Vec::new();
    for who in everybody {
        let account = books.account(who);
        let name = match who {
            Who::Tenant(name) | Who::CostCenter(name) => name.clone(),
            Who::Fleet => String::new(),
        };
        let optional = |micros: Option<i128>| micros.map(exact).unwrap_or_default();
        let budget = account.budget;
        rows.push(vec![
            name,
            text(&account.name),
            rfc3339(books.bill.period.from_ms),
            rfc3339(books.bill.period.until_ms),
            books.bill.currency.clone(),
            exact(account.sum.micros),
            exact(account.sum.held_micros),
            optional(account.before_micros),
            optional(budget.map(|budget| budget.budget_micros.into())),
            budget
                .and_then(|budget| budget.percent())
                .map(|percent| percent.to_string())
                .unwrap_or_default(),
            optional(account.forecast_micros),
            exact_gpu_hours(account.sum.held),
            account
                .sum
                .busy_milli()
                .map(|busy| busy.to_string())
                .unwrap_or_default(),
            exact_gpu_hours(account.sum.measured),
            exact_gpu_hours(account.sum.preempted),
            account.borrowed.map(exact_gpu_hours).unwrap_or_default(),
            exact_gpu_hours(account.sum.estimated),
        ]);
    }
    table(&ACCOUNTS, rows)
}

const ACCOUNTS: [&str; 17] = [
    "name",
    "display_name",
    "from",
    "until",
    "currency",
    "cost",
    "cost_of_gpus",
    "cost_before",
    "budget",
    "budget_percent",
    "forecast",
    "gpu_hours",
    "busy_thousandths",
    "gpu_hours_measured",
    "gpu_hours_preempted",
    "gpu_hours_borrowed",
    "gpu_hours_estimated",
];

/// A row for each name that lines were added up by.
pub(super) fn totals(title: &str, rows: &[(String, Sum)], currency: &str) -> Result<String, Error> {
    let titles = [
        title,
        "gpu_hours",
        "idle_gpu_hours",
        "busy_thousandths",
        "cost",
        "currency",
    ];
    let row = |(name, sum): &(String, Sum)| {
        let busy = sum
            .busy_milli()
            .map(|busy| busy.to_string())
            .unwrap_or_default();
        let [held, idle] = [sum.held, sum.idle].map(exact_gpu_hours);
        vec![
            text(name),
            held,
            idle,
            busy,
            exact(sum.micros),
            currency.to_owned(),
        ]
    };
    table(&titles, rows.iter().map(row))
}

/// A row for each line of the bill.
pub(super) fn lines(books: &Books<'_>) -> Result<String, Error> {
    table(&LINES, books.bill.lines.iter().map(|line| row(books, line)))
}

const LINES: [&str; 24] = [
    "for",
    "what",
    "tenant",
    "environment",
    "namespace",
    "user",
    "cost_center",
    "department",
    "kind",
    "job",
    "node",
    "model",
    "pool",
    "mode",
    "priority_class",
    "gpus_thousandths",
    "from",
    "until",
    "gpu_hours",
    "cost",
    "currency",
    "busy_thousandths",
    "ended",
    "end_estimated",
];

fn row(books: &Books<'_>, line: &Line) -> Vec<String> {
    let hold = match line.kind {
        Kind::Held(index) => books.extract.holds.get(index),
        _ => None,
    };
    let (class, what) = match &line.kind {
        Kind::Held(_) => ("held", ""),
        Kind::Idle => ("idle", ""),
        Kind::Discount => ("discount", ""),
        Kind::Service(name) => ("service", name.as_str()),
        Kind::Fixed(name) => ("fixed", name.as_str()),
    };
    let payer = &line.payer;
    let period = hold.map_or(books.bill.period, |hold| {
        fleet::held(hold, books.bill.period)
    });
    let of = |part: fn(&Hold) -> String| hold.map(part).unwrap_or_default();
    vec![
        class.to_owned(),
        what.to_owned(),
        line.tenant().unwrap_or_default().to_owned(),
        text(&payer.environment),
        text(&payer.namespace),
        text(&payer.user),
        text(&payer.cost_center),
        text(&payer.department),
        of(|hold| hold.kind.clone()),
        of(|hold| hold.job.clone()),
        of(|hold| hold.id.node.clone()),
        line.model.clone(),
        line.pool.clone(),
        of(|hold| hold.mode.clone()),
        of(|hold| hold.priority_class.clone()),
        of(|hold| hold.gpu_milli.to_string()),
        rfc3339(period.from_ms),
        rfc3339(period.until_ms),
        exact_gpu_hours(line.gpu_time),
        exact(line.micros),
        books.bill.currency.clone(),
        of(|hold| {
            hold.busy_milli
                .map(|busy| busy.to_string())
                .unwrap_or_default()
        }),
        of(|hold| {
            hold.end
                .map(|end| why(end.why).to_owned())
                .unwrap_or_default()
        }),
        of(|hold| {
            hold.end
                .map(|end| end.estimated.to_string())
                .unwrap_or_default()
        }),
    ]
}

/// A name, which no spreadsheet is to take for a formula.
fn text(name: &str) -> String {
    match name.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{name}"),
        false => name.to_owned(),
    }
}

const fn why(why: Why) -> &'static str {
    match why {
        Why::Finished => "finished",
        Why::Preempted => "preempted",
        Why::Requeued => "requeued",
        Why::Withdrawn => "withdrawn",
        Why::Unknown => "unknown",
    }
}

fn table(titles: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<String, Error> {
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(titles)?;
    for row in rows {
        writer.write_record(row)?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
