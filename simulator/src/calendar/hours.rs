//! Hours of the week that come back.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Change;

/// Minutes of a day, and of a week.
pub(super) const DAY: u16 = 24 * 60;
const WEEK: u32 = 7 * 24 * 60;

/// Hours that begin on some days of the week, with what is due in them.
#[derive(Clone, Debug, PartialEq)]
pub struct Hours {
    /// What they are called.
    pub name: String,
    /// The days on which they begin, from Monday on.
    pub(super) days: [bool; 7],
    /// When they begin, in minutes after midnight.
    pub(super) from: u16,
    /// When they end, in minutes after midnight: on the next day where that is not later. At most a
    /// day.
    pub(super) to: u16,
    /// Where the clock hangs.
    pub zone: TimeZone,
    /// What is due.
    pub change: Change,
}

impl Hours {
    /// Whether they are going on.
    pub(super) fn is_in_force(&self, now: Timestamp) -> bool {
        let today = self.zone.to_datetime(now).date();
        let began = [today.yesterday().ok(), Some(today)];
        let mut spans = began.into_iter().flatten().filter_map(|day| self.span(day));
        spans.any(|(from, to)| from <= now && now < to)
    }

    /// When they begin and end, from yesterday until so many days from now.
    pub(super) fn moments(&self, now: Timestamp, days: i64) -> impl Iterator<Item = Timestamp> {
        let today = self.zone.to_datetime(now).date();
        let day = move |days: i64| today.checked_add(jiff::Span::new().days(days)).ok();
        let spans = (-1..=days)
            .filter_map(day)
            .filter_map(move |day| self.span(day));
        spans.flat_map(|(from, to)| [from, to])
    }

    /// From when until when they go on that begin on a day, if they do.
    fn span(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        let weekday = usize::try_from(day.weekday().to_monday_zero_offset()).ok()?;
        if !*self.days.get(weekday)? {
            return None;
        }
        let at = |day: Date, minutes: u16| {
            let (hour, minute) = (minutes / 60, minutes % 60);
            let (hour, minute) = (i8::try_from(hour).ok()?, i8::try_from(minute).ok()?);
            self.zone.to_timestamp(day.at(hour, minute, 0, 0)).ok()
        };
        let end = match self.to {
            DAY => at(day.tomorrow().ok()?, 0),
            to if to > self.from => at(day, to),
            to => at(day.tomorrow().ok()?, to),
        };
        Some((at(day, self.from)?, end?))
    }

    /// From when until when they go on in a week, in minutes from its beginning.
    fn of_week(&self) -> impl Iterator<Item = (u32, u32)> {
        let length = match self.to > self.from {
            true => self.to - self.from,
            false => DAY - self.from + self.to,
        };
        let days = (0..).zip(self.days).filter(|(_, on)| *on);
        days.map(move |(day, _): (u32, bool)| {
            let from = day * u32::from(DAY) + u32::from(self.from);
            (from, from + u32::from(length))
        })
    }
}

/// The first two hours of one time zone that overlap, by their places in the list.
#[must_use]
pub fn overlap(all: &[Hours]) -> Option<(usize, usize)> {
    let mut spans: Vec<(u32, u32, usize)> = Vec::new();
    for (index, hours) in all.iter().enumerate() {
        spans.extend(hours.of_week().map(|(from, to)| (from, to, index)));
    }
    spans.sort_unstable();
    // What goes on when the week ends does so when the next one begins.
    let first = spans
        .first()
        .map(|(from, to, index)| (from + WEEK, to + WEEK, *index));
    let next = spans.iter().skip(1).copied().chain(first);
    let both = spans.iter().zip(next);
    let mut overlapping = both.filter(|((_, to, one), (from, _, other))| from < to && one != other);
    overlapping
        .next()
        .map(|((_, _, one), (_, _, other))| (*one.min(&other), *one.max(&other)))
}
