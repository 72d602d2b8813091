//! Where an account's cost went, in rows.

use super::page::file;
use crate::account::{Account, Books, Who};
use crate::money::{self, rounded};
use crate::period::moment;
use crate::price::{Price, Rate};
use crate::totals::{By, IDLE, NOBODY, Sum, gpu_hours, percent, totals};

/// How many jobs and users are listed.
const TOP: usize = 10;

/// Rows below titles; the first column is words, the others are numbers.
#[derive(Default)]
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) titles: Vec<&'static str>,
    /// Each with a link of its first cell, where it has one.
    pub(super) rows: Vec<(Option<String>, Vec<String>)>,
    pub(super) total: Vec<String>,
    /// How many columns at the left are words.
    pub(super) words: usize,
}

/// Where an account's cost went.
pub(super) fn tables(books: &Books<'_>, account: &Account) -> Vec<Table> {
    let mut tables = Vec::new();
    if account.who == Who::Fleet {
        tables.push(everybody(books, "By tenant", By::Tenant, Who::Tenant));
        tables.push(everybody(
            books,
            "By cost centre",
            By::CostCenter,
            Who::CostCenter,
        ));
    }
    tables.push(parts(account));
    if let Who::CostCenter(_) = account.who {
        let theirs = books
            .bill
            .lines
            .iter()
            .filter(|line| account.who.owes(line));
        let rows = totals(books.extract, theirs, By::Tenant);
        tables.push(sums(
            "Its tenants",
            &["Tenant", "GPU-hours", "Computing", "Cost"],
            &rows,
            &|name| Some(file(&Who::Tenant(name.to_owned()))),
        ));
    }
    tables.push(models(account));
    let titles = ["Job", "GPU-hours", "Computing", "Cost"];
    tables.push(sums(
        &top("jobs", account.jobs.len()),
        &titles,
        first(&account.jobs),
        &|_| None,
    ));
    let titles = ["User", "GPU-hours", "Computing", "Cost"];
    tables.push(sums(
        &top("users", account.users.len()),
        &titles,
        first(&account.users),
        &|_| None,
    ));
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
    let is_nobody = |name: &str| [IDLE, NOBODY].contains(&name);
    let link = |name: &str| (!is_nobody(name)).then(|| file(&who(name.to_owned())));
    let mut table = sums(
        caption,
        &["", "GPU-hours", "Computing", "Cost"],
        &rows,
        &link,
    );
    for (_, row) in &mut table.rows {
        let name = match row[0].as_str() {
            IDLE => "Idle GPUs".to_owned(),
            NOBODY => "Discounts, and what nobody is there to pay".to_owned(),
            name => books.name(&who(name.to_owned())),
        };
        if name != row[0] && !is_nobody(&row[0]) {
            row[0] = format!("{name} ({})", row[0]);
        } else {
            row[0] = name;
        }
    }
    let all: i128 = rows.iter().map(|(_, sum)| sum.micros).sum();
    let held: u128 = rows.iter().map(|(_, sum)| sum.held).sum();
    table.total = vec![
        "all".to_owned(),
        gpu_hours(held),
        String::new(),
        rounded(all),
    ];
    table
}

fn sums(
    caption: &str,
    titles: &[&'static str],
    rows: &[(String, Sum)],
    link: &dyn Fn(&str) -> Option<String>,
) -> Table {
    let row = |(name, sum): &(String, Sum)| {
        let busy = sum.busy_milli().map_or_else(|| "-".to_owned(), percent);
        (
            link(name),
            vec![name.clone(), gpu_hours(sum.held), busy, rounded(sum.micros)],
        )
    };
    Table {
        caption: caption.to_owned(),
        titles: titles.to_vec(),
        rows: rows.iter().map(row).collect(),
        total: Vec::new(),
        words: 1,
    }
}

/// What the total is made of.
fn parts(account: &Account) -> Table {
    let mut rows = vec![(
        None,
        vec![
            "GPUs that were held".to_owned(),
            rounded(account.sum.held_micros),
        ],
    )];
    rows.extend(
        account
            .others
            .iter()
            .map(|(name, micros)| (None, vec![name.clone(), rounded(*micros)])),
    );
    Table {
        caption: "What it is made of".to_owned(),
        titles: vec!["", "Cost"],
        rows,
        total: vec!["all".to_owned(), rounded(account.sum.micros)],
        words: 1,
    }
}

fn models(account: &Account) -> Table {
    let has_idle = account.sum.idle > 0;
    let row = |(name, sum): &(String, Sum)| {
        let busy = sum.busy_milli().map_or_else(|| "-".to_owned(), percent);
        let idle = has_idle.then(|| gpu_hours(sum.idle));
        let mut row = vec![named(name), gpu_hours(sum.held)];
        row.extend(idle);
        row.extend([busy, rounded(sum.micros)]);
        (None, row)
    };
    let idle = has_idle.then_some("Idle, GPU-hours");
    let titles = [
        Some("Model"),
        Some("Held, GPU-hours"),
        idle,
        Some("Computing"),
        Some("Cost"),
    ];
    Table {
        caption: "By GPU model".to_owned(),
        titles: titles.into_iter().flatten().collect(),
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
pub(super) fn prices(books: &Books<'_>, account: &Account) -> Table {
    let period = books.bill.period;
    let is_of_it = |price: &&Price| {
        let in_force = price.from_ms < period.until_ms
            && price.until_ms.is_none_or(|until| until > period.from_ms);
        in_force
            && account
                .models
                .iter()
                .any(|(model, _)| *model == price.model)
    };
    let row = |price: &Price| {
        let rate = match price.rate {
            Rate::Hourly(micros) => money::price(micros),
            Rate::Factor(milli) => format!("× {}", money::price(u64::from(milli) * 1000)),
        };
        let any = |name: &Option<String>| name.clone().unwrap_or_else(|| "any".to_owned());
        let from = if price.from_ms == 0 {
            String::new()
        } else {
            moment(price.from_ms)
        };
        let until = price.until_ms.map(moment).unwrap_or_default();
        (
            None,
            vec![
                named(&price.model),
                any(&price.pool),
                any(&price.priority_class),
                price.source.clone(),
                from,
                until,
                rate,
            ],
        )
    };
    Table {
        caption: format!("Unit prices: {} for a GPU and hour", books.bill.currency),
        titles: vec![
            "Model",
            "Pool",
            "PriorityClass",
            "Source",
            "From",
            "Until",
            "Price",
        ],
        rows: books.file.prices.iter().filter(is_of_it).map(row).collect(),
        total: Vec::new(),
        words: 4,
    }
}
