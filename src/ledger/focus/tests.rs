//! The columns of the specification, the types in them, and their sums.

use csv::ReaderBuilder;

mod rules;

use super::*;
use crate::bill::bill;
use crate::examples::{HOUR, hold, prices, stock};
use crate::record::End;

const FILE: &str = "prices: [{model: a, hourly: 1}, {model: a, priorityClass: low, factor: 0.5}]
chargeback:
  sharedServices: [{name: hub, tenants: [platform]}]
  fixed: [{name: \"support, 24 \\\"hours\\\"\", monthly: 744, split: evenly}]";

fn parties() -> Parties {
    Parties {
        account_id: "c1".to_owned(),
        account_name: "Cluster 1".to_owned(),
        provider: "GPU platform".to_owned(),
    }
}

fn book() -> Extract {
    let mut red = hold("red", "n1", 5000, 0, Some(HOUR));
    red.busy_milli = Some(250);
    red.end = red.end.map(|end| End {
        why: Why::Preempted,
        ..end
    });
    let mut blue = hold("blue", "n1", 1000, 0, Some(HOUR));
    blue.priority_class = "low".to_owned();
    Extract {
        until_ms: HOUR,
        kept_until_ms: HOUR,
        holds: vec![red, blue, hold("platform", "n1", 4000, 0, None)],
        stock: vec![stock("n1", 12_000, 0, None)],
        ..Extract::default()
    }
}

/// The rows, each by column.
fn rows(book: &Extract) -> Vec<BTreeMap<String, String>> {
    let text = export(book, &bill(book, &prices(FILE)).unwrap(), &parties()).unwrap();
    assert!(text.ends_with("\r\n"));
    let mut reader = ReaderBuilder::new().from_reader(text.as_bytes());
    let titles = reader.headers().unwrap().clone();
    let row = |row: csv::StringRecord| {
        titles
            .iter()
            .zip(row.iter())
            .map(|(t, c)| (t.to_owned(), c.to_owned()))
            .collect()
    };
    reader
        .records()
        .map(|record| row(record.unwrap()))
        .collect()
}

fn micros(text: &str) -> i128 {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    sign * i128::from(crate::money::parse(text).unwrap())
}

#[test]
fn the_costs_of_all_rows_are_the_bill() {
    let rows = rows(&book());
    let sum: i128 = rows.iter().map(|row| micros(&row["BilledCost"])).sum();
    // 12 GPU-hours at 1, and an hour of 744 a month of 744 hours.
    assert_eq!(sum, 13_000_000);
    let hours: i128 = rows
        .iter()
        .filter(|row| row["ConsumedUnit"] == "GPU-Hours")
        .map(|row| micros(&row["ConsumedQuantity"]))
        .sum();
    assert_eq!(hours, 12_000_000);
    for row in &rows {
        for same in ["ContractedCost", "EffectiveCost", "ListCost"] {
            assert_eq!(row[same], row["BilledCost"]);
        }
    }
}

#[test]
fn a_hold_tells_who_what_and_how_busy() {
    let rows = rows(&book());
    let red = &rows[0];
    for (column, value) in [
        ("SubAccountId", "red"),
        ("ResourceName", "ml-red/train"),
        ("ResourceType", "Job"),
        ("BilledCost", "5.000000"),
        ("PricingQuantity", "5.000000"),
        ("ListUnitPrice", "1.000000"),
        ("SkuId", "a"),
        ("SkuPriceId", "a"),
        ("x_Utilization", "0.250000"),
        ("x_Preempted", "true"),
        ("x_Gpus", "5.000000"),
        ("ChargePeriodEnd", "1970-01-01T01:00:00Z"),
    ] {
        assert_eq!(red[column], value, "{column}");
    }
    assert_eq!(
        rows.iter()
            .find(|row| row["ChargeCategory"] == "Purchase")
            .unwrap()["ChargeDescription"],
        "support, 24 \"hours\""
    );
}

#[test]
fn the_parts_of_a_service_are_the_whole() {
    let rows = rows(&book());
    let parts: Vec<_> = rows
        .iter()
        .filter(|row| row["AllocatedMethodId"] == "shared-service/hub")
        .collect();
    // Red's GPUs cost 5, blue's half of 1.
    assert_eq!(parts.len(), 2);
    assert_eq!(
        ["ResourceId", "AllocatedResourceId", "SkuId"].map(|column| parts[0][column].as_str()),
        ["hub", "blue", "shared-service/hub"]
    );
    let ratio = |row: &BTreeMap<String, String>| {
        let details: serde_json::Value =
            serde_json::from_str(&row["AllocatedMethodDetails"]).unwrap();
        details["Elements"][0]["AllocatedRatio"].to_string()
    };
    assert_eq!(
        (ratio(parts[0]), ratio(parts[1])),
        ("0.090909".to_owned(), "0.909091".to_owned())
    );
    let discount = rows
        .iter()
        .find(|row| row["ChargeCategory"] == "Adjustment")
        .unwrap();
    assert_eq!(discount["BilledCost"], "0.500000");
}

#[test]
fn more_than_a_month_is_refused() {
    let book = Extract {
        until_ms: 40 * 24 * HOUR,
        kept_until_ms: 40 * 24 * HOUR,
        ..Extract::default()
    };
    let error = export(&book, &bill(&book, &prices(FILE)).unwrap(), &parties()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("1970-01-01 to 1970-02-10 is not within a month"),
        "{error}"
    );
}
