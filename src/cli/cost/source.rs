//! Where usage and prices come from, and of which period.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prorata_ledger::bill::{Bill, bill};
use prorata_ledger::period::{self, DAY, Period};
use prorata_ledger::price_file::PriceFile;
use prorata_ledger::problem::Problem;
use prorata_ledger::record::Extract;
use prorata_ledger::store::{Book, Purpose};

use crate::cli::failure::Failure;
use crate::cost::{self, Ledger};
use crate::manifest::Problems;

/// Which ledger.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Ledger")]
pub(super) struct LedgerArgs {
    /// The ledger's database: sqlite:///path/to/file or postgres://user@host/database
    #[arg(
        long,
        env = "PRORATA_LEDGER",
        value_name = "URL",
        hide_env_values = true
    )]
    ledger: Option<String>,
    /// What a ledger says of a period, as `cost export --format extract` writes it, instead of a ledger
    #[arg(long, value_name = "FILE")]
    extract: Option<PathBuf>,
}

/// Which period of which ledger.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct UsageArgs {
    #[command(flatten)]
    period: PeriodArgs,
    #[command(flatten)]
    pub(super) ledger: LedgerArgs,
}

/// The same, at which prices.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct PricedArgs {
    #[command(flatten)]
    pub(super) usage: UsageArgs,
    #[command(flatten)]
    pub(super) prices: PricesArgs,
}

/// Which prices.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Ledger")]
pub(super) struct PricesArgs {
    /// The price file
    #[arg(long, env = "PRORATA_PRICES", value_name = "FILE")]
    prices: Option<PathBuf>,
}

/// Which period.
#[derive(Clone, Debug, Default, clap::Args)]
struct PeriodArgs {
    /// A month, such as 2026-11 [default: this month so far]
    #[arg(long, value_name = "MONTH", value_parser = Period::month, conflicts_with_all = ["from", "until"])]
    month: Option<Period>,
    /// From this day on (UTC), such as 2026-11-01
    #[arg(long, value_name = "DAY", value_parser = period::day, requires = "until")]
    from: Option<u64>,
    /// To before this day
    #[arg(long, value_name = "DAY", value_parser = period::day, requires = "from")]
    until: Option<u64>,
}

impl PeriodArgs {
    fn period(&self) -> Result<Option<Period>, Failure> {
        let days = self
            .from
            .zip(self.until)
            .map(|(from_ms, until_ms)| Period { from_ms, until_ms });
        if days.is_some_and(|days| days.length_ms() == 0) {
            return Err(Failure::input(
                "--until is not after --from",
                "write a later day",
            ));
        }
        Ok(self.month.or(days))
    }
}

impl LedgerArgs {
    /// Opens it.
    pub(super) async fn open(&self) -> Result<Ledger, Failure> {
        match (&self.extract, &self.ledger) {
            (Some(file), _) => Ok(Ledger::Extract(Arc::new(from_file(file)?))),
            (None, Some(url)) => {
                let book = Book::open(url, Purpose::Read).await;
                Ok(Ledger::Book(
                    book.map_err(|error| Failure::new(error.to_string()))?,
                ))
            }
            (None, None) => {
                let remedy =
                    "name its database by --ledger or $PRORATA_LEDGER, or a file by --extract";
                Err(Failure::input("no ledger is named", remedy))
            }
        }
    }
}

impl UsageArgs {
    /// What the ledger says of the period; without one, of this month, or of all that a file has.
    pub(in crate::cli) async fn read(&self) -> Result<Extract, Failure> {
        self.of(&self.ledger.open().await?).await
    }

    /// The same of a ledger that is open.
    pub(super) async fn of(&self, ledger: &Ledger) -> Result<Extract, Failure> {
        self.within(ledger, Period::month_of(cost::now_ms())).await
    }

    /// The same, but without a period of the last 30 days.
    pub(in crate::cli) async fn recent(&self) -> Result<Extract, Failure> {
        let until_ms = cost::now_ms();
        let lately = Period {
            from_ms: until_ms.saturating_sub(30 * DAY),
            until_ms,
        };
        self.within(&self.ledger.open().await?, lately).await
    }

    async fn within(&self, ledger: &Ledger, otherwise: Period) -> Result<Extract, Failure> {
        match (ledger, self.period.period()?) {
            (Ledger::Extract(extract), None) => Ok((**extract).clone()),
            (_, period) => of(ledger, period.unwrap_or(otherwise)).await,
        }
    }
}

/// What it says of this period.
async fn of(ledger: &Ledger, period: Period) -> Result<Extract, Failure> {
    ledger.read(period).await.map_err(|error| match error {
        cost::Error::Beyond { .. } => {
            Failure::input(error.to_string(), "name another period or another file")
        }
        cost::Error::Store(_) => Failure::new(error.to_string()),
    })
}

/// What it says of the period before one, where it knows anything of that.
pub(super) async fn before(ledger: &Ledger, extract: &Extract) -> Option<Extract> {
    let period = Period {
        from_ms: extract.from_ms,
        until_ms: extract.until_ms,
    };
    let before = match period.is_month() {
        true => period.month_before(),
        false => Period {
            from_ms: period.from_ms.checked_sub(period.length_ms())?,
            until_ms: period.from_ms,
        },
    };
    // Nothing comes before the first month that is counted.
    if before.until_ms > period.from_ms {
        return None;
    }
    let before = ledger.read(before).await.ok()?;
    (!before.stock.is_empty()).then_some(before)
}

impl PricesArgs {
    /// Reads the price file.
    pub(super) fn read(&self) -> Result<PriceFile, Failure> {
        let file = self.prices.as_deref().ok_or_else(|| {
            let remedy = "name one by --prices or $PRORATA_PRICES; deploy/prices.example.yaml shows how one is written";
            Failure::input("there is no price file, so there is no bill", remedy)
        })?;
        price_file(file)
    }
}

/// Reads a price file.
pub(super) fn price_file(path: &Path) -> Result<PriceFile, Failure> {
    let file = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| {
        let problem = Problem::new(
            &file,
            "file",
            error.to_string(),
            "name a price file that you may read",
        );
        Failure::problems(Problems::from(problem))
    })?;
    PriceFile::parse(&file, &text).map_err(|problems| Failure::problems(Problems(problems)))
}

/// The bill of an extract.
pub(super) fn billed(extract: &Extract, file: &PriceFile) -> Result<Bill, Failure> {
    bill(extract, file).map_err(|error| Failure::new(error.to_string()))
}

fn from_file(path: &Path) -> Result<Extract, Failure> {
    let wrong = |what: String| {
        Failure::input(
            format!("{}: {what}", path.display()),
            "name a file that `prorata cost export --format extract` wrote",
        )
    };
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}
