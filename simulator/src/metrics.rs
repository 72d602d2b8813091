//! Measures with exact definitions, on plain numbers.

/// Mean and percentiles of some numbers.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Distribution {
    /// How many there are.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Half of them are at most about this: [`percentile`] 50.
    pub p50: u64,
    /// [`percentile`] 95.
    pub p95: u64,
    /// [`percentile`] 99.
    pub p99: u64,
    /// The greatest.
    pub max: u64,
}

/// A tenant's claim to a divisible amount.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// Its own, before anything is shared.
    pub guaranteed: f64,
    /// How what is left is shared.
    pub weight: f64,
    /// What it could use; it gets no more.
    pub demand: f64,
}

impl Distribution {
    /// Of these numbers; `None` of none.
    #[must_use]
    pub fn of(numbers: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut sorted: Vec<u64> = numbers.into_iter().collect();
        sorted.sort_unstable();
        let max = *sorted.last()?;
        let sum: u128 = sorted.iter().map(|n| u128::from(*n)).sum();
        Some(Self {
            count: sorted.len(),
            mean: rounded(float(sum) / float(sorted.len() as u128)),
            p50: percentile(&sorted, 50),
            p95: percentile(&sorted, 95),
            p99: percentile(&sorted, 99),
            max,
        })
    }
}

/// `sorted[⌊p/100 · n⌋]`, without interpolation; the last for p = 100.
///
/// # Panics
/// Of no numbers.
#[must_use]
pub fn percentile(sorted: &[u64], p: usize) -> u64 {
    let index = sorted.len() * p / 100;
    sorted[index.min(sorted.len() - 1)]
}

/// What each claimant is entitled to: first its guarantee, then by weight from what is left;
/// never more than its demand. What one does not want, the others share.
///
/// When the guarantees in demand exceed the capacity, each gets of it by its guarantee.
#[must_use]
pub fn entitlements(capacity: f64, claims: &[Claim]) -> Vec<f64> {
    let owned = claims
        .iter()
        .map(|c| (c.guaranteed, c.guaranteed.min(c.demand)));
    let own = water_fill(capacity, &owned.collect::<Vec<_>>());
    let rest = (capacity - own.iter().sum::<f64>()).max(0.0);
    let wanting = claims
        .iter()
        .zip(&own)
        .map(|(c, own)| (c.weight, (c.demand - own).max(0.0)));
    let shared = water_fill(rest, &wanting.collect::<Vec<_>>());
    own.iter()
        .zip(&shared)
        .map(|(own, shared)| own + shared)
        .collect()
}

/// Weighted max-min fairness: fills vessels, as wide as their weight, to one level, each up to
/// its cap. Takes `(weight, cap)`; a vessel without width stays empty.
#[must_use]
pub fn water_fill(amount: f64, vessels: &[(f64, f64)]) -> Vec<f64> {
    let mut by_level: Vec<usize> = (0..vessels.len()).filter(|i| vessels[*i].0 > 0.0).collect();
    let level = |i: &usize| vessels[*i].1 / vessels[*i].0;
    by_level.sort_by(|a, b| level(a).total_cmp(&level(b)));
    let mut width: f64 = by_level.iter().map(|i| vessels[*i].0).sum();
    let mut left = amount;
    let mut filled = vec![0.0; vessels.len()];
    // The vessel that is full at the lowest level comes first; what it leaves is for the others.
    for i in by_level {
        let (weight, cap) = vessels[i];
        filled[i] = cap.min(left * weight / width).max(0.0);
        left -= filled[i];
        width -= weight;
    }
    filled
}

/// Jain's index: 1 when all are equal, 1/n when one has everything. `None` of fewer than two.
#[must_use]
pub fn jain(numbers: &[f64]) -> Option<f64> {
    let sum: f64 = numbers.iter().sum();
    let squares: f64 = numbers.iter().map(|x| x * x).sum();
    match numbers.len() {
        0 | 1 => None,
        // All have nothing: equal.
        _ if squares == 0.0 => Some(1.0),
        n => Some(sum * sum / (float(n as u128) * squares)),
    }
}

/// To four decimals, so that files are read and compared easily.
#[must_use]
pub fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

/// An integer as a float: exact below 2⁵³, far beyond what a simulation counts.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "measures are not decisions")]
pub const fn float(number: u128) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(guaranteed: f64, weight: f64, demand: f64) -> Claim {
        Claim {
            guaranteed,
            weight,
            demand,
        }
    }

    #[test]
    fn percentiles_are_members_by_the_floor_of_their_rank() {
        let sorted: Vec<u64> = (0..200).collect();
        assert_eq!(
            [50, 95, 99, 100].map(|p| percentile(&sorted, p)),
            [100, 190, 198, 199]
        );
        assert_eq!(percentile(&[7], 99), 7);
        let of = Distribution::of([4, 1, 1]).unwrap();
        assert_eq!(
            (of.count, of.mean, of.p50, of.p99, of.max),
            (3, 2.0, 1, 4, 4)
        );
        assert_eq!(Distribution::of([]), None);
    }

    #[test]
    fn the_water_finds_one_level() {
        // The case demand-capped of the fairness cases.
        let filled = water_fill(100.0, &[(1.0, 1.0), (1.0, 40.0), (1.0, 1000.0)]);
        assert_eq!(filled, [1.0, 40.0, 59.0]);
        assert_eq!(
            water_fill(90.0, &[(2.0, 100.0), (1.0, 100.0)]),
            [60.0, 30.0]
        );
        assert_eq!(water_fill(90.0, &[(0.0, 100.0), (1.0, 10.0)]), [0.0, 10.0]);
        assert_eq!(water_fill(90.0, &[]), Vec::<f64>::new());
    }

    #[test]
    fn guarantees_come_before_weights() {
        // A owns 30 and wants all, B owns 50 and wants 10: 60 are left for A and C, 30 each.
        let claims = [
            claim(30.0, 1.0, 100.0),
            claim(50.0, 1.0, 10.0),
            claim(0.0, 1.0, 100.0),
        ];
        assert_eq!(entitlements(100.0, &claims), [60.0, 10.0, 30.0]);
        let twice = [claim(60.0, 1.0, 100.0), claim(60.0, 1.0, 100.0)];
        assert_eq!(entitlements(60.0, &twice), [30.0, 30.0]);
    }

    #[test]
    fn jain_tells_equal_from_unequal() {
        assert_eq!(jain(&[1.0, 1.0, 1.0, 1.0]), Some(1.0));
        assert_eq!(jain(&[1.0, 0.0, 0.0, 0.0]), Some(0.25));
        assert_eq!(jain(&[1.0, 2.0]), Some(0.9));
        assert_eq!(jain(&[0.0, 0.0]), Some(1.0));
        assert_eq!(jain(&[3.0]), None);
    }

    proptest! {
        #[test]
        fn entitlements_give_out_all_that_is_wanted_and_no_more(
            capacity in 0_u32..200,
            claims in proptest::collection::vec((0_u32..100, 1_u32..10, 0_u32..100), 1..8),
        ) {
            let capacity = f64::from(capacity);
            let claim = |&(g, w, d): &(u32, u32, u32)| claim(g.into(), w.into(), d.into());
            let claims: Vec<Claim> = claims.iter().map(claim).collect();
            let entitled = entitlements(capacity, &claims);
            let wanted: f64 = claims.iter().map(|c| c.demand).sum();
            let given: f64 = entitled.iter().sum();
            prop_assert!((given - wanted.min(capacity)).abs() < 1e-6);
            for (claim, entitled) in claims.iter().zip(&entitled) {
                prop_assert!(*entitled <= claim.demand + 1e-9);
            }
            if claims.iter().map(|c| c.guaranteed).sum::<f64>() <= capacity {
                for (claim, entitled) in claims.iter().zip(&entitled) {
                    prop_assert!(*entitled >= claim.guaranteed.min(claim.demand) - 1e-9);
                }
            }
        }
    }
}
