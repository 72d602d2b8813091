//! What one look at the GPUs of a node gives. What a card or its driver does not tell is absent, never
//! zero.

use std::sync::Arc;

use serde::Serialize;

use crate::api::gpunode::{Gpu, GpuDriver};

/// What comes of a look.
#[derive(Clone, Debug, PartialEq)]
pub enum Look {
    /// It succeeded, for some cards at least.
    Taken(Reading),
    /// There is no driver to ask, or none any more.
    Failed(Error),
    /// Calls to the driver do not return.
    Stuck,
}

/// Why there is no reading at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The library is not there.
    #[error("NVML cannot be loaded: {0}")]
    NoLibrary(String),
    /// The library is there, and no driver answers.
    #[error("the NVIDIA driver does not answer: {0}")]
    NoDriver(String),
    /// The driver has been replaced under us, or has gone.
    #[error("the NVIDIA driver has gone: {0}")]
    Ended(String),
}

/// One look at a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Reading {
    /// The driver.
    pub driver: GpuDriver,
    /// The cards, by index.
    pub cards: Vec<Card>,
    /// Errors that the driver has told since the last look.
    #[serde(skip)]
    pub xids: Vec<Xid>,
}

/// One card.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum Card {
    /// It answers.
    Seen(Box<Seen>),
    /// It does not.
    Silent {
        /// Its number on the node.
        index: u32,
        /// Why.
        why: Silence,
    },
}

/// What a card that answers tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Seen {
    /// What it is.
    #[serde(flatten)]
    pub identity: Arc<Gpu>,
    /// What it does.
    pub load: Load,
    /// Who uses it; absent where the driver does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<Process>>,
}

/// Why a card does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Silence {
    /// The driver has lost it.
    Lost,
    /// It works only after a reset.
    ResetRequired,
    /// A call about it has not returned.
    Unresponsive,
    /// Something else, in the driver's words.
    Failed(String),
}

/// What a card does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Percent of the time in which any kernel ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilisation: Option<u32>,
    /// Percent of the time in which memory was read or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_utilisation: Option<u32>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_total: Option<u64>,
    /// Bytes in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used: Option<u64>,
    /// Milliwatts that it draws.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_milliwatts: Option<u32>,
    /// Why its clocks are lower than they could be; empty where nothing holds it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_by: Option<Vec<&'static str>>,
    /// What is read less often.
    #[serde(flatten)]
    pub slow: Slow,
    /// Of each of its instances.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceLoad>,
}

/// What changes slowly, or is dear to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Slow {
    /// Degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<u32>,
    /// Millijoules since the driver was loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_millijoules: Option<u64>,
    /// MHz of the multiprocessors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_mhz: Option<u32>,
    /// Errors of memory that were corrected since the driver was loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecc_corrected: Option<u64>,
    /// Errors of memory that were not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecc_uncorrected: Option<u64>,
}

/// What an instance does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceLoad {
    /// Which one.
    pub uuid: String,
    /// Bytes in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used: Option<u64>,
}

/// A process that uses a card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// As the host numbers it.
    pub pid: u32,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used: Option<u64>,
    /// Percent of the multiprocessors, since the last look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilisation: Option<u32>,
    /// Percent of the memory's bandwidth, since the last look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_utilisation: Option<u32>,
    /// The instance that it uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Whether it uses the card by way of MPS: then what it does is told of the MPS server.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mps: bool,
}

/// An error that the driver has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xid {
    /// The card's number on the node.
    pub card: u32,
    /// What NVIDIA calls it; `None` where the driver does not know either.
    pub code: Option<u64>,
}

impl Card {
    /// Its number on the node.
    #[must_use]
    pub fn index(&self) -> u32 {
        match self {
            Self::Seen(seen) => seen.identity.index,
            Self::Silent { index, .. } => *index,
        }
    }
}
