//! What stands on a page, for its template.

use askama::Template;

use super::chart::Chart;
use super::tables::{Table, prices, tables};
use super::tiles::{Tile, before, tiles};
use super::words;
use crate::account::{Account, Books, Who, days};
use crate::advice::Advice;
use crate::bill::GPU_HOUR;
use crate::fleet;
use crate::money::{self, rounded};
use crate::period::{Period, moment};

/// So much advice is given.
const ADVICE: usize = 10;

#[derive(Template)]
#[template(path = "report.html")]
pub(super) struct Page {
    title: String,
    period: String,
    kind: &'static str,
    verdict: String,
    is_fleet: bool,
    tiles: Vec<Tile>,
    chart: Chart,
    tables: Vec<Table>,
    advice: Vec<(Advice, String)>,
    prices: Table,
    arithmetic: Vec<(String, Vec<String>)>,
    method: Vec<String>,
}

/// The name of somebody's page.
pub(super) fn file(who: &Who) -> String {
    let plain = |name: &str| -> String {
        name.chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                    c
                } else {
                    '_'
                }
            })
            .collect()
    };
    match who {
        Who::Fleet => "index.html".to_owned(),
        Who::Tenant(name) => format!("tenant-{}.html", plain(name)),
        Who::CostCenter(name) => format!("cost-center-{}.html", plain(name)),
    }
}

impl Page {
    pub(super) fn of(books: &Books<'_>, who: &Who) -> Self {
        let account = books.account(who);
        let money = |micros: i128| format!("{} {}", rounded(micros), books.bill.currency);
        let worth = |advice: &Advice| {
            if advice.micros > 0 {
                money(advice.micros)
            } else {
                String::new()
            }
        };
        let advice = account
            .advice
            .iter()
            .take(ADVICE)
            .map(|a| (a.clone(), worth(a)))
            .collect();
        Self {
            title: account.name.clone(),
            period: books.period().to_string(),
            kind: match who {
                Who::Fleet => "Fleet",
                Who::Tenant(_) => "Tenant",
                Who::CostCenter(_) => "Cost centre",
            },
            verdict: verdict(books, &account),
            is_fleet: *who == Who::Fleet,
            tiles: tiles(books, &account),
            chart: chart(books, &account),
            tables: tables(books, &account),
            advice,
            prices: prices(books, &account),
            arithmetic: match who {
                Who::Fleet => books
                    .file
                    .owned
                    .iter()
                    .map(|(name, owned)| (name.clone(), owned.arithmetic()))
                    .collect(),
                _ => Vec::new(),
            },
            method: words::method(books),
        }
    }
}

/// The whole in a sentence. A month that is not over is compared by what it will come to.
fn verdict(books: &Books<'_>, account: &Account) -> String {
    let currency = &books.bill.currency;
    let mut text = format!("{} {currency}", rounded(account.sum.micros));
    let is_over = books.bill.period.until_ms >= books.period().until_ms;
    let whole = if is_over {
        Some(account.sum.micros)
    } else {
        account.forecast_micros
    };
    if !is_over {
        text += &format!(" until {}", moment(books.bill.period.until_ms));
    }
    if let Some(forecast) = whole.filter(|_| !is_over) {
        text += &format!(", at this rate {} in all", rounded(forecast));
    }
    if let Some(((before, label), whole)) = account.before_micros.zip(before(books)).zip(whole) {
        text += &match whole - before {
            0 => format!(", as much as in {label}"),
            more if more > 0 => format!(", {} more than in {label}", rounded(more)),
            less => format!(", {} less than in {label}", rounded(-less)),
        };
    }
    if let Some(percent) = account.budget.and_then(|budget| budget.percent()) {
        text += &format!("; {percent} % of the budget");
    }
    if let Some(other) = &account.other_currency {
        text += &format!(". The budget is in {other}, so it is not compared");
    }
    text + "."
}

fn chart(books: &Books<'_>, account: &Account) -> Chart {
    if account.who != Who::Fleet {
        let units = |(day, micros): &(u64, u128)| (*day, vec![micros / u128::from(money::MICROS)]);
        let days: Vec<_> = account.days.iter().map(units).collect();
        let currency = &books.bill.currency;
        return Chart::new(
            &format!("{currency} for GPUs held, by day"),
            &["held"],
            currency,
            &days,
        );
    }
    let free = fleet::free(books.extract, books.bill.period).unwrap_or_default();
    let of_day = |day: Period| {
        let held = books.extract.holds.iter();
        let held = held.map(|hold| {
            u128::from(hold.gpu_milli)
                * u128::from(fleet::held(hold, books.bill.period).within(day).length_ms())
        });
        let idle = free.iter().map(|free| {
            u128::from(free.gpu_milli) * u128::from(free.period.within(day).length_ms())
        });
        (
            day.from_ms,
            vec![held.sum::<u128>() / GPU_HOUR, idle.sum::<u128>() / GPU_HOUR],
        )
    };
    let days: Vec<_> = days(books.bill.period).map(of_day).collect();
    Chart::new("GPU-hours by day", &["held", "idle"], "GPU-hours", &days)
}
