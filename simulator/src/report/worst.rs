//! The jobs that fared worst, and why they waited, in words.

use std::collections::{BTreeMap, BTreeSet};

use super::scene::Scene;
use super::table::Table;
use super::words::span;
use crate::fairness::gpus;
use crate::run::{Fate, Run, millis};
use crate::scenario::order_name;
use crate::world::Change;

/// The worst jobs that are shown of each order.
const WORST: usize = 20;
/// The tenants whose worst job is shown of each order.
const TENANTS: usize = 24;
/// The jobs without an end that are shown of each order.
const UNFINISHED: usize = 50;

/// What the reasons mean that occurred, by code.
pub(super) type Meanings = BTreeMap<&'static str, &'static str>;

pub(super) fn meanings(runs: &[Run]) -> Meanings {
    let told = runs.iter().flat_map(|run| &run.records);
    let told = told.filter_map(|record| match &record.what {
        Change::Waiting(reason) => Some(reason),
        _ => None,
    });
    let last = runs.iter().flat_map(|run| &run.jobs);
    let last = last.filter_map(|fate| fate.reason.as_ref());
    let known = told.chain(last).map(|r| (r.code(), crate::meaning::of(r)));
    let mut meanings: Meanings = known.collect();
    let waits = runs.iter().flat_map(|run| &run.jobs).flat_map(|f| &f.waits);
    for (code, _) in waits {
        meanings
            .entry(code)
            .or_insert("its wait was over before anybody asked why");
    }
    meanings
}

/// The worst job of each tenant under each order.
pub(super) fn of_tenants(scene: &Scene<'_>, meanings: &Meanings) -> Table {
    let mut table = table("The longest wait of each tenant");
    for run in scene.report.runs {
        let mut seen = BTreeSet::new();
        let firsts = waits(run);
        let mut firsts: Vec<&Fate> = firsts
            .into_iter()
            .filter(|fate| seen.insert(&fate.job.tenant))
            .take(TENANTS)
            .collect();
        firsts.sort_by_key(|fate| scene.cast.number(&fate.job.tenant));
        for fate in firsts {
            table.push(row(run, fate, meanings));
        }
    }
    table
}

/// The jobs that waited longest under each order.
pub(super) fn of_all(scene: &Scene<'_>, meanings: &Meanings) -> Table {
    let mut table = table("The longest waits of all");
    for run in scene.report.runs {
        for fate in waits(run).into_iter().take(WORST) {
            table.push(row(run, fate, meanings));
        }
    }
    table
}

/// The jobs that had no end.
pub(super) fn unfinished(scene: &Scene<'_>, meanings: &Meanings) -> Table {
    let mut table = table("Not done at the end");
    let mut more = 0;
    for run in scene.report.runs {
        let open = run.jobs.iter().filter(|fate| fate.finished.is_none());
        more += open.clone().count().saturating_sub(UNFINISHED);
        for fate in open.take(UNFINISHED) {
            table.push(row(run, fate, meanings));
        }
    }
    if more > 0 {
        table.note = format!("And {more} more, all in summary.json.");
    }
    table
}

fn table(caption: &str) -> Table {
    let header = ["Order", "Tenant", "Job", "GPUs", "Wait", "Why", "Told last"];
    let mut table = Table::new(caption, &header);
    table.words = 3;
    table
}

/// Those that waited, the longest wait first.
fn waits(run: &Run) -> Vec<&Fate> {
    let waited = |fate: &&Fate| !fate.wait(run.end).is_zero();
    let mut fates: Vec<&Fate> = run.jobs.iter().filter(waited).collect();
    fates.sort_by_key(|fate| std::cmp::Reverse(fate.wait(run.end)));
    fates
}

fn row(run: &Run, fate: &Fate, meanings: &Meanings) -> Vec<String> {
    vec![
        order_name(run.order).to_owned(),
        fate.job.tenant.to_string(),
        fate.job.id.to_string(),
        gpus(&fate.request()).to_string(),
        span(millis(fate.wait(run.end))),
        why(run, fate, meanings),
        fate.reason
            .as_ref()
            .map_or_else(|| "–".to_owned(), ToString::to_string),
    ]
}

/// `3 h of it: too little is free for the whole gang (CapacityFull)`.
fn why(run: &Run, fate: &Fate, meanings: &Meanings) -> String {
    if fate.finished.is_none() && fate.pending.is_none() {
        return match fate.started {
            Some(_) => "still runs at the end".to_owned(),
            None => "had not arrived at the end".to_owned(),
        };
    }
    let told = fate.reason.as_ref().map(prorata_core::Reason::code);
    let Some(code) = fate.main_reason().or(told) else {
        return "–".to_owned();
    };
    let meaning = meanings.get(code).copied().unwrap_or_default();
    // Some meanings explain a number that is not shown here.
    let meaning = meaning.split(';').next().unwrap_or_default();
    let longest = fate.waits.iter().find(|(known, _)| *known == code);
    match longest {
        Some((_, part)) if *part < fate.wait(run.end) => {
            format!("{} of it: {meaning} ({code})", span(millis(*part)))
        }
        _ => format!("{meaning} ({code})"),
    }
}
