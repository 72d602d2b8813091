//! `run SCENARIO`: runs it, writes the outputs, prints the table.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use prorata_core::Order;

use super::{Failure, interrupt, progress, table};
use crate::output::Drafts;
use crate::problem::Problem;
use crate::report::{self, Report};
use crate::run::{Check, Interrupted, Run, run};
use crate::scenario::{ORDERS, Scenario, order_name};
use crate::summary::{Summary, summarise};
use crate::{jobs, workload};

/// Arguments of `run`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The scenario's file (YAML)
    scenario: PathBuf,
    /// Where summary.json, jobs.csv and report.html go
    #[arg(long, value_name = "DIR", default_value = "report")]
    out: PathBuf,
    /// Draw the work from this seed instead of the scenario's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Orders to run instead of the scenario's: fifo, drf
    #[arg(long, value_name = "ORDER,…", value_delimiter = ',', value_parser = order)]
    order: Vec<Order>,
    /// Write the report here instead of DIR/report.html
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Also write the chart of GPUs per tenant over time as an SVG of its own
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Check the core's invariants after every cycle (debug builds always do)
    #[arg(long)]
    check: bool,
}

pub(super) fn execute(args: &Args) -> Result<(), Failure> {
    interrupt::listen();
    let scenario = read(args)?;
    for warning in &scenario.warnings {
        eprintln!("{warning}");
    }
    let check = if args.check {
        Check::Always
    } else {
        Check::Debug
    };
    let runs = run_all(&scenario, check)?;
    let summary = summarise(&scenario, &runs);
    let report = write(args, &scenario, &runs, &summary)?;
    // Whoever reads may stop reading; the files are there all the same.
    let _ = writeln!(
        io::stdout(),
        "{}\nreport: {}",
        table::table(&summary),
        report.display()
    );
    Ok(())
}

/// The scenario, with what the command line changes.
fn read(args: &Args) -> Result<Scenario, Failure> {
    let file = args.scenario.display().to_string();
    let text = fs::read_to_string(&args.scenario).map_err(|error| {
        let remedy = "name a scenario's YAML file that you may read";
        let problem = Problem::new(&file, "file", format!("cannot be read: {error}"), remedy);
        Failure::Input(vec![problem])
    })?;
    let mut scenario = Scenario::parse(&file, &text).map_err(Failure::Input)?;
    scenario.seed = args.seed.unwrap_or(scenario.seed);
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

fn run_all(scenario: &Scenario, check: Check) -> Result<Vec<Run>, Interrupted> {
    let work = workload::draw(&scenario.streams, scenario.seed);
    let one = |order: &Order| {
        let bar = progress::Bar::new(order_name(*order));
        run(scenario, *order, &work, check, &mut |progress| {
            bar.show(progress);
            interrupt::poll()
        })
    };
    scenario.orders.iter().map(one).collect()
}

/// Writes all files or none, and says where the report is.
fn write(
    args: &Args,
    scenario: &Scenario,
    runs: &[Run],
    summary: &Summary,
) -> Result<PathBuf, Failure> {
    let path = args
        .report
        .clone()
        .unwrap_or_else(|| args.out.join("report.html"));
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
    put(&args.out.join("summary.json"), &json(summary)?)?;
    put(
        &args.out.join("jobs.csv"),
        &jobs::csv(runs).map_err(report::ReportError::from)?,
    )?;
    put(&path, report.html()?.as_bytes())?;
    if let Some(svg) = &args.svg {
        put(svg, report.svg()?.as_bytes())?;
    }
    interrupt::check()?;
    drafts.publish().map_err(Failure::file(&args.out))?;
    Ok(path)
}

fn json(summary: &Summary) -> Result<Vec<u8>, report::ReportError> {
    let mut bytes = serde_json::to_vec_pretty(summary)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn order(name: &str) -> Result<Order, String> {
    let known = ORDERS.iter().find(|(known, _)| *known == name);
    known
        .map(|(_, order)| *order)
        .ok_or_else(|| crate::problem::suggest(name, ORDERS.map(|(known, _)| known)))
}
