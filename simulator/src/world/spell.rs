//! A spell: the time from a start of a job to when its GPUs are free again, with what it got
//! done. Work is counted exactly, in integers.

use std::time::Duration;

use prorata_core::Time;

use crate::interference::ONE;

/// Work, in millionths of what is done in a millisecond alone at full speed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effort(pub u128);

impl Effort {
    /// What is done in this time at `speed`, in millionths of full speed.
    #[must_use]
    pub fn of(span: Duration, speed: u64) -> Self {
        Self(span.as_millis() * u128::from(speed))
    }

    /// How long it takes alone at full speed, in milliseconds.
    #[must_use]
    pub const fn millis(self) -> u128 {
        self.0 / ONE as u128
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// What is left when `other` is done.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// One stay of a job on its GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spell {
    /// When it started.
    pub since: Time,
    /// When its GPUs were free again.
    pub until: Time,
    /// How long it loaded what it had saved before.
    pub restart: Duration,
    /// How long it worked for nothing: since its last checkpoint.
    pub redo: Duration,
    /// How long it held its GPUs after it was told to leave.
    pub grace: Duration,
    /// Work that is done for good.
    pub kept: Effort,
    /// Work that has to be done again.
    pub lost: Effort,
    /// Time and work while it shared a card.
    pub shared: Sharing,
}

/// What happened while tasks shared cards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// How long the job shared at least one card.
    pub time: Duration,
    /// What it got done meanwhile.
    pub done: Effort,
    /// What its tasks got done on shared cards, each counted by itself.
    pub tasks: Effort,
    /// Its part of the time of these cards: a card with three tasks is a third of each, in
    /// millionths of a millisecond.
    pub cards: u128,
}

/// How a job that runs comes along.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    since: Time,
    /// Before that it loads what it saved.
    ready: Time,
    /// How often it saves.
    interval: Option<Duration>,
    /// In millionths of full speed.
    speed: u64,
    /// How many of its tasks share their card, and its part of those cards in millionths.
    sharing: (u32, u64),
    /// Up to when the rest is counted.
    at: Time,
    done: Effort,
    saved: Effort,
    saved_at: Time,
    shared: Sharing,
    /// When it was told to leave; it does nothing from then on.
    halted: Option<Time>,
}

impl Progress {
    pub(super) fn new(since: Time, restart: Duration, interval: Option<Duration>) -> Self {
        let ready = since + restart;
        Self {
            since,
            ready,
            interval: interval.filter(|interval| !interval.is_zero()),
            speed: ONE,
            sharing: (0, 0),
            at: since,
            done: Effort::default(),
            saved: Effort::default(),
            saved_at: ready,
            shared: Sharing::default(),
            halted: None,
        }
    }

    pub(super) const fn speed(&self) -> u64 {
        self.speed
    }

    /// From now on it goes at this speed, with so many tasks on shared cards.
    pub(super) fn change(&mut self, now: Time, speed: u64, sharing: (u32, u64)) {
        self.count(now);
        (self.speed, self.sharing) = (speed.max(1), sharing);
    }

    /// It is told to leave, and stops working.
    pub(super) fn halt(&mut self, now: Time) {
        self.count(now);
        self.halted.get_or_insert(now);
    }

    pub(super) const fn is_halted(&self) -> bool {
        self.halted.is_some()
    }

    /// Counts what is done up to now.
    fn count(&mut self, now: Time) {
        if self.is_halted() {
            return;
        }
        let from = self.at.max(self.ready);
        self.at = self.at.max(now);
        if now <= from {
            return;
        }
        let before = self.done;
        let span = now.since(from);
        let done = Effort::of(span, self.speed);
        self.done = before.plus(done);
        if let Some(saved_at) = self.last_save(now).filter(|at| *at > from) {
            self.saved_at = saved_at;
            self.saved = before.plus(Effort::of(saved_at.since(from), self.speed));
        }
        let (tasks, cards) = self.sharing;
        if tasks > 0 {
            self.shared.time += span;
            self.shared.done = self.shared.done.plus(done);
            self.shared.tasks.0 += done.0 * u128::from(tasks);
            self.shared.cards += span.as_millis() * u128::from(cards);
        }
    }

    /// The last moment up to `now` at which it saved its work.
    pub(super) fn last_save(&self, now: Time) -> Option<Time> {
        let interval = self.interval?.as_millis();
        let times = now.since(self.ready).as_millis() / interval.max(1);
        let passed = u64::try_from(times * interval).ok().filter(|ms| *ms > 0)?;
        Some(self.ready + Duration::from_millis(passed))
    }

    /// The first moment after `now` at which it saves its work.
    pub(super) fn next_save(&self, now: Time) -> Option<Time> {
        let last = self.last_save(now).unwrap_or(self.ready);
        Some(last + self.interval?)
    }

    /// When all of `left`, which was to be done when it started, is done at this speed.
    pub(super) fn end(&self, left: Effort) -> Time {
        let rest = left.less(self.done).0.div_ceil(u128::from(self.speed));
        let rest = Duration::from_millis(u64::try_from(rest).unwrap_or(u64::MAX));
        self.at.max(self.ready) + rest
    }

    /// It is over: all that is done, up to `left`, is done for good.
    pub(super) fn complete(mut self, now: Time, left: Option<Effort>) -> Spell {
        self.count(now);
        let kept = left.map_or(self.done, |left| left.min(self.done));
        Spell {
            kept,
            ..self.spell(now)
        }
    }

    /// It is broken off: what it did since it last saved is lost.
    pub(super) fn broken_off(mut self, now: Time) -> Spell {
        self.halt(now);
        Spell {
            kept: self.saved,
            lost: self.done.less(self.saved),
            redo: self.at.since(self.saved_at),
            ..self.spell(now)
        }
    }

    fn spell(&self, now: Time) -> Spell {
        Spell {
            since: self.since,
            until: now,
            restart: self.ready.min(self.at).since(self.since),
            grace: self.halted.map_or(Duration::ZERO, |told| now.since(told)),
            shared: self.shared,
            ..Spell::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn effort(full_seconds: u64) -> Effort {
        Effort::of(seconds(full_seconds), ONE)
    }

    #[test]
    fn what_was_not_saved_is_lost() {
        // Loads for 10 s, then saves every 20 s: at 30, 50, 70.
        let mut progress = Progress::new(at(0), seconds(10), Some(seconds(20)));
        assert_eq!(progress.end(effort(100)), at(110));
        progress.change(at(40), ONE / 2, (0, 0));
        assert_eq!(progress.end(effort(100)), at(40 + 140));
        assert_eq!(progress.last_save(at(65)), Some(at(50)));
        assert_eq!(progress.next_save(at(65)), Some(at(70)));
        progress.halt(at(65));
        progress.change(at(66), ONE, (1, ONE));
        let spell = progress.broken_off(at(68));
        // 30 s at full speed and 10 at half until 50; then 15 at half.
        assert_eq!(spell.kept, effort(35));
        assert_eq!(spell.lost.millis(), 7500);
        assert_eq!((spell.redo, spell.restart), (seconds(15), seconds(10)));
        assert_eq!((spell.grace, spell.until), (seconds(3), at(68)));
    }

    #[test]
    fn without_checkpoints_all_is_lost_and_loading_saves_nothing() {
        let spell = Progress::new(at(5), seconds(10), None).broken_off(at(20));
        assert_eq!((spell.kept, spell.lost), (effort(0), effort(5)));
        assert_eq!((spell.redo, spell.restart), (seconds(5), seconds(10)));
        let early = Progress::new(at(5), seconds(10), None).broken_off(at(8));
        assert_eq!((early.lost, early.redo), (effort(0), seconds(0)));
        assert_eq!(early.restart, seconds(3));
    }

    #[test]
    fn what_ends_keeps_all_and_knows_how_it_shared() {
        let mut progress = Progress::new(at(0), seconds(0), None);
        progress.change(at(10), ONE / 2, (2, ONE));
        progress.change(at(30), ONE, (0, 0));
        let spell = progress.complete(at(40), Some(effort(30)));
        assert_eq!((spell.kept, spell.lost), (effort(30), effort(0)));
        assert_eq!(
            (spell.shared.time, spell.shared.done),
            (seconds(20), effort(10))
        );
        assert_eq!(spell.shared.tasks, effort(20));
        assert_eq!(spell.shared.cards, 20_000 * u128::from(ONE));
    }
}
