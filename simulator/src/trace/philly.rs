//! Microsoft's Philly cluster of 2017 as one row per job:
//! `timestamp,duration,num_gpus,gpu_time,cluster`.
//!
//! Submissions are local times without a zone: across a change of the clocks, gaps are an hour
//! off. Durations are seconds, those of failed jobs included. A cluster is a virtual cluster, one
//! team's share: a tenant. Jobs have no names of their own.

use super::row::{Cell, Fault, Row};
use super::table::{Format, Layout};
use super::{Entry, TraceJob};

pub(super) const JOBS: Format<Entry, 4> = Format {
    layout: Layout::Csv,
    columns: ["timestamp", "duration", "num_gpus", "cluster"],
    needed: 4,
    remedy: "name a CSV file whose first line names the columns timestamp, duration, num_gpus and cluster",
    take: job,
};

fn job(row: &mut Row<'_, 4>) -> Result<Entry, Fault> {
    let [submitted, duration, gpus, cluster] = row.cells;
    let at = local_time(submitted)?;
    let millis = duration.millis(1000)?;
    let gpus = gpus.gpus()?;
    let runtime = row.runtime(millis);
    let tenant = row.tenant(cluster.text);
    // The line is unique, and leads back to the row.
    let name = format!("line-{:06}", row.line);
    let job = TraceJob::new(name, tenant, runtime, gpus);
    Ok(Entry { at, job })
}

/// `YYYY-MM-DD HH:MM:SS` in milliseconds since the year 0.
fn local_time(cell: Cell<'_>) -> Result<i64, Fault> {
    seconds(cell.text.as_bytes())
        .map(|seconds| seconds * 1000)
        .ok_or_else(|| cell.fault("is not a time such as 2017-10-09 07:01:55"))
}

fn seconds(text: &[u8]) -> Option<i64> {
    let separated = |at: usize, by: u8| text.get(at) == Some(&by);
    let separators = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')];
    if text.len() != 19 || !separators.iter().all(|(at, by)| separated(*at, *by)) {
        return None;
    }
    let within = |from: usize, to: usize, least: i64, most: i64| {
        number(&text[from..to]).filter(|n| (least..=most).contains(n))
    };
    let (year, month) = (within(0, 4, 0, 9999)?, within(5, 7, 1, 12)?);
    let day = within(8, 10, 1, month_length(year, month))?;
    let (hour, minute) = (within(11, 13, 0, 23)?, within(14, 16, 0, 59)?);
    let second = within(17, 19, 0, 59)?;
    let months: i64 = (1..month).map(|month| month_length(year, month)).sum();
    let days = days_before(year) + months + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        Some(number * 10 + digit)
    })
}

/// Days of all years from 0 to the one before this.
const fn days_before(year: i64) -> i64 {
    // Years that 4, 100 and 400 divide, the year 0 among them.
    let leap = (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
    year * 365 + leap
}

const fn month_length(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{odd, read, refused, seconds as s};
    use super::super::{Oddity, Source};
    use super::*;

    #[test]
    fn jobs_are_read_in_the_order_of_the_file() {
        let text = "timestamp,duration,num_gpus,gpu_time,cluster\n\
            2017-10-09 07:01:55,66.0,1,66.0,11cb48\n\
            2017-10-09 06:13:03,2951.5,8,2951.0,6214e9\n";
        let (jobs, oddities) = read(Source::Philly, text);
        let expected = [
            TraceJob {
                submitted: s(48 * 60 + 52),
                ..TraceJob::new("line-000002".into(), "11cb48".into(), s(66), 1)
            },
            TraceJob::new(
                "line-000003".into(),
                "6214e9".into(),
                std::time::Duration::from_millis(2_951_500),
                8,
            ),
        ];
        assert_eq!(jobs, expected);
        assert_eq!((oddities.rows, oddities.odd.len()), (2, 0));
    }

    #[test]
    fn odd_rows_are_counted_with_the_first_line() {
        let text = "timestamp,duration,num_gpus,gpu_time,cluster\n\
            2017-10-09 07:00:00,66.0,1,66.0,a\n\
            2017-10-08 07:00:00,66.0,0,0.0,a\n\
            2017-10-09 07:00:01,0.0,1,0.0,a\n\
            2017-10-09 07:00:02,-5.0,1,-5.0,a\n\
            2017-10-09 07:00:03,5.0,1,5.0,\n\
            2017-02-29 07:00:03,5.0,1,5.0,a\n\
            2017-10-09 07:00:04,5.0,0,5.0,a\n\
            2017-10-09 07:00:05,5.0,1,5.0,b\n";
        let (jobs, oddities) = read(Source::Philly, text);
        let expected = [
            (Oddity::Unreadable, 2, 5),
            (Oddity::NoGpus, 2, 3),
            (Oddity::ZeroRuntime, 1, 4),
            (Oddity::NoTenant, 1, 6),
        ];
        assert_eq!(odd(&oddities), expected);
        let why = "duration: `-5.0` is negative";
        assert_eq!(oddities.odd[0].first_why.as_deref(), Some(why));
        let tenants: Vec<&str> = jobs.iter().map(|job| &*job.tenant).collect();
        assert_eq!(tenants, ["a", "a", "unknown", "b"]);
        assert_eq!(jobs[1].runtime, s(1));
        // A row that is skipped is no submission.
        assert_eq!(jobs[0].submitted, s(0));
    }

    #[test]
    fn another_file_is_refused() {
        let problem = refused(Source::Philly, "job_id,num_gpus\n1,2\n");
        assert_eq!(
            problem,
            "error: FILE:1: timestamp: there is no such column\n  help: name a CSV file whose first line names the columns timestamp, duration, num_gpus and cluster"
        );
    }

    #[test]
    fn times_follow_the_calendar() {
        let at = |text: &str| seconds(text.as_bytes());
        let days = |from: &str, to: &str| (at(to).unwrap() - at(from).unwrap()) / 86_400;
        assert_eq!(days("1970-01-01 00:00:00", "2017-10-09 23:59:59"), 17_448);
        assert_eq!(days("0000-01-01 00:00:00", "2000-03-01 00:00:00"), 730_545);
        assert_eq!(days("1970-01-01 00:00:00", "2000-01-01 00:00:00"), 10_957);
        assert_eq!(days("2016-02-28 00:00:00", "2016-03-01 00:00:00"), 2);
        assert_eq!(days("1900-02-28 00:00:00", "1900-03-01 00:00:00"), 1);
        for wrong in [
            "2017-10-09T07:01:55",
            "2017-10-09 07:01:5",
            "2017-13-01 00:00:00",
            "2017-00-01 00:00:00",
            "2017-04-31 00:00:00",
            "2017-10-09 24:00:00",
            "2017-10-09 07:60:00",
            "2017-10-09 07:01:-5",
            "",
        ] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }
}
