//! What may be said on the command line.

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser};

use crate::setup::Setup;
use crate::workload;

const EXAMPLE: &str = "\
Examples:
  cargo bench --bench throughput -- --nodes 500,2000,5000 --rounds 3
  cargo bench --bench throughput -- --nodes 100 --setups stock-pods,prorata-pods
  cargo bench --bench throughput -- --nodes 5000 --setups stock,prorata --scheduler-cores 0.2
  cargo bench --bench throughput -- --nodes 5000 --setups stock,prorata --jobs 32 --pods-per-job 32
  cargo bench --bench throughput -- --latency 200 --nodes 100
  cargo bench --bench throughput -- --admissions 5000
  cargo bench --bench throughput -- --queue 100000

Nothing else should run on the machine meanwhile.";

/// Measures from Jobs created to pods bound: stock kube-scheduler, an ordinary extender, Prorata.
#[derive(Debug, Parser)]
#[command(name = "throughput", after_help = EXAMPLE)]
pub(crate) struct Options {
    /// Numbers of nodes, of 8 GPUs each
    #[arg(long, value_delimiter = ',', default_value = "100,500,2000,5000")]
    pub(crate) nodes: Vec<u32>,
    /// Measurements of each set-up with each number of nodes
    #[arg(long, default_value_t = 3, value_parser = at_least_one)]
    pub(crate) rounds: usize,
    /// Jobs in each measurement, of pods with 1 GPU each; or as many as the nodes hold
    #[arg(long, default_value_t = 250, value_parser = at_least_one)]
    pub(crate) jobs: usize,
    /// Pods of each of these Jobs: what a Job costs is shared by so many
    #[arg(long, default_value_t = workload::PODS_PER_JOB, value_parser = at_least_one)]
    pub(crate) pods_per_job: usize,
    /// Set-ups that are measured
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Setup::ALL)]
    pub(crate) setups: Vec<Setup>,
    /// Cores that kube-scheduler may use of the machine's, by a cgroup: a control plane of many
    /// cores on a smaller scale, since the rest of it spreads over all of them and kube-scheduler
    /// decides about one pod after the other
    #[arg(long, value_name = "CORES", value_parser = cores)]
    pub(crate) scheduler_cores: Option<f64>,
    /// Instead: how long each of so many Jobs takes from its creation to its pod's node, one after
    /// the other
    #[arg(long, value_name = "JOBS", value_parser = at_least_one)]
    pub(crate) latency: Option<usize>,
    /// Instead: how fast the queue alone starts so many Jobs, and what it writes for each
    #[arg(long, value_name = "JOBS", value_parser = at_least_one)]
    pub(crate) admissions: Option<usize>,
    /// Instead: what so many Jobs cost that wait
    #[arg(long, value_name = "JOBS", value_parser = at_least_one)]
    pub(crate) queue: Option<usize>,
    /// Said by cargo
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

impl Options {
    /// Ends the process where no Job would find room.
    pub(crate) fn check(&self) {
        if let Some(few) = self
            .nodes
            .iter()
            .find(|nodes| workload::jobs_on(**nodes, self.pods_per_job) == 0)
        {
            let problem = format!("--nodes {few}: too few for the warm-up and a Job");
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

fn cores(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number @ 0.01..=1024.0) => Ok(number),
        Ok(_) => Err("at least 0.01".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
