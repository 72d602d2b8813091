//! What became of a job.

use std::time::Duration;

use prorata_core::{Job, JobId, Placement, Reason, Resource, Resources, Rule, Time};

use crate::workload::Drawn;
use crate::world::{Effort, Sharing, Spell};

/// What became of a job.
#[derive(Clone, Debug)]
pub struct Fate {
    /// What it asked for.
    pub job: Job,
    /// How long it runs at full speed, as drawn.
    pub runtime: Duration,
    /// Thousandths of a GPU that it keeps busy.
    pub busy: u32,
    /// When it first started, if it did.
    pub started: Option<Time>,
    /// When it ended, if it did.
    pub finished: Option<Time>,
    /// Where it ran last.
    pub placement: Option<Placement>,
    /// Why it waited, as told last.
    pub reason: Option<Reason>,
    /// How often it started.
    pub starts: u32,
    /// Each time that it had to leave.
    pub evictions: Vec<Eviction>,
    /// How often it broke off because something failed.
    pub failures: u32,
    /// Since when it waits, if it does at the end.
    pub pending: Option<Time>,
    /// How long it waited, the wait that goes on left out.
    pub waited: Duration,
    /// When it last began to run; until then it was pending now and then.
    pub resumed: Option<Time>,
    /// How long it waited for which reason, by code; `NotSampled` where nobody asked in time.
    pub waits: Vec<(&'static str, Duration)>,
    /// All of its spells together; `since` and `until` of the last.
    pub spells: Spell,
    /// How long it held GPUs.
    pub held: Duration,
    /// Milli-GPU-milliseconds that it held.
    pub gpu: u128,
    /// Of those, spent on work that was lost, on loading what was saved, and on leaving.
    pub gpu_lost: u128,
    /// What the GPUs that it held cost, and what of that went into `gpu_lost`.
    pub cost: (f64, f64),
}

/// A job had to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// When.
    pub at: Time,
    /// For whom.
    pub by: JobId,
    /// What entitled that one to.
    pub rule: Rule,
}

impl Fate {
    pub(super) fn new(drawn: &Drawn) -> Self {
        Self {
            job: drawn.job.clone(),
            runtime: drawn.runtime,
            busy: drawn.busy,
            started: None,
            finished: None,
            placement: None,
            reason: None,
            starts: 0,
            evictions: Vec::new(),
            failures: 0,
            pending: None,
            waited: Duration::ZERO,
            resumed: None,
            waits: Vec::new(),
            spells: Spell::default(),
            held: Duration::ZERO,
            gpu: 0,
            gpu_lost: 0,
            cost: (0.0, 0.0),
        }
    }

    /// Queueing delay: how long it was pending up to `end`, also after it had to leave.
    #[must_use]
    pub fn wait(&self, end: Time) -> Duration {
        let goes_on = self.pending.map(|since| end.since(since));
        self.waited + goes_on.unwrap_or_default()
    }

    /// How long it waited for its first start, or has waited for it until `end`.
    #[must_use]
    pub fn first_wait(&self, end: Time) -> Duration {
        self.started.unwrap_or(end).since(self.job.submitted)
    }

    /// Its age when it was last pending, counted from its submission.
    #[must_use]
    pub fn pending_age(&self, end: Time) -> Duration {
        let last = self.pending.map_or(self.resumed, |_| Some(end));
        last.map_or(Duration::ZERO, |last| last.since(self.job.submitted))
    }

    /// How long it took from submission to its end.
    #[must_use]
    pub fn completion(&self) -> Option<Duration> {
        Some(self.finished?.since(self.job.submitted))
    }

    /// Whether it waits for something that will never come.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        self.started.is_none() && self.reason.as_ref().is_some_and(Reason::is_final)
    }

    /// What the whole gang asks for; nothing when no cluster could run it.
    #[must_use]
    pub fn request(&self) -> Resources {
        self.job.shape().request().unwrap_or_default()
    }

    /// What the gang takes where it runs: a task on a slot takes all of the slot.
    #[must_use]
    pub fn takes(&self) -> Resources {
        let slots = self.placement.iter().flat_map(Placement::slots);
        let takes = slots.map(|slot| slot.takes(&self.job.task));
        takes.fold(Resources::ZERO, |sum, one| super::ledger::plus(&sum, &one))
    }

    /// The reason for which it waited longest, by code.
    #[must_use]
    pub fn main_reason(&self) -> Option<&'static str> {
        // The first of equals, as they came.
        let longest = self.waits.iter().rev().max_by_key(|(_, span)| *span);
        longest.map(|(code, _)| *code)
    }

    /// Enters a spell that is over. `price` is what an hour costs on a slot's node.
    pub(super) fn enter(&mut self, spell: &Spell, price: impl Fn(&prorata_core::NodeId) -> f64) {
        let held = spell.until.since(spell.since);
        let wasted = spell.restart + spell.redo + spell.grace;
        let milli = u128::from(self.takes().get(Resource::Gpu));
        self.held += held;
        self.gpu += milli * held.as_millis();
        self.gpu_lost += milli * wasted.as_millis();
        let slots = self.placement.iter().flat_map(Placement::slots);
        let each = slots.map(|slot| price(&slot.node) * gpus(slot.gpu));
        let hourly: f64 = each.sum();
        self.cost.0 += hourly * crate::fairness::hours(held);
        self.cost.1 += hourly * crate::fairness::hours(wasted);
        let all = &mut self.spells;
        *all = Spell {
            since: spell.since,
            until: spell.until,
            restart: all.restart + spell.restart,
            redo: all.redo + spell.redo,
            grace: all.grace + spell.grace,
            kept: all.kept.plus(spell.kept),
            lost: all.lost.plus(spell.lost),
            shared: sum(&all.shared, &spell.shared),
        };
    }

    /// Adds to the time that it waited for a reason.
    pub(super) fn waited_for(&mut self, code: &'static str, span: Duration) {
        if span.is_zero() {
            return;
        }
        match self.waits.iter_mut().find(|(known, _)| *known == code) {
            Some((_, sum)) => *sum += span,
            None => self.waits.push((code, span)),
        }
    }

    /// Work that was done for good, in milliseconds at full speed.
    #[must_use]
    pub const fn kept(&self) -> Effort {
        self.spells.kept
    }
}

fn sum(one: &Sharing, other: &Sharing) -> Sharing {
    Sharing {
        time: one.time + other.time,
        done: one.done.plus(other.done),
        tasks: one.tasks.plus(other.tasks),
        cards: one.cards + other.cards,
    }
}

fn gpus(milli: u64) -> f64 {
    crate::metrics::float(milli.into()) / 1000.0
}
