//! Pods: those that ask for GPUs come from a Job that the queue has started, and nowhere else.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;

use super::{cel, condition, requests, validating_policy, validation, variable};

/// It copies the pod template, our annotations included.
const JOB_CONTROLLER: &str = "system:serviceaccount:kube-system:job-controller";

/// The last word on pods.
pub(super) fn guard(gpu_resource: &str) -> ValidatingAdmissionPolicy {
    let gpu = cel::asks_for_gpus("object.spec", gpu_resource);
    let concerned = format!(
        "{gpu} ||\n{} ||\n{} ||\n{}",
        cel::has_claims("object.spec"),
        cel::has_internal(&cel::annotations("object", "")),
        cel::has_internal(&cel::annotations("oldObject", "")),
    );
    let unchanged = cel::same_internal(
        "variables.annotations",
        "variables.oldAnnotations",
        "false",
        "false",
    );
    validating_policy(
        "prorata-pods",
        requests("", "v1", &["pods"], &["CREATE", "UPDATE"]),
        vec![condition(
            "asks-for-gpus-or-carries-our-annotations",
            concerned,
        )],
        vec![
            variable("trusted", cel::trusted()),
            variable("new", "request.operation == 'CREATE'"),
            variable("gpu", gpu),
            variable(
                "ofJob",
                format!("request.userInfo.username == '{JOB_CONTROLLER}'"),
            ),
            variable("annotations", cel::annotations("object", "")),
            variable("oldAnnotations", cel::annotations("oldObject", "")),
        ],
        vec![
            validation(
                "!variables.new || !variables.gpu || variables.ofJob || variables.trusted",
                "GPUs here are given out by a queue: submit this as a Job (batch/v1)",
            ),
            validation(
                "!variables.new || !variables.gpu || !has(object.spec.nodeName) || variables.trusted",
                "Prorata chooses the node of a pod that asks for GPUs: remove nodeName; to narrow the choice, use \
                 nodeSelector",
            ),
            validation(
                format!(
                    "(variables.new && variables.ofJob) ||\n({unchanged}) ||\nvariables.trusted"
                ),
                "annotations internal.prorata.dev/* are Prorata's own: keep those that the pod has as they are, and add none",
            ),
            validation(
                format!(
                    "!variables.new || !({}) || variables.trusted",
                    cel::has_claims("object.spec")
                ),
                "resourceClaims would take devices past the queue: remove them, and ask for GPUs in the limits of a \
                 Job's containers",
            ),
        ],
    )
}
