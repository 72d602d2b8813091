//! Why a job waits, with the numbers that decided. Never prose: whoever shows a reason renders it.

use core::fmt;

use crate::id::{JobId, TenantId};
use crate::job::Placement;
use crate::needs::Text;
use crate::resource::{Amount, Resource};
use crate::share::Share;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody has described its tenant.
    UnknownTenant,
    /// Its tenant has tenants below it; only those that have none own jobs.
    TenantNotLeaf,
    /// No cluster could run it: an empty gang or task, an absurd amount, or GPUs that are
    /// neither whole nor a share of one.
    InvalidRequest,
    /// More than its tenant may ever hold; for a job that may not be evicted, more than its
    /// tenant is guaranteed.
    ExceedsMaxQuota {
        /// The resource.
        resource: Resource,
        /// What the gang asks for.
        request: u64,
        /// What its tenant may hold at most.
        limit: u64,
    },
    /// No node has as many GPUs as one task asks for, of a model that it takes.
    NoSuchGpu {
        /// Milli-GPU that one task asks for.
        request: u64,
        /// The most milli-GPU that a task could have on one node.
        largest: u64,
    },
    /// No node carries the labels that it selects and repels it not.
    NoSuchNode {
        /// Nodes that take new work.
        nodes: u32,
    },
    /// No node that it may use offers as much of something else as one task asks for.
    NoSuchResource {
        /// What nodes call it.
        resource: Text,
        /// What one task asks for.
        request: u64,
        /// The most that one of these nodes offers.
        largest: u64,
    },
    /// Nodes that could run it are set apart: for others, or it is for nodes of its own pool alone,
    /// which could not.
    NodesDedicated {
        /// The pool of its tenant, if it has one.
        pool: Option<Text>,
        /// Tasks of the gang.
        gang: u32,
        /// As many of them as the nodes could run that it may use, if they were empty.
        best: u32,
    },
    /// The nodes that there are could not run it even if they were empty.
    ExceedsCapacity {
        /// Tasks of the gang.
        gang: u32,
        /// As many of them as the empty nodes could run.
        best: u32,
    },
    /// The budget of its tenant is spent.
    BudgetExhausted,
    /// Its user holds it.
    Suspended,
    /// Something else must happen first.
    DependencyGate,
    /// Some of its tasks are still to be made.
    GangIncomplete {
        /// Tasks of the gang.
        gang: u32,
        /// Tasks that exist.
        present: u32,
    },
    /// A tenant is at its limit: its own, or one above it.
    QuotaFull {
        /// Whose limit it is.
        tenant: TenantId,
        /// The resource.
        resource: Resource,
        /// What that tenant holds.
        used: u64,
        /// What the gang asks for.
        request: u64,
        /// What that tenant may hold at most.
        limit: u64,
    },
    /// What is free belongs to tenants that lend less than they leave unused.
    Withheld {
        /// The resource.
        resource: Resource,
        /// What the gang asks for.
        request: u64,
        /// What its tenant can still have.
        room: u64,
    },
    /// Those that were evicted for it have not all left.
    WaitingForPreemption {
        /// Tasks of the gang.
        gang: u32,
        /// As many of them as could start now.
        best: u32,
    },
    /// There would be room, but it is kept for a job of its own tenant that comes before it.
    BehindHigherPriority {
        /// That job.
        ahead: JobId,
    },
    /// There would be room, but it is kept for a job of a tenant that has less of its share.
    ShareExceeded {
        /// That job.
        ahead: JobId,
        /// The share of the tenant that waits.
        share: Share,
        /// The share of the tenant that comes before it.
        theirs: Share,
    },
    /// It has been evicted, and may not evict in turn before a job arrives or ends.
    BackoffAfterPreemption {
        /// Tasks of the gang.
        gang: u32,
        /// As many of them as could start now.
        best: u32,
    },
    /// There would be room, if more of something else were free beside the GPUs.
    ResourceFull {
        /// What nodes call it.
        resource: Text,
        /// What one task asks for.
        request: u64,
        /// Tasks of the gang.
        gang: u32,
        /// As many of them as it would do for.
        best: u32,
    },
    /// As many GPUs are free as it asks for, but not together, or not beside enough CPU and memory.
    Fragmented {
        /// Milli-GPU that the gang asks for.
        request: u64,
        /// Milli-GPU that are free on nodes that it may use.
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
    /// Nothing stands in its way that is known; no cycle has looked at it yet.
    NotYetEvaluated,
}

/// What a reason means for whoever waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outlook {
    /// It will never start unless somebody changes the job, its tenant or the nodes.
    Never,
    /// It starts no sooner than somebody lets it.
    Held,
    /// It starts when it is its turn.
    Waiting,
}

impl Reason {
    /// The codes that there are, in the order in which the first that applies is told.
    pub const CODES: [&'static str; 23] = [
        "UnknownTenant",
        "TenantNotLeaf",
        "InvalidRequest",
        "ExceedsMaxQuota",
        "NoSuchGpu",
        "NoSuchNode",
        "NoSuchResource",
        "NodesDedicated",
        "ExceedsCapacity",
        "BudgetExhausted",
        "Suspended",
        "DependencyGate",
        "GangIncomplete",
        "QuotaFull",
        "Withheld",
        "WaitingForPreemption",
        "BehindHigherPriority",
        "ShareExceeded",
        "BackoffAfterPreemption",
        "ResourceFull",
        "Fragmented",
        "CapacityFull",
        "NotYetEvaluated",
    ];

    /// The stable code by which people, alerts and programs know it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownTenant => "UnknownTenant",
            Self::TenantNotLeaf => "TenantNotLeaf",
            Self::InvalidRequest => "InvalidRequest",
            Self::ExceedsMaxQuota { .. } => "ExceedsMaxQuota",
            Self::NoSuchGpu { .. } => "NoSuchGpu",
            Self::NoSuchNode { .. } => "NoSuchNode",
            Self::NoSuchResource { .. } => "NoSuchResource",
            Self::NodesDedicated { .. } => "NodesDedicated",
            Self::ExceedsCapacity { .. } => "ExceedsCapacity",
            Self::BudgetExhausted => "BudgetExhausted",
            Self::Suspended => "Suspended",
            Self::DependencyGate => "DependencyGate",
            Self::GangIncomplete { .. } => "GangIncomplete",
            Self::QuotaFull { .. } => "QuotaFull",
            Self::Withheld { .. } => "Withheld",
            Self::WaitingForPreemption { .. } => "WaitingForPreemption",
            Self::BehindHigherPriority { .. } => "BehindHigherPriority",
            Self::ShareExceeded { .. } => "ShareExceeded",
            Self::BackoffAfterPreemption { .. } => "BackoffAfterPreemption",
            Self::ResourceFull { .. } => "ResourceFull",
            Self::Fragmented { .. } => "Fragmented",
            Self::CapacityFull { .. } => "CapacityFull",
            Self::NotYetEvaluated => "NotYetEvaluated",
        }
    }

    /// What it means for whoever waits.
    #[must_use]
    pub const fn outlook(&self) -> Outlook {
        match self {
            Self::UnknownTenant
            | Self::TenantNotLeaf
            | Self::InvalidRequest
            | Self::ExceedsMaxQuota { .. }
            | Self::NoSuchGpu { .. }
            | Self::NoSuchNode { .. }
            | Self::NoSuchResource { .. }
            | Self::NodesDedicated { .. }
            | Self::ExceedsCapacity { .. }
            | Self::BudgetExhausted => Outlook::Never,
            Self::Suspended | Self::DependencyGate | Self::GangIncomplete { .. } => Outlook::Held,
            _ => Outlook::Waiting,
        }
    }

    /// What has a name that is not of ours.
    fn fmt_other(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchResource {
                resource,
                request,
                largest,
            } => write!(f, " {resource}={request} largest={largest}"),
            Self::ResourceFull {
                resource,
                request,
                gang,
                best,
            } => write!(f, " {resource}={request} gang={gang} best={best}"),
            Self::NodesDedicated { pool, gang, best } => {
                write!(f, " gang={gang} best={best}")?;
                pool.iter().try_for_each(|pool| write!(f, " pool={pool}"))
            }
            _ => Ok(()),
        }
    }

    /// Whether it will never start unless somebody changes the job, its tenant or the nodes.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.outlook() == Outlook::Never
    }
}

impl fmt::Display for Reason {
    /// The code and the numbers that decided, in one line: `CapacityFull gang=8 best=7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())?;
        let gpu = |n| Amount(Resource::Gpu, n);
        match self {
            Self::ExceedsMaxQuota {
                resource: r,
                request,
                limit,
            } => {
                let amount = |n| Amount(*r, n);
                write!(f, " {r}={} limit={}", amount(*request), amount(*limit))
            }
            Self::NoSuchGpu { request, largest } => {
                write!(f, " gpu={} largest={}", gpu(*request), gpu(*largest))
            }
            Self::NoSuchNode { nodes } => write!(f, " nodes={nodes}"),
            Self::NoSuchResource { .. }
            | Self::ResourceFull { .. }
            | Self::NodesDedicated { .. } => self.fmt_other(f),
            Self::GangIncomplete { gang, present } => write!(f, " gang={gang} present={present}"),
            Self::QuotaFull {
                tenant,
                resource: r,
                used,
                request,
                limit,
            } => {
                let [request, used, limit] = [*request, *used, *limit].map(|n| Amount(*r, n));
                write!(
                    f,
                    " {r}={request} used={used} limit={limit} tenant={tenant}"
                )
            }
            Self::Withheld {
                resource: r,
                request,
                room,
            } => write!(
                f,
                " {r}={} room={}",
                Amount(*r, *request),
                Amount(*r, *room)
            ),
            Self::BehindHigherPriority { ahead } => write!(f, " ahead={ahead}"),
            Self::ShareExceeded {
                ahead,
                share,
                theirs,
            } => write!(f, " share={share} ahead={ahead} theirs={theirs}"),
            Self::Fragmented {
                request,
                free,
                gang,
                best,
            } => {
                let (request, free) = (gpu(*request), gpu(*free));
                write!(f, " gpu={request} free={free} gang={gang} best={best}")
            }
            Self::ExceedsCapacity { gang, best }
            | Self::WaitingForPreemption { gang, best }
            | Self::BackoffAfterPreemption { gang, best }
            | Self::CapacityFull { gang, best } => write!(f, " gang={gang} best={best}"),
            Self::UnknownTenant
            | Self::TenantNotLeaf
            | Self::InvalidRequest
            | Self::BudgetExhausted
            | Self::Suspended
            | Self::DependencyGate
            | Self::NotYetEvaluated => Ok(()),
        }
    }
}
