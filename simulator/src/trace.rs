//! Public traces of clusters, read as plain jobs, pods and nodes: what was asked for, when, and
//! for how long it ran. Nothing here decides anything.
//!
//! | format | a tenant is | times are in | what is particular |
//! |---|---|---|---|
//! | [`openb`] | `openb`, for all | seconds | shares of one GPU, GPU models; a pod is a job |
//! | [`philly`] | a virtual cluster | local time, seconds | failed jobs are among them |
//! | [`muri`] | `muri`, for all | milliseconds | gangs of 1 to 32 |
//! | [`chronus`] | a virtual cluster | minutes | deadlines, best effort |
//! | [`swf`] | a user | seconds | a processor is a GPU |
//!
//! Files are read as streams, so that memory does not grow with them. A row that is odd is never
//! lost in silence: [`Oddities`] says how many there were of each kind, where the first stands,
//! and what was done about them.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::problem::Problem;
use table::Format;

pub mod chronus;
pub mod muri;
pub mod openb;
pub mod philly;
pub mod swf;

mod lines;
mod names;
mod oddity;
mod row;
mod source;
mod table;

pub use oddity::{Odd, Oddities, Oddity};
pub use openb::{TraceNode, TracePod, nodes, pods};
pub use source::{Source, SourceError};

/// A job as the trace tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceJob {
    /// Unique within the trace: its own name there, or `line-N` where jobs have none.
    pub name: String,
    /// Whose job it is.
    pub tenant: String,
    /// When it was submitted, after the first submission of the trace.
    pub submitted: Duration,
    /// How long it ran; never zero.
    pub runtime: Duration,
    /// The longest runtime that its owner declared.
    pub max_runtime: Option<Duration>,
    /// Whole GPUs of all its pods together.
    pub gpus: u32,
    /// Thousandths of one GPU, when it asks for less than one; then `gpus` is zero.
    pub milli: u64,
    /// Thousandths of a CPU core, of all its pods together; zero where the trace has none.
    pub cpu_milli: u64,
    /// Memory of all its pods together; zero where the trace has none.
    pub memory_bytes: u64,
    /// GPU models that will do; any if there are none.
    pub models: Vec<String>,
    /// More goes first. None of these formats has priorities: all are zero.
    pub priority: i32,
    /// When it should have ended, after its submission.
    pub deadline: Option<Duration>,
    /// It was content with what others left.
    pub best_effort: bool,
}

impl TraceJob {
    /// A job that asks for these GPUs and says nothing else.
    fn new(name: String, tenant: String, runtime: Duration, gpus: u32) -> Self {
        Self {
            name,
            tenant,
            submitted: Duration::ZERO,
            runtime,
            max_runtime: None,
            gpus,
            milli: 0,
            cpu_milli: 0,
            memory_bytes: 0,
            models: Vec::new(),
            priority: 0,
            deadline: None,
            best_effort: false,
        }
    }
}

/// A job before the trace's first submission is known.
#[derive(Debug)]
struct Entry {
    /// Milliseconds since whatever the trace counts from.
    at: i64,
    job: TraceJob,
}

/// Hands over every job of a trace, in the order of the file, which need not be that of time.
///
/// The file is read twice: first for the time of the first submission and to see that it is
/// such a file at all. A file that is refused hands over nothing.
///
/// # Errors
/// When the file cannot be read, is not of this format, or has no rows.
pub fn read(source: &Source, each: &mut dyn FnMut(TraceJob)) -> Result<Oddities, Problem> {
    let file = source.file();
    match source {
        Source::Openb(_) => replay(&openb::JOBS, &file, each),
        Source::Philly(_) => replay(&philly::JOBS, &file, each),
        Source::Muri(_) => replay(&muri::JOBS, &file, each),
        Source::Chronus(_) => replay(&chronus::JOBS, &file, each),
        Source::Swf(_) => replay(&swf::JOBS, &file, each),
    }
}

fn replay<const N: usize>(
    format: &Format<Entry, N>,
    file: &Path,
    each: &mut dyn FnMut(TraceJob),
) -> Result<Oddities, Problem> {
    let mut first = i64::MAX;
    table::read(format, file, &mut |entry| first = first.min(entry.at))?;
    table::read(format, file, &mut |Entry { at, mut job }| {
        let after = u64::try_from(at.saturating_sub(first));
        // Negative only if somebody writes to the file between the two readings.
        job.submitted = Duration::from_millis(after.unwrap_or_default());
        each(job);
    })
}

/// SHA-256 of a file's bytes, in hexadecimal: names an input by its content.
///
/// # Errors
/// When the file cannot be read.
pub fn hash(file: &Path) -> Result<String, Problem> {
    let digest = digest(file).map_err(|error| unreadable(file, &error))?;
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn digest(file: &Path) -> io::Result<impl AsRef<[u8]> + std::ops::Deref<Target = [u8]>> {
    let mut input = BufReader::with_capacity(lines::BUFFER, File::open(file)?);
    let mut digest = Sha256::new();
    loop {
        let bytes = input.fill_buf()?;
        let count = bytes.len();
        if count == 0 {
            return Ok(digest.finalize());
        }
        digest.update(bytes);
        input.consume(count);
    }
}

fn unreadable(file: &Path, error: &io::Error) -> Problem {
    Problem::new(
        &file.display().to_string(),
        "file",
        format!("cannot be read: {error}"),
        "name a trace's file that you may read",
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    /// A file with this text, for as long as its folder is kept.
    pub(super) fn fixture(text: &str) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trace");
        std::fs::write(&file, text).unwrap();
        (folder, file)
    }

    pub(super) fn read(source: fn(PathBuf) -> Source, text: &str) -> (Vec<TraceJob>, Oddities) {
        let (_folder, file) = fixture(text);
        let mut jobs = Vec::new();
        let oddities = super::read(&source(file), &mut |job| jobs.push(job)).unwrap();
        assert_eq!(oddities.taken(), jobs.len() as u64);
        (jobs, oddities)
    }

    /// The problem of a file that hands nothing over, with `FILE` for its path.
    pub(super) fn refused(source: fn(PathBuf) -> Source, text: &str) -> String {
        let (_folder, file) = fixture(text);
        let mut none = |job| panic!("{job:?}");
        let problem = super::read(&source(file.clone()), &mut none).unwrap_err();
        problem
            .to_string()
            .replace(&file.display().to_string(), "FILE")
    }

    /// Code, rows and first line of each kind.
    pub(super) fn odd(oddities: &Oddities) -> Vec<(Oddity, u64, u64)> {
        let odd = oddities.odd.iter();
        odd.map(|odd| (odd.code, odd.rows, odd.first_line))
            .collect()
    }

    pub(super) fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let missing = Path::new("no/such/file");
        let source: Source = "swf:no/such/file".parse().unwrap();
        let problem = super::read(&source, &mut |_| ()).unwrap_err().to_string();
        assert!(
            problem.starts_with("error: no/such/file: file: cannot be read: "),
            "{problem}"
        );
        let problem = hash(missing).unwrap_err().to_string();
        assert!(
            problem.starts_with("error: no/such/file: file: cannot be read: "),
            "{problem}"
        );
    }

    #[test]
    fn an_input_is_known_by_its_bytes() {
        let hash_of = |text: &str| {
            let (_folder, file) = fixture(text);
            hash(&file).unwrap()
        };
        assert_eq!(
            hash_of("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hash_of(&"a".repeat(1_000_000)),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        );
    }

    /// Whatever the bytes: refused, or every row counted either as taken or as skipped.
    fn survives<T, const N: usize>(format: &Format<T, N>, bytes: &[u8]) {
        let (mut input, mut taken) = (bytes, 0);
        if let Ok(oddities) = table::scan(format, "x", &mut input, &mut |_| taken += 1) {
            assert_eq!(oddities.taken(), taken);
            assert_eq!(oddities.to_string().lines().count(), oddities.odd.len());
        }
    }

    /// A first line that is right, and others of what such files are made of.
    fn nearly<T, const N: usize>(format: &Format<T, N>, lines: &[Vec<&str>]) {
        let (header, by) = match format.layout {
            table::Layout::Csv => (format.columns.join(","), ","),
            table::Layout::Blanks => (String::new(), " "),
        };
        let width = |line: &Vec<&str>| line[..N.min(line.len())].join(by);
        let lines: Vec<String> = lines.iter().map(width).collect();
        survives(format, format!("{header}\n{}", lines.join("\n")).as_bytes());
    }

    fn cells() -> impl Strategy<Value = Vec<&'static str>> {
        let known = [
            "",
            "0",
            "1",
            "2",
            "-1",
            "5",
            "8.0",
            "1.5",
            "-7",
            "1000",
            "9007199254740992",
            "99999999999999999999",
            "2017-10-09 07:01:55",
            "2017-99-99 99:99:99",
            "a",
            "a\"b",
            "\"c\"",
            "3-4",
            "-",
            "T4|P100",
            "é",
            "\u{0}",
            ";",
        ];
        proptest::collection::vec(proptest::sample::select(known.to_vec()), 1..20)
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            survives(&openb::JOBS, &bytes);
            survives(&openb::PODS, &bytes);
            survives(&openb::NODES, &bytes);
            survives(&philly::JOBS, &bytes);
            survives(&muri::JOBS, &bytes);
            survives(&chronus::JOBS, &bytes);
            survives(&swf::JOBS, &bytes);
        }

        #[test]
        fn no_rows_are_too_strange(lines in proptest::collection::vec(cells(), 0..12)) {
            nearly(&openb::JOBS, &lines);
            nearly(&openb::PODS, &lines);
            nearly(&openb::NODES, &lines);
            nearly(&philly::JOBS, &lines);
            nearly(&muri::JOBS, &lines);
            nearly(&chronus::JOBS, &lines);
            nearly(&swf::JOBS, &lines);
        }
    }
}
