//! What holds of the book, in each database that it can be in.

mod crash;
mod keep;
mod postgres;

use std::cell::Cell;
use std::sync::Arc;

use tempfile::TempDir;

use super::{Book, Error, Purpose};
use crate::entry::{Held, PlaceId};
use crate::record::{Payer, Stock};
use postgres::Postgres;

/// An empty database of each kind, by its address.
pub(super) struct Databases {
    directory: TempDir,
    postgres: Option<Postgres>,
    made: Cell<usize>,
}

impl Databases {
    pub(super) fn start() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            postgres: Postgres::start_or_skip(),
            made: Cell::new(0),
        }
    }

    /// New ones.
    pub(super) fn fresh(&self) -> Vec<String> {
        let number = self.made.get() + 1;
        self.made.set(number);
        let file = self.directory.path().join(format!("{number}.db"));
        let sqlite = format!("sqlite://{}", file.display());
        let postgres = self.postgres.as_ref();
        let postgres = postgres.map(|server| server.database(&format!("book{number}")));
        [sqlite].into_iter().chain(postgres).collect()
    }
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

pub(super) fn place(job: &str, seat: u32) -> PlaceId {
    PlaceId {
        job_uid: job.to_owned(),
        epoch: 1,
        seat,
        node: "a".to_owned(),
    }
}

/// A GPU held by a job of the tenant red.
pub(super) fn held(job: &str, seat: u32, from_ms: u64) -> Held {
    Held {
        id: place(job, seat),
        from_ms,
        model: "L4".to_owned(),
        pool: String::new(),
        mode: "exclusive".to_owned(),
        gpu_milli: 1000,
        payer: Payer {
            tenant: "red".to_owned(),
            namespace: "ml-red".to_owned(),
            ..Payer::default()
        },
        kind: "Job".to_owned(),
        job: job.to_owned(),
        priority_class: String::new(),
    }
}

pub(super) fn shared(held: Held) -> Arc<Held> {
    Arc::new(held)
}

/// Eight GPUs of the node that all places are on.
pub(super) fn stock(from_ms: u64) -> Stock {
    Stock {
        node: "a".to_owned(),
        pool: String::new(),
        model: "L4".to_owned(),
        gpu_milli: 8000,
        from_ms,
        until_ms: None,
    }
}

#[test]
fn what_is_no_ledger_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("sqlite://{}", directory.path().join(name).display());
    std::fs::write(
        directory.path().join("text"),
        "to be or not to be ".repeat(100),
    )
    .unwrap();
    runtime().block_on(async {
        let text = Book::open(&url("text"), Purpose::Write).await;
        assert!(matches!(text, Err(Error::NoLedger(_))), "{text:?}");
        let none = Book::open(&url("none"), Purpose::Read).await;
        assert!(matches!(none, Err(Error::Unopened { .. })), "{none:?}");
        assert!(!directory.path().join("none").exists());
        let elsewhere = Book::open("mysql://host/name", Purpose::Write).await;
        assert!(matches!(elsewhere, Err(Error::Address(_))), "{elsewhere:?}");
    });
}

#[test]
fn a_book_of_others_or_of_a_later_version_is_left_alone() {
    let databases = Databases::start();
    runtime().block_on(async {
        for url in databases.fresh() {
            let book = Book::open(&url, Purpose::Write).await.unwrap();
            let later = "INSERT INTO _sqlx_migrations \
                 (version, description, success, checksum, execution_time) \
                 SELECT 2, 'later', success, checksum, 0 FROM _sqlx_migrations";
            sqlx::query(later).execute(&book.pool).await.unwrap();
            book.close().await;
            let again = Book::open(&url, Purpose::Write).await;
            assert!(matches!(again, Err(Error::Later(_))), "{again:?}");
        }
        for url in databases.fresh() {
            let theirs = "CREATE TABLE recipes (name TEXT)";
            let book = Book::open(&url, Purpose::Write).await.unwrap();
            for table in ["ends", "corrections", "kept"] {
                let drop = sqlx::AssertSqlSafe(format!("DROP TABLE {table}"));
                sqlx::query(drop).execute(&book.pool).await.unwrap();
            }
            sqlx::query(theirs).execute(&book.pool).await.unwrap();
            book.close().await;
            let again = Book::open(&url, Purpose::Write).await;
            assert!(matches!(again, Err(Error::NoLedger(_))), "{again:?}");
        }
    });
}

#[test]
fn the_databases_themselves_refuse_to_change_a_line() {
    let databases = Databases::start();
    runtime().block_on(async {
        for url in databases.fresh() {
            let book = Book::open(&url, Purpose::Write).await.unwrap();
            let entry = crate::entry::Entry::Held(shared(held("j", 0, 10)));
            book.write(&[entry], (0, 20)).await.unwrap();
            for statement in [
                "UPDATE starts SET gpu_milli = 1",
                "DELETE FROM starts",
                "UPDATE kept SET until_ms = 9",
                "DELETE FROM kept",
            ] {
                let refused = sqlx::query(statement).execute(&book.pool).await;
                let error = refused.unwrap_err().to_string();
                assert!(error.contains("append-only"), "{url}: {statement}: {error}");
            }
            assert_eq!(book.open_holds().await.unwrap().len(), 1);
        }
    });
}
