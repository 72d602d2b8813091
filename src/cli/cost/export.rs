//! `cost export`: the whole bill for other programs.

use std::collections::BTreeMap;

use prorata_ledger::account::Books;
use prorata_ledger::focus::{self, Parties};
use prorata_ledger::report;

use super::source::{PricedArgs, billed};
use crate::cli::failure::Failure;
use crate::cli::output;

/// Options of `cost export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
focus: FOCUS 1.3 as CSV, a row for each line of the bill, a month at a time.
lines: every line with all that the ledger knows of it, as CSV.
extract: what the ledger says of the period, without prices, as JSON: --extract reads it again, so that
a bill can be worked out anew by whoever doubts it.

Examples:
  prorata cost export --prices prices.yaml --month 2026-11 --format focus > focus-1.3-2026-11.csv
  prorata cost export --month 2026-11 --format extract > november.json")]
pub(super) struct Args {
    /// In which format
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Format,
    /// FOCUS: identifier of the billing account
    #[arg(long, value_name = "ID", default_value = "prorata")]
    account: String,
    /// FOCUS: what people call the account [default: its identifier]
    #[arg(long, value_name = "NAME")]
    account_name: Option<String>,
    /// FOCUS: who runs the GPUs and bills for them
    #[arg(long, value_name = "NAME", default_value = "GPU platform")]
    provider: String,
    #[command(flatten)]
    priced: PricedArgs,
}

/// In which format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// FOCUS 1.3 (CSV).
    Focus,
    /// Every line (CSV).
    Lines,
    /// What the ledger says (JSON).
    Extract,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let extract = args.priced.usage.read().await?;
    if args.format == Format::Extract {
        return output::serialised(output::Format::Json, &extract);
    }
    let file = args.priced.prices.read()?;
    let bill = billed(&extract, &file)?;
    let failed = |error: &dyn std::error::Error| Failure::new(error.to_string());
    let text = match args.format {
        Format::Focus => {
            let parties = Parties {
                account_id: args.account.clone(),
                account_name: args
                    .account_name
                    .clone()
                    .unwrap_or_else(|| args.account.clone()),
                provider: args.provider.clone(),
            };
            focus::export(&extract, &bill, &parties).map_err(|error| failed(&error))?
        }
        _ => {
            let books = Books {
                extract: &extract,
                bill: &bill,
                before: None,
                file: &file,
                teams: &BTreeMap::new(),
            };
            report::lines_csv(&books).map_err(|error| failed(&error))?
        }
    };
    output::print(&text)
}
