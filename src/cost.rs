//! What GPUs cost, over HTTP: `/allocation` as OpenCost answers it.

pub mod source;
pub mod teams;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Query as Parameters, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use prorata_ledger::allocation::{self, Query};
use prorata_ledger::period::Period;
use prorata_ledger::price_file::PriceFile;
use prorata_ledger::record::Extract;
use prorata_ledger::store::{self, Book};
use serde_json::Value;
use thiserror::Error;

/// A ledger to read.
#[derive(Clone)]
pub enum Ledger {
    /// In a database.
    Book(Book),
    /// What one said of a period.
    Extract(Arc<Extract>),
}

/// Why a ledger says nothing of a period.
#[derive(Debug, Error)]
pub enum Error {
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The extract is of another period.
    #[error("the extract is of {has}, not of {wanted}")]
    Beyond {
        /// Its period.
        has: Period,
        /// What was asked for.
        wanted: Period,
    },
}

impl Ledger {
    /// What it says of a period.
    ///
    /// # Errors
    /// When the database cannot be read, or the extract does not reach so far.
    pub async fn read(&self, period: Period) -> Result<Extract, Error> {
        let Period { from_ms, until_ms } = period;
        match self {
            Self::Book(book) => Ok(book.extract(from_ms, until_ms).await?),
            Self::Extract(extract)
                if extract.from_ms <= from_ms && until_ms <= extract.until_ms =>
            {
                Ok(Extract {
                    from_ms,
                    until_ms,
                    ..(**extract).clone()
                })
            }
            Self::Extract(extract) => {
                let has = Period {
                    from_ms: extract.from_ms,
                    until_ms: extract.until_ms,
                };
                Err(Error::Beyond {
                    has,
                    wanted: period,
                })
            }
        }
    }
}

/// Answers `/allocation`, also at `/allocation/compute`, from a ledger at these prices. Whoever can
/// reach it sees what everybody costs.
pub fn routes(ledger: Ledger, file: Arc<PriceFile>) -> Router {
    Router::new()
        .route("/allocation", get(answer))
        .route("/allocation/compute", get(answer))
        .with_state((ledger, file))
}

/// The present, in milliseconds of Unix time.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

async fn answer(
    State((ledger, file)): State<(Ledger, Arc<PriceFile>)>,
    Parameters(asked): Parameters<Asked>,
) -> (StatusCode, Json<Value>) {
    allocations(&ledger, file, &asked, None).await
}

/// What is asked, in the order in which it is.
pub type Asked = Vec<(String, String)>;

/// Answers what is asked of a ledger at these prices; only of what was held in these namespaces, where
/// some are named, and then of no time that was idle.
pub async fn allocations(
    ledger: &Ledger,
    file: Arc<PriceFile>,
    asked: &Asked,
    within: Option<BTreeSet<String>>,
) -> (StatusCode, Json<Value>) {
    let parameters = asked
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let query = match Query::parse(parameters, now_ms()) {
        Ok(query) => query,
        Err(message) => return refused(StatusCode::BAD_REQUEST, &message),
    };
    let extract = match ledger.read(query.window).await {
        Ok(extract) => extract,
        Err(error @ Error::Beyond { .. }) => {
            return refused(StatusCode::BAD_REQUEST, &error.to_string());
        }
        Err(error) => return refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    };
    // A month of a large cluster takes longer than others on this thread should wait.
    let answer = move || match within {
        None => allocation::allocation(&extract, &file, &query),
        Some(within) => allocation::allocation_within(&extract, &file, &query, &within),
    };
    match tokio::task::spawn_blocking(answer).await {
        Ok(Ok(answer)) => (StatusCode::OK, Json(answer)),
        Ok(Err(error)) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// A refusal in the shape of an answer.
pub fn refused(code: StatusCode, message: &str) -> (StatusCode, Json<Value>) {
    (code, Json(allocation::refusal(code.as_u16(), message)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    const PRICES: &str = "{apiVersion: config.prorata.dev/v1alpha1, kind: Prices, currency: EUR, prices: [{model: a, hourly: 2}]}";
    const DAY: u64 = 86_400_000;

    async fn get(path: &str) -> (StatusCode, Value) {
        let extract: Extract = serde_json::from_value(serde_json::json!({
            "fromMs": 0, "untilMs": DAY, "keptUntilMs": DAY, "gaps": [], "names": {},
            "stock": [{"node": "n", "pool": "", "model": "a", "gpuMilli": 1000, "fromMs": 0, "untilMs": null}],
            "holds": [{
                "jobUid": "u", "epoch": 1, "node": "n", "model": "a", "tenant": "red", "environment": "",
                "namespace": "ml-red", "user": "", "costCenter": "", "department": "", "kind": "Job", "job": "train",
                "priorityClass": "", "pool": "", "mode": "exclusive", "gpuMilli": 1000, "fromMs": 0,
                "end": {"atMs": DAY / 2, "why": "finished", "estimated": false}, "busyMilli": null,
            }],
        }))
        .unwrap();
        let file = PriceFile::parse("p", PRICES).unwrap();
        let routes = routes(Ledger::Extract(Arc::new(extract)), Arc::new(file));
        let answer = routes
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
            .await
            .unwrap();
        let code = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (code, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn it_answers_as_opencost_does() {
        let (code, answer) =
            get("/allocation?window=0,86400&aggregate=label:tenant&includeIdle=true").await;
        assert_eq!(code, StatusCode::OK);
        assert_eq!(answer["data"][0]["red"]["totalCost"], 24.0);
        assert_eq!(answer["data"][0]["__idle__"]["gpuHours"], 12.0);
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused_in_the_same_shape() {
        let (code, answer) = get("/allocation?window=soon").await;
        assert_eq!(
            (code, &answer["code"]),
            (StatusCode::BAD_REQUEST, &Value::from(400))
        );
        assert!(
            answer["message"]
                .as_str()
                .unwrap()
                .starts_with("window: `soon` is not a window")
        );
        let (code, answer) = get("/allocation/compute?window=0,999999").await;
        assert_eq!(code, StatusCode::BAD_REQUEST);
        assert!(
            answer["message"]
                .as_str()
                .unwrap()
                .contains("not of 1970-01-01 to 1970-01-12 13:46"),
            "{answer}"
        );
    }
}
