//! What a price file means, and what a wrong one is answered with: place, field, fault and remedy.

use super::*;
use crate::period::DAY;
use crate::price::Gpus;

const GOOD: &str = "\
apiVersion: config.prorata.dev/v1alpha1
kind: Prices
currency: EUR
source: contract 7
prices:
- {model: H100, hourly: 2.95, until: 1970-01-03}
- {model: H100, hourly: 2.50, from: 1970-01-03, source: contract 8}
- {model: H100, priorityClass: batch, factor: 0.7}
- model: A100
  pool: own
  owned:
    capex: 250000
    years: 4
    opex: 30000
    gpus: 8
    targetUtilisation: 70%
chargeback:
  idle: shared
  sharedServices:
  - {name: notebooks, tenants: [platform], namespaces: [hub], split: evenly}
  fixed:
  - {name: support, monthly: 5000, split: weight, weights: {red: 2, blue: 1}}
";

#[test]
fn a_good_file_says_what_everything_costs() {
    let file = PriceFile::parse("p.yaml", GOOD).unwrap();
    let hourly = |model, pool, priority_class, day: u64| {
        let gpus = Gpus {
            model,
            pool,
            priority_class,
        };
        file.prices
            .stretches(gpus, day * DAY, day * DAY + 1)
            .map(|s| s[0].hourly_micros)
    };
    assert_eq!(
        (hourly("H100", "", "", 1), hourly("H100", "x", "", 2)),
        (Ok(2_950_000), Ok(2_500_000))
    );
    assert_eq!(hourly("H100", "", "batch", 2), Ok(1_750_000));
    assert_eq!(hourly("A100", "own", "", 0), Ok(1_885_600));
    assert!(hourly("A100", "", "", 0).is_err());
    assert_eq!(file.owned[0].0, "A100 in pool own");
    let sources: Vec<&str> = file
        .prices
        .iter()
        .map(|price| price.source.as_str())
        .collect();
    assert_eq!(
        sources,
        ["contract 7", "contract 7", "contract 8", "contract 7"]
    );
    assert_eq!(file.chargeback.idle, Idle::Shared);
    assert_eq!(file.chargeback.services[0].split, Split::Evenly);
    let weights = [("blue".to_owned(), 1), ("red".to_owned(), 2)].into();
    assert_eq!(file.chargeback.fixed[0].split, Split::Weight(weights));
}

/// What is said about the good file with one text replaced.
fn said(was: &str, is: &str) -> String {
    assert!(GOOD.contains(was), "{was}");
    let problems = PriceFile::parse("p.yaml", &GOOD.replacen(was, is, 1)).unwrap_err();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// A text, what replaces it, and what is said then.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "hourly: 2.95",
        "hourley: 2.95",
        "error: p.yaml:6:17: hourley: there is no such field here\n  help: did you mean `hourly`?",
    ),
    (
        "currency: EUR",
        "currency: euro",
        "error: p.yaml:3:11: currency: `euro` is not a currency\n  help: write three capitals (ISO 4217), such as EUR",
    ),
    (
        "hourly: 2.95",
        "hourly: \"2,95\"",
        "error: p.yaml:6:25: prices[0].hourly: `2,95` is not an amount of money",
    ),
    (
        "hourly: 2.50",
        "hourly: -1",
        "error: p.yaml:7:25: prices[1].hourly: `-1` is not an amount of money\n  help: write one such as 2500 or 2.95, with at most six decimals",
    ),
    (
        "from: 1970-01-03",
        "from: 1970-02-30",
        "error: p.yaml:7:37: prices[1].from: `1970-02-30` is not a day since 1970\n  help: write one such as 2026-11-01",
    ),
    (
        "from: 1970-01-03",
        "from: 1970-01-02",
        "error: p.yaml:7:3: prices[1]: is the second price of the same GPUs on 1970-01-02\n  help: let the earlier one end where the later begins: `until:` and `from:`",
    ),
    (
        "{model: H100, priorityClass: batch, factor: 0.7}",
        "{model: H100, factor: 0.7}",
        "error: p.yaml:8:3: prices[2]: is a factor of nothing\n  help: add `pool:` or `priorityClass:`, or write `hourly:` instead",
    ),
    (
        "factor: 0.7",
        "factor: 0.7, hourly: 1",
        "error: p.yaml:8:3: prices[2]: has 2 of `hourly`, `factor` and `owned`\n  help: write exactly one of them",
    ),
    (
        "    years: 4\n",
        "",
        "years: is missing\n  help: add `years:` here",
    ),
    (
        "years: 4",
        "years: 0",
        "error: p.yaml:13:12: prices[3].owned.years: `0` is not a number from 0.001 to 100, with at most three decimals\n  help: write one such as 2 or 3.5",
    ),
    (
        "70%",
        "170%",
        "error: p.yaml:16:24: prices[3].owned.targetUtilisation: `170%` is not a part of the hours\n  help: write a percentage from 0.1% to 100%, such as 70%",
    ),
    (
        "idle: shared",
        "idle: hidden",
        "error: p.yaml:18:9: chargeback.idle: `hidden` is not known\n  help: write one of separate, shared",
    ),
    (
        "tenants: [platform], namespaces: [hub], ",
        "",
        "error: p.yaml:20:5: chargeback.sharedServices[0]: names nobody who works for all\n  help: add `tenants: [NAME]` or `namespaces: [NAME]`",
    ),
    (
        ", weights: {red: 2, blue: 1}",
        "",
        "is split by weight, but nobody has one",
    ),
    (
        "split: evenly",
        "split: evenly, weights: {red: 1}",
        "has weights that do not count",
    ),
    (
        "kind: Prices",
        "kind: Price",
        "error: p.yaml:2:7: kind: `Price` is not known here\n  help: write `kind: Prices`",
    ),
];

#[test]
fn each_mistake_is_told_with_its_place_and_a_remedy() {
    for (was, is, expected) in MISTAKES {
        let said = said(was, is);
        assert!(
            said.contains(expected),
            "{was} → {is}:\n{said}\nexpected:\n{expected}"
        );
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = GOOD
        .replace("EUR", "x")
        .replace("capex: 250000", "capex: much")
        .replace("split: evenly", "split: even");
    let problems = PriceFile::parse("p.yaml", &text).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:?}");
}
