//! Limits of what the extender takes on, so that it answers in time or says at once that it will
//! not. kube-scheduler asks one question at a time and waits for the answer with everything else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::metrics::Metrics;

/// Names of 15,000 nodes take 570 KB.
pub(super) const BODY_BYTES_MAX: usize = 4 << 20;
/// Questions that are read or answered at the same time.
const QUESTIONS_MAX: usize = 64;
/// From the first byte of a question to its answer. kube-scheduler waits no longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How long a connection may be quiet: longer than kube-scheduler keeps one that it does not use,
/// which is 90 s, so that none ends under a question.
pub(super) const QUIET_MAX: Duration = Duration::from_secs(120);

/// Room for questions.
#[derive(Clone)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    metrics: Metrics,
}

impl Room {
    /// All free.
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            places: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            metrics,
        }
    }
}

/// Answers while there is room, and in time.
pub(super) async fn limited(State(room): State<Room>, question: Request, next: Next) -> Response {
    let began = Instant::now();
    let Ok(_place) = room.places.try_acquire() else {
        room.metrics.shed();
        return refused("Prorata: too many questions at once");
    };
    let path = question.uri().path().to_owned();
    let answer = match timeout(ANSWER_WITHIN, next.run(question)).await {
        Ok(answer) => answer,
        Err(_) => refused("Prorata: the question did not come in time"),
    };
    let code = answer.status().as_u16();
    room.metrics.answered(&path, code, began.elapsed());
    answer
}

fn refused(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}
