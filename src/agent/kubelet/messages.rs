//! The messages of kubelet's PodResources API, version 1, as far as they are read. Fields that are
//! not named here are skipped.

/// A question that says nothing more.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Nothing {}

/// What every container of the node holds.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Listed {
    /// The pods.
    #[prost(message, repeated, tag = "1")]
    pub pods: Vec<Pod>,
}

/// What there is on the node for containers to hold.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Allocatable {
    /// Devices that are healthy, by resource.
    #[prost(message, repeated, tag = "1")]
    pub devices: Vec<Devices>,
}

/// A pod.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Pod {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its namespace.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// Its containers.
    #[prost(message, repeated, tag = "3")]
    pub containers: Vec<Container>,
}

/// A container.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Container {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it holds.
    #[prost(message, repeated, tag = "2")]
    pub devices: Vec<Devices>,
}

/// Devices of one resource.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Devices {
    /// Such as `nvidia.com/gpu`.
    #[prost(string, tag = "1")]
    pub resource: String,
    /// What the device plugin calls them.
    #[prost(string, repeated, tag = "2")]
    pub ids: Vec<String>,
}
