//! Measures against two tiny worlds that were worked out by hand.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;

use prorata_simulator::run::{Check, Run, run};
use prorata_simulator::scenario::Scenario;
use prorata_simulator::summary::{OrderSummary, Summary, summarise};
use prorata_simulator::{jobs, workload};

const HOUR: u64 = 3_600_000;

/// Two GPUs. Red has two jobs of two GPUs at once; blue a job of one GPU half an hour later.
const TWO_GPUS: &str = "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: two-gpus
pools: {node: {count: 1, gpus: 2, cpu: 8, memory: 8Gi}}
tenants: [{name: red}, {name: blue}]
policy: {preemption: off, reserveAfter: never}
workload:
  - {tenant: red, name: job, jobs: 2, arrivals: {at: 0s}, gang: 2, task: {gpu: 1}, duration: {fixed: 1h}}
  - {tenant: blue, name: job, jobs: 1, arrivals: {at: 30m}, task: {gpu: 1}, duration: {fixed: 1h}}
";

fn simulate(text: &str) -> (Vec<Run>, Summary) {
    let scenario = Scenario::parse("s.yaml", text).unwrap();
    let work = workload::draw(&scenario, scenario.seed);
    let go_on = &mut |_| ControlFlow::Continue(());
    let one = |order: &_| run(&scenario, *order, &work, Check::Always, go_on).unwrap();
    let runs: Vec<Run> = scenario.orders.iter().map(one).collect();
    let summary = summarise(&scenario, &runs);
    (runs, summary)
}

fn longest_wait_ms(order: &OrderSummary, tenant: usize) -> u64 {
    order.tenants[tenant].group.wait_ms.unwrap().max
}

fn deficits(order: &OrderSummary) -> Vec<f64> {
    order
        .tenants
        .iter()
        .map(|t| t.group.deficit_gpu_hours)
        .collect()
}

#[test]
fn fifo_lets_blue_wait_for_both_of_red() {
    let (_, summary) = simulate(TWO_GPUS);
    let fifo = &summary.orders[0];
    assert_eq!(
        (longest_wait_ms(fifo, 0), longest_wait_ms(fifo, 1)),
        (HOUR, HOUR * 3 / 2)
    );
    // Blue is due one GPU from 0:30 to 2:00 and gets none.
    assert_eq!(deficits(fifo), [0.0, 1.5]);
    // From 0:30 to 1:00 both wait: held ÷ entitled is 2 of red and 0 of blue.
    assert_eq!((fifo.jain_index, fifo.share_gap_max), (Some(0.5), 1.0));
    // Five of six GPU-hours; all of them while somebody waits, until 2:00.
    assert_eq!(fifo.allocation_ratio, 0.8333);
    assert_eq!(fifo.allocation_ratio_while_waiting, Some(1.0));
    assert_eq!(fifo.makespan_ms, Some(3 * HOUR));
}

#[test]
fn drf_lets_blue_in_at_the_first_end() {
    let (_, summary) = simulate(TWO_GPUS);
    let drf = &summary.orders[1];
    assert_eq!(
        (longest_wait_ms(drf, 0), longest_wait_ms(drf, 1)),
        (2 * HOUR, HOUR / 2)
    );
    // From 1:00 to 2:00 red is due one GPU, but its gang of two cannot use it.
    assert_eq!(deficits(drf), [1.0, 0.5]);
    assert_eq!(drf.allocation_ratio_while_waiting, Some(0.75));
    let red = &drf.tenants[0].group;
    assert_eq!(red.gpu_hours, 4.0);
    // (1 h ÷ 1 h + 3 h ÷ 1 h) ÷ 2
    assert_eq!(red.bounded_slowdown_mean, Some(2.0));
    assert_eq!(red.jct_ms.unwrap().mean, 2.0 * 3_600_000.0);
}

#[test]
fn what_never_starts_is_told_with_its_reason_and_is_no_demand() {
    let (runs, summary) = simulate(&TWO_GPUS.replace("gang: 2", "gang: 3"));
    let fifo = &summary.orders[0];
    let told: Vec<_> = fifo
        .unfinished
        .iter()
        .map(|u| (u.job.as_str(), u.reason.as_deref()))
        .collect();
    let why = Some("ExceedsCapacity gang=3 best=2");
    assert_eq!(told, [("red/job-001", why), ("red/job-002", why)]);
    assert_eq!(fifo.tenants[0].group.wait_ms, None);
    assert_eq!(deficits(fifo), [0.0, 0.0]);
    let csv = String::from_utf8(jobs::csv(&runs).unwrap()).unwrap();
    assert_eq!(
        csv.lines().nth(1),
        Some("fifo,red,job-001,red,0,3,3,0,,,5400000,,ExceedsCapacity gang=3 best=2")
    );
    assert_eq!(
        csv.lines().nth(3),
        Some("fifo,blue,job-001,blue,0,1,1,1800000,1800000,5400000,0,node-01[0],")
    );
}

#[test]
fn a_run_that_is_cut_counts_what_still_waits() {
    let (_, summary) = simulate(&TWO_GPUS.replace("workload:", "until: 90m\nworkload:"));
    let fifo = &summary.orders[0];
    assert_eq!((fifo.all.jobs, fifo.all.finished), (3, 1));
    assert_eq!(longest_wait_ms(fifo, 1), HOUR);
    assert_eq!(fifo.unfinished[0].started_ms, Some(HOUR));
    assert_eq!(
        fifo.unfinished[1].reason.as_deref(),
        Some("CapacityFull gang=1 best=0")
    );
    assert_eq!(fifo.allocation_ratio, 1.0);
}
