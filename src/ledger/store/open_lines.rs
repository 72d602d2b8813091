//! What the book says is still held, and still there.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row, query};

use super::read::{number, seat, stock_of};
use super::{Book, Error};
use crate::entry::PlaceId;
use crate::record::Stock;
use crate::room::Span;

const HELD: &str = "SELECT s.job_uid, s.epoch, s.seat, s.node, s.from_ms, s.gpu_milli FROM starts s WHERE NOT EXISTS \
     (SELECT 1 FROM ends e WHERE e.job_uid = s.job_uid AND e.epoch = s.epoch AND e.seat = s.seat \
     AND e.node = s.node AND e.from_ms = s.from_ms)";

const THERE: &str = "SELECT s.node, s.model, s.pool, s.gpu_milli, s.from_ms FROM stock s WHERE NOT EXISTS \
     (SELECT 1 FROM stock_ends e WHERE e.node = s.node AND e.model = s.model \
     AND e.from_ms = s.from_ms AND e.gpu_milli = s.gpu_milli)";

const KEPT_UNTIL: &str = "SELECT MAX(until_ms) AS until_ms FROM kept";

const FREED: &str = "SELECT e.from_ms, e.at_ms, s.gpu_milli FROM ends e JOIN starts s ON e.job_uid = s.job_uid \
     AND e.epoch = s.epoch AND e.seat = s.seat AND e.node = s.node AND e.from_ms = s.from_ms \
     WHERE e.node = $1 AND e.at_ms > $2";

/// A place that is held as far as the book says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Open {
    /// Which.
    pub id: PlaceId,
    /// From when on, in milliseconds of Unix time.
    pub from_ms: u64,
    /// How much, in thousandths of a GPU.
    pub gpu_milli: u64,
}

impl Book {
    /// The places that are held as far as the book says, in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn open_holds(&self) -> Result<Vec<Open>, Error> {
        let mut connection = self.pool.acquire().await.map_err(Error::Unread)?;
        open_holds(&mut connection).await
    }

    /// Until when the book was kept; `None` where it never was.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn kept_until(&self) -> Result<Option<u64>, Error> {
        let mut connection = self.pool.acquire().await.map_err(Error::Unread)?;
        kept_until(&mut connection).await
    }
}

pub(super) async fn open_holds(connection: &mut AnyConnection) -> Result<Vec<Open>, Error> {
    let rows = query(HELD).fetch_all(connection).await;
    let rows = rows.map_err(Error::Unread)?;
    let open = |row: &AnyRow| {
        Ok(Open {
            id: place(row)?,
            from_ms: number(row, "from_ms")?,
            gpu_milli: number(row, "gpu_milli")?,
        })
    };
    let mut all: Vec<Open> = rows.iter().map(open).collect::<Result<_, Error>>()?;
    all.sort();
    Ok(all)
}

pub(super) async fn open_stock(connection: &mut AnyConnection) -> Result<Vec<Stock>, Error> {
    let rows = query(THERE).fetch_all(connection).await;
    let rows = rows.map_err(Error::Unread)?;
    rows.iter().map(stock_of).collect()
}

pub(super) async fn kept_until(connection: &mut AnyConnection) -> Result<Option<u64>, Error> {
    let row = query(KEPT_UNTIL).fetch_one(connection).await;
    let row = row.map_err(Error::Unread)?;
    let until: Option<i64> = row.try_get("until_ms").map_err(Error::Unread)?;
    Ok(until.and_then(|until| u64::try_from(until).ok()))
}

/// The places of a node that became free after a moment, as far as the book says.
pub(super) async fn freed(
    connection: &mut AnyConnection,
    node: &str,
    after_ms: u64,
) -> Result<Vec<Span>, Error> {
    let after_ms = i64::try_from(after_ms).unwrap_or(i64::MAX);
    let rows = query(FREED).bind(node).bind(after_ms);
    let rows = rows.fetch_all(connection).await.map_err(Error::Unread)?;
    let freed = |row: &AnyRow| {
        Ok(Span {
            from_ms: number(row, "from_ms")?,
            until_ms: number(row, "at_ms")?,
            gpu_milli: number(row, "gpu_milli")?,
        })
    };
    rows.iter().map(freed).collect()
}

/// The place that a row is about.
pub(super) fn place(row: &AnyRow) -> Result<PlaceId, Error> {
    Ok(PlaceId {
        job_uid: row.try_get("job_uid").map_err(Error::Unread)?,
        epoch: row.try_get("epoch").map_err(Error::Unread)?,
        seat: seat(row)?,
        node: row.try_get("node").map_err(Error::Unread)?,
    })
}
