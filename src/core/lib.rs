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
//! | what does a tenant own, hold, borrow? | `tree`, from [`tenant`] |
//! | who is next? | `drf` between tenants, `queue` within one |
//! | where does it run? | `placement`, by `fragmentation` and the `rooms` of nodes |
//! | who has to leave for whom? | `rules`, searched by `preemption` |
//! | whose work shares no node with others? | [`pool`] |
//! | who is kept from starving? | `reservation` |
//! | why does it wait? | [`reason`], found by `trial` |
//! | what is true now? | `cluster` and its `holdings`, seen from outside through [`snapshot`] |
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod cluster;
pub mod decision;
mod deferral;
pub mod device;
mod drf;
mod entry;
pub mod event;
pub mod fragmentation;
mod history;
mod holdings;
pub mod id;
pub mod invariants;
pub mod job;
pub mod needs;
pub mod node;
pub mod others;
pub mod pairs;
mod placement;
pub mod policy;
pub mod pool;
mod preemption;
mod promise;
mod queue;
pub mod reason;
mod reservation;
pub mod resource;
mod room;
mod rooms;
mod rules;
pub mod scheduler;
mod seen;
pub mod share;
pub mod snapshot;
mod standing;
mod states;
mod survey;
mod target;
mod task;
pub mod tenant;
pub mod time;
mod told;
mod tree;
mod trial;

pub use decision::{Cycle, Decision, Rule};
pub use device::{Devices, Gpus, Instance, Mode, Part};
pub use event::Event;
pub use fragmentation::Mix;
pub use id::{JobId, Model, NodeId, PodId, TaskId, TenantId};
pub use job::{Hold, Job, Placement, Slot};
pub use needs::Needs;
pub use node::Node;
pub use others::Others;
pub use pairs::Pairs;
pub use policy::{Order, Place, Policy, Preemption};
pub use pool::Home;
pub use reason::{Reason, Verdict};
pub use resource::{Resource, Resources};
pub use scheduler::Scheduler;
pub use share::{Share, Weight};
pub use snapshot::Snapshot;
pub use tenant::{Limits, Tenant};
pub use time::Time;
