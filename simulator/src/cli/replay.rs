//! `replay FILE`: a controller's log of decisions, played again.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use super::Failure;
use crate::problem::Problem;
use crate::replay::{ReplayError, replay};

/// Arguments of `replay`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
A controller writes such a log when its Configuration says `decisionLog: {path: FILE}`.

Exit codes: 0 the same decisions, 1 another one (the first is shown), 2 no such log.

Example:
  prorata-sim replay /var/log/prorata/decisions.jsonl")]
pub struct Args {
    /// The log
    #[arg(value_name = "FILE")]
    log: PathBuf,
}

pub(super) fn execute(args: &Args) -> Result<(), Failure> {
    let file = args.log.display().to_string();
    let remedy = "name a log that a controller of this version wrote";
    let wrong = |what: String| Failure::Input(vec![Problem::new(&file, "log", what, remedy)]);
    let log = File::open(&args.log).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    match replay(BufReader::new(log)) {
        Ok(replayed) => super::print(&format!(
            "the same {} decisions in {} cycles from {} facts\n",
            replayed.decisions, replayed.cycles, replayed.facts
        )),
        Err(different @ ReplayError::Different { .. }) => {
            Err(Failure::Different(format!("{file}: {different}")))
        }
        Err(error) => Err(wrong(error.to_string())),
    }
}
