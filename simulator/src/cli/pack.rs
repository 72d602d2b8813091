//! `prorata-sim pack`.

use std::collections::BTreeSet;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use prorata_core::Place;
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use super::table::aligned;
use super::{Failure, interrupt};
use crate::output::Drafts;
use crate::pack::{self, Curve, INFLATION_MAX, Input, PLACES, Point, spread};
use crate::problem::{Problem, suggest};
use crate::report::ReportError;
use crate::run::Interrupted;

/// Options of `prorata-sim pack`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
All pods of the list arrive once, shuffled, then more of them at random; each is placed at once or
has failed, and none ever ends. The file has a row for each way to place, seed and percent of the
load; all numbers are percent. Its first line is a comment with the version of its layout.

Exit codes: 0 done, 2 an input makes no sense, 130 interrupted.

Example:
  prorata-sim pack --nodes nodes.csv --pods pods.csv --place fgd,prorata --out pack.csv")]
pub struct Args {
    /// Node list, with the columns sn, cpu_milli, memory_mib, gpu and model
    #[arg(long, value_name = "FILE")]
    nodes: PathBuf,
    /// Pod list, with the columns name, cpu_milli, memory_mib, num_gpu, gpu_milli, perhaps gpu_spec
    #[arg(long, value_name = "FILE")]
    pods: PathBuf,
    /// Ways to place: random, first-fit, best-fit, fgd, prorata
    #[arg(long, value_name = "PLACE,…", value_delimiter = ',', value_parser = place, default_value = "prorata")]
    place: Vec<(&'static str, Place)>,
    /// GPUs that are asked for in the end, as a multiple of the cluster's
    #[arg(long, value_name = "RATIO", value_parser = inflation, default_value = "1.3")]
    inflate: u64,
    /// Seeds of the arrivals: 42, 42-51 or 1,5-7
    #[arg(long, value_name = "N-M,…", value_delimiter = ',', value_parser = seeds, default_value = "42-51")]
    seeds: Vec<RangeInclusive<u64>>,
    /// Where the curves go (CSV)
    #[arg(long, value_name = "FILE", default_value = "pack.csv")]
    out: PathBuf,
    /// Runs at the same time, one for each processor unless said; the outcome is the same
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// Seeds of one range at most.
const SEEDS_MAX: u64 = 1_000;

/// The percents that the table shows.
const SHOWN: [usize; 4] = [90, 95, 100, 130];

/// A way to place with its curves, by seed.
type Packed = (&'static str, Vec<(u64, Curve)>);

pub(super) fn execute(args: &Args) -> Result<(), Failure> {
    interrupt::listen();
    for input in [&args.nodes, &args.pods] {
        keep(input, &args.out)?;
    }
    let input =
        pack::read(&args.nodes, &args.pods).map_err(|problem| Failure::Input(vec![problem]))?;
    for oddities in input.oddities.iter().filter(|o| !o.odd.is_empty()) {
        super::warn(oddities);
    }
    let packed = run_all(args, &input)?;
    let csv = pack::csv(&packed).map_err(ReportError::from)?;
    interrupt::check()?;
    let mut drafts = Drafts::default();
    let written = drafts
        .write(&args.out, &csv)
        .and_then(|()| drafts.publish());
    written.map_err(Failure::file(&args.out))?;
    super::print(&format!(
        "{}\ncurves: {}\n",
        table(&packed),
        args.out.display()
    ))
}

/// Refuses to write over an input.
fn keep(input: &Path, out: &Path) -> Result<(), Failure> {
    let same = input.canonicalize().ok().zip(out.canonicalize().ok());
    if same.is_none_or(|(input, out)| input != out) {
        return Ok(());
    }
    let what = "would be written over an input";
    let remedy = "choose another name with --out";
    Err(Failure::Input(vec![Problem::new(
        &out.display().to_string(),
        "--out",
        what,
        remedy,
    )]))
}

/// Every way to place with every seed, in the order of the command line, whoever ends first.
fn run_all(args: &Args, input: &Input) -> Result<Vec<Packed>, Failure> {
    let seeds: BTreeSet<u64> = args.seeds.iter().cloned().flatten().collect();
    let mut places = Vec::new();
    for place in &args.place {
        if !places.contains(place) {
            places.push(*place);
        }
    }
    let runs = places
        .iter()
        .flat_map(|(_, place)| seeds.iter().map(|seed| (*place, *seed)));
    let runs: Vec<(Place, u64)> = runs.collect();
    let bar = bar(runs.len());
    let one = |(place, seed): &(Place, u64)| {
        let curve = pack::pack(input, *place, *seed, args.inflate, &interrupt::poll);
        bar.inc(1);
        curve
    };
    let pool = ThreadPoolBuilder::new().num_threads(args.threads.map_or(0, usize::from));
    let pool = pool.build().map_err(io::Error::other);
    let pool = pool.map_err(Failure::file(Path::new("--threads")))?;
    let curves: Result<Vec<Curve>, Interrupted> =
        pool.install(|| runs.par_iter().map(one).collect());
    bar.finish_and_clear();
    let mut curves = curves?.into_iter();
    let mut by_seed = || seeds.iter().copied().zip(curves.by_ref()).collect();
    Ok(places.iter().map(|(name, _)| (*name, by_seed())).collect())
}

/// Invisible unless stderr is a terminal.
fn bar(runs: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(runs).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} runs");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

const HEADER: [&str; 8] = [
    "PLACE",
    "ARRIVED",
    "ALLOCATED",
    "SD",
    "FRAGMENTS OF FREE",
    "SD",
    "FRAGMENTS OF ALL",
    "SD",
];

/// A few points of each way to place: means over the seeds, with their standard deviation.
fn table(packed: &[Packed]) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    for (place, curves) in packed {
        for percent in SHOWN {
            let at = curves
                .iter()
                .map(|(_, curve)| curve.points.get(percent).copied());
            if let Some(points) = at.collect::<Option<Vec<Point>>>() {
                rows.push(row(place, percent, &points));
            }
        }
    }
    aligned(&rows)
}

fn row(place: &str, percent: usize, points: &[Point]) -> [String; 8] {
    let over = |of: fn(&Point) -> f64| {
        let spread = spread(&points.iter().map(of).collect::<Vec<f64>>());
        (format!("{:.2}%", spread.mean), format!("{:.2}", spread.sd))
    };
    let (allocated, allocated_sd) = over(|point| point.allocated);
    let (ratio, ratio_sd) = over(|point| point.frag_ratio);
    let (amount, amount_sd) = over(|point| point.frag_amount);
    [
        place.to_owned(),
        format!("{percent}%"),
        allocated,
        allocated_sd,
        ratio,
        ratio_sd,
        amount,
        amount_sd,
    ]
}

fn place(name: &str) -> Result<(&'static str, Place), String> {
    let known = PLACES.iter().find(|(known, _)| *known == name);
    known
        .copied()
        .ok_or_else(|| suggest(name, PLACES.map(|(known, _)| known)))
}

/// Thousandths of what is written as a ratio, such as `1.3`.
fn inflation(text: &str) -> Result<u64, String> {
    let thousandths = text
        .parse::<f64>()
        .ok()
        .map(|ratio| (ratio * 1000.0).round());
    let within = |t: &f64| (1.0..=f64::from(INFLATION_MAX)).contains(t);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number within the range"
    )]
    thousandths
        .filter(within)
        .map(|t| t as u64)
        .ok_or_else(|| "write a ratio between 0.001 and 10, such as 1.3".to_owned())
}

fn seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = first
        .trim()
        .parse::<u64>()
        .ok()
        .zip(last.trim().parse().ok());
    range
        .filter(|(first, last)| first <= last && last - first < SEEDS_MAX)
        .map(|(first, last)| first..=last)
        .ok_or_else(|| format!("write a seed or a range of at most {SEEDS_MAX}, such as 42-51"))
}
