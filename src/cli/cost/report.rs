//! `cost report`: pages and tables into a directory.

use std::fs;
use std::path::PathBuf;

use prorata_ledger::account::Books;
use prorata_ledger::report;

use super::source::{self, PricedArgs, billed};
use super::teams::TeamsArgs;
use crate::cli::failure::Failure;
use crate::cli::output;

/// Options of `cost report`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Writes index.html (all GPUs), a page for each tenant and each cost centre, tenants.csv,
cost-centers.csv and lines.csv. Each page is one file that needs no network. Budgets and guarantees
are those of the Tenants of --tenants.

Example:
  prorata cost report --prices prices.yaml --month 2026-11 --tenants tenants.yaml --out november")]
pub(super) struct Args {
    /// Where it is written; made where it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    teams: TeamsArgs,
    #[command(flatten)]
    priced: PricedArgs,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let PricedArgs { usage, prices } = &args.priced;
    let (file, teams) = (prices.read()?, args.teams.read()?);
    let ledger = usage.ledger.open().await?;
    let extract = usage.of(&ledger).await?;
    let bill = billed(&extract, &file)?;
    let before = source::before(&ledger, &extract).await;
    // What was before may have had no prices yet; then there is nothing to compare with.
    let before = before.and_then(|before| Some((billed(&before, &file).ok()?, before)));
    let books = Books {
        extract: &extract,
        bill: &bill,
        before: before.as_ref().map(|(bill, extract)| (extract, bill)),
        file: &file,
        teams: &teams,
    };
    let files = report::files(&books).map_err(|error| Failure::new(error.to_string()))?;
    let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", args.out.display()));
    fs::create_dir_all(&args.out).map_err(failed)?;
    for file in &files {
        fs::write(args.out.join(&file.name), &file.content).map_err(failed)?;
    }
    output::print(&format!(
        "{} files, to begin with {}\n",
        files.len(),
        args.out.join("index.html").display()
    ))
}
