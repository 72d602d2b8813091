//! `cost`: what GPUs cost and who owes it, from the ledger and a price file.

mod export;
mod price;
mod report;
mod serve;
mod source;
mod sums;
mod teams;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use prorata_ledger::totals::By;

use super::failure::Failure;

pub(super) use source::UsageArgs;
pub(super) use teams::TeamsArgs;

/// Options of `cost`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Without a period it is this month so far. Whoever can read the ledger sees all tenants in it.

Examples:
  prorata cost --prices prices.yaml
  prorata cost --prices prices.yaml --month 2026-11 --by user --tenant vision
  prorata cost --prices prices.yaml --from 2026-11-01 --until 2026-11-08 -o csv
  prorata cost report --prices prices.yaml --month 2026-11 --out november
  prorata cost export --prices prices.yaml --month 2026-11 --format focus > focus-1.3-2026-11.csv
  prorata cost price prices.yaml"
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    sums: sums::SumsArgs,
}

/// What else to do with costs.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write a report that people read: pages (HTML) and tables (CSV), for the fleet and each tenant.
    Report(report::Args),
    /// Print every line of the bill for other programs.
    Export(export::Args),
    /// Check a price file, and show the arithmetic of one's own machines.
    Price(price::Args),
    /// Answer at /allocation as OpenCost does, for tools that ask that.
    Serve(serve::Args),
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    match &args.command {
        None => sums::execute(&args.sums).await,
        Some(Command::Report(args)) => report::execute(args).await,
        Some(Command::Export(args)) => export::execute(args).await,
        Some(Command::Price(args)) => price::execute(args),
        Some(Command::Serve(args)) => serve::execute(args).await,
    }
}

/// By what lines are added up, as a command line has it.
pub(super) fn by() -> impl TypedValueParser<Value = By> {
    let value = |by: By| PossibleValue::new(by.name()).help(meaning(by));
    PossibleValuesParser::new(By::ALL.map(value)).map(|name| By::named(&name).unwrap_or_default())
}

const fn meaning(by: By) -> &'static str {
    match by {
        By::Tenant => "Who owes it",
        By::CostCenter => "The tenant's cost centre",
        By::Department => "The tenant's department",
        By::Namespace => "The namespace",
        By::Environment => "The environment of the tenant",
        By::User => "Who created the job",
        By::Job => "The job",
        By::Model => "The model of the GPUs",
        By::PriorityClass => "The PriorityClass",
    }
}

/// The title of its column.
pub(super) const fn title(by: By) -> &'static str {
    match by {
        By::Tenant => "TENANT",
        By::CostCenter => "COST CENTRE",
        By::Department => "DEPARTMENT",
        By::Namespace => "NAMESPACE",
        By::Environment => "ENVIRONMENT",
        By::User => "USER",
        By::Job => "JOB",
        By::Model => "MODEL",
        By::PriorityClass => "PRIORITYCLASS",
    }
}
