//! How fast kinds of work run beside each other on one shared GPU, where that has been measured.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::job::Job;
use crate::needs::Text;

/// The speed of work that is alone.
pub const ALONE: u32 = 1_000_000;

/// A kind of work, by its number.
pub type Work = u8;

/// How fast kinds of work run beside each other. Empty: nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Pairs {
    numbers: BTreeMap<Text, Work>,
    /// Row by row: the speed of the row's work beside the column's.
    speeds: Vec<u32>,
}

impl Pairs {
    /// More kinds are not told apart.
    pub const MAX: usize = 64;

    /// These kinds of work, and for each, in order, its speed beside each of them, in millionths of
    /// what it does alone. `None` where there are too many, one is named twice, or a speed is missing.
    #[must_use]
    pub fn new(works: Vec<Text>, speeds: Vec<u32>) -> Option<Self> {
        let count = works.len();
        if count > Self::MAX {
            return None;
        }
        let numbers: BTreeMap<Text, Work> = works.into_iter().zip(0..).collect();
        let fits = numbers.len() == count && speeds.len() == count * count;
        fits.then_some(Self { numbers, speeds })
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The kinds of work, by name.
    pub fn works(&self) -> impl Iterator<Item = (&Text, Work)> {
        self.numbers.iter().map(|(name, work)| (name, *work))
    }

    /// The number of a kind of work, where something is known of it.
    #[must_use]
    pub fn work(&self, name: &str) -> Option<Work> {
        self.numbers.get(name).copied()
    }

    /// The kind of work that a job is.
    #[must_use]
    pub fn of(&self, job: &Job) -> Option<Work> {
        self.work(job.needs.work.as_deref()?)
    }

    /// How fast work runs beside other work, in millionths of what it does alone.
    #[must_use]
    pub fn speed(&self, own: Work, other: Work) -> u32 {
        let place = usize::from(own) * self.numbers.len() + usize::from(other);
        self.speeds.get(place).copied().unwrap_or(ALONE)
    }

    /// Whether two get less done together than either would alone in the same time.
    #[must_use]
    pub fn loses(&self, one: Work, other: Work) -> bool {
        self.speed(one, other) + self.speed(other, one) < ALONE
    }
}

/// Kinds of work that are on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Works(u64);

impl Works {
    pub(crate) const fn add(&mut self, work: Work) {
        self.0 |= 1 << (work % 64);
    }

    pub(crate) const fn insert(&mut self, others: Self) {
        self.0 |= others.0;
    }

    /// Whether work would lose something beside any of these, or they beside it.
    pub(crate) fn lose(self, work: Work, pairs: &Pairs) -> bool {
        let mut there = (0..64).filter(|other| self.0 >> other & 1 == 1);
        there.any(|other| pairs.loses(work, other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn pairs() -> Pairs {
        let works = ["calm", "greedy"].map(Text::from).to_vec();
        Pairs::new(works, vec![900_000, 700_000, 600_000, 300_000]).unwrap()
    }

    #[test]
    fn a_pair_loses_that_gets_less_done_than_one_alone() {
        let pairs = pairs();
        let [calm, greedy] = ["calm", "greedy"].map(|name| pairs.work(name).unwrap());
        assert_eq!(pairs.speed(calm, greedy), 700_000);
        assert!(!pairs.loses(calm, greedy));
        assert!(pairs.loses(greedy, greedy));
        let mut there = Works::default();
        there.add(calm);
        assert!(!there.lose(greedy, &pairs));
        there.add(greedy);
        assert!(there.lose(greedy, &pairs));
        assert_eq!(pairs.work("unheard-of"), None);
    }

    #[test]
    fn a_table_with_a_hole_is_none() {
        let works = ["calm", "greedy"].map(Text::from).to_vec();
        assert_eq!(Pairs::new(works, vec![ALONE; 3]), None);
        let twice = ["calm", "calm"].map(Text::from).to_vec();
        assert_eq!(Pairs::new(twice, vec![ALONE; 4]), None);
    }
}
