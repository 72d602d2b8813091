//! `cost price`: whether a price file is in order, and what its prices come to.

use std::path::PathBuf;

use prorata_ledger::money;
use prorata_ledger::period::moment;
use prorata_ledger::price::{Price, Rate};

use super::source::price_file;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Paint};
use crate::cli::table::{Cell, Table};

/// Options of `cost price`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each mistake is told as FILE:LINE:COLUMN: FIELD: what is wrong, and what to do about it.

Example:
  prorata cost price prices.yaml")]
pub(super) struct Args {
    /// The price file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn execute(args: &Args) -> Result<(), Failure> {
    let file = price_file(&args.file)?;
    let mut table = Table::new(&[
        "MODEL",
        "POOL",
        "PRIORITYCLASS",
        "FROM",
        "UNTIL",
        "AN HOUR",
        "SOURCE",
    ]);
    for price in file.prices.iter() {
        table.push(row(price, &file.currency));
    }
    let mut text = table.render(true, Paint::detect());
    for (name, owned) in &file.owned {
        text += &format!("\n{name}, in {}:\n", file.currency);
        for step in owned.arithmetic() {
            text += &format!("  {step}\n");
        }
    }
    output::print(&text)
}

fn row(price: &Price, currency: &str) -> Vec<Cell> {
    let rate = match price.rate {
        Rate::Hourly(micros) => format!("{} {currency}", money::price(micros)),
        Rate::Factor(milli) => format!("× {}", money::price(u64::from(milli) * 1000)),
    };
    let from = if price.from_ms == 0 {
        String::new()
    } else {
        moment(price.from_ms)
    };
    vec![
        price.model.as_str().into(),
        price.pool.clone().unwrap_or_default().into(),
        price.priority_class.clone().unwrap_or_default().into(),
        from.into(),
        price.until_ms.map(moment).unwrap_or_default().into(),
        rate.into(),
        price.source.as_str().into(),
    ]
}
