//! Which database it is, and what is made in it before it is a book.

use sqlx::any::AnyPoolOptions;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row, SqlSafeStr};

use super::{Book, Error};

/// Connections at the same time: one writes, the other reads.
const CONNECTIONS_MAX: u32 = 2;

/// Where sqlx keeps which versions of the tables were made.
const VERSIONS: &str = "_sqlx_migrations";

/// How often what somebody else is about to do as well is tried.
const TRIES: u32 = 50;
/// The pause between two tries.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// What each connection to SQLite begins with. What was committed outlasts a loss of power, and a
/// reader does not wait for who writes.
const SQLITE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
     PRAGMA busy_timeout = 5000";

/// What a book is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To go on with it. It is made where there is none.
    Write,
    /// To look at one that is there.
    Read,
}

/// The databases that a book can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    fn of(url: &str) -> Result<Self, Error> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            _ => Err(Error::Address(place(url))),
        }
    }

    const fn schema(self) -> &'static str {
        match self {
            Self::Sqlite => include_str!("schema/sqlite.sql"),
            Self::Postgres => include_str!("schema/postgres.sql"),
        }
    }

    /// The tables that are there.
    const fn tables(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT name AS table_name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            }
            Self::Postgres => {
                "SELECT CAST(tablename AS TEXT) AS table_name FROM pg_catalog.pg_tables WHERE schemaname = current_schema()"
            }
        }
    }

    /// What begins a transaction of the only one who writes, and what has to follow it.
    pub(super) const fn exclusively(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Sqlite => ("BEGIN IMMEDIATE", None),
            Self::Postgres => ("BEGIN", Some("LOCK TABLE kept IN EXCLUSIVE MODE")),
        }
    }

    /// The address as the driver wants it.
    fn address(self, url: &str, purpose: Purpose) -> String {
        let mode = match purpose {
            Purpose::Write => "mode=rwc",
            Purpose::Read => "mode=rw",
        };
        match self {
            Self::Sqlite if !url.contains("mode=") && !url.contains(":memory:") => {
                let joint = if url.contains('?') { '&' } else { '?' };
                format!("{url}{joint}{mode}")
            }
            Self::Sqlite | Self::Postgres => url.to_owned(),
        }
    }
}

impl Book {
    /// The book at `sqlite:///path/to/file` or `postgres://user@host/database`.
    ///
    /// # Errors
    /// When it is no such address, the database cannot be reached, or holds something else or a
    /// book of a later version.
    pub async fn open(url: &str, purpose: Purpose) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        let kind = Kind::of(url)?;
        let address = kind.address(url, purpose);
        let unopened = |source| Error::Unopened {
            place: place(url),
            source,
        };
        let mut first = AnyConnection::connect(&address).await.map_err(|source| {
            match is_no_database(&source) {
                true => Error::NoLedger(place(url)),
                false => unopened(source),
            }
        })?;
        settle(&mut first)
            .await
            .map_err(|source| match is_no_database(&source) {
                true => Error::NoLedger(place(url)),
                false => unopened(source),
            })?;
        make(&mut first, kind, url, purpose).await?;
        first.close().await.map_err(unopened)?;
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(std::time::Duration::from_secs(10))
            .after_connect(|connection, _| Box::pin(settle(connection)))
            .connect(&address);
        let pool = pool.await.map_err(unopened)?;
        Ok(Self { kind, pool })
    }

    /// Ends its connections.
    pub async fn close(self) {
        self.pool.close().await;
    }
}

/// An address without its password.
fn place(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (path, _) = rest.split_once('?').unwrap_or((rest, ""));
    match path.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{host}")
        }
        None => format!("{scheme}://{path}"),
    }
}

/// Who turns the file to WAL while another does is told "busy" at once, whatever the timeout is.
async fn settle(connection: &mut AnyConnection) -> sqlx::Result<()> {
    if connection.backend_name() != "SQLite" {
        return Ok(());
    }
    for _ in 1..TRIES {
        match sqlx::raw_sql(SQLITE).execute(&mut *connection).await {
            Err(source) if is_busy(&source) => tokio::time::sleep(PAUSE).await,
            other => return other.map(drop),
        }
    }
    sqlx::raw_sql(SQLITE).execute(connection).await.map(drop)
}

/// Makes the tables where there are none, or brings older ones up to date. Somebody else may be about
/// to do the same.
async fn make(
    connection: &mut AnyConnection,
    kind: Kind,
    url: &str,
    purpose: Purpose,
) -> Result<(), Error> {
    let schema = AssertSqlSafe(kind.schema()).into_sql_str();
    let first = Migration::new(1, "ledger".into(), MigrationType::Simple, schema, false);
    let migrator = Migrator::with_migrations(vec![first]);
    let mut tries = TRIES;
    loop {
        check(connection, kind, url, purpose).await?;
        tries -= 1;
        match migrator.run_direct(None, connection, false).await {
            Ok(()) => return Ok(()),
            Err(
                MigrateError::VersionMissing(_)
                | MigrateError::VersionMismatch(_)
                | MigrateError::VersionTooNew(..),
            ) => return Err(Error::Later(place(url))),
            Err(_) if tries > 0 => tokio::time::sleep(PAUSE).await,
            Err(source) => {
                return Err(Error::Unmade {
                    place: place(url),
                    source,
                });
            }
        }
    }
}

/// Whether the database holds a book, or nothing where one may be made.
async fn check(
    connection: &mut AnyConnection,
    kind: Kind,
    url: &str,
    purpose: Purpose,
) -> Result<(), Error> {
    let tables = sqlx::query(kind.tables()).fetch_all(connection).await;
    let tables = tables.map_err(Error::Unread)?;
    let names: Result<Vec<String>, _> =
        tables.iter().map(|row| row.try_get("table_name")).collect();
    let names = names.map_err(Error::Unread)?;
    let has = |name: &str| names.iter().any(|table| table == name);
    let is_book = has("starts") && has("kept") && has(VERSIONS);
    let is_empty = names.iter().all(|name| name == VERSIONS) && purpose == Purpose::Write;
    match is_book || is_empty {
        true => Ok(()),
        false => Err(Error::NoLedger(place(url))),
    }
}

/// Whether SQLite says that the file is something else.
fn is_no_database(error: &sqlx::Error) -> bool {
    const SQLITE_NOTADB: i32 = 26;
    sqlite_code(error) == Some(SQLITE_NOTADB)
}

/// Whether SQLite says that another connection is at work, in any of the extended codes.
fn is_busy(error: &sqlx::Error) -> bool {
    const SQLITE_BUSY: i32 = 5;
    sqlite_code(error).is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

fn sqlite_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_told() {
        let url = "postgres://ledger:secret@db.example:5432/prorata?password=other";
        assert_eq!(place(url), "postgres://ledger@db.example:5432/prorata");
        assert_eq!(
            place("sqlite:///var/lib/x.db?mode=ro"),
            "sqlite:///var/lib/x.db"
        );
        let error = Kind::of("mysql://a:secret@b/c").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
