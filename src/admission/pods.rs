//! Pods: those that ask for GPUs come from a Job that the queue has started, or wait in the queue
//! themselves.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, ValidatingAdmissionPolicy, Validation,
};

use super::sharing;
use super::{
    all, cel, condition, mutating_policy, requests, validating_policy, validation, variable,
};
use crate::api::labels::{CREATED_BY, JOB_UID, KUBEFLOW_PREFIX, PREEMPTIBLE};
use crate::translate::JOB_CONTROLLER;

const SPEC: &str = "object.spec";

/// A new pod gets our gate, and says who created it: owner references can be forged.
pub(super) fn queue_new(gpu_resource: &str) -> MutatingAdmissionPolicy {
    let patch = format!(
        "{annotations} +\n\
         [JSONPatch{{op: 'add', path: '{created_by}', value: request.userInfo.username}}] +\n\
         {gate} +\n\
         {slot}",
        slot = sharing::add_slot(SPEC, "/spec", "", gpu_resource),
        annotations = cel::WITH_ANNOTATIONS,
        created_by = cel::pointer(CREATED_BY),
        gate = cel::add_gate(SPEC, "/spec"),
    );
    // The Job controller and operators make pods of what the queue has started; those of a Job that
    // starts in part have the gate from its template. A pod with a node cannot have a gate: the guard
    // sees to it.
    let gated = cel::is_gated(SPEC);
    let by_others = format!("request.userInfo.username != '{JOB_CONTROLLER}' || {gated}");
    let asks = sharing::asks(SPEC, "", gpu_resource);
    let by_itself = format!("{gated} ||\n!({})", cel::by_operator("object"));
    mutating_policy(
        "prorata-pods-created",
        requests("", &["v1"], &["pods"], &["CREATE"]),
        vec![all(
            "asks-for-gpus-and-queues-by-itself",
            &[&by_others, "!has(object.spec.nodeName)", &asks, &by_itself],
        )],
        patch,
    )
}

/// The last word on pods. A pod with whole GPUs that the Job controller makes, without a node or claims,
/// passes every rule: it is looked at no further.
pub(super) fn guard(gpu_resource: &str) -> ValidatingAdmissionPolicy {
    let gpu = cel::asks_for_gpus(SPEC, gpu_resource);
    let concerned = format!(
        "request.operation == 'CREATE' && request.userInfo.username == '{JOB_CONTROLLER}'\n  \
         ? has(object.spec.nodeName) ||\n{has_claims} ||\n{parts}\n  \
         : {gpu} ||\n{} ||\n{} ||\n{has_claims} ||\n{} ||\n{}",
        sharing::says(&cel::annotations("object", "")),
        cel::claims(),
        cel::has_internal(&cel::annotations("object", "")),
        cel::has_internal(&cel::annotations("oldObject", "")),
        has_claims = cel::has_claims(SPEC),
        parts = sharing::has_parts(SPEC, "", gpu_resource),
    );
    let mut variables = vec![
        variable("trusted", cel::trusted()),
        variable("new", "request.operation == 'CREATE'"),
        variable("gpu", gpu),
        variable(
            "ofJob",
            format!("request.userInfo.username == '{JOB_CONTROLLER}'"),
        ),
        variable("claims", cel::claims()),
        variable("operated", cel::by_operator("object")),
        variable("wasOperated", cel::by_operator("oldObject")),
        variable("gated", cel::is_gated(SPEC)),
        variable(
            "wasGated",
            format!("oldObject != null && {}", cel::is_gated("oldObject.spec")),
        ),
        variable("annotations", cel::annotations("object", "")),
        variable("oldAnnotations", cel::annotations("oldObject", "")),
        variable("owners", cel::owners("object")),
        variable("oldOwners", cel::owners("oldObject")),
        variable("moves", moves()),
    ];
    let annotations = ("variables.annotations", "variables.oldAnnotations");
    variables.extend(sharing::variables(SPEC, "", annotations, gpu_resource));
    variables.push(sharing::mps());
    validating_policy(
        "prorata-pods",
        requests("", &["v1"], &["pods"], &["CREATE", "UPDATE"]),
        vec![condition(
            "asks-for-gpus-or-claims-an-owner-or-carries-our-annotations",
            concerned,
        )],
        variables,
        validations(gpu_resource),
    )
}

/// Whether a pod is another's than before, or nobody's, or is to become so: whoever made it lets it go when the
/// labels differ by which it is known. One more owner would keep it when the first is deleted. Pods that users make
/// are theirs.
fn moves() -> String {
    let labels = |object: &str| format!("{object}.metadata.?labels.orValue({{}})");
    let (new, old) = (labels("object"), labels("oldObject"));
    format!(
        "oldObject != null &&\n\
         ((variables.owners != variables.oldOwners &&\n\
         variables.oldAnnotations[?'{CREATED_BY}'].orValue('') != request.userInfo.username) ||\n\
         !{old}.all(k, !(k == '{JOB_UID}' || k.startsWith('{KUBEFLOW_PREFIX}')) || (k in {new} && {new}[k] == {old}[k])))"
    )
}

fn validations(gpu_resource: &str) -> Vec<Validation> {
    // What the policy above writes, a user may write as well.
    let may_set = format!(
        "\n  (k == '{CREATED_BY}' && variables.new && variables.annotations[k] == request.userInfo.username) ||\n  {}",
        sharing::IS_CAP
    );
    let (new, old) = ("variables.annotations", "variables.oldAnnotations");
    let own = cel::same_internal(new, old, &may_set, "false");
    let mut validations = vec![
        validation(
            "!variables.new || !variables.gpu || !has(object.spec.nodeName) || variables.trusted",
            "Prorata chooses the node of a pod that asks for GPUs: remove nodeName; to narrow the choice, use \
             nodeSelector",
        ),
        validation(
            "!variables.new || !variables.gpu || variables.gated || variables.ofJob || variables.operated || variables.trusted",
            "GPUs here are given out by a queue, and another policy has removed its scheduling gate \
             prorata.dev/queue from this pod",
        ),
        validation(
            "!variables.gpu || !variables.wasGated || variables.gated || variables.trusted",
            "GPUs here are given out by a queue, and only the queue lets a pod go that asks for them: leave the \
             scheduling gate prorata.dev/queue as it is",
        ),
        // One that asks for GPUs has our gate from the start: it queues by itself, whoever owns it.
        validation(
            "!variables.claims || (variables.gpu && variables.new) || variables.operated || variables.trusted",
            "only the operator of a controller gives it its pods: leave ownerReferences as they are",
        ),
        validation(
            format!(
                "!variables.gpu || !variables.moves ||\n{} ||\nvariables.operated || variables.wasOperated || variables.trusted",
                cel::by_kubernetes()
            ),
            "a pod with GPUs makes room for others with what made it: leave its ownerReferences as they are, and the \
             labels by which whoever made it knows it",
        ),
        validation(
            format!(
                "!variables.gpu || variables.gated ||\n\
                 variables.oldAnnotations[?'{PREEMPTIBLE}'].orValue('') != 'true' ||\n\
                 variables.annotations[?'{PREEMPTIBLE}'].orValue('') == 'true' || variables.trusted"
            ),
            "a pod that has its place may be evicted as it said before: leave annotation prorata.dev/preemptible as it is",
        ),
        validation(
            format!("(variables.new && variables.ofJob) ||\n({own}) ||\nvariables.trusted"),
            "annotations internal.prorata.dev/* are Prorata's own: keep those that the pod has as they are, and add none",
        ),
        validation(
            format!(
                "!variables.new || !({}) || variables.trusted",
                cel::has_claims(SPEC)
            ),
            "resourceClaims would take devices past the queue: remove them, and ask for GPUs in the limits of its \
             containers",
        ),
        validation(
            "variables.new || !variables.shareChanges || variables.trusted",
            "how much of a GPU a pod has is decided when it is created: leave annotations prorata.dev/gpu-share and \
             prorata.dev/gpu-memory as they are",
        ),
    ];
    validations.extend(sharing::validations(
        "variables.annotations",
        "in metadata",
        gpu_resource,
    ));
    validations
}
