//! Whole things divided in given parts, without a rest: how a tenant's environments get their parts,
//! in a cluster and in a scenario.

use prorata_core::Resource;

/// An amount of a resource in parts by weight: whole GPUs of whole GPUs, mebibytes of mebibytes,
/// otherwise as finely as can be.
#[must_use]
pub fn parted(resource: Resource, amount: u64, weights: &[u32]) -> Vec<u64> {
    let coarse = match resource {
        Resource::Gpu => 1000,
        Resource::Memory | Resource::GpuMemory => 1 << 20,
        Resource::Cpu => 1,
    };
    let unit = if amount.is_multiple_of(coarse) {
        coarse
    } else {
        1
    };
    let units = split(amount / unit, weights);
    units.into_iter().map(|units| units * unit).collect()
}

/// Divides `total` in proportion to `weights` by the largest remainder (Hamilton's method): each
/// gets what it has a whole claim to, and what is left goes one by one to the largest remainders,
/// the earlier first where they are equal. The parts are `total` together, unless every weight is 0.
#[must_use]
pub fn split(total: u64, weights: &[u32]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let claims = weights.iter().map(|&w| u128::from(total) * u128::from(w));
    let mut parts: Vec<(u64, u128)> = claims
        .map(|claim| (whole(claim / sum), claim % sum))
        .collect();
    let given: u64 = parts.iter().map(|(part, _)| part).sum();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(parts[index].1));
    // Fewer are left than there are remainders above 0.
    let left = usize::try_from(total - given).unwrap_or(usize::MAX);
    for index in order.into_iter().take(left) {
        parts[index].0 += 1;
    }
    parts.into_iter().map(|(part, _)| part).collect()
}

/// A part is at most the whole, which was given in 64 bits.
fn whole(part: u128) -> u64 {
    u64::try_from(part).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_left_goes_to_the_largest_remainders() {
        // 2.1, 1.4 and 3.5 of 7.
        assert_eq!(split(7, &[30, 20, 50]), [2, 1, 4]);
        assert_eq!(split(1, &[1, 1, 1]), [1, 0, 0]);
        assert_eq!(split(10, &[30, 20, 50]), [3, 2, 5]);
        assert_eq!(split(8, &[0, 100]), [0, 8]);
        assert_eq!(split(8, &[0, 0]), [0, 0]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_invented(total in any::<u64>(), weights in prop::collection::vec(0u32..=1000, 1..9)) {
            let parts = split(total, &weights);
            let sum: u128 = parts.iter().map(|&part| u128::from(part)).sum();
            let weight: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
            prop_assert_eq!(sum, if weight == 0 { 0 } else { u128::from(total) });
            for (part, of) in parts.iter().zip(&weights) {
                // Nobody is further from its exact claim than by less than one.
                let (got, claim) = (u128::from(*part) * weight, u128::from(total) * u128::from(*of));
                prop_assert!(weight == 0 || got.abs_diff(claim) < weight);
            }
        }
    }
}
