//! `size SCENARIO --slo … --vary …`.

use std::path::PathBuf;

use super::trials::{self, Bar, Threads};
use super::{Failure, warn};
use crate::experiment::one_order;
use crate::experiment::sizing::{Answer, Question, Tried, size};
use crate::experiment::slo::Slo;
use crate::experiment::trial::{self, percent};
use crate::experiment::values::{Seeds, Varying};
use crate::experiment::variant::Base;

/// Arguments of `size`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
An objective is FN(MEASURE[, CONDITION]…) OP VALUE:
  FN         mean, max, p50, p95, or any pNN
  MEASURE    wait (in the queue), jct (from submission to end), or slowdown (jct ÷ run time, which
             counts as 10 s at least; 1 at least)
  CONDITION  tenant=NAME, priority=CLASS or its value, gpus=N of the whole gang; the last two also
             with <, <=, > and >=
  OP VALUE   <= or <, and a duration such as 30m, or a number for slowdown
It is met when the upper end of the statistic's 95 % confidence interval over the seeds keeps within
the bound. A job that never starts waits for ever.

Values are bisected. The three below the answer are tried as well, since more is not always better;
--all tries every one. Exit codes: 0 found, 2 wrong input, 3 no value that was tried meets it.

Examples:
  prorata-sim size day.yaml --slo 'p95(wait) <= 30m' --vary pools.h100.count=4..64
  prorata-sim size day.yaml --slo 'max(wait, tenant=vision, gpus>=8) <= 2h' \\
    --vary tenants.vision.guaranteed.gpu=8..64:8 --seeds 1-20")]
pub struct Args {
    /// The scenario's file (YAML)
    scenario: PathBuf,
    /// The objective, such as 'p95(wait, priority=1000) <= 30m'
    #[arg(long, value_name = "OBJECTIVE")]
    slo: String,
    /// The field to vary and its values: PATH=LOW..HIGH, PATH=LOW..HIGH:STEP or PATH=4,8,16
    #[arg(long, value_name = "PATH=VALUES")]
    vary: Varying,
    /// Seeds to run each value with: 1-10, or 1,3,5-9
    #[arg(long, value_name = "SEEDS", default_value = "1-10")]
    seeds: Seeds,
    /// The order to run under [default: the scenario's only one, or drf if it is one of several]
    #[arg(long, value_name = "ORDER", value_parser = trial::order)]
    order: Option<String>,
    /// Try every value
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    threads: Threads,
}

pub(super) fn execute(args: &Args) -> Result<(), Failure> {
    let seeds = trials::several(&args.seeds)?;
    let text = trials::read(&args.scenario, trials::NAME_A_SCENARIO)?;
    let input = |problem| Failure::Input(vec![problem]);
    let base = Base::read(&args.scenario.display().to_string(), &text).map_err(input)?;
    let subject = base.with(&[]).map_err(Failure::Input)?;
    subject.warnings().iter().for_each(warn);
    let order = one_order(base.file(), &subject, args.order.as_deref()).map_err(input)?;
    let slo = Slo::parse(&args.slo, &subject.tenants(), &subject.classes()).map_err(input)?;
    let bar = Bar::new();
    let question = Question {
        base: &base,
        path: &args.vary.path,
        values: &args.vary.values,
        slo: &slo,
        seeds,
        order: &order,
        all: args.all,
    };
    let answer = size(&args.threads.crew(&bar)?, &question)?;
    drop(bar);
    let told = told(args, &slo, &answer);
    super::print(&told)?;
    match answer.smallest {
        Some(_) => Ok(()),
        None => Err(Failure::Unmet(unmet(args, &answer))),
    }
}

fn told(args: &Args, slo: &Slo, answer: &Answer) -> String {
    let path = &args.vary.path;
    let verdict = match answer.smallest {
        Some(value) => format!("Smallest that meets {}: {path}={value}", args.slo.trim()),
        None => format!("None that was tried meets {}", args.slo.trim()),
    };
    let table = table(&path.to_string(), slo, answer);
    format!("{verdict}\n\n{table}{}", notes(args, answer))
}

/// A number of the summary that is shown where the runs have it.
struct Column {
    name: &'static str,
    title: &'static str,
    show: fn(f64) -> String,
}

const COLUMNS: [Column; 3] = [
    Column {
        name: "gpus",
        title: "GPUS",
        show: |number| format!("{number:.0}"),
    },
    Column {
        name: "allocation_ratio",
        title: "ALLOCATED",
        show: percent,
    },
    Column {
        name: "cost_per_month",
        title: "COST/MONTH",
        show: grouped,
    },
];

fn table(path: &str, slo: &Slo, answer: &Answer) -> String {
    let has = |column: &&Column| {
        answer
            .tried
            .iter()
            .any(|t| t.metrics.contains_key(column.name))
    };
    let columns: Vec<&Column> = COLUMNS.iter().filter(has).collect();
    let mut header = vec![path, slo.measured(), "95 % INTERVAL"];
    header.extend(columns.iter().map(|column| column.title));
    header.push("MET");
    let mut rows = vec![header.into_iter().map(str::to_owned).collect()];
    rows.extend(
        answer
            .tried
            .iter()
            .map(|tried| row(slo, answer, &columns, tried)),
    );
    trials::aligned(&rows)
}

fn row(slo: &Slo, answer: &Answer, columns: &[&Column], tried: &Tried) -> Vec<String> {
    let mut row = vec![
        tried.value.to_string(),
        slo.show(tried.estimate.mean),
        interval(slo, tried),
    ];
    row.extend(columns.iter().map(|column| {
        let number = tried.metrics.get(column.name).copied();
        number.map_or_else(|| "-".to_owned(), column.show)
    }));
    row.push(met(tried, answer));
    row
}

fn interval(slo: &Slo, tried: &Tried) -> String {
    match tried.estimate.mean.is_finite() {
        true => format!(
            "{} to {}",
            slo.show(tried.estimate.low),
            slo.show(tried.estimate.high)
        ),
        false => "-".to_owned(),
    }
}

fn met(tried: &Tried, answer: &Answer) -> String {
    let mark = if tried.met { "✓" } else { "✗" };
    match answer.current == Some(tried.value) {
        true => format!("{mark} current"),
        false => mark.to_owned(),
    }
}

fn notes(args: &Args, answer: &Answer) -> String {
    let mut notes = String::new();
    let above = |tried: &&Tried| {
        answer
            .smallest
            .is_some_and(|smallest| tried.value > smallest)
    };
    let failing = answer.tried.iter().filter(above).filter(|tried| !tried.met);
    let failing: Vec<String> = failing.map(|tried| tried.value.to_string()).collect();
    if !failing.is_empty() {
        let text = "\nMore is not always better here: larger values do not meet it:";
        notes.push_str(&format!("{text} {}\n", failing.join(", ")));
    }
    let count = answer
        .tried
        .iter()
        .filter(|t| args.vary.values.contains(&t.value))
        .count();
    if count < args.vary.values.len() {
        let all = args.vary.values.len();
        notes.push_str(&format!(
            "\n{count} of {all} values were tried; --all tries every one\n"
        ));
    }
    for tried in answer.tried.iter().filter(|tried| tried.hopeless > 0) {
        let (jobs, path) = (tried.hopeless, &args.vary.path);
        let s = if jobs == 1 { "" } else { "s" };
        notes.push_str(&format!(
            "{path}={}: {jobs} job{s} can never start\n",
            tried.value
        ));
    }
    notes
}

fn unmet(args: &Args, answer: &Answer) -> String {
    let values = &args.vary.values;
    let tried = answer
        .tried
        .iter()
        .filter(|t| values.contains(&t.value))
        .count();
    format!(
        "not met: none of the {tried} values that were tried meets {}\n  \
         help: vary over a wider range, or run more seeds if only the interval is too wide",
        args.slo.trim()
    )
}

/// `328,320`: whole, with a comma between thousands.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.char_indices() {
        let left = digits.len() - index;
        if left.is_multiple_of(3) && !matches!(grouped.as_str(), "" | "-") {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_grouped() {
        let numbers = [0.4, 999.0, 1000.0, 328_320.0, -1_234_567.0].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "328,320", "-1,234,567"]);
    }
}
