//! `interference`: makes a table of what sharing costs out of measurements.

use std::path::PathBuf;

use super::Failure;
use super::run::text;
use crate::interference::gavel;

/// Arguments of `interference`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The file is scheduler/simulation_throughputs.json of the Gavel repository. Each job of its pairs is a kind of work,
such as resnet-50-64; a stream of a scenario says `work: resnet-50-64`. Where pairs are known, placement puts nobody
beside work with which it would lose, unless the scenario says `policy: {neighbours: ignore}`.

Examples:
  prorata-sim interference simulation_throughputs.json > v100.yaml
  prorata-sim run scenario.yaml --interference v100.yaml")]
pub struct Args {
    /// Measurements of pairs
    file: PathBuf,
    /// The kind of GPU that they are of: v100, p100 or k80
    #[arg(long, value_name = "KIND", default_value = "v100")]
    gpu: String,
}

pub(super) fn execute(args: &Args) -> Result<(), Failure> {
    let (file, text) = text(&args.file, "name a file that you may read")?;
    let table = gavel::table(&file, &text, &args.gpu);
    super::print(&table.map_err(|problem| Failure::Input(vec![problem]))?)
}
