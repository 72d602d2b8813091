//! Resources that are counted node by node and charged to nobody: whatever nodes offer and pods ask
//! for besides CPU, memory and GPUs, such as ephemeral storage, network adapters or room for pods.

use alloc::vec::Vec;

use crate::needs::Text;
use crate::resource::Resources;

/// Amounts by name. Most tasks ask for none; then nothing is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Others(Vec<(Text, u64)>);

impl Others {
    /// None at all.
    pub const NONE: Self = Self(Vec::new());

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each with its amount, which is not zero, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, u64)> {
        self.0.iter().map(|(name, amount)| (name, *amount))
    }

    /// How much there is of one.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.find(name).map_or(0, |at| self.0[at].1)
    }

    /// How many times these fit into `room`; `u32::MAX` when nothing is asked.
    #[must_use]
    pub fn times_in(&self, room: &Self) -> u32 {
        let times = |(name, amount): (&Text, u64)| room.get(name) / amount;
        let scarcest = self.iter().map(times).min();
        scarcest.map_or(u32::MAX, |times| u32::try_from(times).unwrap_or(u32::MAX))
    }

    /// Whether these fit into `room`.
    #[must_use]
    pub fn fits_in(&self, room: &Self) -> bool {
        self.times_in(room) > 0
    }

    /// Of each as much as the one or the other has, whichever is more.
    #[must_use]
    pub fn greater(&self, other: &Self) -> Self {
        let more =
            |(name, amount): (&Text, u64)| (name.clone(), amount.saturating_sub(self.get(name)));
        let own = self.iter().map(|(name, amount)| (name.clone(), amount));
        own.chain(other.iter().map(more)).collect()
    }

    /// What is left of these beyond `taken`.
    #[must_use]
    pub fn beyond(&self, taken: &Self) -> Self {
        let left = |(name, amount): (&Text, u64)| {
            let left = amount.saturating_sub(taken.get(name));
            (left > 0).then(|| (name.clone(), left))
        };
        Self(self.iter().filter_map(left).collect())
    }

    /// Adds to these.
    ///
    /// # Panics
    /// Beyond 2⁶⁴, which bounded amounts do not reach.
    pub(crate) fn grow(&mut self, by: &Self) {
        for (name, amount) in by.iter() {
            match self.find(name) {
                Ok(at) => {
                    let sum = self.0[at].1.checked_add(amount);
                    self.0[at].1 = sum.expect("amounts are bounded");
                }
                Err(at) => self.0.insert(at, (name.clone(), amount)),
            }
        }
    }

    /// Takes from these what was added before.
    ///
    /// # Panics
    /// When there is not as much.
    pub(crate) fn shrink(&mut self, by: &Self) {
        for (name, amount) in by.iter() {
            let at = self.find(name).expect("only what was taken is given back");
            let left = self.0[at].1.checked_sub(amount);
            match left.expect("only what was taken is given back") {
                0 => drop(self.0.remove(at)),
                left => self.0[at].1 = left,
            }
        }
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }
}

impl FromIterator<(Text, u64)> for Others {
    /// What is named twice is added up. No amount is greater than a node may offer.
    fn from_iter<I: IntoIterator<Item = (Text, u64)>>(amounts: I) -> Self {
        let mut others = Self::NONE;
        for (name, amount) in amounts {
            match others.find(&name) {
                _ if amount == 0 => {}
                Ok(at) => others.0[at].1 = bounded(others.0[at].1.saturating_add(amount)),
                Err(at) => others.0.insert(at, (name, bounded(amount))),
            }
        }
        others
    }
}

fn bounded(amount: u64) -> u64 {
    amount.min(Resources::MAX_AMOUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(amounts: &[(&str, u64)]) -> Others {
        let amounts = amounts
            .iter()
            .map(|(name, amount)| ((*name).into(), *amount));
        amounts.collect()
    }

    #[test]
    fn the_scarcest_decides_and_nothing_fits_always() {
        let room = others(&[("pods", 10), ("hca", 3)]);
        assert_eq!(others(&[("pods", 1), ("hca", 1)]).times_in(&room), 3);
        assert_eq!(others(&[("hca", 1), ("disk", 1)]).times_in(&room), 0);
        assert_eq!(Others::NONE.times_in(&Others::NONE), u32::MAX);
    }

    #[test]
    fn of_two_that_are_different_the_greater_counts() {
        let (one, other) = (others(&[("a", 1), ("b", 3)]), others(&[("a", 2), ("c", 1)]));
        let greater = others(&[("a", 2), ("b", 3), ("c", 1)]);
        assert_eq!(one.greater(&other), greater);
        assert_eq!(other.greater(&one), greater);
    }

    #[test]
    fn what_is_given_back_leaves_no_trace() {
        let before = others(&[("pods", 4)]);
        let mut held = before.clone();
        let task = others(&[("pods", 1), ("hca", 2), ("none", 0)]);
        held.grow(&task);
        assert_eq!((held.get("pods"), held.get("hca")), (5, 2));
        assert_eq!(
            others(&[("pods", 5), ("hca", 3)]).beyond(&held),
            others(&[("hca", 1)])
        );
        held.shrink(&task);
        assert_eq!(held, before);
    }
}
