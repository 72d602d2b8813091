//! The ledger and the prices that a controller is configured with.

use std::path::PathBuf;

use prorata_ledger::bill;
use prorata_ledger::period::Period;
use prorata_ledger::price_file::PriceFile;
use prorata_ledger::record::Extract;
use prorata_ledger::store::{self, Book, Purpose};

use crate::config::{self, Configuration};

/// Where they are.
#[derive(Clone, Debug)]
pub struct Source {
    ledger: config::Ledger,
    prices: PathBuf,
}

/// Why they cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file that says where the ledger is.
    #[error("ledger.urlFile: {0}")]
    Address(#[source] std::io::Error),
    /// The price file.
    #[error("budgets.prices: {0}")]
    Unreadable(#[source] std::io::Error),
    /// What is in it.
    #[error("budgets.prices: {0}")]
    Prices(String),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] store::Error),
    /// What comes of both.
    #[error("there is no bill: {0}")]
    Bill(#[from] bill::Error),
}

impl Source {
    /// Both, where a configuration has them.
    #[must_use]
    pub fn of(config: &Configuration) -> Option<Self> {
        Some(Self {
            ledger: config.ledger.clone()?,
            prices: config.budgets.as_ref()?.prices.clone(),
        })
    }

    /// The prices, as the file says now.
    ///
    /// # Errors
    /// When the file cannot be read, or says what makes no sense.
    pub fn prices(&self) -> Result<PriceFile, Error> {
        let path = self.prices.display().to_string();
        let text = std::fs::read_to_string(&self.prices).map_err(Error::Unreadable)?;
        PriceFile::parse(&path, &text).map_err(|problems| {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Error::Prices(all.join("; "))
        })
    }

    /// Both, and what the ledger says of a period.
    ///
    /// # Errors
    /// When any of it cannot be read.
    pub async fn read(&self, period: Period) -> Result<(Book, PriceFile, Extract), Error> {
        let file = self.prices()?;
        let book = self.open().await?;
        let extract = book.extract(period.from_ms, period.until_ms).await?;
        Ok((book, file, extract))
    }

    /// The ledger, to read.
    ///
    /// # Errors
    /// When it cannot be found or opened.
    pub async fn open(&self) -> Result<Book, Error> {
        let address = self.ledger.address().map_err(Error::Address)?;
        Ok(Book::open(&address, Purpose::Read).await?)
    }
}
