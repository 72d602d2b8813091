//! Traces of Muri's simulator (SIGCOMM'22), drawn from Philly: 64 GPUs, gangs of 1 to 32.
//!
//! `submit_time` and `duration` are milliseconds. There are no tenants: all is `muri`'s. Its
//! `priority` is no order but AntMan's two classes, drawn at random: 0 has its resources
//! guaranteed, 1 is opportunistic, which is best effort here; the other policies ignore it.

use super::row::{Fault, Row};
use super::table::{Format, Layout};
use super::{Entry, TraceJob};

pub(super) const JOBS: Format<Entry, 5> = Format {
    layout: Layout::Csv,
    columns: ["job_id", "num_gpu", "submit_time", "duration", "priority"],
    needed: 4,
    remedy: "name a CSV file whose first line names the columns job_id, num_gpu, submit_time and duration",
    take: job,
};

fn job(row: &mut Row<'_, 5>) -> Result<Entry, Fault> {
    let [id, gpus, submitted, duration, priority] = row.cells;
    let (at, millis) = (submitted.millis(1)?, duration.millis(1)?);
    let best_effort = priority.flag()?;
    let gpus = gpus.gpus()?;
    let runtime = row.runtime(millis);
    let name = row.name(id)?;
    let job = TraceJob {
        best_effort,
        ..TraceJob::new(name, "muri".to_owned(), runtime, gpus)
    };
    Ok(Entry { at, job })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{odd, read, refused, seconds};
    use super::super::{Oddity, Source};
    use super::*;

    const HEADER: &str = "job_id,num_gpu,submit_time,iterations,model_name,batch_size,duration,\
        interval,iteration_time,resource_time_0,resource_time_1,resource_time_2,priority\r\n";

    #[test]
    fn times_are_milliseconds() {
        let rows = "0,1,46122000,5853661,dqn,128,2868294000,46122000,490,446,8,0,1\r\n\
            1,32,201694000,8787693,dqn,128,4472936000,201694000,509,435,8,0.5,0\r\n";
        let (jobs, oddities) = read(Source::Muri, &format!("{HEADER}{rows}"));
        let expected = [
            TraceJob {
                best_effort: true,
                ..TraceJob::new("0".into(), "muri".into(), seconds(2_868_294), 1)
            },
            TraceJob {
                submitted: seconds(155_572),
                ..TraceJob::new("1".into(), "muri".into(), seconds(4_472_936), 32)
            },
        ];
        assert_eq!(jobs, expected);
        assert_eq!((oddities.rows, oddities.odd.len()), (2, 0));
    }

    #[test]
    fn odd_rows_are_counted_with_the_first_line() {
        let rows = "0,1,0,1,dqn,128,2000,0,490,446,8,0,1\r\n\
            0,2,0,1,dqn,128,2000,0,490,446,8,0,0\r\n\
            1,0,0,1,dqn,128,2000,0,490,446,8,0,0\r\n\
            2,1,0,1,dqn,128,0,0,490,446,8,0,0\r\n\
            3,1,0,1,dqn,128,2000,0,490,446,8,0,7\r\n\
            0,1,0,1,dqn,128,2000,0,490,446,8,0,0\r\n";
        let (jobs, oddities) = read(Source::Muri, &format!("{HEADER}{rows}"));
        let expected = [
            (Oddity::Unreadable, 1, 6),
            (Oddity::NoGpus, 1, 4),
            (Oddity::ZeroRuntime, 1, 5),
            (Oddity::DuplicateName, 2, 3),
        ];
        assert_eq!(odd(&oddities), expected);
        let why = "priority: `7` is neither 0 nor 1";
        assert_eq!(oddities.odd[0].first_why.as_deref(), Some(why));
        let names: Vec<&str> = jobs.iter().map(|job| &*job.name).collect();
        assert_eq!(names, ["0", "0-line3", "2", "0-line7"]);
    }

    #[test]
    fn another_file_is_refused() {
        let text = "num_switch,num_node_p_switch,num_gpu_p_node\n1,8,8\n";
        assert_eq!(
            refused(Source::Muri, text),
            "error: FILE:1: job_id: there is no such column\n  help: name a CSV file whose first line names the columns job_id, num_gpu, submit_time and duration"
        );
    }
}
