//! The last looks at a GPU, and what they show on average.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Sample, User};
use crate::api::gpunode::Contention;

/// Looks that are remembered at most.
const SAMPLES_MAX: usize = 4096;

/// The last looks at a GPU.
#[derive(Debug, Default)]
pub(super) struct Window {
    samples: VecDeque<(Duration, Sample)>,
    /// Whether they reach back as far as the window does.
    is_full: bool,
}

impl Window {
    /// One more look. Older ones than `length` are forgotten; after a gap of that length all are.
    pub(super) fn push(&mut self, at: Duration, sample: Sample, length: Duration) {
        let last = self.samples.back().map(|(last, _)| *last);
        if last.is_some_and(|last| at.saturating_sub(last) > length) {
            self.samples.clear();
            self.is_full = false;
        }
        self.samples.push_back((at, sample));
        let is_old = |(then, _): &(Duration, Sample)| at.saturating_sub(*then) >= length;
        while self.samples.front().is_some_and(is_old) || self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
            self.is_full = true;
        }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether more than one uses it, as of the last look.
    pub(super) fn is_shared(&self) -> bool {
        let strangers = self.samples.back().is_some_and(|(_, last)| last.strangers);
        self.users().len() + usize::from(strangers) > 1
    }

    /// Pods that use it, as of the last look.
    pub(super) fn users(&self) -> &[User] {
        self.samples.back().map_or(&[], |(_, last)| &last.users)
    }

    /// The slots of the card, as of the last look.
    pub(super) fn slots(&self) -> Option<u32> {
        self.samples.back()?.1.slots
    }

    /// Percent in use on average; `None` where most looks do not show it.
    pub(super) fn mean(&self, contention: Contention) -> Option<u32> {
        let shown = self.samples.iter().filter_map(|(_, s)| s.of(contention));
        let shown: Vec<u32> = shown.collect();
        let is_known = shown.len() * 2 >= self.samples.len();
        mean(shown.into_iter()).filter(|_| is_known)
    }

    /// Percent that a pod uses on average; `None` where no look shows it. Where it was not there it
    /// used nothing.
    pub(super) fn mean_of(&self, user: &User, read: fn(&User) -> Option<u32>) -> Option<u32> {
        let same = |other: &&User| (&other.namespace, &other.name) == (&user.namespace, &user.name);
        let value = |sample: &Sample| sample.users.iter().find(same).and_then(read);
        let values: Vec<Option<u32>> = self.samples.iter().map(|(_, s)| value(s)).collect();
        values.iter().any(Option::is_some).then_some(())?;
        mean(values.into_iter().map(Option::unwrap_or_default))
    }
}

fn mean(values: impl Iterator<Item = u32>) -> Option<u32> {
    let (sum, count) = values.fold((0_u64, 0_u64), |(sum, count), value| {
        (sum + u64::from(value), count + 1)
    });
    u32::try_from(sum.checked_div(count)?).ok()
}
