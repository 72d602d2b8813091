//! Machines to begin with: as their cards are sold, idle, and one of each kind of node.

use crate::machine::{Card, Driver, Machine, Mig, MigDevice};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// NVML's numbers of architectures.
const TURING: u32 = 6;
const AMPERE: u32 = 7;
const HOPPER: u32 = 9;

/// So many T4: no instances, no links, no NUMA node told.
#[must_use]
pub fn t4(count: usize) -> Machine {
    machine((0..count).map(t4_card).collect())
}

/// So many A100 of 40 GB, with instances where `divided` says so, each linked to each by NVLink.
#[must_use]
pub fn a100(count: usize, divided: &[usize]) -> Machine {
    let cards = (0..count).map(|index| a100_card(index, divided.contains(&index)));
    linked(machine(cards.collect()), 12)
}

/// So many H100 of 80 GB, all linked to NVSwitches.
#[must_use]
pub fn h100(count: usize) -> Machine {
    let mut machine = machine((0..count).map(h100_card).collect());
    for card in &mut machine.cards {
        // As in an HGX board: each switch has four or five links to each card.
        let switch = |link: usize| format!("00000000:{:02X}:00.0", 7 + link % 4);
        card.links = (0..18).map(switch).collect();
    }
    near(machine)
}

/// A node of a T4, an A100 that is divided, and an H100.
#[must_use]
pub fn mixed() -> Machine {
    machine(vec![t4_card(0), a100_card(1, true), h100_card(2)])
}

fn machine(cards: Vec<Card>) -> Machine {
    Machine {
        driver: Driver {
            version: "550.54.15".to_owned(),
            nvml: "12.550.54.15".to_owned(),
            cuda: 12_040,
            loads: 1,
        },
        cards,
        ..Machine::default()
    }
}

/// Each pair of cards has as many links as are left for it.
fn linked(mut machine: Machine, links: usize) -> Machine {
    let count = machine.cards.len();
    let ids: Vec<String> = machine.cards.iter().map(|c| c.pci_bus_id.clone()).collect();
    for (index, card) in machine.cards.iter_mut().enumerate() {
        let others = ids.iter().enumerate().filter(|(other, _)| *other != index);
        for (_, id) in others {
            let share = std::iter::repeat_n(id.clone(), links / (count - 1));
            card.links.extend(share);
        }
    }
    near(machine)
}

/// Every four cards are at one processor.
fn near(mut machine: Machine) -> Machine {
    let count = machine.cards.len();
    for low in 0..count {
        for high in low + 1..count {
            let level = if low / 4 == high / 4 { 40 } else { 50 };
            machine.levels.insert(format!("{low}-{high}"), level);
        }
    }
    machine
}

fn card(index: usize, name: &str) -> Card {
    Card {
        uuid: format!("GPU-00000000-0000-4000-8000-{index:012x}"),
        name: name.to_owned(),
        pci_bus_id: format!("00000000:{:02X}:00.0", 0x1b + 0x20 * index),
        minor: index as u32,
        compute_mode: Some(0),
        utilisation: Some((0, 0)),
        mps_processes: Some(Vec::new()),
        ecc: Some(true),
        energy: Some(1_000_000),
        throttle_reasons: Some(1),
        ..Card::default()
    }
}

fn t4_card(index: usize) -> Card {
    Card {
        architecture: TURING,
        compute_capability: (7, 5),
        serial: Some(format!("13211181{index:05}")),
        memory: 15_360 * MIB,
        memory_reserved: 444 * MIB,
        power: Some(13_550),
        power_limit: Some(70_000),
        temperature: Some(41),
        clocks: Some((300, 405)),
        ..card(index, "Tesla T4")
    }
}

fn a100_card(index: usize, divided: bool) -> Card {
    let devices = [(3, 20, 42), (2, 10, 28), (1, 5, 14)];
    let devices = devices
        .iter()
        .enumerate()
        .map(|(number, (slices, gb, processors))| MigDevice {
            uuid: format!("MIG-00000000-0000-4000-9000-{:012x}", index * 16 + number),
            name: format!("NVIDIA A100-SXM4-40GB MIG {slices}g.{gb}gb"),
            memory: gb * GIB - 256 * MIB,
            memory_used: 25 * MIB,
            slices: *slices,
            multiprocessors: *processors,
            processes: Vec::new(),
        });
    Card {
        architecture: AMPERE,
        compute_capability: (8, 0),
        serial: Some(format!("15645203{index:05}")),
        numa_node: Some((index / 4) as u32),
        memory: 40_960 * MIB,
        memory_reserved: 571 * MIB,
        mig: Some(Mig {
            enabled: divided,
            pending: divided,
            capacity: 7,
            devices: if divided {
                devices.collect()
            } else {
                Vec::new()
            },
        }),
        power: Some(52_100),
        power_limit: Some(400_000),
        temperature: Some(33),
        clocks: Some((210, 1_215)),
        ..card(index, "NVIDIA A100-SXM4-40GB")
    }
}

fn h100_card(index: usize) -> Card {
    Card {
        architecture: HOPPER,
        compute_capability: (9, 0),
        serial: Some(format!("16519230{index:05}")),
        numa_node: Some((index / 4) as u32),
        memory: 81_559 * MIB,
        memory_reserved: 551 * MIB,
        mig: Some(Mig {
            capacity: 7,
            ..Mig::default()
        }),
        power: Some(71_800),
        power_limit: Some(700_000),
        temperature: Some(30),
        clocks: Some((345, 2_619)),
        ..card(index, "NVIDIA H100 80GB HBM3")
    }
}
