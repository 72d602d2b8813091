//! `run SCENARIO`: runs it, writes the outputs, prints the table.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prorata_core::Order;
use prorata_ledger::price_file::PriceFile;

use super::{Failure, interrupt, progress, table, targets::Targets};
use crate::interference::Interference;
use crate::output::Drafts;
use crate::pricing::Pricing;
use crate::problem::Problem;
use crate::report::{self, Report};
use crate::run::{Check, Interrupted, Run, run};
use crate::scenario::{ORDERS, Scenario, order_name};
use crate::summary::{Summary, summarise};
use crate::trace::Source;
use crate::{events, jobs, timeline, workload};

/// Arguments of `run`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The scenario's file (YAML)
    pub(super) scenario: PathBuf,
    /// Where summary.json, jobs.csv, timeline.csv, events.jsonl and report.html go
    #[arg(long, value_name = "DIR", default_value = "report")]
    pub(super) out: PathBuf,
    /// Draw the work from this seed instead of the scenario's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Replay this trace instead of the scenario's work: openb, philly, muri, chronus or swf
    #[arg(long, value_name = "KIND:PATH")]
    pub(super) trace: Option<Source>,
    /// Stop at this time of the simulation, such as 36h or 14d
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Duration>,
    /// What sharing a card costs: a table like simulator/interference.yaml, instead of that one
    #[arg(long, value_name = "FILE")]
    pub(super) interference: Option<PathBuf>,
    /// How long an evicted job still holds its GPUs
    #[arg(long, value_name = "SPAN", value_parser = time)]
    grace: Option<Duration>,
    /// Orders to run instead of the scenario's: fifo, priority, srtf, srsf, las, drf
    #[arg(long, value_name = "ORDER,…", value_delimiter = ',', value_parser = order)]
    order: Vec<Order>,
    /// Write the report here instead of DIR/report.html
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// Also write the chart of GPUs per tenant over time as an SVG of its own
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
    /// Price it as `prorata cost` bills a cluster: a price file, by the pools' models and names
    #[arg(long, value_name = "FILE")]
    pub(super) prices: Option<PathBuf>,
    /// The day on which the scenario begins, for the prices [default: when they last change]
    #[arg(long, value_name = "DAY", value_parser = prorata_ledger::period::day, requires = "prices")]
    start: Option<u64>,
    /// Check the core's invariants after every cycle (debug builds always do)
    #[arg(long)]
    check: bool,
}

pub(super) fn execute(args: &Args) -> Result<(), Failure> {
    interrupt::listen();
    let targets = Targets::new(args)?;
    let scenario = read(args)?;
    for warning in &scenario.warnings {
        super::warn(warning);
    }
    let pricing = pricing(args, &scenario)?;
    let check = if args.check {
        Check::Always
    } else {
        Check::Debug
    };
    let runs = run_all(&scenario, check)?;
    let mut summary = summarise(&scenario, &runs);
    if let Some(pricing) = &pricing {
        let priced = summary.price(&scenario, &runs, pricing);
        priced.map_err(|error| unpriced(args, &error))?;
    }
    write(&targets, &scenario, &runs, &summary)?;
    let table = table::table(&summary);
    super::print(&format!("{table}\nreport: {}\n", targets.report.display()))
}

/// The scenario, with what the command line changes.
fn read(args: &Args) -> Result<Scenario, Failure> {
    let (file, text) = text(
        &args.scenario,
        "name a scenario's YAML file that you may read",
    )?;
    let mut scenario = Scenario::parse(&file, &text).map_err(Failure::Input)?;
    if let Some(trace) = &args.trace {
        scenario = scenario.with_trace(trace).map_err(Failure::Input)?;
    }
    if let Some(problem) = scenario.without_work(&file, &text) {
        return Err(Failure::Input(vec![problem]));
    }
    if let Some(table) = &args.interference {
        let (file, text) = self::text(table, "name a table's YAML file that you may read")?;
        let table = Interference::parse(&file, &text);
        scenario.interference = table.map_err(|problem| Failure::Input(vec![problem]))?;
    }
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    scenario.until = args.until.or(scenario.until);
    scenario.grace = args.grace.unwrap_or(scenario.grace);
    if !args.order.is_empty() {
        scenario.orders.clear();
        for order in &args.order {
            if !scenario.orders.contains(order) {
                scenario.orders.push(*order);
            }
        }
    }
    Ok(scenario)
}

/// The prices, if they are wanted, once every pool is known to have one.
fn pricing(args: &Args, scenario: &Scenario) -> Result<Option<Pricing>, Failure> {
    let Some(path) = &args.prices else {
        return Ok(None);
    };
    let (file, text) = text(path, "name a price file that you may read")?;
    let prices = PriceFile::parse(&file, &text).map_err(Failure::Input)?;
    let pricing = Pricing::new(prices, args.start);
    let checked = pricing.check(scenario);
    checked.map_err(|error| unpriced(args, &error))?;
    Ok(Some(pricing))
}

fn unpriced(args: &Args, error: &dyn std::error::Error) -> Failure {
    let file = args.prices.as_deref().unwrap_or(Path::new("prices"));
    let remedy = "name models and pools as the scenario does, or leave out --prices";
    let problem = Problem::new(
        &file.display().to_string(),
        "prices",
        error.to_string(),
        remedy,
    );
    Failure::Input(vec![problem])
}

/// A file's name, for messages, and its text.
pub(super) fn text(path: &Path, remedy: &str) -> Result<(String, String), Failure> {
    let file = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| {
        let problem = Problem::new(&file, "file", format!("cannot be read: {error}"), remedy);
        Failure::Input(vec![problem])
    })?;
    Ok((file, text))
}

fn run_all(scenario: &Scenario, check: Check) -> Result<Vec<Run>, Interrupted> {
    let work = workload::draw(scenario, scenario.seed);
    let one = |order: &Order| {
        let bar = progress::Bar::new(order_name(*order));
        run(scenario, *order, &work, check, &mut |progress| {
            bar.show(progress);
            interrupt::poll()
        })
    };
    scenario.orders.iter().map(one).collect()
}

/// Writes all files or none.
fn write(
    targets: &Targets,
    scenario: &Scenario,
    runs: &[Run],
    summary: &Summary,
) -> Result<(), Failure> {
    let report = Report {
        scenario,
        runs,
        summary,
    };
    let mut drafts = Drafts::default();
    let mut put = |path: &Path, content: &[u8]| {
        interrupt::check()?;
        drafts.write(path, content).map_err(Failure::file(path))
    };
    put(&targets.summary, &json(summary)?)?;
    put(
        &targets.jobs,
        &jobs::csv(runs).map_err(report::ReportError::from)?,
    )?;
    let timeline = timeline::csv(scenario, runs);
    put(
        &targets.timeline,
        &timeline.map_err(report::ReportError::from)?,
    )?;
    let events = events::jsonl(runs);
    put(&targets.events, &events.map_err(report::ReportError::from)?)?;
    put(&targets.report, report.html()?.as_bytes())?;
    if let Some(svg) = &targets.svg {
        put(svg, report.svg()?.as_bytes())?;
    }
    interrupt::check()?;
    drafts.publish().map_err(Failure::file(&targets.folder))
}

fn json(summary: &Summary) -> Result<Vec<u8>, report::ReportError> {
    let mut bytes = serde_json::to_vec_pretty(summary)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Ten years, beyond which a scenario's times do not go either.
const TIME_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

fn time(text: &str) -> Result<Duration, String> {
    let read = humantime::parse_duration(text).ok();
    let millis = |time: &Duration| time.subsec_nanos().is_multiple_of(1_000_000);
    let good = read.filter(|time| *time <= TIME_MAX && millis(time));
    good.ok_or_else(|| {
        "write whole milliseconds up to ten years, such as 90s, 36h or 14d".to_owned()
    })
}

fn order(name: &str) -> Result<Order, String> {
    let known = ORDERS.iter().find(|(known, _)| *known == name);
    known
        .map(|(_, order)| *order)
        .ok_or_else(|| crate::problem::suggest(name, ORDERS.map(|(known, _)| known)))
}
