//! When waiting jobs will start: the very same core, run forward many times from what is true now.
//!
//! Each run draws how long every job still runs, and which jobs arrive meanwhile, from what was
//! seen before ([`History`]); what is left to chance is only that. The spread of a job's starts
//! over the runs is the answer. The same snapshot, history and seed give the same numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use prorata_core::{JobId, Snapshot, Time};
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

pub use calibration::Calibration;
pub use history::History;
pub use score::{Score, Tally};
pub use what_if::{Answer, what_if};

use future::Future;
use present::Present;

mod calibration;
mod future;
mod history;
mod present;
mod score;
pub mod trial;
mod what_if;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// How often the future is played; at least 10 make sense.
    pub runs: u32,
    /// Where the draws begin.
    pub seed: u64,
    /// Nothing is foretold beyond this.
    pub horizon: Duration,
    /// Whose start is asked for; `None`: that of all that wait for their turn. A run ends when
    /// these have started.
    pub jobs: Option<BTreeSet<JobId>>,
    /// Futures that are played at the same time. The numbers are the same for any.
    pub threads: NonZeroUsize,
}

impl Default for Question {
    /// All jobs, 50 times, up to 30 days, with all processors.
    fn default() -> Self {
        Self {
            runs: 50,
            seed: 1,
            horizon: Duration::from_secs(30 * 24 * 3600),
            jobs: None,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// When a job starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Eta {
    /// As likely before as after this; `None`: beyond the horizon.
    pub p50: Option<Time>,
    /// Nine times out of ten before this; `None`: beyond the horizon.
    pub p90: Option<Time>,
}

/// When each waiting job starts that waits for its turn, as seen at `now`. Those that somebody
/// holds, or that can never start, are left out.
#[must_use]
pub fn forecast(
    snapshot: &Snapshot,
    now: Time,
    history: &History,
    question: &Question,
) -> BTreeMap<JobId, Eta> {
    let asked = asked(snapshot, question);
    if asked.is_empty() {
        return BTreeMap::new();
    }
    let present = Present::of(snapshot, now);
    starts(&present, &asked, history, question)
}

/// The jobs whose start can be foretold.
fn asked(snapshot: &Snapshot, question: &Question) -> BTreeSet<JobId> {
    let Some(jobs) = &question.jobs else {
        return snapshot.in_turn().map(|job| job.id.clone()).collect();
    };
    let in_turn = |id: &&JobId| snapshot.awaits_turn(id);
    jobs.iter().filter(in_turn).cloned().collect()
}

/// Plays the future as often as is asked for, and reads the quantiles off.
fn starts(
    present: &Present,
    asked: &BTreeSet<JobId>,
    history: &History,
    question: &Question,
) -> BTreeMap<JobId, Eta> {
    let present = present.with_arrivals(history);
    let mut awaited = vec![None; present.jobs.len()];
    for (place, id) in asked.iter().enumerate() {
        if let Some(number) = present.by_id.get(id) {
            awaited[*number] = Some(place);
        }
    }
    let play = |run| Future::new(&present, &awaited, history, question, run).play();
    let mut starts: Vec<Vec<Time>> = vec![Vec::new(); asked.len()];
    for (place, at) in each(question, play).into_iter().flatten() {
        starts[place].push(at);
    }
    let eta = |(id, times): (&JobId, _)| (id.clone(), Eta::of(times, question.runs));
    asked.iter().zip(starts).map(eta).collect()
}

/// What comes of each run, in their order, whoever was faster.
fn each<T: Send>(question: &Question, play: impl Fn(u32) -> T + Sync + Send) -> Vec<T> {
    let runs = 0..question.runs;
    let threads = question.threads.get().min(runs.len());
    let pool = ThreadPoolBuilder::new().num_threads(threads);
    let pool = (threads > 1).then(|| pool.build().ok()).flatten();
    let Some(pool) = pool else {
        // Alone, or the system gives no more threads.
        return runs.map(play).collect();
    };
    // One at a time: runs differ in length.
    pool.install(|| runs.into_par_iter().with_max_len(1).map(play).collect())
}

impl Eta {
    /// The quantiles over so many runs; a run in which it did not start counts as never.
    fn of(mut times: Vec<Time>, runs: u32) -> Self {
        times.sort_unstable();
        let quantile = |percent: u32| {
            let rank = (u64::from(runs) * u64::from(percent)).div_ceil(100).max(1);
            times.get(usize::try_from(rank - 1).ok()?).copied()
        };
        Self {
            p50: quantile(50),
            p90: quantile(90),
        }
    }
}
