//! How a bill was made, in words.

use crate::account::Books;
use crate::chargeback::{Idle, Split};
use crate::money;
use crate::period::moment;
use crate::totals::{coverage_milli, percent};

/// How a report came to its numbers, a point each.
pub(super) fn method(books: &Books<'_>) -> Vec<String> {
    let (bill, file) = (books.bill, books.file);
    let mut points = vec![
        "A GPU is paid for from the moment it is held for a job until its last pod is gone, whether or not the job keeps it busy. A slot of a GPU that is shared by four is a quarter of it.".to_owned(),
        "A line is GPUs × time × the price in force at each moment. The most specific price counts: of model, pool and PriorityClass, then of model and pool, then of model and PriorityClass, then of the model. Days begin at 0:00 UTC.".to_owned(),
        format!(
            "All lines together are what the fleet cost, to the millionth of a unit: {} {}. Fractions of a millionth are rounded by the largest remainder. Pages show hundredths; lines.csv has all of it.",
            money::exact(bill.total_micros()), bill.currency
        ),
        match file.chargeback.idle {
            Idle::Separate => "GPUs that nobody held are a cost of the fleet: no tenant pays for them.".to_owned(),
            Idle::Shared => "GPUs that nobody held are paid for by the tenants, in proportion to what each paid for GPUs of that model and pool.".to_owned(),
        },
        "Time that was held by starts that had to leave for another job is paid for like any other, and listed.".to_owned(),
    ];
    for service in &file.chargeback.services {
        points.push(format!(
            "{} works for all: what it cost is passed on {}.",
            service.name,
            split(&service.split)
        ));
    }
    for fixed in &file.chargeback.fixed {
        let amount = money::rounded(fixed.monthly_micros.into());
        points.push(format!(
            "{} is {amount} {} a month, in proportion to the time, {}.",
            fixed.name,
            bill.currency,
            split(&fixed.split)
        ));
    }
    points.push(format!(
        "{} of the GPU-hours that were held belong to tenants; the rest was held in namespaces of no tenant, and is listed as __unallocated__.",
        percent(coverage_milli(books.extract, bill))
    ));
    points.extend(doubts(books));
    points
}

/// What is not known for sure.
fn doubts(books: &Books<'_>) -> Vec<String> {
    let extract = books.extract;
    let mut points = Vec::new();
    if books.bill.period.until_ms < extract.until_ms {
        points.push(format!(
            "The book was kept until {}: what lasts is counted until then.",
            moment(extract.kept_until_ms)
        ));
    }
    for (from, until) in &extract.gaps {
        points.push(format!("Nobody kept the book from {} until {}; what was held before and after counts as held meanwhile.", moment(*from), moment(*until)));
    }
    let estimated = extract
        .holds
        .iter()
        .filter(|hold| hold.end.is_some_and(|end| end.estimated))
        .count();
    if estimated > 0 {
        points.push(format!("Nobody saw {estimated} of {} holds end: they count until they were last known to be held, and are marked in lines.csv.", extract.holds.len()));
    }
    points
}

fn split(split: &Split) -> String {
    match split {
        Split::Usage => "in proportion to what each tenant's GPUs cost".to_owned(),
        Split::Evenly => "to all tenants that held GPUs alike".to_owned(),
        Split::Weight(weights) => {
            let parts: Vec<String> = weights
                .iter()
                .map(|(tenant, weight)| format!("{tenant} {weight}"))
                .collect();
            format!("by weight: {}", parts.join(", "))
        }
    }
}
