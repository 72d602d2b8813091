//! From the request that creates a Job of one pod until a watch shows the pod with its node, on a
//! cluster where nothing else happens: one Job after the other.

use std::time::{Duration, Instant};

use crate::meter;
use crate::options::Options;
use crate::setup::{Rig, Setup};
use crate::workload::{self, TEAMS, Workload};

/// Those that are compared.
const SETUPS: [Setup; 2] = [Setup::Stock, Setup::Prorata];

/// Measures so many Jobs with each set-up and number of nodes.
pub(crate) async fn print(options: &Options, jobs: usize) -> Option<()> {
    println!("| nodes | set-up | Jobs | p50 | p99 | most |");
    println!("|--:|---|--:|--:|--:|--:|");
    for &nodes in &options.nodes {
        for setup in SETUPS {
            let times = measure(nodes, setup, jobs).await?;
            let ms = |percent: usize| {
                let index = (times.len() - 1) * percent / 100;
                times[index].as_secs_f64() * 1000.0
            };
            println!(
                "| {nodes} | {} | {jobs} | {:.0} ms | {:.0} ms | {:.0} ms |",
                setup.name(),
                ms(50),
                ms(99),
                ms(100)
            );
        }
    }
    Some(())
}

/// How long each took, in order of time taken.
async fn measure(nodes: u32, setup: Setup, jobs: usize) -> Option<Vec<Duration>> {
    let mut rig = Rig::start(setup, nodes).await?;
    let mut bound = workload::watch(&rig.cluster.admin);
    let warm_up = Workload::warm_up(setup.form());
    warm_up.create(&rig.cluster.alice).await;
    bound.until(warm_up.pods()).await;
    meter::until_idle(&mut rig).await;
    let mut times = Vec::new();
    for number in 0..jobs {
        let job = workload::job(&format!("one-{number:04}"), 1);
        let clock = Instant::now();
        workload::create(&rig.cluster.alice, TEAMS[number % TEAMS.len()], &job).await;
        bound.until(warm_up.pods() + number + 1).await;
        times.push(clock.elapsed());
    }
    times.sort_unstable();
    Some(times)
}
