//! What the agent costs at 8 GPUs that are looked at each second: at most 1 % of a core and 40 MB.
//!
//! `PRORATA_AGENT_COST=60 cargo test --release --test agent -- cost --nocapture` measures for a minute.

use std::fs;
use std::thread;
use std::time::Duration;

use prorata_fake_nvml::{Process, profile};

use crate::bench::{Bench, Running};

/// Kernel ticks in a second, which Linux fixes for all who read `/proc`.
const TICKS: f64 = 100.0;
const BYTES_MAX: u64 = 40_000_000;
const CORE_MAX: f64 = 0.01;

/// Measured for a few seconds, so that a leap is seen. What little is measured of a few seconds is
/// coarse: two ticks are allowed for.
#[test]
fn eight_busy_gpus_cost_next_to_nothing() {
    let seconds = std::env::var("PRORATA_AGENT_COST");
    let seconds: u32 = seconds.map_or(5, |text| text.parse().unwrap());
    let mut machine = profile::h100(8);
    for (index, card) in machine.cards.iter_mut().enumerate() {
        card.utilisation = Some((97, 60));
        let process = |number| Process {
            pid: 1000 + 10 * index as u32 + number,
            memory: Some(8 << 30),
            sm: Some(20),
            memory_bandwidth: 10,
        };
        card.processes = (0..4).map(process).collect();
    }
    let bench = Bench::new(&machine);
    for pid in machine.cards.iter().flat_map(|card| &card.processes) {
        let groups = format!(
            "0::/kubepods/pod2c48913c-b29f-11e7-9350-{:012}/{}\n",
            pid.pid,
            "9a".repeat(32)
        );
        bench.process(pid.pid, &groups);
    }
    bench.container("vision", "train-7", "main", &"9a".repeat(32));
    let agent = Running::start(&bench, &["--no-publish", "--interval", "1s"]);
    agent.until("it looks", |metrics| {
        metrics.get("prorata_agent_looks_total", &[]) >= Some(1.0)
    });
    let before = processor_seconds(agent.pid());
    thread::sleep(Duration::from_secs(seconds.into()));
    let used = processor_seconds(agent.pid()) - before;
    let bytes = resident_bytes(agent.pid());
    let part = used / f64::from(seconds);
    println!(
        "{:.2} % of a core, {:.1} MB, over {seconds} s",
        part * 100.0,
        bytes as f64 / 1e6
    );
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
    let coarse = 2.0 / TICKS / f64::from(seconds);
    assert!(part <= CORE_MAX + coarse, "{:.2} % of a core", part * 100.0);
}

fn processor_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // A name in parentheses may have spaces; what follows has none.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / TICKS
}

/// The most that it has had resident. Of a program that is not optimised only what it has now, without the
/// code, which lies in a file: what is deployed has less of it.
fn resident_bytes(pid: u32) -> u64 {
    let field = match cfg!(debug_assertions) {
        true => "RssAnon:",
        false => "VmHWM:",
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1024
}
