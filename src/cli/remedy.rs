//! What helps a job that waits: one table for every code that a [`Reason`](prorata_core::Reason)
//! can have, for that of a start that is put off, and for that of pods that are not known to have ended.

use prorata_core::reason::Outlook;

use crate::status::{EXTENDER_DOWN, NODE_LOST};

/// A code, what it means for whoever waits, and what would help.
struct Remedy {
    code: &'static str,
    outlook: Outlook,
    /// `JOB`, `NAMESPACE` and `TENANT` stand for the job's own.
    steps: &'static [&'static str],
}

/// What the code means for whoever waits. An unknown one comes from a newer controller.
pub(crate) fn outlook(code: &str) -> Outlook {
    find(code).map_or(Outlook::Waiting, |remedy| remedy.outlook)
}

/// What would help, best first.
pub(crate) fn steps(code: &str, namespace: &str, job: &str, tenant: &str) -> Vec<String> {
    let steps = find(code).map_or(&[] as &[&str], |remedy| remedy.steps);
    let fill = |step: &&str| {
        step.replace("NAMESPACE", namespace)
            .replace("TENANT", tenant)
            .replace("JOB", job)
    };
    steps.iter().map(fill).collect()
}

fn find(code: &str) -> Option<&'static Remedy> {
    TABLE.iter().find(|remedy| remedy.code == code)
}

const fn never(code: &'static str, steps: &'static [&'static str]) -> Remedy {
    Remedy {
        code,
        outlook: Outlook::Never,
        steps,
    }
}

const fn held(code: &'static str, steps: &'static [&'static str]) -> Remedy {
    Remedy {
        code,
        outlook: Outlook::Held,
        steps,
    }
}

const fn waiting(code: &'static str, steps: &'static [&'static str]) -> Remedy {
    Remedy {
        code,
        outlook: Outlook::Waiting,
        steps,
    }
}

const FEWER: &str = "ask for fewer pods or fewer GPUs, if the job can do with them";
const SHORT: &str = "say how long it runs at most, by the annotation `prorata.dev/max-duration: 90m` on the Job: \
     it may then fill a gap before a reservation";
const PATIENCE: &str =
    "nothing is wrong: it starts when it is its turn (`prorata wait JOB -n NAMESPACE`)";

/// In the order of the codes.
const TABLE: &[Remedy] = &[
    never(
        "UnknownTenant",
        &[
            "an administrator creates a Tenant of the name in the label prorata.dev/tenant of namespace NAMESPACE, or corrects the label",
        ],
    ),
    never(
        "TenantNotLeaf",
        &[
            "an administrator labels namespace NAMESPACE with one of the tenants below TENANT: `prorata share` shows them",
        ],
    ),
    never(
        "InvalidRequest",
        &["correct what the sentence above names in the pod template, and submit the Job again"],
    ),
    never(
        "ExceedsMaxQuota",
        &[
            "ask for less than the limit of tenant TENANT: `prorata share` shows it",
            "an administrator raises the limit in the Tenant TENANT",
        ],
    ),
    never(
        "NoSuchGpu",
        &[
            "ask for fewer GPUs in each pod, and for more pods",
            "`kubectl get nodes -L nvidia.com/gpu.product` shows which models there are",
        ],
    ),
    never(
        "NoSuchNode",
        &[
            "correct nodeSelector, affinity and tolerations of the pod template: `kubectl get nodes --show-labels`",
            "an administrator uncordons or adds nodes",
        ],
    ),
    never(
        "NoSuchResource",
        &[
            "ask for less of it in each pod: `kubectl describe nodes` shows what there is",
            "see whether the device plugin that offers it runs on the nodes",
        ],
    ),
    never(
        "NodesDedicated",
        &[
            "ask for what the nodes have that its tenant may use: `kubectl get nodes -L prorata.dev/node-pool`",
            "an administrator adds nodes to the pool of tenant TENANT, or to none",
        ],
    ),
    never(
        "ExceedsCapacity",
        &[
            FEWER,
            "let the job start with fewer pods than it has, by a smaller parallelism",
        ],
    ),
    never(
        "BudgetExhausted",
        &["an administrator raises the budget of tenant TENANT, or the next period begins"],
    ),
    held(
        "Suspended",
        &["release it: `prorata resume JOB -n NAMESPACE`"],
    ),
    held(
        "DependencyGate",
        &["see what it depends on: `kubectl describe job JOB -n NAMESPACE`"],
    ),
    held(
        "GangIncomplete",
        &["see why its pods are not made: `kubectl describe job JOB -n NAMESPACE`"],
    ),
    waiting(
        "QuotaFull",
        &[
            "it starts when another job of TENANT ends: `prorata list -A --tenant TENANT`",
            FEWER,
            "an administrator raises the limit in the Tenant TENANT",
        ],
    ),
    waiting(
        "Withheld",
        &[
            PATIENCE,
            "an administrator raises the lendingLimit of a tenant that keeps GPUs idle, or the guarantee of TENANT",
        ],
    ),
    waiting(
        "WaitingForPreemption",
        &["nothing to do: it starts when the jobs that make room for it have ended"],
    ),
    waiting(
        "BehindHigherPriority",
        &[
            SHORT,
            "give it a PriorityClass that comes first: `prorata reprioritise JOB -n NAMESPACE --class NAME`",
        ],
    ),
    waiting(
        "ShareExceeded",
        &[
            "TENANT holds more of its share than others that wait: `prorata share`",
            SHORT,
            FEWER,
        ],
    ),
    waiting("BackoffAfterPreemption", &[PATIENCE, FEWER]),
    waiting(
        "ResourceFull",
        &[
            "ask for less of it in each pod, or for none: `kubectl describe nodes` shows who has it",
            PATIENCE,
        ],
    ),
    waiting(
        "Fragmented",
        &[
            "ask for fewer GPUs in each pod: smaller pods fit into what is free",
            SHORT,
        ],
    ),
    waiting("CapacityFull", &[PATIENCE, FEWER, SHORT]),
    waiting(
        "NotYetEvaluated",
        &["ask again in a moment; if it stays so, `prorata doctor` checks the controller"],
    ),
    waiting(
        EXTENDER_DOWN,
        &[
            "nothing is wrong with the job: it starts by itself, within seconds of the extender's return",
            "an administrator runs `prorata doctor`, and reads ProrataExtenderDown in docs/runbook.md",
        ],
    ),
    held(
        NODE_LOST,
        &[
            "an administrator who knows that the machine is off deletes the node, or gives it the taint node.kubernetes.io/out-of-service",
            "a Job without podFailurePolicy does not wait for it with `podReplacementPolicy: TerminatingOrFailed`",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use prorata_core::{JobId, Reason, Resource, Share, Weight};

    #[test]
    fn every_code_has_its_remedy_and_nothing_else_has() {
        let codes: Vec<_> = TABLE.iter().map(|remedy| remedy.code).collect();
        let known = Reason::CODES.into_iter().chain([EXTENDER_DOWN, NODE_LOST]);
        assert_eq!(codes, known.collect::<Vec<_>>());
        for code in codes {
            let steps = steps(code, "lab", "train", "vision");
            assert!(!steps.is_empty(), "{code}");
            for step in steps {
                let filled = ["NAMESPACE", "TENANT", "JOB"]
                    .iter()
                    .all(|name| !step.contains(name));
                assert!(filled, "{code}: {step}");
            }
        }
    }

    #[test]
    fn what_never_starts_is_what_the_core_says_never_starts() {
        let reasons = all();
        assert_eq!(reasons.clone().map(|reason| reason.code()), Reason::CODES);
        for reason in reasons {
            assert_eq!(
                outlook(reason.code()),
                reason.outlook(),
                "{}",
                reason.code()
            );
        }
    }

    /// One of each, in order.
    fn all() -> [Reason; Reason::CODES.len()] {
        let resource = Resource::Gpu;
        let (request, limit, gang, best) = (2, 1, 2, 1);
        let ahead = JobId::default();
        [
            Reason::UnknownTenant,
            Reason::TenantNotLeaf,
            Reason::InvalidRequest,
            Reason::ExceedsMaxQuota {
                resource,
                request,
                limit,
            },
            Reason::NoSuchGpu {
                request,
                largest: 1,
            },
            Reason::NoSuchNode { nodes: 1 },
            Reason::NoSuchResource {
                resource: "rdma/hca".into(),
                request,
                largest: 0,
            },
            Reason::NodesDedicated {
                pool: Some("hipaa".into()),
                gang,
                best,
            },
            Reason::ExceedsCapacity { gang, best },
            Reason::BudgetExhausted,
            Reason::Suspended,
            Reason::DependencyGate,
            Reason::GangIncomplete { gang, present: 1 },
            Reason::QuotaFull {
                tenant: "red".into(),
                resource,
                used: 1,
                request,
                limit,
            },
            Reason::Withheld {
                resource,
                request,
                room: 1,
            },
            Reason::WaitingForPreemption { gang, best },
            Reason::BehindHigherPriority {
                ahead: ahead.clone(),
            },
            Reason::ShareExceeded {
                ahead,
                share: Share::new(1, 2, Weight::ONE),
                theirs: Share::new(1, 2, Weight::ONE),
            },
            Reason::BackoffAfterPreemption { gang, best },
            Reason::ResourceFull {
                resource: "rdma/hca".into(),
                request,
                gang,
                best,
            },
            Reason::Fragmented {
                request,
                free: 2,
                gang,
                best,
            },
            Reason::CapacityFull { gang, best },
            Reason::NotYetEvaluated,
        ]
    }
}
