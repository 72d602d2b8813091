//! The key numbers of an account.

use crate::account::{Account, Books, Who};
use crate::money::rounded;
use crate::period::Period;
use crate::totals::{Sum, coverage_milli, gpu_hours, percent};

/// A number and what it is.
pub(super) struct Tile {
    pub(super) label: String,
    pub(super) value: String,
    pub(super) note: String,
    /// Thousandths of a bar below it.
    pub(super) filled: Option<u128>,
    /// Whether that is more than it should be.
    pub(super) is_bad: bool,
}

/// The key numbers of an account.
pub(super) fn tiles(books: &Books<'_>, account: &Account) -> Vec<Tile> {
    let currency = &books.bill.currency;
    let mut tiles = vec![Tile::new(
        "Total",
        format!("{} {currency}", rounded(account.sum.micros)),
        String::new(),
    )];
    if let Some((before, label)) = account.before_micros.zip(before(books)) {
        tiles.push(Tile::new(
            "Before",
            format!("{} {currency}", rounded(before)),
            label,
        ));
    }
    if let Some(budget) = &account.budget {
        let filled = budget
            .percent()
            .and_then(|percent| u128::try_from(percent * 10).ok());
        let value = budget
            .percent()
            .map_or_else(|| "-".to_owned(), |percent| format!("{percent} %"));
        let note = format!("of {} {currency}", rounded(budget.budget_micros.into()));
        tiles.push(Tile {
            filled,
            is_bad: budget.percent().is_none_or(|percent| percent >= 100),
            ..Tile::new("Budget", value, note)
        });
    }
    if let Some(forecast) = account.forecast_micros {
        let note = account.budget.and_then(|budget| budget.forecast_percent());
        let note = note.map_or_else(
            || "if it goes on like this".to_owned(),
            |percent| format!("{percent} % of the budget"),
        );
        tiles.push(Tile::new(
            "Forecast",
            format!("{} {currency}", rounded(forecast)),
            note,
        ));
    }
    tiles.push(Tile::new(
        "GPU-hours held",
        gpu_hours(account.sum.held),
        String::new(),
    ));
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
        Tile {
            filled: Some(idle),
            ..Tile::new("Idle", percent(idle), idle_note)
        },
        Tile {
            filled: Some(coverage),
            ..Tile::new(
                "Attributed",
                percent(coverage),
                "of the time held, to tenants".to_owned(),
            )
        },
    ]
}

fn of_somebody(account: &Account) -> Vec<Tile> {
    let mut tiles = Vec::new();
    if let Some(borrowed) = account.borrowed {
        tiles.push(Tile::new(
            "Borrowed",
            gpu_hours(borrowed),
            "GPU-hours above its guarantee of today".to_owned(),
        ));
    }
    if account.sum.preempted > 0 {
        let note = format!(
            "GPU-hours of {} holds that had to leave",
            account.sum.preemptions
        );
        tiles.push(Tile::new(
            "Preempted",
            gpu_hours(account.sum.preempted),
            note,
        ));
    }
    tiles
}

fn busy(sum: &Sum) -> Tile {
    match sum.busy_milli() {
        None => Tile::new(
            "Computing",
            "-".to_owned(),
            "nobody measured how busy GPUs were".to_owned(),
        ),
        Some(busy) => {
            let measured = percent(sum.measured * 1000 / sum.held.max(1));
            Tile {
                filled: Some(busy),
                ..Tile::new(
                    "Computing",
                    percent(busy),
                    format!("measured over {measured} of the time held"),
                )
            }
        }
    }
}

impl Tile {
    fn new(label: &str, value: String, note: String) -> Self {
        Self {
            label: label.to_owned(),
            value,
            note,
            filled: None,
            is_bad: false,
        }
    }

    /// How much of its bar is filled, in percent.
    pub(super) fn width(&self) -> Option<u128> {
        self.filled.map(|milli| (milli / 10).min(100))
    }
}

/// What the period before is called, where anything is known of it.
pub(super) fn before(books: &Books<'_>) -> Option<String> {
    books.before.map(|(extract, _)| {
        Period {
            from_ms: extract.from_ms,
            until_ms: extract.until_ms,
        }
        .to_string()
    })
}
