//! Clocks: the wall's, and each process's own processor time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use prorata_controlplane::{Process, Program};
use serde::Serialize;

use crate::machine;
use crate::requests::Requests;
use crate::setup::Rig;

/// How much longer than the wall clock the processor time runs.
pub(crate) const TRAILING: Duration = Duration::from_secs(2);

/// Processor time of all processes in a second in which nothing happens.
const IDLE: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(120);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    PodsPerSecond,
    SchedulerMsPerPod,
    ApiServerMsPerPod,
    ControllerMsPerPod,
    ControllerManagerMsPerPod,
    EtcdMsPerPod,
    AllMsPerPod,
    /// Of everybody, to everything but leases: what the API server has answered.
    WritesPerPod,
    ControllerPeakMib,
}

/// All figures of one measurement.
pub(crate) type Figures = BTreeMap<Figure, f64>;

/// Processor times so far.
struct Times(BTreeMap<Figure, Duration>);

impl Times {
    fn now(rig: &Rig) -> Self {
        let of = |program| rig.cluster.plane.cpu_time(program).unwrap();
        let ours = rig
            .controller
            .as_ref()
            .map(|process| process.cpu_time().unwrap());
        Self(BTreeMap::from([
            (Figure::SchedulerMsPerPod, of(Program::Scheduler)),
            (Figure::ApiServerMsPerPod, of(Program::ApiServer)),
            (
                Figure::ControllerManagerMsPerPod,
                of(Program::ControllerManager),
            ),
            (Figure::EtcdMsPerPod, of(Program::Etcd)),
            (Figure::ControllerMsPerPod, ours.unwrap_or_default()),
        ]))
    }

    fn total(&self) -> Duration {
        self.0.values().sum()
    }
}

/// A measurement under way.
pub(crate) struct Clock {
    wall: Instant,
    times: Times,
    requests: Requests,
    elsewhere: Duration,
}

impl Clock {
    pub(crate) async fn start(rig: &Rig) -> Self {
        let requests = Requests::so_far(&rig.cluster.admin).await;
        let times = Times::now(rig);
        Self {
            requests,
            wall: Instant::now(),
            elsewhere: elsewhere(&times),
            times,
        }
    }

    /// Every pod is bound: the wall clock stops now, the others a little later. The second answer
    /// is how many cores were busy with something else.
    pub(crate) async fn stop(self, rig: &Rig, pods: usize) -> (Figures, f64) {
        let seconds = self.wall.elapsed().as_secs_f64();
        tokio::time::sleep(TRAILING).await;
        let pods = f64::from(u32::try_from(pods).unwrap());
        let times = Times::now(rig);
        let per_pod = |spent: Duration| spent.as_secs_f64() * 1000.0 / pods;
        let since =
            |(figure, time): (&Figure, &Duration)| (*figure, per_pod(*time - self.times.0[figure]));
        let mut figures: Figures = times.0.iter().map(since).collect();
        figures.insert(
            Figure::AllMsPerPod,
            per_pod(times.total() - self.times.total()),
        );
        let requests = Requests::so_far(&rig.cluster.admin).await;
        let writes = requests.since(&self.requests).sum();
        figures.insert(Figure::WritesPerPod, writes / pods);
        figures.insert(Figure::PodsPerSecond, pods / seconds);
        let peak = rig.controller.as_ref().map_or(0.0, peak_mib);
        figures.insert(Figure::ControllerPeakMib, peak);
        let elsewhere = elsewhere(&times).saturating_sub(self.elsewhere);
        (
            figures,
            elsewhere.as_secs_f64() / self.wall.elapsed().as_secs_f64(),
        )
    }
}

/// Processor time that neither these processes nor this benchmark took.
fn elsewhere(times: &Times) -> Duration {
    let known = times.total() + machine::own_time();
    machine::busy_time().saturating_sub(known)
}

/// Waits for a second in which no process does anything to speak of.
pub(crate) async fn until_idle(rig: &mut Rig) {
    let deadline = Instant::now() + PATIENCE;
    let mut before = Times::now(rig).total();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        rig.cluster.plane.check().unwrap();
        let now = Times::now(rig).total();
        if now - before < IDLE {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{:?} of work in a second of rest",
            now - before
        );
        before = now;
    }
}

/// The most memory that a process ever had in RAM.
fn peak_mib(process: &Process) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: u32 = line.trim().trim_end_matches(" kB").parse().unwrap();
    f64::from(kib) / 1024.0
}
