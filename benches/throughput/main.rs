//! How fast Jobs become bound pods, and what that costs each process, for stock kube-scheduler,
//! for an ordinary extender, and for Prorata with all that it writes:
//!
//! `cargo bench --bench throughput -- --nodes 100,500,2000,5000`
//!
//! Every measurement gets a control plane of its own: etcd, API server, controller-manager and
//! kube-scheduler are real, nodes are objects without machines, and no kubelet runs. The clock
//! runs from the first creation until a watch has shown every pod with its node. Processor
//! time runs [`meter::TRAILING`] longer, so that writes that trail behind count too.
//!
//! Three other questions, each with an option of its own: how long one Job takes on an idle
//! cluster ([`latency`]), how fast the queue alone starts Jobs and what it writes
//! ([`admissions`]), and what Jobs cost that wait ([`crowd`]).

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

mod admissions;
#[path = "../../tests/cluster/mod.rs"]
mod cluster;
#[path = "../costs.rs"]
mod costs;
mod crowd;
mod extender;
mod latency;
mod limit;
mod machine;
mod meter;
mod options;
mod releaser;
mod report;
#[path = "../requests.rs"]
mod requests;
mod setup;
mod workload;

use std::process::ExitCode;

use clap::Parser as _;

use options::Options;
use report::{Report, Sample};
use setup::{Rig, Setup};
use workload::Workload;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("nothing is measured except by `cargo bench`");
        return ExitCode::SUCCESS;
    }
    options.check();
    let measured = match (options.latency, options.admissions, options.queue) {
        (Some(jobs), ..) => latency::print(&options, jobs).await,
        (_, Some(jobs), _) => admissions::print(jobs).await,
        (.., Some(jobs)) => crowd::print(jobs).await,
        _ => pods(&options).await,
    };
    measured.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// Measures each set-up, and prints the tables; `None` when there is no control plane to start.
async fn pods(options: &Options) -> Option<()> {
    let mut report = Report::new(options);
    for &nodes in &options.nodes {
        for round in 0..options.rounds {
            for setup in Setup::in_turn(round, &options.setups) {
                let sample = measure(options, nodes, setup, round).await?;
                eprintln!("{}", sample.line());
                report.add(sample);
            }
        }
    }
    println!("\n{}", report.markdown());
    println!("raw figures: {}", report.save().display());
    Some(())
}

/// One measurement, from nothing to nothing.
async fn measure(options: &Options, nodes: u32, setup: Setup, round: usize) -> Option<Sample> {
    let mut rig = Rig::start(setup, nodes).await?;
    if let Some(cores) = options.scheduler_cores {
        rig.limit_scheduler(cores);
    }
    let mut bound = workload::watch(&rig.cluster.admin);
    let warm_up = Workload::warm_up(setup.form());
    warm_up.create(&rig.cluster.alice).await;
    bound.until(warm_up.pods()).await;
    meter::until_idle(&mut rig).await;
    let wide = options.pods_per_job;
    let jobs = options.jobs.min(workload::jobs_on(nodes, wide));
    let work = Workload::measured(setup.form(), jobs, wide);
    let clock = meter::Clock::start(&rig).await;
    work.create(&rig.cluster.alice).await;
    bound.until(warm_up.pods() + work.pods()).await;
    let (figures, elsewhere) = clock.stop(&rig, work.pods()).await;
    let unreported = rig.unreported(warm_up.objects() + work.objects()).await;
    Some(Sample {
        nodes,
        setup,
        round,
        figures,
        unreported,
        elsewhere,
    })
}
