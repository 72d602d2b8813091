//! The book itself: a SQLite file, or a PostgreSQL database. One code path serves both.
//!
//! It is append-only, and the databases see to that themselves. Every fact has a key, so that one
//! that is told twice, by the same process after a crash or by two at the same time, is in the book
//! once. Whoever writes does so alone, in one transaction for each batch.

mod database;
mod open_lines;
mod read;
mod take_up;
#[cfg(test)]
mod tests;
mod told;
mod write;

use sqlx::AnyPool;

pub use database::Purpose;
pub use open_lines::Open;

/// A book. Copies share its connections.
#[derive(Clone, Debug)]
pub struct Book {
    kind: database::Kind,
    pool: AnyPool,
}

/// Why a book is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error(
        "ledger: `{0}` is no database that a ledger can be in: write sqlite:///path/to/ledger.db or \
         postgres://user@host/database"
    )]
    Address(String),
    /// It cannot be opened.
    #[error(
        "the ledger {place} cannot be opened: {source}: see that it is there and may be read and written"
    )]
    Unopened {
        /// Where it is to be, without a password.
        place: String,
        /// What the database says.
        source: sqlx::Error,
    },
    /// Something else is there.
    #[error("{0} holds something else than a ledger: name another file, or an empty database")]
    NoLedger(String),
    /// It was written by a program that is newer than this one.
    #[error("the ledger {0} is of a later version than this program knows: use the newer program")]
    Later(String),
    /// Its tables could not be made.
    #[error("the tables of the ledger {place} cannot be made: {source}")]
    Unmade {
        /// Where it is to be, without a password.
        place: String,
        /// What the database says.
        source: sqlx::migrate::MigrateError,
    },
    /// It could not be read.
    #[error("the ledger cannot be read: {0}")]
    Unread(#[source] sqlx::Error),
    /// It could not be written. Nothing of the batch is in it.
    #[error("the ledger cannot be written: {0}")]
    Unwritten(#[source] sqlx::Error),
    /// A number in it, or for it, is beyond what it counts.
    #[error("the ledger cannot hold {0} in its {1}")]
    OutOfRange(String, &'static str),
    /// A word in it means nothing.
    #[error("the ledger says `{0}` of why a hold ended, which means nothing")]
    Word(String),
}
