//! What may be said on the command line.

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser};

use crate::setup::Setup;
use crate::workload;

const EXAMPLE: &str = "\
Example, about 8 minutes on two cores:
  cargo bench --bench throughput -- --nodes 500,2000,5000 --rounds 3

Nothing else should run on the machine meanwhile.";

/// Measures from Jobs created to pods bound: stock kube-scheduler, an ordinary extender, Prorata.
#[derive(Debug, Parser)]
#[command(name = "throughput", after_help = EXAMPLE)]
pub(crate) struct Options {
    /// Numbers of nodes, of 8 GPUs each
    #[arg(long, value_delimiter = ',', default_value = "500,2000,5000")]
    pub(crate) nodes: Vec<u32>,
    /// Measurements of each set-up with each number of nodes
    #[arg(long, default_value_t = 3, value_parser = at_least_one)]
    pub(crate) rounds: usize,
    /// Jobs in each measurement, of 4 pods with 1 GPU each
    #[arg(long, default_value_t = 250, value_parser = at_least_one)]
    pub(crate) jobs: usize,
    /// Set-ups that are measured
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Setup::ALL)]
    pub(crate) setups: Vec<Setup>,
    /// Said by cargo
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

impl Options {
    /// Ends the process where the pods would not all find room.
    pub(crate) fn check(&self) {
        let fewest = workload::nodes_for(self.jobs);
        if let Some(few) = self.nodes.iter().find(|nodes| **nodes < fewest) {
            let problem = format!(
                "--nodes {few}: {} jobs need at least {fewest} nodes",
                self.jobs
            );
            Self::command()
                .error(ErrorKind::ValueValidation, problem)
                .exit();
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}
