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
        Some(
            "fifo,red,job-001,red,0,3,3,0,,,5400000,5400000,3600000,0,0,0,,,0,0,0,0,0,0,0,0,,\
             ExceedsCapacity,ExceedsCapacity gang=3 best=2"
        )
    );
    assert_eq!(
        csv.lines().nth(3),
        Some(
            "fifo,blue,job-001,blue,0,1,1,1800000,1800000,5400000,0,0,3600000,3600000,1,0,,,0,0,0,\
             0,3600000,0,0,0,node-01[0],,"
        )
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

/// What a single run of a scenario comes to.
fn alone(text: &str) -> (Run, OrderSummary) {
    let (mut runs, mut summary) = simulate(text);
    (runs.remove(0), summary.orders.remove(0))
}

#[test]
fn gpu_hours_and_finish_times_of_the_tiny_world() {
    let (_, summary) = simulate(TWO_GPUS);
    let [fifo, drf] = &summary.orders[..] else {
        panic!("two orders");
    };
    // Three jobs on two GPUs: each would take one and a half times as long in its own part.
    // Completion after 1 h, 2 h and 2.5 h.
    let fair = fifo.all.finish_time_fairness.unwrap();
    assert_eq!(
        (fair.mean, fair.max, fair.above_1_05),
        (1.2222, 1.6667, 0.6667)
    );
    let spent = fifo.gpu_hours;
    assert_eq!((spent.fleet, spent.held, spent.lost), (6.0, 5.0, 0.0));
    // Beside blue, the second GPU is idle: under fifo nobody is left, under drf red needs two.
    assert_eq!((spent.idle_unwanted, spent.idle_no_fit), (1.0, 0.0));
    let spent = drf.gpu_hours;
    assert_eq!((spent.idle_unwanted, spent.idle_no_fit), (0.0, 1.0));
    assert_eq!((fifo.utilisation, drf.utilisation), (0.8333, 0.8333));
    assert_eq!(
        (fifo.oldest_pending_ms, drf.oldest_pending_ms),
        (HOUR * 3 / 2, 2 * HOUR)
    );
    assert_eq!(drf.oldest_pending_at_end_ms, None);
    assert_eq!(drf.all.waited_hours["CapacityFull"], 2.5);
    assert_eq!(drf.fragmentation_ratio, Some(0.0));
    let jct = fifo.all.jct_ms.unwrap();
    assert_eq!(
        (jct.p50, jct.p95, jct.p99),
        (2 * HOUR, HOUR * 5 / 2, HOUR * 5 / 2)
    );
}

/// One tenant: an important job pushes a long one out for an hour.
const EVICTED: &str = "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: evicted
pools: {node: {count: 1, gpus: 2, price: 2}}
tenants: [{name: red}]
policy: {orders: [drf]}
workload:
  - {tenant: red, name: low, jobs: 1, arrivals: {at: 0s}, gang: 2, task: {gpu: 1}, checkpoint: 30m, restart: 6m, duration: {fixed: 2h}}
  - {tenant: red, name: high, jobs: 1, arrivals: {at: 45m}, gang: 2, task: {gpu: 1}, priority: 10, duration: {fixed: 1h}}
";

#[test]
fn a_job_that_had_to_leave_repeats_what_it_had_not_saved() {
    const MINUTE: u64 = 60_000;
    let (run, drf) = alone(EVICTED);
    let low = &run.jobs[0];
    // Out at 0:45 with 30 minutes saved, back at 1:45, loaded at 1:51, 90 minutes left.
    assert_eq!(low.finished.unwrap().as_millis(), 201 * MINUTE);
    assert_eq!((low.starts, low.evictions.len()), (2, 1));
    assert_eq!(low.evictions[0].by.to_string(), "red/high-001");
    assert_eq!(low.evictions[0].rule.name(), "priority");
    let wait = (low.wait(run.end), low.first_wait(run.end));
    assert_eq!(wait.0.as_secs(), 3600);
    assert!(wait.1.is_zero());
    assert_eq!(low.main_reason(), Some("BackoffAfterPreemption"));
    let spells = &low.spells;
    let minutes = |ms: u128| ms / u128::from(MINUTE);
    assert_eq!(
        (minutes(spells.kept.millis()), minutes(spells.lost.millis())),
        (120, 15)
    );
    assert_eq!(
        (spells.redo.as_secs(), spells.restart.as_secs()),
        (900, 360)
    );
    // 15 and 6 minutes of two GPUs are lost of 141 and 60 that are held.
    let all = &drf.all;
    assert_eq!(
        (all.gpu_hours, all.lost_gpu_hours, all.overhead),
        (6.7, 0.7, 0.1045)
    );
    assert_eq!((all.evictions, all.evictions_max), (1, 1));
    assert_eq!(all.evictions_per_100_jobs, 50.0);
    assert_eq!(drf.utilisation, 0.8955);
    assert_eq!(all.bounded_slowdown_mean, Some(1.3375));
    assert_eq!(drf.oldest_pending_ms, 105 * MINUTE);
    let cost = drf.cost.unwrap();
    assert_eq!(
        (cost.total, cost.held, cost.lost, cost.idle),
        (13.4, 13.4, 1.4, 0.0)
    );
    assert_eq!(drf.tenants[0].group.cost, 13.4);
    let priorities: Vec<_> = drf
        .priorities
        .iter()
        .map(|p| (p.priority, p.group.jobs))
        .collect();
    assert_eq!(priorities, [(10, 1), (0, 1)]);
}

#[test]
fn grace_holds_the_gpus_a_little_longer() {
    let mut scenario = Scenario::parse("s.yaml", EVICTED).unwrap();
    scenario.grace = std::time::Duration::from_secs(60);
    let work = workload::draw(&scenario, 1);
    let go_on = &mut |_| ControlFlow::Continue(());
    let run = run(
        &scenario,
        prorata_core::Order::Drf,
        &work,
        Check::Always,
        go_on,
    )
    .unwrap();
    let (low, high) = (&run.jobs[0], &run.jobs[1]);
    assert_eq!(high.started.unwrap().as_millis(), 46 * 60_000);
    assert_eq!(low.spells.grace.as_secs(), 60);
    assert_eq!(low.finished.unwrap().as_millis(), 202 * 60_000);
    // It waits from when it is gone.
    assert_eq!(low.wait(run.end).as_secs(), 3600);
}

#[test]
fn a_gang_breaks_off_when_one_of_its_nodes_fails() {
    let (run, drf) = alone(
        "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: broken
pools: {node: {count: 2, gpus: 1}}
tenants: [{name: red}]
policy: {orders: [drf]}
faults: [{at: 45m, node: node-01, for: 15m}]
workload:
  - {tenant: red, name: job, jobs: 1, arrivals: {at: 0s}, gang: 2, task: {gpu: 1}, checkpoint: 30m, duration: {fixed: 2h}}
",
    );
    // 30 of 45 minutes are saved; it goes on when the node is back.
    assert_eq!(run.jobs[0].finished.unwrap().as_millis(), HOUR * 5 / 2);
    assert_eq!((drf.all.failures, drf.all.evictions), (1, 0));
    assert_eq!(drf.all.lost_gpu_hours, 0.5);
    let spent = drf.gpu_hours;
    assert_eq!((spent.fleet, spent.held, spent.down), (5.0, 4.5, 0.25));
    // The other node idles although the gang waits.
    assert_eq!((spent.idle_no_fit, spent.idle_unwanted), (0.25, 0.0));
    // Of what worked, all but that was held.
    assert_eq!(drf.allocation_ratio, 0.9474);
}

#[test]
fn what_typical_tasks_cannot_use_is_fragmented() {
    let (_, drf) = alone(
        "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: fragmented
pools: {node: {count: 1, gpus: 3}}
tenants: [{name: red}]
policy: {orders: [drf]}
workload:
  - {tenant: red, name: job, jobs: 1, arrivals: {at: 0s}, task: {gpu: 2}, duration: {fixed: 1h}}
",
    );
    assert_eq!(
        (drf.fragmentation_ratio, drf.fragmentation_amount),
        (Some(1.0), Some(0.3333))
    );
}

#[test]
fn idle_gpus_are_told_by_why() {
    let text = "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: limited
pools: {node: {count: 1, gpus: 4}}
tenants: [{name: red, limit: {gpu: 2}}]
policy: {orders: [drf]}
workload:
  - {tenant: red, name: job, jobs: 2, arrivals: {at: 0s}, task: {gpu: 2}, duration: {fixed: 1h}}
";
    let (_, drf) = alone(text);
    // In the first hour the second job waits for its tenant's limit; in the second nobody does.
    let spent = drf.gpu_hours;
    assert_eq!((spent.idle_quota, spent.idle_unwanted), (2.0, 2.0));
    assert_eq!(drf.all.waited_hours["QuotaFull"], 1.0);
    // The tenant is due no more than its limit.
    assert_eq!(drf.all.deficit_gpu_hours, 0.0);
}

#[test]
fn tasks_on_one_card_slow_each_other() {
    let (run, drf) = alone(
        "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: shared
pools: {node: {count: 1, gpus: 1, mode: timeslice-2}}
tenants: [{name: red}]
policy: {orders: [drf]}
workload:
  - {tenant: red, name: job, jobs: 2, arrivals: {at: 0s}, task: {share: 500m}, duration: {fixed: 1h}}
",
    );
    // 1 + 0.5 × (2 − 0.95) times as long.
    let finished = run.jobs[0].finished.unwrap().as_millis();
    assert!(finished.abs_diff(HOUR * 1525 / 1000) < 10, "{finished}");
    let neighbours = drf.neighbours.unwrap();
    assert_eq!((neighbours.jobs, neighbours.degradation_mean), (2, 0.6557));
    assert_eq!(
        (neighbours.net_gain, neighbours.tail_inflation),
        (1.3115, Some(1.525))
    );
    // Two GPU-hours of work in 1.525 hours of one GPU.
    assert_eq!((drf.allocation_ratio, drf.utilisation), (1.0, 1.3115));
}
