//! How busy pods kept what they were given, as the controller asks for it.

use std::thread;
use std::time::{Duration, Instant};

use prorata_fake_nvml::{Process, profile};
use serde_json::Value;

use crate::bench::{Bench, Running};
use crate::kubelet::{FakeKubelet, Said};

const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";

/// What the agent says of a pod once it has measured so many GPU-milliseconds of it.
fn measured(agent: &Running, pod: &str, least: u64) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (status, body) = agent.get("/usage");
        let told: Value = serde_json::from_str(&body).unwrap_or_default();
        let mut all = told.as_array().into_iter().flatten();
        let own = all.rfind(|usage| usage["pod"] == pod);
        if let Some(own) = own.filter(|usage| usage["measured"].as_u64() >= Some(least)) {
            return own.clone();
        }
        assert!(Instant::now() < deadline, "{pod}: {status} {body}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Thousandths of what was measured in which the pod was busy.
fn busy(usage: &Value) -> u64 {
    let part = |name: &str| usage[name].as_u64().unwrap();
    part("busy") * 1000 / part("measured")
}

#[test]
fn each_pod_is_told_of_by_what_it_was_given() {
    let mut machine = profile::t4(3);
    let cards: Vec<String> = machine.cards.iter().map(|card| card.uuid.clone()).collect();
    machine.cards[0].utilisation = Some((80, 40));
    // Two of four slots of the second card are used for 30 % of its time, which is 60 % of theirs.
    machine.cards[1].utilisation = Some((30, 10));
    machine.cards[1].processes = vec![Process {
        pid: 41,
        sm: Some(30),
        ..Process::default()
    }];
    let bench = Bench::new(&machine);
    let id = "9a".repeat(32);
    bench.process(41, &format!("0::/kubepods/pod{UID}/{id}\n"));
    bench.container_of(("red", "shares", UID), &id);
    let whole = [cards[0].clone(), cards[2].clone()];
    let said = Said {
        devices: [Said::slots(&cards[1], 4), whole.to_vec()].concat(),
        ..Said::default()
    };
    let halves = [format!("{}::0", cards[1]), format!("{}::1", cards[1])];
    let said = said
        .with("red/whole", &[&cards[0]])
        .with("red/shares", &[&halves[0], &halves[1]])
        .with("red/idle", &[&cards[2]]);
    let _kubelet = FakeKubelet::start(&bench.kubelet(), said);
    let agent = Running::start(&bench, &["--no-publish"]);
    assert_eq!(busy(&measured(&agent, "whole", 500_000)), 800);
    assert_eq!(busy(&measured(&agent, "idle", 500_000)), 0);
    let shares = measured(&agent, "shares", 200_000);
    assert_eq!((busy(&shares), &shares["uid"]), (600, &Value::from(UID)));
}
