//! What stands on a page, for its template.

use askama::Template;

use super::chart::Chart;
use super::words;
use crate::account::{Account, Books, Who, days};
use crate::advice::Advice;
use crate::bill::GPU_HOUR;
use crate::fleet;
use crate::money::{self, rounded};
use crate::period::{Period, moment};
use crate::price::{Price, Rate};
use crate::totals::{By, Sum, coverage_milli, gpu_hours, percent, totals};

/// How many jobs and users are listed.
const TOP: usize = 10;

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

/// A number and what it is.
struct Tile {
    label: String,
    value: String,
    note: String,
    /// Thousandths of a bar below it.
    filled: Option<u128>,
}

/// Rows below titles; the first column is words, the others are numbers.
#[derive(Default)]
struct Table {
    caption: String,
    titles: Vec<&'static str>,
    /// Each with a link of its first cell, where it has one.
    rows: Vec<(Option<String>, Vec<String>)>,
    total: Vec<String>,
    /// How many columns at the left are words.
    words: usize,
}

/// The name of somebody's page.
pub(super) fn file(who: &Who) -> String {
    let plain = |name: &str| -> String {
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
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
        let worth = |advice: &Advice| if advice.micros > 0 { money(advice.micros) } else { String::new() };
        let advice = account.advice.iter().take(TOP).map(|a| (a.clone(), worth(a))).collect();
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
                Who::Fleet => books.file.owned.iter().map(|(name, owned)| (name.clone(), owned.arithmetic())).collect(),
                _ => Vec::new(),
            },
            method: words::method(books),
        }
    }
}

/// The whole in a sentence.
fn verdict(books: &Books<'_>, account: &Account) -> String {
    let currency = &books.bill.currency;
    let mut text = format!("{} {currency}", rounded(account.sum.micros));
    if books.bill.period.until_ms < books.period().until_ms {
        text += &format!(" until {}", moment(books.bill.period.until_ms));
    }
    if let Some((before, label)) = account.before_micros.zip(before(books)) {
        text += &match account.sum.micros - before {
            0 => format!(", as much as in {label}"),
            more if more > 0 => format!(", {} more than the {} of {label}", rounded(more), rounded(before)),
            less => format!(", {} less than the {} of {label}", rounded(-less), rounded(before)),
        };
    }
    if let Some(percent) = account.budget.and_then(|budget| budget.percent()) {
        text += &format!(": {percent} % of the budget");
    }
    if let Some(other) = &account.other_currency {
        text += &format!(". The budget is in {other}, so it is not compared");
    }
    text + "."
}

fn before(books: &Books<'_>) -> Option<String> {
    books.before.map(|(extract, _)| Period { from_ms: extract.from_ms, until_ms: extract.until_ms }.to_string())
}

fn tiles(books: &Books<'_>, account: &Account) -> Vec<Tile> {
    let currency = &books.bill.currency;
    let mut tiles = vec![Tile::new("Total", format!("{} {currency}", rounded(account.sum.micros)), String::new())];
    if let Some((before, label)) = account.before_micros.zip(before(books)) {
        tiles.push(Tile::new("Before", format!("{} {currency}", rounded(before)), label));
    }
    if let Some(budget) = &account.budget {
        let filled = budget.percent().and_then(|percent| u128::try_from(percent * 10).ok());
        let value = budget.percent().map_or_else(|| "-".to_owned(), |percent| format!("{percent} %"));
        let note = format!("of {} {currency}", rounded(budget.budget_micros.into()));
        tiles.push(Tile { filled, ..Tile::new("Budget", value, note) });
    }
    if let Some(forecast) = account.forecast_micros {
        let note = account.budget.and_then(|budget| budget.forecast_percent());
        let note = note.map_or_else(|| "if it goes on like this".to_owned(), |percent| format!("{percent} % of the budget"));
        tiles.push(Tile::new("Forecast", format!("{} {currency}", rounded(forecast)), note));
    }
    tiles.push(Tile::new("GPU-hours held", gpu_hours(account.sum.held), String::new()));
    tiles.push(busy(&account.sum));
    match account.who {
        Who::Fleet => tiles.extend(of_fleet(books, &account.sum)),
        _ => tiles.extend(of_somebody(account)),
    }
    tiles
}

fn of_fleet(books: &Books<'_>, sum: &Sum) -> [Tile; 2] {
    let idle = sum.idle * 1000 / (sum.held + sum.idle).max(1);
    let coverage = coverage_milli(books.extract, books.bill);
    let idle_note = format!("{} GPU-hours that nobody held", gpu_hours(sum.idle));
    [
        Tile { filled: Some(idle), ..Tile::new("Idle", percent(idle), idle_note) },
        Tile { filled: Some(coverage), ..Tile::new("Attributed", percent(coverage), "of the time held, to tenants".to_owned()) },
    ]
}

fn of_somebody(account: &Account) -> Vec<Tile> {
    let mut tiles = Vec::new();
    if let Some(borrowed) = account.borrowed {
        tiles.push(Tile::new("Borrowed", gpu_hours(borrowed), "GPU-hours above its guarantee of today".to_owned()));
    }
    if account.sum.preempted > 0 {
        let note = format!("GPU-hours of {} holds that had to leave", account.sum.preemptions);
        tiles.push(Tile::new("Preempted", gpu_hours(account.sum.preempted), note));
    }
    tiles
}

fn busy(sum: &Sum) -> Tile {
    match sum.busy_milli() {
        None => Tile::new("Computing", "-".to_owned(), "nobody measured how busy GPUs were".to_owned()),
        Some(busy) => {
            let measured = percent(sum.measured * 1000 / sum.held.max(1));
            Tile { filled: Some(busy), ..Tile::new("Computing", percent(busy), format!("measured over {measured} of the time held")) }
        }
    }
}

impl Tile {
    fn new(label: &str, value: String, note: String) -> Self {
        Self { label: label.to_owned(), value, note, filled: None }
    }

    /// How much of its bar is filled, in percent.
    fn width(&self) -> Option<u128> {
        self.filled.map(|milli| (milli / 10).min(100))
    }
}

fn chart(books: &Books<'_>, account: &Account) -> Chart {
    if account.who != Who::Fleet {
        let units = |(day, micros): &(u64, u128)| (*day, vec![micros / u128::from(money::MICROS)]);
        let days: Vec<_> = account.days.iter().map(units).collect();
        let currency = &books.bill.currency;
        return Chart::new(&format!("{currency} for GPUs held, by day"), &["held"], currency, &days);
    }
    let free = fleet::free(books.extract, books.bill.period).unwrap_or_default();
    let of_day = |day: Period| {
        let held = books.extract.holds.iter();
        let held = held.map(|hold| u128::from(hold.gpu_milli) * u128::from(fleet::held(hold, books.bill.period).within(day).length_ms()));
        let idle = free.iter().map(|free| u128::from(free.gpu_milli) * u128::from(free.period.within(day).length_ms()));
        (day.from_ms, vec![held.sum::<u128>() / GPU_HOUR, idle.sum::<u128>() / GPU_HOUR])
    };
    let days: Vec<_> = days(books.bill.period).map(of_day).collect();
    Chart::new("GPU-hours by day", &["held", "idle"], "GPU-hours", &days)
}

fn tables(books: &Books<'_>, account: &Account) -> Vec<Table> {
    let mut tables = Vec::new();
    if account.who == Who::Fleet {
        tables.push(everybody(books, "By tenant", By::Tenant, Who::Tenant));
        tables.push(everybody(books, "By cost centre", By::CostCenter, Who::CostCenter));
    }
    tables.push(parts(account));
    if let Who::CostCenter(_) = account.who {
        let theirs = books.bill.lines.iter().filter(|line| account.who.owes(line));
        let rows = totals(books.extract, theirs, By::Tenant);
        tables.push(sums("Its tenants", &["Tenant", "GPU-hours", "Computing", "Cost"], &rows, &|name| Some(file(&Who::Tenant(name.to_owned())))));
    }
    tables.push(models(account));
    let titles = ["Job", "GPU-hours", "Computing", "Cost"];
    tables.push(sums(&top("jobs", account.jobs.len()), &titles, first(&account.jobs), &|_| None));
    let titles = ["User", "GPU-hours", "Computing", "Cost"];
    tables.push(sums(&top("users", account.users.len()), &titles, first(&account.users), &|_| None));
    tables.retain(|table| !table.rows.is_empty());
    tables
}

fn first(rows: &[(String, Sum)]) -> &[(String, Sum)] {
    rows.get(..TOP).unwrap_or(rows)
}

fn top(what: &str, all: usize) -> String {
    match all > TOP {
        true => format!("The {TOP} dearest of {all} {what}"),
        false => format!("By {}", what.trim_end_matches('s')),
    }
}

fn everybody(books: &Books<'_>, caption: &str, by: By, who: fn(String) -> Who) -> Table {
    let rows = totals(books.extract, &books.bill.lines, by);
    let link = |name: &str| (!["__idle__", "__nobody__"].contains(&name)).then(|| file(&who(name.to_owned())));
    let mut table = sums(caption, &["", "GPU-hours", "Computing", "Cost"], &rows, &link);
    let all: i128 = rows.iter().map(|(_, sum)| sum.micros).sum();
    let held: u128 = rows.iter().map(|(_, sum)| sum.held).sum();
    table.total = vec!["all".to_owned(), gpu_hours(held), String::new(), rounded(all)];
    table
}

fn sums(caption: &str, titles: &[&'static str], rows: &[(String, Sum)], link: &dyn Fn(&str) -> Option<String>) -> Table {
    let row = |(name, sum): &(String, Sum)| {
        let busy = sum.busy_milli().map_or_else(|| "-".to_owned(), percent);
        (link(name), vec![name.clone(), gpu_hours(sum.held), busy, rounded(sum.micros)])
    };
    Table { caption: caption.to_owned(), titles: titles.to_vec(), rows: rows.iter().map(row).collect(), total: Vec::new(), words: 1 }
}

/// What the total is made of.
fn parts(account: &Account) -> Table {
    let mut rows = vec![(None, vec!["GPUs that were held".to_owned(), rounded(account.sum.held_micros)])];
    rows.extend(account.others.iter().map(|(name, micros)| (None, vec![name.clone(), rounded(*micros)])));
    Table {
        caption: "What it is made of".to_owned(),
        titles: vec!["", "Cost"],
        rows,
        total: vec!["all".to_owned(), rounded(account.sum.micros)],
        words: 1,
    }
}

fn models(account: &Account) -> Table {
    let row = |(name, sum): &(String, Sum)| {
        let busy = sum.busy_milli().map_or_else(|| "-".to_owned(), percent);
        (None, vec![named(name), gpu_hours(sum.held), gpu_hours(sum.idle), busy, rounded(sum.micros)])
    };
    Table {
        caption: "By GPU model".to_owned(),
        titles: vec!["Model", "Held, GPU-hours", "Idle, GPU-hours", "Computing", "Cost"],
        rows: account.models.iter().map(row).collect(),
        total: Vec::new(),
        words: 1,
    }
}

fn named(model: &str) -> String {
    match model {
        "" => "unknown".to_owned(),
        model => model.to_owned(),
    }
}

/// The unit prices of the models that an account has, as far as they were in force.
fn prices(books: &Books<'_>, account: &Account) -> Table {
    let period = books.bill.period;
    let is_of_it = |price: &&Price| {
        let in_force = price.from_ms < period.until_ms && price.until_ms.is_none_or(|until| until > period.from_ms);
        in_force && account.models.iter().any(|(model, _)| *model == price.model)
    };
    let row = |price: &Price| {
        let rate = match price.rate {
            Rate::Hourly(micros) => money::price(micros),
            Rate::Factor(milli) => format!("× {}", money::price(u64::from(milli) * 1000)),
        };
        let any = |name: &Option<String>| name.clone().unwrap_or_else(|| "any".to_owned());
        let from = if price.from_ms == 0 { String::new() } else { moment(price.from_ms) };
        let until = price.until_ms.map(moment).unwrap_or_default();
        (None, vec![named(&price.model), any(&price.pool), any(&price.priority_class), price.source.clone(), from, until, rate])
    };
    Table {
        caption: format!("Unit prices: {} for a GPU and hour", books.bill.currency),
        titles: vec!["Model", "Pool", "PriorityClass", "Source", "From", "Until", "Price"],
        rows: books.file.prices.iter().filter(is_of_it).map(row).collect(),
        total: Vec::new(),
        words: 4,
    }
}
