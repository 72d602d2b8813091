//! `forecast SCENARIO`: how good forecasts of the start of waiting jobs would be.

use std::path::PathBuf;

use prorata_core::Order;

use super::trials::{self, aligned};
use super::{Failure, interrupt, progress, warn};
use crate::forecast::trial::{Scores, Trial, trial};
use crate::forecast::{Score, Tally};
use crate::problem::Problem;
use crate::report::words::{percent, span};
use crate::scenario::Scenario;
use crate::trace::Source;
use crate::workload;

/// Arguments of `forecast`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Jobs that have to wait ask when they arrive: one in --every of them, once their tenant has had 20
waits. Each estimate is compared with when the job starts:
  STARTED BY P50, P90   the share of jobs that had started by then; 50 % and 90 % are right
  LOSS P50, P90         mean pinball loss of the quantile: what being late or early costs
The naive estimates are the same quantiles of the tenant's last 20 waits.

Examples:
  prorata-sim forecast simulator/scenarios/philly-eta.yaml --trace philly:philly.csv --every 40")]
pub struct Args {
    /// The scenario's file (YAML)
    scenario: PathBuf,
    /// Replay this trace instead of the scenario's work: openb, philly, muri, chronus or swf
    #[arg(long, value_name = "KIND:PATH")]
    trace: Option<Source>,
    /// Of the jobs that have to wait, one in N asks
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// How often the future is played for each that asks
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    runs: u32,
}

pub(super) fn execute(args: &Args) -> Result<(), Failure> {
    interrupt::listen();
    let file = args.scenario.display().to_string();
    let text = trials::read(&args.scenario, trials::NAME_A_SCENARIO)?;
    let mut scenario = Scenario::parse(&file, &text).map_err(Failure::Input)?;
    if let Some(trace) = &args.trace {
        scenario = scenario.with_trace(trace).map_err(Failure::Input)?;
    }
    if let Some(problem) = scenario.without_work(&file, &text) {
        return Err(Failure::Input(vec![problem]));
    }
    scenario.warnings.iter().for_each(warn);
    let order = order(&file, &scenario)?;
    let work = workload::draw(&scenario, scenario.seed);
    let asked = Trial {
        every: usize::try_from(args.every).unwrap_or(usize::MAX),
        runs: args.runs,
        seed: scenario.seed,
    };
    let bar = progress::Bar::new("forecast");
    let scores = trial(&scenario, order, &work, asked, &mut |progress| {
        bar.show(progress);
        interrupt::poll()
    })?;
    drop(bar);
    super::print(&table(&scores))
}

/// The scenario's order; by share, if that is one of several.
fn order(file: &str, scenario: &Scenario) -> Result<Order, Failure> {
    match scenario.orders.as_slice() {
        [order] => Ok(*order),
        orders if orders.contains(&Order::Drf) => Ok(Order::Drf),
        _ => Err(Failure::Input(vec![Problem::new(
            file,
            "policy.orders",
            "has several, and drf is none of them",
            "write one",
        )])),
    }
}

const HEADER: [&str; 6] = [
    "ESTIMATE",
    "JOBS",
    "STARTED BY P50",
    "BY P90",
    "LOSS P50",
    "LOSS P90",
];

fn table(scores: &Scores) -> String {
    let rows = [
        ("forward runs, corrected by past ones", &scores.corrected),
        ("forward runs alone", &scores.forward),
        ("the tenant's last 20 waits", &scores.last_waits),
        ("of its jobs that had to wait", &scores.last_real_waits),
    ];
    let mut lines = vec![HEADER.map(str::to_owned).to_vec()];
    lines.extend(rows.map(|(name, score)| row(name, score)));
    aligned(&lines)
}

fn row(name: &str, score: &Score) -> Vec<String> {
    let covered = |tally: &Tally| tally.coverage().map_or_else(|| "-".to_owned(), percent);
    let loss = |tally: &Tally| {
        let ms = tally.pinball().map(|seconds| whole(seconds * 1000.0));
        ms.map_or_else(|| "-".to_owned(), span)
    };
    vec![
        name.to_owned(),
        score.p50.count.to_string(),
        covered(&score.p50),
        covered(&score.p90),
        loss(&score.p50),
        loss(&score.p90),
    ]
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is not negative, and a cast saturates"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}
