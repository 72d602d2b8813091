//! The sentence on top: the numbers that decide.

use super::words::{percent, span};
use super::{Report, words};
use crate::fairness::{gpus, hours};
use crate::metrics::Distribution;
use crate::run::{Fate, Run};
use crate::summary::{OrderSummary, TenantSummary};

/// The tenant that asks for most, against whom the others are held.
pub(super) struct Loudest {
    /// Its position in the scenario.
    pub(super) tenant: usize,
    /// Its part of all GPU-hours that are asked for.
    part: f64,
}

/// A few sentences. With several orders, the first is what the last is compared with.
pub(super) fn verdict(report: &Report<'_>) -> String {
    let orders = &report.summary.orders;
    let main = match (loudest(report), orders.as_slice()) {
        (Some(loudest), [_, .., _]) => compared(report, &loudest),
        (None, [first, .., last]) => format!("{}{}", against(first, last), short(report, last)),
        (_, [last]) => format!("{}{}", alone(last), short(report, last)),
        (_, []) => "Nothing was run.".to_owned(),
    };
    let last = orders.last();
    let more = last.map(|order| [idle(order), broken(order)].concat());
    main + &more.unwrap_or_default()
}

/// Where there are at least two tenants with jobs, and one asks for more than half.
pub(super) fn loudest(report: &Report<'_>) -> Option<Loudest> {
    let run = report.runs.first()?;
    let asked = |fate: &Fate| gpus(&fate.request()) * hours(fate.runtime);
    let all: f64 = run.jobs.iter().map(asked).sum();
    let tenants = report.scenario.tenants.iter().enumerate();
    let parts = tenants.map(|(tenant, spec)| {
        let own = run.jobs.iter().filter(|fate| fate.job.tenant == spec.id);
        let part = own.map(asked).sum::<f64>() / all;
        Loudest { tenant, part }
    });
    let most = parts.max_by(|a, b| a.part.total_cmp(&b.part))?;
    let others = waits_of_others(report, run, &most).is_some();
    (others && most.part > 0.5).then_some(most)
}

/// Waits of all jobs but those of the loudest tenant.
pub(super) fn waits_of_others(
    report: &Report<'_>,
    run: &Run,
    loudest: &Loudest,
) -> Option<Distribution> {
    let id = &report.scenario.tenants[loudest.tenant].id;
    let others = run
        .jobs
        .iter()
        .filter(|fate| fate.job.tenant != *id && !fate.is_hopeless());
    let ms = |fate: &Fate| u64::try_from(fate.wait(run.end).as_millis()).unwrap_or(u64::MAX);
    Distribution::of(others.map(ms))
}

fn compared(report: &Report<'_>, loudest: &Loudest) -> String {
    let name = &report.scenario.tenants[loudest.tenant].id;
    let orders = &report.summary.orders;
    let (first, last) = (&orders[0], &orders[orders.len() - 1]);
    let wait = |run: &Run| {
        let waits = waits_of_others(report, run, loudest);
        waits.map_or_else(String::new, |w| {
            format!("{} (median {})", span(w.p95), span(w.p50))
        })
    };
    let (before, after) = (wait(&report.runs[0]), wait(&report.runs[orders.len() - 1]));
    let done = |order: &OrderSummary| {
        let makespan = order.tenants[loudest.tenant].group.makespan_ms;
        makespan.map_or_else(|| "never".to_owned(), span)
    };
    let against = same_or(&after, &before);
    let rather = match (done(last), done(first)) {
        (now, then) if now == then => format!("after {now} under both"),
        (now, then) => format!("after {now} instead of {then}"),
    };
    format!(
        "{name} asks for {} of all GPU-hours. Under {} the p95 wait of everybody else is {after}; \
         under {} it is {against}. {name} itself is done {rather}.",
        percent(loudest.part),
        last.order,
        first.order,
    )
}

/// What it was before, if that was not the same.
fn same_or<'a>(after: &str, before: &'a str) -> &'a str {
    if after == before { "the same" } else { before }
}

/// The waits of all, under one order and under another.
fn against(first: &OrderSummary, last: &OrderSummary) -> String {
    let (Some(before), Some(after)) = (&first.all.wait_ms, &last.all.wait_ms) else {
        return alone(last);
    };
    let words = |w: &Distribution| format!("{} (median {})", span(w.p95), span(w.p50));
    let (before, after) = (words(before), words(after));
    format!(
        "Under {} the p95 wait of {} jobs is {after}; under {} it is {}.",
        last.order,
        words::grouped(&last.all.jobs.to_string()),
        first.order,
        same_or(&after, &before),
    )
}

fn alone(order: &OrderSummary) -> String {
    let all = &order.all;
    let Some(wait) = &all.wait_ms else {
        return format!("Under {} no job could ever start.", order.order);
    };
    format!(
        "Under {} the median wait of {} jobs is {}, the p95 wait {}, the longest {}.",
        order.order,
        words::grouped(&all.jobs.to_string()),
        span(wait.p50),
        span(wait.p95),
        span(wait.max),
    )
}

/// Who got least of what it was due.
fn short(report: &Report<'_>, order: &OrderSummary) -> String {
    let leaves = order.tenants.iter().zip(&report.scenario.tenants);
    let is_parent = |id| {
        let mut all = report.scenario.tenants.iter();
        all.any(|tenant| tenant.parent.as_ref() == Some(id))
    };
    let leaves = leaves.filter(|(_, tenant)| !is_parent(&tenant.id));
    let deficit = |t: &TenantSummary| t.group.deficit_gpu_hours;
    let worst = leaves
        .map(|(summary, _)| summary)
        .max_by(|a, b| deficit(a).total_cmp(&deficit(b)));
    let worst = worst.filter(|t| deficit(t) > 0.05 && report.scenario.tenants.len() > 1);
    worst.map_or_else(String::new, |t| {
        let hours = words::amount(deficit(t));
        format!(
            " {} was short of its due the most, by {hours} GPU-hours.",
            t.tenant
        )
    })
}

/// What idled although jobs waited, when it is much.
fn idle(order: &OrderSummary) -> String {
    let all = &order.gpu_hours;
    let causes = [
        (all.idle_no_fit, "what was free did not fit"),
        (all.idle_quota, "of limits, or of what others do not lend"),
        (all.idle_kept, "they were kept for jobs that come first"),
    ];
    let sum: f64 = causes.iter().map(|(hours, _)| hours).sum();
    let most = causes.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
    let part = sum / all.fleet.max(f64::MIN_POSITIVE);
    match most.filter(|_| part >= 0.05) {
        Some((_, cause)) => format!(
            " Under {} {} of all GPU-hours were idle although jobs waited, mostly because {cause}.",
            order.order,
            percent(part)
        ),
        None => String::new(),
    }
}

/// What failures took.
fn broken(order: &OrderSummary) -> String {
    if order.all.failures == 0 && order.gpu_hours.down <= 0.0 {
        return String::new();
    }
    format!(
        " Failures broke jobs off {} times; nodes were down for {} GPU-hours, and {} GPU-hours of \
         work were lost.",
        order.all.failures,
        words::amount(order.gpu_hours.down),
        words::amount(order.all.lost_gpu_hours),
    )
}
