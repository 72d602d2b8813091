//! A modelled cluster: it carries out what the core decides, and tells the core what happened.
//!
//! Everything that happens stands on one agenda, ordered by time and then by when it was put
//! there. All that falls on one moment happens before the core decides, once, at that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prorata_core::{
    Decision, Event, Hold, Job, JobId, Placement, Policy, Reason, Rule, Scheduler, Snapshot,
    TaskId, Time, Verdict,
};

/// Something worth telling, in the order in which it was decided or happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub time: Time,
    /// Which job.
    pub job: JobId,
    /// What.
    pub what: Change,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It starts here.
    Admitted(Placement),
    /// It has to leave for this job, by this rule, and waits again.
    Evicted(JobId, Rule),
    /// It waits, for a reason that is new or has changed.
    Waiting(Reason),
    /// All its tasks have ended.
    Finished,
}

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A fact that the core is told.
    Fact(Event),
    /// A job arrives.
    Arrival(Work),
    /// The time of this run is over.
    End(JobId, Run),
    /// What was evicted is gone.
    Gone(JobId, Run),
}

/// A job with what only the world knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The job, as the core is told.
    pub job: Job,
    /// How long it runs once started; `None`: until somebody ends it.
    pub runtime: Option<Duration>,
    /// How often it saves its work; `None`: never, so that an eviction loses all of it.
    pub checkpoint: Option<Duration>,
}

/// Which of a world's starts it was. A job that starts again is another run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run(u64);

/// The modelled cluster, with the core that decides for it.
#[derive(Debug, Default)]
pub struct World {
    scheduler: Scheduler,
    now: Time,
    /// Keyed by time and by how many were put there before.
    agenda: BTreeMap<(Time, u64), Happening>,
    sequence: u64,
    jobs: BTreeMap<JobId, Known>,
    running: BTreeMap<JobId, Running>,
    /// Started at this moment; bound once time moves on.
    starting: Vec<JobId>,
    /// When running jobs save their work next, as far as they do.
    saves: BTreeSet<(Time, JobId)>,
    /// How long it takes what is evicted to leave.
    grace: Duration,
}

/// A job that has not ended.
#[derive(Clone, Debug)]
struct Known {
    work: Work,
    /// Work that is done and safe.
    done: Duration,
}

/// A job that runs.
#[derive(Clone, Debug)]
struct Running {
    run: Run,
    placement: Placement,
    since: Time,
    /// It was evicted, and takes its time to leave.
    leaving: bool,
}

impl World {
    /// An empty cluster at time zero.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            scheduler: Scheduler::new(policy),
            ..Self::default()
        }
    }

    /// What is evicted from now on takes this long to leave.
    pub const fn set_grace(&mut self, grace: Duration) {
        self.grace = grace;
    }

    /// The moment that has been reached.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// What is true at that moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.scheduler.snapshot()
    }

    /// How many things are still going to happen.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.agenda.len()
    }

    /// Puts something on the agenda. What is already past happens next.
    pub fn plan(&mut self, at: Time, happening: Happening) {
        self.agenda
            .insert((at.max(self.now), self.sequence), happening);
        self.sequence += 1;
    }

    /// Tells the core a fact. It decides in the next step.
    pub fn observe(&mut self, fact: Event) {
        self.scheduler.observe(self.now, fact);
    }

    /// A job arrives.
    pub fn submit(&mut self, work: Work) {
        let job = work.job.clone();
        let done = Duration::ZERO;
        self.jobs.insert(job.id.clone(), Known { work, done });
        self.observe(Event::JobSubmitted(job));
    }

    /// The job completes, if it runs.
    pub fn finish(&mut self, job: &JobId) -> Option<Record> {
        if self.running.get(job)?.leaving {
            // It got done before it had to be gone, so it does not queue again.
            self.observe(Event::JobWithdrawn(job.clone()));
        }
        self.stop(job)?;
        self.jobs.remove(job);
        Some(self.record(job.clone(), Change::Finished))
    }

    /// The job is deleted, whether it waits or runs.
    pub fn withdraw(&mut self, job: &JobId) {
        self.observe(Event::JobWithdrawn(job.clone()));
        self.stop(job);
        self.jobs.remove(job);
    }

    /// The user of a job holds it, or lets it go. If it runs, it is stopped and waits.
    pub fn hold(&mut self, id: &JobId, held: bool) {
        let Some(Known { work, .. }) = self.jobs.get_mut(id) else {
            return;
        };
        work.job.hold = held.then_some(Hold::User);
        let job = work.job.clone();
        self.observe(Event::JobSubmitted(job));
        if held {
            self.stop(id);
        }
    }

    /// The start that was decided at this moment could not be carried out; whether there was one.
    pub fn fail(&mut self, job: &JobId) -> bool {
        let Some(position) = self.starting.iter().position(|id| id == job) else {
            return false;
        };
        self.starting.remove(position);
        self.running.remove(job);
        self.observe(Event::DecisionFailed(job.clone()));
        true
    }

    /// Goes to the next moment at which something happens, lets it all happen, and has the core
    /// decide; `None` when nothing is left or the next moment is after `until`.
    pub fn step(&mut self, until: Time) -> Option<Vec<Record>> {
        let planned = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let due = planned
            .into_iter()
            .chain(self.scheduler.next_wakeup())
            .min()?;
        if due > until {
            return None;
        }
        self.move_on(due);
        let mut records = Vec::new();
        while let Some(entry) = self.agenda.first_entry().filter(|e| e.key().0 <= self.now) {
            let happening = entry.remove();
            records.extend(self.happen(happening));
        }
        records.extend(self.decide());
        Some(records)
    }

    /// Goes to `time` by as many steps as it takes, and has the core decide there.
    pub fn advance(&mut self, time: Time) -> Vec<Record> {
        let mut records = Vec::new();
        while let Some(step) = self.step(time) {
            records.extend(step);
        }
        self.move_on(time);
        records.extend(self.decide());
        records
    }

    /// What was started at the moment that ends now counts as bound.
    fn move_on(&mut self, time: Time) {
        for job in std::mem::take(&mut self.starting) {
            let Some(Running { placement, .. }) = self.running.get(&job) else {
                continue;
            };
            for (index, slot) in (0..).zip(placement.slots()) {
                let job = job.clone();
                let task = TaskId { job, index };
                let bound = Event::TaskBound(task, slot.node.clone());
                self.scheduler.observe(self.now, bound);
            }
        }
        self.now = self.now.max(time);
        self.save();
    }

    /// Tells the core which work has been saved by now.
    fn save(&mut self) {
        while let Some((at, job)) = self.saves.first().cloned() {
            if at > self.now {
                break;
            }
            self.saves.pop_first();
            let Some(interval) = self.interval(&job) else {
                continue;
            };
            let Some(since) = self.running.get(&job).map(|running| running.since) else {
                continue;
            };
            let last = since + interval * times(self.now.since(since), interval);
            self.observe(Event::JobCheckpointed(job.clone(), last));
            self.saves.insert((last + interval, job));
        }
    }

    /// How often a job saves its work, if it does.
    fn interval(&self, job: &JobId) -> Option<Duration> {
        let interval = self.jobs.get(job)?.work.checkpoint?;
        (!interval.is_zero()).then_some(interval)
    }

    fn happen(&mut self, happening: Happening) -> Option<Record> {
        match happening {
            Happening::Fact(event) => self.observe(event),
            Happening::Arrival(work) => self.submit(work),
            Happening::End(job, run) => {
                let current = self.running.get(&job).map(|running| running.run);
                return if current == Some(run) {
                    self.finish(&job)
                } else {
                    None
                };
            }
            Happening::Gone(job, run) => {
                let current = self.running.get(&job).map(|running| running.run);
                if current == Some(run) {
                    self.stop(&job);
                }
            }
        }
        None
    }

    /// Cycles until nobody has to leave any more. What is admitted starts at once, and what has
    /// to leave is gone at once.
    fn decide(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        loop {
            let decisions = self.scheduler.cycle(self.now).decisions;
            let evicts = |decision: &Decision| matches!(decision, Decision::Evict { .. });
            let again = decisions.iter().any(evicts);
            for decision in decisions {
                records.push(self.carry_out(decision));
            }
            if !again {
                break;
            }
        }
        for (job, verdict) in self.scheduler.explain() {
            if let Verdict::Waiting(reason) = verdict {
                records.push(self.record(job, Change::Waiting(reason)));
            }
        }
        records
    }

    fn carry_out(&mut self, decision: Decision) -> Record {
        match decision {
            Decision::Admit(job, placement) => {
                self.start(&job, placement.clone());
                self.record(job, Change::Admitted(placement))
            }
            Decision::Evict {
                victim,
                preemptor,
                rule,
            } => {
                self.evict(&victim);
                self.record(victim, Change::Evicted(preemptor, rule))
            }
        }
    }

    fn evict(&mut self, job: &JobId) {
        let grace = self.grace;
        match self.running.get_mut(job) {
            Some(running) if !grace.is_zero() => {
                running.leaving = true;
                let run = running.run;
                self.plan(self.now + grace, Happening::Gone(job.clone(), run));
            }
            _ => drop(self.stop(job)),
        }
    }

    fn start(&mut self, job: &JobId, placement: Placement) {
        let run = Run(self.sequence);
        let running = Running {
            run,
            placement,
            since: self.now,
            leaving: false,
        };
        if let Some(interval) = self.interval(job) {
            self.saves.insert((self.now + interval, job.clone()));
        }
        self.starting.push(job.clone());
        self.running.insert(job.clone(), running);
        let known = self.jobs.get(job);
        let runtime = known.and_then(|known| Some(known.work.runtime?.saturating_sub(known.done)));
        if let Some(runtime) = runtime {
            self.plan(self.now + runtime, Happening::End(job.clone(), run));
        } else {
            self.sequence += 1;
        }
    }

    /// Every task of a running job ends. What it saved stays done.
    fn stop(&mut self, job: &JobId) -> Option<()> {
        let Running {
            placement, since, ..
        } = self.running.remove(job)?;
        if let Some(interval) = self.interval(job) {
            let times = times(self.now.since(since), interval);
            self.saves
                .remove(&(since + interval * (times + 1), job.clone()));
            if let Some(known) = self.jobs.get_mut(job) {
                known.done += interval * times;
            }
        }
        self.starting.retain(|id| id != job);
        for (index, _) in (0..).zip(placement.slots()) {
            let job = job.clone();
            self.observe(Event::TaskFinished(TaskId { job, index }));
        }
        Some(())
    }

    fn record(&self, job: JobId, what: Change) -> Record {
        Record {
            time: self.now,
            job,
            what,
        }
    }
}

/// How many whole intervals have passed.
fn times(passed: Duration, interval: Duration) -> u32 {
    u32::try_from(passed.as_millis() / interval.as_millis().max(1)).unwrap_or(u32::MAX - 1)
}
