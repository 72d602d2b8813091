//! Facts go in, in one transaction for each batch. What is in already stays as it is.

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, Transaction};

use super::{Book, Error};
use crate::entry::{Busy, Correction, Entry, Held, PlaceId};
use crate::record::{End, Stock, Why};

/// A place is taken once at a time.
const HELD: &str = "INSERT INTO starts (job_uid, epoch, seat, node, from_ms, model, pool, mode, gpu_milli, \
     tenant, environment, namespace, creator, cost_center, department, kind, job, priority_class) \
     SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18 \
     WHERE NOT EXISTS (SELECT 1 FROM starts s WHERE s.job_uid = $1 AND s.epoch = $2 AND s.seat = $3 \
     AND s.node = $4 AND NOT EXISTS (SELECT 1 FROM ends e WHERE e.job_uid = s.job_uid \
     AND e.epoch = s.epoch AND e.seat = s.seat AND e.node = s.node AND e.from_ms = s.from_ms)) \
     ON CONFLICT DO NOTHING";

/// What was missed is in the book if anything of that place is.
const MISSED: &str = "INSERT INTO starts (job_uid, epoch, seat, node, from_ms, model, pool, mode, gpu_milli, \
     tenant, environment, namespace, creator, cost_center, department, kind, job, priority_class) \
     SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18 \
     WHERE NOT EXISTS (SELECT 1 FROM starts s WHERE s.job_uid = $1 AND s.epoch = $2 AND s.seat = $3) \
     ON CONFLICT DO NOTHING";

/// An end that is earlier than the start that lasts belongs to one before it.
const FREED: &str = "INSERT INTO ends (job_uid, epoch, seat, node, from_ms, at_ms, why, estimated) \
     SELECT s.job_uid, s.epoch, s.seat, s.node, s.from_ms, $5, $6, $7 FROM starts s \
     WHERE s.job_uid = $1 AND s.epoch = $2 AND s.seat = $3 AND s.node = $4 AND s.from_ms <= $5 \
     AND NOT EXISTS (SELECT 1 FROM ends e WHERE e.job_uid = s.job_uid AND e.epoch = s.epoch \
     AND e.seat = s.seat AND e.node = s.node AND e.from_ms = s.from_ms) \
     ON CONFLICT DO NOTHING";

const THERE: &str = "INSERT INTO stock (node, model, from_ms, gpu_milli, pool) \
     SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (SELECT 1 FROM stock s \
     WHERE s.node = $1 AND s.model = $2 AND NOT EXISTS (SELECT 1 FROM stock_ends e \
     WHERE e.node = s.node AND e.model = s.model AND e.from_ms = s.from_ms \
     AND e.gpu_milli = s.gpu_milli)) ON CONFLICT DO NOTHING";

const GONE: &str = "INSERT INTO stock_ends (node, model, from_ms, gpu_milli, at_ms, estimated) \
     SELECT s.node, s.model, s.from_ms, s.gpu_milli, $3, $4 FROM stock s \
     WHERE s.node = $1 AND s.model = $2 AND s.from_ms <= $3 AND NOT EXISTS (SELECT 1 \
     FROM stock_ends e WHERE e.node = s.node AND e.model = s.model AND e.from_ms = s.from_ms \
     AND e.gpu_milli = s.gpu_milli) ON CONFLICT DO NOTHING";

const BUSY: &str = "INSERT INTO busy (job_uid, epoch, seat, node, from_ms, until_ms, milli) \
     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";

const CORRECTED: &str = "INSERT INTO corrections \
     (job_uid, epoch, seat, node, from_ms, written_ms, at_ms, why, note) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";

/// Only what is news: the last name before that moment is another one.
const NAMED: &str = "INSERT INTO names (tenant, from_ms, name) SELECT $1, $2, $3 \
     WHERE $3 <> COALESCE((SELECT n.name FROM names n WHERE n.tenant = $1 AND n.from_ms <= $2 \
     ORDER BY n.from_ms DESC LIMIT 1), '') ON CONFLICT DO NOTHING";

const KEPT: &str = "INSERT INTO kept (from_ms, until_ms) VALUES ($1, $2) ON CONFLICT DO NOTHING";

impl Book {
    /// Writes facts, all or none, and that the book was kept between two moments: whatever happened
    /// between them is in it then. Returns how many lines that made.
    ///
    /// # Errors
    /// When the database refuses or cannot be reached: nothing is written then.
    pub async fn write(&self, entries: &[Entry], kept: (u64, u64)) -> Result<u64, Error> {
        let mut transaction = self.begin().await?;
        let lines = put(&mut transaction, entries, kept).await?;
        transaction.commit().await.map_err(Error::Unwritten)?;
        Ok(lines)
    }

    /// Waits until nobody else writes, and begins to.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Any>, Error> {
        let (begin, lock) = self.kind.exclusively();
        let begun = self.pool.begin_with(begin).await;
        let mut transaction = begun.map_err(Error::Unwritten)?;
        if let Some(lock) = lock {
            run(&mut transaction, sqlx::query(lock)).await?;
        }
        Ok(transaction)
    }
}

/// Writes facts within a transaction.
pub(super) async fn put(
    connection: &mut AnyConnection,
    entries: &[Entry],
    (from_ms, until_ms): (u64, u64),
) -> Result<u64, Error> {
    let mut lines = 0;
    for entry in entries {
        lines += run(connection, query(entry)?).await?;
        if let Entry::Missed(held, end) = entry {
            lines += run(connection, freed_query(&held.id, end)?).await?;
        }
    }
    let (from_ms, until_ms) = (moment(from_ms)?, moment(until_ms)?);
    let kept = sqlx::query(KEPT).bind(from_ms).bind(until_ms);
    run(connection, kept).await?;
    Ok(lines)
}

type Statement<'q> = Query<'q, Any, AnyArguments>;

async fn run(connection: &mut AnyConnection, statement: Statement<'_>) -> Result<u64, Error> {
    let done = statement.execute(connection).await;
    Ok(done.map_err(Error::Unwritten)?.rows_affected())
}

fn query(entry: &Entry) -> Result<Statement<'_>, Error> {
    match entry {
        Entry::Held(held) => held_query(HELD, held),
        Entry::Missed(held, _) => held_query(MISSED, held),
        Entry::Freed(id, end) => freed_query(id, end),
        Entry::There(stock) => there_query(stock),
        Entry::Gone {
            node,
            model,
            at_ms,
            estimated,
        } => {
            let gone = sqlx::query(GONE).bind(node).bind(model);
            Ok(gone.bind(moment(*at_ms)?).bind(i64::from(*estimated)))
        }
        Entry::Busy(busy) => busy_query(busy),
        Entry::Corrected(correction) => corrected_query(correction),
        Entry::Named {
            tenant,
            name,
            from_ms,
        } => {
            let named = sqlx::query(NAMED).bind(tenant).bind(moment(*from_ms)?);
            Ok(named.bind(name))
        }
    }
}

fn held_query<'q>(sql: &'static str, held: &'q Held) -> Result<Statement<'q>, Error> {
    let payer = &held.payer;
    let statement = of(sql, &held.id).bind(moment(held.from_ms)?);
    let statement = statement
        .bind(&held.model)
        .bind(&held.pool)
        .bind(&held.mode);
    let statement = statement.bind(amount(held.gpu_milli)?);
    let statement = statement.bind(&payer.tenant).bind(&payer.environment);
    let statement = statement.bind(&payer.namespace).bind(&payer.user);
    let statement = statement.bind(&payer.cost_center).bind(&payer.department);
    let statement = statement.bind(&held.kind).bind(&held.job);
    Ok(statement.bind(&held.priority_class))
}

fn freed_query<'q>(id: &'q PlaceId, end: &End) -> Result<Statement<'q>, Error> {
    let statement = of(FREED, id).bind(moment(end.at_ms)?).bind(word(end.why));
    Ok(statement.bind(i64::from(end.estimated)))
}

fn there_query(stock: &Stock) -> Result<Statement<'_>, Error> {
    let statement = sqlx::query(THERE).bind(&stock.node).bind(&stock.model);
    let statement = statement.bind(moment(stock.from_ms)?);
    Ok(statement.bind(amount(stock.gpu_milli)?).bind(&stock.pool))
}

fn busy_query(busy: &Busy) -> Result<Statement<'_>, Error> {
    let statement = of(BUSY, &busy.id).bind(moment(busy.from_ms)?);
    let statement = statement.bind(moment(busy.until_ms)?);
    Ok(statement.bind(i64::from(busy.milli)))
}

fn corrected_query(correction: &Correction) -> Result<Statement<'_>, Error> {
    let statement = of(CORRECTED, &correction.id).bind(moment(correction.from_ms)?);
    let statement = statement.bind(moment(correction.written_ms)?);
    let statement = statement.bind(moment(correction.at_ms)?);
    Ok(statement.bind(word(correction.why)).bind(&correction.note))
}

/// A statement whose first four values say which place it is about.
fn of<'q>(sql: &'static str, id: &'q PlaceId) -> Statement<'q> {
    let statement = sqlx::query(sql).bind(&id.job_uid).bind(id.epoch);
    statement.bind(i64::from(id.seat)).bind(&id.node)
}

fn moment(ms: u64) -> Result<i64, Error> {
    i64::try_from(ms).map_err(|_| Error::OutOfRange(format!("{ms} ms"), "moments"))
}

fn amount(gpu_milli: u64) -> Result<i64, Error> {
    let beyond = |_| Error::OutOfRange(format!("{gpu_milli} thousandths"), "amounts of GPUs");
    i64::try_from(gpu_milli).map_err(beyond)
}

/// Why a hold ended, as the book writes it.
pub(super) const fn word(why: Why) -> &'static str {
    match why {
        Why::Finished => "finished",
        Why::Preempted => "preempted",
        Why::Requeued => "requeued",
        Why::Withdrawn => "withdrawn",
        Why::Unknown => "unknown",
    }
}
