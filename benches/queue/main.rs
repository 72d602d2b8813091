//! The performance test of Kueue's own repository, given to our queue on a real control plane:
//!
//! `cargo bench --bench queue`
//!
//! 15,000 Jobs of 30 tenants in 5 groups, three classes each, all streams starting together.
//! Nothing but the queue is measured, as there: no scheduler, no pods; a runner ends each Job its
//! run time after it was admitted, and forgets it when it is evicted. Each tenant owns 20 GPUs and
//! may have 100 more of its group's; owners reclaim, and classes preempt within their tenant.
//!
//! Kueue's test has CPUs where this has GPUs, and only Workload objects where this has Jobs with a
//! record each.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

#[path = "../../tests/cluster/mod.rs"]
mod cluster;
mod load;
mod requests;
mod runner;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use prorata_controlplane::{Options as Plane, Process, nodes};

use cluster::Cluster;
use cluster::controller::Site;
use load::{CLASSES, Load};
use requests::Requests;
use runner::{Observed, Runner};

/// Nothing runs for longer than this, whatever happens.
const PATIENCE: Duration = Duration::from_secs(900);

/// Measures how fast the queue admits, by the performance test of Kueue's repository.
#[derive(Debug, Parser)]
#[command(
    name = "queue",
    after_help = "Example, about 4 minutes on two cores:\n  cargo bench --bench queue"
)]
struct Options {
    /// Per cent of each stream's Jobs
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100))]
    percent: u32,
    /// Said by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("nothing is measured except by `cargo bench`");
        return ExitCode::SUCCESS;
    }
    let Some((cluster, controller)) = prepared().await else {
        return ExitCode::FAILURE;
    };
    let load = Load::new(options.percent);
    let runner = Runner::start(&cluster.admin, &load);
    let requests = Requests::so_far(&cluster.admin).await;
    let before = controller.cpu_time().unwrap();
    let clock = Instant::now();
    load.submit(&cluster.alice).await;
    let submitted = clock.elapsed();
    let observed = runner.until_ended(load.jobs(), PATIENCE).await;
    let requests = Requests::so_far(&cluster.admin).await.since(&requests);
    let cpu = controller.cpu_time().unwrap() - before;
    println!(
        "{}",
        report(&load, &observed, submitted, cpu, &requests, &controller)
    );
    ExitCode::SUCCESS
}

/// A control plane with our controller, and nobody who would make pods of Jobs.
async fn prepared() -> Option<(Cluster, Process)> {
    let plane = Plane {
        controllers: vec!["namespace-controller".to_owned()],
        ..Plane::default()
    };
    let cluster = Cluster::start(plane).await?;
    cluster.install().await;
    cluster.apply(&load::manifests());
    nodes::create(&cluster.admin, load::NODES, &load::node())
        .await
        .unwrap();
    let site = Site::prepare(&cluster.plane);
    let mut config = std::fs::OpenOptions::new()
        .append(true)
        .open(&site.config)
        .unwrap();
    writeln!(config, "preemption: {{minRuntime: 0s}}").unwrap();
    let controller = site.start(&cluster.plane).await;
    Some((cluster, controller))
}

fn report(
    load: &Load,
    observed: &Observed,
    submitted: Duration,
    cpu: Duration,
    requests: &Requests,
    controller: &Process,
) -> String {
    let jobs = f64::from(u32::try_from(load.jobs()).unwrap());
    let seconds = observed.makespan.as_secs_f64();
    let capacity = f64::from(load::GPUS) * seconds;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "| | |\n|---|---|\n\
         | Jobs | {jobs} |\n\
         | created within | {:.0} s |\n\
         | makespan | {seconds:.0} s |\n\
         | admitted per second | {:.0} |\n\
         | evictions | {} |\n\
         | controller's CPU per Job | {:.2} ms |\n\
         | controller's writes per Job | {:.2} |\n\
         | controller's memory at most | {:.0} MiB |\n\
         | share of the quota in use | {:.0} % |\n\
         | useful GPU-seconds of capacity x makespan | {:.0} % |",
        submitted.as_secs_f64(),
        jobs / seconds,
        observed.evictions,
        cpu.as_secs_f64() * 1000.0 / jobs,
        requests.ours(load.jobs(), observed.ends) / jobs,
        peak_mib(controller),
        100.0 * observed.held_gpu_seconds / capacity,
        100.0 * load.gpu_seconds() / capacity,
    );
    for (class, waits) in CLASSES.iter().zip(&observed.waits) {
        let mean = waits.iter().map(Duration::as_secs_f64).sum::<f64>() / waits.len().max(1) as f64;
        let _ = writeln!(
            text,
            "| mean time to admission, {} | {mean:.1} s |",
            class.name
        );
    }
    text
}

/// The most memory that a process ever had in RAM.
fn peak_mib(process: &Process) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u32 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    f64::from(kib) / 1024.0
}
