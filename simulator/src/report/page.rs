//! What stands on the page, for its template.

use askama::Template;

use super::canvas::{colour, css};
use super::verdict::{Loudest, loudest, verdict, waits_of_others};
use super::words::{gpu_hours, percent, span};
use super::{Report, ReportError, held, stack, waits};
use crate::fairness::gpus;
use crate::run::{Fate, Run};
use crate::scenario::{Pool, order_name};
use crate::summary::{Group, OrderSummary};

/// The worst jobs that are shown of each order.
const WORST: usize = 6;
/// The jobs without an end that are shown of each order.
const UNFINISHED_MAX: usize = 50;

pub(super) fn html(report: &Report<'_>) -> Result<String, ReportError> {
    Ok(Page::new(report)?.render()?)
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    name: String,
    description: String,
    verdict: String,
    tiles: Vec<Tile>,
    /// Of each tenant, name and colour.
    legend: Vec<(String, String)>,
    /// Of each order, name and colour.
    orders: Vec<(String, String)>,
    stacks: Vec<(String, String)>,
    tenants: Vec<(String, Vec<(String, String)>)>,
    waits: String,
    numbers: Vec<Vec<String>>,
    worst: Vec<Job>,
    unfinished: Vec<Job>,
    unfinished_more: usize,
    meanings: Vec<(&'static str, &'static str)>,
    pools: Vec<String>,
    guarantees: String,
    seed: u64,
    version: &'static str,
    input_hash: String,
}

/// One measure under each order.
struct Tile {
    label: String,
    values: Vec<(String, String)>,
}

/// A job worth a look.
struct Job {
    order: &'static str,
    name: String,
    gpus: String,
    wait: String,
    reason: String,
}

impl Page {
    fn new(report: &Report<'_>) -> Result<Self, ReportError> {
        let Report {
            scenario,
            runs,
            summary,
        } = *report;
        let named = |run: &Run, svg: String| (order_name(run.order).to_owned(), svg);
        let stacks = runs
            .iter()
            .map(|run| Ok(named(run, stack::inline(report, run)?)));
        let small = |(tenant, name): (usize, &str)| {
            let one = |run: &Run| Ok(named(run, held::inline(report, run, tenant)?));
            let charts: Result<Vec<_>, ReportError> = runs.iter().map(one).collect();
            Ok((name.to_owned(), charts?))
        };
        let unfinished: Vec<Job> = runs.iter().flat_map(unfinished).collect();
        Ok(Self {
            name: scenario.name.clone(),
            description: scenario.description.clone(),
            verdict: unbroken(&verdict(report)),
            tiles: tiles(report),
            legend: report
                .tenants()
                .map(|(i, name)| (name.to_owned(), css(colour(i))))
                .collect(),
            orders: orders(report),
            stacks: stacks.collect::<Result<_, ReportError>>()?,
            tenants: report
                .tenants()
                .map(small)
                .collect::<Result<_, ReportError>>()?,
            waits: waits::inline(report)?,
            numbers: summary.orders.iter().flat_map(numbers).collect(),
            worst: runs.iter().flat_map(worst).collect(),
            unfinished_more: unfinished.len().saturating_sub(UNFINISHED_MAX),
            unfinished: unfinished.into_iter().take(UNFINISHED_MAX).collect(),
            meanings: meanings(runs),
            pools: scenario.pools.iter().map(Pool::describe).collect(),
            guarantees: guarantees(report),
            seed: scenario.seed,
            version: summary.version,
            input_hash: summary.input_hash.clone(),
        })
    }
}

/// With numbers that stay beside their units.
fn unbroken(sentence: &str) -> String {
    let units = [" h ", " min", " %", " s ", " d "];
    let glue = |text: String, unit: &str| text.replace(unit, &unit.replace(' ', "\u{a0}"));
    units.into_iter().fold(sentence.to_owned(), glue)
}

fn orders(report: &Report<'_>) -> Vec<(String, String)> {
    let names = report.summary.orders.iter().map(|order| order.order);
    names
        .map(|name| (name.to_owned(), waits::swatch(name)))
        .collect()
}

fn tiles(report: &Report<'_>) -> Vec<Tile> {
    let tile = |label: &str, value: &dyn Fn(&OrderSummary) -> Option<String>| Tile {
        label: label.to_owned(),
        values: report
            .summary
            .orders
            .iter()
            .map(|order| cell(order, value(order)))
            .collect(),
    };
    let mut tiles: Vec<Tile> = loudest(report)
        .map(|l| others(report, &l))
        .into_iter()
        .collect();
    tiles.extend([
        tile("p50 wait", &|o| Some(span(o.all.wait_ms?.p50))),
        tile("p95 wait", &|o| Some(span(o.all.wait_ms?.p95))),
        tile("longest wait", &|o| Some(span(o.all.wait_ms?.max))),
        tile("GPUs allocated while jobs waited", &|o| {
            o.allocation_ratio_while_waiting.map(percent)
        }),
        tile("deficit, GPU-hours", &|o| {
            Some(gpu_hours(o.all.deficit_gpu_hours))
        }),
        tile("makespan", &|o| o.makespan_ms.map(span)),
        tile("Jain index", &|o| {
            o.jain_index.map(|index| format!("{index:.2}"))
        }),
    ]);
    tiles
}

fn others(report: &Report<'_>, loudest: &Loudest) -> Tile {
    let orders = report.summary.orders.iter().zip(report.runs);
    let value = |(order, run)| {
        let waits = waits_of_others(report, run, loudest);
        cell(order, waits.map(|waits| span(waits.p95)))
    };
    Tile {
        label: format!(
            "p95 wait of all but {}",
            report.scenario.tenants[loudest.tenant].id
        ),
        values: orders.map(value).collect(),
    }
}

fn cell(order: &OrderSummary, value: Option<String>) -> (String, String) {
    (
        order.order.to_owned(),
        value.unwrap_or_else(|| "–".to_owned()),
    )
}

/// Of each tenant and of all.
fn numbers(order: &OrderSummary) -> Vec<Vec<String>> {
    let tenants = order.tenants.iter().map(|t| (t.tenant.as_str(), &t.group));
    let all = tenants.chain([("all", &order.all)]);
    all.map(|(name, group)| row(order.order, name, group))
        .collect()
}

fn row(order: &str, name: &str, group: &Group) -> Vec<String> {
    let dash = || "–".to_owned();
    let wait = |of: fn(&crate::metrics::Distribution) -> u64| {
        group.wait_ms.as_ref().map_or_else(dash, |w| span(of(w)))
    };
    vec![
        order.to_owned(),
        name.to_owned(),
        format!("{} / {}", group.finished, group.jobs),
        wait(|w| w.p50),
        wait(|w| w.p95),
        wait(|w| w.p99),
        wait(|w| w.max),
        group.jct_ms.as_ref().map_or_else(dash, |jct| span(jct.p50)),
        group
            .bounded_slowdown_mean
            .map_or_else(dash, |s| format!("{s:.1}")),
        gpu_hours(group.gpu_hours),
        gpu_hours(group.deficit_gpu_hours),
        group.makespan_ms.map_or_else(dash, span),
    ]
}

/// The jobs that waited longest.
fn worst(run: &Run) -> Vec<Job> {
    let mut fates: Vec<&Fate> = run
        .jobs
        .iter()
        .filter(|f| !f.wait(run.end).is_zero())
        .collect();
    fates.sort_by_key(|fate| std::cmp::Reverse(fate.wait(run.end)));
    fates
        .into_iter()
        .take(WORST)
        .map(|fate| job(run, fate))
        .collect()
}

fn unfinished(run: &Run) -> impl Iterator<Item = Job> + '_ {
    let open = run.jobs.iter().filter(|fate| fate.finished.is_none());
    open.map(|fate| match fate.started {
        None => job(run, fate),
        Some(_) => Job {
            reason: "still runs at the end".to_owned(),
            ..job(run, fate)
        },
    })
}

fn job(run: &Run, fate: &Fate) -> Job {
    Job {
        order: order_name(run.order),
        name: fate.job.id.to_string(),
        gpus: gpus(&fate.request()).to_string(),
        wait: span(u64::try_from(fate.wait(run.end).as_millis()).unwrap_or(u64::MAX)),
        reason: fate
            .reason
            .as_ref()
            .map_or_else(|| "–".to_owned(), |reason| reason.to_string()),
    }
}

/// What the reasons mean that occurred.
fn meanings(runs: &[Run]) -> Vec<(&'static str, &'static str)> {
    let reasons = runs
        .iter()
        .flat_map(|run| &run.jobs)
        .filter_map(|fate| fate.reason.as_ref());
    let all: std::collections::BTreeMap<_, _> = reasons
        .map(|reason| (reason.code(), crate::meaning::of(reason)))
        .collect();
    all.into_iter().collect()
}

fn guarantees(report: &Report<'_>) -> String {
    let tenants = report.scenario.tenants.iter();
    let one = |t: &prorata_core::Tenant| {
        let weight = match (t.weight.numerator(), t.weight.denominator()) {
            (numerator, 1) => numerator.to_string(),
            (numerator, denominator) => format!("{numerator}/{denominator}"),
        };
        format!("{}: {} GPUs, weight {weight}", t.id, gpus(&t.guaranteed))
    };
    tenants.map(one).collect::<Vec<_>>().join("; ")
}
