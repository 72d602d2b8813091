//! What the fields of a scenario become.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use prorata_core::needs::{Effect, Taint, Toleration};
use prorata_core::{Limits, Mode, Order, Place, Preemption, Resource, Time};
use prorata_simulator::scenario::Scenario;
use prorata_simulator::workload::{Drawn, Failures, draw, faults};

const HEAD: &str = "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: small
";
const POOLS: &str = "pools: {gpu: {count: 3, gpus: 4, model: H100, gpuMemory: 80Gi}}\n";
const TENANTS: &str = "tenants: [{name: red}]\n";
const WORK: &str = "\
workload:
  - {tenant: red, name: train, jobs: 4, arrivals: {at: 0s}, task: {gpu: 1}, duration: {fixed: 1h}}
";

const HOUR: Duration = Duration::from_secs(3600);

fn parse(parts: &[&str]) -> Scenario {
    Scenario::parse("s.yaml", &format!("{HEAD}{}", parts.concat())).unwrap()
}

fn work(task_and_more: &str) -> Vec<Drawn> {
    let stream = format!(
        "workload:\n  - {{tenant: red, name: a, jobs: 3, arrivals: {{at: 0s}}, {task_and_more}}}\n"
    );
    let classes =
        "priorityClasses: {low: -5, top: {value: 9, clusterWide: true, protected: true}}\n";
    let scenario = parse(&[POOLS, TENANTS, classes, &stream]);
    draw(&scenario, scenario.seed)
}

#[test]
fn pools_are_nodes() {
    let pools = "pools:\n  mig: {count: 1, gpus: 2, mode: mig:3g.40gb+2g.20gb, gpuMemory: 80Gi, cpu: 8}\n  \
        ts: {count: 12, gpus: 4, model: T4, mode: timeslice-4, cpu: 4, labels: {rack: r1}, \
        taints: [team=ml, spot:NoExecute], price: 0.95, failures: {mtbf: 10d, repair: 2h}}\n";
    let scenario = parse(&[pools, TENANTS, WORK, "until: 1d\n"]);
    let nodes = scenario.nodes();
    assert_eq!(nodes.len(), 13);
    assert_eq!(nodes[0].id.as_str(), "mig-01");
    assert_eq!(nodes[12].id.as_str(), "ts-12");
    let milli: Vec<u32> = (0..5).map(|i| nodes[0].gpus.device(2, i).milli).collect();
    assert_eq!(milli, [428, 285, 428, 285, 0]);
    assert_eq!(nodes[0].gpus.device(2, 1).memory, 20 << 30);
    assert_eq!(nodes[12].gpus.mode, Mode::TimeSlice(4));
    assert_eq!(nodes[12].gpus.model.as_str(), "T4");
    assert_eq!(nodes[12].labels.get("rack").map(|v| &**v), Some("r1"));
    let taint = |key: &str, value: &str, effect| Taint {
        key: key.into(),
        value: value.into(),
        effect,
    };
    assert_eq!(
        *nodes[12].taints,
        [
            taint("team", "ml", Effect::NoSchedule),
            taint("spot", "", Effect::NoExecute)
        ]
    );
    assert_eq!(scenario.pools[1].price, Some(0.95));
    assert_eq!(
        scenario.pools[1].failures,
        Some(Failures {
            mtbf: HOUR * 240,
            repair: HOUR * 2,
        })
    );
    // Two cards cut into 5 of 7 slices, rounded down; and 48 whole ones.
    assert_eq!(scenario.capacity().get(Resource::Gpu), 2 * 713 + 48_000);
    assert_eq!(scenario.capacity().get(Resource::Cpu), 56_000);
    assert_eq!(
        scenario.pools[1].describe(),
        "ts: 12 nodes × 4 T4, timeslice-4"
    );
}

#[test]
fn tenants_are_a_tree() {
    let tenants = "tenants:\n  - {name: lab, guaranteed: {gpu: 6}, limit: {gpu: 10}}\n  \
        - {name: red, parent: lab, weight: 2, guaranteed: {gpu: 4}, lendingLimit: {gpu: 1}}\n";
    let scenario = parse(&[POOLS, tenants, WORK]);
    let [lab, red] = &*scenario.tenants else {
        panic!("{:?}", scenario.tenants);
    };
    assert_eq!((&lab.parent, &red.parent), (&None, &Some("lab".into())));
    assert_eq!(lab.limit, Limits::NONE.with(Resource::Gpu, 10_000));
    assert_eq!(red.lending_limit, Limits::NONE.with(Resource::Gpu, 1000));
    assert_eq!(red.guaranteed.get(Resource::Gpu), 4000);
    assert_eq!(scenario.warnings, []);
}

#[test]
fn a_tenant_has_the_nodes_of_its_pool_alone() {
    let pools = "pools:\n  plain: {count: 2, gpus: 8}\n  \
        apart: {count: 2, gpus: 8, labels: {prorata.dev/node-pool: hipaa}}\n";
    let tenants = "tenants:\n  - {name: lab}\n  - {name: red, nodePool: hipaa}\n";
    let scenario = parse(&[pools, tenants, WORK]);
    assert_eq!(scenario.tenants[1].pool.as_deref(), Some("hipaa"));
}

#[test]
fn guarantees_count_once_in_the_tree() {
    let tenants = "tenants:\n  - {name: lab, guaranteed: {gpu: 8}}\n  \
        - {name: red, parent: lab, guaranteed: {gpu: 8}}\n";
    assert_eq!(parse(&[POOLS, tenants, WORK]).warnings, []);
    let loose = "tenants:\n  - {name: lab}\n  - {name: red, parent: lab, guaranteed: {gpu: 13}}\n";
    assert_eq!(parse(&[POOLS, loose, WORK]).warnings.len(), 1);
}

#[test]
fn the_policy_has_defaults_that_work() {
    let scenario = parse(&[POOLS, TENANTS, WORK]);
    let work = draw(&scenario, 0);
    let policy = scenario.policy_under(Order::Las, &work);
    assert_eq!(scenario.orders, [Order::Fifo, Order::Drf]);
    assert_eq!((policy.order, policy.place), (Order::Las, Place::Prorata));
    assert_eq!(policy.preemption, Preemption::default());
    assert_eq!(policy.reserve_after, Some(HOUR / 4));
    assert_eq!(policy.half_life, None);
    assert!(!policy.mix.is_empty());
}

#[test]
fn the_policy_is_what_the_scenario_says() {
    let text = "pools: {gpu: {count: 3, gpus: 4, model: H100, labels: {rack: a, zone: b}}}\n";
    let policy = "policy:\n  orders: [drf, srtf]\n  place: random\n  preemption: off\n  \
        reserveAfter: never\n  halfLife: 7d\n  values: {H100: 2.5}\n  topology: [rack, zone]\n  mix: 0%\n";
    let scenario = parse(&[text, TENANTS, policy, WORK, "seed: 7\n"]);
    let policy = scenario.policy_under(Order::Drf, &draw(&scenario, 7));
    assert_eq!(scenario.orders, [Order::Drf, Order::Srtf]);
    assert_eq!(policy.place, Place::Random(7));
    assert!(!policy.preemption.enabled && policy.mix.is_empty());
    assert_eq!(policy.reserve_after, None);
    assert_eq!(policy.half_life, Some(HOUR * 24 * 7));
    assert_eq!(policy.values[&"H100".into()], 2500);
    let topology: Vec<&str> = policy.topology.iter().map(|key| &**key).collect();
    assert_eq!(topology, ["rack", "zone"]);
    let text = "policy: {preemption: {minRuntime: 5m, lossBudget: 7200, fairShare: false}}\n";
    let expected = Preemption {
        enabled: true,
        min_runtime: Duration::from_secs(300),
        loss_budget: Some(7200),
        fair_share: false,
    };
    let scenario = parse(&[POOLS, TENANTS, text, WORK]);
    assert_eq!(scenario.policy.preemption, expected);
}

#[test]
fn jobs_are_what_their_stream_says() {
    let drawn = work(
        "task: {share: 250m, gpuMemory: 8Gi}, models: [H100], duration: {fixed: 1h}, priority: top, \
         maxDuration: 1.5x, checkpoint: 10m, restart: 90s, busy: 37.5%, preemptible: false",
    );
    let Drawn { job, .. } = &drawn[2];
    assert_eq!(job.id.to_string(), "red/a-003");
    assert_eq!(job.task.get(Resource::Gpu), 250);
    assert_eq!(job.task.get(Resource::GpuMemory), 8 << 30);
    assert_eq!(job.needs.models, ["H100".into()]);
    assert_eq!(
        (job.priority, job.cluster_wide, job.protected),
        (9, true, true)
    );
    assert_eq!(job.max_duration, Some(HOUR * 3 / 2));
    assert_eq!(job.expected, Some(HOUR));
    assert!(!job.preemptible);
    assert_eq!(drawn[2].checkpoint, Some(HOUR / 6));
    assert_eq!((drawn[2].restart.as_secs(), drawn[2].busy), (90, 375));
    let usual = &work("task: {gpu: 2}, duration: {fixed: 1h}, priority: -3")[0];
    assert_eq!((usual.job.priority, usual.busy), (-3, 1000));
    assert!(usual.job.preemptible && usual.checkpoint.is_none());
    assert_eq!(
        work("task: {gpu: 2}, duration: {fixed: 1h}, priority: low")[0]
            .job
            .priority,
        -5
    );
}

#[test]
fn a_declared_maximum_ends_what_runs_longer() {
    let drawn = work("task: {gpu: 1}, duration: {fixed: 3h}, maxDuration: 2h");
    assert_eq!(
        (drawn[0].runtime, drawn[0].job.max_duration),
        (HOUR * 2, Some(HOUR * 2))
    );
}

#[test]
fn tasks_choose_their_nodes() {
    let pools = "pools: {gpu: {count: 1, gpus: 4, labels: {zone: a}, taints: [spot=yes]}}\n";
    let stream = WORK.replacen(
        "task:",
        "select: {zone: a}, tolerate: [spot, spot=yes], task:",
        1,
    );
    let scenario = parse(&[pools, TENANTS, &stream]);
    let needs = &draw(&scenario, 0)[0].job.needs;
    assert_eq!(needs.selector, [("zone".into(), "a".into())]);
    let toleration = |value: Option<&str>| Toleration {
        key: Some("spot".into()),
        value: value.map(Into::into),
        effect: None,
    };
    assert_eq!(
        needs.tolerations,
        [toleration(None), toleration(Some("yes"))]
    );
    assert!(needs.allow(&scenario.nodes()[0]));
}

#[test]
fn durations_are_drawn_from_lists_and_files() {
    let listed = work("task: {gpu: 1}, duration: {empirical: {10m: 1, 2h: 0}}");
    assert!(listed.iter().all(|drawn| drawn.runtime == HOUR / 6));
    let folder = tempfile::tempdir().unwrap();
    let csv = "quantile,duration\n1.0,3h\n0.0,7200\n0.5,9000.5\n";
    std::fs::write(folder.path().join("d.csv"), csv).unwrap();
    let text = WORK.replacen("fixed: 1h", "quantiles: {file: d.csv, column: duration}", 1);
    let text = format!(
        "{HEAD}{POOLS}{TENANTS}{}",
        text.replacen("jobs: 4", "jobs: 400", 1)
    );
    let file = folder.path().join("s.yaml").display().to_string();
    let parse = || Scenario::parse(&file, &text).unwrap();
    let scenario = parse();
    let runtimes: Vec<u64> = draw(&scenario, 1)
        .iter()
        .map(|d| d.runtime.as_secs())
        .collect();
    assert!(runtimes.iter().all(|s| (7200..=10_800).contains(s)));
    let short = runtimes.iter().filter(|s| **s < 9000).count();
    assert!((160..240).contains(&short), "{short}");
    std::fs::write(folder.path().join("d.csv"), csv.replace("3h", "4h")).unwrap();
    assert_ne!(parse().input_hash, scenario.input_hash);
}

#[test]
fn faults_are_told_by_node_and_by_pool() {
    let told = "faults:\n  - {at: 2h, node: gpu-02, for: 1h}\n  - {at: 1h, pool: gpu, for: 30m}\n  \
        - {at: 90m, node: gpu-01, for: 2h}\n  - {at: 150m, node: gpu-02}\n";
    let scenario = parse(&[POOLS, TENANTS, told, WORK]);
    let minutes = |time: Time| time.as_millis() / 60_000;
    let faults: Vec<_> = faults(&scenario, 1)
        .into_iter()
        .map(|f| (minutes(f.at), f.node.to_string(), f.until.map(minutes)))
        .collect();
    // What overlaps or touches is one; the last never returns.
    assert_eq!(
        faults,
        [
            (60, "gpu-01".to_owned(), Some(210)),
            (60, "gpu-02".to_owned(), Some(90)),
            (60, "gpu-03".to_owned(), Some(90)),
            (120, "gpu-02".to_owned(), None),
        ]
    );
}

#[test]
fn failures_follow_their_mean_time_and_each_node_has_its_own() {
    let failing = |more: &str| {
        let pools = format!(
            "pools:\n  gpu: {{count: 20, gpus: 1, failures: {{mtbf: 10d, repair: 12h}}}}\n{more}"
        );
        let scenario = parse(&[&pools, TENANTS, WORK, "until: 210d\n"]);
        faults(&scenario, 3)
    };
    let drawn = failing("");
    // 20 nodes, each failing every 10.5 days for 210 days.
    assert!((320..480).contains(&drawn.len()), "{}", drawn.len());
    assert!(drawn.is_sorted());
    for fault in &drawn {
        let repaired = fault.until.unwrap();
        assert!(repaired.since(fault.at) >= HOUR * 12);
    }
    assert_eq!(drawn, failing(""));
    let more = failing("  other: {count: 3, gpus: 1, failures: {mtbf: 5d, repair: 1h}}\n");
    let same: Vec<_> = more
        .iter()
        .filter(|f| f.node.as_str().starts_with("gpu-"))
        .collect();
    assert_eq!(same, drawn.iter().collect::<Vec<_>>());
    assert!(more.len() > drawn.len() + 80);
}
