//! Amounts as people write them, `250m`, `1.5`, `64Gi`, `1/2`, read into exact integers.

use std::num::NonZeroU32;

use prorata_core::{Resource, Resources, Weight};

/// Why an amount or a weight could not be read. The text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number with a known suffix.
    #[error("`{0}` is not an amount; write a number such as 2, 0.5, 500m or 64Gi")]
    Malformed(String),
    /// Finer than a thousandth, or than a byte.
    #[error("`{text}` is finer than {unit}, the smallest amount of {resource} there is")]
    TooFine {
        /// What was written.
        text: String,
        /// The resource that it was written for.
        resource: Resource,
        /// The smallest amount.
        unit: &'static str,
    },
    /// Above [`Resources::MAX_AMOUNT`].
    #[error("`{0}` is more than any node can have")]
    TooLarge(String),
    /// Not a weight.
    #[error("`{0}` is not a weight; write a whole number or a fraction such as 2, 1/2 or 0.5")]
    Weight(String),
}

/// Suffixes with the power of ten or of two that they stand for, longest first.
const SUFFIXES: [(&str, u128, u128); 15] = [
    ("Ki", 1 << 10, 1),
    ("Mi", 1 << 20, 1),
    ("Gi", 1 << 30, 1),
    ("Ti", 1 << 40, 1),
    ("Pi", 1 << 50, 1),
    ("Ei", 1 << 60, 1),
    ("n", 1, 1_000_000_000),
    ("u", 1, 1_000_000),
    ("m", 1, 1000),
    ("k", 1_000, 1),
    ("M", 1_000_000, 1),
    ("G", 1_000_000_000, 1),
    ("T", 1_000_000_000_000, 1),
    ("P", 1_000_000_000_000_000, 1),
    ("E", 1_000_000_000_000_000_000, 1),
];

/// Reads a Kubernetes quantity as an amount of `resource`, in the core's units
/// (thousandths of a GPU or core, bytes).
///
/// # Errors
/// When the text is no quantity, is finer than the unit, or is more than
/// [`Resources::MAX_AMOUNT`].
pub fn parse(resource: Resource, text: &str) -> Result<u64, QuantityError> {
    let (numerator, denominator) = ratio(resource, text)?;
    if numerator % denominator != 0 {
        return Err(QuantityError::TooFine {
            text: text.to_owned(),
            resource,
            unit: if resource.scale() == 1 {
                "a byte"
            } else {
                "a thousandth"
            },
        });
    }
    bounded(numerator / denominator, text)
}

/// The same, rounding up what is finer than the unit, as Kubernetes does with requests.
///
/// # Errors
/// When the text is no quantity, or is more than [`Resources::MAX_AMOUNT`].
pub fn parse_up(resource: Resource, text: &str) -> Result<u64, QuantityError> {
    let (numerator, denominator) = ratio(resource, text)?;
    bounded(numerator.div_ceil(denominator), text)
}

/// The amount in units of the core, as a fraction.
fn ratio(resource: Resource, text: &str) -> Result<(u128, u128), QuantityError> {
    let (number, multiplier, divisor) = SUFFIXES
        .iter()
        .find_map(|(suffix, by, over)| Some((text.strip_suffix(suffix)?, *by, *over)))
        .unwrap_or((text, 1, 1));
    let malformed = || QuantityError::Malformed(text.to_owned());
    let (number, power) = exponent(number).ok_or_else(malformed)?;
    let number = number.strip_prefix('+').unwrap_or(number);
    let (digits, decimals) = decimal(number).ok_or_else(malformed)?;
    let scaled = |n: u128| {
        n.checked_mul(multiplier)?
            .checked_mul(u128::from(resource.scale()))?
            .checked_mul(10_u128.pow(power.max(0).unsigned_abs()))
    };
    let numerator = scaled(digits).ok_or_else(|| QuantityError::TooLarge(text.to_owned()))?;
    Ok((
        numerator,
        decimals * divisor * 10_u128.pow(power.min(0).unsigned_abs()),
    ))
}

/// `1e3` as 1 and 3. At most 9 either way, so that all that is multiplied stays in range.
fn exponent(number: &str) -> Option<(&str, i32)> {
    match number.split_once(['e', 'E']) {
        None => Some((number, 0)),
        Some((number, power)) => {
            let power = power.parse().ok().filter(|p| (-9..=9).contains(p))?;
            Some((number, power))
        }
    }
}

fn bounded(amount: u128, text: &str) -> Result<u64, QuantityError> {
    u64::try_from(amount)
        .ok()
        .filter(|amount| *amount <= Resources::MAX_AMOUNT)
        .ok_or_else(|| QuantityError::TooLarge(text.to_owned()))
}

/// Reads a weight: `2`, `1/2` or `0.5`.
///
/// # Errors
/// When the text is none of these, or a part does not fit into 32 bits.
pub fn parse_weight(text: &str) -> Result<Weight, QuantityError> {
    fraction(text).ok_or_else(|| QuantityError::Weight(text.to_owned()))
}

fn fraction(text: &str) -> Option<Weight> {
    let (numerator, denominator) = match text.split_once('/') {
        Some((above, below)) => (above.parse().ok()?, below.parse().ok()?),
        None => {
            let (digits, decimals) = decimal(text)?;
            (u32::try_from(digits).ok()?, u32::try_from(decimals).ok()?)
        }
    };
    Some(Weight::new(numerator, NonZeroU32::new(denominator)?))
}

/// `12.50` as 1250 over 100. At most 18 decimals.
fn decimal(text: &str) -> Option<(u128, u128)> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = [whole, rest].concat();
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let power = u32::try_from(rest.len()).ok().filter(|p| *p <= 18)?;
    all_digits.then(|| Some((digits.parse().ok()?, 10_u128.pow(power))))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kubernetes_reads() {
        let gpu = |text| parse(Resource::Gpu, text);
        assert_eq!(gpu("2"), Ok(2000));
        assert_eq!(gpu("0.5"), Ok(500));
        assert_eq!(gpu("250m"), Ok(250));
        assert_eq!(parse(Resource::Cpu, "1.5"), Ok(1500));
        assert_eq!(parse(Resource::Memory, "64Gi"), Ok(64 << 30));
        assert_eq!(parse(Resource::Memory, "1.5Ki"), Ok(1536));
        assert_eq!(parse(Resource::Memory, "2k"), Ok(2000));
        assert_eq!(parse(Resource::Memory, "1e9"), Ok(1_000_000_000));
        assert_eq!(parse(Resource::Cpu, "+15E-1"), Ok(1500));
        assert_eq!(parse_up(Resource::Cpu, "100u"), Ok(1));
        assert_eq!(parse_up(Resource::Cpu, "5n"), Ok(1));
        assert!(parse(Resource::Cpu, "1e10").is_err());
    }

    #[test]
    fn refuses_with_the_reason() {
        let error = |r, text| parse(r, text).unwrap_err().to_string();
        assert_eq!(
            error(Resource::Gpu, "0.0005"),
            "`0.0005` is finer than a thousandth, the smallest amount of gpu there is"
        );
        assert!(error(Resource::Gpu, "-1").contains("is not an amount"));
        assert!(error(Resource::Gpu, "").contains("is not an amount"));
        assert!(error(Resource::Gpu, ".").contains("is not an amount"));
        assert!(error(Resource::Memory, "1Ei").contains("more than any node"));
        assert!(error(Resource::Memory, "99999999999999999999999999Ei").contains("more than any"));
    }

    #[test]
    fn reads_weights_as_fractions() {
        let same = |a, b| {
            let share = |text| prorata_core::Share::new(1, 7, parse_weight(text).unwrap());
            share(a) == share(b)
        };
        assert!(same("1/2", "0.5"));
        assert!(same("2", "4/2"));
        assert!(parse_weight("1/0").is_err());
        assert!(parse_weight("half").is_err());
        assert!(parse_weight("-1").is_err());
    }
}
