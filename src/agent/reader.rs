//! Who looks at the GPUs: a thread of its own, because a call to the driver may never return. When one
//! does not, its thread is left behind with the card that it asked about, and another goes on with
//! the others. One that comes back after all is asked again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::mpsc as answers;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::timeout;

use super::nvml::{self, Round, Session};
use super::reading::{Error, Look, Reading, Xid};

/// Threads that may wait for calls that do not return. With more the driver as a whole is held to be
/// stuck.
const STUCK_MAX: usize = 4;
/// What is being asked about: no card, but the driver.
const DRIVER: u32 = u32::MAX;
/// Deadlines until a session has begun: a driver that nothing keeps awake starts every card first.
const BEGINNING: u32 = 6;

/// Looks at the GPUs whenever it is asked to.
pub struct Reader {
    library: Option<PathBuf>,
    pci: PathBuf,
    deadline: Duration,
    current: Option<Hand>,
    left_behind: Vec<(u32, Hand)>,
    /// Told to a thread that answered too late.
    late: Vec<Xid>,
}

/// A thread with a session.
struct Hand {
    /// Cards that it is not to touch.
    asks: mpsc::Sender<Vec<u32>>,
    answers: answers::UnboundedReceiver<Result<Reading, Error>>,
    place: Arc<Place>,
}

/// How far a thread has come.
struct Place {
    card: AtomicU32,
    /// How often it has gone on to something else; zero until its session has begun.
    steps: AtomicU64,
}

/// What a thread that was asked did.
enum Outcome {
    Answered(Result<Reading, Error>),
    Ended,
    /// A call about this card has not returned.
    Stuck(u32),
}

impl Reader {
    /// One that loads this library, or the system's, and reads what the kernel says of PCI devices
    /// here. A call to the driver is given up after the deadline, and its first ones after six.
    #[must_use]
    pub fn new(library: Option<PathBuf>, pci: PathBuf, deadline: Duration) -> Self {
        Self {
            library,
            pci,
            deadline,
            current: None,
            left_behind: Vec::new(),
            late: Vec::new(),
        }
    }

    /// Looks once. A card that does not answer costs the deadline, and what the others take.
    pub async fn look(&mut self) -> Look {
        self.take_back();
        loop {
            let stuck: Vec<u32> = self.left_behind.iter().map(|(card, _)| *card).collect();
            if stuck.contains(&DRIVER) || stuck.len() > STUCK_MAX {
                return Look::Stuck;
            }
            let begin = || Hand::begin(self.library.clone(), self.pci.clone());
            let mut hand = self.current.take().unwrap_or_else(begin);
            match hand.look(stuck, self.deadline).await {
                Outcome::Answered(Ok(mut reading)) => {
                    self.current = Some(hand);
                    reading.xids.splice(..0, self.late.drain(..));
                    return Look::Taken(reading);
                }
                Outcome::Answered(Err(error)) => return Look::Failed(error),
                Outcome::Ended => {
                    let what = "the thread that asks it has ended".to_owned();
                    return Look::Failed(Error::Ended(what));
                }
                Outcome::Stuck(card) => self.left_behind.push((card, hand)),
            }
        }
    }

    /// Calls that have returned after all. A session that has begun is not begun again.
    fn take_back(&mut self) {
        for (card, mut hand) in std::mem::take(&mut self.left_behind) {
            match hand.answers.try_recv() {
                Err(TryRecvError::Empty) => self.left_behind.push((card, hand)),
                Ok(Ok(reading)) if self.current.is_none() => {
                    self.late.extend(reading.xids);
                    self.current = Some(hand);
                }
                Ok(_) | Err(TryRecvError::Disconnected) => {}
            }
        }
    }
}

impl Hand {
    fn begin(library: Option<PathBuf>, pci: PathBuf) -> Self {
        let (asks, asked) = mpsc::channel();
        let (answer, answers) = answers::unbounded_channel();
        let place = Arc::new(Place {
            card: AtomicU32::new(DRIVER),
            steps: AtomicU64::new(0),
        });
        let at = Arc::clone(&place);
        let work = move || {
            // Who asked may be gone; then nobody misses the answer.
            let _ =
                serve(library, pci, &asked, &answer, &at).map_err(|error| answer.send(Err(error)));
        };
        // Where no thread can be had, the channel closes at once.
        let _ = std::thread::Builder::new()
            .name("nvml".to_owned())
            .spawn(work);
        Self {
            asks,
            answers,
            place,
        }
    }

    /// Waits for as long as it goes on.
    async fn look(&mut self, skip: Vec<u32>, deadline: Duration) -> Outcome {
        if self.asks.send(skip).is_err() {
            return Outcome::Ended;
        }
        let (mut before, mut missed) = (self.place.steps(), 0);
        loop {
            match timeout(deadline, self.answers.recv()).await {
                Ok(Some(answer)) => return Outcome::Answered(answer),
                Ok(None) => return Outcome::Ended,
                Err(_) => missed += 1,
            }
            let card = self.place.card.load(Ordering::Acquire);
            let steps = self.place.steps();
            let patience = if steps == 0 { BEGINNING } else { 1 };
            if steps != before {
                (before, missed) = (steps, 0);
            } else if missed >= patience {
                return Outcome::Stuck(card);
            }
        }
    }
}

impl Place {
    fn steps(&self) -> u64 {
        self.steps.load(Ordering::Acquire)
    }

    fn note(&self, card: Option<u32>) {
        self.steps.fetch_add(1, Ordering::AcqRel);
        self.card.store(card.unwrap_or(DRIVER), Ordering::Release);
    }
}

/// Looks as often as it is asked to, until nobody asks or there is no driver.
fn serve(
    library: Option<PathBuf>,
    pci: PathBuf,
    asked: &mpsc::Receiver<Vec<u32>>,
    answer: &answers::UnboundedSender<Result<Reading, Error>>,
    place: &Place,
) -> Result<(), Error> {
    let Ok(mut skip) = asked.recv() else {
        return Ok(());
    };
    let nvml = nvml::open(library.as_deref())?;
    let mut session = Session::begin(&nvml, pci);
    loop {
        let note = |card: Option<u32>| place.note(card);
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
