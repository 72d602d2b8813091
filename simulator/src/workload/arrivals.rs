//! When jobs arrive.

use std::f64::consts::TAU;
use std::time::Duration;

use prorata_core::Time;
use rand::RngExt as _;
use rand_distr::{Distribution, Exp1};
use rand_pcg::Pcg64;

use super::generator::scaled;

const DAY: f64 = 86_400.0;

/// Past this, in seconds, nothing arrives any more: ten years.
const END: f64 = 3650.0 * DAY;

/// When jobs arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// All at this time.
    At(Duration),
    /// The first at `from`, then one every `gap`.
    Every {
        /// When the first arrives.
        from: Duration,
        /// The time between two.
        gap: Duration,
    },
    /// Independently of each other, also the first.
    Poisson {
        /// When it begins.
        from: Duration,
        /// How many to expect, and when.
        rate: Rate,
    },
}

/// How many independent arrivals to expect at which time. Time zero is a Monday at 0:00.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// The mean time between two, over a working day without growth.
    pub mean: Duration,
    /// When most arrive, in hours after midnight.
    pub peak: f64,
    /// How many times as many arrive then as twelve hours later; 1: as many. Between the two it
    /// follows a sine.
    pub ratio: f64,
    /// The same on Saturdays and Sundays, times this.
    pub weekend: f64,
    /// After 30 days, this many times as many; compound.
    pub growth: f64,
}

impl Rate {
    /// As many at any time.
    #[must_use]
    pub const fn steady(mean: Duration) -> Self {
        Self {
            mean,
            peak: 0.0,
            ratio: 1.0,
            weekend: 1.0,
            growth: 1.0,
        }
    }

    fn is_steady(&self) -> bool {
        *self == Self::steady(self.mean)
            || self.ratio <= 1.0 && self.weekend == 1.0 && self.growth == 1.0
    }

    /// How many times the mean arrive at this second.
    fn at(&self, second: f64) -> f64 {
        let day = (second / DAY).floor();
        let hour = (second - day * DAY) / 3600.0;
        let wave = self.swing() * (TAU * (hour - self.peak) / 24.0).cos();
        let weekend = if day % 7.0 >= 5.0 { self.weekend } else { 1.0 };
        (1.0 + wave) * weekend * self.grown(second)
    }

    /// No less than at any second of that day.
    fn most(&self, day: f64) -> f64 {
        let grown = self.grown(day * DAY).max(self.grown((day + 1.0) * DAY));
        (1.0 + self.swing()) * self.weekend.max(1.0) * grown
    }

    fn swing(&self) -> f64 {
        (self.ratio - 1.0) / (self.ratio + 1.0)
    }

    fn grown(&self, second: f64) -> f64 {
        self.growth.powf(second / (30.0 * DAY))
    }
}

impl Arrivals {
    /// The times of arrival, in order. They end only where nothing arrives for years.
    pub(super) fn times(self, mut random: Pcg64) -> Box<dyn Iterator<Item = Time>> {
        match self {
            Self::At(at) => Box::new(std::iter::repeat(Time::ZERO + at)),
            Self::Every { from, gap } => {
                let at = move |number| Time::ZERO + from + gap.saturating_mul(number);
                Box::new((0_u32..).map(at))
            }
            Self::Poisson { from, rate } if rate.is_steady() => {
                let mut before = Duration::ZERO;
                Box::new(std::iter::repeat_with(move || {
                    let gap: f64 = Exp1.sample(&mut random);
                    before += scaled(rate.mean, gap);
                    Time::ZERO + from + before
                }))
            }
            Self::Poisson { from, rate } => Box::new(thinned(from, rate, random)),
        }
    }
}

/// Arrivals at a rate that changes (Lewis and Shedler, 1979): they are drawn at the day's highest
/// rate, and each is kept with the probability that its moment's rate has of that.
fn thinned(from: Duration, rate: Rate, mut random: Pcg64) -> impl Iterator<Item = Time> {
    let mean = rate.mean.as_secs_f64();
    let mut now = from.as_secs_f64();
    std::iter::from_fn(move || {
        while now < END {
            let day = (now / DAY).floor();
            let most = rate.most(day);
            let gap: f64 = Exp1.sample(&mut random);
            let next = now + gap * mean / most;
            // Nothing is remembered of a gap, so that the next day can begin with one of its own.
            if next >= (day + 1.0) * DAY {
                now = (day + 1.0) * DAY;
                continue;
            }
            now = next;
            if random.random::<f64>() * most < rate.at(now) {
                return Some(Time::ZERO + scaled(Duration::from_secs(1), now));
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::super::generator::generator;
    use super::*;

    const HOUR: u64 = 3600;

    /// Seconds at which jobs arrive in the course of 70 days, one every five minutes on average.
    fn arrivals(rate: Rate) -> Vec<u64> {
        let from = Duration::ZERO;
        let times = Arrivals::Poisson { from, rate }.times(generator(3, &["test"]));
        let seconds = times.map(|time| time.as_millis() / 1000);
        seconds.take_while(|s| *s < 70 * 24 * HOUR).collect()
    }

    fn rate() -> Rate {
        Rate::steady(Duration::from_secs(300))
    }

    fn count(arrivals: &[u64], within: impl Fn(u64) -> bool) -> f64 {
        f64::from(u32::try_from(arrivals.iter().filter(|s| within(**s)).count()).unwrap())
    }

    fn near(value: f64, expected: f64) {
        assert!((value / expected - 1.0).abs() < 0.1, "{value} {expected}");
    }

    #[test]
    fn a_day_has_its_peak_and_its_trough() {
        let arrivals = arrivals(Rate {
            peak: 14.0,
            ratio: 4.0,
            ..rate()
        });
        near(count(&arrivals, |_| true), 70.0 * 288.0);
        let about = |hour: u64| count(&arrivals, |s| (s / HOUR + 25 - hour) % 24 < 2);
        // Over the two hours around them, the cosine is 0.989 on average.
        near(about(14), 70.0 * 24.0 * (1.0 + 0.6 * 0.989));
        near(about(2), 70.0 * 24.0 * (1.0 - 0.6 * 0.989));
    }

    #[test]
    fn weekends_are_days_five_and_six() {
        let arrivals = arrivals(Rate {
            weekend: 0.25,
            ..rate()
        });
        let weekend = |s: u64| s / (24 * HOUR) % 7 >= 5;
        near(count(&arrivals, weekend), 20.0 * 288.0 * 0.25);
        near(count(&arrivals, |s| !weekend(s)), 50.0 * 288.0);
    }

    #[test]
    fn growth_is_compound() {
        let arrivals = arrivals(Rate {
            growth: 1.5,
            ..rate()
        });
        let week = |number: u64| count(&arrivals, |s| s / (7 * 24 * HOUR) == number);
        near(week(0), 7.0 * 288.0 * 1.5_f64.powf(3.5 / 30.0));
        near(week(9), 7.0 * 288.0 * 1.5_f64.powf(66.5 / 30.0));
        let shrinking = self::arrivals(Rate {
            growth: 0.5,
            ..rate()
        });
        let last = count(&shrinking, |s| s / (7 * 24 * HOUR) == 9);
        near(last, 7.0 * 288.0 * 0.5_f64.powf(66.5 / 30.0));
    }

    #[test]
    fn without_changes_nothing_is_thinned() {
        let same = Rate {
            peak: 9.0,
            ..rate()
        };
        assert_eq!(arrivals(same), arrivals(rate()));
    }

    #[test]
    fn what_shrinks_to_nothing_ends() {
        let rate = Rate {
            growth: 0.01,
            ..rate()
        };
        let times = Arrivals::Poisson {
            from: Duration::ZERO,
            rate,
        };
        let count = times.times(generator(3, &["test"])).count();
        assert!((1500..2200).contains(&count), "{count}");
    }
}
