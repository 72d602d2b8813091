//! One way in which things may go on.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use prorata_core::{Decision, Event, Job, JobId, Scheduler, Time};
use rand::{Rng as _, SeedableRng};
use rand_pcg::Pcg64;
use sha2::{Digest, Sha256};

use super::present::Present;
use super::{History, Question};

/// Moments are told apart that are between one part in this many of their distance from now, and one
/// in half as many, from each other: a cycle decides for all that is closer. It is less than what is
/// unknown about them, and several times fewer cycles.
const GRAIN: u64 = 48;

/// Nor are moments told apart that are closer than this, in milliseconds.
const GRAIN_MS_MIN: u64 = 1024;

/// One run.
pub(super) struct Future<'a> {
    present: &'a Present,
    history: &'a History,
    core: Scheduler,
    now: Time,
    /// When what this cycle decides on came about: the moment is no earlier. What starts now ends
    /// counted from there, so that no delay is added to another.
    truth: Time,
    until: Time,
    /// What happens, by the moment that stands for when; and when.
    agenda: BinaryHeap<Reverse<(Time, Time, Happening)>>,
    jobs: Vec<Drawn>,
    /// Jobs that arrive: their number among `jobs`, and the job.
    arrivals: Vec<Job>,
    /// Of each job that was there before, its place among those that are asked for, while its start
    /// is awaited.
    awaited: Vec<Option<usize>>,
    /// How many are awaited.
    left: usize,
    /// The places of those that have started, and when.
    starts: Vec<(usize, Time)>,
    /// Somebody had to leave, and who else gains by that is decided then.
    again: Option<Time>,
}

/// What happens next. The order breaks ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// A job ends, by its number, if it has started so often and not again.
    End(usize, u32),
    /// The job of this number among the arrivals.
    Arrival(usize),
}

/// What was drawn for a job.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    /// Which quantile of what is possible it takes, of 2³².
    luck: u32,
    starts: u32,
}

impl<'a> Future<'a> {
    /// The run of this number.
    pub(super) fn new(
        present: &'a Present,
        awaited: &[Option<usize>],
        history: &'a History,
        question: &Question,
        run: u32,
    ) -> Self {
        let mut random = generator(question.seed, run);
        let until = present.now + question.horizon;
        let mut jobs = Vec::with_capacity(present.jobs.len() + present.newcomers.len());
        jobs.resize_with(present.jobs.len(), || Drawn::new(random.next_u32()));
        let mut future = Self {
            present,
            history,
            core: present.core.clone(),
            now: present.now,
            truth: present.now,
            until,
            agenda: BinaryHeap::new(),
            jobs,
            arrivals: history.arrivals(present.now, &present.newcomers, &mut random),
            awaited: awaited.to_vec(),
            left: awaited.iter().flatten().count(),
            starts: Vec::new(),
            again: None,
        };
        let late = future.arrivals.len();
        future
            .jobs
            .extend((0..late).map(|_| Drawn::new(random.next_u32())));
        future.begin();
        future
    }

    /// What runs now ends, and what is expected arrives.
    fn begin(&mut self) {
        for (number, known) in self.present.jobs.iter().enumerate() {
            if let Some(started) = known.started {
                self.plan_end(number, started, self.now.since(started));
            }
        }
        for number in 0..self.arrivals.len() {
            self.plan(self.arrivals[number].submitted, Happening::Arrival(number));
        }
        self.carry_out(self.present.decided.clone());
    }

    /// Plays it to the end; when each job that was asked for started, by its place among them.
    pub(super) fn play(mut self) -> Vec<(usize, Time)> {
        while self.left > 0 {
            let planned = self.agenda.peek().map(|Reverse((at, ..))| *at);
            let wakeup = self.core.next_wakeup().map(|at| self.grained(at));
            let next = [planned, wakeup, self.again.take()].into_iter();
            let next = next.flatten().min();
            let Some(next) = next.filter(|next| *next <= self.until) else {
                break;
            };
            self.now = self.now.max(next);
            self.pass();
            let decisions = self.core.decide(self.now);
            self.carry_out(decisions);
        }
        self.starts
    }

    /// All that is due happens; the truth is its mean.
    fn pass(&mut self) {
        let (mut late, mut count) = (Duration::ZERO, 0);
        while let Some(Reverse((_, at, happening))) = self.due() {
            late += self.now.since(at);
            count += 1;
            self.happen(happening);
        }
        let late = late.checked_div(count).unwrap_or_default();
        self.truth = self.present.now + self.now.since(self.present.now + late);
    }

    fn due(&mut self) -> Option<Reverse<(Time, Time, Happening)>> {
        let is_due = self.agenda.peek().is_some_and(|next| next.0.0 <= self.now);
        is_due.then(|| self.agenda.pop())?
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::End(number, starts) if self.jobs[number].starts == starts => {
                let id = self.job(number).id.clone();
                self.core.observe(self.now, Event::JobWithdrawn(id));
            }
            Happening::End(..) => {}
            Happening::Arrival(number) => {
                let job = self.arrivals[number].clone();
                self.core.observe(self.now, Event::JobSubmitted(job));
            }
        }
    }

    /// Whoever has to leave is gone at once, and whoever was promised the room starts there in the same
    /// cycle.
    fn carry_out(&mut self, decisions: Vec<Decision>) {
        for decision in decisions {
            match decision {
                Decision::Admit(id, _) => self.start(&id),
                Decision::Evict { victim, .. } => {
                    self.again = Some(self.grained(self.now + Duration::from_millis(1)));
                    if let Some(number) = self.present.by_id.get(&victim) {
                        self.jobs[*number].starts += 1;
                    }
                }
            }
        }
    }

    fn start(&mut self, id: &JobId) {
        let Some(number) = self.present.by_id.get(id) else {
            return;
        };
        self.jobs[*number].starts += 1;
        self.plan_end(*number, self.truth, Duration::ZERO);
        if let Some(place) = self.awaited.get_mut(*number).and_then(Option::take) {
            self.left -= 1;
            self.starts.push((place, self.now));
        }
    }

    fn job(&self, number: usize) -> &Job {
        match self.present.jobs.get(number) {
            Some(known) => &known.job,
            None => &self.arrivals[number - self.present.jobs.len()],
        }
    }

    fn plan_end(&mut self, number: usize, started: Time, elapsed: Duration) {
        let Drawn { luck, starts } = self.jobs[number];
        let span = self.history.run_time(self.job(number), elapsed, luck);
        self.plan(started + span, Happening::End(number, starts));
    }

    fn plan(&mut self, at: Time, happening: Happening) {
        let next = (self.grained(at), at, happening);
        self.agenda.push(Reverse(next));
    }

    /// The moment that stands for all that are close to it: the first that is no earlier.
    fn grained(&self, at: Time) -> Time {
        let (distance, step) = self.grain(at);
        self.present.now + Duration::from_millis(distance.next_multiple_of(step))
    }

    /// How far off something is, and how far apart moments are there, in milliseconds. That is a power
    /// of two, so that moments farther off are among those that would be told apart nearer by.
    fn grain(&self, at: Time) -> (u64, u64) {
        let distance = at.since(self.present.now).as_millis();
        let distance = u64::try_from(distance)
            .unwrap_or(u64::MAX)
            .min(u64::MAX >> 2);
        let step = (distance / GRAIN).next_power_of_two();
        (distance, step.max(GRAIN_MS_MIN))
    }
}

impl Drawn {
    const fn new(luck: u32) -> Self {
        Self { luck, starts: 0 }
    }
}

fn generator(seed: u64, run: u32) -> Pcg64 {
    let mut digest = Sha256::new();
    digest.update(seed.to_le_bytes());
    digest.update(run.to_le_bytes());
    digest.update(b"forecast");
    Pcg64::from_seed(digest.finalize().into())
}
