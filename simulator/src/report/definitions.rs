//! What the words of a report mean, and what was assumed.

use prorata_core::Order;

use super::Report;
use crate::fairness::gpus;
use crate::scenario::{Pool, order_name};

/// A word and what it means.
pub(super) type Definition = (String, String);

/// Each measure in a line.
const MEASURES: [(&str, &str); 13] = [
    (
        "Wait",
        "all the time that a job was pending, also after it had to leave. A job that still waits at the end counts with its wait so far; one that can never start does not count.",
    ),
    (
        "Percentile",
        "p95 is the value at position ⌊0.95 · n⌋ of the n sorted values, counted from 0; others likewise.",
    ),
    (
        "Completion",
        "end − submission, of the jobs that ended. Slowdown: the same ÷ run time at full speed (at least 10 s), at least 1; the mean.",
    ),
    (
        "Entitled",
        "first the guarantee, then by weight from what is left (weighted max-min), of the nodes that work, and never more than the tenant's jobs ask for.",
    ),
    (
        "Deficit",
        "the area of unfairness: what was due and not given, in GPU-hours. A tenant that wants nothing has none; one whose gang is too large for what is free has one all the same.",
    ),
    (
        "Jain index",
        "of held ÷ entitled over the tenants that have jobs waiting, averaged over the time during which there were two or more: 1 is even.",
    ),
    (
        "GPUs allocated",
        "GPU-hours held ÷ GPU-hours of nodes that worked, from the first submission to the end.",
    ),
    (
        "Utilisation",
        "useful work ÷ the same: hours at full speed of work that was kept, times the GPUs it ran on, times how busy it keeps them. Lost work, loading and being slowed by neighbours are not useful.",
    ),
    (
        "Fragmentation",
        "idle GPU-hours that no typical task of this work could use ÷ all idle GPU-hours.",
    ),
    (
        "Lost",
        "GPU-hours held for nothing: work since the last save of jobs that had to leave or broke off, loading what was saved, and leaving.",
    ),
    (
        "Preempted",
        "how often a job had to leave for another. Breaking off because something failed is not counted.",
    ),
    (
        "Idle",
        "no demand: nobody waits. Does not fit: too few are free, or not together. Quota: those that wait are at a limit, or others do not lend. Kept: for a job that comes first. Where several apply, by how many GPUs the jobs behind each ask for.",
    ),
    (
        "Cost",
        "every GPU is paid for from the first submission to the end, whether or not it is held, at its pool's price; the currency is the scenario's.",
    ),
];

/// Of the orders that were run, then of each measure.
pub(super) fn definitions(report: &Report<'_>) -> Vec<Definition> {
    let orders = report.scenario.orders.iter();
    let orders = orders.map(|order| (order_name(*order).to_owned(), meaning(*order).to_owned()));
    let measures = MEASURES.iter();
    let measures = measures.map(|(word, meaning)| ((*word).to_owned(), (*meaning).to_owned()));
    orders.chain(measures).collect()
}

const fn meaning(order: Order) -> &'static str {
    match order {
        Order::Drf => {
            "what becomes free goes to the tenant that is inside its guarantee, then to the one with the lowest weighted dominant share above its guarantee; within a tenant by priority, then age."
        }
        Order::Fifo => {
            "the oldest job that fits starts first, whoever's it is and whatever its priority. A job that does not fit is passed over, so this is not strict first come, first served."
        }
        Order::Priority => "by priority, then age, whoever's job it is.",
        Order::Srtf => "the shortest remaining time first; it needs to know run times.",
        Order::Srsf => "the least remaining time × GPUs first; it needs to know run times.",
        Order::Las => {
            "the least time × GPUs so far first, in two queues; it needs to know nothing."
        }
    }
}

/// What was run, and what was assumed.
pub(super) fn assumptions(report: &Report<'_>) -> Vec<Definition> {
    let scenario = report.scenario;
    let pools: Vec<String> = scenario.pools.iter().map(priced).collect();
    let mut known = vec![
        ("Cluster", pools.join("; ")),
        ("Tenants", tenants(report)),
        ("Seed", scenario.seed.to_string()),
        ("Version", format!("prorata-sim {}", report.summary.version)),
        ("Input", report.summary.input_hash.clone()),
        ("Interference", report.summary.interference_hash.clone()),
        ("Grace", format!("{} for a job that has to leave", super::words::span(crate::run::millis(scenario.grace)))),
        ("Nodes", failures(report)),
        ("Starting", "a job starts at once where it is placed, and runs as long as was drawn at full speed. The decisions are those that a live cluster gets from the same code.".to_owned()),
        ("Charts", "long runs are drawn as means over stretches of equal length, which keeps areas and may hide the shortest peaks; many dots that lie together are drawn as one. The numbers in tables are exact.".to_owned()),
    ];
    if let Some(trace) = &scenario.trace {
        let odd = match trace.oddities.odd.is_empty() {
            true => format!("all {} rows were taken as they are", trace.oddities.rows),
            false => trace
                .oddities
                .to_string()
                .replace('\n', "; ")
                .replace("trace: ", ""),
        };
        known.push((
            "Trace",
            format!("{} ({}): {odd}", trace.source.format(), trace.hash),
        ));
    }
    let warnings = scenario.warnings.iter().filter(|warning| {
        let of_trace = scenario.trace.as_ref().map(|trace| &trace.warnings);
        of_trace.is_none_or(|known| !known.contains(warning))
    });
    known.extend(warnings.map(|warning| ("Warning", warning.to_string())));
    let owned = |(word, meaning): (&str, String)| (word.to_owned(), meaning);
    known.into_iter().map(owned).collect()
}

fn priced(pool: &Pool) -> String {
    let price = pool
        .price
        .map(|price| format!(", {price} an hour for a GPU"));
    pool.describe() + &price.unwrap_or_default()
}

fn failures(report: &Report<'_>) -> String {
    let scenario = report.scenario;
    let faults = crate::workload::faults(scenario, scenario.seed).len();
    match faults {
        0 => "none fail".to_owned(),
        1 => "one fails once".to_owned(),
        many => format!("they fail {many} times in all"),
    }
}

/// Tenants that a report names with their guarantees.
const TENANTS_MAX: usize = 40;

fn tenants(report: &Report<'_>) -> String {
    let tenants = &report.scenario.tenants;
    let one = |t: &prorata_core::Tenant| {
        let weight = match (t.weight.numerator(), t.weight.denominator()) {
            (numerator, 1) => numerator.to_string(),
            (numerator, denominator) => format!("{numerator}/{denominator}"),
        };
        let parent = t.parent.as_ref().map(|p| format!(" (below {p})"));
        let parent = parent.unwrap_or_default();
        format!(
            "{}{parent}: {} GPUs guaranteed, weight {weight}",
            t.id,
            gpus(&t.guaranteed)
        )
    };
    let mut named: Vec<String> = tenants.iter().take(TENANTS_MAX).map(one).collect();
    if tenants.len() > TENANTS_MAX {
        named.push(format!("and {} more", tenants.len() - TENANTS_MAX));
    }
    named.join("; ")
}
