//! `sweep SCENARIO --set …`.

use std::env;
use std::path::PathBuf;
use std::str::FromStr;

use super::trials::{self, Bar, Threads};
use super::{Failure, warn};
use crate::experiment::shard::{Shard, Table};
use crate::experiment::sweep::{Grid, Sweep};
use crate::experiment::trial;
use crate::experiment::values::{Seeds, Setting};
use crate::experiment::variant::Base;
use crate::report::ReportError;

/// Arguments of `sweep`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
A row has the values of its point, the seed, the order, and every number of summary.json by its path
there (over all jobs without a prefix, of a tenant as tenant.NAME.…; times in milliseconds). The
same arguments give the same bytes, on any number of threads, and with --shard on any number of
machines: `merge` then makes the same file out of all shards.

A PATH has dots between its names; an item of a list goes by its `name` or its place from 0:
pools.h100.count, tenants.red.weight, workload.0.jobs.

Examples:
  prorata-sim sweep day.yaml --set pools.h100.count=8..32:4 --set tenants.red.weight=1,2 \\
    --seeds 1-10 --out sweep.csv
  prorata-sim sweep day.yaml --set pools.h100.count=8..32 --shard 0/8 --out shard-0.csv")]
pub struct Args {
    /// The scenario's file (YAML)
    scenario: PathBuf,
    /// A field and its values: PATH=A,B,C or PATH=LOW..HIGH[:STEP]; all combinations are run
    #[arg(long, value_name = "PATH=VALUES")]
    set: Vec<Setting>,
    /// Seeds to run each point with: 1-10, or 1,3,5-9
    #[arg(long, value_name = "SEEDS", default_value = "1-10")]
    seeds: Seeds,
    /// Orders to run each point under [default: the scenario's]
    #[arg(long, value_name = "ORDER,…", value_delimiter = ',', value_parser = trial::order)]
    order: Vec<String>,
    /// The CSV to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Do the I-th of N parts, from 0; with N alone, I is $JOB_COMPLETION_INDEX, as Kubernetes
    /// gives it to the pods of an Indexed Job
    #[arg(long, value_name = "I/N")]
    shard: Option<Part>,
    #[command(flatten)]
    threads: Threads,
}

/// `I/N`, or `N` alone.
#[derive(Clone, Copy, Debug)]
struct Part {
    index: Option<usize>,
    of: usize,
}

impl FromStr for Part {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "write I/N with I from 0 to N - 1, such as 0/8, or N alone";
        let (index, of) = match text.split_once('/') {
            Some((index, of)) => (Some(index.parse().map_err(|_| wrong)?), of),
            None => (None, text),
        };
        let of = of.parse().map_err(|_| wrong)?;
        let inside = of > 0 && index.is_none_or(|index| index < of);
        inside.then_some(Self { index, of }).ok_or(wrong)
    }
}

pub(super) fn execute(args: &Args) -> Result<(), Failure> {
    let shard = args.shard.map(shard).transpose()?;
    trials::spare(&args.out, std::slice::from_ref(&args.scenario))?;
    let text = trials::read(&args.scenario, trials::NAME_A_SCENARIO)?;
    let base = Base::read(&args.scenario.display().to_string(), &text);
    let base = base.map_err(|problem| Failure::Input(vec![problem]))?;
    let bar = Bar::new();
    let crew = args.threads.crew(&bar)?;
    let grid = Grid {
        base: &base,
        settings: &args.set,
        seeds: &args.seeds.0,
        orders: &distinct(&args.order),
    };
    let sweep = grid.check(&crew)?;
    warn_of_odd_points(&sweep);
    let table = sweep.run(&crew, shard.unwrap_or(Shard::WHOLE))?;
    drop(bar);
    trials::write(&args.out, &csv(&sweep, shard, &table)?)?;
    let (rows, all, file) = (table.rows.len(), sweep.runs(), args.out.display());
    super::print(&match shard {
        None => format!("{rows} runs: {file}\n"),
        Some(Shard { index, of }) => {
            format!("shard {index} of {of}, {rows} of {all} runs: {file}\n")
        }
    })
}

/// Which part it is, if need be by the pod's index.
fn shard(part: Part) -> Result<Shard, Failure> {
    let of = part.of;
    if let Some(index) = part.index {
        return Ok(Shard { index, of });
    }
    let wrong = |what: &str| {
        let remedy = format!("write which part it is, from 0, such as --shard 0/{of}");
        Err(trials::wrong("command line", "--shard", what, &remedy))
    };
    let Ok(index) = env::var("JOB_COMPLETION_INDEX") else {
        return wrong("has no index, and $JOB_COMPLETION_INDEX is not set");
    };
    match index.parse().ok().filter(|index| *index < of) {
        Some(index) => Ok(Shard { index, of }),
        None => wrong(&format!("has no part `{index}` ($JOB_COMPLETION_INDEX)")),
    }
}

fn csv(sweep: &Sweep<'_>, shard: Option<Shard>, table: &Table) -> Result<Vec<u8>, ReportError> {
    let bytes = match shard {
        None => table.csv(),
        Some(shard) => table.shard_csv(sweep.hash(), shard, sweep.runs()),
    };
    Ok(bytes?)
}

/// Each order once.
fn distinct(orders: &[String]) -> Vec<String> {
    let mut once: Vec<String> = Vec::new();
    for order in orders {
        if !once.contains(order) {
            once.push(order.clone());
        }
    }
    once
}

fn warn_of_odd_points(sweep: &Sweep<'_>) {
    let (count, first) = sweep.odd();
    first.iter().for_each(warn);
    if count > 1 {
        warn(format_args!(
            "  and {} more points have such warnings",
            count - 1
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_one_of_several() {
        let part = |text: &str| text.parse::<Part>().ok().map(|p| (p.index, p.of));
        assert_eq!(part("0/8"), Some((Some(0), 8)));
        assert_eq!(part("8"), Some((None, 8)));
        for text in ["8/8", "0", "0/0", "-1/8", "a/8", "1/", ""] {
            assert_eq!(part(text), None, "{text}");
        }
    }
}
