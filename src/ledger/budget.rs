//! Whether a tenant stays within its budget: what it spent, what it will come to, and what is to be
//! said now. Pure; who keeps what has been said, and tells people, is elsewhere.

use std::collections::BTreeSet;
use std::fmt;

use crate::period::{DAY, Period};

/// Before this nothing is forecast: a few busy hours say little about a month.
const FORECAST_AFTER_MS: u64 = 3 * DAY;

/// What is told, once each in a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Threshold {
    /// 80 % are spent.
    Eighty,
    /// 90 % are spent.
    Ninety,
    /// All of it is spent.
    Spent,
    /// All of it will be spent before the month ends, if it goes on like this.
    Forecast,
}

impl Threshold {
    /// All of them, the mildest first.
    pub const ALL: [Self; 4] = [Self::Forecast, Self::Eighty, Self::Ninety, Self::Spent];

    /// By which it is kept: `80`, `90`, `100`, `forecast`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eighty => "80",
            Self::Ninety => "90",
            Self::Spent => "100",
            Self::Forecast => "forecast",
        }
    }

    /// The one of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|threshold| threshold.name() == name)
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forecast => f.write_str("will be spent before the month ends"),
            spent => write!(f, "{} % are spent", spent.name()),
        }
    }
}

/// How a budget stands. Amounts are in millionths of its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What may be spent in the month.
    pub budget_micros: u64,
    /// What has been spent.
    pub spent_micros: i128,
    /// What the month will come to if it goes on as it did so far; `None` in its first three days.
    pub forecast_micros: Option<i128>,
}

impl Standing {
    /// How a month's budget stands at a moment, with what was spent until then. A month that is over
    /// comes to what was spent.
    #[must_use]
    pub fn of(budget_micros: u64, spent_micros: i128, month: Period, now_ms: u64) -> Self {
        let forecast_micros = forecast(spent_micros, month, now_ms);
        Self {
            budget_micros,
            spent_micros,
            forecast_micros,
        }
    }

    /// How much of it is spent, in whole percent, rounded down; `None` of a budget of nothing.
    #[must_use]
    pub fn percent(&self) -> Option<i128> {
        percent(self.spent_micros, self.budget_micros)
    }

    /// The same of what the month will come to.
    #[must_use]
    pub fn forecast_percent(&self) -> Option<i128> {
        percent(self.forecast_micros?, self.budget_micros)
    }

    /// Which thresholds are reached.
    #[must_use]
    pub fn reached(&self) -> BTreeSet<Threshold> {
        let reaches = |micros: i128, percent: i128| {
            micros > 0 && micros.saturating_mul(100) >= i128::from(self.budget_micros) * percent
        };
        let is_reached = |threshold: &Threshold| match threshold {
            Threshold::Eighty => reaches(self.spent_micros, 80),
            Threshold::Ninety => reaches(self.spent_micros, 90),
            Threshold::Spent => reaches(self.spent_micros, 100),
            Threshold::Forecast => self
                .forecast_micros
                .is_some_and(|micros| reaches(micros, 100)),
        };
        Threshold::ALL.into_iter().filter(is_reached).collect()
    }

    /// What is to be told now, where that much has been told in this month already: each threshold
    /// once, and of those that are reached at the same time only the highest, because it says it all.
    #[must_use]
    pub fn to_tell(&self, told: &BTreeSet<Threshold>) -> Option<Threshold> {
        let rank = |threshold: &Threshold| Threshold::ALL.iter().position(|one| one == threshold);
        let highest = self.reached().into_iter().max_by_key(rank)?;
        let is_new = told.iter().all(|told| rank(told) < rank(&highest));
        is_new.then_some(highest)
    }
}

/// What a period will come to by its run-rate so far; `None` in its first three days.
#[must_use]
pub fn forecast(spent_micros: i128, period: Period, now_ms: u64) -> Option<i128> {
    let past = now_ms.min(period.until_ms).saturating_sub(period.from_ms);
    if past < FORECAST_AFTER_MS.min(period.length_ms()) || past == 0 {
        return None;
    }
    let (past, all) = (i128::from(past), i128::from(period.length_ms()));
    Some((spent_micros.checked_mul(all)? + past / 2) / past)
}

fn percent(micros: i128, of: u64) -> Option<i128> {
    (of > 0).then(|| micros.saturating_mul(100) / i128::from(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: i128 = 1_000_000;

    fn standing(spent: i128, day: u64) -> Standing {
        let month = Period::month("2026-11").unwrap();
        Standing::of(
            3_000_000_000,
            spent * UNIT,
            month,
            month.from_ms + day * DAY,
        )
    }

    #[test]
    fn the_forecast_is_the_run_rate_after_three_days() {
        assert_eq!(standing(299, 2).forecast_micros, None);
        // 300 in 3 of 30 days.
        assert_eq!(standing(300, 3).forecast_micros, Some(3_000 * UNIT));
        assert_eq!(standing(300, 3).forecast_percent(), Some(100));
        assert_eq!(standing(1_000, 40).forecast_micros, Some(1_000 * UNIT));
        assert_eq!(standing(1_000, 10).percent(), Some(33));
    }

    #[test]
    fn each_threshold_is_told_once() {
        let told = |thresholds: &[Threshold]| thresholds.iter().copied().collect();
        assert_eq!(standing(299, 3).to_tell(&told(&[])), None);
        let rising = standing(300, 3);
        assert_eq!(rising.to_tell(&told(&[])), Some(Threshold::Forecast));
        assert_eq!(rising.to_tell(&told(&[Threshold::Forecast])), None);
        let high = standing(2_399, 20).reached();
        assert_eq!(high, [Threshold::Forecast].into());
        let eighty = standing(2_400, 20);
        assert_eq!(
            eighty.to_tell(&told(&[Threshold::Forecast])),
            Some(Threshold::Eighty)
        );
        assert_eq!(eighty.to_tell(&told(&[Threshold::Eighty])), None);
        // What was higher before is not told again when a correction lowers it.
        assert_eq!(eighty.to_tell(&told(&[Threshold::Ninety])), None);
        assert_eq!(
            standing(3_000, 29).to_tell(&told(&[Threshold::Eighty])),
            Some(Threshold::Spent)
        );
        assert_eq!(Threshold::named("100"), Some(Threshold::Spent));
    }

    #[test]
    fn a_budget_of_nothing_is_spent_with_the_first_millionth() {
        let month = Period::month("2026-11").unwrap();
        assert_eq!(
            Standing::of(0, 0, month, month.from_ms).reached(),
            [].into()
        );
        let spent = Standing::of(0, 1, month, month.from_ms);
        assert!(spent.reached().contains(&Threshold::Spent) && spent.percent().is_none());
    }
}
