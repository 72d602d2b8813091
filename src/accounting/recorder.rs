//! Writes the accounts into the book.
//!
//! Nobody waits for it. A database that is down, slow or full costs lines that wait in a log of bounded
//! length; beyond that the book goes on from what is held when it can be written again, and says
//! that there was a gap.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prorata_ledger::entry::Entry;
use prorata_ledger::store::{self, Book, Purpose};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

use super::{Accounts, Listener};
use crate::clock::Clock;
use crate::config::Ledger;
use crate::leader::Tenure;
use crate::view::Views;

/// What happens so soon after another is written with it.
const TOGETHER: Duration = Duration::from_millis(250);
/// How long the database may take.
const WITHIN: Duration = Duration::from_secs(60);
/// Entries of one transaction.
const BATCH_MAX: usize = 4096;
/// The pause after a failure; it doubles with each.
const PAUSE: Duration = Duration::from_secs(1);
/// Samples that are kept for a database that cannot be written; later ones are lost.
const SAMPLES_MAX: usize = 65_536;
/// The longest of these pauses.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Why the book is not written.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("ledger.urlFile: {0}")]
    Address(#[source] std::io::Error),
    #[error(transparent)]
    Ledger(#[from] store::Error),
    #[error("the database does not answer within {} s", WITHIN.as_secs())]
    Unanswered,
}

/// Who writes the book while this process decides.
pub struct Recorder {
    config: Ledger,
    listener: Listener,
    tenure: Tenure,
    views: Views,
    /// How busy GPUs were.
    heard: mpsc::Receiver<Vec<Entry>>,
    /// Of these, what is not written yet.
    samples: Vec<Entry>,
    /// The number of the first entry that is not written; `None` until the book was taken up.
    next: Option<u64>,
    /// Until when the book is kept, in milliseconds of Unix time.
    kept_ms: u64,
}

impl Recorder {
    /// One that has written nothing yet. Samples of how busy GPUs were come by the channel.
    #[must_use]
    pub fn new(
        config: Ledger,
        (listener, heard): (Listener, mpsc::Receiver<Vec<Entry>>),
        tenure: Tenure,
        views: Views,
    ) -> Self {
        views.metrics().keeps_ledger(true);
        Self {
            config,
            listener,
            heard,
            samples: Vec::new(),
            tenure,
            views,
            next: None,
            kept_ms: 0,
        }
    }

    /// Writes for as long as there is something to come.
    pub async fn run(mut self) {
        let accounts = &mut self.listener.accounts;
        let begun = accounts.wait_for(|accounts| accounts.is_complete);
        let is_begun = begun.await.is_ok();
        if !is_begun {
            return;
        }
        let mut pause = PAUSE;
        loop {
            let began = Instant::now();
            let Err(error) = self.keep().await;
            // What went well for long enough is another failure.
            if began.elapsed() > PAUSE_MAX {
                pause = PAUSE;
            }
            let count = self.listener.accounts.borrow().count;
            let pending = count - self.next.unwrap_or_default().min(count);
            self.views.metrics().ledger_failed(pending);
            warn!(%error, pending, retry_in = ?pause, "ledger gap: the ledger is not written");
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Keeps the book until it cannot be written.
    async fn keep(&mut self) -> Result<Infallible, Error> {
        let address = self.config.address().map_err(Error::Address)?;
        let book = within(Book::open(&address, Purpose::Write)).await?;
        loop {
            if self.tenure.is_held() && self.views.heard().is_fresh() {
                self.write(&book).await?;
            }
            let beat = Instant::now() + self.config.heartbeat;
            tokio::select! {
                changed = self.listener.accounts.changed() => match changed {
                    Ok(()) => sleep(TOGETHER).await,
                    Err(_) => std::future::pending().await,
                },
                Some(samples) = self.heard.recv() => {
                    let room = SAMPLES_MAX.saturating_sub(self.samples.len());
                    self.samples.extend(samples.into_iter().take(room));
                }
                () = sleep_until(beat) => {}
            }
        }
    }

    /// Writes what is new, and that the book was kept until now: whatever is told later has happened
    /// later.
    async fn write(&mut self, book: &Book) -> Result<(), Error> {
        let now_ms = Clock::default().now().as_millis();
        let now_ms = self.kept_ms.max(now_ms - now_ms % 1000);
        let accounts = self.listener.accounts.borrow_and_update().clone();
        let news = self.next.and_then(|next| accounts.since(next));
        let lines = match news {
            None => self.take_up(book, &accounts, now_ms).await?,
            Some(entries) => {
                let mut lines = 0;
                let last = entries.len().saturating_sub(1) / BATCH_MAX;
                for (n, batch) in entries.chunks(BATCH_MAX).enumerate() {
                    let until_ms = if n == last { now_ms } else { self.kept_ms };
                    let kept = (self.kept_ms, until_ms);
                    lines += within(book.write(batch, kept)).await?;
                }
                if entries.is_empty() {
                    within(book.write(&[], (self.kept_ms, now_ms))).await?;
                }
                lines
            }
        };
        self.kept_ms = now_ms;
        self.next = Some(accounts.count);
        self.write_samples(book).await?;
        self.listener
            .written
            .store(accounts.count, Ordering::Relaxed);
        self.views.metrics().ledger_written(lines);
        Ok(())
    }

    /// Writes how busy GPUs were, of places that are in the book by now.
    async fn write_samples(&mut self, book: &Book) -> Result<(), Error> {
        for batch in self.samples.chunks(BATCH_MAX) {
            within(book.write(batch, (self.kept_ms, self.kept_ms))).await?;
        }
        self.samples.clear();
        Ok(())
    }

    /// Goes on with the book as whoever wrote last has left it.
    async fn take_up(&self, book: &Book, accounts: &Accounts, now_ms: u64) -> Result<u64, Error> {
        let picture = accounts.picture(now_ms);
        let (lines, kept_until) = within(book.take_up(&picture)).await?;
        let Some(kept_until) = kept_until else {
            info!(lines, "the ledger begins");
            return Ok(lines);
        };
        let gap = Duration::from_millis(now_ms.saturating_sub(kept_until));
        self.views.metrics().ledger_gap(gap);
        if gap > 2 * self.config.heartbeat {
            warn!(?gap, lines, "ledger gap: nobody kept the ledger meanwhile");
        } else {
            info!(?gap, lines, "the ledger goes on");
        }
        Ok(lines)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.views.metrics().keeps_ledger(false);
    }
}

async fn within<T>(work: impl Future<Output = Result<T, store::Error>>) -> Result<T, Error> {
    Ok(timeout(WITHIN, work)
        .await
        .map_err(|_| Error::Unanswered)??)
}
