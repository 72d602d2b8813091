//! Jobs: they wait in the queue from the moment they exist.
//!
//! An administrator's topmost Job is queued like everybody's: breaking the glass passes the guard,
//! not the queue.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, ValidatingAdmissionPolicy, Validation, Variable,
};

use super::{cel, condition, mutating_policy, requests, validating_policy, validation, variable};
use crate::api::labels::{CREATED_BY, HELD};

const TEMPLATE: &str = "object.spec.template.spec";
const SUSPENDED: &str = "object.spec.?suspend.orValue(false)";
const WAS_SUSPENDED: &str = "oldObject.spec.?suspend.orValue(false)";

/// A pod beyond the plan has no place in it, and one less leaves room that nobody counts as free.
const PLACES_CHANGE: &str = "oldObject != null &&\n  \
    (object.spec.?parallelism != oldObject.spec.?parallelism || object.spec.?completions != oldObject.spec.?completions)";

/// A chain of owners is held at its top; of those, only CronJobs let their Jobs be held here.
const TOPMOST: &str = "!object.metadata.?ownerReferences.orValue([]).exists(o,\n  \
    o.?controller.orValue(false) && !(o.kind == 'CronJob' && o.apiVersion.startsWith('batch/')))";

/// Whether a request may change more than the status: those to `jobs/status` can change annotations.
const MORE_THAN_STATUS: &str = "request.?subResource.orValue('') != 'status' ||\n  \
    object.metadata.?annotations.orValue({}) != oldObject.metadata.?annotations.orValue({})";

/// `add` of a JSON patch needs the map to be there.
const WITH_ANNOTATIONS: &str = "(has(object.metadata.annotations) ? [] :\n  \
    [JSONPatch{op: 'add', path: '/metadata/annotations', value: {}}])";

const SUSPEND: &str = "[JSONPatch{op: 'add', path: '/spec/suspend', value: true}]";

/// A new Job is suspended. One that its user suspended is on hold.
pub(super) fn queue_new(gpu_resource: &str) -> MutatingAdmissionPolicy {
    let (created_by, held) = (pointer(CREATED_BY), pointer(HELD));
    let patch = format!(
        "{WITH_ANNOTATIONS} +\n\
         [JSONPatch{{op: 'add', path: '{created_by}', value: request.userInfo.username}}] +\n\
         ({SUSPENDED}\n  \
         ? [JSONPatch{{op: 'add', path: '{held}', value: 'true'}}]\n  \
         : {SUSPEND})"
    );
    mutating_policy(
        "prorata-jobs-created",
        requests("batch", "v1", &["jobs"], &["CREATE"]),
        vec![
            condition("topmost", TOPMOST),
            condition("asks-for-gpus", cel::asks_for_gpus(TEMPLATE, gpu_resource)),
        ],
        patch,
    )
}

/// Anybody's `suspend: true` holds a Job; anybody's `false` ends the hold, and it waits. Only the
/// controller starts one.
pub(super) fn queue_again(gpu_resource: &str) -> MutatingAdmissionPolicy {
    let held = pointer(HELD);
    let patch = format!(
        "{SUSPENDED}\n  \
         ? {WITH_ANNOTATIONS} + [JSONPatch{{op: 'add', path: '{held}', value: 'true'}}]\n  \
         : {SUSPEND} + ('{HELD}' in object.metadata.?annotations.orValue({{}})\n    \
         ? [JSONPatch{{op: 'remove', path: '{held}'}}]\n    : [])"
    );
    mutating_policy(
        "prorata-jobs-updated",
        requests("batch", "v1", &["jobs"], &["UPDATE"]),
        vec![
            condition("suspend-changes", format!("{SUSPENDED} != {WAS_SUSPENDED}")),
            condition(
                "not-by-the-controller",
                format!("!({})", cel::by_controller()),
            ),
            condition("topmost", TOPMOST),
            condition("asks-for-gpus", cel::asks_for_gpus(TEMPLATE, gpu_resource)),
        ],
        patch,
    )
}

/// The last word on Jobs. `jobs/status` is here because it can change annotations too.
pub(super) fn guard(gpu_resource: &str) -> ValidatingAdmissionPolicy {
    let carries_ours = [
        cel::has_internal(&cel::annotations("object", "")),
        cel::has_internal(&cel::annotations("oldObject", "")),
        cel::has_internal(&cel::annotations("object", ".spec.template")),
        cel::has_internal(&cel::annotations("oldObject", ".spec.template")),
    ];
    // One expression, cheapest part first: the API server evaluates every condition of a list.
    let concerned = format!(
        "!({}) &&\n({MORE_THAN_STATUS}) &&\n({} ||\n{} ||\n{})",
        cel::by_controller(),
        cel::asks_for_gpus(TEMPLATE, gpu_resource),
        cel::has_claims(TEMPLATE),
        carries_ours.join(" ||\n")
    );
    validating_policy(
        "prorata-jobs",
        requests(
            "batch",
            "v1",
            &["jobs", "jobs/status"],
            &["CREATE", "UPDATE"],
        ),
        vec![condition(
            "asks-for-gpus-or-carries-our-annotations",
            concerned,
        )],
        variables(gpu_resource),
        validations(),
    )
}

fn variables(gpu_resource: &str) -> Vec<Variable> {
    vec![
        variable("trusted", cel::trusted()),
        variable("new", "request.operation == 'CREATE'"),
        variable("gpu", cel::asks_for_gpus(TEMPLATE, gpu_resource)),
        variable("topmost", TOPMOST),
        variable("suspended", SUSPENDED),
        variable(
            "wasSuspended",
            format!("oldObject != null && {WAS_SUSPENDED}"),
        ),
        variable("placesChange", PLACES_CHANGE),
        variable("annotations", cel::annotations("object", "")),
        variable("oldAnnotations", cel::annotations("oldObject", "")),
        variable(
            "podAnnotations",
            cel::annotations("object", ".spec.template"),
        ),
        variable(
            "oldPodAnnotations",
            cel::annotations("oldObject", ".spec.template"),
        ),
        variable("pinned", pinned("object")),
        variable(
            "wasPinned",
            format!("oldObject == null ? [] : {}", pinned("oldObject")),
        ),
    ]
}

/// Node fields that the pod template requires. Our plan is one, so users may not have their own.
fn pinned(object: &str) -> String {
    format!(
        "{object}.spec.template.spec.?affinity.?nodeAffinity\n  \
         .?requiredDuringSchedulingIgnoredDuringExecution.?nodeSelectorTerms.orValue([])\n  \
         .filter(t, has(t.matchFields)).map(t, t.matchFields)"
    )
}

fn validations() -> Vec<Validation> {
    // What the policies above write, a user may write as well: it means no more than `suspend`.
    let queued = "variables.topmost && variables.gpu";
    let may_drop = format!("(k == '{HELD}' && {queued} && variables.suspended)");
    let may_set = format!(
        "\n  (k == '{HELD}' && {queued} && variables.suspended && variables.annotations[k] == 'true') ||\n  \
         (k == '{CREATED_BY}' && {queued} && variables.new && variables.annotations[k] == request.userInfo.username)"
    );
    let (new, old) = ("variables.annotations", "variables.oldAnnotations");
    let own = cel::same_internal(new, old, &may_set, &may_drop);
    let (new, old) = ("variables.podAnnotations", "variables.oldPodAnnotations");
    let pods = cel::same_internal(new, old, "false", "false");
    vec![
        validation(
            "!variables.gpu || variables.suspended || (!variables.new && !variables.wasSuspended) || variables.trusted",
            "GPUs here are given out by a queue, and only the queue starts a Job that asks for them: \
             create it with `suspend: true` (a Job made by another controller cannot be queued yet)",
        ),
        validation(
            "!variables.gpu || variables.suspended || variables.wasSuspended || !variables.placesChange || variables.trusted",
            "the places of a started Job are decided: to change parallelism or completions, suspend it first \
             (`suspend: true`); released again (`suspend: false`), it waits for new places",
        ),
        validation(
            format!("({own}) ||\nvariables.trusted"),
            "annotations internal.prorata.dev/* are Prorata's own: keep those that the Job has as they are, and add none",
        ),
        validation(
            format!("({pods}) ||\nvariables.trusted"),
            "annotations internal.prorata.dev/* are Prorata's own: keep those that spec.template has as they are, and add none",
        ),
        validation(
            "!variables.gpu || size(variables.pinned) == 0 || variables.pinned == variables.wasPinned || variables.trusted",
            "Prorata chooses the nodes of a Job that asks for GPUs: remove matchFields from the node affinity of \
             spec.template; to narrow the choice, use nodeSelector or matchExpressions on labels",
        ),
        validation(
            format!(
                "!variables.gpu || !variables.new || !has({TEMPLATE}.nodeName) || variables.trusted"
            ),
            "Prorata chooses the nodes of a Job that asks for GPUs: remove nodeName from spec.template; to narrow \
             the choice, use nodeSelector",
        ),
        validation(
            format!(
                "!variables.new || !({}) || variables.trusted",
                cel::has_claims(TEMPLATE)
            ),
            "resourceClaims would take devices past the queue: remove them from spec.template, and ask for GPUs in \
             the containers' limits",
        ),
    ]
}

/// The JSON pointer of an annotation.
fn pointer(annotation: &str) -> String {
    format!(
        "/metadata/annotations/{}",
        annotation.replace('~', "~0").replace('/', "~1")
    )
}
