//! The extender: kube-scheduler's questions, answered from the newest view.
//!
//! It decides nothing. A pod of an admitted Job is told its planned node, any other pod of a
//! tenant is refused, and a GPU pod of a namespace without tenant may take any room that is not
//! taken or assumed. Refusals are constant texts: a text that changes would make kube-scheduler
//! try the pod again at once, for ever.

mod answer;
mod seats;
mod server;

pub use answer::{FilterPolicy, answer};
pub use seats::Seats;
pub use server::{Error, serve};
