//! What the commands that run many times have in common.

use std::fs;
use std::io;
use std::num::NonZeroU16;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, interrupt};
use crate::experiment::ExperimentError;
use crate::experiment::crew::{Crew, Watch};
use crate::experiment::values::Seeds;
use crate::output::Drafts;
use crate::problem::Problem;

/// How many runs at once.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Threads {
    /// Runs at once; the results do not depend on it [default: as many as there are processors]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroU16>,
}

/// Progress on stderr; invisible unless it is a terminal. Listens for Ctrl-C.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new() -> Self {
        interrupt::listen();
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self(bar)
    }
}

impl Watch for Bar {
    fn more(&self, count: usize) {
        self.0.inc_length(u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn done(&self) {
        self.0.inc(1);
    }

    fn poll(&self) -> ControlFlow<()> {
        interrupt::poll()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Threads {
    pub(super) fn crew<'a>(&self, watch: &'a dyn Watch) -> Result<Crew<'a>, Failure> {
        let threads = self.threads.map(|n| usize::from(n.get()));
        let crew = Crew::new(threads, watch);
        crew.map_err(|error| Failure::file(Path::new("--threads"))(io::Error::other(error)))
    }
}

impl From<ExperimentError> for Failure {
    fn from(error: ExperimentError) -> Self {
        match error {
            ExperimentError::Input(problems) => Self::Input(problems),
            ExperimentError::Interrupted(interrupted) => Self::Interrupted(interrupted),
        }
    }
}

/// What a file says.
pub(super) fn read(path: &Path, remedy: &str) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| {
        let what = format!("cannot be read: {error}");
        wrong(&path.display().to_string(), "file", &what, remedy)
    })
}

/// What to do about a scenario that cannot be read.
pub(super) const NAME_A_SCENARIO: &str = "name a scenario's YAML file that you may read";

/// Seeds that tell chance from difference.
pub(super) fn several(seeds: &Seeds) -> Result<&[u64], Failure> {
    match seeds.0.as_slice() {
        [_] => {
            let what = "one seed alone tells nothing about chance";
            let remedy = "write two or more, such as --seeds 1-10";
            Err(wrong("command line", "--seeds", what, remedy))
        }
        several => Ok(several),
    }
}

/// Refuses to write over what is read.
pub(super) fn spare(out: &Path, inputs: &[PathBuf]) -> Result<(), Failure> {
    let place = |path: &Path| fs::canonicalize(path).ok();
    let read = inputs.iter().filter_map(|input| place(input));
    match place(out).filter(|out| read.into_iter().any(|input| input == *out)) {
        Some(_) => {
            let what = "would replace a file that is read";
            let file = out.display().to_string();
            Err(wrong(&file, "--out", what, "choose another name"))
        }
        None => Ok(()),
    }
}

/// Writes a file whole or not at all.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let mut drafts = Drafts::default();
    drafts.write(path, content).map_err(Failure::file(path))?;
    interrupt::check()?;
    drafts.publish().map_err(Failure::file(path))
}

pub(super) fn wrong(file: &str, field: &str, what: &str, remedy: &str) -> Failure {
    Failure::Input(vec![Problem::new(file, field, what, remedy)])
}

/// Rows in columns: the first on the left, numbers on the right, and on the left again what
/// stands in the last.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let length =
        |row: &Vec<String>, column: usize| row.get(column).map_or(0, |c| c.chars().count());
    let width = |column: usize| {
        rows.iter()
            .map(|row| length(row, column))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let cell = |(column, text): (usize, &String)| match (column, widths[column]) {
        (0, width) => format!("{text:<width$}"),
        (column, width) if column + 1 == columns => format!("{text:<width$}"),
        (_, width) => format!("{text:>width$}"),
    };
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().enumerate().map(cell).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_left_and_numbers_right() {
        let rows = [
            ["NAME", "N", "WHY"],
            ["a", "100", "no"],
            ["bcdef", "7 ∞", "since"],
        ];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(
            aligned(&rows),
            "NAME     N  WHY\na      100  no\nbcdef  7 ∞  since\n"
        );
    }
}
