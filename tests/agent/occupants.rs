//! Who is on which GPU: what a kubelet says, joined with what is seen.

use prorata_fake_nvml::{Machine, Process, profile};
use serde_json::{Value, json};

use crate::bench::{Bench, Metrics, Running};
use crate::kubelet::{FakeKubelet, Manner, Said};

const CARD: &str = "GPU-00000000-0000-4000-8000-000000000000";
const OTHER: &str = "GPU-00000000-0000-4000-8000-000000000001";
const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";
const UID_B: &str = "7d7e1f6a-1111-4222-8333-944445555666";

fn slot(card: &str, number: u32) -> String {
    format!("{card}::{number}")
}

/// Each card has four slots.
fn shared() -> Said {
    let devices = [Said::slots(CARD, 4), Said::slots(OTHER, 4)].concat();
    Said {
        devices,
        ..Said::default()
    }
}

fn slots_of(metrics: &Metrics, pod: &str, gpu: &str) -> Option<f64> {
    metrics.get("prorata_pod_gpu_slots", &[("pod", pod), ("gpu", gpu)])
}

#[test]
fn each_pod_is_on_the_card_that_it_was_given() {
    let bench = Bench::new(&profile::t4(2));
    bench.container_of(("red", "train", UID), &"9a".repeat(32));
    let (first, second) = (slot(CARD, 1), slot(OTHER, 0));
    let said = shared().with("red/train", &[&first]);
    let said = said.with("blue/serve", &[&second, "0000:3b:00.0"]);
    let _kubelet = FakeKubelet::start(&bench.kubelet(), said);
    let shown = bench.json(&[]);
    let on = |gpu: usize| shown["gpus"][gpu]["pods"].clone();
    let red = json!([{"namespace": "red", "name": "train", "uid": UID, "slots": 1}]);
    assert_eq!(on(0), red);
    assert_eq!(
        on(1),
        json!([{"namespace": "blue", "name": "serve", "slots": 1}]),
        "no UID is made up"
    );
    assert_eq!(shown["gpus"][0]["mode"], "timeslice-4");
}

fn mode_of(machine: &Machine, said: Said) -> Value {
    let bench = Bench::new(machine);
    let _kubelet = FakeKubelet::start(&bench.kubelet(), said);
    bench.json(&[])["gpus"][0]["mode"].clone()
}

#[test]
fn each_mode_shows() {
    let mut machine = profile::t4(2);
    assert_eq!(mode_of(&machine, Said::new(&[CARD, OTHER])), "exclusive");
    machine.cards[0].compute_mode = Some(3);
    assert_eq!(mode_of(&machine, shared()), "mps-4");
    let mut old = shared();
    old.manner = Manner::IsOld;
    assert_eq!(mode_of(&machine, old.clone()), Value::Null);
    machine.cards[0].mps_processes = Some(vec![Process {
        pid: 7,
        ..Process::default()
    }]);
    assert_eq!(mode_of(&machine, old), "mps", "its clients are seen");
}

#[test]
fn instances_of_a_divided_card_have_pods() {
    let machine = profile::a100(2, &[0]);
    let uuid = machine.cards[0].mig.as_ref().unwrap().devices[2]
        .uuid
        .clone();
    let bench = Bench::new(&machine);
    let said = Said::new(&[&uuid]).with("red/train", &[&uuid]);
    let _kubelet = FakeKubelet::start(&bench.kubelet(), said);
    let shown = bench.json(&[]);
    let pod = json!([{"namespace": "red", "name": "train", "slots": 1, "instances": [uuid]}]);
    assert_eq!(shown["gpus"][0]["pods"], pod);
    assert_eq!(shown["gpus"][0]["mode"], "mig");
    assert_eq!(shown["gpus"][1].get("pods"), None);
}

#[test]
fn a_kubelet_that_is_started_anew_is_asked_again_and_its_last_word_stands() {
    let bench = Bench::new(&profile::t4(2));
    let agent = Running::start(&bench, &["--no-publish"]);
    let down = agent.until("nobody listens", |metrics| {
        metrics.get("prorata_agent_kubelet_up", &[]) == Some(0.0)
    });
    assert_eq!(slots_of(&down, "train", "0"), None);
    let first = slot(CARD, 1);
    let given = shared().with("red/train", &[&first]);
    let kubelet = FakeKubelet::start(&bench.kubelet(), given);
    agent.until("it is heard", |metrics| {
        slots_of(metrics, "train", "0") == Some(1.0)
    });
    drop(kubelet);
    let gone = agent.until("it is away", |metrics| {
        metrics.get("prorata_agent_kubelet_up", &[]) == Some(0.0)
    });
    assert_eq!(slots_of(&gone, "train", "0"), Some(1.0));
    let other = slot(OTHER, 0);
    let given = shared().with("red/next", &[&other]);
    let _kubelet = FakeKubelet::start(&bench.kubelet(), given);
    let back = agent.until("it is back", |metrics| {
        slots_of(metrics, "next", "1") == Some(1.0)
    });
    assert_eq!(slots_of(&back, "train", "0"), None);
    assert_eq!(back.get("prorata_agent_kubelet_up", &[]), Some(1.0));
}

#[test]
fn one_that_hangs_or_talks_too_much_holds_nobody_up() {
    for manner in [Manner::Hangs, Manner::TalksTooMuch] {
        let bench = Bench::new(&profile::t4(1));
        let first = slot(CARD, 1);
        let mut said = shared().with("red/train", &[&first]);
        said.manner = manner;
        let kubelet = FakeKubelet::start(&bench.kubelet(), said.clone());
        let agent = Running::start(&bench, &["--no-publish", "--deadline", "200ms"]);
        let down = agent.until("it looks all the same", |metrics| {
            metrics.get("prorata_agent_looks_total", &[]) >= Some(30.0)
        });
        assert_eq!(slots_of(&down, "train", "0"), None, "{manner:?}");
        assert_eq!(down.get("prorata_agent_kubelet_up", &[]), Some(0.0));
        said.manner = Manner::Answers;
        kubelet.say(said);
        agent.until("it is heard at last", |metrics| {
            slots_of(metrics, "train", "0") == Some(1.0)
        });
    }
}

#[test]
fn pods_that_fight_for_a_card_are_told_of_until_they_do_not() {
    let mut machine = profile::t4(1);
    let process = |pid, sm| Process {
        pid,
        memory: Some(1 << 30),
        sm: Some(sm),
        memory_bandwidth: 5,
    };
    machine.cards[0].processes = vec![process(41, 80), process(42, 20)];
    let bench = Bench::new(&machine);
    for (pid, pod, uid, id) in [(41, "greedy", UID, "9a"), (42, "meek", UID_B, "8b")] {
        let id = id.repeat(32);
        bench.process(pid, &format!("0::/kubepods/pod{uid}/{id}\n"));
        bench.container_of(("red", pod, uid), &id);
    }
    let (first, second) = (slot(CARD, 0), slot(CARD, 1));
    let given = shared()
        .with("red/greedy", &[&first])
        .with("red/meek", &[&second]);
    let _kubelet = FakeKubelet::start(&bench.kubelet(), given);
    let window = ["--noise-window", "500ms", "--noise-calm", "300ms"];
    let agent = Running::start(&bench, &[&["--no-publish"], window.as_slice()].concat());
    let noisy = |metrics: &Metrics| metrics.get("prorata_gpu_noisy", &[("kind", "compute")]);
    agent.until("they fight", |metrics| noisy(metrics) == Some(1.0));
    machine.cards[0].processes = vec![process(41, 40), process(42, 20)];
    bench.change(&machine);
    agent.until("it is quiet", |metrics| noisy(metrics).is_none());
}
