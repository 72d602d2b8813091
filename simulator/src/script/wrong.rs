//! What is wrong with a line, before it is known where it stands.

use crate::problem::Problem;
use crate::quantity::QuantityError;

/// What is wrong with a line.
#[derive(Debug)]
pub(super) struct Wrong {
    field: String,
    what: String,
    remedy: String,
}

impl Wrong {
    pub(super) fn new(field: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    pub(super) fn quantity(key: &str, error: &QuantityError) -> Self {
        Self::new(key, error.to_string(), format!("for example: {key}=2"))
    }

    /// A word that is none of those that may stand here.
    pub(super) fn word(key: &str, word: &str, known: &[&str]) -> Self {
        let what = format!("`{word}` is not known");
        Self::new(key, what, format!("use {key}={}", known.join(", ")))
    }

    pub(super) fn at(self, file: &str, line: usize) -> Problem {
        Problem::new(file, &self.field, self.what, self.remedy).at_line(line)
    }
}
