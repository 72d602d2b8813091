//! The performance test of Kueue's own repository, given to our queue on a real control plane:
//!
//! `cargo bench --bench queue`
//!
//! 15,000 Jobs of 30 tenants in 5 groups, three classes each, all streams starting together.
//! Nothing but the queue is measured, as there: no scheduler, no pods; a runner ends each Job its
//! run time after it was admitted, and forgets it when it is evicted. The clock stops when the last
//! has ended; what is reported later is counted too. Each tenant owns 20 GPUs and
//! may have 100 more of its group's; owners reclaim, and classes preempt within their tenant.
//!
//! Kueue's test has CPUs where this has GPUs, and only Workload objects where this has Jobs with a
//! record each.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

#[path = "../../tests/cluster/mod.rs"]
mod cluster;
#[path = "../costs.rs"]
mod costs;
mod load;
#[path = "../requests.rs"]
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
use costs::{Times, peak_mib};
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
    let before = Times::so_far(&cluster.plane, &controller);
    let clock = Instant::now();
    load.submit(&cluster.alice).await;
    let submitted = clock.elapsed();
    let observed = runner.until_ended(load.jobs(), PATIENCE).await;
    costs::until_idle(&cluster.plane, &controller).await;
    let times = Times::so_far(&cluster.plane, &controller);
    let requests = Requests::so_far(&cluster.admin).await.since(&requests);
    let requests = requests.without("POST jobs", load.jobs());
    let requests = requests.without("PATCH jobs/status", observed.writes);
    println!("{}", report(&load, &observed, submitted, &controller));
    println!("{}", cost(&load, &before, &times, &requests));
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
    let site = Site::prepare(&cluster.plane).unhurried();
    let mut config = std::fs::OpenOptions::new()
        .append(true)
        .open(&site.config)
        .unwrap();
    writeln!(config, "preemption: {{minRuntime: 1ms}}").unwrap();
    let controller = site.start(&cluster.plane).await;
    Some((cluster, controller))
}

fn report(load: &Load, observed: &Observed, submitted: Duration, controller: &Process) -> String {
    let jobs = count(load.jobs());
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
         | share of the quota in use | {:.0} % |\n\
         | useful GPU-seconds of capacity x makespan | {:.0} % |\n\
         | evictions | {} |\n\
         | controller's memory at most | {:.0} MiB |",
        submitted.as_secs_f64(),
        jobs / seconds,
        100.0 * observed.held_gpu_seconds / capacity,
        100.0 * load.gpu_seconds() / capacity,
        observed.evictions,
        peak_mib(controller),
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

/// What each process spent for a Job, and what the controller wrote.
fn cost(load: &Load, before: &Times, after: &Times, requests: &Requests) -> String {
    let jobs = count(load.jobs());
    let [controller, api_server, etcd] = after.each_since(before, load.jobs());
    let mut text = format!(
        "| per Job | |\n|---|---|\n\
         | controller's CPU | {controller:.2} ms |\n\
         | API server's CPU | {api_server:.2} ms |\n\
         | etcd's CPU | {etcd:.2} ms |\n\
         | controller's writes | {:.2} |\n",
        requests.sum() / jobs,
    );
    for (kind, all) in requests.each() {
        let _ = writeln!(text, "| of these {kind} | {:.2} |", all / jobs);
    }
    text
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}
