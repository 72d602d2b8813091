//! Exact ratios: weights and shares. Nothing here rounds.

use core::cmp::Ordering;
use core::fmt;
use core::num::NonZeroU32;

/// A tenant's weight: a fraction. Twice the weight is entitled to twice the borrowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Weight {
    numerator: u32,
    denominator: NonZeroU32,
}

impl Weight {
    /// The weight that a tenant has when it names none.
    pub const ONE: Self = Self::new(1, NonZeroU32::MIN);

    /// The weight `numerator / denominator`. Zero is legal: such a tenant borrows last of all.
    #[must_use]
    pub const fn new(numerator: u32, denominator: NonZeroU32) -> Self {
        Self {
            numerator,
            denominator,
        }
    }

    /// The part above the line.
    #[must_use]
    pub const fn numerator(self) -> u32 {
        self.numerator
    }

    /// The part below the line.
    #[must_use]
    pub const fn denominator(self) -> u32 {
        self.denominator.get()
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

/// A non-negative ratio of integers, ordered by value.
#[derive(Clone, Copy, Debug)]
struct Ratio {
    numerator: u128,
    /// Never zero.
    denominator: u128,
}

impl Ord for Ratio {
    /// By cross-multiplication; where that would pass 128 bits, by comparing whole parts and
    /// then the reciprocals of what is left, as Euclid's algorithm does.
    fn cmp(&self, other: &Self) -> Ordering {
        let all = self.numerator | self.denominator | other.numerator | other.denominator;
        if all <= u128::from(u64::MAX) {
            let left = self.numerator * other.denominator;
            return left.cmp(&(other.numerator * self.denominator));
        }
        let left = self.numerator.checked_mul(other.denominator);
        let right = other.numerator.checked_mul(self.denominator);
        if let (Some(left), Some(right)) = (left, right) {
            return left.cmp(&right);
        }
        let whole = |r: &Self| r.numerator / r.denominator;
        whole(self).cmp(&whole(other)).then_with(|| {
            let rest = |r: &Self| r.numerator % r.denominator;
            match (rest(self), rest(other)) {
                (0, b) => 0.cmp(&b),
                (_, 0) => Ordering::Greater,
                (a, b) => Self::reciprocal(other, b).cmp(&Self::reciprocal(self, a)),
            }
        })
    }
}

impl Ratio {
    fn reciprocal(of: &Self, rest: u128) -> Self {
        Self {
            numerator: of.denominator,
            denominator: rest,
        }
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ratio {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ratio {}

/// A weighted dominant share: how far a tenant is above its guarantee, as a part of what could
/// be had, divided by its weight.
///
/// With weight 0 every share above nothing is infinite; infinite shares compare by the ratio
/// before it was divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    // The order of the fields is the order of comparison.
    infinite: bool,
    ratio: Ratio,
}

impl Share {
    /// The share of a tenant that borrows nothing.
    pub const ZERO: Self = Self {
        infinite: false,
        ratio: Ratio {
            numerator: 0,
            denominator: 1,
        },
    };

    /// `borrowed / potential ÷ weight`; zero when nothing is borrowed or `potential` is zero.
    #[must_use]
    pub fn new(borrowed: u64, potential: u64, weight: Weight) -> Self {
        if borrowed == 0 || potential == 0 {
            return Self::ZERO;
        }
        let infinite = weight.numerator == 0;
        let divisor = if infinite { 1 } else { weight.numerator };
        let factor = if infinite { 1 } else { weight.denominator() };
        Self {
            infinite,
            ratio: Ratio {
                numerator: u128::from(borrowed) * u128::from(factor),
                denominator: u128::from(potential) * u128::from(divisor),
            },
        }
    }

    /// The most that one of this weight can borrow so that its share stays below this one; too
    /// much rather than too little where numbers grow beyond 128 bits.
    pub(crate) fn most_below(&self, potential: u64, weight: Weight) -> u64 {
        if potential == 0 || self.infinite {
            return u64::MAX;
        }
        let Ratio {
            numerator,
            denominator,
        } = self.ratio;
        let above = numerator.checked_mul(u128::from(potential));
        let above = above.and_then(|n| n.checked_mul(u128::from(weight.numerator)));
        let below = denominator.checked_mul(u128::from(weight.denominator()));
        let most = above.zip(below).map(|(n, d)| n.div_ceil(d));
        most.map_or(u64::MAX, |most| {
            u64::try_from(most.saturating_sub(1)).unwrap_or(u64::MAX)
        })
    }

    /// The share in thousandths, rounded up, for people to read; `None` when it is infinite.
    #[must_use]
    pub fn per_mille(&self) -> Option<u128> {
        let Ratio {
            numerator,
            denominator,
        } = self.ratio;
        (!self.infinite).then(|| (numerator * 1000).div_ceil(denominator))
    }
}

impl fmt::Display for Share {
    /// Thousandths, or `∞`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.per_mille() {
            Some(per_mille) => write!(f, "{per_mille}"),
            None => f.write_str("∞"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weight(numerator: u32, denominator: u32) -> Weight {
        Weight::new(numerator, NonZeroU32::new(denominator).unwrap())
    }

    #[test]
    fn a_share_is_divided_by_the_weight() {
        let share = |w| Share::new(2, 10, w).per_mille();
        assert_eq!(share(weight(1, 1)), Some(200));
        assert_eq!(share(weight(2, 1)), Some(100));
        assert_eq!(share(weight(1, 2)), Some(400));
    }

    #[test]
    fn weight_zero_is_infinite_once_it_borrows() {
        let zero = weight(0, 1);
        assert_eq!(Share::new(0, 10, zero), Share::ZERO);
        assert!(Share::new(1, 10, zero) > Share::new(u64::MAX, 1, Weight::ONE));
        assert!(Share::new(1, 10, zero) < Share::new(2, 10, zero));
    }

    #[test]
    fn a_resource_that_nobody_has_is_ignored() {
        assert_eq!(Share::new(5, 0, Weight::ONE), Share::ZERO);
    }

    fn wide() -> impl Strategy<Value = Ratio> {
        (any::<u128>(), 1..u128::MAX).prop_map(|(numerator, denominator)| Ratio {
            numerator,
            denominator,
        })
    }

    proptest! {
        #[test]
        fn scaling_both_parts_changes_nothing(a in 0..u64::MAX, b in 1..u64::MAX, k in 1..u64::MAX) {
            let (a, b, k) = (u128::from(a), u128::from(b), u128::from(k));
            let scaled = Ratio { numerator: a * k, denominator: b * k };
            prop_assert_eq!(Ratio { numerator: a, denominator: b }.cmp(&scaled), Ordering::Equal);
        }

        #[test]
        fn order_is_total_beyond_128_bits(a in wide(), b in wide(), c in wide()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }

        #[test]
        fn both_ways_of_comparing_agree(a in 0..1_u128 << 60, b in 1..1_u128 << 60, c in 0..1_u128 << 60, d in 1..1_u128 << 60) {
            // Scaled by 2⁶⁷ the products no longer fit, so that the second way is taken.
            let small = Ratio { numerator: a, denominator: b }.cmp(&Ratio { numerator: c, denominator: d });
            let k = 1 << 67;
            let large = Ratio { numerator: a * k, denominator: b * k }.cmp(&Ratio { numerator: c * k, denominator: d * k });
            prop_assert_eq!(small, large);
        }
    }
}
