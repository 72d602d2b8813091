//! Why a write was not made: by what the API server says.

use std::collections::BTreeSet;

use kube::core::Status;

use super::clients;

/// Why a write was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// What it was based on is no longer so.
    #[error("the object has changed meanwhile")]
    Stale,
    /// The API server does not accept it.
    #[error("the API server refuses: {0}")]
    Refused(String),
    /// It accepts the record, and keeps it as it was: written again at once, it would be for ever.
    #[error("the API server keeps the record as it was")]
    Vain,
    /// Clients of MPS cannot be ended by themselves: whoever were killed could take others along.
    #[error("{why}")]
    Clients {
        /// What the agent says, or that it says nothing.
        why: String,
        /// UIDs of the other pods on the same GPUs.
        beside: BTreeSet<String>,
    },
    /// The API server cannot be asked, or is too busy.
    #[error("the API server does not answer: {0}")]
    Unanswered(String),
}

impl Failure {
    /// Its name in metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Refused(_) => "refused",
            Self::Vain => "vain",
            Self::Clients { .. } => "clients",
            Self::Unanswered(_) => "unanswered",
        }
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        let status = match &error {
            kube::Error::Api(status) => status,
            kube::Error::Service(inner) => {
                return match inner.downcast_ref::<clients::Error>() {
                    Some(inseparable) => Self::Clients {
                        why: inseparable.to_string(),
                        beside: inseparable.beside().clone(),
                    },
                    None => Self::Unanswered(error.to_string()),
                };
            }
            _ => return Self::Unanswered(error.to_string()),
        };
        // A failed `test` of a JSON Patch is an invalid request, not a conflict.
        let untested = status.code == 422 && is_failed_test(status);
        match status.code {
            404 | 409 | 410 => Self::Stale,
            _ if untested => Self::Stale,
            400..=499 if status.code != 429 => Self::Refused(status.message.clone()),
            _ => Self::Unanswered(status.message.clone()),
        }
    }
}

/// Whether a `test` of a JSON Patch failed. The API server passes on what its library says.
fn is_failed_test(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut messages = causes.map(|cause| &cause.message).chain([&status.message]);
    messages.any(|message| message.contains("testing value ") || message.contains("testing path "))
}
