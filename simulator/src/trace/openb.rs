//! Alibaba's GPU cluster of 2023 (`openb`): lists of pods and of nodes, to pack or to replay.
//!
//! A pod is a job. `gpu_milli` is a share of each GPU, and means something only where `num_gpu`
//! is one. `gpu_spec` has the GPU models that will do, separated by `|`; empty is any. Times are
//! in seconds. There are no tenants: all is `openb`'s; quality of service `BE` is best effort.
//! Pods may ask for no GPU at all. The `multigpu` lists have neither times nor models.

use std::path::Path;

use super::oddity::{Oddities, Oddity};
use super::row::{Cell, Fault, Row};
use super::table::{self, Format, Layout};
use super::{Entry, TraceJob};
use crate::problem::Problem;

/// The pod list that a folder stands for.
pub(super) const DEFAULT_LIST: &str = "openb_pod_list_default.csv";

const MIB: u64 = 1 << 20;

/// A pod as a pod list tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracePod {
    /// Unique within the list.
    pub name: String,
    /// Thousandths of a CPU core.
    pub cpu_milli: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// Whole GPUs.
    pub gpus: u32,
    /// Thousandths of one GPU, when it asks for less than one; then `gpus` is zero.
    pub milli: u64,
    /// GPU models that will do; any if there are none.
    pub models: Vec<String>,
}

/// A node as a node list tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceNode {
    /// Unique within the list.
    pub name: String,
    /// Thousandths of a CPU core.
    pub cpu_milli: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// GPUs.
    pub gpus: u32,
    /// Their model; empty where there are none.
    pub model: String,
}

/// Hands over every pod of a pod list of either width, in the order of the file, which is read
/// twice: one that is refused hands over nothing.
///
/// # Errors
/// When the file cannot be read, is no pod list, or has no rows.
pub fn pods(file: &Path, each: &mut dyn FnMut(TracePod)) -> Result<Oddities, Problem> {
    table::read(&PODS, file, &mut |_| ())?;
    table::read(&PODS, file, each)
}

/// The nodes of a node list, in the order of the file.
///
/// # Errors
/// When the file cannot be read, is no node list, or has no rows.
pub fn nodes(file: &Path) -> Result<(Vec<TraceNode>, Oddities), Problem> {
    let mut nodes = Vec::new();
    let oddities = table::read(&NODES, file, &mut |node| nodes.push(node))?;
    Ok((nodes, oddities))
}

pub(super) const JOBS: Format<Entry, 10> = Format {
    layout: Layout::Csv,
    columns: [
        "name",
        "cpu_milli",
        "memory_mib",
        "num_gpu",
        "gpu_milli",
        "creation_time",
        "deletion_time",
        "scheduled_time",
        "gpu_spec",
        "qos",
    ],
    needed: 8,
    remedy: "name a pod list of 11 columns, such as openb_pod_list_default.csv, or the folder that has it; the lists of 5 columns have no times and are only for packing",
    take: job,
};

pub(super) const PODS: Format<TracePod, 6> = Format {
    layout: Layout::Csv,
    columns: [
        "name",
        "cpu_milli",
        "memory_mib",
        "num_gpu",
        "gpu_milli",
        "gpu_spec",
    ],
    needed: 5,
    remedy: "name a pod list, whose first line names the columns name, cpu_milli, memory_mib, num_gpu and gpu_milli",
    take: pod,
};

pub(super) const NODES: Format<TraceNode, 5> = Format {
    layout: Layout::Csv,
    columns: ["sn", "cpu_milli", "memory_mib", "gpu", "model"],
    needed: 5,
    remedy: "name a node list, whose first line names the columns sn, cpu_milli, memory_mib, gpu and model",
    take: node,
};

fn job(row: &mut Row<'_, 10>) -> Result<Entry, Fault> {
    let [
        name,
        cpu,
        memory,
        gpus,
        share,
        created,
        deleted,
        scheduled,
        spec,
        qos,
    ] = row.cells;
    let at = created.millis(1000)?;
    let (cpu_milli, memory_bytes) = (cpu.whole()?, memory.bytes(MIB)?);
    if scheduled.text.is_empty() {
        return Err(Fault::Odd(Oddity::NeverRan));
    }
    if deleted.text.is_empty() {
        return Err(Fault::Odd(Oddity::UnknownRuntime));
    }
    let millis = deleted.millis(1000)? - scheduled.millis(1000)?;
    if millis < 0 {
        return Err(deleted.fault("is before scheduled_time"));
    }
    let (gpus, milli) = gpus_of(row, gpus, share)?;
    let runtime = row.runtime(millis);
    let name = row.name(name)?;
    let job = TraceJob {
        milli,
        cpu_milli,
        memory_bytes,
        models: models(spec),
        best_effort: qos.text == "BE",
        ..TraceJob::new(name, "openb".to_owned(), runtime, gpus)
    };
    Ok(Entry { at, job })
}

fn pod(row: &mut Row<'_, 6>) -> Result<TracePod, Fault> {
    let [name, cpu, memory, gpus, share, spec] = row.cells;
    let (cpu_milli, memory_bytes) = (cpu.whole()?, memory.bytes(MIB)?);
    let (gpus, milli) = gpus_of(row, gpus, share)?;
    Ok(TracePod {
        name: row.name(name)?,
        cpu_milli,
        memory_bytes,
        gpus,
        milli,
        models: models(spec),
    })
}

fn node(row: &mut Row<'_, 5>) -> Result<TraceNode, Fault> {
    let [name, cpu, memory, gpus, model] = row.cells;
    let (cpu_milli, memory_bytes) = (cpu.whole()?, memory.bytes(MIB)?);
    let gpus = count(gpus)?;
    Ok(TraceNode {
        name: row.name(name)?,
        cpu_milli,
        memory_bytes,
        gpus,
        model: model.text.to_owned(),
    })
}

/// Whole GPUs, or thousandths of one.
fn gpus_of<const N: usize>(
    row: &mut Row<'_, N>,
    gpus: Cell<'_>,
    share: Cell<'_>,
) -> Result<(u32, u64), Fault> {
    match count(gpus)? {
        0 if !matches!(share.text, "" | "0") => {
            row.note(Oddity::ShareWithoutGpu);
            Ok((0, 0))
        }
        1 if share.text.is_empty() => {
            row.note(Oddity::NoShare);
            Ok((1, 0))
        }
        1 => match share.whole()? {
            milli @ 1..=999 => Ok((0, milli)),
            1000 => Ok((1, 0)),
            _ => {
                row.note(Oddity::NoShare);
                Ok((1, 0))
            }
        },
        several => Ok((several, 0)),
    }
}

fn count(cell: Cell<'_>) -> Result<u32, Fault> {
    u32::try_from(cell.whole()?).map_err(|_| cell.too_much())
}

fn models(spec: Cell<'_>) -> Vec<String> {
    let models = spec.text.split('|').map(str::trim);
    let models = models.filter(|model| !model.is_empty());
    models.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::super::tests::{fixture, odd, read, refused, seconds};
    use super::*;

    const HEADER: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,\
        creation_time,deletion_time,scheduled_time\n";

    #[test]
    fn a_pod_is_a_job_that_runs_from_its_scheduling_to_its_deletion() {
        let rows = "a,12000,16384,1,1000,,LS,Running,10,12537496,20\n\
            b,6000,12288,1,999,V100M16|V100M32,BE,Failed,427061,12902960,427061\n\
            c,3152,3600,8,1000,T4,Burstable,Succeeded,11,31,21\n\
            d,3152,3600,0,0,,BE,Running,11,31,21\n";
        let (jobs, oddities) = read(Source::Openb, &format!("{HEADER}{rows}"));
        let job = |name: &str, runtime, gpus, cpu_milli, mib: u64| TraceJob {
            cpu_milli,
            memory_bytes: mib << 20,
            ..TraceJob::new(name.to_owned(), "openb".to_owned(), seconds(runtime), gpus)
        };
        let expected = [
            job("a", 12_537_476, 1, 12_000, 16_384),
            TraceJob {
                submitted: seconds(427_051),
                milli: 999,
                models: vec!["V100M16".to_owned(), "V100M32".to_owned()],
                best_effort: true,
                ..job("b", 12_475_899, 0, 6_000, 12_288)
            },
            TraceJob {
                submitted: seconds(1),
                models: vec!["T4".to_owned()],
                ..job("c", 10, 8, 3_152, 3_600)
            },
            TraceJob {
                submitted: seconds(1),
                best_effort: true,
                ..job("d", 10, 0, 3_152, 3_600)
            },
        ];
        assert_eq!(jobs, expected);
        assert_eq!((oddities.rows, oddities.odd.len()), (4, 0));
    }

    #[test]
    fn odd_rows_are_counted_with_the_first_line() {
        let rows = "a,1,1,1,1000,,BE,Running,0,9,0\n\
            b,1,1,1,1000,,BE,Pending,0,9,\n\
            c,1,1,1,1000,,BE,Running,0,,0\n\
            d,1,1,1,1000,,BE,Running,0,8,9\n\
            e,1,1,1,1000,,BE,Running,0,9,9\n\
            f,1,1,1,0,,BE,Running,0,9,0\n\
            g,1,1,1,,,BE,Running,0,9,0\n\
            h,1,1,1,1001,,BE,Running,0,9,0\n\
            i,1,1,0,500,,BE,Running,0,9,0\n\
            a,1,1,2,what it says here is not looked at,,BE,Running,0,9,0\n\
            j,1,1,1,half,,BE,Running,0,9,0\n";
        let (jobs, oddities) = read(Source::Openb, &format!("{HEADER}{rows}"));
        let expected = [
            (Oddity::Unreadable, 2, 5),
            (Oddity::NeverRan, 1, 3),
            (Oddity::UnknownRuntime, 1, 4),
            (Oddity::ZeroRuntime, 1, 6),
            (Oddity::DuplicateName, 1, 11),
            (Oddity::NoShare, 3, 7),
            (Oddity::ShareWithoutGpu, 1, 10),
        ];
        assert_eq!(odd(&oddities), expected);
        let asked: Vec<(u32, u64)> = jobs.iter().map(|job| (job.gpus, job.milli)).collect();
        assert_eq!(
            asked,
            [(1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (0, 0), (2, 0)]
        );
    }

    #[test]
    fn pods_are_read_from_lists_of_either_width() {
        let narrow = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\na,12000,16384,1,250\n";
        let wide = format!("{HEADER}a,12000,16384,1,250,,LS,Pending,,,\n");
        for text in [narrow, &wide] {
            let (_folder, file) = fixture(text);
            let mut read = Vec::new();
            let oddities = pods(&file, &mut |pod| read.push(pod)).unwrap();
            let pod = TracePod {
                name: "a".to_owned(),
                cpu_milli: 12_000,
                memory_bytes: 16 << 30,
                gpus: 0,
                milli: 250,
                models: Vec::new(),
            };
            assert_eq!((read, oddities.rows, oddities.odd.len()), (vec![pod], 1, 0));
        }
    }

    #[test]
    fn nodes_are_read_and_counted_alike() {
        let text = "sn,cpu_milli,memory_mib,gpu,model\n\
            n0,64000,262144,2,P100\nn1,96000,1,0,\nn0,64000,262144,x,P100\nn0,1,1,1,T4\n";
        let (_folder, file) = fixture(text);
        let (nodes, oddities) = nodes(&file).unwrap();
        let node = |name: &str, cpu_milli, memory_bytes, gpus, model: &str| TraceNode {
            name: name.to_owned(),
            cpu_milli,
            memory_bytes,
            gpus,
            model: model.to_owned(),
        };
        let expected = [
            node("n0", 64_000, 256 << 30, 2, "P100"),
            node("n1", 96_000, 1 << 20, 0, ""),
            node("n0-line5", 1, 1 << 20, 1, "T4"),
        ];
        assert_eq!(nodes, expected);
        let expected = [(Oddity::Unreadable, 1, 4), (Oddity::DuplicateName, 1, 5)];
        assert_eq!(odd(&oddities), expected);
    }

    #[test]
    fn a_list_without_times_is_only_for_packing() {
        let text = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\na,12000,16384,1,1000\n";
        assert_eq!(
            refused(Source::Openb, text),
            "error: FILE:1: creation_time: there is no such column\n  help: name a pod list of 11 columns, such as openb_pod_list_default.csv, or the folder that has it; the lists of 5 columns have no times and are only for packing"
        );
        let (_folder, file) = fixture("sn,cpu_milli,memory_mib,gpu,model\nn0,1,1,1,T4\n");
        let problem = pods(&file, &mut |_| ()).unwrap_err().to_string();
        assert!(
            problem.contains(":1: name: there is no such column"),
            "{problem}"
        );
        let (_folder, file) = fixture(text);
        let problem = super::nodes(&file).unwrap_err().to_string();
        assert!(
            problem.contains(":1: sn: there is no such column"),
            "{problem}"
        );
    }
}
