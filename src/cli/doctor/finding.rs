//! What a check saw.

use serde::Serialize;

use super::super::failure::Failure;
use super::super::output::Tone;

/// What a check saw, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// A stable name.
    pub(super) check: &'static str,
    /// What it comes to.
    pub(super) verdict: Verdict,
    /// The evidence.
    pub(super) seen: String,
    /// What to do about it; absent where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

/// What a check comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// Something is odd.
    Warn,
    /// Something does not work.
    Fail,
    /// The caller may not read what it takes.
    Unknown,
}

impl Finding {
    pub(super) fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self {
            check,
            verdict: Verdict::Ok,
            seen: seen.into(),
            remedy: None,
        }
    }

    pub(super) fn warn(
        check: &'static str,
        seen: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Warn,
            remedy: Some(remedy.into()),
            ..Self::ok(check, seen)
        }
    }

    pub(super) fn fail(
        check: &'static str,
        seen: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Fail,
            remedy: Some(remedy.into()),
            ..Self::ok(check, seen)
        }
    }

    /// What it takes could not be read.
    pub(super) fn unknown(check: &'static str, failure: &Failure) -> Self {
        let remedy = if failure.is_forbidden() {
            "run it as an administrator"
        } else {
            "run it again; if this stays, correct what it names"
        };
        Self {
            verdict: Verdict::Unknown,
            remedy: Some(remedy.to_owned()),
            ..Self::ok(check, failure.what())
        }
    }
}

impl Verdict {
    /// In one word.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }

    /// Its colour.
    pub(super) const fn tone(self) -> Tone {
        match self {
            Self::Ok => Tone::Good,
            Self::Warn => Tone::Wait,
            Self::Fail => Tone::Bad,
            Self::Unknown => Tone::Dim,
        }
    }
}

/// A few names, and how many more there are.
pub(super) fn few(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}
