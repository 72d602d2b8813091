//! The public traces themselves, read from the folder that `PRORATA_DATA` names. The project
//! ships none of them: where they are absent, each test says on stderr that it checked nothing.
//!
//! Every expected number was counted by other means than the code under test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod data;

use std::collections::BTreeSet;
use std::time::Duration;

use prorata_simulator::trace::{self, Oddities, Oddity, Source, TraceJob, TraceNode, TracePod};

use data::data;

#[test]
fn philly() {
    let Some(file) = data("philly-82k/philly.csv") else {
        return;
    };
    assert_eq!(
        trace::hash(&file).unwrap(),
        "ebffb3dd1589bdf4e7bcd74496201c5ded1d557d498ee14f560463f37ec353da"
    );
    let (jobs, oddities) = read(&Source::Philly(file));
    assert_eq!((jobs.len(), oddities.rows), (82_247, 82_247));
    assert_eq!(oddities.to_string(), "");
    assert_eq!(tenants(&jobs).len(), 15);
    // 978,078 GPU-hours.
    assert_eq!(gpu_millis(&jobs), 3_521_082_502_000);
    assert_eq!(last(&jobs), Duration::from_secs(9_408_690));
    let submitted: u64 = jobs.iter().map(|job| job.submitted.as_secs()).sum();
    assert_eq!(submitted, 376_409_849_141);
    let names: BTreeSet<&str> = jobs.iter().map(|job| &*job.name).collect();
    assert_eq!(names.len(), jobs.len());
}

#[test]
fn chronus() {
    let Some(file) = data("chronus-philly-slo/trace_job_Philly_MIX1.csv") else {
        return;
    };
    let (jobs, oddities) = read(&Source::Chronus(file));
    assert_eq!((jobs.len(), oddities.rows), (30_756, 30_940));
    assert_eq!(
        oddities.to_string(),
        "trace: 184 of 30,940 rows skipped: asking for 0 GPUs (first: line 197)"
    );
    assert_eq!(oddities.count(Oddity::NoGpus), 184);
    assert_eq!(tenants(&jobs).len(), 11);
    assert_eq!(gpu_millis(&jobs), minutes(22_279_688).as_millis());
    // Fourteen days, less what is before the first and after the last.
    assert_eq!(last(&jobs), minutes(20_150));
    assert_eq!(jobs.iter().filter(|job| job.best_effort).count(), 9_156);
    let without_deadline = jobs.iter().filter(|job| job.deadline.is_none());
    assert!(without_deadline.clone().all(|job| job.best_effort));
    assert_eq!(without_deadline.count(), 9_156);
    let deadlines: Duration = jobs.iter().filter_map(|job| job.deadline).sum();
    assert_eq!(deadlines, minutes(8_978_340));
    let in_time = |job: &TraceJob| job.deadline.is_none_or(|deadline| deadline > job.runtime);
    assert!(jobs.iter().all(in_time));
}

#[test]
fn muri() {
    let (one, three) = ((1_494, 749, 1_379_976_364_000), (992, 488, 420_084_355_000));
    for (name, expected, last_ms) in [
        ("trace1", one, 10_817_570_000),
        ("trace1_pr", one, 0),
        ("trace3", three, 8_166_025_000),
        ("trace3_pr", three, 0),
    ] {
        let Some(file) = data(&format!("muri-philly-2022/{name}.csv")) else {
            return;
        };
        let (jobs, oddities) = read(&Source::Muri(file));
        let best_effort = jobs.iter().filter(|job| job.best_effort).count();
        let read = (jobs.len(), best_effort, gpu_millis(&jobs));
        assert_eq!(read, expected, "{name}");
        assert_eq!(last(&jobs), Duration::from_millis(last_ms), "{name}");
        assert_eq!(oddities.to_string(), "", "{name}");
        assert!(jobs.iter().all(|job| (1..=32).contains(&job.gpus)));
    }
}

#[test]
fn openb_jobs() {
    // Name, rows, those never scheduled and the first line of them, seconds run, best effort.
    for (name, rows, never, first, seconds, best_effort) in [
        ("default", 8_152, 897, 63, 210_028_342, 2_957),
        ("cpu100", 7_853, 883, 7, 209_019_466, 2_833),
        ("gpushare60", 8_152, 1_050, 10, 205_667_291, 4_069),
        ("gpuspec20", 8_152, 897, 63, 210_028_342, 2_957),
    ] {
        let Some(file) = data(&format!("openb-fgd-2023/openb_pod_list_{name}.csv")) else {
            return;
        };
        let (jobs, oddities) = read(&Source::Openb(file));
        assert_eq!((oddities.rows, oddities.odd.len()), (rows, 1), "{name}");
        let odd = &oddities.odd[0];
        assert_eq!(odd.code, Oddity::NeverRan, "{name}");
        assert_eq!((odd.rows, odd.first_line), (never, first), "{name}");
        let ran: Duration = jobs.iter().map(|job| job.runtime).sum();
        assert_eq!(ran, Duration::from_secs(seconds), "{name}");
        let effort = jobs.iter().filter(|job| job.best_effort).count();
        assert_eq!(effort, best_effort, "{name}");
        assert!(jobs.iter().all(|job| job.gpus == 0 || job.milli == 0));
    }
}

#[test]
fn a_folder_of_openb_is_its_default_list() {
    let Some(folder) = data("openb-fgd-2023") else {
        return;
    };
    let list = folder.join("openb_pod_list_default.csv");
    assert_eq!(read(&Source::Openb(folder)), read(&Source::Openb(list)));
}

#[test]
fn openb_pods() {
    // Name, rows, thousandths of a GPU, thousandths of a core, MiB, pods that name models.
    for (name, rows, gpu, cpu, mib, choosy) in [
        ("default", 8_152, 6_086_800, 85_436_012, 303_546_211, 0),
        ("cpu100", 7_853, 6_086_800, 80_292_312, 289_071_014, 0),
        ("gpushare60", 8_152, 4_908_340, 72_020_064, 247_033_445, 0),
        (
            "gpuspec20",
            8_152,
            6_086_800,
            85_436_012,
            303_546_211,
            1_444,
        ),
        ("multigpu30", 8_508, 8_086_800, 104_869_612, 386_930_083, 0),
    ] {
        let Some(file) = data(&format!("openb-fgd-2023/openb_pod_list_{name}.csv")) else {
            return;
        };
        let mut pods: Vec<TracePod> = Vec::new();
        let oddities = trace::pods(&file, &mut |pod| pods.push(pod)).unwrap();
        assert_eq!((pods.len(), oddities.rows), (rows, rows as u64), "{name}");
        assert_eq!(oddities.to_string(), "", "{name}");
        let sum = |of: fn(&TracePod) -> u64| pods.iter().map(of).sum::<u64>();
        assert_eq!(sum(|pod| u64::from(pod.gpus) * 1000 + pod.milli), gpu);
        assert_eq!(sum(|pod| pod.cpu_milli), cpu, "{name}");
        assert_eq!(sum(|pod| pod.memory_bytes), mib << 20, "{name}");
        assert_eq!(sum(|pod| u64::from(!pod.models.is_empty())), choosy);
    }
}

#[test]
fn openb_list_without_times_is_no_queue() {
    let Some(file) = data("openb-fgd-2023/openb_pod_list_multigpu30.csv") else {
        return;
    };
    let problem = trace::read(&Source::Openb(file), &mut |_| ()).unwrap_err();
    let problem = problem.to_string();
    assert!(
        problem.contains("creation_time: there is no such column"),
        "{problem}"
    );
    assert!(problem.contains("only for packing"), "{problem}");
}

#[test]
fn openb_nodes() {
    let Some(file) = data("openb-fgd-2023/openb_node_list_gpu_node.csv") else {
        return;
    };
    let (nodes, oddities) = trace::nodes(&file).unwrap();
    assert_eq!((nodes.len(), oddities.rows), (1_213, 1_213));
    assert_eq!(oddities.to_string(), "");
    let sum = |of: fn(&TraceNode) -> u64| nodes.iter().map(of).sum::<u64>();
    assert_eq!(sum(|node| node.gpus.into()), 6_212);
    assert_eq!(sum(|node| node.cpu_milli), 107_018_000);
    assert_eq!(sum(|node| node.memory_bytes), 503_828_480 << 20);
    let models: BTreeSet<&str> = nodes.iter().map(|node| &*node.model).collect();
    assert_eq!(
        models.into_iter().collect::<Vec<_>>(),
        ["A10", "G2", "G3", "P100", "T4", "V100M16", "V100M32"]
    );
}

fn read(source: &Source) -> (Vec<TraceJob>, Oddities) {
    let mut jobs = Vec::new();
    let oddities = trace::read(source, &mut |job| jobs.push(job)).unwrap();
    assert_eq!(oddities.taken(), jobs.len() as u64);
    let first = jobs.iter().map(|job| job.submitted).min();
    assert_eq!(first, Some(Duration::ZERO));
    (jobs, oddities)
}

fn tenants(jobs: &[TraceJob]) -> BTreeSet<&str> {
    jobs.iter().map(|job| &*job.tenant).collect()
}

/// GPU-milliseconds.
fn gpu_millis(jobs: &[TraceJob]) -> u128 {
    let held = |job: &TraceJob| u128::from(job.gpus) * job.runtime.as_millis();
    jobs.iter().map(held).sum()
}

fn last(jobs: &[TraceJob]) -> Duration {
    jobs.iter().map(|job| job.submitted).max().unwrap()
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}
