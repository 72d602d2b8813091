//! Every decision of Prorata, and nothing else.
//!
//! The core is told facts ([`Event`]), asked to decide ([`Scheduler::cycle`]) and answers with
//! commands ([`Decision`]) and explanations ([`Verdict`]). It has no clock, no I/O, no threads,
//! no randomness, no floating point and no hashing: the same facts in the same order give the
//! same answers, in a simulation as in a cluster. `no_std` makes the compiler hold it to that.
//!
//! Read [`scheduler`] first; it tells the story of a cycle. Then, by question:
//!
//! | question | file |
//! |---|---|
//! | who is next? | [`drf`] between tenants, [`queue`] within one |
//! | where does it run? | [`placement`] |
//! | why does it wait? | [`reason`] |
//! | what is true now? | [`cluster`], seen from outside through [`snapshot`] |
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod cluster;
pub mod decision;
pub mod device;
pub mod drf;
pub mod event;
pub mod id;
pub mod invariants;
pub mod job;
pub mod node;
pub mod placement;
pub mod queue;
pub mod reason;
pub mod resource;
pub mod scheduler;
pub mod share;
pub mod snapshot;
mod task;
pub mod tenant;
pub mod time;
mod trial;

pub use decision::{Cycle, Decision};
pub use device::Devices;
pub use event::Event;
pub use id::{JobId, NodeId, PodId, TaskId, TenantId};
pub use job::{Job, Placement, Slot};
pub use node::Node;
pub use queue::Order;
pub use reason::{Reason, Verdict};
pub use resource::{Resource, Resources};
pub use scheduler::{Policy, Scheduler};
pub use share::{Share, Weight};
pub use snapshot::Snapshot;
pub use tenant::{Limits, Tenant};
pub use time::Time;
