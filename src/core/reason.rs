//! Why a job waits, with the numbers that decided. Never prose: whoever shows a reason renders it.

use core::fmt;

use crate::job::Placement;
use crate::resource::{Amount, Resource};

/// What became of a job. Every unfinished job has exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every task has taken its place.
    Running,
    /// It may start here; some task has not taken its place yet.
    Admitted(Placement),
    /// It waits.
    Waiting(Reason),
}

/// Why a job waits. The first that applies, in the order in which they stand here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody has described its tenant.
    UnknownTenant,
    /// No cluster could run it: an empty gang or task, or an absurd amount.
    InvalidRequest,
    /// More than its tenant may ever hold.
    ExceedsMaxQuota {
        /// The resource.
        resource: Resource,
        /// What the gang asks for.
        request: u64,
        /// What its tenant may hold at most.
        limit: u64,
    },
    /// No node has as many GPUs as one task asks for.
    NoSuchGpu {
        /// Milli-GPU that one task asks for.
        request: u64,
        /// The most milli-GPU that a node has.
        largest: u64,
    },
    /// The nodes that there are could not run it even if they were empty.
    ExceedsCapacity {
        /// Tasks of the gang.
        gang: u32,
        /// As many of them as the empty nodes could run.
        best: u32,
    },
    /// Its user holds it.
    Suspended,
    /// Its tenant is at its limit.
    QuotaFull {
        /// The resource.
        resource: Resource,
        /// What the tenant holds.
        used: u64,
        /// What the gang asks for.
        request: u64,
        /// What its tenant may hold at most.
        limit: u64,
    },
    /// As many GPUs are free as it asks for, but not together, or not beside enough CPU and memory.
    Fragmented {
        /// Milli-GPU that the gang asks for.
        request: u64,
        /// Milli-GPU that are free.
        free: u64,
        /// Tasks of the gang.
        gang: u32,
        /// As many of them as could start now.
        best: u32,
    },
    /// Too little is free.
    CapacityFull {
        /// Tasks of the gang.
        gang: u32,
        /// As many of them as could start now.
        best: u32,
    },
    /// No cycle has looked at it yet.
    NotYetEvaluated,
}

impl Reason {
    /// The stable code by which people, alerts and programs know it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownTenant => "UnknownTenant",
            Self::InvalidRequest => "InvalidRequest",
            Self::ExceedsMaxQuota { .. } => "ExceedsMaxQuota",
            Self::NoSuchGpu { .. } => "NoSuchGpu",
            Self::ExceedsCapacity { .. } => "ExceedsCapacity",
            Self::Suspended => "Suspended",
            Self::QuotaFull { .. } => "QuotaFull",
            Self::Fragmented { .. } => "Fragmented",
            Self::CapacityFull { .. } => "CapacityFull",
            Self::NotYetEvaluated => "NotYetEvaluated",
        }
    }

    /// Whether it will never start unless somebody changes the job, its tenant or the nodes.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::UnknownTenant
                | Self::InvalidRequest
                | Self::ExceedsMaxQuota { .. }
                | Self::NoSuchGpu { .. }
                | Self::ExceedsCapacity { .. }
        )
    }
}

impl fmt::Display for Reason {
    /// The code and the numbers that decided, in one line: `CapacityFull gang=8 best=7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())?;
        match *self {
            Self::ExceedsMaxQuota {
                resource,
                request,
                limit,
            } => {
                let amount = |n| Amount(resource, n);
                write!(f, " {resource}={} limit={}", amount(request), amount(limit))
            }
            Self::NoSuchGpu { request, largest } => {
                let gpu = |n| Amount(Resource::Gpu, n);
                write!(f, " gpu={} largest={}", gpu(request), gpu(largest))
            }
            Self::QuotaFull {
                resource,
                used,
                request,
                limit,
            } => {
                let amount = |n| Amount(resource, n);
                let (used, request, limit) = (amount(used), amount(request), amount(limit));
                write!(f, " {resource}={request} used={used} limit={limit}")
            }
            Self::Fragmented {
                request,
                free,
                gang,
                best,
            } => {
                let gpu = |n| Amount(Resource::Gpu, n);
                let (request, free) = (gpu(request), gpu(free));
                write!(f, " gpu={request} free={free} gang={gang} best={best}")
            }
            Self::ExceedsCapacity { gang, best } | Self::CapacityFull { gang, best } => {
                write!(f, " gang={gang} best={best}")
            }
            Self::UnknownTenant
            | Self::InvalidRequest
            | Self::Suspended
            | Self::NotYetEvaluated => Ok(()),
        }
    }
}
