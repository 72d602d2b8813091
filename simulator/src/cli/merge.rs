//! `merge FILES --out FILE`.

use std::path::{Path, PathBuf};

use super::{Failure, trials};
use crate::experiment::shard::{Part, merge};
use crate::problem::Problem;
use crate::report::ReportError;

/// Arguments of `merge`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
All shards have to be there, once each, of the same scenario, arguments and version. The order in
which they are named does not matter; what is written is what `sweep` writes without --shard.

Examples:
  prorata-sim merge shard-0.csv shard-1.csv --out sweep.csv
  prorata-sim merge results/shard-*.csv --out sweep.csv")]
pub struct Args {
    /// What `sweep --shard` wrote
    #[arg(required = true, value_name = "FILE")]
    shards: Vec<PathBuf>,
    /// The CSV to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn execute(args: &Args) -> Result<(), Failure> {
    trials::spare(&args.out, &args.shards)?;
    let mut parts = Vec::new();
    let mut problems: Vec<Problem> = Vec::new();
    for file in &args.shards {
        match read(file)? {
            Ok(part) => parts.push(part),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(Failure::Input(problems));
    }
    let table = merge(&parts).map_err(Failure::Input)?;
    trials::write(&args.out, &table.csv().map_err(ReportError::from)?)?;
    super::print(&format!(
        "{} runs: {}\n",
        table.rows.len(),
        args.out.display()
    ))
}

fn read(file: &Path) -> Result<Result<Part, Problem>, Failure> {
    let text = trials::read(file, "name files that `sweep --shard` wrote")?;
    Ok(Part::read(&file.display().to_string(), &text))
}
