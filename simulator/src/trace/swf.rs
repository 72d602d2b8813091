//! Standard Workload Format, version 2.2: logs of parallel computers, 18 fields separated by
//! white space, `;` before comments, -1 for what is not known, times in seconds.
//!
//! A processor is taken for a GPU: as many as were requested, or where that is not known,
//! allocated. A user is a tenant; where users are not known, a group, a partition or a queue.
//! Requested memory is KiB per processor. A job that was swapped out has a row for the whole of
//! it, and one of status 2, 3 or 4 for each part.

use std::time::Duration;

use super::oddity::Oddity;
use super::row::{Cell, Fault, Row};
use super::table::{Format, Layout};
use super::{Entry, TraceJob};

const KIB: u64 = 1 << 10;

pub(super) const JOBS: Format<Entry, 18> = Format {
    layout: Layout::Blanks,
    columns: [
        "job number",
        "submit time",
        "wait time",
        "run time",
        "allocated processors",
        "average CPU time",
        "used memory",
        "requested processors",
        "requested time",
        "requested memory",
        "status",
        "user",
        "group",
        "executable",
        "queue",
        "partition",
        "preceding job",
        "think time",
    ],
    needed: 18,
    remedy: "name a file in Standard Workload Format: 18 numbers in a row, separated by blanks",
    take: job,
};

fn job(row: &mut Row<'_, 18>) -> Result<Entry, Fault> {
    let [
        id,
        submitted,
        _wait,
        ran,
        allocated,
        _cpu_time,
        _used_memory,
        requested,
        limit,
        memory,
        status,
        user,
        group,
        _executable,
        queue,
        partition,
        _preceding,
        _think_time,
    ] = row.cells;
    // Parts of a run are told first: but for the first of them, they have no submit time.
    let millis = runtime(ran, status)?;
    let at = submitted.millis(1000)?;
    let gpus = processors(requested, allocated)?;
    let max_runtime = known(limit, |cell| cell.millis(1000))?.unwrap_or(0);
    let each = known(memory, |cell| cell.bytes(KIB))?.unwrap_or(0);
    let memory_bytes = each.checked_mul(u64::from(gpus));
    let memory_bytes = memory_bytes.ok_or_else(|| memory.too_much())?;
    let owners = [
        ("user", user),
        ("group", group),
        ("partition", partition),
        ("queue", queue),
    ];
    let tenant = row.tenant(&owner(owners)?);
    let runtime = row.runtime(millis);
    let name = row.name(id)?;
    let job = TraceJob {
        max_runtime: (max_runtime > 0).then(|| Duration::from_millis(max_runtime.unsigned_abs())),
        memory_bytes,
        ..TraceJob::new(name, tenant, runtime, gpus)
    };
    Ok(Entry { at, job })
}

/// How long it ran, in milliseconds; rows that are no run are skipped.
fn runtime(ran: Cell<'_>, status: Cell<'_>) -> Result<i64, Fault> {
    let millis = known(ran, |cell| cell.millis(1000))?;
    match (status.text, millis) {
        ("2" | "3" | "4", _) => Err(Fault::Odd(Oddity::PartialRun)),
        ("5", None | Some(0)) => Err(Fault::Odd(Oddity::Cancelled)),
        (_, None) => Err(Fault::Odd(Oddity::UnknownRuntime)),
        (_, Some(millis)) => Ok(millis),
    }
}

fn processors(requested: Cell<'_>, allocated: Cell<'_>) -> Result<u32, Fault> {
    let wanted = known(requested, |cell| cell.whole())?.filter(|count| *count > 0);
    match (wanted, known(allocated, |cell| cell.whole())?) {
        (Some(_), _) => requested.gpus(),
        (None, Some(_)) => allocated.gpus(),
        // Of a job without processors it is at least known that it has none.
        (None, None) if requested.text != UNKNOWN => requested.gpus(),
        (None, None) => Err(requested.fault("neither these nor the allocated ones are known")),
    }
}

/// The first of these that is known, as `user7`.
fn owner(candidates: [(&str, Cell<'_>); 4]) -> Result<String, Fault> {
    for (kind, cell) in candidates {
        if let Some(id) = known(cell, |cell| cell.whole())? {
            return Ok(format!("{kind}{id}"));
        }
    }
    Ok(String::new())
}

/// What stands for a value that is not known.
const UNKNOWN: &str = "-1";

fn known<'a, T>(
    cell: Cell<'a>,
    read: impl Fn(&Cell<'a>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    match cell.text {
        UNKNOWN => Ok(None),
        _ => read(&cell).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::super::tests::{odd, read, refused, seconds};
    use super::*;

    const HEADER: &str = "; Version: 2.2\n;   Computer: of a test\n\n";

    #[test]
    fn users_are_tenants_and_processors_gpus() {
        let rows = "  1  100 5  60 8 -1 -1 16 3600 2048 1 3 1 -1 2 1 -1 -1\n\
            ; a comment in the middle\n\
            2 90.5 -1 7.25 4 -1 -1 -1 -1 -1 0 -1 5 -1 2 1 -1 -1\n\
            3 101 -1 60 4 -1 -1 0 0 -1 -1 -1 -1 -1 2 1 -1 -1\n\
            4 102 -1 60 4 -1 -1 4 -1 -1 5 -1 -1 -1 2 -1 -1 -1\n";
        let (jobs, oddities) = read(Source::Swf, &format!("{HEADER}{rows}"));
        let job = |name: &str, tenant: &str, gpus| {
            TraceJob::new(name.to_owned(), tenant.to_owned(), seconds(60), gpus)
        };
        let millis = Duration::from_millis;
        let expected = [
            TraceJob {
                submitted: millis(9_500),
                max_runtime: Some(seconds(3600)),
                memory_bytes: 16 * 2048 * 1024,
                ..job("1", "user3", 16)
            },
            TraceJob {
                runtime: millis(7_250),
                ..job("2", "group5", 4)
            },
            TraceJob {
                submitted: millis(10_500),
                ..job("3", "partition1", 4)
            },
            TraceJob {
                submitted: millis(11_500),
                ..job("4", "queue2", 4)
            },
        ];
        assert_eq!(jobs, expected);
        assert_eq!((oddities.rows, oddities.odd.len()), (4, 0));
    }

    #[test]
    fn odd_rows_are_counted_with_the_first_line() {
        let rows = "1 0 -1 60 8 -1 -1 16 -1 -1 1 3 1 -1 2 1 -1 -1\n\
            2 0 -1 -1 8 -1 -1 16 -1 -1 5 3 1 -1 2 1 -1 -1\n\
            3 0 -1 0 8 -1 -1 16 -1 -1 5 3 1 -1 2 1 -1 -1\n\
            4 0 -1 -1 8 -1 -1 16 -1 -1 1 3 1 -1 2 1 -1 -1\n\
            5 0 -1 0 8 -1 -1 16 -1 -1 1 3 1 -1 2 1 -1 -1\n\
            1 0 -1 30 8 -1 -1 16 -1 -1 2 3 1 -1 2 1 -1 -1\n\
            1 -1 -1 30 8 -1 -1 16 -1 -1 3 3 1 -1 2 1 -1 -1\n\
            6 0 -1 60 0 -1 -1 0 -1 -1 1 3 1 -1 2 1 -1 -1\n\
            7 0 -1 60 -1 -1 -1 -1 -1 -1 1 3 1 -1 2 1 -1 -1\n\
            8 0 -1 60 4 -1 -1 -1 -1 -1 1 -1 -1 -1 -1 -1 -1 -1\n\
            9 0 -1 60 4 -1 -1 -1 -1\n\
            1 0 -1 60 4 -1 -1 -1 -1 -1 1 3 1 -1 2 1 -1 -1\n\
            10 0 -1 60 -1 -1 -1 0 -1 -1 1 3 1 -1 2 1 -1 -1\n";
        let (jobs, oddities) = read(Source::Swf, &format!("{HEADER}{rows}"));
        let expected = [
            (Oddity::Unreadable, 2, 12),
            (Oddity::NoGpus, 2, 11),
            (Oddity::Cancelled, 2, 5),
            (Oddity::UnknownRuntime, 1, 7),
            (Oddity::PartialRun, 2, 9),
            (Oddity::ZeroRuntime, 1, 8),
            (Oddity::DuplicateName, 1, 15),
            (Oddity::NoTenant, 1, 13),
        ];
        assert_eq!(odd(&oddities), expected);
        let names: Vec<&str> = jobs.iter().map(|job| &*job.name).collect();
        assert_eq!(names, ["1", "5", "8", "1-line15"]);
    }

    #[test]
    fn another_file_is_refused() {
        assert_eq!(
            refused(Source::Swf, "; Version: 2.2\na,b,c\n"),
            "error: FILE:2: row: has 1 columns instead of 18; 1 of 1 rows cannot be read\n  help: name a file in Standard Workload Format: 18 numbers in a row, separated by blanks"
        );
        let empty = refused(Source::Swf, "; Version: 2.2\n");
        assert!(
            empty.starts_with("error: FILE: file: has no rows\n"),
            "{empty}"
        );
    }
}
