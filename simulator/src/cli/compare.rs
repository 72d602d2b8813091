//! `compare A B`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::trials::{self, Bar, Threads};
use super::{Failure, warn};
use crate::experiment::comparison::{Compared, Comparison, Side, Verdict, compare};
use crate::experiment::estimate::CONFIDENCE;
use crate::experiment::one_order;
use crate::experiment::trial::{self, Subject, span};
use crate::experiment::values::Seeds;
use crate::report::ReportError;

/// Arguments of `compare`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The same seeds drive both scenarios, so each seed gives one difference of every number, and the
chance of the draw falls out. The interval is Student's t over these differences. `better` and
`worse` are said of B where the interval leaves no room for zero; of twenty numbers that do not
differ, expect one to be called so all the same.

Examples:
  prorata-sim compare base.yaml plus16.yaml --seeds 1-20
  prorata-sim compare today.yaml weights.yaml --order drf --out comparison.json")]
pub struct Args {
    /// The first scenario (YAML): what is now
    a: PathBuf,
    /// The second scenario: what could be
    b: PathBuf,
    /// Seeds that drive both: 1-20, or 1,3,5-9
    #[arg(long, value_name = "SEEDS", default_value = "1-20")]
    seeds: Seeds,
    /// The order to run both under [default: a scenario's only one, or drf if it is one of several]
    #[arg(long, value_name = "ORDER", value_parser = trial::order)]
    order: Option<String>,
    /// Also write all numbers, per tenant as well, as JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
}

/// `--out`. Times are in milliseconds.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: &'static str,
    a: Origin<'a>,
    b: Origin<'a>,
    seeds: &'a [u64],
    /// Of the intervals.
    confidence: f64,
    /// Seeds that drew different work for the two.
    differing_work: &'a [u64],
    metrics: &'a [Compared],
}

const SCHEMA: &str = "prorata.dev/comparison/v1alpha1";

#[derive(Serialize)]
struct Origin<'a> {
    scenario: &'a str,
    order: &'a str,
    input_hash: String,
}

/// One of the two, as read.
struct Read {
    file: String,
    subject: Subject,
    order: String,
}

pub(super) fn execute(args: &Args) -> Result<(), Failure> {
    let seeds = trials::several(&args.seeds)?;
    if let Some(out) = &args.out {
        trials::spare(out, &[args.a.clone(), args.b.clone()])?;
    }
    let (a, b) = (read(args, &args.a)?, read(args, &args.b)?);
    let bar = Bar::new();
    let crew = args.threads.crew(&bar)?;
    let comparison = compare(&crew, a.side(), b.side(), seeds)?;
    drop(bar);
    if let Some(out) = &args.out {
        let document = document(&a, &b, seeds, &comparison);
        let mut json = serde_json::to_vec_pretty(&document).map_err(ReportError::from)?;
        json.push(b'\n');
        trials::write(out, &json)?;
    }
    if !comparison.differing_work.is_empty() {
        let (some, all) = (comparison.differing_work.len(), seeds.len());
        warn(format_args!(
            "warning: {some} of {all} seeds drew different work for the two, so what follows comes \
             from the work as well\n  help: leave the workload as it is to compare the rest alone"
        ));
    }
    super::print(&table(&a, &b, seeds.len(), &comparison))
}

fn read(args: &Args, path: &Path) -> Result<Read, Failure> {
    let text = trials::read(path, trials::NAME_A_SCENARIO)?;
    let file = path.display().to_string();
    let subject = Subject::parse(&file, &text).map_err(Failure::Input)?;
    subject.warnings().iter().for_each(warn);
    let order = one_order(&file, &subject, args.order.as_deref());
    Ok(Read {
        order: order.map_err(|problem| Failure::Input(vec![problem]))?,
        file,
        subject,
    })
}

impl Read {
    fn side(&self) -> Side<'_> {
        Side {
            subject: &self.subject,
            order: &self.order,
        }
    }

    fn origin(&self) -> Origin<'_> {
        Origin {
            scenario: &self.file,
            order: &self.order,
            input_hash: format!("sha256:{}", self.subject.input_hash()),
        }
    }
}

fn document<'a>(
    a: &'a Read,
    b: &'a Read,
    seeds: &'a [u64],
    comparison: &'a Comparison,
) -> Document<'a> {
    Document {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        a: a.origin(),
        b: b.origin(),
        seeds,
        confidence: CONFIDENCE,
        differing_work: &comparison.differing_work,
        metrics: &comparison.metrics,
    }
}

fn table(a: &Read, b: &Read, seeds: usize, comparison: &Comparison) -> String {
    let header = ["METRIC", "A", "B", "B - A", "95 % INTERVAL", "B IS"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let headlines = comparison.metrics.iter().filter(|m| m.is_headline());
    rows.extend(headlines.map(|metric| row(metric, seeds)));
    let (sides, table) = ([("A", a), ("B", b)], trials::aligned(&rows));
    let side =
        |(name, side): (&str, &Read)| format!("{name}: {} under {}\n", side.file, side.order);
    format!("{}{seeds} seeds\n\n{table}", sides.map(side).concat())
}

fn row(metric: &Compared, seeds: usize) -> Vec<String> {
    let number = |number: f64| figure(&metric.name, number);
    let signed = |n: f64| format!("{}{}", if n > 0.0 { "+" } else { "" }, number(n));
    let mut verdict = verdict(metric.verdict).to_owned();
    if metric.pairs < seeds {
        verdict.push_str(&format!(" ({} seeds have it)", metric.pairs));
    }
    vec![
        metric.name.clone(),
        number(metric.a),
        number(metric.b),
        signed(metric.difference),
        format!("{} to {}", signed(metric.low), signed(metric.high)),
        verdict,
    ]
}

/// A number for people, by what its name says it is.
fn figure(name: &str, number: f64) -> String {
    let is_time = name.split('.').any(|part| part.ends_with("_ms"));
    match is_time {
        true if number < 0.0 => format!("-{}", figure(name, -number)),
        true => span(trial::whole(number)),
        false => format!("{}", trial::rounded(number)),
    }
}

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::Different => "different",
        Verdict::NoClearDifference => "no clear difference",
    }
}
