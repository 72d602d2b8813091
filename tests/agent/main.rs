//! `prorata agent` on machines without a GPU: nvml-wrapper loads a library that answers from a file,
//! and everything above the driver is real.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
#[path = "../cluster/mod.rs"]
mod cluster;
mod cost;
mod faults;
mod kubelet;
mod mps;
mod occupants;
mod once;
mod publishing;
mod running;
mod usage;
