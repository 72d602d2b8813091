//! What tenants have been told of their budgets: each threshold once in a month.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Row, query};

use super::{Book, Error};
use crate::budget::Threshold;

const TOLD: &str = "SELECT tenant, threshold FROM told WHERE month_ms = $1";

const TELL: &str = "INSERT INTO told (tenant, month_ms, threshold, at_ms) VALUES ($1, $2, $3, $4) \
     ON CONFLICT DO NOTHING";

impl Book {
    /// What tenants have been told in the month that begins at a moment.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn told(
        &self,
        month_ms: u64,
    ) -> Result<BTreeMap<String, BTreeSet<Threshold>>, Error> {
        let month_ms = i64::try_from(month_ms).unwrap_or(i64::MAX);
        let rows = query(TOLD).bind(month_ms).fetch_all(&self.pool).await;
        let mut told: BTreeMap<String, BTreeSet<Threshold>> = BTreeMap::new();
        for row in rows.map_err(Error::Unread)? {
            let tenant: String = row.try_get("tenant").map_err(Error::Unread)?;
            let name: String = row.try_get("threshold").map_err(Error::Unread)?;
            told.entry(tenant)
                .or_default()
                .extend(Threshold::named(&name));
        }
        Ok(told)
    }

    /// A tenant has been told at a moment.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn tell(
        &self,
        tenant: &str,
        month_ms: u64,
        threshold: Threshold,
        at_ms: u64,
    ) -> Result<(), Error> {
        let moment = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let mut transaction = self.begin().await?;
        let tell = query(TELL).bind(tenant).bind(moment(month_ms));
        let tell = tell.bind(threshold.name()).bind(moment(at_ms));
        let told = tell.execute(&mut *transaction).await;
        told.map_err(Error::Unwritten)?;
        transaction.commit().await.map_err(Error::Unwritten)
    }
}
