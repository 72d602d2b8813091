//! Which GPUs of a node, by index.

use alloc::collections::BTreeSet;
use core::fmt;

/// A set of GPUs of one node, by their index there.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Devices(BTreeSet<u32>);

impl Devices {
    /// The devices `0` to `count - 1`.
    #[must_use]
    pub fn first(count: u32) -> Self {
        Self((0..count).collect())
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their indexes, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// Whether they share a device.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        !self.0.is_disjoint(&other.0)
    }

    /// The `count` lowest of those that are not in `taken`, or as many as there are.
    #[must_use]
    pub fn lowest_without(&self, taken: &Self, count: usize) -> Self {
        Self(self.0.difference(&taken.0).copied().take(count).collect())
    }

    /// Adds these.
    pub fn insert(&mut self, others: &Self) {
        self.0.extend(others.iter());
    }

    /// Takes these away.
    pub fn remove(&mut self, others: &Self) {
        self.0.retain(|device| !others.0.contains(device));
    }
}

impl FromIterator<u32> for Devices {
    fn from_iter<I: IntoIterator<Item = u32>>(indexes: I) -> Self {
        Self(indexes.into_iter().collect())
    }
}

impl fmt::Display for Devices {
    /// Ranges: `0-3,7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut indexes = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = indexes.next() {
            let mut last = first;
            while let Some(next) = indexes.next_if(|next| *next == last + 1) {
                last = next;
            }
            write!(f, "{separator}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn prints_runs_as_ranges() {
        let devices: Devices = [7, 0, 1, 2, 5, 4].into_iter().collect();
        assert_eq!(devices.to_string(), "0-2,4-5,7");
    }

    #[test]
    fn takes_the_lowest_that_are_free() {
        let taken: Devices = [0, 2].into_iter().collect();
        let free = Devices::first(4).lowest_without(&taken, 3);
        assert_eq!(free.to_string(), "1,3");
    }
}
