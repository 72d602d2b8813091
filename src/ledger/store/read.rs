//! What the book says of a period.

use std::collections::BTreeMap;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row, query};

use super::open_lines::{kept_until, place};
use super::{Book, Error};
use crate::entry::PlaceId;
use crate::record::{End, Extract, Hold, HoldId, Payer, Stock, Why};

/// What a hold is, with its end as it was first written, and as it was last corrected.
macro_rules! holds {
    ($from:literal) => {
        concat!(
            "SELECT s.job_uid, s.epoch, s.seat, s.node, s.from_ms, s.model, s.pool, s.mode, s.gpu_milli, ",
            "s.tenant, s.environment, s.namespace, s.creator, s.cost_center, s.department, s.kind, s.job, ",
            "s.priority_class, e.at_ms, e.why, e.estimated, c.at_ms AS right_ms, c.why AS right_why ",
            $from,
            " LEFT JOIN corrections c ON c.job_uid = s.job_uid AND c.epoch = s.epoch AND c.seat = s.seat ",
            "AND c.node = s.node AND c.from_ms = s.from_ms AND NOT EXISTS (SELECT 1 FROM corrections l ",
            "WHERE l.job_uid = c.job_uid AND l.epoch = c.epoch AND l.seat = c.seat AND l.node = c.node ",
            "AND l.from_ms = c.from_ms AND l.written_ms > c.written_ms) WHERE s.from_ms < $2 "
        )
    };
}

/// Those that end after the period begins, or were corrected to.
const ENDED: &str = concat!(
    holds!(
        "FROM ends e JOIN starts s ON s.job_uid = e.job_uid AND s.epoch = e.epoch AND s.seat = e.seat \
         AND s.node = e.node AND s.from_ms = e.from_ms"
    ),
    "AND (e.at_ms > $1 OR c.at_ms > $1)"
);

const LASTING: &str = concat!(
    holds!(
        "FROM starts s LEFT JOIN ends e ON e.job_uid = s.job_uid AND e.epoch = s.epoch \
         AND e.seat = s.seat AND e.node = s.node AND e.from_ms = s.from_ms"
    ),
    "AND e.at_ms IS NULL AND (c.at_ms IS NULL OR c.at_ms > $1)"
);

const STOCK: &str = "SELECT s.node, s.pool, s.model, s.gpu_milli, s.from_ms, e.at_ms FROM stock s \
     LEFT JOIN stock_ends e ON e.node = s.node AND e.model = s.model AND e.from_ms = s.from_ms \
     AND e.gpu_milli = s.gpu_milli WHERE s.from_ms < $2 AND (e.at_ms IS NULL OR e.at_ms > $1)";

const BUSY: &str = "SELECT b.job_uid, b.epoch, b.seat, b.node, b.from_ms, b.until_ms, b.milli FROM busy b \
     WHERE b.until_ms > $1 AND b.from_ms < $2";

/// What touches the period, and the last before it.
const KEPT: &str = "SELECT from_ms, until_ms FROM kept WHERE from_ms < $2 AND until_ms >= COALESCE(\
     (SELECT MAX(k.until_ms) FROM kept k WHERE k.until_ms < $1), 0) ORDER BY from_ms, until_ms";

const NAMES: &str = "SELECT tenant, name FROM names WHERE from_ms < $1 ORDER BY from_ms";

impl Book {
    /// All that it says of the time from the first moment to before the second.
    ///
    /// # Errors
    /// When the database cannot be read, or holds what means nothing.
    pub async fn extract(&self, from_ms: u64, until_ms: u64) -> Result<Extract, Error> {
        let period = (from_ms, until_ms);
        let mut connection = self.pool.acquire().await.map_err(Error::Unread)?;
        let connection = &mut *connection;
        let kept_until_ms = kept_until(connection).await?.unwrap_or_default();
        let busy = busy(connection, period).await?;
        let mut parts = Parts::default();
        for sql in [ENDED, LASTING] {
            for row in fetch(connection, sql, period).await? {
                parts.add(&row, &busy)?;
            }
        }
        Ok(Extract {
            from_ms,
            until_ms,
            kept_until_ms,
            holds: parts.holds(),
            stock: stock(connection, period).await?,
            gaps: gaps(connection, period).await?,
            names: names(connection, until_ms).await?,
        })
    }
}

async fn fetch(
    connection: &mut AnyConnection,
    sql: &'static str,
    (from_ms, until_ms): (u64, u64),
) -> Result<Vec<AnyRow>, Error> {
    let bounded = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let rows = query(sql).bind(bounded(from_ms)).bind(bounded(until_ms));
    rows.fetch_all(connection).await.map_err(Error::Unread)
}

/// Places that were taken and freed together, as one.
#[derive(Default)]
struct Parts(BTreeMap<Part, (Hold, Mean)>);

/// When it began, what it is, and when, why and as far as who knows it ended.
type Part = (u64, HoldId, Option<(u64, Why, bool)>);

impl Parts {
    fn add(&mut self, row: &AnyRow, busy: &BTreeMap<PlaceId, Mean>) -> Result<(), Error> {
        let hold = hold(row)?;
        let end = hold.end.map(|end| (end.at_ms, end.why, end.estimated));
        let measured = busy.get(&place(row)?).copied().unwrap_or_default();
        let measured = measured.weighed(hold.gpu_milli);
        let gpu_milli = hold.gpu_milli;
        let key = (hold.from_ms, hold.id.clone(), end);
        match self.0.get_mut(&key) {
            Some((whole, mean)) => {
                whole.gpu_milli += gpu_milli;
                mean.add(measured);
            }
            None => {
                self.0.insert(key, (hold, measured));
            }
        }
        Ok(())
    }

    fn holds(self) -> Vec<Hold> {
        let all = self.0.into_values();
        all.map(|(hold, mean)| Hold {
            busy_milli: mean.get(),
            measured: mean.get().and(u64::try_from(mean.weight).ok()),
            ..hold
        })
        .collect()
    }
}

/// A mean of samples.
#[derive(Clone, Copy, Default)]
struct Mean {
    sum: u128,
    weight: u128,
}

impl Mean {
    const fn weighed(self, by: u64) -> Self {
        Self {
            sum: self.sum.saturating_mul(by as u128),
            weight: self.weight.saturating_mul(by as u128),
        }
    }

    const fn add(&mut self, other: Self) {
        self.sum = self.sum.saturating_add(other.sum);
        self.weight = self.weight.saturating_add(other.weight);
    }

    fn get(self) -> Option<u32> {
        u32::try_from(self.sum.checked_div(self.weight)?).ok()
    }
}

fn hold(row: &AnyRow) -> Result<Hold, Error> {
    let id = place(row)?;
    let model = text(row, "model")?;
    Ok(Hold {
        id: HoldId {
            job_uid: id.job_uid,
            epoch: id.epoch,
            node: id.node,
            model,
        },
        payer: Payer {
            tenant: text(row, "tenant")?,
            environment: text(row, "environment")?,
            namespace: text(row, "namespace")?,
            user: text(row, "creator")?,
            cost_center: text(row, "cost_center")?,
            department: text(row, "department")?,
        },
        kind: text(row, "kind")?,
        job: text(row, "job")?,
        priority_class: text(row, "priority_class")?,
        pool: text(row, "pool")?,
        mode: text(row, "mode")?,
        gpu_milli: number(row, "gpu_milli")?,
        from_ms: number(row, "from_ms")?,
        end: end(row)?,
        busy_milli: None,
        measured: None,
    })
}

fn end(row: &AnyRow) -> Result<Option<End>, Error> {
    if let Some(at_ms) = maybe(row, "right_ms")? {
        return Ok(Some(End {
            at_ms,
            why: why(&text(row, "right_why")?)?,
            estimated: false,
        }));
    }
    let Some(at_ms) = maybe(row, "at_ms")? else {
        return Ok(None);
    };
    Ok(Some(End {
        at_ms,
        why: why(&text(row, "why")?)?,
        estimated: maybe(row, "estimated")? == Some(1),
    }))
}

fn why(word: &str) -> Result<Why, Error> {
    let all = [
        Why::Finished,
        Why::Preempted,
        Why::Requeued,
        Why::Withdrawn,
        Why::Unknown,
    ];
    let mut all = all.into_iter();
    all.find(|why| super::write::word(*why) == word)
        .ok_or_else(|| Error::Word(word.to_owned()))
}

async fn busy(
    connection: &mut AnyConnection,
    period: (u64, u64),
) -> Result<BTreeMap<PlaceId, Mean>, Error> {
    let mut means: BTreeMap<PlaceId, Mean> = BTreeMap::new();
    for row in fetch(connection, BUSY, period).await? {
        let span = number(&row, "until_ms")?.saturating_sub(number(&row, "from_ms")?);
        let milli = number(&row, "milli")?;
        let sample = Mean {
            sum: u128::from(milli) * u128::from(span),
            weight: u128::from(span),
        };
        means.entry(place(&row)?).or_default().add(sample);
    }
    Ok(means)
}

async fn stock(connection: &mut AnyConnection, period: (u64, u64)) -> Result<Vec<Stock>, Error> {
    let rows = fetch(connection, STOCK, period).await?;
    let ended = |row: &AnyRow| {
        Ok(Stock {
            until_ms: maybe(row, "at_ms")?,
            ..stock_of(row)?
        })
    };
    let mut all: Vec<Stock> = rows.iter().map(ended).collect::<Result<_, Error>>()?;
    all.sort_by(|a, b| (a.from_ms, &a.node, &a.model).cmp(&(b.from_ms, &b.node, &b.model)));
    Ok(all)
}

/// The GPUs that a row is about, as if they were still there.
pub(super) fn stock_of(row: &AnyRow) -> Result<Stock, Error> {
    Ok(Stock {
        node: text(row, "node")?,
        pool: text(row, "pool")?,
        model: text(row, "model")?,
        gpu_milli: number(row, "gpu_milli")?,
        from_ms: number(row, "from_ms")?,
        until_ms: None,
    })
}

/// The parts of the period before the last word of the book in which nobody kept it.
async fn gaps(
    connection: &mut AnyConnection,
    (from_ms, until_ms): (u64, u64),
) -> Result<Vec<(u64, u64)>, Error> {
    let (mut gaps, mut at_ms) = (Vec::new(), from_ms);
    for row in fetch(connection, KEPT, (from_ms, until_ms)).await? {
        let (begin, end) = (number(&row, "from_ms")?, number(&row, "until_ms")?);
        if begin > at_ms {
            gaps.push((at_ms, begin));
        }
        at_ms = at_ms.max(end);
    }
    Ok(gaps)
}

async fn names(
    connection: &mut AnyConnection,
    until_ms: u64,
) -> Result<BTreeMap<String, String>, Error> {
    let until_ms = i64::try_from(until_ms).unwrap_or(i64::MAX);
    let rows = query(NAMES).bind(until_ms).fetch_all(connection).await;
    let mut names = BTreeMap::new();
    for row in rows.map_err(Error::Unread)? {
        names.insert(text(&row, "tenant")?, text(&row, "name")?);
    }
    names.retain(|_, name: &mut String| !name.is_empty());
    Ok(names)
}

fn text(row: &AnyRow, column: &str) -> Result<String, Error> {
    row.try_get(column).map_err(Error::Unread)
}

/// An amount, which is never negative.
pub(super) fn number(row: &AnyRow, column: &'static str) -> Result<u64, Error> {
    let value: i64 = row.try_get(column).map_err(Error::Unread)?;
    u64::try_from(value).map_err(|_| Error::OutOfRange(value.to_string(), column))
}

/// The same where there may be none.
fn maybe(row: &AnyRow, column: &'static str) -> Result<Option<u64>, Error> {
    let value: Option<i64> = row.try_get(column).map_err(Error::Unread)?;
    let positive =
        |value: i64| u64::try_from(value).map_err(|_| Error::OutOfRange(value.to_string(), column));
    value.map(positive).transpose()
}

pub(super) fn seat(row: &AnyRow) -> Result<u32, Error> {
    let seat = number(row, "seat")?;
    u32::try_from(seat).map_err(|_| Error::OutOfRange(seat.to_string(), "seat"))
}
