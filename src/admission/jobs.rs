//! Jobs: they wait in the queue from the moment they exist.
//!
//! An administrator's topmost Job is queued like everybody's: breaking the glass passes the guard,
//! not the queue.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, ValidatingAdmissionPolicy, Validation, Variable,
};

use super::composites;
use super::sharing;
use super::{
    all, cel, condition, mutating_policy, requests, validating_policy, validation, variable,
};
use crate::api::labels::{CREATED_BY, HELD, POLICY_RESOURCE};

/// The policy that has new Jobs wait, and says for which resource.
pub(crate) const QUEUED: &str = "prorata-jobs-created";

const TEMPLATE: &str = "object.spec.template.spec";
const OLD_TEMPLATE: &str = "oldObject.spec.template.spec";
const TEMPLATE_PATH: &str = "/spec/template/spec";
/// What holds the metadata of the pods.
const HOLDER: &str = ".spec.template";
const SUSPENDED: &str = "object.spec.?suspend.orValue(false)";
const WAS_SUSPENDED: &str = "oldObject.spec.?suspend.orValue(false)";

/// A pod beyond the plan has no place in it, and one less leaves room that nobody counts as free.
const PLACES_CHANGE: &str = "oldObject != null &&\n  \
    (object.spec.?parallelism != oldObject.spec.?parallelism || object.spec.?completions != oldObject.spec.?completions)";

const GANG_VALUE: &str = "variables.annotations[?'prorata.dev/gang'].orValue('whole')";
const OLD_GANG_VALUE: &str = "variables.oldAnnotations[?'prorata.dev/gang'].orValue('whole')";

/// A chain of owners is held at its top; of those, only CronJobs let their Jobs be held here.
const TOPMOST: &str = "!object.metadata.?ownerReferences.orValue([]).exists(o,\n  \
    o.?controller.orValue(false) && !(o.kind == 'CronJob' && o.apiVersion.startsWith('batch/')))";

/// Whether a request may change more than the status: those to `jobs/status` can change
/// annotations, owners and finalizers.
const MORE_THAN_STATUS: &str = "request.?subResource.orValue('') != 'status' ||\n  \
    object.metadata.?annotations.orValue({}) != oldObject.metadata.?annotations.orValue({}) ||\n  \
    object.metadata.?ownerReferences.orValue([]) != oldObject.metadata.?ownerReferences.orValue([]) ||\n  \
    object.metadata.?finalizers.orValue([]) != oldObject.metadata.?finalizers.orValue([])";

const SUSPEND: &str = "[JSONPatch{op: 'add', path: '/spec/suspend', value: true}]";

/// Its user lets it start in part: its pods wait, and not the Job.
const IN_PART: &str = "'prorata.dev/gang' in object.metadata.?annotations.orValue({})";

/// A pod that makes room for others has not failed. Kubernetes lets only pods that are not
/// restarted in place be told apart so.
const IGNORE_EVICTIONS: &str = "(has(object.spec.podFailurePolicy) || object.spec.template.spec.?restartPolicy.orValue('') != 'Never' ? [] :\n  \
    [JSONPatch{op: 'add', path: '/spec/podFailurePolicy', value: {'rules': [{'action': dyn('Ignore'),\n  \
    'onPodConditions': dyn([{'type': 'DisruptionTarget', 'status': 'True'}])}]}},\n  \
    JSONPatch{op: 'add', path: '/spec/podReplacementPolicy', value: 'Failed'}])";

/// A new Job is suspended. One that its user suspended is on hold.
pub(super) fn queue_new(gpu_resource: &str) -> MutatingAdmissionPolicy {
    let (created_by, held) = (cel::pointer(CREATED_BY), cel::pointer(HELD));
    let patch = format!(
        "{annotations} +\n\
         [JSONPatch{{op: 'add', path: '{created_by}', value: request.userInfo.username}}] +\n\
         ({IN_PART}\n  \
         ? {gate} +\n  \
         {IGNORE_EVICTIONS}\n  \
         : []) +\n\
         ({SUSPENDED}\n  \
         ? [JSONPatch{{op: 'add', path: '{held}', value: 'true'}}]\n  \
         : {IN_PART} || {gated} ? [] : {SUSPEND}) +\n\
         {slot}",
        annotations = cel::WITH_ANNOTATIONS,
        slot = sharing::add_slot(TEMPLATE, TEMPLATE_PATH, HOLDER, gpu_resource),
        gate = cel::add_gate(TEMPLATE, TEMPLATE_PATH),
        gated = cel::is_gated(TEMPLATE),
    );
    let mut policy = mutating_policy(
        QUEUED,
        requests("batch", &["v1"], &["jobs"], &["CREATE"]),
        vec![
            condition("topmost", TOPMOST),
            condition(
                "asks-for-gpus",
                sharing::asks(TEMPLATE, HOLDER, gpu_resource),
            ),
        ],
        patch,
    );
    let resource = (POLICY_RESOURCE.to_owned(), gpu_resource.to_owned());
    policy.metadata.annotations = Some([resource].into());
    policy
}

/// Anybody's `suspend: true` holds a Job; anybody's `false` ends the hold, and it waits. Only the
/// controller starts one. A Job that waits may be let start in part: then its pods wait instead.
pub(super) fn queue_again(gpu_resource: &str) -> MutatingAdmissionPolicy {
    let held = cel::pointer(HELD);
    let gated = cel::is_gated(TEMPLATE);
    let patch = format!(
        "({IN_PART} && {WAS_SUSPENDED}\n  \
         ? {gate}\n  \
         : []) +\n\
         ({SUSPENDED}\n  \
         ? ({WAS_SUSPENDED}\n    \
         ? ({is_held} ? [] : [JSONPatch{{op: 'add', path: '/spec/suspend', value: false}}])\n    \
         : {annotations} + [JSONPatch{{op: 'add', path: '{held}', value: 'true'}}])\n  \
         : ({IN_PART} || {gated} ? [] : {SUSPEND}) + ({is_held}\n    \
         ? [JSONPatch{{op: 'remove', path: '{held}'}}]\n    : []))",
        annotations = cel::WITH_ANNOTATIONS,
        is_held = format!("'{HELD}' in object.metadata.?annotations.orValue({{}})"),
        gate = cel::add_gate(TEMPLATE, TEMPLATE_PATH),
    );
    let by_users = format!("!({})", cel::by_controller());
    let changes =
        format!("{SUSPENDED} != {WAS_SUSPENDED} ||\n({SUSPENDED} && {IN_PART} && !{gated})");
    let asks = cel::asks_for_gpus(TEMPLATE, gpu_resource);
    mutating_policy(
        "prorata-jobs-updated",
        requests("batch", &["v1"], &["jobs"], &["UPDATE"]),
        vec![all(
            "is-held-or-let-go-by-its-user",
            &[&by_users, &changes, TOPMOST, &asks],
        )],
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
        "!({}) &&\n({MORE_THAN_STATUS}) &&\n({} ||\n{} ||\n{} ||\n{} ||\n{})",
        cel::by_controller(),
        sharing::asks(TEMPLATE, HOLDER, gpu_resource),
        sharing::says(&cel::annotations("object", "")),
        cel::claims(),
        cel::has_claims(TEMPLATE),
        carries_ours.join(" ||\n")
    );
    validating_policy(
        "prorata-jobs",
        requests(
            "batch",
            &["v1"],
            &["jobs", "jobs/status"],
            &["CREATE", "UPDATE"],
        ),
        vec![condition(
            "asks-for-gpus-or-claims-an-owner-or-carries-our-annotations",
            concerned,
        )],
        variables(gpu_resource),
        validations(gpu_resource),
    )
}

/// Nobody deletes a part of an operator's object without its pods, which is what Kubernetes does with a Job if
/// nothing is said.
pub(super) fn keep_with_whole(gpu_resource: &str) -> ValidatingAdmissionPolicy {
    validating_policy(
        "prorata-jobs-deleted",
        requests("batch", &["v1"], &["jobs"], &["DELETE"]),
        vec![
            condition("is-a-part", cel::is_operated("oldObject")),
            condition(
                "asks-for-gpus",
                cel::asks_for_gpus(OLD_TEMPLATE, gpu_resource),
            ),
        ],
        vec![
            variable("trusted", cel::trusted()),
            variable("wasOperated", cel::by_operator("oldObject")),
        ],
        vec![validation(
            format!(
                "dyn(request).?options.?propagationPolicy.orValue('') in ['Background', 'Foreground'] ||\n\
                 {} || variables.wasOperated || variables.trusted",
                cel::by_kubernetes()
            ),
            composites::WHOLE,
        )],
    )
}

fn variables(gpu_resource: &str) -> Vec<Variable> {
    let mut variables = cel::operators();
    variables.extend([
        variable("new", "request.operation == 'CREATE'"),
        variable("gated", cel::is_gated(TEMPLATE)),
        variable("gpu", cel::asks_for_gpus(TEMPLATE, gpu_resource)),
        variable(
            "wasGpu",
            format!(
                "oldObject != null && {}",
                cel::asks_for_gpus(OLD_TEMPLATE, gpu_resource)
            ),
        ),
        variable("topmost", TOPMOST),
        variable("suspended", SUSPENDED),
        variable(
            "wasSuspended",
            format!("oldObject != null && {WAS_SUSPENDED}"),
        ),
        variable("placesChange", PLACES_CHANGE),
    ]);
    variables.extend(cel::ownership());
    variables.extend([
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
    ]);
    let annotations = ("variables.podAnnotations", "variables.oldPodAnnotations");
    variables.extend(sharing::variables(
        TEMPLATE,
        HOLDER,
        annotations,
        gpu_resource,
    ));
    variables
}

/// Node fields that the pod template requires. Our plan is one, so users may not have their own.
fn pinned(object: &str) -> String {
    format!(
        "{object}.spec.template.spec.?affinity.?nodeAffinity\n  \
         .?requiredDuringSchedulingIgnoredDuringExecution.?nodeSelectorTerms.orValue([])\n  \
         .filter(t, has(t.matchFields)).map(t, t.matchFields)"
    )
}

fn validations(gpu_resource: &str) -> Vec<Validation> {
    // What the policies above write, a user may write as well: it means no more than `suspend`.
    let queued = "variables.topmost && variables.gpu";
    let may_drop =
        format!("(k == '{HELD}' && {queued} && (variables.suspended || variables.gated))");
    let may_set = format!(
        "\n  (k == '{HELD}' && {queued} && variables.suspended && variables.annotations[k] == 'true') ||\n  \
         (k == '{CREATED_BY}' && variables.new && variables.annotations[k] == request.userInfo.username)"
    );
    let (new, old) = ("variables.annotations", "variables.oldAnnotations");
    let own = cel::same_internal(new, old, &may_set, &may_drop);
    let (new, old) = ("variables.podAnnotations", "variables.oldPodAnnotations");
    let pods = cel::same_internal(new, old, "false", "false");
    let mut validations = vec![
        validation(
            "!variables.gpu || variables.suspended || variables.gated || (!variables.new && !variables.wasSuspended) || variables.operated || variables.trusted",
            "GPUs here are given out by a queue, and only the queue starts a Job that asks for them: \
             create it with `suspend: true` (a Job made by another controller cannot be queued yet)",
        ),
        validation(
            "!variables.gpu || variables.suspended || variables.wasSuspended || variables.gated || !variables.placesChange || variables.trusted",
            "the places of a started Job are decided: to change parallelism or completions, suspend it first \
             (`suspend: true`); released again (`suspend: false`), it waits for new places",
        ),
        composites::owned_by_whom(),
        // By `orphan` the pods of a part would stay where the whole cannot end them.
        cel::no_finalizer_but(
            "f == 'foregroundDeletion' || (f == 'orphan' && !variables.claimed)",
            "variables.operated",
        ),
        validation(
            "!variables.claimed || variables.new || !variables.asksAnew || variables.operated || variables.trusted",
            "the places of a part are those that its whole was admitted with: leave the resources of spec.template as \
             they are, and say in the object that owns this Job what its parts are to have",
        ),
        validation(
            "!variables.gpu || variables.annotations[?'prorata.dev/gang'].orValue('none').matches('^(none|[1-9][0-9]{0,4})$')",
            "annotation prorata.dev/gang of a Job is `none` when each of its pods may start alone, or the number of \
             those that must start together; without it all do",
        ),
        validation(
            format!(
                "!variables.gpu || variables.new || variables.suspended || variables.wasSuspended || {GANG_VALUE} == {OLD_GANG_VALUE}"
            ),
            "how much of a started Job starts together is decided: to change annotation prorata.dev/gang, suspend it \
             first (`suspend: true`)",
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
            "!variables.gpu || !variables.new || !object.spec.?manualSelector.orValue(false) || variables.trusted",
            "Prorata knows the pods of a Job by the label that Kubernetes gives them: remove manualSelector",
        ),
        validation(
            format!(
                "!variables.new || !({}) || variables.trusted",
                cel::has_claims(TEMPLATE)
            ),
            "resourceClaims would take devices past the queue: remove them from spec.template, and ask for GPUs in \
             the containers' limits",
        ),
        validation(
            format!(
                "!variables.new || !({})",
                sharing::says("variables.annotations")
            ),
            "annotations prorata.dev/gpu-share and prorata.dev/gpu-memory are about each pod: write them in \
             spec.template.metadata.annotations",
        ),
    ];
    validations.extend(sharing::validations(
        "variables.podAnnotations",
        "in spec.template.metadata",
        gpu_resource,
    ));
    validations
}
