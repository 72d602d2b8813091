//! A `libnvidia-ml.so.1` without a GPU: the C functions of NVIDIA's management library that Prorata
//! reads GPUs by, answered from a file.
//!
//! The file is a [`Machine`] as JSON, and `$PRORATA_FAKE_NVML` names it. It is looked at before each
//! answer, so it may change at any time; write it by [`Machine::write`], which never shows half of
//! one. [`library`] says where cargo has put the library for a test, and [`profile`] has machines to
//! begin with.

mod abi;
mod card;
mod driver;
mod events;
mod machine;
mod place;
pub mod profile;
mod state;

pub use machine::{Card, Driver, Event, Fault, Machine, Mig, MigDevice, Process};
pub use place::library;

/// The variable that names the file.
pub const STATE: &str = "PRORATA_FAKE_NVML";
