//! How sure a mean over seeds is.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

/// How often the true mean lies inside the interval of an [`Estimate`].
pub const CONFIDENCE: f64 = 0.95;

/// A mean with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Of how many numbers.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// The lower end: mean − t·s/√n, with Student's t of n − 1 degrees of freedom and the
    /// sample's standard deviation s.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Estimate {
    /// Of independent numbers; `None` of fewer than two, which tell nothing about their spread.
    /// If one of them is infinite, so is the mean, and nothing is known about where it lies.
    #[must_use]
    pub fn of(numbers: &[f64]) -> Option<Self> {
        let count = numbers.len();
        if count < 2 {
            return None;
        }
        let n = float(count);
        let mean = numbers.iter().sum::<f64>() / n;
        if !mean.is_finite() {
            return Some(Self {
                count,
                mean,
                low: f64::NEG_INFINITY,
                high: f64::INFINITY,
            });
        }
        let squares: f64 = numbers.iter().map(|x| (x - mean) * (x - mean)).sum();
        let error = (squares / (n - 1.0) / n).sqrt();
        let margin = t_quantile(CONFIDENCE, count - 1) * error;
        Some(Self {
            count,
            mean,
            low: mean - margin,
            high: mean + margin,
        })
    }
}

/// The t that Student's variable of so many degrees of freedom keeps within, on either side of
/// zero, with probability `p`.
///
/// # Panics
/// Without a degree of freedom.
#[must_use]
pub fn t_quantile(p: f64, freedom: usize) -> f64 {
    assert!(freedom > 0, "one number alone has no spread");
    // By the angle θ = atan(t / √freedom), which is bounded where t is not.
    let (mut low, mut high) = (0.0, FRAC_PI_2);
    for _ in 0..f64::MANTISSA_DIGITS {
        let middle = f64::midpoint(low, high);
        match within(middle, freedom) < p {
            true => low = middle,
            false => high = middle,
        }
    }
    float(freedom).sqrt() * high.tan()
}

/// The probability to be within the angle `theta`: the finite series for whole degrees of freedom
/// (Abramowitz and Stegun, 26.7.3 and 26.7.4).
fn within(theta: f64, freedom: usize) -> f64 {
    let (sin, cos) = theta.sin_cos();
    let is_odd = !freedom.is_multiple_of(2);
    let mut term = if is_odd { cos } else { 1.0 };
    let mut sum = 0.0;
    // Each term from the one before: ·2/3, ·4/5, … or ·1/2, ·3/4, …, with two more cosines.
    for k in (if is_odd { 3 } else { 2 }..=freedom).step_by(2) {
        sum += term;
        term *= cos * cos * float(k - 1) / float(k);
    }
    match is_odd {
        true => FRAC_2_PI * (theta + sin * sum),
        false => sin * sum,
    }
}

/// A count as a float: exact below 2⁵³.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "measures are not decisions")]
pub const fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        let known = [
            (0.95, 1, 12.706_204_736),
            (0.95, 2, 4.302_652_730),
            (0.95, 3, 3.182_446_305),
            (0.95, 4, 2.776_445_105),
            (0.95, 9, 2.262_157_163),
            (0.95, 19, 2.093_024_054),
            (0.95, 99, 1.984_216_952),
            (0.95, 10_000, 1.960_201_240),
            (0.99, 4, 4.604_094_871),
            (0.90, 30, 1.697_260_887),
            (0.50, 1, 1.0),
        ];
        for (p, freedom, t) in known {
            let found = t_quantile(p, freedom);
            assert!((found - t).abs() < 1e-8, "{p} {freedom}: {found}");
        }
    }

    #[test]
    fn the_interval_of_a_known_sample() {
        // Mean 3, s² = 2.5, s/√5 = 0.70711, t = 2.77645: ± 1.96324.
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!((estimate.count, estimate.mean), (5, 3.0));
        assert!((estimate.low - 1.036_757).abs() < 1e-5, "{estimate:?}");
        assert!((estimate.high - 4.963_243).abs() < 1e-5, "{estimate:?}");
        let sure = Estimate::of(&[7.0, 7.0]).unwrap();
        assert_eq!((sure.low, sure.high), (7.0, 7.0));
    }

    #[test]
    fn one_number_tells_nothing_and_infinity_little() {
        assert_eq!(Estimate::of(&[1.0]), None);
        let never = Estimate::of(&[1.0, f64::INFINITY]).unwrap();
        assert!(never.mean.is_infinite() && never.low == f64::NEG_INFINITY);
    }
}
