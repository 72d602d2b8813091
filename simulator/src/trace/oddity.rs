//! What was odd about the rows of a trace, and what was done about it.

use std::fmt;

use serde::Serialize;

use super::row::Unreadable;
use crate::problem::Problem;

/// A way in which a row can be odd. Serialised as its stable code: `no-gpus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oddity {
    /// Wrong number of columns, or a cell that is not what its column has.
    Unreadable,
    /// Asks for 0 GPUs in a trace of GPU jobs.
    NoGpus,
    /// Never scheduled, so nobody knows how long it would have run.
    NeverRan,
    /// Cancelled before it started.
    Cancelled,
    /// The trace does not know how long it ran.
    UnknownRuntime,
    /// A part of a run that another row tells as a whole.
    PartialRun,
    /// It ran for 0 s, which is rounding.
    ZeroRuntime,
    /// A name that an earlier row has.
    DuplicateName,
    /// It belongs to nobody.
    NoTenant,
    /// One GPU, but not a share of it between 1 and 1000 thousandths.
    NoShare,
    /// A share of a GPU, but no GPU.
    ShareWithoutGpu,
}

impl Oddity {
    /// What was done with such rows: `skipped`, or `taken as …`.
    #[must_use]
    pub const fn done(self) -> &'static str {
        match self {
            Self::Unreadable
            | Self::NoGpus
            | Self::NeverRan
            | Self::Cancelled
            | Self::UnknownRuntime
            | Self::PartialRun => "skipped",
            Self::ZeroRuntime => "taken as 1 s long",
            Self::DuplicateName => "taken as others, named after their line",
            Self::NoTenant => "taken as of tenant `unknown`",
            Self::NoShare => "taken as asking for a whole GPU",
            Self::ShareWithoutGpu => "taken as asking for no GPU",
        }
    }

    /// Whether such rows were left out.
    #[must_use]
    pub fn is_skipped(self) -> bool {
        self.done() == "skipped"
    }

    /// What is odd, in words that fit after one row and after many.
    const fn words(self) -> &'static str {
        match self {
            Self::Unreadable => "not readable",
            Self::NoGpus => "asking for 0 GPUs",
            Self::NeverRan => "never scheduled, so of unknown runtime",
            Self::Cancelled => "cancelled before the start",
            Self::UnknownRuntime => "of unknown runtime",
            Self::PartialRun => "part of a run that another row tells as a whole",
            Self::ZeroRuntime => "runtime 0",
            Self::DuplicateName => "a name that an earlier row has",
            Self::NoTenant => "no owner named",
            Self::NoShare => "one GPU, but not 1 to 1000 thousandths of it",
            Self::ShareWithoutGpu => "a share of 0 GPUs",
        }
    }
}

/// Rows that are odd in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Odd {
    /// In which way.
    pub code: Oddity,
    /// What was done with them: `skipped`, or `taken as …`.
    pub done: &'static str,
    /// How many.
    pub rows: u64,
    /// The line of the first of them, counted from 1.
    pub first_line: u64,
    /// What stands in that line, where the code does not say it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_why: Option<String>,
}

/// All that was odd in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Oddities {
    /// Rows of the file, without its header, comments and blank lines.
    pub rows: u64,
    /// In the order of [`Oddity`].
    pub odd: Vec<Odd>,
}

impl Oddities {
    /// Rows that were left out.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        let skipped = self.odd.iter().filter(|odd| odd.code.is_skipped());
        skipped.map(|odd| odd.rows).sum()
    }

    /// Rows that were handed over.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.rows - self.skipped()
    }

    /// A warning for each way, at the line of its first row.
    #[must_use]
    pub fn problems(&self, file: &str) -> Vec<Problem> {
        let problem = |odd: &Odd| {
            let (rows, all) = (grouped(odd.rows), grouped(self.rows));
            let mut what = format!("{rows} of {all} rows {}: {}", odd.done, odd.code.words());
            if let Some(why) = &odd.first_why {
                what.push_str(&format!(" (the first: {why})"));
            }
            let line = usize::try_from(odd.first_line).unwrap_or(usize::MAX);
            let remedy = "mend the rows of the trace, from this line on, if they matter";
            Problem::new(file, "trace", what, remedy)
                .at_line(line)
                .as_warning()
        };
        self.odd.iter().map(problem).collect()
    }

    /// How many rows are odd in this way.
    #[must_use]
    pub fn count(&self, code: Oddity) -> u64 {
        let odd = self.odd.iter().find(|odd| odd.code == code);
        odd.map_or(0, |odd| odd.rows)
    }

    /// Counts a row that is odd.
    pub(super) fn add(&mut self, code: Oddity, line: u64) {
        match self.odd.binary_search_by_key(&code, |odd| odd.code) {
            Ok(index) => self.odd[index].rows += 1,
            Err(index) => self.odd.insert(
                index,
                Odd {
                    code,
                    done: code.done(),
                    rows: 1,
                    first_line: line,
                    first_why: None,
                },
            ),
        }
    }

    /// Counts a row that cannot be read.
    pub(super) fn add_unreadable(&mut self, why: &Unreadable, line: u64) {
        self.add(Oddity::Unreadable, line);
        // It is the first kind there is.
        if let Some(odd) = self.odd.first_mut().filter(|odd| odd.rows == 1) {
            odd.first_why = Some(why.to_string());
        }
    }
}

impl fmt::Display for Oddities {
    /// A line for each way: `trace: 184 of 30,940 rows skipped: asking for 0 GPUs (first: line 12)`.
    /// Nothing where nothing was odd.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = grouped(self.rows);
        for (index, odd) in self.odd.iter().enumerate() {
            let start = if index == 0 { "" } else { "\n" };
            let (rows, done, words) = (grouped(odd.rows), odd.done, odd.code.words());
            write!(f, "{start}trace: {rows} of {all} rows {done}: {words}")?;
            write!(f, " (first: line {}", odd.first_line)?;
            match &odd.first_why {
                Some(why) => write!(f, ": {why})")?,
                None => f.write_str(")")?,
            }
        }
        Ok(())
    }
}

/// `30,940`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Oddities {
        let mut oddities = Oddities {
            rows: 30_940,
            ..Oddities::default()
        };
        for line in [12, 13] {
            oddities.add(Oddity::ZeroRuntime, line);
            oddities.add(Oddity::NoGpus, line + 5);
        }
        for line in [7, 9] {
            let what = format!("`{line}x` is not a number");
            let field = "duration";
            oddities.add_unreadable(&Unreadable { field, what }, line);
        }
        oddities
    }

    #[test]
    fn people_read_a_line_for_each_way() {
        let expected = "\
trace: 2 of 30,940 rows skipped: not readable (first: line 7: duration: `7x` is not a number)
trace: 2 of 30,940 rows skipped: asking for 0 GPUs (first: line 17)
trace: 2 of 30,940 rows taken as 1 s long: runtime 0 (first: line 12)";
        assert_eq!(some().to_string(), expected);
        assert_eq!(Oddities::default().to_string(), "");
        assert_eq!(some().skipped(), 4);
        assert_eq!(some().taken(), 30_936);
        assert_eq!(some().count(Oddity::ZeroRuntime), 2);
        assert_eq!(some().count(Oddity::NoTenant), 0);
    }

    #[test]
    fn a_scenario_is_warned_of_each_way_at_its_first_line() {
        let told: Vec<String> = some()
            .problems("t.csv")
            .iter()
            .map(ToString::to_string)
            .collect();
        let help = "help: mend the rows of the trace, from this line on, if they matter";
        assert_eq!(
            told,
            [
                format!(
                    "warning: t.csv:7: trace: 2 of 30,940 rows skipped: not readable (the first: duration: `7x` is not a number)\n  {help}"
                ),
                format!(
                    "warning: t.csv:17: trace: 2 of 30,940 rows skipped: asking for 0 GPUs\n  {help}"
                ),
                format!(
                    "warning: t.csv:12: trace: 2 of 30,940 rows taken as 1 s long: runtime 0\n  {help}"
                ),
            ]
        );
    }

    #[test]
    fn programs_read_the_codes() {
        let mut oddities = some();
        oddities.odd.pop();
        let expected = r#"{"rows":30940,"odd":[{"code":"unreadable","done":"skipped","rows":2,"first_line":7,"first_why":"duration: `7x` is not a number"},{"code":"no-gpus","done":"skipped","rows":2,"first_line":17}]}"#;
        assert_eq!(serde_json::to_string(&oddities).unwrap(), expected);
    }

    #[test]
    fn thousands_are_set_apart() {
        let read = [0, 12, 999, 1_000, 30_940, 1_234_567].map(grouped);
        assert_eq!(read, ["0", "12", "999", "1,000", "30,940", "1,234,567"]);
    }
}
