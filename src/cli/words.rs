//! Numbers and times as people read them.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use prorata_core::Resource;

/// Each unit in seconds, and its letter.
const UNITS: [(u64, char); 4] = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];

/// A span of time by its two largest units: `3d4h`, `41m`, `20s`. Seconds only below ten minutes.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let fine = if seconds < 600 { 1 } else { 60 };
    let mut left = seconds - seconds % fine;
    let mut text = String::new();
    for (unit, letter) in UNITS
        .into_iter()
        .skip_while(|(unit, _)| *unit > seconds)
        .take(2)
    {
        if left >= unit {
            text.push_str(&format!("{}{letter}", left / unit));
        }
        left %= unit;
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// The time from one moment to a later one; nothing where the order is otherwise.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// A count and its noun: `1 pod`, `2 pods`.
pub(crate) fn count(number: impl Into<u64>, noun: &str) -> String {
    match number.into() {
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    }
}

/// GPUs from thousandths: `8`, `0.5`.
pub(crate) fn gpus(milli: u64) -> String {
    prorata_core::resource::Amount(Resource::Gpu, milli).to_string()
}

/// A part of a card from thousandths: `1/4` where it is one of equal slots, `428m` otherwise.
pub(super) fn part(milli: u32) -> String {
    let slots = 1000 / milli.max(1);
    match 1000 / slots.max(1) == milli {
        true => format!("1/{slots}"),
        false => format!("{milli}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_by_their_two_largest_units() {
        let told = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(told(0), "0s");
        assert_eq!(told(59), "59s");
        assert_eq!(told(61), "1m1s");
        assert_eq!(told(2_475), "41m");
        assert_eq!(told(3_600), "1h");
        assert_eq!(told(3_905), "1h5m");
        assert_eq!(told(86_400 + 59), "1d");
        assert_eq!(told(3 * 86_400 + 4 * 3_600 + 60), "3d4h");
    }

    #[test]
    fn slots_are_told_as_fractions() {
        assert_eq!(
            [500, 250, 142, 428].map(part),
            ["1/2", "1/4", "1/7", "428m"]
        );
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(count(1_u32, "pod"), "1 pod");
        assert_eq!(count(0_u32, "pod"), "0 pods");
    }
}
