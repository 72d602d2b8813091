//! `events.jsonl`: all that happened, a JSON object for each line, with its fields in one order.

use prorata_core::JobId;
use serde::Serialize;

use crate::run::Run;
use crate::scenario::order_name;
use crate::world::{Change, Failure, Record, Spell};

/// A line. A field that says nothing here is left out.
#[derive(Serialize)]
struct Line<'a> {
    order: &'static str,
    time_ms: u64,
    event: &'static str,
    job: &'a str,
    tenant: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    placement: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    spell: Option<Left>,
}

/// What a spell on GPUs came to, in milliseconds.
#[derive(Serialize)]
struct Left {
    held_ms: u64,
    restart_ms: u64,
    redo_ms: u64,
    grace_ms: u64,
    kept_ms: u128,
    lost_ms: u128,
}

/// The bytes of the file: the submissions of each run, then what happened, as it happened.
///
/// # Errors
/// Never in practice: it writes to memory.
pub fn jsonl(runs: &[Run]) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    let mut name = String::new();
    for run in runs {
        let order = order_name(run.order);
        let mut to_come: Vec<&JobId> = run.jobs.iter().map(|fate| &fate.job.id).collect();
        let tenants: std::collections::HashMap<&JobId, &crate::run::Fate> =
            run.jobs.iter().map(|fate| (&fate.job.id, fate)).collect();
        to_come.sort_by_key(|id| tenants[id].job.submitted);
        let mut to_come = to_come.into_iter().peekable();
        let submitted = |id: &JobId| tenants[id].job.submitted;
        for record in &run.records {
            while let Some(id) = to_come.next_if(|id| submitted(id) <= record.time) {
                write(&mut bytes, &arrival(order, id, tenants[id], &mut name))?;
            }
            let tenant = tenants[&record.job].job.tenant.as_str();
            write(&mut bytes, &line(order, record, tenant, &mut name))?;
        }
        for id in to_come.filter(|id| submitted(id) <= run.end) {
            write(&mut bytes, &arrival(order, id, tenants[id], &mut name))?;
        }
    }
    Ok(bytes)
}

fn write(bytes: &mut Vec<u8>, line: &Line<'_>) -> Result<(), serde_json::Error> {
    serde_json::to_writer(&mut *bytes, line)?;
    bytes.push(b'\n');
    Ok(())
}

fn arrival<'a>(
    order: &'static str,
    id: &JobId,
    fate: &'a crate::run::Fate,
    name: &'a mut String,
) -> Line<'a> {
    let tenant = fate.job.tenant.as_str();
    let time = fate.job.submitted.as_millis();
    plain(order, time, "submit", tenant, named(id, name))
}

fn line<'a>(
    order: &'static str,
    record: &'a Record,
    tenant: &'a str,
    name: &'a mut String,
) -> Line<'a> {
    let name = named(&record.job, name);
    let plain = |event| plain(order, record.time.as_millis(), event, tenant, name);
    match &record.what {
        Change::Admitted(placement) => Line {
            placement: Some(placement.to_string()),
            ..plain("admit")
        },
        Change::Evicted(by, rule) => Line {
            by: Some(by.to_string()),
            rule: Some(rule.name()),
            ..plain("evict")
        },
        Change::Failed(Failure::Node(node)) => Line {
            node: Some(node.as_str()),
            reason: Some("NodeDown"),
            ..plain("fail")
        },
        Change::Failed(Failure::Card(node, by)) => Line {
            by: Some(by.to_string()),
            node: Some(node.as_str()),
            reason: Some("CardFault"),
            ..plain("fail")
        },
        Change::Waiting(reason) => Line {
            reason: Some(reason.code()),
            detail: Some(reason.to_string()),
            ..plain("wait")
        },
        Change::Finished => plain("finish"),
        Change::Left(spell) => Line {
            spell: Some(left(spell)),
            ..plain("leave")
        },
    }
}

fn left(spell: &Spell) -> Left {
    Left {
        held_ms: crate::run::millis(spell.until.since(spell.since)),
        restart_ms: crate::run::millis(spell.restart),
        redo_ms: crate::run::millis(spell.redo),
        grace_ms: crate::run::millis(spell.grace),
        kept_ms: spell.kept.millis(),
        lost_ms: spell.lost.millis(),
    }
}

const fn plain<'a>(
    order: &'static str,
    time_ms: u64,
    event: &'static str,
    tenant: &'a str,
    job: &'a str,
) -> Line<'a> {
    Line {
        order,
        time_ms,
        event,
        job,
        tenant,
        placement: None,
        by: None,
        rule: None,
        node: None,
        reason: None,
        detail: None,
        spell: None,
    }
}

/// `NAMESPACE/NAME`, in a buffer that is used again for each line.
fn named<'a>(id: &JobId, name: &'a mut String) -> &'a str {
    name.clear();
    name.push_str(id.namespace());
    name.push('/');
    name.push_str(id.name());
    name
}
