//! What reasons mean, in words.

use prorata_core::Reason;

/// What a reason means, as a clause.
#[must_use]
pub const fn of(reason: &Reason) -> &'static str {
    match reason {
        Reason::UnknownTenant => "nobody has described the job's tenant",
        Reason::TenantNotLeaf => "its tenant has tenants below it, and only those own jobs",
        Reason::InvalidRequest => "no cluster could run such a request",
        Reason::ExceedsMaxQuota { .. } => "it asks for more than its tenant may ever hold",
        Reason::NoSuchGpu { .. } => "no node has as many GPUs of such a model as one task asks for",
        Reason::NoSuchNode { .. } => {
            "no node carries the labels that it selects, or all of them repel it"
        }
        Reason::NoSuchResource { .. } => {
            "no node that it may use offers as much of something else as one task asks for"
        }
        Reason::NodesDedicated { .. } => {
            "nodes that could run it are set apart: in another tenant's pool, or outside of its own"
        }
        Reason::ExceedsCapacity { .. } => "not even the empty nodes could run the gang",
        Reason::BudgetExhausted => "the budget of its tenant is spent",
        Reason::Suspended => "its user holds it",
        Reason::DependencyGate => "something else must happen first",
        Reason::GangIncomplete { .. } => "some tasks of its gang are still to be made",
        Reason::QuotaFull { .. } => "its tenant, or one above it, is at its limit",
        Reason::Withheld { .. } => "what is free belongs to tenants that do not lend it",
        Reason::WaitingForPreemption { .. } => "those that were evicted for it have not all left",
        Reason::BehindHigherPriority { .. } => {
            "there would be room, but it is kept for a job of its tenant that comes first"
        }
        Reason::ShareExceeded { .. } => {
            "there would be room, but it is kept for a tenant that has less of its share"
        }
        Reason::BackoffAfterPreemption { .. } => {
            "it was evicted, and may not evict in turn before a job arrives or ends"
        }
        Reason::ResourceFull { .. } => {
            "there would be room if more of something else were free beside the GPUs"
        }
        Reason::Fragmented { .. } => {
            "as many GPUs are free as the gang asks for, but not together, or not beside enough CPU and memory; best is how many of its tasks could start"
        }
        Reason::CapacityFull { .. } => {
            "too little is free for the whole gang; best is how many of its tasks could start"
        }
        Reason::NotYetEvaluated => "no cycle has looked at it yet",
    }
}
