//! Forecasts put to the test: a scenario is played, jobs that have to wait ask when they start, and
//! what they are told is compared with what happens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::time::Duration;

use prorata_core::{JobId, Order, TenantId, Time};

use super::calibration::Calibration;
use super::{Eta, History, Question, Score, forecast};
use crate::metrics::percentile;
use crate::run::{Interrupted, Progress, world};
use crate::scenario::Scenario;
use crate::workload::Drawn;
use crate::world::{Change, Record};

/// Waits of a tenant that the naive estimates look at.
const WAITS: usize = 20;

/// How the test is made.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Of the jobs that have to wait, one in so many asks.
    pub every: usize,
    /// How often the future is played for each.
    pub runs: u32,
    /// Where the draws begin.
    pub seed: u64,
}

/// What came of it, all for the same jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// The core played forward, corrected by how good it was before.
    pub corrected: Score,
    /// The core played forward alone.
    pub forward: Score,
    /// Quantiles of the tenant's last 20 waits, nothing counted where a job started at once.
    pub last_waits: Score,
    /// Quantiles of the last 20 waits of its jobs that had to wait.
    pub last_real_waits: Score,
}

/// Plays `work`, and has jobs ask.
///
/// # Errors
/// When `progress` stopped it.
pub fn trial(
    scenario: &Scenario,
    order: Order,
    work: &[Drawn],
    trial: Trial,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Scores, Interrupted> {
    let mut world = world(scenario, order, work);
    let until = scenario
        .until
        .map_or(Time::from_millis(u64::MAX), |until| Time::ZERO + until);
    let mut examiner = Examiner::new(work, trial);
    while let Some(records) = world.step(until) {
        let now = world.now();
        examiner.enter(now, &records);
        let asking = examiner.arrive(now);
        if !asking.is_empty() {
            let snapshot = world.snapshot();
            let question = Question {
                runs: trial.runs,
                seed: trial.seed,
                jobs: Some(asking),
                ..Question::default()
            };
            let etas = forecast(&snapshot, now, &examiner.history, &question);
            examiner.tell(now, etas, question.horizon);
        }
        if progress(examiner.progress()).is_break() {
            return Err(Interrupted);
        }
    }
    Ok(examiner.scores)
}

/// Whoever asks and compares.
struct Examiner<'a> {
    work: BTreeMap<&'a JobId, &'a Drawn>,
    /// Those that have not arrived, the next one last.
    to_come: Vec<&'a Drawn>,
    every: usize,
    /// Jobs that had to wait so far.
    waited: usize,
    finished: usize,
    /// When each job first started, of those that have not ended.
    started: BTreeMap<JobId, Time>,
    history: History,
    waits: BTreeMap<TenantId, Waits>,
    calibration: Calibration,
    /// Who was told what, and waits.
    told: BTreeMap<JobId, Told>,
    scores: Scores,
}

/// A tenant's last waits, in milliseconds.
#[derive(Default)]
struct Waits {
    all: VecDeque<u64>,
    real: VecDeque<u64>,
}

struct Told {
    asked: Time,
    horizon: Duration,
    /// As in [`Scores`].
    etas: [Eta; 4],
}

impl<'a> Examiner<'a> {
    fn new(work: &'a [Drawn], trial: Trial) -> Self {
        let mut to_come: Vec<&Drawn> = work.iter().collect();
        to_come.sort_by_key(|drawn| std::cmp::Reverse(drawn.job.submitted));
        Self {
            work: work.iter().map(|drawn| (&drawn.job.id, drawn)).collect(),
            to_come,
            every: trial.every.max(1),
            waited: 0,
            finished: 0,
            started: BTreeMap::new(),
            history: History::default(),
            waits: BTreeMap::new(),
            calibration: Calibration::default(),
            told: BTreeMap::new(),
            scores: Scores::default(),
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            finished: self.finished,
            jobs: self.work.len(),
        }
    }

    /// Enters what happened.
    fn enter(&mut self, now: Time, records: &[Record]) {
        for record in records {
            match &record.what {
                Change::Admitted(_) if !self.started.contains_key(&record.job) => {
                    self.started.insert(record.job.clone(), now);
                    self.start(&record.job, now);
                }
                Change::Finished => {
                    self.finished += 1;
                    let drawn = self.work.get(&record.job);
                    if let (Some(at), Some(drawn)) = (self.started.remove(&record.job), drawn) {
                        self.history.ended(&drawn.job, now.since(at));
                    }
                }
                _ => {}
            }
        }
    }

    /// A job has started: its wait is known, and whether what it was told was right.
    fn start(&mut self, id: &JobId, now: Time) {
        let Some(drawn) = self.work.get(id) else {
            return;
        };
        let wait = now.since(drawn.job.submitted);
        let waits = self.waits.entry(drawn.job.tenant.clone()).or_default();
        waits.enter(wait);
        let Some(told) = self.told.remove(id) else {
            return;
        };
        let Scores {
            corrected,
            forward,
            last_waits,
            last_real_waits,
        } = &mut self.scores;
        let scores = [corrected, forward, last_waits, last_real_waits];
        for (score, eta) in scores.into_iter().zip(told.etas) {
            score.enter(eta, now, told.asked, told.horizon);
        }
        self.calibration.learn(told.etas[0], now);
    }

    /// Who has arrived by now; of those that have to wait, those that ask.
    fn arrive(&mut self, now: Time) -> BTreeSet<JobId> {
        let mut asking = BTreeSet::new();
        while let Some(drawn) = self.to_come.pop_if(|next| next.job.submitted <= now) {
            let job = &drawn.job;
            self.history.arrived(job);
            if self.started.contains_key(&job.id) {
                continue;
            }
            self.waited += 1;
            let known = self.waits.get(&job.tenant);
            let known = known.is_some_and(|waits| waits.real.len() >= WAITS);
            if known && self.waited.is_multiple_of(self.every) {
                asking.insert(job.id.clone());
            }
        }
        asking
    }

    /// Notes what those that asked are told.
    fn tell(&mut self, asked: Time, etas: BTreeMap<JobId, Eta>, horizon: Duration) {
        for (id, forward) in etas {
            let Some(drawn) = self.work.get(&id) else {
                continue;
            };
            let Some(waits) = self.waits.get(&drawn.job.tenant) else {
                continue;
            };
            let corrected = self.calibration.corrected(forward, asked);
            let naive = [&waits.all, &waits.real].map(|waits| quantiles(waits, asked));
            let told = Told {
                asked,
                horizon,
                etas: [corrected, forward, naive[0], naive[1]],
            };
            self.told.insert(id, told);
        }
    }
}

impl Waits {
    fn enter(&mut self, wait: Duration) {
        let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let real = (ms > 0).then_some(&mut self.real);
        for waits in [&mut self.all].into_iter().chain(real) {
            waits.push_back(ms);
            if waits.len() > WAITS {
                waits.pop_front();
            }
        }
    }
}

fn quantiles(waits: &VecDeque<u64>, asked: Time) -> Eta {
    let mut sorted: Vec<u64> = waits.iter().copied().collect();
    sorted.sort_unstable();
    let quantile = |p| Some(asked + Duration::from_millis(percentile(&sorted, p)));
    Eta {
        p50: quantile(50),
        p90: quantile(90),
    }
}
