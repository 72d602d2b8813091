//! GpuNodes: the status is what the agent of that node sees, and no other's to write; the spec is not
//! the agents'. A node that somebody has broken into lies about its own GPUs, and about no others.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;

use super::{requests, validating_policy, validation, variable};
use crate::api::{GROUP, labels};

/// Name of the policy.
pub(super) const NAME: &str = "prorata-gpunodes";

/// The node of the pod whose token this is. The API server takes it from the token, which the kubelet
/// asked for; no user can say it.
const NODES_OF_TOKEN: &str =
    "request.userInfo.?extra[?'authentication.kubernetes.io/node-name'].orValue([])";

/// The last word on GpuNodes.
pub(super) fn guard() -> ValidatingAdmissionPolicy {
    let by_agent = format!("request.userInfo.username == '{}'", labels::AGENT_USER);
    validating_policy(
        NAME,
        requests(
            GROUP,
            &["v1alpha1"],
            &["gpunodes", "gpunodes/status"],
            &["CREATE", "UPDATE"],
        ),
        Vec::new(),
        vec![
            variable(
                "trusted",
                "authorizer.group('prorata.dev').resource('gpunodes').check('bypass').allowed()",
            ),
            variable("agent", by_agent),
            variable("nodes", NODES_OF_TOKEN),
            variable(
                "own",
                "variables.agent && variables.nodes == [object.metadata.name]",
            ),
            variable("status", "request.?subResource.orValue('') == 'status'"),
        ],
        vec![
            validation(
                "!variables.agent || variables.own || variables.trusted",
                "an agent writes the GpuNode of the node that it runs on, and no other: its token must be bound to \
                 a pod there",
            ),
            validation(
                "!variables.status || variables.own || variables.trusted",
                "the status of a GpuNode is what the agent on that node sees, and only that agent writes it: \
                 change spec.partition instead",
            ),
            validation(
                "!variables.agent || variables.status || (request.operation == 'CREATE' && !has(object.spec.partition) && !has(object.spec.endClientsOf)) || variables.trusted",
                "how GPUs are divided, and who leaves them, is not for the agent to say: leave the spec as it is",
            ),
        ],
    )
}
