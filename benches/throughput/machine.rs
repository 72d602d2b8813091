//! The machine: what it is, and whether something else kept it busy.

use std::fs;
use std::time::Duration;

use serde::Serialize;

/// What figures depend on.
#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let known = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = known.lines().find(|line| line.starts_with("model name"));
        let name = model.and_then(|line| line.split_once(": "));
        Self {
            processor: name
                .map_or("unknown processor", |(_, name)| name)
                .to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Processor time of the whole machine since it started, whoever took it.
pub(crate) fn busy_time() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let all: Vec<u64> = stat
        .split_whitespace()
        .skip(1)
        .take(8)
        .map(number)
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    ticks(all[..3].iter().chain(&all[5..]).sum())
}

/// Processor time of this very process.
pub(crate) fn own_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // The 14th and 15th of all are the times in user and in kernel mode; here the third is first.
    ticks(fields[11..13].iter().map(|field| number(field)).sum())
}

fn number(field: &str) -> u64 {
    field.parse().unwrap()
}

/// A hundred to a second, on every Linux that runs Kubernetes.
const fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 10)
}
