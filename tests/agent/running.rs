//! An agent that goes on looking, while things happen.

use prorata_fake_nvml::{Event, Fault, Process, profile};

use crate::bench::{Bench, Metrics, Running};

const HEALTH: &str = "prorata_gpu_health";

fn is(metrics: &Metrics, gpu: &str, health: &str) -> bool {
    metrics.get(HEALTH, &[("gpu", gpu), ("kind", health)]) == Some(1.0)
}

#[test]
fn what_changes_is_seen_and_what_is_gone_has_no_line() {
    let uid = "2c48913c-b29f-11e7-9350-020968147796";
    let id = "9a".repeat(32);
    let mut machine = profile::t4(2);
    let bench = Bench::new(&machine);
    bench.process(41, &format!("0::/kubepods/pod{uid}/{id}\n"));
    bench.container("vision", "train-7", "main", &id);
    let agent = Running::start(&bench, &["--no-publish"]);
    let idle = agent.until("it looks", |metrics| is(metrics, "1", "Healthy"));
    assert_eq!(
        idle.get("prorata_gpu_utilisation_ratios", &[("gpu", "0")]),
        Some(0.0)
    );
    assert_eq!(idle.get("prorata_pod_gpu_processes", &[]), None);
    assert_eq!(agent.get("/livez").0, 200);
    assert_eq!(agent.get("/readyz").0, 200);

    machine.cards[0].utilisation = Some((90, 40));
    machine.cards[0].throttle_reasons = Some(0x20);
    machine.cards[0].processes = vec![Process {
        pid: 41,
        memory: Some(3 << 30),
        sm: Some(70),
        memory_bandwidth: 20,
    }];
    bench.change(&machine);
    let pod = [
        ("namespace", "vision"),
        ("pod", "train-7"),
        ("pod_uid", uid),
        ("gpu", "0"),
    ];
    let busy = agent.until("a pod computes", |metrics| {
        metrics.get("prorata_pod_gpu_utilisation_ratios", &pod) == Some(0.7)
    });
    let memory = busy.get("prorata_pod_gpu_memory_used_bytes", &pod);
    assert_eq!(memory, Some((3_u64 << 30) as f64));
    let why = [("gpu", "0"), ("kind", "thermal")];
    assert_eq!(busy.get("prorata_gpu_throttled", &why), Some(1.0));

    machine.cards[0].processes.clear();
    machine.cards[1].power = None;
    bench.change(&machine);
    let after = agent.until("it is gone", |metrics| {
        metrics.get("prorata_pod_gpu_processes", &[]).is_none()
    });
    assert_eq!(after.get("prorata_gpu_power_watts", &[("gpu", "1")]), None);
    assert!(
        after
            .get("prorata_gpu_power_watts", &[("gpu", "0")])
            .is_some()
    );
}

#[test]
fn an_error_of_the_driver_makes_its_card_unhealthy_for_a_while() {
    let mut machine = profile::t4(2);
    machine.events.push(Event { card: 0, xid: 79 });
    let bench = Bench::new(&machine);
    let agent = Running::start(&bench, &["--no-publish", "--hold-errors", "1s"]);
    agent.until("what was before it is not its", |metrics| {
        is(metrics, "0", "Healthy")
    });
    // What a program does wrong is counted, and nothing against its card.
    machine.events.push(Event { card: 0, xid: 31 });
    machine.events.push(Event { card: 1, xid: 48 });
    bench.change(&machine);
    let told = agent.until("it is told", |metrics| is(metrics, "1", "Unhealthy"));
    assert!(is(&told, "0", "Healthy"));
    let errors = "prorata_gpu_xid_errors_total";
    assert_eq!(told.get(errors, &[("gpu", "0"), ("kind", "31")]), Some(1.0));
    assert_eq!(told.get(errors, &[("gpu", "0"), ("kind", "79")]), None);
    agent.until("it is forgiven", |metrics| is(metrics, "1", "Healthy"));
}

#[test]
fn a_card_is_lost_and_comes_back_with_another_driver() {
    let mut machine = profile::t4(2);
    let bench = Bench::new(&machine);
    let agent = Running::start(&bench, &["--no-publish"]);
    agent.until("all is well", |metrics| is(metrics, "1", "Healthy"));
    machine.cards[1].lost = true;
    bench.change(&machine);
    let lost = agent.until("it is lost", |metrics| is(metrics, "1", "Lost"));
    assert!(is(&lost, "0", "Healthy"));
    let uuid = machine.cards[1].uuid.clone();
    let still = [("uuid", uuid.as_str()), ("kind", "Lost")];
    assert_eq!(lost.get(HEALTH, &still), Some(1.0), "what it was is known");

    // The driver goes, and another comes.
    let gone = Fault {
        symbol: "nvmlInit_v2".to_owned(),
        code: 9,
        ..Fault::default()
    };
    (machine.driver.loads, machine.faults) = (2, vec![gone]);
    machine.driver.version = "560.35.03".to_owned();
    machine.cards[1].lost = false;
    bench.change(&machine);
    let down = agent.until("the driver is gone", |metrics| {
        metrics.get("prorata_agent_driver_up", &[]) == Some(0.0)
    });
    assert!(is(&down, "0", "Unresponsive"), "{}", down.0);
    assert_eq!(agent.get("/readyz").0, 200, "it does what it is there for");
    machine.faults.clear();
    bench.change(&machine);
    let up = agent.until("it is back", |metrics| is(metrics, "1", "Healthy"));
    let driver = [("gpu", "1"), ("driver", "560.35.03")];
    assert_eq!(up.get("prorata_gpu_info", &driver), Some(1.0));
}

#[test]
fn a_call_that_returns_after_all_brings_its_card_back() {
    let mut machine = profile::t4(2);
    let bench = Bench::new(&machine);
    let agent = Running::start(&bench, &["--no-publish", "--deadline", "200ms"]);
    agent.until("all is well", |metrics| is(metrics, "1", "Healthy"));
    machine.faults.push(Fault {
        symbol: "nvmlDeviceGetTemperature".to_owned(),
        card: Some(0),
        code: 0,
        hang_ms: 1_500,
    });
    bench.change(&machine);
    let hung = agent.until("it hangs", |metrics| is(metrics, "0", "Unresponsive"));
    assert!(is(&hung, "1", "Healthy"));
    machine.faults.clear();
    bench.change(&machine);
    agent.until("it answers again", |metrics| is(metrics, "0", "Healthy"));
}

#[test]
fn a_driver_that_starts_slowly_is_waited_for() {
    let mut machine = profile::t4(2);
    machine.faults.push(Fault {
        symbol: "nvmlInit_v2".to_owned(),
        hang_ms: 1_500,
        ..Fault::default()
    });
    let bench = Bench::new(&machine);
    let agent = Running::start(&bench, &["--no-publish", "--deadline", "300ms"]);
    let up = agent.until("it is up", |metrics| is(metrics, "1", "Healthy"));
    assert!(is(&up, "0", "Healthy"));
    let failures = up.get("prorata_agent_looks_failed_total", &[]);
    assert_eq!(failures, Some(0.0), "and nothing is told against it");
}

#[test]
fn a_driver_that_starts_too_slowly_is_not_begun_again() {
    let mut machine = profile::t4(2);
    machine.faults.push(Fault {
        symbol: "nvmlInit_v2".to_owned(),
        hang_ms: 1_500,
        ..Fault::default()
    });
    let bench = Bench::new(&machine);
    let agent = Running::start(&bench, &["--no-publish", "--deadline", "50ms"]);
    agent.until("it is waited for", |metrics| {
        metrics.get("prorata_agent_driver_up", &[]) == Some(0.0)
    });
    agent.until("it is up", |metrics| {
        is(metrics, "0", "Healthy") && is(metrics, "1", "Healthy")
    });
}

#[test]
fn what_each_call_takes_is_no_ones_fault() {
    let mut machine = profile::t4(4);
    // Each look asks for each card; together that is more than the deadline.
    machine.faults.push(Fault {
        symbol: "nvmlDeviceGetUtilizationRates".to_owned(),
        hang_ms: 150,
        ..Fault::default()
    });
    let bench = Bench::new(&machine);
    let agent = Running::start(&bench, &["--no-publish", "--deadline", "400ms"]);
    let all = agent.until("it has looked", |metrics| {
        metrics.get("prorata_agent_looks_total", &[]) >= Some(3.0)
    });
    for gpu in ["0", "1", "2", "3"] {
        assert!(is(&all, gpu, "Healthy"), "{gpu}: {}", all.0);
    }
}

#[test]
fn an_error_is_known_by_its_card_although_that_is_lost_or_was() {
    let mut machine = profile::t4(3);
    machine.cards[0].lost = true;
    // Of the second card the driver tells nothing.
    machine.faults.push(Fault {
        symbol: "nvmlDeviceRegisterEvents".to_owned(),
        card: Some(1),
        code: 999,
        ..Fault::default()
    });
    let bench = Bench::new(&machine);
    let agent = Running::start(&bench, &["--no-publish"]);
    agent.until("one is lost", |metrics| is(metrics, "0", "Lost"));
    machine.cards[0].lost = false;
    bench.change(&machine);
    agent.until("it is back", |metrics| is(metrics, "0", "Healthy"));
    machine.events.push(Event { card: 0, xid: 48 });
    machine.events.push(Event { card: 2, xid: 79 });
    machine.cards[2].lost = true;
    bench.change(&machine);
    let errors = "prorata_gpu_xid_errors_total";
    let told = |gpu, kind| [("gpu", gpu), ("kind", kind)];
    agent.until("both are told", |metrics| {
        metrics.get(errors, &told("0", "48")) == Some(1.0)
            && metrics.get(errors, &told("2", "79")) == Some(1.0)
    });
}

#[test]
fn a_file_of_the_host_that_does_not_answer_holds_nobody_up() {
    let mut machine = profile::t4(1);
    machine.cards[0].processes = vec![Process {
        pid: 41,
        memory: Some(3 << 30),
        sm: Some(70),
        memory_bandwidth: 20,
    }];
    let bench = Bench::new(&machine);
    bench.process_that_hangs(41);
    let agent = Running::start(&bench, &["--no-publish"]);
    agent.until("it goes on", |metrics| {
        metrics.get("prorata_agent_looks_total", &[]) >= Some(5.0)
    });
    assert_eq!(agent.get("/readyz").0, 200);
}
