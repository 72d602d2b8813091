//! The objects and names that Prorata adds to a cluster. Data only: no rule and no I/O.

pub mod amount;
pub mod extender_v1;
pub mod gpunode;
pub mod labels;
pub mod queuedjob;
pub mod resources;
pub mod tenant;

pub use amount::Amount;
pub use gpunode::{GpuNode, GpuNodeSpec, GpuNodeStatus};
pub use queuedjob::{
    Admission, Aside, Eviction, Forecast, JobReference, Place, QueuedJob, QueuedJobSpec,
    QueuedJobStatus, State,
};
pub use tenant::{
    Amounts, Budget, BudgetPolicy, ClassStorage, Compliance, ComplianceClass, ContainerSizes, Day,
    Due, Environment, Grant, InForce, Member, Members, MeshLabel, Network, ObjectCounts,
    PodSecurity, PodSizes, Port, Protocol, Quotas, Schedule, Security, SharedService, Size,
    Storage, Tenant, TenantSpec, TenantStatus,
};

/// The API group of every object of ours.
pub const GROUP: &str = "prorata.dev";
