//! A real Kubernetes control plane for tests, benchmarks and the demo.
//!
//! [`ControlPlane::start`] brings up etcd, kube-apiserver and, where asked for,
//! kube-controller-manager and kube-scheduler on loopback, in a temporary directory, in a few
//! seconds. Only what lies below them is made up: [`nodes`] creates Node objects, [`Kubelet`] plays
//! every kubelet at once and [`DevicePlugin`] the device plugins. Nothing is downloaded at run time: the programs are
//! built once from the Go module beside this crate, see [`Binaries`].
//!
//! No process outlives its owner: dropping a [`ControlPlane`] ends each by its id, and when the
//! owner itself is killed, each sees the end of its standard input.

mod authority;
mod binaries;
mod controlplane;
mod error;
mod flags;
mod gomodule;
mod helm;
mod jobset;
mod kubelet;
pub mod nodes;
mod plugin;
mod ports;
mod process;
mod program;
mod user;

pub use authority::{Authority, Credentials};
pub use binaries::Binaries;
pub use controlplane::{ControlPlane, Options};
pub use error::{Error, Result};
pub use helm::Helm;
pub use jobset::JobSets;
pub use kubelet::{
    Allocation, Grant, Kubelet, KubeletOptions, RUN_SECONDS, Rejection, TERMINATION_SECONDS,
};
pub use plugin::{DevicePlugin, PluginOptions};
pub use process::Process;
pub use program::Program;
pub use user::User;

/// The extended resource that nodes offer and the fake kubelet counts.
pub const GPU: &str = "nvidia.com/gpu";
