//! One row of a trace: its cells, and what is odd about it.

use std::fmt;
use std::time::Duration;

use super::names::Names;
use super::oddity::Oddity;

/// More than any trace can have of anything, and far from where sums would overflow.
const MAX: u64 = 1 << 53;

/// The tenant of what belongs to nobody.
const UNKNOWN: &str = "unknown";

/// A row whose cells are in the order in which its format names them.
pub(super) struct Row<'a, const N: usize> {
    /// Empty where the file has no such column.
    pub(super) cells: [Cell<'a>; N],
    /// Its line, counted from 1.
    pub(super) line: u64,
    pub(super) names: &'a mut Names,
    pub(super) noted: Vec<Oddity>,
}

/// What stands in a column of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell<'a> {
    /// The column's name.
    pub(super) field: &'static str,
    /// Without white space around it.
    pub(super) text: &'a str,
}

/// Why a row is left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It can be read, but is no job.
    Odd(Oddity),
    Unreadable(Unreadable),
}

/// Why a row cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) field: &'static str,
    pub(super) what: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.what)
    }
}

impl<const N: usize> Row<'_, N> {
    /// The row is taken, but not as it stands.
    pub(super) fn note(&mut self, oddity: Oddity) {
        self.noted.push(oddity);
    }

    /// A name that no other row has. To be asked last: the name is given by then.
    pub(super) fn name(&mut self, cell: Cell<'_>) -> Result<String, Fault> {
        if cell.text.is_empty() {
            return Err(cell.fault("is empty"));
        }
        let (name, again) = self.names.unique(cell.text, self.line);
        if again {
            self.note(Oddity::DuplicateName);
        }
        Ok(name)
    }

    /// Whose it is.
    pub(super) fn tenant(&mut self, name: &str) -> String {
        if name.is_empty() {
            self.note(Oddity::NoTenant);
            return UNKNOWN.to_owned();
        }
        name.to_owned()
    }

    /// How long it ran, if it ran at all. Traces round to their unit: what took less stands there as 0.
    pub(super) fn runtime(&mut self, millis: i64) -> Duration {
        match u64::try_from(millis) {
            Ok(millis @ 1..) => Duration::from_millis(millis),
            _ => {
                self.note(Oddity::ZeroRuntime);
                Duration::from_secs(1)
            }
        }
    }
}

impl Cell<'_> {
    /// A whole number of at least 0.
    pub(super) fn whole(&self) -> Result<u64, Fault> {
        // Programs that know only floats write 8 as 8.0.
        let digits = self.text.strip_suffix(".0").unwrap_or(self.text);
        self.bounded(scaled(digits, 1).filter(|_| !digits.contains('.')))
    }

    /// GPUs of a job that asks for some.
    pub(super) fn gpus(&self) -> Result<u32, Fault> {
        match u32::try_from(self.whole()?) {
            Ok(0) => Err(Fault::Odd(Oddity::NoGpus)),
            Ok(gpus) => Ok(gpus),
            Err(_) => Err(self.too_much()),
        }
    }

    /// A time of at least 0 in milliseconds, of which a unit has this many.
    pub(super) fn millis(&self, unit: u64) -> Result<i64, Fault> {
        let millis = self.bounded(scaled(self.text, unit))?;
        i64::try_from(millis).map_err(|_| self.too_much())
    }

    /// 1 for yes, 0 or nothing for no.
    pub(super) fn flag(&self) -> Result<bool, Fault> {
        match self.text {
            "1" => Ok(true),
            "0" | "" => Ok(false),
            _ => Err(self.fault(&format!("{} is neither 0 nor 1", self.quoted()))),
        }
    }

    /// Whole units of so many bytes.
    pub(super) fn bytes(&self, unit: u64) -> Result<u64, Fault> {
        let bytes = self.whole()?.checked_mul(unit);
        bytes.ok_or_else(|| self.too_much())
    }

    /// The row cannot be read, because this cell is like this.
    pub(super) fn fault(&self, what: &str) -> Fault {
        let (field, what) = (self.field, what.to_owned());
        Fault::Unreadable(Unreadable { field, what })
    }

    pub(super) fn too_much(&self) -> Fault {
        self.fault(&format!("{} is more than any trace has", self.quoted()))
    }

    fn bounded(&self, number: Option<u64>) -> Result<u64, Fault> {
        match number {
            Some(number) if number <= MAX => Ok(number),
            Some(_) => Err(self.too_much()),
            None => Err(self.fault(&self.no_number())),
        }
    }

    fn no_number(&self) -> String {
        let is = match self.text {
            "" => return "is empty".to_owned(),
            text if text.starts_with('-') => "is negative",
            _ => "is not a number",
        };
        format!("{} {is}", self.quoted())
    }

    /// The text between backquotes, but not more than a screen can bear.
    fn quoted(&self) -> String {
        let mut head: String = self.text.chars().take(40).collect();
        if head.len() < self.text.len() {
            head.push('…');
        }
        format!("`{}`", head.escape_debug())
    }
}

/// A decimal number such as `12` or `3.25` times `unit`, rounded down; `u64::MAX` if it is more.
fn scaled(text: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = whole.parse().unwrap_or(u64::MAX);
    let fraction = fraction.bytes().take(9).map(|byte| u64::from(byte - b'0'));
    let (parts, of) = fraction.fold((0, 1), |(parts, of), digit| (parts * 10 + digit, of * 10));
    Some(whole.saturating_mul(unit).saturating_add(parts * unit / of))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> Cell<'_> {
        Cell { field: "it", text }
    }

    fn why<T: fmt::Debug>(read: Result<T, Fault>) -> String {
        match read.unwrap_err() {
            Fault::Unreadable(why) => why.to_string(),
            Fault::Odd(oddity) => format!("{oddity:?}"),
        }
    }

    #[test]
    fn numbers_are_read_exactly() {
        assert_eq!(cell("66.0").millis(1000), Ok(66_000));
        assert_eq!(cell("0.1").millis(1000), Ok(100));
        assert_eq!(cell("1.23456789012").millis(1000), Ok(1_234));
        assert_eq!(cell("7").millis(60_000), Ok(420_000));
        assert_eq!(cell("12.").millis(1), Ok(12));
        assert_eq!(cell("8.0").whole(), Ok(8));
        assert_eq!(cell("9007199254740992").whole(), Ok(MAX));
        assert_eq!(cell("3").bytes(1 << 20), Ok(3 << 20));
        assert_eq!(cell("16").gpus(), Ok(16));
    }

    #[test]
    fn what_is_none_is_told() {
        assert_eq!(why(cell("").whole()), "it: is empty");
        assert_eq!(why(cell("-5").millis(1)), "it: `-5` is negative");
        for text in ["x", "1e3", "1.5", ".5", "+1", "0x1", "1_000", "٣", "NaN"] {
            assert_eq!(
                why(cell(text).whole()),
                format!("it: `{text}` is not a number")
            );
        }
        assert_eq!(why(cell("0").gpus()), "NoGpus");
        for text in ["4294967296", "9007199254740993", "99999999999999999999999"] {
            let expected = format!("it: `{text}` is more than any trace has");
            assert_eq!(why(cell(text).gpus()), expected);
        }
        assert!(cell("9007199254740992").bytes(1 << 20).is_err());
        let long = why(cell(&"y\u{1b}".repeat(99)).whole());
        assert!(long.len() < 200 && !long.contains('\u{1b}'), "{long}");
    }
}
