//! An account worked out by hand.

use super::*;
use crate::bill::bill;
use crate::examples::{HOUR, hold, prices, stock};

const FILE: &str = "prices: [{model: a, hourly: 2}]
chargeback:
  sharedServices: [{name: hub, tenants: [platform]}]
  fixed: [{name: support, monthly: 60, split: evenly}]";

/// The first ten days of November: red holds a GPU throughout and a second for a day, blue one for
/// five days, the platform one for a day.
fn november() -> Extract {
    let month = Period::month("2026-11").unwrap();
    let from = month.from_ms;
    let holds = vec![
        hold("red", "n1", 1000, from - HOUR, None),
        hold("red", "n1", 1000, from + DAY, Some(from + 2 * DAY)),
        hold("blue", "n1", 1000, from, Some(from + 5 * DAY)),
        hold("platform", "n1", 1000, from, Some(from + DAY)),
    ];
    Extract {
        from_ms: from,
        until_ms: month.until_ms,
        kept_until_ms: from + 10 * DAY,
        holds,
        stock: vec![stock("n1", 4000, 0, None)],
        names: [("red".to_owned(), "Red team".to_owned())].into(),
        ..Extract::default()
    }
}

#[test]
fn an_account_adds_up_and_looks_ahead() {
    let (extract, file) = (november(), prices(FILE));
    let october = Extract {
        from_ms: Period::month("2026-10").unwrap().from_ms,
        until_ms: extract.from_ms,
        kept_until_ms: extract.from_ms,
        ..extract.clone()
    };
    let (bill, before) = (
        bill(&extract, &file).unwrap(),
        bill(&october, &file).unwrap(),
    );
    let teams = [(
        "red".to_owned(),
        Team {
            budget: Some((2_000_000_000, "EUR".to_owned())),
            guaranteed_milli: Some(1000),
        },
    )];
    let books = Books {
        extract: &extract,
        bill: &bill,
        before: Some((&october, &before)),
        file: &file,
        teams: &teams.into(),
    };
    let red = books.account(&Who::Tenant("red".to_owned()));
    // 11 GPU-days are 528; of the platform's 48, 528 of 768 are 33; of 20 for support, 10.
    assert_eq!(red.name, "Red team");
    assert_eq!(red.sum.held_micros, 528_000_000);
    assert_eq!(
        red.others,
        [
            ("Shared service: hub".to_owned(), 33_000_000),
            ("support".to_owned(), 10_000_000)
        ]
    );
    assert_eq!(red.sum.micros, 571_000_000);
    // In October it held one GPU for an hour, and paid for support alone.
    assert_eq!(red.before_micros, Some(62_000_000));
    // A third of the month is over.
    assert_eq!(red.forecast_micros, Some(1_713_000_000));
    let budget = red.budget.unwrap();
    assert_eq!(
        (budget.percent(), budget.forecast_percent()),
        (Some(28), Some(85))
    );
    // Above its one guaranteed GPU it held another for a day.
    assert_eq!(red.borrowed, Some(1000 * u128::from(DAY)));
    assert_eq!(
        (red.days.len(), red.days[0].1, red.days[1].1),
        (10, 48_000_000, 96_000_000)
    );

    let fleet = books.account(&Who::Fleet);
    assert_eq!(fleet.sum.micros, bill.total_micros());
    // 40 GPU-days at 48, and 20 for support.
    assert_eq!(fleet.sum.micros, 1_940_000_000);
    let tenants: i128 = books
        .everybody()
        .iter()
        .filter(|who| matches!(who, Who::Tenant(_)))
        .map(|who| books.account(who).sum.micros)
        .sum();
    // Idle: 40 − 17 GPU-days.
    assert_eq!(tenants + 23 * 48_000_000, fleet.sum.micros);
    let platform = books.account(&Who::CostCenter("cc-platform".to_owned()));
    assert_eq!(platform.sum.micros, 0);
}

#[test]
fn a_budget_in_another_currency_is_not_compared() {
    let (extract, file) = (november(), prices(FILE));
    let bill = bill(&extract, &file).unwrap();
    let teams = [(
        "red".to_owned(),
        Team {
            budget: Some((1, "USD".to_owned())),
            guaranteed_milli: None,
        },
    )];
    let books = Books {
        extract: &extract,
        bill: &bill,
        before: None,
        file: &file,
        teams: &teams.into(),
    };
    let red = books.account(&Who::Tenant("red".to_owned()));
    assert_eq!(
        (red.budget, red.other_currency),
        (None, Some("USD".to_owned()))
    );
}
