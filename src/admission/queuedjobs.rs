//! QueuedJobs: the controller's alone, in every namespace.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;

use super::{cel, condition, requests, validating_policy, validation, variable};
use crate::api::GROUP;

/// Name of the policy.
pub(super) const NAME: &str = "prorata-queuedjobs";

/// What Kubernetes itself does to any object: collect it, empty its namespace, store it anew.
const HOUSEKEEPERS: &str = "request.userInfo.username in [\n  \
    'system:serviceaccount:kube-system:generic-garbage-collector',\n  \
    'system:serviceaccount:kube-system:namespace-controller',\n  \
    'system:serviceaccount:kube-system:storage-version-migrator-controller']";

/// The last word on QueuedJobs.
pub(super) fn guard() -> ValidatingAdmissionPolicy {
    validating_policy(
        NAME,
        requests(
            GROUP,
            &["v1alpha1"],
            &["queuedjobs"],
            &["CREATE", "UPDATE", "DELETE"],
        ),
        vec![condition(
            "not-by-the-controller",
            format!("!({})", cel::by_controller()),
        )],
        vec![
            variable("trusted", cel::trusted()),
            variable("housekeeping", HOUSEKEEPERS),
        ],
        vec![validation(
            "(variables.housekeeping && request.operation != 'CREATE') || variables.trusted",
            "a QueuedJob only shows where a Job stands in the queue: change, suspend or delete the Job instead",
        )],
    )
}
