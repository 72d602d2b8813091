//! What FOCUS 1.3 asks of the columns of a Cost and Usage dataset, row by row: its normative rules on
//! presence, type, allowed values and nulls, for those columns that we have. No program that is
//! published checks them: the FOCUS validator of PyPI knows versions up to 1.0.

use std::collections::{BTreeMap, BTreeSet};

use super::{book, micros, rows};
use crate::focus::COLUMNS;
use crate::money::parse;
use crate::period::parse_rfc3339;

/// What may stand in a column.
#[derive(Clone, Copy, Debug)]
enum Type {
    Text,
    Decimal,
    /// A decimal from 0 up.
    Price,
    /// ISO 8601, UTC, to the second.
    Moment,
    /// An object of texts.
    Tags,
    /// Any object.
    Object,
    /// ISO 4217.
    Currency,
    OneOf(&'static [&'static str]),
}

/// Whether a cell may be empty.
#[derive(Clone, Copy, Debug)]
enum Nulls {
    Never,
    Always,
    May,
    /// Just when another is.
    As(&'static str),
    /// Never in rows of these charge categories.
    NotOf(&'static [&'static str]),
    /// Just in rows of other charge categories than these.
    OnlyOf(&'static [&'static str]),
}

use Nulls::{Always, As, May, Never, NotOf, OnlyOf};
use Type::{Currency, Decimal, Moment, Object, OneOf, Price, Tags, Text};

/// Whatever is not a credit, a tax or an adjustment.
const SOLD: &[&str] = &["Usage", "Purchase"];

const CATEGORIES: &[&str] = &["Usage", "Purchase", "Tax", "Credit", "Adjustment"];
const FREQUENCIES: &[&str] = &["One-Time", "Recurring", "Usage-Based"];
const SERVICES: &[&str] = &[
    "AI and Machine Learning",
    "Analytics",
    "Business Applications",
    "Compute",
    "Databases",
    "Developer Tools",
    "Multicloud",
    "Identity",
    "Integration",
    "Internet of Things",
    "Management and Governance",
    "Media",
    "Migration",
    "Mobile",
    "Networking",
    "Security",
    "Storage",
    "Web",
    "Other",
];

/// Every column of the specification that we have, whether a dataset without it does not conform,
/// what may stand in it, and when it is empty. Of the deprecated pair it is as of 1.2.
const RULES: [(&str, bool, Type, Nulls); 41] = [
    (
        "AllocatedMethodDetails",
        false,
        Object,
        As("AllocatedMethodId"),
    ),
    ("AllocatedMethodId", false, Text, May),
    ("AllocatedResourceId", false, Text, As("AllocatedMethodId")),
    (
        "AllocatedResourceName",
        false,
        Text,
        As("AllocatedResourceId"),
    ),
    ("AllocatedTags", false, Tags, As("AllocatedResourceId")),
    ("BilledCost", true, Decimal, Never),
    ("BillingAccountId", true, Text, Never),
    ("BillingAccountName", true, Text, Never),
    ("BillingCurrency", true, Currency, Never),
    ("BillingPeriodEnd", true, Moment, Never),
    ("BillingPeriodStart", true, Moment, Never),
    ("ChargeCategory", true, OneOf(CATEGORIES), Never),
    // No row corrects one of a month that has been billed.
    ("ChargeClass", true, OneOf(&["Correction"]), Always),
    ("ChargeDescription", true, Text, Never),
    ("ChargeFrequency", false, OneOf(FREQUENCIES), Never),
    ("ChargePeriodEnd", true, Moment, Never),
    ("ChargePeriodStart", true, Moment, Never),
    ("ConsumedQuantity", false, Decimal, OnlyOf(&["Usage"])),
    ("ConsumedUnit", false, Text, As("ConsumedQuantity")),
    ("ContractedCost", true, Decimal, Never),
    ("ContractedUnitPrice", false, Price, NotOf(SOLD)),
    ("EffectiveCost", true, Decimal, Never),
    ("HostProviderName", false, Text, Never),
    ("InvoiceIssuerName", true, Text, Never),
    ("ListCost", true, Decimal, Never),
    ("ListUnitPrice", false, Price, NotOf(SOLD)),
    ("PricingQuantity", true, Decimal, NotOf(SOLD)),
    ("PricingUnit", true, Text, As("PricingQuantity")),
    ("ProviderName", true, Text, Never),
    ("PublisherName", true, Text, Never),
    ("ResourceId", false, Text, May),
    ("ResourceName", false, Text, As("ResourceId")),
    ("ResourceType", false, Text, As("ResourceId")),
    ("ServiceCategory", true, OneOf(SERVICES), Never),
    ("ServiceName", true, Text, Never),
    ("ServiceProviderName", true, Text, Never),
    ("SkuId", false, Text, NotOf(SOLD)),
    ("SkuPriceId", false, Text, NotOf(SOLD)),
    ("SubAccountId", false, Text, May),
    ("SubAccountName", false, Text, As("SubAccountId")),
    ("Tags", false, Tags, May),
];

type Row = BTreeMap<String, String>;

/// What is wrong with a row, in words; nothing of one that conforms.
fn wrongs(row: &Row) -> Vec<String> {
    let mut wrongs = Vec::new();
    for (column, _, of, nulls) in RULES {
        let Some(cell) = row.get(column) else {
            continue;
        };
        let category = row.get("ChargeCategory").map_or("", String::as_str);
        let is_null = cell.is_empty();
        let may_be = match nulls {
            Never => !is_null,
            Always => is_null,
            May => true,
            As(other) => row
                .get(other)
                .is_none_or(|other| other.is_empty() == is_null),
            NotOf(categories) => !is_null || !categories.contains(&category),
            OnlyOf(categories) => is_null != categories.contains(&category),
        };
        if !may_be {
            wrongs.push(format!("{column} `{cell}` of {category}: nulls {nulls:?}"));
        }
        if !is_null && !is_of(cell, of) {
            wrongs.push(format!("{column} `{cell}` is not {of:?}"));
        }
    }
    wrongs.extend(across(row));
    wrongs
}

fn is_of(cell: &str, of: Type) -> bool {
    match of {
        Text => cell.trim() == cell,
        Decimal => parse(cell.strip_prefix('-').unwrap_or(cell)).is_ok(),
        Price => parse(cell).is_ok(),
        Moment => cell.ends_with('Z') && cell.len() == 20 && parse_rfc3339(cell).is_some(),
        Tags => serde_json::from_str::<BTreeMap<String, String>>(cell).is_ok(),
        Object => serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(cell).is_ok(),
        Currency => cell.len() == 3 && cell.bytes().all(|byte| byte.is_ascii_uppercase()),
        OneOf(values) => values.contains(&cell),
    }
}

/// Rules about several columns of a row.
fn across(row: &Row) -> Vec<String> {
    let cell = |column: &str| row.get(column).map_or("", String::as_str);
    let is_within = cell("BillingPeriodStart") <= cell("ChargePeriodStart")
        && cell("ChargePeriodStart") <= cell("ChargePeriodEnd")
        && cell("ChargePeriodEnd") <= cell("BillingPeriodEnd");
    let is_used = cell("ChargeFrequency") == "Usage-Based";
    let is_purchase = cell("ChargeCategory") == "Purchase";
    let rules = [
        (is_within, "a charge period lies within its billing period"),
        (
            is_product(row, ["ListUnitPrice", "ListCost"]),
            "the list cost is the list price of what is priced",
        ),
        (
            is_product(row, ["ContractedUnitPrice", "ContractedCost"]),
            "the contracted cost is the contracted price of what is priced",
        ),
        (
            !(is_purchase && is_used),
            "what is purchased is not usage-based",
        ),
    ];
    let broken = rules.into_iter().filter(|(holds, _)| !holds);
    broken.map(|(_, rule)| rule.to_owned()).collect()
}

/// Whether a cost is its unit price times the quantity that is priced, up to what rounding each to a
/// millionth makes of it.
fn is_product(row: &Row, [price, cost]: [&str; 2]) -> bool {
    let cell = |column: &str| row.get(column).filter(|cell| !cell.is_empty());
    let read = |column: &str| cell(column).map(|cell| micros(cell));
    let (Some(price), Some(quantity), Some(cost)) =
        (read(price), read("PricingQuantity"), read(cost))
    else {
        return true;
    };
    let off = (price * quantity - cost * 1_000_000).abs();
    off <= (price + quantity.abs()) / 2 + 1_500_000
}

#[test]
fn the_columns_are_those_of_the_specification_and_ours() {
    let ours: BTreeSet<&str> = COLUMNS
        .into_iter()
        .filter(|c| !c.starts_with("x_"))
        .collect();
    let known: BTreeSet<&str> = RULES.iter().map(|(column, ..)| *column).collect();
    assert_eq!(ours, known);
    let mandatory = RULES.iter().filter(|(_, is_mandatory, ..)| *is_mandatory);
    assert_eq!(mandatory.count(), 22);
    // PascalCase, as short as every database takes.
    for column in COLUMNS {
        let name = column.strip_prefix("x_").unwrap_or(column);
        assert!(name.len() <= 50 && name.starts_with(|c: char| c.is_ascii_uppercase()));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{column}");
    }
}

#[test]
fn every_row_conforms() {
    let rows = rows(&book());
    let categories: BTreeSet<&str> = rows.iter().map(|row| &*row["ChargeCategory"]).collect();
    assert_eq!(categories, ["Adjustment", "Purchase", "Usage"].into());
    for row in &rows {
        assert_eq!(wrongs(row), Vec::<String>::new(), "{row:?}");
    }
}

#[test]
fn a_row_that_does_not_conform_is_found() {
    let row = rows(&book()).remove(0);
    let told = |column: &str, value: &str| {
        let mut row = row.clone();
        row.insert(column.to_owned(), value.to_owned());
        wrongs(&row).len()
    };
    for (column, value) in [
        ("BilledCost", ""),
        ("BilledCost", "1,5"),
        ("BillingCurrency", "Euro"),
        ("ChargeCategory", "Discount"),
        ("ChargeClass", "Correction"),
        ("ChargeFrequency", "Monthly"),
        ("ChargePeriodStart", "1970-01-01"),
        ("ChargePeriodEnd", "1970-03-01T00:00:00Z"),
        ("ConsumedQuantity", ""),
        ("ConsumedUnit", ""),
        ("ContractedUnitPrice", "1.1"),
        ("ListUnitPrice", ""),
        ("ListUnitPrice", "-1"),
        ("SkuId", ""),
        ("SubAccountName", ""),
        ("AllocatedResourceId", "red"),
        ("Tags", "tenant=red"),
    ] {
        assert!(told(column, value) > 0, "{column}: {value}");
    }
}
