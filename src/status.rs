//! What people read about a job: state, reason and a sentence.
//!
//! A sentence holds only numbers that stay the same while the reason does. One that changed with
//! every cycle would be written again with every cycle.

use prorata_core::{Reason, Verdict, resource::Amount};

use crate::api::State;

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// In one word.
    pub state: State,
    /// A stable code.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Standing {
    /// Where a job of this verdict stands. `obstacle` is what translation found wrong with it.
    #[must_use]
    pub fn of(verdict: &Verdict, obstacle: Option<&str>) -> Self {
        let (state, reason, message) = match verdict {
            Verdict::Running | Verdict::Admitted(_) => (
                State::Admitted,
                "Admitted",
                "its places are decided, and are its own until it ends".to_owned(),
            ),
            Verdict::Waiting(Reason::Suspended) => {
                (State::Held, "Suspended", sentence(&Reason::Suspended))
            }
            Verdict::Waiting(reason) => {
                let text = obstacle.filter(|_| *reason == Reason::InvalidRequest);
                let text = text.map_or_else(|| sentence(reason), str::to_owned);
                (State::Waiting, reason.code(), text)
            }
        };
        Self {
            state,
            reason: reason.to_owned(),
            message,
        }
    }

    /// Where a job stands that is over.
    #[must_use]
    pub fn finished() -> Self {
        Self {
            state: State::Finished,
            reason: "Finished".to_owned(),
            message: "its places are free again".to_owned(),
        }
    }
}

fn sentence(reason: &Reason) -> String {
    match *reason {
        Reason::UnknownTenant => {
            "no Tenant has the name in its namespace's label prorata.dev/tenant".to_owned()
        }
        Reason::InvalidRequest => "no cluster could run what it asks for".to_owned(),
        Reason::ExceedsMaxQuota {
            resource,
            request,
            limit,
        } => {
            let (request, limit) = (Amount(resource, request), Amount(resource, limit));
            format!(
                "it asks for {request} {resource}, and its tenant may never hold more than {limit}"
            )
        }
        Reason::NoSuchGpu { request, largest } => {
            let gpu = |milli| Amount(prorata_core::Resource::Gpu, milli);
            let (request, largest) = (gpu(request), gpu(largest));
            format!("each pod asks for {request} GPUs, and the largest node has {largest}")
        }
        Reason::ExceedsCapacity { gang, best } => {
            format!(
                "its {gang} pods must start together, and the nodes would hold {best} even if they were empty"
            )
        }
        Reason::Suspended => "its user holds it: set spec.suspend to false".to_owned(),
        Reason::QuotaFull {
            resource,
            request,
            limit,
            ..
        } => {
            let (request, limit) = (Amount(resource, request), Amount(resource, limit));
            format!(
                "it asks for {request} {resource}, and its tenant's limit of {limit} does not leave as much"
            )
        }
        Reason::Fragmented { request, gang, .. } => {
            let request = Amount(prorata_core::Resource::Gpu, request);
            format!("{request} GPUs are free, but not where its {gang} pods could start together")
        }
        Reason::CapacityFull { gang, .. } => {
            format!("too little is free for its {gang} pods to start together")
        }
        Reason::NotYetEvaluated => "not looked at yet".to_owned(),
    }
}
