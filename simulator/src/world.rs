//! A modelled cluster: it carries out what the core decides, and tells the core what happened.
//!
//! Everything that happens stands on one agenda, ordered by time and then by when it was put
//! there. All that falls on one moment happens before the core decides, once, at that moment.
//!
//! A job is so much work. Alone it is done at full speed; beside others on a card more slowly
//! ([`crate::interference`]). Work that was not saved is lost when a job is evicted or its node
//! fails, and it loads what it saved when it starts again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prorata_core::{
    Decision, Event, Hold, JobId, Node, NodeId, Placement, Policy, Resources, Scheduler, Snapshot,
    TaskId, Time, Verdict,
};

use crate::interference::Interference;
use cards::Cards;
use spell::Progress;

mod breakdown;
mod cards;
mod chance;
mod record;
mod running;
mod spell;

pub use record::{Change, Failure, Happening, Record, Work};
pub use spell::{Effort, Sharing, Spell};

/// What is true of a world beside what its nodes and jobs say.
#[derive(Clone, Debug, Default)]
pub struct Physics {
    /// How tasks that share a card slow each other.
    pub interference: Interference,
    /// How long an evicted job still holds its GPUs.
    pub grace: Duration,
    /// Where its draws begin.
    pub seed: u64,
    /// Tell why jobs wait only when [`World::explain`] is asked, and not after every step.
    pub is_terse: bool,
}

/// The modelled cluster, with the core that decides for it.
#[derive(Debug, Default)]
pub struct World {
    scheduler: Scheduler,
    physics: Physics,
    preempts: bool,
    now: Time,
    /// Keyed by time and by how many were put there before.
    agenda: BTreeMap<Key, Happening>,
    sequence: u64,
    jobs: BTreeMap<JobId, Known>,
    running: BTreeMap<JobId, Running>,
    /// Started at this moment; bound once time moves on.
    starting: Vec<JobId>,
    nodes: BTreeMap<NodeId, Node>,
    /// Nodes that failed and are not repaired, and how often they failed.
    down: BTreeMap<NodeId, u32>,
    /// What the nodes that take work offer in all.
    capacity: Resources,
    cards: Cards,
    /// Pairs whose work was measured beside each other that met on a card, and those of them that
    /// get less done than one alone would.
    pairs: (u64, u64),
    /// When running jobs save their work next.
    saves: BTreeSet<(Time, JobId)>,
}

type Key = (Time, u64);

/// A job that has not ended.
#[derive(Clone, Debug)]
struct Known {
    work: Work,
    /// Work that is done and safe.
    done: Effort,
    /// How often it has started.
    starts: u32,
}

/// A job that runs.
#[derive(Clone, Debug)]
struct Running {
    placement: Placement,
    progress: Progress,
    /// How many times as long it takes by chance, in millionths.
    jitter: u64,
    /// Where its end, or the end of its grace, stands on the agenda.
    end: Option<Key>,
    /// Where it stands among those that save.
    save: Option<Time>,
    /// Where its fault stands on the agenda.
    fault: Option<Key>,
}

impl World {
    /// An empty cluster at time zero, in which nobody disturbs anybody.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self::with(policy, Physics::default())
    }

    /// An empty cluster at time zero.
    #[must_use]
    pub fn with(policy: Policy, physics: Physics) -> Self {
        Self {
            preempts: policy.preemption.enabled,
            scheduler: Scheduler::new(policy),
            physics,
            ..Self::default()
        }
    }

    /// What is evicted from now on holds its GPUs for so long.
    pub const fn set_grace(&mut self, grace: Duration) {
        self.physics.grace = grace;
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

    /// How many pairs whose work was measured beside each other have met on a card, and how many of
    /// them get less done than one alone would.
    #[must_use]
    pub const fn pairs(&self) -> (u64, u64) {
        self.pairs
    }

    /// How many things are still going to happen.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.agenda.len()
    }

    /// How many jobs have neither ended nor places.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.jobs.len() - self.running.len()
    }

    /// What the nodes that take work offer in all; every GPU counts the same.
    #[must_use]
    pub const fn capacity(&self) -> Resources {
        self.capacity
    }

    /// Puts something on the agenda. What is already past happens next.
    pub fn plan(&mut self, at: Time, happening: Happening) {
        self.put(at, happening);
    }

    fn put(&mut self, at: Time, happening: Happening) -> Key {
        let key = (at.max(self.now), self.sequence);
        self.agenda.insert(key, happening);
        self.sequence += 1;
        key
    }

    /// Tells the core a fact. It decides in the next step.
    pub fn observe(&mut self, fact: Event) {
        match &fact {
            Event::NodeSeen(node) => self.recount(&node.id, |world| {
                world.cards.describe(node);
                world.nodes.insert(node.id.clone(), node.clone());
            }),
            Event::NodeGone(node) => self.recount(node, |world| {
                world.nodes.remove(node);
            }),
            _ => {}
        }
        self.scheduler.observe(self.now, fact);
    }

    /// A job arrives.
    pub fn submit(&mut self, work: Work) {
        let job = work.job.clone();
        let known = Known {
            work,
            done: Effort::default(),
            starts: 0,
        };
        self.jobs.insert(job.id.clone(), known);
        self.observe(Event::JobSubmitted(job));
    }

    /// The job completes, if it runs.
    pub fn finish(&mut self, job: &JobId) -> Option<Vec<Record>> {
        if self.running.get(job)?.progress.is_halted() {
            // It got done before it had to be gone, so it does not queue again.
            self.observe(Event::JobWithdrawn(job.clone()));
        }
        let spell = self.stop(job, true)?;
        self.jobs.remove(job);
        let finished = self.record(job.clone(), Change::Finished);
        Some(vec![
            finished,
            self.record(job.clone(), Change::Left(spell)),
        ])
    }

    /// The job is deleted, whether it waits or runs.
    pub fn withdraw(&mut self, job: &JobId) {
        self.observe(Event::JobWithdrawn(job.clone()));
        self.stop(job, false);
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
            self.stop(id, false);
        }
    }

    /// The start that was decided at this moment could not be carried out; whether there was one.
    pub fn fail(&mut self, job: &JobId) -> bool {
        if !self.starting.contains(job) {
            return false;
        }
        self.take_off(job);
        if let Some(known) = self.jobs.get_mut(job) {
            known.starts -= 1;
        }
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

    /// Why each waiting job waits, where that is new or has changed since this was last asked.
    /// Costs what waits.
    pub fn explain(&mut self) -> Vec<Record> {
        let told = self.scheduler.explain();
        let reason = |(job, verdict)| match verdict {
            Verdict::Waiting(reason) => Some(self.record(job, Change::Waiting(reason))),
            Verdict::Running | Verdict::Admitted(_) => None,
        };
        told.into_iter().filter_map(reason).collect()
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
    }

    fn happen(&mut self, happening: Happening) -> Vec<Record> {
        match happening {
            Happening::Fact(event) => self.observe(event),
            Happening::Arrival(work) => self.submit(work),
            Happening::NodeDown(node) => return self.node_down(&node),
            Happening::NodeUp(node) => self.node_up(&node),
            Happening::End(job) => return self.finish(&job).unwrap_or_default(),
            Happening::Gone(job) => return self.gone(job).into_iter().collect(),
            Happening::CardFault(job) => return self.card_fault(&job),
        }
        Vec::new()
    }

    /// Cycles until nobody leaves any more. What is admitted starts at once, and what has to
    /// leave is gone after its grace.
    fn decide(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        self.tell_saves();
        loop {
            let decisions = self.scheduler.cycle(self.now).decisions;
            let evicts = |decision: &Decision| matches!(decision, Decision::Evict { .. });
            let again = self.physics.grace.is_zero() && decisions.iter().any(evicts);
            for decision in decisions {
                records.extend(self.carry_out(decision));
            }
            if !again {
                break;
            }
        }
        if !self.physics.is_terse {
            records.extend(self.explain());
        }
        records
    }

    fn carry_out(&mut self, decision: Decision) -> Vec<Record> {
        match decision {
            Decision::Admit(job, placement) => {
                self.start(&job, placement.clone());
                vec![self.record(job, Change::Admitted(placement))]
            }
            Decision::Evict {
                victim,
                preemptor,
                rule,
            } => {
                let evicted = self.record(victim.clone(), Change::Evicted(preemptor, rule));
                let left = self.leave(victim);
                [evicted].into_iter().chain(left).collect()
            }
        }
    }

    fn record(&self, job: JobId, what: Change) -> Record {
        Record {
            time: self.now,
            job,
            what,
        }
    }
}
