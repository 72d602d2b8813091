//! What GPUs cost, as OpenCost answers at `/allocation`, so that what reads that can read us.
//!
//! Costs are what GPUs cost that were held; services and monthly amounts are for the reports.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::bill::{self, Bill, Error, GPU_HOUR, Kind, Line};
use crate::chargeback::Chargeback;
use crate::fleet;
use crate::money::exact;
use crate::period::{Period, rfc3339};
use crate::price_file::PriceFile;
use crate::record::{Extract, Hold};
use crate::share::divide;
use crate::totals::Sum;

mod query;

pub use query::{Property, Query};

/// How idle time is called.
const IDLE: &str = "__idle__";
/// How a property is called that nobody named.
const UNALLOCATED: &str = "__unallocated__";
/// What classes paid less than their GPUs cost.
const DISCOUNTS: &str = "__discounts__";

/// Answers a query from what the book says of its window: `{"code": 200, "data": [{NAME: {…}}, …]}`,
/// with an element of `data` for each step.
///
/// # Errors
/// When there is no bill.
pub fn allocation(extract: &Extract, file: &PriceFile, query: &Query) -> Result<Value, Error> {
    answer(extract, file, query, &|_| true)
}

/// The same of what was held in these namespaces alone, each line as in the whole bill. Nothing is told
/// of time that was idle, which is not theirs.
///
/// # Errors
/// As [`allocation`].
pub fn allocation_within(
    extract: &Extract,
    file: &PriceFile,
    query: &Query,
    namespaces: &BTreeSet<String>,
) -> Result<Value, Error> {
    let query = Query {
        include_idle: false,
        share_idle: false,
        ..query.clone()
    };
    let is_seen = |hold: &Hold| namespaces.contains(&hold.payer.namespace);
    answer(extract, file, &query, &is_seen)
}

/// Whether a hold is told of.
type Seen<'a> = &'a dyn Fn(&Hold) -> bool;

fn answer(
    extract: &Extract,
    file: &PriceFile,
    query: &Query,
    is_seen: Seen<'_>,
) -> Result<Value, Error> {
    let file = PriceFile {
        chargeback: Chargeback::default(),
        ..file.clone()
    };
    let sets = query.steps();
    let sets = sets.map(|step| set((extract, is_seen), &file, query, step));
    let data: Vec<Value> = sets.collect::<Result<_, _>>()?;
    Ok(json!({"code": 200, "status": "success", "data": data}))
}

/// What a query is refused with.
#[must_use]
pub fn refusal(code: u16, message: &str) -> Value {
    json!({"code": code, "status": "error", "message": message, "data": null})
}

/// What was added up under a name.
#[derive(Default)]
struct Entry {
    sum: Sum,
    properties: Map<String, Value>,
    /// What it holds of idle time that is shared out.
    idle_micros: i128,
    from_ms: Option<u64>,
    until_ms: u64,
}

fn set(
    (extract, is_seen): (&Extract, Seen<'_>),
    file: &PriceFile,
    query: &Query,
    step: Period,
) -> Result<Value, Error> {
    let bill = bill::bill_of(extract, step, file)?;
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    let (mut idle, mut discounts) = (Vec::new(), Vec::new());
    for line in &bill.lines {
        match line.kind {
            Kind::Held(index) => {
                let hold = extract.holds.get(index).filter(|hold| is_seen(hold));
                if let Some(hold) = hold {
                    enter(&mut entries, extract, &bill, query, (line, hold));
                }
            }
            Kind::Discount => discounts.push(line),
            _ => idle.push(line),
        }
    }
    if query.include_idle && query.share_idle && !entries.is_empty() {
        share_idle(&mut entries, &idle);
    } else if query.include_idle {
        let nodes = if query.idle_by_node {
            by_node(extract, &bill, file, &idle)
        } else {
            vec![(IDLE.to_owned(), added(extract, &idle))]
        };
        entries.extend(
            nodes
                .into_iter()
                .filter(|(_, sum)| sum.idle > 0)
                .map(|(name, sum)| {
                    (
                        name,
                        Entry {
                            sum,
                            ..Entry::default()
                        },
                    )
                }),
        );
    }
    if query.include_idle && !discounts.is_empty() {
        entries.insert(
            DISCOUNTS.to_owned(),
            Entry {
                sum: added(extract, &discounts),
                ..Entry::default()
            },
        );
    }
    let render = |(name, entry): (String, Entry)| {
        let value = render(&name, &entry, step, bill.period);
        (name, value)
    };
    Ok(Value::Object(entries.into_iter().map(render).collect()))
}

fn added(extract: &Extract, lines: &[&Line]) -> Sum {
    let mut sum = Sum::default();
    for line in lines {
        sum.add(extract, line);
    }
    sum
}

fn enter(
    entries: &mut BTreeMap<String, Entry>,
    extract: &Extract,
    bill: &Bill,
    query: &Query,
    (line, hold): (&Line, &Hold),
) {
    let value = |property: &Property| match property.of(hold) {
        "" => UNALLOCATED.to_owned(),
        value => value.to_owned(),
    };
    let names: Vec<String> = query.aggregate.iter().map(value).collect();
    let entry = entries.entry(names.join("/")).or_default();
    for (property, name) in query.aggregate.iter().zip(names) {
        property.put(&mut entry.properties, name);
    }
    let held = fleet::held(hold, bill.period);
    entry.from_ms = Some(
        entry
            .from_ms
            .map_or(held.from_ms, |from| from.min(held.from_ms)),
    );
    entry.until_ms = entry.until_ms.max(held.until_ms);
    entry.sum.add(extract, line);
}

/// Idle cost in proportion to what each costs; nobody pays where nobody held anything.
fn share_idle(entries: &mut BTreeMap<String, Entry>, idle: &[&Line]) {
    let weights: Vec<u128> = entries
        .values()
        .map(|entry| entry.sum.micros.unsigned_abs())
        .collect();
    let all: i128 = idle.iter().map(|line| line.micros).sum();
    for (entry, part) in entries
        .values_mut()
        .zip(divide(all, &weights).unwrap_or_default())
    {
        entry.idle_micros = part;
    }
}

/// Idle time of each node: `NODE/__idle__`. Each idle line is divided exactly by what was free where.
fn by_node(extract: &Extract, bill: &Bill, file: &PriceFile, idle: &[&Line]) -> Vec<(String, Sum)> {
    let mut nodes: BTreeMap<&str, Sum> = BTreeMap::new();
    let free = fleet::free(extract, bill.period).unwrap_or_default();
    for line in idle {
        let mut parts: BTreeMap<&str, (u128, u128)> = BTreeMap::new();
        for free in free
            .iter()
            .filter(|free| free.model == line.model && free.pool == line.pool)
        {
            let gpus = crate::price::Gpus {
                model: free.model,
                pool: free.pool,
                priority_class: "",
            };
            let one = file
                .prices
                .weigh(gpus, free.period.from_ms, free.period.until_ms)
                .ok()
                .flatten();
            let milli = u128::from(free.gpu_milli);
            let part = parts.entry(free.node).or_default();
            part.0 += one.unwrap_or_default() * milli;
            part.1 += milli * u128::from(free.period.length_ms());
        }
        let weights: Vec<u128> = parts.values().map(|(weight, _)| *weight).collect();
        let amounts = divide(line.micros, &weights).unwrap_or_else(|| vec![0; weights.len()]);
        for ((node, (_, time)), micros) in parts.into_iter().zip(amounts) {
            let sum = nodes.entry(node).or_default();
            sum.micros += micros;
            sum.idle += time;
        }
    }
    nodes
        .into_iter()
        .map(|(node, sum)| (format!("{node}/{IDLE}"), sum))
        .collect()
}

fn render(name: &str, entry: &Entry, step: Period, known: Period) -> Value {
    let period = Period {
        from_ms: entry.from_ms.unwrap_or(known.from_ms),
        until_ms: if entry.from_ms.is_some() {
            entry.until_ms
        } else {
            known.until_ms
        },
    };
    let (sum, time) = (&entry.sum, entry.sum.held + entry.sum.idle);
    let gpu_milli = time
        .checked_div(u128::from(period.length_ms()))
        .unwrap_or_default();
    let total = sum.micros + entry.idle_micros;
    let busy = sum
        .busy_milli()
        .map(|milli| number(i128::try_from(milli * 1000).unwrap_or_default()));
    json!({
        "name": name,
        "properties": entry.properties,
        "window": {"start": rfc3339(step.from_ms), "end": rfc3339(step.until_ms)},
        "start": rfc3339(period.from_ms),
        "end": rfc3339(period.until_ms),
        "minutes": number(i128::from(period.length_ms()) * 1_000_000 / 60_000),
        "gpuCount": number(i128::try_from(gpu_milli * 1000).unwrap_or_default()),
        "gpuHours": number(i128::try_from((time * 1_000_000 + GPU_HOUR / 2) / GPU_HOUR).unwrap_or_default()),
        "gpuCost": number(sum.micros),
        "gpuCostAdjustment": 0,
        "gpuCostIdle": number(entry.idle_micros),
        "gpuEfficiency": busy,
        "cpuCost": 0,
        "ramCost": 0,
        "pvCost": 0,
        "networkCost": 0,
        "loadBalancerCost": 0,
        "sharedCost": 0,
        "externalCost": 0,
        "totalCost": number(total),
    })
}

/// Millionths as a number that JSON has.
fn number(micros: i128) -> Value {
    serde_json::from_str(&exact(micros)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
