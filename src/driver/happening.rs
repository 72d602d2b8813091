//! What the loop waits for. Its sources are asked in turn: none is kept waiting by another, and
//! the same happenings come in the same order.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Driver;
use super::shown::Round;
use crate::effects::Outcome;
use crate::forecast::Batch;
use crate::watch::Change;

/// Changes taken up at once.
const BURST_MAX: usize = 4096;

/// One thing that the loop is woken by.
pub(super) enum Happening {
    /// The API server has said something; nothing is in it when nobody sends changes any more.
    Heard(Vec<Change>),
    /// The writes about a job are done.
    Written(Box<Outcome>),
    /// A round of writes about tenants is done.
    Shown(Round),
    /// Starts of jobs were foretold.
    Foretold(Batch),
    /// The time of something has come.
    Due,
    /// Who may decide has changed, or for how long.
    Succession,
    /// The extender has begun or ceased to answer.
    Probed,
}

/// Where happenings come from, besides the driver's own writes.
pub(super) struct Sources {
    inbox: mpsc::Receiver<Change>,
    forecasts: mpsc::Receiver<Batch>,
    /// The source that is asked first.
    turn: usize,
}

impl Sources {
    pub(super) const fn new(
        inbox: mpsc::Receiver<Change>,
        forecasts: mpsc::Receiver<Batch>,
    ) -> Self {
        Self {
            inbox,
            forecasts,
            turn: 0,
        }
    }

    fn heard(&mut self, context: &mut Context<'_>) -> Poll<Happening> {
        let mut burst = Vec::new();
        let heard = self.inbox.poll_recv_many(context, &mut burst, BURST_MAX);
        heard.map(|_| Happening::Heard(burst))
    }
}

impl Driver {
    /// The next happening.
    pub(super) async fn next(&mut self, sources: &mut Sources) -> Happening {
        let due = self.work.wakeup().into_iter().chain(self.explained.due());
        let due = due.chain(self.wakeup()).min();
        let mut due = pin!(sleep_until(due));
        let mut succession = pin!(self.tenure.change());
        let answers = &mut self.answers;
        let mut probed = pin!(async {
            // Where nobody probes, nobody ever says anything.
            if answers.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        let (writes, shown) = (&mut self.work.writes, &mut self.shown.writes);
        poll_fn(|context| {
            for turn in 0..7 {
                // A write that panicked would leave its job busy for ever, or the tenants as they
                // were last shown.
                let next = match (sources.turn + turn) % 7 {
                    0 => sources.heard(context),
                    1 => some(writes.poll_join_next(context)).map(|done| {
                        Happening::Written(Box::new(done.expect("a write does not panic")))
                    }),
                    2 => some(shown.poll_join_next(context))
                        .map(|done| Happening::Shown(done.expect("a write does not panic"))),
                    3 => some(sources.forecasts.poll_recv(context)).map(Happening::Foretold),
                    4 => due.as_mut().poll(context).map(|()| Happening::Due),
                    5 => succession
                        .as_mut()
                        .poll(context)
                        .map(|()| Happening::Succession),
                    _ => probed.as_mut().poll(context).map(|()| Happening::Probed),
                };
                if next.is_ready() {
                    sources.turn = (sources.turn + turn + 1) % 7;
                    return next;
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// A source that has ended has nothing to say.
fn some<T>(answer: Poll<Option<T>>) -> Poll<T> {
    match answer {
        Poll::Ready(Some(value)) => Poll::Ready(value),
        Poll::Ready(None) | Poll::Pending => Poll::Pending,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
