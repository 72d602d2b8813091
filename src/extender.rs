//! The extender: kube-scheduler's questions, answered from the newest view.
//!
//! It decides nothing. A pod of an admitted Job is told its planned node, and one of a Job that
//! waits is refused. A GPU pod that is not the queue's, because its namespace has no tenant or
//! because somebody with the right to do so bypassed the queue, may take any room that is neither
//! taken nor assumed. Refusals are constant texts: a text that changes would make kube-scheduler
//! try the pod again at once, for ever.

use std::time::Duration;

mod answer;
pub(crate) mod certificates;
mod limits;
mod offers;
mod seats;
mod server;

pub use answer::{FilterPolicy, Told, answer, scores};
pub use certificates::Error as CertificateError;
pub use offers::Offers;
pub use seats::Seats;
pub use server::{Error, serve};

/// How long kube-scheduler may take from its question until the pod is bound.
const BOUND_WITHIN: Duration = Duration::from_secs(30);
