//! Where a trace lies, and in which format: `philly:FILE` on a command line.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::openb::DEFAULT_LIST;
use crate::problem::suggest;

/// A trace's file with its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A pod list of Alibaba's 2023 GPU cluster, or the folder with `openb_pod_list_default.csv`.
    Openb(PathBuf),
    /// Microsoft's Philly of 2017, one row per job.
    Philly(PathBuf),
    /// A trace of Muri's simulator.
    Muri(PathBuf),
    /// A trace of Chronus' simulator.
    Chronus(PathBuf),
    /// Standard Workload Format, version 2.2.
    Swf(PathBuf),
}

/// Why a text names no trace. The text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No colon.
    #[error("`{0}` does not say which format it has; write FORMAT:FILE, FORMAT being one of {formats}", formats = FORMATS.map(|(name, _)| name).join(", "))]
    NoFormat(String),
    /// A format that there is not.
    #[error("there is no trace format `{format}`; {remedy}")]
    UnknownFormat {
        /// What was written.
        format: String,
        /// What would be right.
        remedy: String,
    },
    /// Nothing after the colon.
    #[error("no file is named; write `{0}:FILE`")]
    NoFile(String),
}

/// All formats under the names they have on a command line.
const FORMATS: [(&str, Variant); 5] = [
    ("openb", Source::Openb),
    ("philly", Source::Philly),
    ("muri", Source::Muri),
    ("chronus", Source::Chronus),
    ("swf", Source::Swf),
];

type Variant = fn(PathBuf) -> Source;

impl Source {
    /// The file that is read.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        match self {
            Self::Openb(path) if path.is_dir() => path.join(DEFAULT_LIST),
            other => other.path().to_owned(),
        }
    }

    /// The same, its path being relative to this folder.
    #[must_use]
    pub fn below(self, folder: &Path) -> Self {
        let path = |path: PathBuf| folder.join(path);
        match self {
            Self::Openb(file) => Self::Openb(path(file)),
            Self::Philly(file) => Self::Philly(path(file)),
            Self::Muri(file) => Self::Muri(path(file)),
            Self::Chronus(file) => Self::Chronus(path(file)),
            Self::Swf(file) => Self::Swf(path(file)),
        }
    }

    /// The format's name on a command line.
    #[must_use]
    pub const fn format(&self) -> &'static str {
        let index = match self {
            Self::Openb(_) => 0,
            Self::Philly(_) => 1,
            Self::Muri(_) => 2,
            Self::Chronus(_) => 3,
            Self::Swf(_) => 4,
        };
        FORMATS[index].0
    }

    fn path(&self) -> &Path {
        let (Self::Openb(path)
        | Self::Philly(path)
        | Self::Muri(path)
        | Self::Chronus(path)
        | Self::Swf(path)) = self;
        path
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let (format, path) = text
            .split_once(':')
            .ok_or_else(|| SourceError::NoFormat(text.to_owned()))?;
        let known = FORMATS.iter().find(|(name, _)| *name == format);
        let (_, source) = known.ok_or_else(|| SourceError::UnknownFormat {
            format: format.to_owned(),
            remedy: suggest(format, FORMATS.map(|(name, _)| name)),
        })?;
        if path.is_empty() {
            return Err(SourceError::NoFile(format.to_owned()));
        }
        Ok(source(PathBuf::from(path)))
    }
}

impl fmt::Display for Source {
    /// As it is written on a command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.format(), self.path().display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_it_is_read() {
        for (text, file) in [
            ("openb:list.csv", "list.csv"),
            ("philly:a/b.csv", "a/b.csv"),
            ("muri:c:d.csv", "c:d.csv"),
            ("chronus:./x", "./x"),
            ("swf:/log.swf", "/log.swf"),
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!(source.to_string(), text);
            assert_eq!(source.file(), Path::new(file));
        }
    }

    #[test]
    fn paths_may_be_relative_to_a_folder() {
        let below = |text: &str| {
            let source: Source = text.parse().unwrap();
            source.below(Path::new("x/y")).to_string()
        };
        assert_eq!(below("philly:a.csv"), "philly:x/y/a.csv");
        assert_eq!(below("swf:/a.swf"), "swf:/a.swf");
    }

    #[test]
    fn a_folder_of_openb_stands_for_its_default_list() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::Openb(folder.path().to_owned());
        assert_eq!(source.file(), folder.path().join(DEFAULT_LIST));
    }

    #[test]
    fn what_names_no_trace_is_refused_with_the_remedy() {
        let error = |text: &str| text.parse::<Source>().unwrap_err().to_string();
        assert_eq!(
            error("phily:x.csv"),
            "there is no trace format `phily`; did you mean `philly`?"
        );
        assert_eq!(
            error("x.csv"),
            "`x.csv` does not say which format it has; write FORMAT:FILE, FORMAT being one of openb, philly, muri, chronus, swf"
        );
        assert_eq!(error("swf:"), "no file is named; write `swf:FILE`");
        assert_eq!(
            error("kubernetes:x"),
            "there is no trace format `kubernetes`; write one of openb, philly, muri, chronus, swf"
        );
    }
}
