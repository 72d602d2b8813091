//! Days, months and any other stretch of time, in UTC.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;

/// Milliseconds in a day.
pub const DAY: u64 = 86_400_000;

/// From a moment to before another, in milliseconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period {
    /// The first moment.
    pub from_ms: u64,
    /// The first moment after it.
    pub until_ms: u64,
}

impl Period {
    /// The month that a text such as `2026-11` names.
    ///
    /// # Errors
    /// When it names none; the text says what to write.
    pub fn month(text: &str) -> Result<Self, String> {
        let first = text
            .split_once('-')
            .filter(|(year, month)| year.len() == 4 && month.len() == 2)
            .and_then(|_| format!("{text}-01").parse::<Date>().ok());
        first.and_then(of_month).ok_or_else(|| {
            format!("`{text}` is not a month since 1970, expected one such as 2026-11")
        })
    }

    /// The month in which a moment lies.
    #[must_use]
    pub fn month_of(at_ms: u64) -> Self {
        let whole = Self {
            from_ms: at_ms,
            until_ms: at_ms,
        };
        date(at_ms)
            .and_then(|date| of_month(date.first_of_month()))
            .unwrap_or(whole)
    }

    /// The month before the one in which this begins.
    #[must_use]
    pub fn month_before(self) -> Self {
        Self::month_of(Self::month_of(self.from_ms).from_ms.saturating_sub(1))
    }

    /// Whether it is a month, from its first moment to its last.
    #[must_use]
    pub fn is_month(self) -> bool {
        self == Self::month_of(self.from_ms)
    }

    /// How long it is.
    #[must_use]
    pub const fn length_ms(self) -> u64 {
        self.until_ms.saturating_sub(self.from_ms)
    }

    /// What it has in common with another; of no length where that is nothing.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        let from_ms = self.from_ms.max(other.from_ms);
        Self {
            from_ms,
            until_ms: self.until_ms.min(other.until_ms).max(from_ms),
        }
    }

    /// Its parts in each month, in order.
    pub fn months(self) -> impl Iterator<Item = Self> {
        let month = move |at_ms: u64| {
            let month = Self::month_of(at_ms);
            (at_ms < self.until_ms && month.length_ms() > 0).then_some(month)
        };
        std::iter::successors(month(self.from_ms), move |last| month(last.until_ms))
    }
}

impl fmt::Display for Period {
    /// `November 2026`, or its first and its last day.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match date(self.from_ms) {
            Some(first) if self.is_month() => write!(f, "{}", first.strftime("%B %Y")),
            _ => write!(f, "{} to {}", moment(self.from_ms), moment(self.until_ms)),
        }
    }
}

/// The first moment of a day such as `2026-11-01`.
///
/// # Errors
/// When it is no day; the text says what to write.
pub fn day(text: &str) -> Result<u64, String> {
    let date = text
        .parse::<Date>()
        .ok()
        .filter(|date| date.to_string() == text);
    date.and_then(midnight)
        .ok_or_else(|| format!("`{text}` is not a day since 1970, expected one such as 2026-11-01"))
}

/// A moment as people read it, to the minute: `2026-11-01`, `2026-11-01 13:45`.
#[must_use]
pub fn moment(at_ms: u64) -> String {
    let time = timestamp(at_ms).map(|at| Offset::UTC.to_datetime(at));
    time.map_or_else(
        || format!("{at_ms} ms"),
        |time| match at_ms % DAY {
            0 => time.date().to_string(),
            _ => time.strftime("%Y-%m-%d %H:%M").to_string(),
        },
    )
}

/// A moment for programs (RFC 3339): `2026-11-01T00:00:00Z`.
#[must_use]
pub fn rfc3339(at_ms: u64) -> String {
    timestamp(at_ms).map_or_else(|| at_ms.to_string(), |at| at.to_string())
}

/// The moment of a text such as `2026-11-01T00:00:00Z`; `None` where it is none since 1970.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let at = text.parse::<Timestamp>().ok()?;
    u64::try_from(at.as_millisecond()).ok()
}

/// The day of a moment; `None` beyond all calendars.
#[must_use]
pub fn date(at_ms: u64) -> Option<Date> {
    Some(Offset::UTC.to_datetime(timestamp(at_ms)?).date())
}

/// The first moment of a day; `None` before 1970.
#[must_use]
pub fn midnight(date: Date) -> Option<u64> {
    let at = Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
    u64::try_from(at.as_millisecond()).ok()
}

fn timestamp(at_ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(at_ms).ok()?).ok()
}

fn of_month(first: Date) -> Option<Period> {
    let next = first.last_of_month().tomorrow().ok()?;
    Some(Period {
        from_ms: midnight(first)?,
        until_ms: midnight(next)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_and_end_in_utc() {
        let november = Period::month("2026-11").unwrap();
        // 2026-11-01 is day 20,758 since 1970: 56 years of 365 days, 14 leap days, 304 days.
        assert_eq!(november.from_ms, 20_758 * DAY);
        assert_eq!(november.length_ms(), 30 * DAY);
        assert_eq!(november.to_string(), "November 2026");
        assert_eq!(november.month_before().to_string(), "October 2026");
        assert_eq!(
            Period::month_of(november.from_ms - 1),
            november.month_before()
        );
        for wrong in [
            "2026-13",
            "2026",
            "1969-12",
            "2026-1",
            "26-11",
            "2026-11-01",
        ] {
            assert!(Period::month(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn other_periods_are_told_by_their_ends() {
        let from_ms = day("2026-10-30").unwrap();
        let period = Period {
            from_ms,
            until_ms: from_ms + 4 * DAY + 60_000,
        };
        assert_eq!(period.to_string(), "2026-10-30 to 2026-11-03 00:01");
        assert!(day("2026-02-30").is_err() && day("20260201").is_err());
        let parts: Vec<u64> = period
            .months()
            .map(|month| period.within(month).length_ms())
            .collect();
        assert_eq!(parts, [2 * DAY, 2 * DAY + 60_000]);
        assert_eq!(rfc3339(from_ms), "2026-10-30T00:00:00Z");
        assert_eq!(parse_rfc3339("2026-10-30T00:00:00Z"), Some(from_ms));
    }
}
