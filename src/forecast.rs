//! What waiting jobs are told about when they start.
//!
//! A task of its own, never the driver's, takes the newest picture now and then, has the
//! simulator play the core forward from it ([`prorata_simulator::forecast`]), and sends the driver
//! what has changed enough to be worth a write. It learns from the pictures how long jobs run and
//! which arrive, and scores what it foretold against what happened. It takes at most a tenth
//! of one processor's time, and never more than half of the processors at once.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use prorata_simulator::forecast::{Question, Score};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::api::Forecast;
use crate::clock::Clock;
use crate::observed::Uid;
use crate::view::Views;

pub(crate) mod told;
mod watched;

use told::Teller;

/// The least time between two looks.
const EVERY: Duration = Duration::from_secs(10);
/// Foretelling takes at most one part in so many of one processor's time.
const PARTS: u32 = 10;
/// Batches that the driver has not taken up yet.
const BATCHES_MAX: usize = 4;

/// What changed enough to be written.
pub type Batch = Vec<(Uid, Forecast)>;

/// How good the forecasts were so far. Copies share it.
#[derive(Clone, Debug, Default)]
pub struct Scored(Arc<Mutex<Score>>);

impl Scored {
    /// The score so far.
    #[must_use]
    pub fn get(&self) -> Score {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, score: Score) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = score;
    }
}

/// Begins to foretell, where this process writes. It ends when nobody takes the batches any more.
#[must_use]
pub fn start(views: Views, writes: bool) -> mpsc::Receiver<Batch> {
    let (sender, batches) = mpsc::channel(BATCHES_MAX);
    if writes {
        tokio::spawn(foretell(views, sender));
    }
    batches
}

async fn foretell(views: Views, sender: mpsc::Sender<Batch>) {
    let mut teller = Teller::default();
    let mut pause = EVERY;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = sender.closed() => return,
        }
        let Some(view) = views.latest().as_ref().clone() else {
            continue;
        };
        let began = Instant::now();
        let look = move || {
            let batch = teller.look(&view.snapshot, Clock::default().now());
            (teller, batch)
        };
        let (looked, batch) = match tokio::task::spawn_blocking(look).await {
            Ok(looked) => looked,
            // A panic in there must not take the queue with it: it begins anew.
            Err(error) => {
                tracing::error!(%error, "the forecast failed");
                (Teller::default(), Batch::new())
            }
        };
        teller = looked;
        views.scored().set(teller.score());
        pause = EVERY.max(rest(began.elapsed()));
        if !batch.is_empty() && sender.send(batch).await.is_err() {
            return;
        }
    }
}

/// Threads that foretell: the others are left to whoever decides and answers.
fn threads() -> NonZeroUsize {
    let half = available_parallelism().map_or(0, |all| all.get() / 2);
    NonZeroUsize::new(half).unwrap_or(NonZeroUsize::MIN)
}

/// How long to do nothing after all threads that have something to do have worked for so long.
fn rest(worked: Duration) -> Duration {
    let threads = u32::try_from(threads().get()).unwrap_or(u32::MAX);
    let threads = threads.min(Question::default().runs);
    worked.saturating_mul(threads.saturating_mul(PARTS) - 1)
}
