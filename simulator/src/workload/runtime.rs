//! How long jobs run.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand_distr::weighted::WeightedIndex;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

use super::generator::scaled;

/// Nothing runs for less.
const LEAST: Duration = Duration::from_millis(1);

/// How long jobs run.
#[derive(Clone, Debug, PartialEq)]
pub enum Runtime {
    /// All as long as this.
    Fixed(Duration),
    /// Lognormal: half of them longer than the median, a few very much longer.
    Lognormal {
        /// The median.
        median: Duration,
        /// The standard deviation of the logarithm.
        sigma: f64,
    },
    /// One of these, by their weights.
    Weighted(Arc<[(Duration, f64)]>),
    /// These quantiles, evenly apart from the shortest to the longest, and what lies between two
    /// of them in proportion.
    Quantiles(Arc<[Duration]>),
}

impl Runtime {
    pub(super) fn spans(&self, mut random: Pcg64) -> impl Iterator<Item = Duration> + '_ {
        let weights = match self {
            Self::Weighted(spans) => WeightedIndex::new(spans.iter().map(|(_, w)| *w)).ok(),
            _ => None,
        };
        std::iter::repeat_with(move || {
            let span = match self {
                Self::Fixed(span) => *span,
                Self::Lognormal { median, sigma } => {
                    let z: f64 = StandardNormal.sample(&mut random);
                    scaled(*median, (sigma * z).exp())
                }
                Self::Weighted(spans) => {
                    let index = weights.as_ref().map_or(0, |w| w.sample(&mut random));
                    spans.get(index).map_or(LEAST, |(span, _)| *span)
                }
                Self::Quantiles(spans) => between(spans, random.random()),
            };
            span.max(LEAST)
        })
    }
}

/// What stands at `position`, from 0 for the first to 1 for the last.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a file has fewer rows than a float has digits, and the position is not negative"
)]
fn between(spans: &[Duration], position: f64) -> Duration {
    let (Some(last), Some(longest)) = (spans.len().checked_sub(1), spans.last()) else {
        return LEAST;
    };
    let exact = position * last as f64;
    let below = exact.floor() as usize;
    match spans.get(below..below + 2) {
        Some([low, high]) => *low + scaled(high.saturating_sub(*low), exact.fract()),
        _ => *longest,
    }
}

#[cfg(test)]
mod tests {
    use super::super::generator::generator;
    use super::*;

    fn drawn(runtime: &Runtime) -> Vec<u64> {
        let spans = runtime.spans(generator(1, &["test"]));
        spans.take(1000).map(|span| span.as_secs()).collect()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn weights_say_how_often() {
        let spans = [
            (seconds(60), 1.0),
            (seconds(600), 0.0),
            (seconds(6000), 3.0),
        ];
        let drawn = drawn(&Runtime::Weighted(spans.into()));
        let count = |span| drawn.iter().filter(|d| **d == span).count();
        assert_eq!((count(60) + count(6000), count(600)), (1000, 0));
        assert!((200..300).contains(&count(60)), "{}", count(60));
    }

    #[test]
    fn quantiles_are_met_in_proportion() {
        let spans: Vec<_> = [0, 100, 200, 1000, 10_000].map(seconds).into();
        let drawn = drawn(&Runtime::Quantiles(spans.into()));
        let below = |span| drawn.iter().filter(|d| **d < span).count();
        assert!((200..300).contains(&below(100)), "{}", below(100));
        assert!((450..550).contains(&below(200)), "{}", below(200));
        // Half way between two quantiles lies half of what is between them.
        assert!((830..920).contains(&below(5500)), "{}", below(5500));
        assert_eq!(below(10_000), 1000);
    }

    #[test]
    fn one_quantile_is_all_there_is() {
        let one = Runtime::Quantiles([seconds(7)].into());
        assert!(drawn(&one).iter().all(|d| *d == 7));
        assert_eq!(between(&[seconds(1), seconds(3)], 0.5), seconds(2));
        assert_eq!(between(&[seconds(1), seconds(3)], 1.0), seconds(3));
    }
}
