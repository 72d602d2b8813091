//! A report of a made-up November, whose figures were worked out by hand.

use std::collections::BTreeMap;

use super::*;
use crate::account::Team;
use crate::bill::{Bill, bill};
use crate::examples::{HOUR, hold, prices, stock};
use crate::period::{DAY, Period};
use crate::record::{End, Extract, Why};

const FILE: &str = "prices:
- {model: a, hourly: 2, source: contract}
- {model: a, priorityClass: batch, factor: 0.5}
- model: b
  owned: {capex: 250000, years: 4, opex: 30000, gpus: 8, targetUtilisation: 70%}
chargeback:
  sharedServices: [{name: Notebooks, tenants: [platform]}]";

/// Red holds two GPUs for ten days, hardly busy; a user with an odd name one for a day.
fn november() -> Extract {
    let month = Period::month("2026-11").unwrap();
    let from = month.from_ms;
    let mut idle = hold("red", "n1", 2000, from, Some(from + 10 * DAY));
    idle.busy_milli = Some(40);
    let mut odd = hold("red", "n2", 1000, from + 2 * DAY, Some(from + 3 * DAY));
    (odd.payer.user, odd.job, odd.busy_milli) =
        ("=<b>ana</b>".to_owned(), "tune".to_owned(), Some(900));
    odd.end = odd.end.map(|end| End {
        why: Why::Preempted,
        ..end
    });
    let mut lost = hold("", "n2", 1000, from + 5 * DAY, Some(from + 6 * DAY));
    lost.end = lost.end.map(|end| End {
        why: Why::Unknown,
        estimated: true,
        ..end
    });
    Extract {
        from_ms: from,
        until_ms: month.until_ms,
        kept_until_ms: from + 20 * DAY,
        holds: vec![
            idle,
            odd,
            lost,
            hold("platform", "n2", 1000, from, Some(from + DAY)),
        ],
        stock: vec![stock("n1", 4000, 0, None), stock("n2", 4000, 0, None)],
        gaps: vec![(from + 8 * DAY, from + 8 * DAY + HOUR)],
        names: [("red".to_owned(), "Red & friends".to_owned())].into(),
    }
}

fn report() -> (BTreeMap<String, String>, Bill) {
    let (extract, file) = (november(), prices(FILE));
    let bill = bill(&extract, &file).unwrap();
    let before = Extract {
        from_ms: Period::month("2026-10").unwrap().from_ms,
        until_ms: extract.from_ms,
        kept_until_ms: extract.from_ms,
        holds: vec![hold(
            "red",
            "n1",
            1000,
            extract.from_ms - DAY,
            Some(extract.from_ms),
        )],
        ..extract.clone()
    };
    let billed = crate::bill::bill(&before, &file).unwrap();
    let team = Team {
        budget: Some((1_500_000_000, "EUR".to_owned())),
        guaranteed_milli: Some(4000),
    };
    let books = Books {
        extract: &extract,
        bill: &bill,
        before: Some((&before, &billed)),
        file: &file,
        teams: &[("red".to_owned(), team)].into(),
    };
    let files = files(&books).unwrap();
    (
        files
            .into_iter()
            .map(|file| (file.name, file.content))
            .collect(),
        bill,
    )
}

#[test]
fn there_is_a_page_for_each_and_tables_for_all() {
    let (files, _) = report();
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "cost-center-__unallocated__.html",
            "cost-center-cc-platform.html",
            "cost-center-cc-red.html",
            "cost-centers.csv",
            "index.html",
            "lines.csv",
            "tenant-__unallocated__.html",
            "tenant-platform.html",
            "tenant-red.html",
            "tenants.csv",
        ]
    );
    for link in files["index.html"].split("href=\"").skip(1) {
        let target = link.split('"').next().unwrap();
        assert!(files.contains_key(target), "{target}");
    }
}

#[test]
fn the_page_of_a_tenant_says_what_it_costs_and_why() {
    let (files, _) = report();
    let page = &files["tenant-red.html"];
    for expected in [
        "<h1>Red &#38; friends</h1>",
        // 20 GPU-days at 48, one more, and all of the platform's: 960 + 48 + 48.
        "1,056.00 EUR until 2026-11-21, at this rate 1,584.00 in all, 1,536.00 more than in October 2026; 70 % of the budget.",
        // 1,056 in 20 of 30 days.
        "<b>1,584.00 EUR</b><small>105 % of the budget</small>",
        "<b>504.0</b>",
        // (480 × 40 + 24 × 900) ÷ 504
        "<b>8.0 %</b>",
        "ml-red/train held GPUs and hardly used them",
        "4.0 % busy, measured over 100.0 % of the 480.0 GPU-hours it held, which cost 960.00 EUR",
        "1 of the 4 GPUs that are guaranteed were never used: the guarantee could be 3",
        "Shared service: Notebooks",
        "GPU-hours of 1 holds that had to leave",
        "&#60;b&#62;ana",
        "Nobody kept the book from 2026-11-09 until 2026-11-09 01:00",
        "95.6 % of the GPU-hours that were held belong to tenants",
        "contract",
    ] {
        assert!(page.contains(expected), "{expected}\n{page}");
    }
    assert!(!page.contains("<b>ana"));
}

#[test]
fn the_fleets_page_has_everything_and_its_idle_time() {
    let (files, bill) = report();
    let page = &files["index.html"];
    // 8 GPUs for 20 days at 2.
    assert_eq!(bill.total_micros(), 7_680_000_000);
    for expected in [
        "7,680.00 EUR",
        "<b>85.6 %</b>",
        "Idle GPUs",
        "<b>95.6 %</b>",
        ">Red &#38; friends (red)</a>",
    ] {
        assert!(page.contains(expected), "{expected}\n{page}");
    }
}

#[test]
fn a_page_needs_nothing_else_and_runs_nothing() {
    for (name, page) in report()
        .0
        .iter()
        .filter(|(name, _)| name.ends_with(".html"))
    {
        for needless in [
            "<script", "http:", "https:", "@import", "url(", "<link", "<img",
        ] {
            assert!(!page.contains(needless), "{name}: {needless}");
        }
    }
}

#[test]
fn the_tables_add_up_to_the_bill() {
    let (files, bill) = report();
    let column = |file: &str, title: &str| -> Vec<String> {
        let mut reader = csv::Reader::from_reader(files[file].as_bytes());
        let at = reader
            .headers()
            .unwrap()
            .iter()
            .position(|t| t == title)
            .unwrap();
        reader
            .records()
            .map(|row| row.unwrap()[at].to_owned())
            .collect()
    };
    let sum = |amounts: Vec<String>| -> i128 {
        let micros = |text: String| match text.strip_prefix('-') {
            Some(text) => -i128::from(crate::money::parse(text).unwrap()),
            None => crate::money::parse(&text).unwrap().into(),
        };
        amounts.into_iter().map(micros).sum()
    };
    assert_eq!(sum(column("lines.csv", "cost")), bill.total_micros());
    let idle: i128 = bill
        .lines
        .iter()
        .filter(|line| line.tenant().is_none())
        .map(|line| line.micros)
        .sum();
    assert_eq!(
        sum(column("tenants.csv", "cost")) + idle,
        bill.total_micros()
    );
    assert_eq!(
        column("tenants.csv", "name"),
        ["red", "__unallocated__", "platform"]
    );
    assert_eq!(column("lines.csv", "user")[1], "'=<b>ana</b>");
    assert_eq!(column("lines.csv", "end_estimated")[2], "true");
}
