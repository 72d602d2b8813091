//! Amounts of money in millionths of a unit, read and written exactly.

use rust_decimal::Decimal;

/// Millionths in a unit.
pub const MICROS: u64 = 1_000_000;

/// Decimals of a millionth.
const SCALE: u32 = 6;

/// The most that is read: a thousand billion units.
const MOST: u64 = 1_000_000_000_000 * MICROS;

/// Reads `2500` or `2.95` as millionths.
///
/// # Errors
/// When it is not a number from 0 up, with at most six decimals; the text says what to write.
pub fn parse(text: &str) -> Result<u64, String> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number = Decimal::from_str_exact(text).ok().filter(|_| plain);
    let micros = number.filter(|n| n.normalize().scale() <= SCALE).map(|n| {
        let mut micros = n;
        micros.rescale(SCALE);
        micros.mantissa()
    });
    let micros = micros.and_then(|micros| u64::try_from(micros).ok());
    micros.filter(|micros| *micros <= MOST).ok_or_else(|| {
        format!("`{text}` is not an amount of money, expected one such as 2500 or 2.95, with at most six decimals")
    })
}

/// To the hundredth, with thousands apart: `12,345.60`; what is less but not nothing is `<0.01`.
#[must_use]
pub fn rounded(micros: i128) -> String {
    let cents = (micros.unsigned_abs() + 5_000) / 10_000;
    if cents == 0 && micros != 0 {
        return "<0.01".to_owned();
    }
    let sign = if micros < 0 { "−" } else { "" };
    format!("{sign}{}.{:02}", thousands(cents / 100), cents % 100)
}

/// To the millionth, for programs: `12345.600000`.
#[must_use]
pub fn exact(micros: i128) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (units, part) = (
        micros.unsigned_abs() / 1_000_000,
        micros.unsigned_abs() % 1_000_000,
    );
    format!("{sign}{units}.{part:06}")
}

/// A price: to the millionth, with at least two decimals: `2.95`, `1.885604`.
#[must_use]
pub fn price(micros: u64) -> String {
    let text = exact(micros.into());
    let short = text.trim_end_matches('0');
    let decimals = short.len() - short.find('.').map_or(short.len(), |at| at + 1);
    format!("{short}{}", "0".repeat(2_usize.saturating_sub(decimals)))
}

/// Digits in groups of three.
#[must_use]
pub fn thousands(number: u128) -> String {
    let digits = number.to_string();
    let lead = digits.len() % 3;
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index % 3 == lead {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_to_the_millionth() {
        assert_eq!(parse("2.95"), Ok(2_950_000));
        assert_eq!(parse("14600"), Ok(14_600_000_000));
        assert_eq!(parse("0.000001"), Ok(1));
        assert_eq!(parse("1.50000000"), Ok(1_500_000));
        for wrong in [
            "",
            ".",
            "-1",
            "1e3",
            "1.0000001",
            "1_000",
            "€5",
            "1000000000001",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn money_is_written_for_people_and_for_programs() {
        assert_eq!(rounded(12_345_604_999), "12,345.60");
        assert_eq!(rounded(-1_234_567_005_000), "−1,234,567.01");
        assert_eq!(
            (rounded(0), rounded(4_999)),
            ("0.00".to_owned(), "<0.01".to_owned())
        );
        assert_eq!(exact(-1_500_000), "-1.500000");
        assert_eq!(
            (price(2_950_000), price(1_885_604)),
            ("2.95".to_owned(), "1.885604".to_owned())
        );
        assert_eq!(price(3_000_000), "3.00");
        assert_eq!(
            (thousands(999), thousands(1_000)),
            ("999".to_owned(), "1,000".to_owned())
        );
    }
}
