//! Single fields of a price file: text in, value out, and a [`Problem`] put down when it is none.

use serde_saphyr::{Location, Spanned};

use crate::problem::{Problem, suggest};
use crate::{money, period};

/// A scalar as it was written.
pub(super) type Text = Spanned<String>;

/// Reads fields, and remembers what is wrong with them. What is wrong reads as a harmless value.
pub(super) struct Fields<'a> {
    file: &'a str,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(file: &'a str) -> Self {
        Self {
            file,
            problems: Vec::new(),
        }
    }

    pub(super) fn is(&mut self, field: &str, text: &Text, wanted: &str) {
        if text.value != wanted {
            let what = format!("`{}` is not known here", text.value);
            self.wrong(
                text.referenced,
                field,
                what,
                format!("write `{field}: {wanted}`"),
            );
        }
    }

    pub(super) fn money(&mut self, field: &str, text: &Text) -> u64 {
        let read = money::parse(&text.value);
        self.read(field, text.referenced, read).unwrap_or_default()
    }

    pub(super) fn day(&mut self, field: &str, text: &Text) -> u64 {
        let read = period::day(&text.value);
        self.read(field, text.referenced, read).unwrap_or_default()
    }

    /// What was read, or what is wrong with it: `what, expected …`.
    pub(super) fn read<T>(
        &mut self,
        field: &str,
        at: Location,
        read: Result<T, String>,
    ) -> Option<T> {
        read.map_err(|text| {
            let (what, expected) = text
                .split_once(", expected ")
                .unwrap_or((&text, "another value"));
            self.wrong(at, field, what, format!("write {expected}"));
        })
        .ok()
    }

    pub(super) fn number(&mut self, field: &str, text: &Text, (least, most): (u32, u32)) -> u32 {
        let read = text
            .value
            .parse()
            .ok()
            .filter(|n| (least..=most).contains(n));
        let wrong = || {
            format!(
                "`{}` is not a number from {least} to {most}, expected a whole number in that range",
                text.value
            )
        };
        self.read(field, text.referenced, read.ok_or_else(wrong))
            .unwrap_or(least)
    }

    /// A number with at most three decimals, in thousandths.
    pub(super) fn thousandths(
        &mut self,
        field: &str,
        text: &Text,
        (least, most): (u64, u64),
    ) -> u32 {
        let read = money::parse(&text.value)
            .ok()
            .filter(|micros| micros.is_multiple_of(1000))
            .map(|micros| micros / 1000);
        let read = read
            .filter(|milli| (least..=most).contains(milli))
            .and_then(|milli| u32::try_from(milli).ok());
        let wrong = || {
            format!(
                "`{}` is not a number from {} to {}, with at most three decimals, expected one such as 2 or 3.5",
                text.value,
                thousandths(least),
                thousandths(most)
            )
        };
        self.read(field, text.referenced, read.ok_or_else(wrong))
            .unwrap_or(1000)
    }

    pub(super) fn factor(&mut self, field: &str, text: &Text) -> u32 {
        self.thousandths(field, text, (0, 100_000))
    }

    pub(super) fn percent(&mut self, field: &str, text: &Text) -> u32 {
        let read = text
            .value
            .strip_suffix('%')
            .and_then(|part| money::parse(part.trim()).ok());
        let milli = read
            .filter(|micros| micros.is_multiple_of(100_000))
            .map(|micros| micros / 100_000);
        let milli = milli
            .filter(|milli| (1..=1000).contains(milli))
            .and_then(|milli| u32::try_from(milli).ok());
        let wrong = || {
            format!(
                "`{}` is not a part of the hours, expected a percentage from 0.1% to 100%, such as 70%",
                text.value
            )
        };
        self.read(field, text.referenced, milli.ok_or_else(wrong))
            .unwrap_or(1000)
    }

    pub(super) fn word<T: Copy>(
        &mut self,
        field: &str,
        text: &Text,
        known: &[(&str, T)],
    ) -> Option<T> {
        let found = known.iter().find(|(name, _)| *name == text.value);
        if found.is_none() {
            let remedy = suggest(&text.value, known.iter().map(|(name, _)| *name));
            self.wrong(
                text.referenced,
                field,
                format!("`{}` is not known", text.value),
                remedy,
            );
        }
        found.map(|(_, value)| *value)
    }

    pub(super) fn wrong(
        &mut self,
        at: Location,
        field: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let problem = Problem::new(self.file, field, what, remedy);
        self.problems.push(problem.at_location(at));
    }
}

fn thousandths(milli: u64) -> String {
    match milli % 1000 {
        0 => (milli / 1000).to_string(),
        part => format!("{}.{part:03}", milli / 1000),
    }
}
