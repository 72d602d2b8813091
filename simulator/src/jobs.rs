//! `jobs.csv`: a line for every job under every order.

use prorata_core::Time;

use crate::fairness::gpus;
use crate::run::{Fate, Run};
use crate::scenario::order_name;

const HEADER: [&str; 13] = [
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
    "placement",
    "last_reason",
];

/// The file's bytes. An empty cell means that it did not happen.
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

fn row(run: &Run, fate: &Fate) -> [String; 13] {
    let job = &fate.job;
    let time = |time: Option<Time>| time.map_or_else(String::new, |t| t.as_millis().to_string());
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
        fate.wait(run.end).as_millis().to_string(),
        fate.placement
            .as_ref()
            .map_or_else(String::new, ToString::to_string),
        fate.reason
            .as_ref()
            .map_or_else(String::new, |reason| reason.to_string()),
    ]
}
