//! What the library tells: the state file's types. What a card does not have is absent from it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A machine with GPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Machine {
    /// The driver.
    pub driver: Driver,
    /// The cards, by index.
    #[serde(default)]
    pub cards: Vec<Card>,
    /// How near two cards are to each other, by the lower and the higher index as `0-1`: NVML's
    /// number of the level. What is not named is 50, another part of the system.
    #[serde(default)]
    pub levels: BTreeMap<String, u32>,
    /// What has happened, oldest first.
    #[serde(default)]
    pub events: Vec<Event>,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// The driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Driver {
    /// Such as 550.54.15.
    pub version: String,
    /// NVML's own version.
    pub nvml: String,
    /// CUDA's version as a number: 12040 is 12.4.
    pub cuda: i32,
    /// How often it was loaded. Whoever initialised the library before is not known to it any more.
    #[serde(default)]
    pub loads: u32,
}

/// A card.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Card {
    /// Such as `GPU-…`.
    pub uuid: String,
    /// The product's name.
    pub name: String,
    /// The board's number.
    pub serial: Option<String>,
    /// Where it is, as `00000000:3B:00.0`.
    pub pci_bus_id: String,
    /// Of its device file.
    pub minor: u32,
    /// NVML's number of the architecture.
    pub architecture: u32,
    /// Major and minor.
    pub compute_capability: (i32, i32),
    /// The NUMA node beside it.
    pub numa_node: Option<u32>,
    /// Bytes, and those of it that the driver keeps for itself.
    pub memory: u64,
    /// See `memory`.
    pub memory_reserved: u64,
    /// Bytes in use.
    pub memory_used: u64,
    /// NVML's number: 0 for anybody, 3 for one process, which is what MPS sets.
    pub compute_mode: Option<u32>,
    /// Instances; absent where the card has none.
    pub mig: Option<Mig>,
    /// Where each link leads: the bus id of the other end. Absent: no link.
    pub links: Vec<String>,
    /// Percent of time in which a kernel ran, and in which memory was read or written.
    pub utilisation: Option<(u32, u32)>,
    /// Who uses it.
    pub processes: Vec<Process>,
    /// Who uses it by way of MPS; absent before Volta.
    pub mps_processes: Option<Vec<Process>>,
    /// Error correction: whether it is on.
    pub ecc: Option<bool>,
    /// Errors since the driver was loaded: corrected and not.
    pub ecc_errors: (u64, u64),
    /// Milliwatts.
    pub power: Option<u32>,
    /// Milliwatts that it may draw.
    pub power_limit: Option<u32>,
    /// Millijoules since the driver was loaded.
    pub energy: Option<u64>,
    /// Degrees Celsius.
    pub temperature: Option<u32>,
    /// NVML's bits.
    pub throttle_reasons: Option<u64>,
    /// MHz of the multiprocessors and of the memory.
    pub clocks: Option<(u32, u32)>,
    /// It has fallen off the bus.
    pub lost: bool,
}

/// A card's instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mig {
    /// Whether the card is divided.
    pub enabled: bool,
    /// Whether it will be after a reset.
    pub pending: bool,
    /// Into how many at most.
    pub capacity: u32,
    /// Those that there are.
    #[serde(default)]
    pub devices: Vec<MigDevice>,
}

/// An instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MigDevice {
    /// Such as `MIG-…`.
    pub uuid: String,
    /// The product's name, with the profile.
    pub name: String,
    /// Bytes.
    pub memory: u64,
    /// Bytes in use.
    #[serde(default)]
    pub memory_used: u64,
    /// Slices of the card's processors.
    pub slices: u32,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Who uses it.
    #[serde(default)]
    pub processes: Vec<Process>,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Process {
    /// Of the host.
    pub pid: u32,
    /// Bytes; absent where the driver does not say.
    pub memory: Option<u64>,
    /// Percent of the multiprocessors; absent where the driver has no sample.
    pub sm: Option<u32>,
    /// Percent of the memory's bandwidth.
    pub memory_bandwidth: u32,
}

/// Something that has happened to a card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Event {
    /// The card's index.
    pub card: usize,
    /// What the driver calls the error.
    pub xid: u64,
}

/// Something that goes wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fault {
    /// The C function, or `*` for all that take a card.
    pub symbol: String,
    /// On this card alone.
    pub card: Option<usize>,
    /// What it returns instead of an answer; 0: it answers.
    pub code: u32,
    /// How long it takes, in milliseconds.
    pub hang_ms: u64,
}

impl Machine {
    /// Writes the state file. Whoever reads it meanwhile gets all of the last one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let fresh = path.with_extension("fresh");
        fs::write(&fresh, serde_json::to_vec(self)?)?;
        fs::rename(fresh, path)
    }
}
