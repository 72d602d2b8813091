//! The simulator's commands. `prorata-sim` and `prorata sim` both offer them.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::problem::Problem;
use crate::run::Interrupted;

mod compare;
mod forecast;
mod interference;
mod interrupt;
mod merge;
mod pack;
mod play;
mod progress;
mod replay;
mod run;
mod size;
mod sweep;
mod table;
mod targets;
mod trials;

/// What to simulate.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Run a scenario under one or more orders and report how its tenants fared.
    Run(run::Args),
    /// Play a golden script: facts in, decisions out, compared with what the script expects.
    Play(play::Args),
    /// Play a controller's log of decisions again, and compare every decision byte for byte.
    Replay(replay::Args),
    /// Compare two scenarios: the same seeds drive both, and differences come with their intervals.
    Compare(compare::Args),
    /// Find the smallest value of a field that meets a service level objective.
    Size(size::Args),
    /// Run every combination of fields' values, and write a CSV with a row for each run.
    Sweep(sweep::Args),
    /// Make the CSV of a sweep out of all its shards.
    Merge(merge::Args),
    /// Test how good forecasts of when waiting jobs start would be, beside naive estimates.
    Forecast(forecast::Args),
    /// Make a table of what sharing a GPU costs out of Gavel's measurements of pairs.
    Interference(interference::Args),
    /// Pack a growing load into a cluster, and measure the GPUs that nobody can use any more.
    Pack(pack::Args),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// An input makes no sense: exit code 2.
    #[error("{}", listed(.0))]
    Input(Vec<Problem>),
    /// A golden script that gives something else than it expects: exit code 1.
    #[error("{0}")]
    Different(String),
    /// No size meets the objective: exit code 3.
    #[error("{0}")]
    Unmet(String),
    /// Ctrl-C: exit code 130.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The disk refused: exit code 1.
    #[error("error: {}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    /// A bug of ours: exit code 1.
    #[error("error: the report could not be made: {0}")]
    Report(#[from] crate::report::ReportError),
}

impl Command {
    /// Carries the command out, and says on stderr what went wrong.
    #[must_use]
    pub fn execute(self) -> ExitCode {
        let outcome = match self {
            Self::Run(args) => run::execute(&args),
            Self::Play(args) => play::execute(&args),
            Self::Replay(args) => replay::execute(&args),
            Self::Compare(args) => compare::execute(&args),
            Self::Size(args) => size::execute(&args),
            Self::Sweep(args) => sweep::execute(&args),
            Self::Merge(args) => merge::execute(&args),
            Self::Forecast(args) => forecast::execute(&args),
            Self::Interference(args) => interference::execute(&args),
            Self::Pack(args) => pack::execute(&args),
        };
        outcome.map_or_else(|failure| failure.tell(), |()| ExitCode::SUCCESS)
    }
}

impl Failure {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |error| Self::File { path, error }
    }

    fn tell(&self) -> ExitCode {
        warn(self);
        match self {
            Self::Input(_) => ExitCode::from(2),
            Self::Unmet(_) => ExitCode::from(3),
            Self::Interrupted(_) => ExitCode::from(130),
            Self::Different(_) | Self::File { .. } | Self::Report(_) => ExitCode::FAILURE,
        }
    }
}

/// Prints on stdout. Whoever reads may stop reading: that is no failure, a full disk is.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(text.as_bytes());
    match printed.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::file(Path::new("standard output"))(error))
        }
        _ => Ok(()),
    }
}

/// Prints on stderr. Where that fails there is nowhere left to say so.
fn warn(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn listed(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
