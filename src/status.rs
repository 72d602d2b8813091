//! What people read about a job: state, reason and a sentence.
//!
//! A sentence holds only numbers that stay the same while the reason does. One that changed with
//! every cycle would be written again with every cycle.

use prorata_core::reason::Outlook;
use prorata_core::resource::Amount;
use prorata_core::{NodeId, Reason, Resource, Verdict};

use crate::api::{Eviction, State};

/// The code of what has its places and is not started, because the extender does not answer.
pub const EXTENDER_DOWN: &str = "ExtenderDown";

/// The code of what cannot go on before its pods on a node that is lost are known to have ended.
pub const NODE_LOST: &str = "NodeLost";

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
            Verdict::Waiting(reason) => {
                let text = obstacle.filter(|_| *reason == Reason::InvalidRequest);
                let text = text.map_or_else(|| sentence(reason), str::to_owned);
                let state = match reason.outlook() {
                    Outlook::Held => State::Held,
                    Outlook::Never | Outlook::Waiting => State::Waiting,
                };
                (state, reason.code(), text)
            }
        };
        Self {
            state,
            reason: reason.to_owned(),
            message,
        }
    }

    /// Where a job stands that leaves for another.
    #[must_use]
    pub fn leaving(eviction: &Eviction) -> Self {
        Self {
            state: State::Waiting,
            reason: "Evicted".to_owned(),
            message: format!(
                "it leaves for {eviction}; it queues again, with its age kept, once its pods have ended"
            ),
        }
    }

    /// Where a job stands that was suspended, while its pods end.
    #[must_use]
    pub fn stopping() -> Self {
        Self {
            state: State::Waiting,
            reason: "Stopping".to_owned(),
            message: "its pods are ending; then it queues again, with its age kept".to_owned(),
        }
    }

    /// The same, where no others are made before it is known that those on a lost node have ended.
    #[must_use]
    pub fn stopping_on(lost: &NodeId) -> Self {
        Self {
            state: State::Waiting,
            reason: NODE_LOST.to_owned(),
            message: format!(
                "node {lost} is lost, and its pods there are not known to have ended; then it queues \
                 again, with its age kept"
            ),
        }
    }

    /// The same, unless it would start and is held back because the extender does not answer.
    #[must_use]
    pub fn held_back(self, is_held_back: bool) -> Self {
        if !is_held_back || !self.has_places() {
            return self;
        }
        Self {
            state: State::Waiting,
            reason: EXTENDER_DOWN.to_owned(),
            message: "its places are decided, and are its own; it starts when Prorata answers \
                kube-scheduler again, which it does not now"
                .to_owned(),
        }
    }

    /// Whether its places are its own.
    #[must_use]
    pub fn has_places(&self) -> bool {
        self.state == State::Admitted || self.reason == EXTENDER_DOWN
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

const UNKNOWN_TENANT: &str = "no Tenant has the name in its namespace's label prorata.dev/tenant";
const TENANT_NOT_LEAF: &str = "the tenant in its namespace's label prorata.dev/tenant is divided: \
     name one of those below it";
const NO_SUCH_NODE: &str = "every node takes no new work, lacks a label that its nodeSelector or \
     affinity requires, or has a taint that it does not tolerate: correct these, or the nodes";

/// Every reason has a sentence, so that a new one is not shown as a code and numbers.
fn sentence(reason: &Reason) -> String {
    use Resource::Gpu;
    match reason {
        Reason::UnknownTenant => UNKNOWN_TENANT.into(),
        Reason::TenantNotLeaf => TENANT_NOT_LEAF.into(),
        Reason::InvalidRequest => "no cluster could run what it asks for".into(),
        Reason::BudgetExhausted => "the budget of its tenant is spent".into(),
        Reason::Suspended => "its user holds it: set spec.suspend to false".into(),
        Reason::DependencyGate => "something that it depends on must happen first".into(),
        Reason::NotYetEvaluated => "not looked at yet".into(),
        Reason::NoSuchNode { .. } => NO_SUCH_NODE.into(),
        Reason::ExceedsMaxQuota { .. } | Reason::QuotaFull { .. } | Reason::Withheld { .. } => {
            of_quota(reason)
        }
        Reason::NoSuchGpu { request, largest } => format!(
            "each pod asks for {} GPUs, and the largest node has {}: ask for less in each",
            Amount(Gpu, *request),
            Amount(Gpu, *largest)
        ),
        Reason::NodesDedicated { pool, gang, .. } => dedicated(pool.as_deref(), *gang),
        Reason::ExceedsCapacity { gang, best } => too_large(*gang, *best),
        Reason::BehindHigherPriority { ahead } => {
            format!("there would be room, but it is kept for {ahead}, which comes first")
        }
        Reason::ShareExceeded { ahead, .. } => format!(
            "there would be room, but it is kept for {ahead}, whose tenant has less of its share"
        ),
        Reason::GangIncomplete { gang, .. } => {
            format!("its {gang} pods must start together, and some are still to be made")
        }
        Reason::WaitingForPreemption { gang, .. } => {
            format!("jobs are ending to make room for {}", pods(*gang))
        }
        Reason::BackoffAfterPreemption { gang, .. } => format!(
            "it was evicted, and too little is free for {} to start{} again",
            pods(*gang),
            together(*gang)
        ),
        Reason::NoSuchResource { .. } | Reason::ResourceFull { .. } => of_others(reason),
        Reason::Fragmented { request, gang, .. } => format!(
            "{} GPUs are free, but not where {} could start{}",
            Amount(Gpu, *request),
            pods(*gang),
            together(*gang)
        ),
        Reason::CapacityFull { gang, .. } => {
            let (pods, together) = (pods(*gang), together(*gang));
            format!("too little is free for {pods} to start{together}")
        }
    }
}

fn pods(gang: u32) -> String {
    match gang {
        1 => "its pod".to_owned(),
        more => format!("its {more} pods"),
    }
}

const fn together(gang: u32) -> &'static str {
    match gang {
        1 => "",
        _ => " together",
    }
}

/// Those that are about what tenants may hold.
fn of_quota(reason: &Reason) -> String {
    let amount = |r: &Resource, n: &u64| Amount(*r, *n).to_string();
    match reason {
        Reason::ExceedsMaxQuota {
            resource: r,
            request,
            limit,
        } => format!(
            "it asks for {} {r}, and its tenant may never hold more than {}: ask for less, or \
             have the limit raised",
            amount(r, request),
            amount(r, limit)
        ),
        Reason::QuotaFull {
            tenant,
            resource: r,
            request,
            limit,
            ..
        } => format!(
            "it asks for {} {r}, and the limit of {} of tenant {tenant} does not leave as much",
            amount(r, request),
            amount(r, limit)
        ),
        Reason::Withheld {
            resource: r,
            request,
            ..
        } => format!(
            "it asks for {} {r}, and what is free belongs to tenants that do not lend it",
            amount(r, request)
        ),
        other => other.to_string(),
    }
}

/// Those that are about what nodes have besides GPUs, CPU and memory.
fn of_others(reason: &Reason) -> String {
    match reason {
        Reason::NoSuchResource {
            resource,
            request,
            largest,
        } => format!(
            "each pod asks for {request} {resource}, and no node that it may use has more than \
             {largest}: ask for less in each"
        ),
        Reason::ResourceFull {
            resource,
            request,
            gang,
            ..
        } => format!(
            "GPUs are free, but too little {resource} beside them for its {gang} pods, which ask \
             for {request} each"
        ),
        other => other.to_string(),
    }
}

fn dedicated(pool: Option<&str>, gang: u32) -> String {
    match pool {
        Some(pool) => format!(
            "the nodes of its tenant's pool {pool} would not hold its {gang} pods together even if \
             they were empty, and it may run nowhere else: ask for less, or have nodes added to the pool"
        ),
        None => format!(
            "the nodes that are in no other tenant's pool would not hold its {gang} pods together \
             even if they were empty: ask for what those have, or have nodes added"
        ),
    }
}

fn too_large(gang: u32, best: u32) -> String {
    format!(
        "its {gang} pods must start together, and the nodes would hold {best} even if they were \
         empty: annotation prorata.dev/gang lets a Job start in part"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(reason: Reason) -> String {
        Standing::of(&Verdict::Waiting(reason), None).message
    }

    #[test]
    fn what_changes_while_a_reason_lasts_is_not_told() {
        let fragmented = |free, best| Reason::Fragmented {
            request: 8000,
            free,
            gang: 4,
            best,
        };
        let text = "8 GPUs are free, but not where its 4 pods could start together";
        assert_eq!(message(fragmented(8000, 1)), text);
        assert_eq!(message(fragmented(9500, 3)), text);
        let full = |used| Reason::QuotaFull {
            tenant: "vision".into(),
            resource: Resource::Gpu,
            used,
            request: 500,
            limit: 96_000,
        };
        let text =
            "it asks for 0.5 gpu, and the limit of 96 of tenant vision does not leave as much";
        assert_eq!(message(full(96_000)), text);
        assert_eq!(message(full(95_750)), text);
        let nowhere = |nodes| message(Reason::NoSuchNode { nodes });
        assert_eq!(nowhere(1), nowhere(2));
    }

    #[test]
    fn a_job_that_somebody_must_let_go_is_held() {
        let state = |reason| Standing::of(&Verdict::Waiting(reason), None).state;
        assert_eq!(state(Reason::Suspended), State::Held);
        assert_eq!(state(Reason::DependencyGate), State::Held);
        assert_eq!(state(Reason::UnknownTenant), State::Waiting);
        assert_eq!(state(Reason::NotYetEvaluated), State::Waiting);
    }
}
