//! Durations as people write them.

use std::time::Duration;

/// Reads `90s`, `15m` or `1h30m`.
///
/// # Errors
/// When it is none, or no time at all.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let read = humantime::parse_duration(text).ok();
    // The core counts in milliseconds.
    let good = read.filter(|span| span.as_millis() > 0);
    good.ok_or_else(|| {
        format!("`{text}` is not a duration, expected one such as 90s, 15m or 1h30m")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_lasts_and_nothing_else() {
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "soon", "-5m", "90", "0s", "1us"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
