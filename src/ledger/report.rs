//! Reports that people read: a page for the fleet, each tenant and each cost centre, and the same as
//! CSV. Each page is one file that needs nothing else.

use askama::Template;

use crate::account::{Books, Who};
use crate::totals::Sum;

mod chart;
mod page;
mod sheet;
mod tables;
mod tiles;
mod words;

use page::Page;

/// Why a report cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A page.
    #[error("a page of the report cannot be written: {0}")]
    Page(#[from] askama::Error),
    /// A table.
    #[error("a table of the report cannot be written: {0}")]
    Table(#[from] csv::Error),
}

/// A file of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub content: String,
}

/// All files of a report: `index.html`, `tenant-NAME.html`, `cost-center-NAME.html`, `tenants.csv`,
/// `cost-centers.csv`, and `lines.csv` with every line of the bill.
///
/// # Errors
/// When one of them cannot be written.
pub fn files(books: &Books<'_>) -> Result<Vec<File>, Error> {
    let everybody = books.everybody();
    let mut files = vec![File {
        name: page::file(&Who::Fleet),
        content: Page::of(books, &Who::Fleet).render()?,
    }];
    for who in &everybody {
        files.push(File {
            name: page::file(who),
            content: Page::of(books, who).render()?,
        });
    }
    let (tenants, centers): (Vec<Who>, Vec<Who>) = everybody
        .into_iter()
        .partition(|who| matches!(who, Who::Tenant(_)));
    for (name, content) in [
        ("tenants.csv", sheet::accounts(books, &tenants)?),
        ("cost-centers.csv", sheet::accounts(books, &centers)?),
        ("lines.csv", sheet::lines(books)?),
    ] {
        files.push(File {
            name: name.to_owned(),
            content,
        });
    }
    Ok(files)
}

/// Every line of a bill as CSV: what it is for, who owes it, and how much.
///
/// # Errors
/// When it cannot be written.
pub fn lines_csv(books: &Books<'_>) -> Result<String, Error> {
    sheet::lines(books)
}

/// Lines added up, as CSV: `title` says by what.
///
/// # Errors
/// When it cannot be written.
pub fn totals_csv(title: &str, rows: &[(String, Sum)], currency: &str) -> Result<String, Error> {
    sheet::totals(title, rows, currency)
}

#[cfg(test)]
mod tests;
