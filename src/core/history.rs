//! What a tenant has used in the past, with older use counting less: half after each half-life,
//! as in Slurm's multifactor priority.

use core::time::Duration;

use crate::time::Time;

/// Use up to a moment, decayed to that moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Past {
    /// Milli-GPU-milliseconds.
    used: u128,
    at: Time,
}

/// Steps of one half-life.
const STEPS: u128 = 64;

/// 2^(−1/64), in units of 2⁻³².
const STEP: u128 = 4_248_701_965;

impl Past {
    pub(crate) const fn new(used: u128, at: Time) -> Self {
        Self { used, at }
    }

    /// The same at a later moment, until which `milli` milli-GPU were held throughout. Use is
    /// taken to lie at the middle of the time that has passed, which is exact for what is old
    /// and close for what is not.
    pub(crate) fn at(self, now: Time, half_life: Duration, milli: u64) -> Self {
        let passed = now.since(self.at);
        if passed.is_zero() {
            return self;
        }
        let steps = step(now, half_life) - step(self.at, half_life);
        let new = u128::from(milli) * passed.as_millis();
        Self {
            used: decayed(self.used, steps) + decayed(new, steps / 2),
            at: now,
        }
    }

    /// How much counts at a moment, with `milli` milli-GPU held since.
    pub(crate) fn counts(self, now: Time, half_life: Duration, milli: u64) -> u128 {
        self.at(now, half_life, milli).used
    }

    pub(crate) const fn parts(self) -> (u128, Time) {
        (self.used, self.at)
    }
}

/// The 64th of a half-life in which a moment lies. Steps are counted from the epoch, so that
/// looking often ages no slower than looking once.
fn step(at: Time, half_life: Duration) -> u128 {
    u128::from(at.as_millis()) * STEPS / half_life.as_millis().max(1)
}

/// What is left of `amount` after so many 64ths of a half-life.
fn decayed(amount: u128, steps: u128) -> u128 {
    let Ok(halves) = u32::try_from(steps / STEPS) else {
        return 0;
    };
    let halved = amount.checked_shr(halves).unwrap_or(0);
    let shrink = |left: u128| (left >> 32) * STEP + (((left & 0xffff_ffff) * STEP) >> 32);
    (0..steps % STEPS).fold(halved, |left, _| shrink(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn half_is_left_after_a_half_life() {
        let past = Past::new(1 << 60, Time::ZERO);
        let left = |hours: u32| past.counts(Time::ZERO + HOUR * hours, HOUR, 0);
        assert_eq!((left(1), left(10)), (1 << 59, 1 << 50));
        assert_eq!(left(200), 0);
        let quarter = past.counts(Time::ZERO + HOUR / 2, HOUR, 0);
        let exact = (1_u128 << 60) * 7071 / 10_000;
        assert!(quarter.abs_diff(exact) < exact / 1000);
    }

    #[test]
    fn steady_use_settles() {
        let mut past = Past::default();
        for minute in 1..=6000 {
            past = past.at(Time::ZERO + Duration::from_secs(60) * minute, HOUR, 1000);
        }
        // The integral of 2^(−t) is 1/ln 2.
        let exact = 1000 * 3_600_000 * 14_427 / 10_000;
        assert!(past.used.abs_diff(exact) < exact / 50, "{}", past.used);
    }
}
