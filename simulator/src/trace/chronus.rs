//! Traces of Chronus' simulator (SoCC'21), drawn from Philly, with deadlines and best effort.
//!
//! All times are **minutes**, as its data show: submissions fill fourteen days of 1,440, runtimes
//! go from 20 to three days of 1,440, and by GPUs they are distributed as Philly's in minutes.
//! A `user` is one of Philly's virtual clusters: a tenant. `expect_time_list` has deadlines after
//! the submission, separated by `-`, of which the first counts; in rows with `best_effort` 1 it
//! means nothing. Its authors, too, skip the jobs that ask for 0 GPUs.

use std::time::Duration;

use super::row::{Cell, Fault, Row};
use super::table::{Format, Layout};
use super::{Entry, TraceJob};

const MINUTE_MS: u64 = 60_000;

pub(super) const JOBS: Format<Entry, 7> = Format {
    layout: Layout::Csv,
    columns: [
        "job_id",
        "user",
        "num_gpu",
        "submit_time",
        "duration",
        "expect_time_list",
        "best_effort",
    ],
    needed: 5,
    remedy: "name a CSV file whose first line names the columns job_id, user, num_gpu, submit_time and duration",
    take: job,
};

fn job(row: &mut Row<'_, 7>) -> Result<Entry, Fault> {
    let [id, user, gpus, submitted, duration, expected, best_effort] = row.cells;
    let (at, millis) = (submitted.millis(MINUTE_MS)?, duration.millis(MINUTE_MS)?);
    let best_effort = best_effort.flag()?;
    let deadline = if best_effort {
        None
    } else {
        deadline(expected)?
    };
    let gpus = gpus.gpus()?;
    let runtime = row.runtime(millis);
    let tenant = row.tenant(user.text);
    let name = row.name(id)?;
    let job = TraceJob {
        deadline,
        best_effort,
        ..TraceJob::new(name, tenant, runtime, gpus)
    };
    Ok(Entry { at, job })
}

fn deadline(list: Cell<'_>) -> Result<Option<Duration>, Fault> {
    if list.text.is_empty() {
        return Ok(None);
    }
    let text = list.text.split('-').next().unwrap_or_default();
    let millis = Cell { text, ..list }.millis(MINUTE_MS)?;
    Ok(Some(Duration::from_millis(millis.unsigned_abs())))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{odd, read, refused, seconds};
    use super::super::{Oddity, Source};
    use super::*;

    const HEADER: &str = "job_id,user,num_gpu,submit_time,iterations,model_name,duration,\
        interval,expect_time_list,expect_value_list,best_effort,job_type\n";

    #[test]
    fn deadlines_count_from_the_submission() {
        let rows = "0,vc_62,1,8555,5049,vgg16,747,14,1105,10,0,strict\n\
            1,vc_ed,8,832,296,mobilenet_v2,98,8,128-140-160,10-8-5,0,soft\n\
            2,vc_ee,1,14341,3621,alexnet,30,17,14341,10,1,best\n";
        let (jobs, oddities) = read(Source::Chronus, &format!("{HEADER}{rows}"));
        let minutes = |minutes: u64| seconds(minutes * 60);
        let expected = [
            TraceJob {
                submitted: minutes(8555 - 832),
                deadline: Some(minutes(1105)),
                ..TraceJob::new("0".into(), "vc_62".into(), minutes(747), 1)
            },
            TraceJob {
                deadline: Some(minutes(128)),
                ..TraceJob::new("1".into(), "vc_ed".into(), minutes(98), 8)
            },
            TraceJob {
                submitted: minutes(14_341 - 832),
                best_effort: true,
                ..TraceJob::new("2".into(), "vc_ee".into(), minutes(30), 1)
            },
        ];
        assert_eq!(jobs, expected);
        assert_eq!((oddities.rows, oddities.odd.len()), (3, 0));
    }

    #[test]
    fn odd_rows_are_counted_with_the_first_line() {
        let rows = "0,vc_62,1,5,1,vgg16,747,14,,10,0,strict\n\
            1,vc_62,0,5,1,vgg16,747,14,1105,10,0,strict\n\
            2,,1,5,1,vgg16,747,14,1105,10,0,strict\n\
            3,vc_62,1,5,1,vgg16,0,14,1105,10,0,strict\n\
            4,vc_62,1,5,1,vgg16,747,14,-3,10,0,strict\n\
            5,vc_62,0,5,1,vgg16,747,14,1105,10,0,strict\n\
            2,vc_62,1,5,1,vgg16,747,14,1105,10,0,strict\n";
        let (jobs, oddities) = read(Source::Chronus, &format!("{HEADER}{rows}"));
        let expected = [
            (Oddity::Unreadable, 1, 6),
            (Oddity::NoGpus, 2, 3),
            (Oddity::ZeroRuntime, 1, 5),
            (Oddity::DuplicateName, 1, 8),
            (Oddity::NoTenant, 1, 4),
        ];
        assert_eq!(odd(&oddities), expected);
        let why = "expect_time_list: is empty";
        assert_eq!(oddities.odd[0].first_why.as_deref(), Some(why));
        assert_eq!(jobs[0].deadline, None);
        assert_eq!(jobs.len(), 4);
    }

    #[test]
    fn another_file_is_refused() {
        let text = "job_id,num_gpu,submit_time,duration,priority\n1,8,8,8,0\n";
        assert_eq!(
            refused(Source::Chronus, text),
            "error: FILE:1: user: there is no such column\n  help: name a CSV file whose first line names the columns job_id, user, num_gpu, submit_time and duration"
        );
    }
}
