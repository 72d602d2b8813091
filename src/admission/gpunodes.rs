//! GpuNodes: the status is what the agent of that node sees, and no other's to write, but for what the
//! controller does about how GPUs are divided; the spec is not the agents'. A node that somebody has
//! broken into lies about its own GPUs, and about no others.
//!
//! Of nodes the controller changes what that takes, and nothing else.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;

use super::{cel, condition, requests, validating_policy, validation, variable};
use crate::api::{GROUP, labels};

/// Name of the policy.
pub(super) const NAME: &str = "prorata-gpunodes";
/// Name of the policy that holds the controller to what it changes of nodes.
pub(super) const NODES: &str = "prorata-nodes-confined";

/// What of a status is the controller's.
const CONTROLLERS: &str = "['repartition', 'demand', 'proposal']";

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
            variable("controller", cel::by_controller()),
            variable("nodes", NODES_OF_TOKEN),
            variable(
                "own",
                "variables.agent && variables.nodes == [object.metadata.name]",
            ),
            variable("status", "request.?subResource.orValue('') == 'status'"),
            variable("now", "object.?status.orValue({})"),
            variable(
                "before",
                "oldObject == null ? {} : oldObject.?status.orValue({})",
            ),
        ],
        vec![
            validation(
                "!variables.agent || variables.own || variables.trusted",
                "an agent writes the GpuNode of the node that it runs on, and no other: its token must be bound to \
                 a pod there",
            ),
            validation(
                "!variables.status || variables.own || variables.controller || variables.trusted",
                "the status of a GpuNode is what the agent on that node sees, and only that agent writes it: \
                 change spec.partition instead",
            ),
            validation(
                "!variables.agent || variables.status || (request.operation == 'CREATE' && !has(object.spec.partition) && !has(object.spec.endClientsOf)) || variables.trusted",
                "how GPUs are divided, and who leaves them, is not for the agent to say: leave the spec as it is",
            ),
            validation(
                format!(
                    "!variables.status || !variables.agent || {CONTROLLERS}.all(k, variables.now[?k] == variables.before[?k]) || variables.trusted"
                ),
                "how far a change of the GPUs is the controller says, and not the agent: leave status.repartition, \
                 status.demand and status.proposal as they are",
            ),
            validation(
                format!(
                    "!variables.status || !variables.controller || size(variables.before) == 0 ||\n\
                     (variables.now.all(k, k in {CONTROLLERS} || variables.now[?k] == variables.before[?k]) &&\n\
                     variables.before.all(k, k in {CONTROLLERS} || k in variables.now)) || variables.trusted"
                ),
                "what the agent sees is not the controller's to write",
            ),
            validation(
                "variables.status || !variables.controller || oldObject == null || object.spec.?partition == oldObject.spec.?partition || variables.trusted",
                "how GPUs are to be divided is the administrator's to say, and not the controller's",
            ),
        ],
    )
}

/// The controller cordons a node, and says how its GPUs are divided; nothing else of it is its to
/// change.
pub(super) fn confine_nodes() -> ValidatingAdmissionPolicy {
    let (now, before) = ("dyn(object)", "dyn(oldObject)");
    let same = |part: &str, but: &str| {
        let read = |object: &str| format!("{object}.?{part}.orValue({{}})");
        let (now, before) = (read(now), read(before));
        format!(
            "{now}.all(k, k in {but} || {now}[?k] == {before}[?k]) &&\n{before}.all(k, k in {but} || k in {now})"
        )
    };
    let labels = format!("['{}', '{}']", labels::PLUGIN_CONFIG, labels::MIG_CONFIG);
    validating_policy(
        NODES,
        requests("", &["v1"], &["nodes"], &["UPDATE"]),
        vec![condition("by-the-controller", cel::by_controller())],
        Vec::new(),
        vec![
            validation(
                same("spec", "['unschedulable']"),
                "of a node's spec Prorata changes unschedulable alone",
            ),
            validation(
                same("metadata.?labels", &labels),
                "of a node's labels Prorata changes those alone by which GPUs are divided",
            ),
            validation(
                ["annotations", "finalizers", "ownerReferences"]
                    .map(|part| format!("{now}.metadata.?{part} == {before}.metadata.?{part}"))
                    .join(" &&\n"),
                "Prorata changes no annotation, finalizer or owner of a node",
            ),
        ],
    )
}
