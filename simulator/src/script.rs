//! Golden scripts: a few lines of facts, and below `----` what the core makes of them.
//!
//! ```text
//! # An 8-GPU gang waits whole, then starts whole.
//! node a,b gpu=4
//! tenant red,blue
//! submit blue/small gpu=1
//! submit red/train gang=8 gpu=1
//! at 0s
//! finish blue/small
//! at 5s
//! ```
//!
//! This file says what a script is; the files below it read one kind of line each, and
//! [`crate::play`] plays them.

mod jobs;
mod nodes;
mod policy;
mod reader;
mod settings;
mod tenants;
mod wrong;

use prorata_core::{Event, JobId, NodeId, Policy, Tenant, Time};

use crate::problem::Problem;
use crate::world::Work;
use reader::Reader;

/// The line that divides facts from the expected outcome.
pub const DIVIDER: &str = "----";

/// A script, read.
#[derive(Clone, Debug)]
pub struct Script {
    /// The policy that it is played under.
    pub policy: Policy,
    /// What it says, each with the number of its line.
    pub steps: Vec<(usize, Step)>,
    /// What it expects; `None` without a [`DIVIDER`] or with nothing below it.
    pub expected: Option<String>,
}

/// One line of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `policy grace=30s`: what is evicted takes this long to leave.
    Grace(std::time::Duration),
    /// `node`, `node-down`, `node-up`: nodes are like this from now on.
    Nodes(Vec<prorata_core::Node>),
    /// `device-down`, `device-up`: a device of a node works or does not.
    Device(NodeId, u32, bool),
    /// `tenant`: tenants are like this from now on.
    Tenants(Vec<Tenant>),
    /// `pod`, `pod-gone`: a pod that is no task of a job comes or goes.
    Pod(Event),
    /// `submit`: a job arrives. Its time of submission is that of the last `at`.
    Submit(Work),
    /// `finish`: a running job completes.
    Finish(JobId),
    /// `withdraw`: a job is deleted.
    Withdraw(JobId),
    /// `hold` and `resume`: a job's user holds it, or whatever holds it lets it go.
    Hold(JobId, bool),
    /// `fail`: the job's last admission could not be carried out.
    Fail(JobId),
    /// `at`: time moves on, and the core decides.
    At(Time),
}

impl Script {
    /// Reads a script. `file` is only for the messages.
    ///
    /// # Errors
    /// One [`Problem`] for each line that cannot be understood.
    pub fn read(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let text = unmarked(text);
        let lines = numbered(text);
        let facts = lines.iter().take_while(|(_, line)| *line != DIVIDER);
        let mut reader = Reader::new(facts.clone().map(|(_, line)| *line));
        let mut steps = Vec::new();
        let mut problems = Vec::new();
        for (number, line) in facts {
            let words = line.split('#').next().unwrap_or_default();
            match reader.step(words) {
                Ok(Some(step)) => steps.push((*number, step)),
                Ok(None) => {}
                Err(wrong) => problems.push(wrong.at(file, *number)),
            }
        }
        if problems.is_empty() {
            let expected = expected(text);
            let policy = reader.policy.policy;
            Ok(Self {
                policy,
                steps,
                expected,
            })
        } else {
            Err(problems)
        }
    }
}

/// The text without the byte order mark that some editors put before it.
pub(crate) fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn numbered(text: &str) -> Vec<(usize, &str)> {
    (1..).zip(text.lines().map(str::trim)).collect()
}

/// What stands below the divider, without comments and blank lines.
fn expected(text: &str) -> Option<String> {
    let mut lines = text
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != DIVIDER);
    lines.next()?;
    let told = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let outcome: Vec<&str> = lines.filter(told).collect();
    (!outcome.is_empty()).then(|| outcome.join("\n") + "\n")
}
