//! How jobs start, come along and stop.

use std::time::Duration;

use prorata_core::{Event, JobId, Placement, TaskId, Time};

use super::spell::Progress;
use super::{Change, Effort, Happening, Known, Record, Running, Spell, World, chance};
use crate::interference::{ONE, times};

impl World {
    /// A gang takes its places.
    pub(super) fn start(&mut self, job: &JobId, placement: Placement) {
        let Some(known) = self.jobs.get_mut(job) else {
            return;
        };
        known.starts += 1;
        let (work, start) = (&known.work, known.starts);
        let restart = if start > 1 {
            work.restart
        } else {
            Duration::ZERO
        };
        let progress = Progress::new(self.now, restart, work.checkpoint);
        let pairs = self.physics.interference.pairs();
        let does = (work.busy, pairs.of(&work.job));
        let save = progress.next_save(self.now).filter(|_| self.preempts);
        if let Some(at) = save {
            self.saves.insert((at, job.clone()));
        }
        let (seed, interference) = (self.physics.seed, &self.physics.interference);
        let cards = (self.cards.served(&placement), interference.mps_faults());
        let jitter = chance::jitter(seed, job, start, interference.jitter());
        let fault = chance::fault(seed, job, start, cards);
        let fault =
            fault.map(|after| self.put(self.now + after, Happening::CardFault(job.clone())));
        self.cards.enter(job, &placement, does);
        let pairs = self.physics.interference.pairs();
        let (met, losing) = self.cards.pairs(job, &placement, pairs);
        self.pairs = (self.pairs.0 + met, self.pairs.1 + losing);
        let running = Running {
            placement: placement.clone(),
            progress,
            jitter,
            end: None,
            save,
            fault,
        };
        self.starting.push(job.clone());
        self.running.insert(job.clone(), running);
        self.plan_end(job);
        self.pace(&placement);
    }

    /// A job that was evicted leaves: at once, or after its grace.
    pub(super) fn leave(&mut self, job: JobId) -> Option<Record> {
        let now = self.now;
        let running = self.running.get_mut(&job)?;
        running.progress.halt(now);
        // A start of this very moment has taken nothing up yet, so nothing is left to end.
        if self.physics.grace.is_zero() || self.starting.contains(&job) {
            return self.gone(job);
        }
        let before = running.end.take();
        before.and_then(|key| self.agenda.remove(&key));
        let end = self.put(now + self.physics.grace, Happening::Gone(job.clone()));
        self.running.get_mut(&job)?.end = Some(end);
        None
    }

    /// A job that was evicted is gone.
    pub(super) fn gone(&mut self, job: JobId) -> Option<Record> {
        let spell = self.stop(&job, false)?;
        Some(self.record(job, Change::Left(spell)))
    }

    /// Every task of a running job ends. What it saved stays done, and if it is complete, all.
    pub(super) fn stop(&mut self, job: &JobId, is_complete: bool) -> Option<Spell> {
        let Running {
            placement,
            progress,
            ..
        } = self.take_off(job)?;
        let known = self.jobs.get_mut(job)?;
        let spell = if is_complete {
            progress.complete(self.now, known.left())
        } else {
            progress.broken_off(self.now)
        };
        known.done = known.done.plus(spell.kept);
        for (index, _) in (0..).zip(placement.slots()) {
            let job = job.clone();
            self.observe(Event::TaskFinished(TaskId { job, index }));
        }
        Some(spell)
    }

    /// The spells of all that still runs, as if it were cut short at `end` without losing
    /// anything.
    #[must_use]
    pub fn unfinished(&self, end: Time) -> Vec<Record> {
        let cut = |(job, running): (&JobId, &Running)| {
            let known = self.jobs.get(job)?;
            let spell = running.progress.clone().complete(end, known.left());
            Some(Record {
                time: end,
                job: job.clone(),
                what: Change::Left(spell),
            })
        };
        self.running.iter().filter_map(cut).collect()
    }

    /// The job runs no more, and nothing of it is planned any more.
    pub(super) fn take_off(&mut self, job: &JobId) -> Option<Running> {
        let running = self.running.remove(job)?;
        for key in running.end.iter().chain(&running.fault) {
            self.agenda.remove(key);
        }
        if let Some(at) = running.save {
            self.saves.remove(&(at, job.clone()));
        }
        self.starting.retain(|id| id != job);
        self.cards.leave(job, &running.placement);
        self.pace(&running.placement);
        Some(running)
    }

    /// Puts the end of a running job on the agenda, instead of where it was.
    fn plan_end(&mut self, job: &JobId) {
        let left = self.jobs.get(job).and_then(Known::left);
        let (Some(running), Some(left)) = (self.running.get_mut(job), left) else {
            return;
        };
        let (at, before) = (running.progress.end(left), running.end.take());
        before.and_then(|key| self.agenda.remove(&key));
        let key = self.put(at, Happening::End(job.clone()));
        if let Some(running) = self.running.get_mut(job) {
            running.end = Some(key);
        }
    }

    /// Everybody on the cards of a placement goes at the speed that is possible now.
    fn pace(&mut self, placement: &Placement) {
        if self.cards.is_empty() {
            return;
        }
        for job in self.cards.beside(placement) {
            let Some(running) = self.running.get_mut(&job) else {
                continue;
            };
            let interference = &self.physics.interference;
            let pace = self.cards.pace(interference, &job, &running.placement);
            let slowdown = match pace.takes_turns {
                true => times(pace.slowdown, running.jitter),
                false => pace.slowdown,
            };
            let before = running.progress.speed();
            let speed = ONE * ONE / slowdown.max(ONE);
            running.progress.change(self.now, speed, pace.sharing);
            if before != running.progress.speed() && !running.progress.is_halted() {
                self.plan_end(&job);
            }
        }
    }

    /// Tells the core what was saved since it was last told, if it could matter.
    pub(super) fn tell_saves(&mut self) {
        if self.waiting() == 0 {
            return;
        }
        while let Some((at, job)) = self.saves.pop_first() {
            if at > self.now {
                self.saves.insert((at, job));
                return;
            }
            let running = self.running.get_mut(&job);
            let Some(running) = running.filter(|running| !running.progress.is_halted()) else {
                continue;
            };
            let saved = running.progress.last_save(self.now);
            running.save = running.progress.next_save(self.now);
            let next = running.save.map(|at| (at, job.clone()));
            self.saves.extend(next);
            if let Some(saved) = saved {
                self.observe(Event::JobCheckpointed(job, saved));
            }
        }
    }
}

impl Known {
    /// Work that is still to be done; `None` when only somebody else knows.
    fn left(&self) -> Option<Effort> {
        Some(Effort::of(self.work.runtime?, ONE).less(self.done))
    }
}
