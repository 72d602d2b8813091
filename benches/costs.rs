//! What a control plane without kube-scheduler and our controller have spent so far.

use std::time::{Duration, Instant};

use prorata_controlplane::{ControlPlane, Process, Program};

/// Processor times.
pub(crate) struct Times {
    pub(crate) controller: Duration,
    pub(crate) api_server: Duration,
    pub(crate) etcd: Duration,
}

impl Times {
    /// So far.
    pub(crate) fn so_far(plane: &ControlPlane, controller: &Process) -> Self {
        let of = |program| plane.cpu_time(program).unwrap();
        Self {
            controller: controller.cpu_time().unwrap(),
            api_server: of(Program::ApiServer),
            etcd: of(Program::Etcd),
        }
    }

    /// Those since then, in the order of the fields, divided by so many; in milliseconds.
    pub(crate) fn each_since(&self, before: &Self, jobs: usize) -> [f64; 3] {
        let jobs = f64::from(u32::try_from(jobs).unwrap());
        let ms = |after: Duration, before: Duration| (after - before).as_secs_f64() * 1000.0 / jobs;
        [
            ms(self.controller, before.controller),
            ms(self.api_server, before.api_server),
            ms(self.etcd, before.etcd),
        ]
    }

    /// All of them.
    fn total(&self) -> Duration {
        self.controller + self.api_server + self.etcd
    }
}

/// Waits for two seconds in which next to nothing is done.
pub(crate) async fn until_idle(plane: &ControlPlane, controller: &Process) {
    const SPAN: Duration = Duration::from_secs(2);
    const IDLE: Duration = Duration::from_millis(200);
    const WITHIN: Duration = Duration::from_secs(300);
    let clock = Instant::now();
    let mut before = Times::so_far(plane, controller).total();
    loop {
        tokio::time::sleep(SPAN).await;
        assert!(clock.elapsed() < WITHIN, "something goes on and on");
        let now = Times::so_far(plane, controller).total();
        if now - before < IDLE {
            return;
        }
        before = now;
    }
}

/// The most memory that a process ever had in RAM, in MiB.
pub(crate) fn peak_mib(process: &Process) -> f64 {
    memory_mib(process, "VmHWM:")
}

/// The memory that it has in RAM now, in MiB.
#[allow(dead_code, reason = "each benchmark uses a part of it")]
pub(crate) fn resident_mib(process: &Process) -> f64 {
    memory_mib(process, "VmRSS:")
}

fn memory_mib(process: &Process, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib: u32 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    f64::from(kib) / 1024.0
}
