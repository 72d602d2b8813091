//! A fleet's cost, line by line: each hold, what was idle, what works for all, and what is due each
//! month. All lines together are the whole cost, to the millionth.

use std::collections::BTreeMap;

use crate::fleet::{self, Excess};
use crate::period::Period;
use crate::price::{Gpus, Prices, Unpriced};
use crate::price_file::PriceFile;
use crate::record::{Extract, Hold, Payer};
use crate::{share, shared};

/// Thousandths of a GPU times milliseconds in a GPU-hour.
pub const GPU_HOUR: u128 = 1000 * 3_600_000;

/// Whom a hold is charged to whose namespace belongs to no tenant.
pub const UNALLOCATED: &str = "__unallocated__";

/// What a part of the whole cost is, and who owes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it is for.
    pub kind: Kind,
    /// Who owes it; all empty where it is nobody's in particular.
    pub payer: Payer,
    /// The model; empty where it is for none.
    pub model: String,
    /// The pool; may be empty.
    pub pool: String,
    /// Thousandths of a GPU times milliseconds that it is about.
    pub gpu_time: u128,
    /// What a GPU-hour of that costs, on the average where prices changed meanwhile, in millionths of
    /// the currency; 0 where it is about no time.
    pub hourly_micros: u64,
    /// How much, in millionths of the currency. What somebody is given back is below 0.
    pub micros: i128,
}

/// What a line is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// GPUs that were held: the position of the hold in the [`Extract`].
    Held(usize),
    /// GPUs that nobody held.
    Idle,
    /// What jobs of some PriorityClasses or pools paid less than their GPUs cost; below 0 where they
    /// paid more.
    Discount,
    /// A part of what a service for all cost, by its name; what it passes on is given back to it.
    Service(String),
    /// A part of what is due each month, by its name.
    Fixed(String),
}

/// The whole cost of a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// The period, up to which the book was kept.
    pub period: Period,
    /// In which currency.
    pub currency: String,
    /// Its parts: the holds in the order of the book, and then the others.
    pub lines: Vec<Line>,
    /// What the GPUs cost that were there.
    pub fleet_micros: i128,
    /// What was due each month.
    pub fixed_micros: i128,
}

/// Why there is no bill.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something has no price.
    #[error(transparent)]
    Unpriced(#[from] Unpriced),
    /// More was held of a node than there was.
    #[error(transparent)]
    Excess(#[from] Excess),
    /// Too much to count.
    #[error(
        "the cost of {0:?} is more than can be counted: look for a price or a number of GPUs that cannot be"
    )]
    TooLarge(String),
}

impl Bill {
    /// All of it: the lines together, exactly.
    #[must_use]
    pub const fn total_micros(&self) -> i128 {
        self.fleet_micros + self.fixed_micros
    }
}

impl Line {
    /// The tenant that owes it; `None` where it is nobody's in particular.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        match (self.payer.tenant.as_str(), &self.kind) {
            ("", Kind::Held(_)) => Some(UNALLOCATED),
            ("", _) => None,
            (tenant, _) => Some(tenant),
        }
    }
}

/// Divides what there was in a period among those who held it, and shares out the rest as the price
/// file says. Fractions are rounded by the largest remainder, of equal ones to the first.
///
/// # Errors
/// When a part of the fleet has no price, or more was held of a node than it had.
pub fn bill(extract: &Extract, file: &PriceFile) -> Result<Bill, Error> {
    bill_of(extract, fleet::known(extract), file)
}

/// The same of a part of the extract's period.
///
/// # Errors
/// As [`bill`].
pub fn bill_of(extract: &Extract, part: Period, file: &PriceFile) -> Result<Bill, Error> {
    let period = fleet::known(extract).within(part);
    let mut weighed = Vec::new();
    held(extract, period, &file.prices, &mut weighed)?;
    idle(extract, period, &file.prices, &mut weighed)?;
    discounts(&there(extract, period, &file.prices)?, &mut weighed);
    let total: i128 = weighed.iter().map(|(_, weight)| weight).sum();
    let fleet = (total.unsigned_abs() + GPU_HOUR / 2) / GPU_HOUR;
    let weights: Vec<i128> = weighed.iter().map(|(_, weight)| *weight).collect();
    let amounts = share::round(&weights, GPU_HOUR, fleet);
    let lines = weighed.into_iter().zip(amounts);
    let mut bill = Bill {
        period,
        currency: file.currency.clone(),
        lines: lines
            .map(|((line, weight), micros)| Line {
                micros,
                hourly_micros: hourly(weight, line.gpu_time),
                ..line
            })
            .collect(),
        fleet_micros: i128::try_from(fleet).unwrap_or(i128::MAX),
        fixed_micros: 0,
    };
    shared::share_out(&mut bill, &file.chargeback);
    Ok(bill)
}

/// The holds of a period alone, as lines that cost nothing: for what is about time and not money.
#[must_use]
pub fn unpriced(extract: &Extract) -> Vec<Line> {
    lines_of(extract, fleet::known(extract)).collect()
}

fn lines_of(extract: &Extract, period: Period) -> impl Iterator<Item = Line> {
    let line = move |(index, hold): (usize, &Hold)| Line {
        kind: Kind::Held(index),
        payer: hold.payer.clone(),
        model: hold.id.model.clone(),
        pool: hold.pool.clone(),
        gpu_time: time(hold.gpu_milli, fleet::held(hold, period)),
        hourly_micros: 0,
        micros: 0,
    };
    let lines = extract.holds.iter().enumerate().map(line);
    lines.filter(|line| line.gpu_time > 0)
}

/// A line without its amount, and what that is in thousandths of a GPU times milliseconds times
/// hourly price.
type Weighed = (Line, i128);

fn held(
    extract: &Extract,
    period: Period,
    prices: &Prices,
    lines: &mut Vec<Weighed>,
) -> Result<(), Error> {
    for line in lines_of(extract, period) {
        let Kind::Held(index) = line.kind else {
            continue;
        };
        let hold = &extract.holds[index];
        let gpus = Gpus {
            model: &hold.id.model,
            pool: &hold.pool,
            priority_class: &hold.priority_class,
        };
        let weight = weigh(gpus, hold.gpu_milli, fleet::held(hold, period), prices)?;
        lines.push((line, weight));
    }
    Ok(())
}

fn idle(
    extract: &Extract,
    period: Period,
    prices: &Prices,
    lines: &mut Vec<Weighed>,
) -> Result<(), Error> {
    let mut sums: BTreeMap<Gpus<'_>, (u128, i128)> = BTreeMap::new();
    for free in fleet::free(extract, period)? {
        let gpus = Gpus {
            model: free.model,
            pool: free.pool,
            priority_class: "",
        };
        let weight = weigh(gpus, free.gpu_milli, free.period, prices)?;
        let sum = sums.entry(gpus).or_default();
        *sum = (
            sum.0 + time(free.gpu_milli, free.period),
            added(sum.1, weight, gpus)?,
        );
    }
    lines.extend(
        sums.into_iter()
            .map(|(gpus, (time, weight))| (line(Kind::Idle, gpus, time), weight)),
    );
    Ok(())
}

/// What the fleet costs, by model, whoever held it.
fn there<'a>(
    extract: &'a Extract,
    period: Period,
    prices: &Prices,
) -> Result<BTreeMap<&'a str, i128>, Error> {
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    for stock in &extract.stock {
        let gpus = Gpus {
            model: &stock.model,
            pool: &stock.pool,
            priority_class: "",
        };
        let weight = weigh(gpus, stock.gpu_milli, fleet::there(stock, period), prices)?;
        let sum = sums.entry(&stock.model).or_default();
        *sum = added(*sum, weight, gpus)?;
    }
    Ok(sums)
}

/// What of the fleet's cost the other lines do not come to.
fn discounts(there: &BTreeMap<&str, i128>, lines: &mut Vec<Weighed>) {
    for (model, there) in there {
        let told: i128 = lines
            .iter()
            .filter(|(line, _)| line.model == *model)
            .map(|(_, weight)| weight)
            .sum();
        if told != *there {
            let gpus = Gpus {
                model,
                pool: "",
                priority_class: "",
            };
            lines.push((line(Kind::Discount, gpus, 0), there - told));
        }
    }
}

fn line(kind: Kind, gpus: Gpus<'_>, gpu_time: u128) -> Line {
    Line {
        kind,
        payer: Payer::default(),
        model: gpus.model.to_owned(),
        pool: gpus.pool.to_owned(),
        gpu_time,
        hourly_micros: 0,
        micros: 0,
    }
}

/// What a GPU-hour costs, where so many thousandths of a GPU times milliseconds times hourly price
/// are so much time.
fn hourly(weight: i128, gpu_time: u128) -> u64 {
    let twice = weight.unsigned_abs() * 2 + gpu_time;
    let rounded = twice.checked_div(gpu_time * 2).unwrap_or_default();
    u64::try_from(rounded).unwrap_or(u64::MAX)
}

fn time(gpu_milli: u64, period: Period) -> u128 {
    u128::from(gpu_milli) * u128::from(period.length_ms())
}

fn weigh(gpus: Gpus<'_>, gpu_milli: u64, period: Period, prices: &Prices) -> Result<i128, Error> {
    if gpu_milli == 0 || period.length_ms() == 0 {
        return Ok(0);
    }
    let one = prices.weigh(gpus, period.from_ms, period.until_ms)?;
    let all = one.and_then(|one| one.checked_mul(u128::from(gpu_milli)));
    let all = all.and_then(|all| i128::try_from(all).ok());
    all.filter(|all| *all < MOST)
        .ok_or_else(|| Error::TooLarge(gpus.model.to_owned()))
}

/// Room is left for the sum over all lines.
const MOST: i128 = i128::MAX >> 24;

fn added(sum: i128, weight: i128, gpus: Gpus<'_>) -> Result<i128, Error> {
    let sum = sum.checked_add(weight).filter(|sum| *sum < MOST);
    sum.ok_or_else(|| Error::TooLarge(gpus.model.to_owned()))
}

#[cfg(test)]
mod tests;
