//! What is wrong with an input, where, and what to do about it. Every reader of files uses it,
//! so that all of them speak alike. It stands here because all of them build on this crate.

use std::fmt;

/// One thing that is wrong with an input file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    severity: Severity,
    file: String,
    /// Line and column; zero where they are not known.
    line: u32,
    column: u32,
    field: String,
    what: String,
    remedy: String,
}

impl Problem {
    /// In `file`, the field (a path such as `tenants[2].weight`) is wrong like this; the remedy
    /// says what would be right.
    pub fn new(
        file: &str,
        field: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            line: 0,
            column: 0,
            field: field.to_owned(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// What serde-saphyr found wrong with a file.
    #[must_use]
    pub fn of_yaml(file: &str, error: &serde_saphyr::Error) -> Self {
        let (field, what, remedy) = explain(error.without_snippet());
        let problem = Self::new(file, &field, what, remedy);
        match error.location() {
            Some(location) => problem.at_location(location),
            None => problem,
        }
    }

    /// The same, where serde-saphyr saw it.
    #[must_use]
    pub fn at_location(self, location: serde_saphyr::Location) -> Self {
        let number = |n| usize::try_from(n).unwrap_or(usize::MAX);
        match (location.line(), location.column()) {
            (0, _) => self,
            (line, column) => self.at(number(line), number(column)),
        }
    }

    /// The same, but the file can be used as it is.
    #[must_use]
    pub const fn as_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Line and column; zero where they are not known. Problems are told in this order.
    #[must_use]
    pub const fn place(&self) -> (u32, u32) {
        (self.line, self.column)
    }

    /// The same, on this line. Lines count from 1.
    #[must_use]
    pub fn at_line(self, line: usize) -> Self {
        self.at(line, 0)
    }

    /// The same, at this line and column. Both count from 1.
    #[must_use]
    pub fn at(mut self, line: usize, column: usize) -> Self {
        let number = |n| u32::try_from(n).unwrap_or_default();
        (self.line, self.column) = (number(line), number(column));
        self
    }
}

impl fmt::Display for Problem {
    /// `error: FILE:LINE:COLUMN: FIELD: what is wrong` (or `warning: …`), and the remedy on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity.word(), self.file)?;
        for number in [self.line, self.column].into_iter().filter(|n| *n > 0) {
            write!(f, ":{number}")?;
        }
        write!(
            f,
            ": {}: {}\n  help: {}",
            self.field, self.what, self.remedy
        )
    }
}

impl std::error::Error for Problem {}

/// Whether the input can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Error,
    Warning,
}

impl Severity {
    const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A remedy for a name that is not known: the known one that it was probably meant to be, or
/// all that are known.
#[must_use]
pub fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let distance = |candidate: &str| strsim::osa_distance(name, candidate);
    let shared = |c: &str| {
        c.bytes()
            .zip(name.bytes())
            .take_while(|(a, b)| a == b)
            .count()
    };
    // Between equally near ones, people rather slip at the end.
    let order = |candidate: &&str| (distance(candidate), std::cmp::Reverse(shared(candidate)));
    let nearest = known.iter().copied().min_by_key(order);
    match nearest.filter(|candidate| distance(candidate) <= 1 + name.len() / 4) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if known.is_empty() => "there is none to name".to_owned(),
        None => format!("write one of {}", known.join(", ")),
    }
}

/// Field, fault and remedy of an error that serde-saphyr reports.
fn explain(error: &serde_saphyr::Error) -> (String, String, String) {
    use serde_saphyr::Error;
    match error {
        Error::SerdeUnknownField {
            field, expected, ..
        } => (
            field.clone(),
            "there is no such field here".to_owned(),
            suggest(field, expected.iter().copied()),
        ),
        Error::SerdeMissingField { field, .. } => (
            (*field).to_owned(),
            "is missing".to_owned(),
            format!("add `{field}:` here"),
        ),
        Error::DuplicateMappingKey { key, .. } => (
            key.clone().unwrap_or_else(|| "key".to_owned()),
            "is written twice".to_owned(),
            "keep one of them".to_owned(),
        ),
        other => {
            use serde_saphyr::MessageFormatter as _;
            let text = serde_saphyr::UserMessageFormatter.format_message(other);
            let (what, remedy) = match &*text {
                // All scalars are read as text, so this is what a list or a map is called.
                "expected string scalar" => {
                    ("a single value belongs here", "write it without [ ] or { }")
                }
                "expected mapping start" => (
                    "fields belong here, not a single value or a list",
                    "write lines such as `name: value`, or {name: value}",
                ),
                "expected sequence start" => (
                    "a list belongs here",
                    "write lines that begin with `- `, or [value, value]",
                ),
                text => (text, "correct the structure of the file here"),
            };
            (
                "YAML".to_owned(),
                what.replace(char::is_control, " "),
                remedy.to_owned(),
            )
        }
    }
}
