//! `jobs.csv`: a line for every job under every order.

use std::time::Duration;

use prorata_core::Time;

use crate::fairness::gpus;
use crate::metrics::rounded;
use crate::run::{Fate, Run, millis};
use crate::scenario::order_name;

const HEADER: [&str; 29] = [
    "order",
    "namespace",
    "job",
    "tenant",
    "priority",
    "gang",
    "gpus",
    "submitted_ms",
    "started_ms",
    "finished_ms",
    "wait_ms",
    "first_start_ms",
    "runtime_ms",
    "held_ms",
    "starts",
    "evictions",
    "evicted_by",
    "evicted_rules",
    "failures",
    "restart_ms",
    "redo_ms",
    "grace_ms",
    "done_ms",
    "lost_ms",
    "shared_ms",
    "cost",
    "placement",
    "main_reason",
    "last_reason",
];

/// The file's bytes. An empty cell means that it did not happen. Times are those of the
/// simulation, in milliseconds; `done_ms` and `lost_ms` are work, at full speed.
///
/// # Errors
/// Never in practice: it writes to memory.
pub fn csv(runs: &[Run]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER)?;
    for run in runs {
        for fate in &run.jobs {
            writer.write_record(row(run, fate))?;
        }
    }
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}

fn row(run: &Run, fate: &Fate) -> [String; HEADER.len()] {
    let (job, spells) = (&fate.job, &fate.spells);
    let time = |time: Option<Time>| time.map_or_else(String::new, |t| t.as_millis().to_string());
    let span = |span: Duration| millis(span).to_string();
    [
        order_name(run.order).to_owned(),
        job.id.namespace().to_owned(),
        job.id.name().to_owned(),
        job.tenant.to_string(),
        job.priority.to_string(),
        job.gang.to_string(),
        gpus(&fate.request()).to_string(),
        job.submitted.as_millis().to_string(),
        time(fate.started),
        time(fate.finished),
        span(fate.wait(run.end)),
        span(fate.first_wait(run.end)),
        span(fate.runtime),
        span(fate.held),
        fate.starts.to_string(),
        fate.evictions.len().to_string(),
        listed(
            fate.evictions
                .iter()
                .map(|eviction| eviction.by.to_string()),
        ),
        listed(fate.evictions.iter().map(|e| e.rule.name().to_owned())),
        fate.failures.to_string(),
        span(spells.restart),
        span(spells.redo),
        span(spells.grace),
        spells.kept.millis().to_string(),
        spells.lost.millis().to_string(),
        span(spells.shared.time),
        rounded(fate.cost.0).to_string(),
        fate.placement
            .as_ref()
            .map_or_else(String::new, ToString::to_string),
        fate.main_reason().unwrap_or_default().to_owned(),
        fate.reason
            .as_ref()
            .map_or_else(String::new, |reason| reason.to_string()),
    ]
}

/// Separated by blanks, in their order.
fn listed(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" ")
}
