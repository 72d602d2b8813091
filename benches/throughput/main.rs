//! How fast Jobs become bound pods, and what that costs each process, for stock kube-scheduler,
//! for an ordinary extender, and for Prorata with all that it writes:
//!
//! `cargo bench --bench throughput -- --nodes 500,2000,5000`
//!
//! Every measurement gets a control plane of its own: etcd, API server, controller-manager and
//! kube-scheduler are real, nodes are objects without machines, and no kubelet runs. The clock
//! runs from the first Job's creation until a watch has shown every pod with its node. Processor
//! time runs [`meter::TRAILING`] longer, so that writes that trail behind count too.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

#[path = "../../tests/cluster/mod.rs"]
mod cluster;
mod extender;
mod machine;
mod meter;
mod options;
mod report;
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
    let mut report = Report::new(options.jobs);
    for &nodes in &options.nodes {
        for round in 0..options.rounds {
            for setup in Setup::in_turn(round, &options.setups) {
                let Some(sample) = measure(&options, nodes, setup, round).await else {
                    return ExitCode::FAILURE;
                };
                eprintln!("{}", sample.line());
                report.add(sample);
            }
        }
    }
    println!("\n{}", report.markdown());
    println!("raw figures: {}", report.save().display());
    ExitCode::SUCCESS
}

/// One measurement, from nothing to nothing; `None` when there is no control plane to start.
async fn measure(options: &Options, nodes: u32, setup: Setup, round: usize) -> Option<Sample> {
    let mut rig = Rig::start(setup, nodes).await?;
    let mut bound = workload::watch(&rig.cluster.admin);
    let warm_up = Workload::warm_up();
    warm_up.create(&rig.cluster.alice).await;
    bound.until(warm_up.pods()).await;
    meter::until_idle(&mut rig).await;
    let work = Workload::measured(options.jobs);
    let clock = meter::Clock::start(&rig);
    work.create(&rig.cluster.alice).await;
    bound.until(warm_up.pods() + work.pods()).await;
    let (figures, elsewhere) = clock.stop(&rig, work.pods()).await;
    let unreported = rig.unreported().await;
    Some(Sample {
        nodes,
        setup,
        round,
        figures,
        unreported,
        elsewhere,
    })
}
