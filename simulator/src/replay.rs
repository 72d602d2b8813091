//! A log of decisions: what the core was told and what it decided, in order, so that the very same
//! decisions can be made again elsewhere.
//!
//! One JSON object on each line. The first says which version of the format this is, and under
//! which policy the core decided; each further one is either facts that the core was told at a
//! moment, or the decisions of a cycle at a moment. Milliseconds since the Unix epoch.
//!
//! ```text
//! {"prorata":"decisions","version":1,"policy":{…}}
//! {"at":1767225600000,"facts":[{"NodeSeen":{…}},{"JobSubmitted":{…}}]}
//! {"at":1767225600004,"decisions":[{"Admit":[{…},[{…}]]}]}
//! ```

use std::io::{self, BufRead};

use prorata_core::{Decision, Event, Policy, Scheduler, Time};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// The version of the format.
pub const VERSION: u32 = 1;

/// What the first line calls itself.
const NAME: &str = "decisions";

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Header {
    prorata: String,
    version: u32,
    policy: Policy,
}

/// Any other line: it has either of the two.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry<F, D> {
    at: Time,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    facts: Option<F>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    decisions: Option<D>,
}

const fn none<T>() -> Option<T> {
    None
}

/// The first line of a log, without its end.
///
/// # Errors
/// None that a policy can cause.
pub fn header(policy: &Policy) -> serde_json::Result<String> {
    serde_json::to_string(&Header {
        prorata: NAME.to_owned(),
        version: VERSION,
        policy: policy.clone(),
    })
}

/// Whether a line is the first of a log.
#[must_use]
pub fn is_header(line: &str) -> bool {
    line.starts_with("{\"prorata\":")
}

/// The line that says what the core was told, without its end.
///
/// # Errors
/// None that a fact can cause.
pub fn facts(at: Time, facts: &[Event]) -> serde_json::Result<String> {
    serde_json::to_string(&Entry::<_, ()> {
        at,
        facts: Some(facts),
        decisions: None,
    })
}

/// The line that says what a cycle decided, without its end.
///
/// # Errors
/// None that a decision can cause.
pub fn cycle(at: Time, decisions: &[Decision]) -> serde_json::Result<String> {
    serde_json::to_string(&Entry::<(), _> {
        at,
        facts: None,
        decisions: Some(decisions),
    })
}

/// What was played again without a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Facts that the core was told.
    pub facts: usize,
    /// Cycles.
    pub cycles: usize,
    /// Decisions.
    pub decisions: usize,
}

/// Why a log cannot be played again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// A line that is none of a log's.
    #[error("line {line}: {what}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// The core decides something else now.
    #[error("line {line}: the log has\n  {logged}\nand now it is\n  {decided}")]
    Different {
        /// Counted from 1.
        line: usize,
        /// The line.
        logged: String,
        /// What the line would be now.
        decided: String,
    },
}

/// Plays a log again. It ends at the first difference. A last line without its end was cut off
/// when its writer was killed, and is left out.
///
/// # Errors
/// When a line cannot be read, or the core decides something else.
pub fn replay(mut log: impl BufRead) -> Result<Replayed, ReplayError> {
    let mut core = None;
    let mut replayed = Replayed::default();
    let mut text = String::new();
    for line in 1.. {
        text.clear();
        if log.read_line(&mut text)? == 0 || !text.ends_with('\n') {
            break;
        }
        let text = text.trim_end_matches('\n');
        match &mut core {
            None => core = Some(begun(text).map_err(|what| ReplayError::Line { line, what })?),
            Some(core) => play(core, line, text, &mut replayed)?,
        }
    }
    match core {
        Some(_) => Ok(replayed),
        None => Err(ReplayError::Line {
            line: 1,
            what: "there is no whole line".to_owned(),
        }),
    }
}

/// The core as it was when the log began.
fn begun(text: &str) -> Result<Scheduler, String> {
    let header: Header = serde_json::from_str(text)
        .map_err(|error| format!("not the first line of a log: {error}"))?;
    if header.prorata != NAME || header.version != VERSION {
        let Header {
            prorata, version, ..
        } = header;
        return Err(format!(
            "a log of {prorata}, version {version}: this reads {NAME}, version {VERSION}"
        ));
    }
    Ok(Scheduler::new(header.policy))
}

fn play(
    core: &mut Scheduler,
    line: usize,
    text: &str,
    replayed: &mut Replayed,
) -> Result<(), ReplayError> {
    let wrong = |error: serde_json::Error| ReplayError::Line {
        line,
        what: error.to_string(),
    };
    let entry: Entry<Vec<Event>, IgnoredAny> = serde_json::from_str(text).map_err(wrong)?;
    let at = entry.at;
    match (entry.facts, entry.decisions) {
        (Some(facts), None) => {
            replayed.facts += facts.len();
            facts.into_iter().for_each(|fact| core.observe(at, fact));
        }
        (None, Some(_)) => {
            let decisions = core.cycle(at).decisions;
            let decided = cycle(at, &decisions).map_err(wrong)?;
            if decided != text {
                return Err(ReplayError::Different {
                    line,
                    logged: text.to_owned(),
                    decided,
                });
            }
            replayed.cycles += 1;
            replayed.decisions += decisions.len();
        }
        _ => {
            let what = "has neither facts nor decisions, or both".to_owned();
            return Err(ReplayError::Line { line, what });
        }
    }
    Ok(())
}
