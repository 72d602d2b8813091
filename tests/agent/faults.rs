//! What goes wrong with a card or its driver: what is not told is absent, never zero, and nothing of
//! it ends the agent.

use std::time::{Duration, Instant};

use prorata_fake_nvml::{Fault, Machine, Process, profile};
use serde_json::{Value, json};

use crate::bench::Bench;

/// Every function about a card that the agent calls.
const SYMBOLS: [&str; 30] = [
    "nvmlSystemGetDriverVersion",
    "nvmlSystemGetNVMLVersion",
    "nvmlSystemGetCudaDriverVersion_v2",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetName",
    "nvmlDeviceGetSerial",
    "nvmlDeviceGetMinorNumber",
    "nvmlDeviceGetPciInfo_v3",
    "nvmlDeviceGetArchitecture",
    "nvmlDeviceGetCudaComputeCapability",
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetComputeMode",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetMaxMigDeviceCount",
    "nvmlDeviceGetEccMode",
    "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetNvLinkState",
    "nvmlDeviceGetNvLinkRemotePciInfo_v2",
    "nvmlDeviceGetTopologyCommonAncestor",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetTotalEnergyConsumption",
    "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetTotalEccErrors",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetMPSComputeRunningProcesses_v3",
    "nvmlDeviceGetProcessUtilization",
    "nvmlEventSetCreate",
];

/// Not supported, no permission, no such function, out of memory, anything.
const CODES: [u32; 5] = [3, 4, 13, 20, 999];

fn fault(symbol: &str, card: Option<usize>, code: u32) -> Fault {
    Fault {
        symbol: symbol.to_owned(),
        card,
        code,
        hang_ms: 0,
    }
}

fn busy() -> Machine {
    let mut machine = profile::a100(2, &[]);
    for card in &mut machine.cards {
        (card.utilisation, card.ecc_errors) = (Some((87, 34)), (3, 0));
        card.throttle_reasons = Some(0x4);
        card.memory_used = 7 << 30;
        let process = |pid| Process {
            pid,
            memory: Some(7 << 30),
            sm: Some(80),
            memory_bandwidth: 30,
        };
        card.processes = vec![process(5)];
        card.mps_processes = Some(vec![process(6)]);
    }
    machine
}

/// Whether what is told is told of the whole too, and the same: nothing is added or changed.
fn is_part(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part
            .iter()
            .all(|(key, value)| whole.get(key).is_some_and(|other| is_part(value, other))),
        (Value::Array(part), Value::Array(whole)) => part
            .iter()
            .all(|value| whole.iter().any(|other| is_part(value, other))),
        _ => part == whole,
    }
}

#[test]
fn what_is_not_told_is_absent_and_the_rest_is_as_before() {
    let machine = busy();
    let bench = Bench::new(&machine);
    let whole = bench.json(&[]);
    let mut without = 0;
    for (number, symbol) in SYMBOLS.iter().enumerate() {
        let code = CODES[number % CODES.len()];
        let faults = vec![fault(symbol, None, code)];
        bench.change(&Machine {
            faults,
            ..machine.clone()
        });
        let part = bench.json(&[]);
        assert!(
            is_part(&part, &whole),
            "{symbol} fails with {code}: {part:#}"
        );
        without += usize::from(part != whole);
        let healths: Vec<&Value> = part["gpus"]
            .as_array()
            .unwrap()
            .iter()
            .map(|gpu| &gpu["health"])
            .collect();
        assert_eq!(
            healths,
            ["Healthy", "Healthy"],
            "{symbol} fails with {code}"
        );
    }
    // Events alone are not part of what is printed.
    assert_eq!(without, SYMBOLS.len() - 1, "each of them is called");
}

#[test]
fn on_one_card_alone_the_other_is_as_before() {
    let machine = busy();
    let bench = Bench::new(&machine);
    let whole = bench.json(&[]);
    for symbol in ["nvmlDeviceGetPowerUsage", "nvmlDeviceGetMemoryInfo_v2"] {
        let faults = vec![fault(symbol, Some(1), 3)];
        bench.change(&Machine {
            faults,
            ..machine.clone()
        });
        let part = bench.json(&[]);
        assert_eq!(part["gpus"][0], whole["gpus"][0]);
        assert_ne!(part["gpus"][1], whole["gpus"][1]);
    }
}

#[test]
fn a_lost_card_is_told_and_the_others_are_read() {
    let mut machine = profile::t4(3);
    machine.cards[1].lost = true;
    let shown = Bench::new(&machine).json(&[]);
    let lost = json!({"index": 1, "health": "Lost", "message": "the driver has lost it"});
    assert_eq!(shown["gpus"][1], lost);
    assert_eq!(shown["gpus"][2]["load"]["temperature"], json!(41));
}

#[test]
fn a_card_that_needs_a_reset_is_unhealthy() {
    let mut machine = profile::t4(2);
    machine
        .faults
        .push(fault("nvmlDeviceGetUtilizationRates", Some(0), 16));
    let shown = Bench::new(&machine).json(&[]);
    assert_eq!(shown["gpus"][0]["health"], "Unhealthy");
    assert_eq!(shown["gpus"][0]["message"], "it works only after a reset");
    assert_eq!(shown["gpus"][1]["health"], "Healthy");
}

#[test]
fn a_call_that_does_not_return_costs_one_card_alone() {
    let mut machine = profile::a100(3, &[]);
    machine.faults.push(Fault {
        symbol: "*".to_owned(),
        card: Some(1),
        code: 0,
        hang_ms: 3_600_000,
    });
    let clock = Instant::now();
    let shown = Bench::new(&machine).json(&["--deadline", "300ms"]);
    assert!(
        clock.elapsed() < Duration::from_secs(15),
        "{:?}",
        clock.elapsed()
    );
    let healths: Vec<&Value> = shown["gpus"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gpu| &gpu["health"])
        .collect();
    assert_eq!(healths, ["Healthy", "Unresponsive", "Healthy"]);
    assert_eq!(shown["gpus"][2]["peers"].as_array().unwrap().len(), 1);
}

#[test]
fn a_driver_that_does_not_return_is_told_of() {
    let mut machine = profile::t4(1);
    machine.faults.push(Fault {
        symbol: "nvmlDeviceGetCount_v2".to_owned(),
        hang_ms: 3_600_000,
        ..Fault::default()
    });
    let output = Bench::new(&machine).once(&["--deadline", "300ms"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("calls to the driver do not return"), "{told}");
}
