//! How many GPUs were held at a time, and for how long: what a guarantee is measured against.

use std::collections::BTreeMap;

use crate::fleet::held;
use crate::period::Period;
use crate::record::Hold;

/// How long how much was held at a time, within a period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels(BTreeMap<u64, u64>);

impl Levels {
    /// Of these holds together.
    #[must_use]
    pub fn of<'a>(holds: impl IntoIterator<Item = &'a Hold>, period: Period) -> Self {
        let mut changes: BTreeMap<u64, i128> = [(period.from_ms, 0)].into();
        for hold in holds {
            let held = held(hold, period);
            if held.length_ms() > 0 {
                *changes.entry(held.from_ms).or_default() += i128::from(hold.gpu_milli);
                *changes.entry(held.until_ms).or_default() -= i128::from(hold.gpu_milli);
            }
        }
        let (mut levels, mut at) = (BTreeMap::new(), 0);
        let ends = changes.keys().skip(1).copied().chain([period.until_ms]);
        for ((from_ms, change), until_ms) in changes.iter().zip(ends) {
            at += change;
            if until_ms > *from_ms {
                *levels
                    .entry(u64::try_from(at).unwrap_or_default())
                    .or_default() += until_ms - from_ms;
            }
        }
        Self(levels)
    }

    /// What was not exceeded for so many percent of the time, in thousandths of a GPU.
    #[must_use]
    pub fn at_most(&self, percent: u64) -> u64 {
        let all: u128 = self.0.values().map(|ms| u128::from(*ms)).sum();
        let mut past = 0;
        for (milli, ms) in &self.0 {
            past += u128::from(*ms);
            if past * 100 >= all * u128::from(percent) {
                return *milli;
            }
        }
        0
    }

    /// The most that was held at a time.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.0.keys().next_back().copied().unwrap_or_default()
    }

    /// What was held above so much, as thousandths of a GPU times milliseconds.
    #[must_use]
    pub fn above(&self, milli: u64) -> u128 {
        let over =
            |(level, ms): (&u64, &u64)| u128::from(level.saturating_sub(milli)) * u128::from(*ms);
        self.0.iter().map(over).sum()
    }

    /// All that was held, as thousandths of a GPU times milliseconds.
    #[must_use]
    pub fn total(&self) -> u128 {
        self.above(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::hold;

    #[test]
    fn what_is_held_at_the_same_time_adds_up() {
        let holds = [
            hold("red", "n1", 1000, 0, Some(60)),
            hold("red", "n2", 4000, 50, Some(55)),
            hold("red", "n3", 500, 90, None),
        ];
        let levels = Levels::of(
            &holds,
            Period {
                from_ms: 10,
                until_ms: 110,
            },
        );
        // 5 GPUs for 5 of 100, 1 for 45, a half for 20, none for 30.
        assert_eq!(
            (levels.most(), levels.at_most(95), levels.at_most(96)),
            (5000, 1000, 5000)
        );
        assert_eq!(
            (levels.at_most(50), levels.at_most(30), levels.at_most(31)),
            (500, 0, 500)
        );
        assert_eq!(levels.above(1000), 4000 * 5);
        assert_eq!(levels.total(), 5000 * 5 + 1000 * 45 + 500 * 20);
    }
}
