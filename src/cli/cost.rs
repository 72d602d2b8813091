//! `cost`: what GPUs cost and who owes it, from the ledger and a price file.

mod export;
mod price;
mod report;
mod serve;
mod source;
mod sums;
mod teams;

use prorata_ledger::totals::By;

use super::failure::Failure;

pub(super) use source::{LedgerArgs, PeriodArgs, read, recent};
pub(super) use teams::{TeamsArgs, teams};

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

/// By what it is added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Key {
    /// Who owes it.
    #[default]
    Tenant,
    /// The tenant's cost centre.
    CostCenter,
    /// The tenant's department.
    Department,
    /// The namespace.
    Namespace,
    /// The environment of the tenant.
    Environment,
    /// Who created the job.
    User,
    /// The job.
    Job,
    /// The model of the GPUs.
    Model,
    /// The PriorityClass.
    PriorityClass,
}

impl Key {
    pub(super) const fn by(self) -> By {
        match self {
            Self::Tenant => By::Tenant,
            Self::CostCenter => By::CostCenter,
            Self::Department => By::Department,
            Self::Namespace => By::Namespace,
            Self::Environment => By::Environment,
            Self::User => By::User,
            Self::Job => By::Job,
            Self::Model => By::Model,
            Self::PriorityClass => By::PriorityClass,
        }
    }

    /// Its name, as the command line has it.
    pub(super) fn name(self) -> String {
        self.title()
            .to_lowercase()
            .replace(' ', "-")
            .replace("centre", "center")
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Tenant => "TENANT",
            Self::CostCenter => "COST CENTRE",
            Self::Department => "DEPARTMENT",
            Self::Namespace => "NAMESPACE",
            Self::Environment => "ENVIRONMENT",
            Self::User => "USER",
            Self::Job => "JOB",
            Self::Model => "MODEL",
            Self::PriorityClass => "PRIORITYCLASS",
        }
    }
}
