//! Wholes divided into whole parts, so that nothing is lost and nothing is invented.

use std::cmp::Reverse;

/// Divides `whole` in proportion to `weights`: each part is rounded down, and what is missing goes to
/// the largest remainders, of equal ones to the first. Without any weight, `None`.
#[must_use]
pub fn divide(whole: i128, weights: &[u128]) -> Option<Vec<i128>> {
    let total = weights
        .iter()
        .try_fold(0_u128, |sum, w| sum.checked_add(*w))?;
    if total == 0 {
        return None;
    }
    let sign = whole.signum();
    let whole = whole.unsigned_abs();
    // Where the product is too large to count, weights lose their last bits first.
    let shift = (128 - whole.leading_zeros() + 128 - total.leading_zeros()).saturating_sub(127);
    let weights: Vec<u128> = weights.iter().map(|weight| weight >> shift).collect();
    let total = weights.iter().sum::<u128>().max(1);
    let exact: Vec<u128> = weights.iter().map(|weight| weight * whole).collect();
    let parts = round(
        &exact
            .iter()
            .map(|e| i128::try_from(*e).unwrap_or(i128::MAX))
            .collect::<Vec<_>>(),
        total,
        whole,
    );
    Some(parts.into_iter().map(|part| part * sign).collect())
}

/// Amounts in parts of a unit, `unit` to one, as whole units that are `whole` together. `whole` is
/// their sum in units, rounded either way.
#[must_use]
pub fn round(amounts: &[i128], unit: u128, whole: u128) -> Vec<i128> {
    let unit = i128::try_from(unit).unwrap_or(i128::MAX);
    let whole = i128::try_from(whole).unwrap_or(i128::MAX);
    let mut parts: Vec<i128> = amounts
        .iter()
        .map(|amount| amount.div_euclid(unit))
        .collect();
    let missing = whole - parts.iter().sum::<i128>();
    let mut order: Vec<usize> = (0..amounts.len()).collect();
    order.sort_by_key(|&index| Reverse(amounts[index].rem_euclid(unit)));
    // Less is missing than there are remainders above 0.
    for index in order
        .into_iter()
        .take(usize::try_from(missing).unwrap_or_default())
    {
        parts[index] += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_missing_goes_to_the_largest_remainders() {
        assert_eq!(divide(10, &[1, 1, 1]), Some(vec![4, 3, 3]));
        // 5 × 3/7 = 2.14 and 5 × 4/7 = 2.86.
        assert_eq!(divide(5, &[3, 4]), Some(vec![2, 3]));
        assert_eq!(divide(-5, &[3, 4]), Some(vec![-2, -3]));
        assert_eq!(divide(5, &[0, 0]), None);
        // −0.25 is −1 and three quarters; 1.5 is 1 and a half: the missing one goes to the former.
        assert_eq!(round(&[-1, 6], 4, 1), vec![0, 1]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(whole in -(1_i128 << 100)..1_i128 << 100, weights in prop::collection::vec(0_u128..1 << 90, 1..20)) {
            let parts = divide(whole, &weights);
            prop_assert_eq!(parts.is_none(), weights.iter().all(|w| *w == 0));
            if let Some(parts) = parts {
                prop_assert_eq!(parts.iter().sum::<i128>(), whole);
            }
        }
    }
}
