//! Who looks at the GPUs: a thread of its own, because a call to the driver may never return. When one
//! does not, its thread is left behind with the card that it asked about, and another goes on with
//! the others.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::mpsc as answers;
use tokio::time::timeout;

use super::nvml::{self, Round, Session};
use super::reading::{Error, Look, Reading};

/// Threads that may wait for calls that do not return. With more the driver as a whole is held to be
/// stuck.
const STUCK_MAX: usize = 4;
/// What is being asked about: no card, but the driver.
const DRIVER: u32 = u32::MAX;

/// Looks at the GPUs whenever it is asked to.
pub struct Reader {
    library: Option<PathBuf>,
    deadline: Duration,
    current: Option<Hand>,
    left_behind: Vec<Hand>,
}

/// A thread with a session.
struct Hand {
    /// Cards that it is not to touch.
    asks: mpsc::Sender<Vec<u32>>,
    answers: answers::UnboundedReceiver<Result<Reading, Error>>,
    at: Arc<AtomicU32>,
}

impl Reader {
    /// One that loads this library, or the system's. A look at the driver or a card is given up after
    /// the deadline.
    #[must_use]
    pub fn new(library: Option<PathBuf>, deadline: Duration) -> Self {
        Self {
            library,
            deadline,
            current: None,
            left_behind: Vec::new(),
        }
    }

    /// Looks once. It takes no longer than the deadline for each card that does not answer.
    pub async fn look(&mut self) -> Look {
        self.left_behind.retain_mut(|hand| !hand.is_back());
        loop {
            let stuck: Vec<u32> = self.left_behind.iter().map(Hand::card).collect();
            if stuck.contains(&DRIVER) || stuck.len() > STUCK_MAX {
                return Look::Stuck;
            }
            let library = &self.library;
            let hand = self
                .current
                .get_or_insert_with(|| Hand::begin(library.clone()));
            let answer = match hand.asks.send(stuck) {
                Ok(()) => timeout(self.deadline, hand.answers.recv()).await,
                Err(_) => Ok(None),
            };
            match answer {
                Ok(Some(Ok(reading))) => return Look::Taken(reading),
                Ok(Some(Err(error))) => {
                    self.current = None;
                    return Look::Failed(error);
                }
                Ok(None) => {
                    self.current = None;
                    let what = "the thread that asks it has ended".to_owned();
                    return Look::Failed(Error::Ended(what));
                }
                Err(_) => self.left_behind.extend(self.current.take()),
            }
        }
    }
}

impl Hand {
    fn begin(library: Option<PathBuf>) -> Self {
        let (asks, asked) = mpsc::channel();
        let (answer, answers) = answers::unbounded_channel();
        let at = Arc::new(AtomicU32::new(DRIVER));
        let place = Arc::clone(&at);
        let work = move || {
            // Who asked may be gone; then nobody misses the answer.
            let _ =
                serve(library, &asked, &answer, &place).map_err(|error| answer.send(Err(error)));
        };
        // Where no thread can be had, the channel closes at once.
        let _ = std::thread::Builder::new()
            .name("nvml".to_owned())
            .spawn(work);
        Self { asks, answers, at }
    }

    fn card(&self) -> u32 {
        self.at.load(Ordering::Relaxed)
    }

    /// Whether the call has returned after all.
    fn is_back(&mut self) -> bool {
        !matches!(
            self.answers.try_recv(),
            Err(answers::error::TryRecvError::Empty)
        )
    }
}

/// Looks as often as it is asked to, until nobody asks or there is no driver.
fn serve(
    library: Option<PathBuf>,
    asked: &mpsc::Receiver<Vec<u32>>,
    answer: &answers::UnboundedSender<Result<Reading, Error>>,
    place: &AtomicU32,
) -> Result<(), Error> {
    let Ok(mut skip) = asked.recv() else {
        return Ok(());
    };
    let nvml = nvml::open(library.as_deref())?;
    let mut session = Session::begin(&nvml);
    loop {
        let note = |card: Option<u32>| place.store(card.unwrap_or(DRIVER), Ordering::Relaxed);
        let reading = session.look(&Round {
            skip: &skip,
            at: &note,
        })?;
        if answer.send(Ok(reading)).is_err() {
            return Ok(());
        }
        match asked.recv() {
            Ok(next) => skip = next,
            Err(_) => return Ok(()),
        }
    }
}
