//! `cost`: a row for each tenant, user, job or whatever else it is added up by.

use prorata_ledger::bill::Bill;
use prorata_ledger::money::{exact, rounded};
use prorata_ledger::period::{Period, rfc3339};
use prorata_ledger::record::Extract;
use prorata_ledger::report::totals_csv;
use prorata_ledger::totals::{
    By, Sum, coverage_milli, exact_gpu_hours, gpu_hours, percent, totals,
};
use serde::Serialize;

use super::source::{PricedArgs, billed};
use super::{by, title};
use crate::cli::failure::Failure;
use crate::cli::output::{self, Paint, Tone};
use crate::cli::table::{Cell, Table};

/// Options of `cost` itself.
#[derive(Debug, clap::Args)]
pub(super) struct SumsArgs {
    /// What this tenant owes alone
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// By what it is added up
    #[arg(long, value_parser = by(), default_value = "tenant", value_name = "WHAT")]
    by: By,
    /// The form of the output
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    output: Form,
    /// Leave out the line of titles
    #[arg(long, help_heading = "Output")]
    no_headers: bool,
    #[command(flatten)]
    priced: PricedArgs,
}

/// In which form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// Columns for people.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
    /// For spreadsheets.
    Csv,
}

pub(super) async fn execute(args: &SumsArgs) -> Result<(), Failure> {
    let file = args.priced.prices.read()?;
    let extract = args.priced.usage.read().await?;
    let bill = billed(&extract, &file)?;
    let lines = bill.lines.iter().filter(|line| match &args.tenant {
        Some(tenant) => line.tenant() == Some(tenant),
        None => true,
    });
    let rows = totals(&extract, lines, args.by);
    if let (Some(tenant), true) = (&args.tenant, rows.is_empty()) {
        eprintln!("note: {tenant} owes nothing in {}", bill.period);
    }
    match args.output {
        Form::Json => output::serialised(output::Format::Json, &told(args, &extract, &bill, &rows)),
        Form::Yaml => output::serialised(output::Format::Yaml, &told(args, &extract, &bill, &rows)),
        Form::Csv => {
            let text = totals_csv(&args.by.name().replace('-', "_"), &rows, &bill.currency);
            let text = text.map_err(|error| Failure::new(error.to_string()))?;
            let titles = text
                .find('\n')
                .filter(|_| args.no_headers)
                .map_or(0, |end| end + 1);
            output::print(&text[titles..])
        }
        Form::Table | Form::Wide => {
            let paint = Paint::detect();
            output::print(&table(args, &bill, &rows).render(!args.no_headers, paint))?;
            notes(args, &extract, &bill, &rows);
            Ok(())
        }
    }
}

/// For programs. Amounts are texts, because numbers there are not exact.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    from: String,
    until: String,
    currency: &'a str,
    by: String,
    total: String,
    rows: Vec<Row<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    name: &'a str,
    cost: String,
    gpu_hours: String,
    idle_gpu_hours: String,
    preempted_gpu_hours: String,
    estimated_gpu_hours: String,
    busy_thousandths: Option<u128>,
}

fn told<'a>(
    args: &SumsArgs,
    extract: &Extract,
    bill: &'a Bill,
    rows: &'a [(String, Sum)],
) -> Told<'a> {
    let row = |(name, sum): &'a (String, Sum)| Row {
        name,
        cost: exact(sum.micros),
        gpu_hours: exact_gpu_hours(sum.held),
        idle_gpu_hours: exact_gpu_hours(sum.idle),
        preempted_gpu_hours: exact_gpu_hours(sum.preempted),
        estimated_gpu_hours: exact_gpu_hours(sum.estimated),
        busy_thousandths: sum.busy_milli(),
    };
    Told {
        from: rfc3339(extract.from_ms),
        until: rfc3339(bill.period.until_ms),
        currency: &bill.currency,
        by: args.by.name().to_owned(),
        total: exact(all(rows)),
        rows: rows.iter().map(row).collect(),
    }
}

fn all(rows: &[(String, Sum)]) -> i128 {
    rows.iter().map(|(_, sum)| sum.micros).sum()
}

fn table(args: &SumsArgs, bill: &Bill, rows: &[(String, Sum)]) -> Table {
    let wide = args.output == Form::Wide;
    let mut titles = vec![title(args.by), "GPU-HOURS", "COMPUTING", "COST"];
    if wide {
        titles.extend(["IDLE GPU-HOURS", "PREEMPTED", "ESTIMATED"]);
    }
    let mut table = Table::new(&titles);
    for (name, sum) in rows {
        table.push(row(name, sum, &bill.currency, wide));
    }
    if rows.len() > 1 {
        let total = rows
            .iter()
            .fold(Sum::default(), |all, (_, sum)| plus(all, sum));
        table.push(row("all", &total, &bill.currency, wide));
    }
    table
}

fn row(name: &str, sum: &Sum, currency: &str, wide: bool) -> Vec<Cell> {
    let busy = sum.busy_milli();
    let tone = match busy {
        Some(busy) if busy < prorata_ledger::advice::IDLE_BELOW_MILLI => Tone::Bad,
        _ => Tone::Plain,
    };
    let hours = |time: u128| {
        Cell::from(if time > 0 {
            gpu_hours(time)
        } else {
            String::new()
        })
    };
    let mut row = vec![
        Cell::new(
            name,
            if name.starts_with("__") {
                Tone::Dim
            } else {
                Tone::Plain
            },
        ),
        hours(sum.held),
        Cell::new(busy.map(percent).unwrap_or_default(), tone),
        format!("{} {currency}", rounded(sum.micros)).into(),
    ];
    if wide {
        row.extend([hours(sum.idle), hours(sum.preempted), hours(sum.estimated)]);
    }
    row
}

fn plus(all: Sum, one: &Sum) -> Sum {
    Sum {
        micros: all.micros + one.micros,
        held_micros: all.held_micros + one.held_micros,
        held: all.held + one.held,
        idle: all.idle + one.idle,
        measured: all.measured + one.measured,
        busy: all.busy + one.busy,
        preempted: all.preempted + one.preempted,
        preemptions: all.preemptions + one.preemptions,
        estimated: all.estimated + one.estimated,
    }
}

/// What is to be known of the numbers, on standard error.
fn notes(args: &SumsArgs, extract: &Extract, bill: &Bill, rows: &[(String, Sum)]) {
    let period = Period {
        from_ms: extract.from_ms,
        until_ms: extract.until_ms,
    };
    let so_far = bill.period.until_ms < period.until_ms;
    let until = prorata_ledger::period::moment(bill.period.until_ms);
    eprintln!(
        "{period}{}",
        if so_far {
            format!(", until {until}")
        } else {
            String::new()
        }
    );
    let coverage = coverage_milli(extract, bill);
    if args.tenant.is_none() && coverage < 1000 {
        eprintln!(
            "note: {} of the time held belongs to tenants; the rest is __unallocated__",
            percent(coverage)
        );
    }
    if rows.iter().any(|(_, sum)| sum.estimated > 0) {
        eprintln!("note: some ends were not seen, and are estimated (-o wide)");
    }
    for (from, until) in &extract.gaps {
        let moment = prorata_ledger::period::moment;
        eprintln!(
            "note: nobody kept the ledger from {} until {}",
            moment(*from),
            moment(*until)
        );
    }
}
