//! `prorata agent --once`: what NVML says, for people and for programs.

use std::process::Command;

use prorata_fake_nvml::{Process, library, profile};
use serde_json::{Value, json};

use crate::bench::Bench;

#[test]
fn a_t4_as_it_is() {
    let shown = Bench::new(&profile::t4(1)).json(&[]);
    let card = &shown["gpus"][0];
    let expected = json!({
        "index": 0,
        "health": "Healthy",
        "uuid": "GPU-00000000-0000-4000-8000-000000000000",
        "model": "Tesla T4",
        "serial": "1321118100000",
        "minor": 0,
        "pciBusId": "00000000:1B:00.0",
        "architecture": "Turing",
        "computeCapability": "7.5",
        "memory": "15360Mi",
        "computeMode": "Default",
        "ecc": true,
        "powerLimitWatts": 70,
        "load": {
            "utilisation": 0,
            "memoryUtilisation": 0,
            "memoryTotal": 15_360_u64 << 20,
            "memoryUsed": 0,
            "powerMilliwatts": 13_550,
            "throttledBy": [],
            "temperature": 41,
            "energyMillijoules": 1_000_000,
            "clockMhz": 300,
            "eccCorrected": 0,
            "eccUncorrected": 0,
        },
        "processes": [],
    });
    assert_eq!(
        *card, expected,
        "no instances, links or NUMA node are made up"
    );
    let driver = json!({"version": "550.54.15", "nvml": "12.550.54.15", "cuda": "12.4"});
    assert_eq!(shown["driver"], driver);
}

#[test]
fn for_people() {
    let bench = Bench::new(&profile::mixed());
    let output = bench.once(&[]);
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "\
GPU   MODEL                   MEMORY    USED   UTIL   TEMP   POWER   MODE      PROCS   HEALTH
0     Tesla T4                15360Mi   0Mi    0%     41C    14W     default   0       Healthy
1     NVIDIA A100-SXM4-40GB   40960Mi   0Mi    -      33C    52W     mig:3     0       Healthy
2     NVIDIA H100 80GB HBM3   81559Mi   0Mi    0%     30C    72W     default   0       Healthy
"
    );
}

#[test]
fn a_divided_card_and_who_uses_its_instances() {
    let mut machine = profile::a100(2, &[0]);
    let mig = machine.cards[0].mig.as_mut().unwrap();
    mig.devices[1].processes.push(Process {
        pid: 77,
        memory: Some(5 << 30),
        ..Process::default()
    });
    let shown = Bench::new(&machine).json(&[]);
    let mig = &shown["gpus"][0]["mig"];
    assert_eq!(
        (&mig["enabled"], &mig["capacity"]),
        (&json!(true), &json!(7))
    );
    let profiles: Vec<&Value> = mig["instances"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| &i["profile"])
        .collect();
    assert_eq!(profiles, ["3g.20gb", "2g.10gb", "1g.5gb"]);
    let used =
        json!([{"pid": 77, "memoryUsed": 5_u64 << 30, "instance": mig["instances"][1]["uuid"]}]);
    assert_eq!(shown["gpus"][0]["processes"], used);
    assert_eq!(
        shown["gpus"][0]["load"].get("utilisation"),
        None,
        "it has none as a whole"
    );
    assert_eq!(shown["gpus"][1]["mig"]["enabled"], json!(false));
    assert_eq!(shown["gpus"][1]["load"]["utilisation"], json!(0));
}

#[test]
fn the_ways_between_cards() {
    let direct = Bench::new(&profile::a100(4, &[])).json(&[]);
    let peer = json!({"index": 1, "path": "NumaNode", "nvlinks": 4});
    assert_eq!(direct["gpus"][0]["peers"][0], peer);
    assert_eq!(direct["gpus"][0].get("switchLinks"), None);
    let switched = Bench::new(&profile::h100(8)).json(&[]);
    assert_eq!(switched["gpus"][7]["switchLinks"], json!(18));
    let far = json!({"index": 0, "path": "System"});
    assert_eq!(switched["gpus"][7]["peers"][0], far);
}

#[test]
fn whose_a_process_is() {
    let uid = "2c48913c-b29f-11e7-9350-020968147796";
    let id = "9a".repeat(32);
    let mut machine = profile::t4(1);
    let process = |pid, sm| Process {
        pid,
        memory: Some(1 << 30),
        sm,
        ..Process::default()
    };
    machine.cards[0].processes = vec![process(41, Some(55)), process(42, None)];
    let bench = Bench::new(&machine);
    bench.process(41, &format!("0::/kubepods/burstable/pod{uid}/{id}\n"));
    bench.process(42, "0::/user.slice\n");
    bench.container("vision", "train-7", "main", &id);
    let shown = bench.json(&[]);
    let holder =
        json!({"podUid": uid, "namespace": "vision", "pod": "train-7", "container": "main"});
    let expected = json!([
        {"pid": 41, "memoryUsed": 1 << 30, "utilisation": 55, "memoryUtilisation": 0, "holder": holder},
        {"pid": 42, "memoryUsed": 1 << 30},
    ]);
    assert_eq!(
        shown["gpus"][0]["processes"], expected,
        "nothing is made up for the second"
    );
}

#[test]
fn without_a_driver_it_says_what_helps() {
    let mut machine = profile::t4(1);
    machine.faults.push(prorata_fake_nvml::Fault {
        symbol: "nvmlInit_v2".to_owned(),
        code: 9,
        ..Default::default()
    });
    let output = Bench::new(&machine).once(&[]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("the NVIDIA driver does not answer"), "{told}");
    assert!(told.contains("lsmod"), "{told}");
    assert!(output.stdout.is_empty());

    let mut agent = Command::new(env!("CARGO_BIN_EXE_prorata"));
    agent.args(["agent", "--once", "--nvml", "/nowhere/libnvidia-ml.so.1"]);
    let output = agent.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("NVML cannot be loaded"), "{told}");
    assert!(told.contains("--nvml"), "{told}");
}

#[test]
fn the_library_is_found_by_its_name_too() {
    let bench = Bench::new(&profile::t4(1));
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(library(), dir.path().join("libnvidia-ml.so.1")).unwrap();
    let usual = bench.agent(&[]);
    let state = usual
        .get_envs()
        .find(|(key, _)| *key == prorata_fake_nvml::STATE);
    let mut agent = Command::new(env!("CARGO_BIN_EXE_prorata"));
    agent.args(["agent", "--once", "-o", "name"]);
    agent.env(prorata_fake_nvml::STATE, state.unwrap().1.unwrap());
    agent.env("LD_LIBRARY_PATH", dir.path());
    let output = agent.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(told, "GPU-00000000-0000-4000-8000-000000000000\n");
}
