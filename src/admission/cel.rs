//! Expressions that the policies share. Text only: it says what to look at, not what to conclude.
//!
//! Whatever may be absent is read by `?`, because a policy that fails to evaluate refuses.

use k8s_openapi::api::admissionregistration::v1::{Validation, Variable};

use super::{validation, variable};
use crate::api::labels::{CONTROLLER_USER, GATE, INTERNAL_PREFIX};
use crate::api::resources;
use crate::kinds::COMPOSITES;
use crate::translate::KUBERNETES;

/// Whether a container of the pod spec at `spec` names a resource of GPUs.
pub(super) fn asks_for_gpus(spec: &str, gpu_resource: &str) -> String {
    format!(
        "({spec}.containers + {spec}.?initContainers.orValue([])).exists(c,\n  {})",
        names_gpus(gpu_resource)
    )
}

/// The same where any part of the way to the pod spec may be absent: `spec` reads it by `?`.
pub(super) fn may_ask_for_gpus(spec: &str, gpu_resource: &str) -> String {
    format!(
        "({spec}.?containers.orValue([]) + {spec}.?initContainers.orValue([])).exists(c,\n  {})",
        names_gpus(gpu_resource)
    )
}

/// Whether the container `c` names whole GPUs, a slot of one or MIG instances.
fn names_gpus(gpu_resource: &str) -> String {
    let is_gpu = format!(
        "k in ['{gpu_resource}', '{}'] || k.startsWith('{}')",
        resources::slots(gpu_resource),
        resources::INSTANCES
    );
    format!(
        "c.?resources.?limits.orValue({{}}).exists(k, {is_gpu}) ||\n  \
         c.?resources.?requests.orValue({{}}).exists(k, {is_gpu})"
    )
}

/// What `object` or `oldObject` says that it is controlled by: its UID, and as what it is known.
pub(super) fn controllers(object: &str) -> String {
    let read = format!(
        "{object}.metadata.?ownerReferences.orValue([]).filter(o, o.?controller.orValue(false))\n  \
         .map(o, o.uid + ' ' + o.apiVersion + ' ' + o.kind)"
    );
    list_where_there_is(object, read)
}

/// What `object` or `oldObject` says that it is owned by, and whether as its controller.
pub(super) fn owners(object: &str) -> String {
    let read = format!(
        "{object}.metadata.?ownerReferences.orValue([])\n  \
         .map(o, o.uid + ' ' + o.apiVersion + ' ' + o.kind + (o.?controller.orValue(false) ? ' controls' : ''))"
    );
    list_where_there_is(object, read)
}

/// Whether `object` or `oldObject` says that an object of an operator's controls it.
pub(super) fn is_operated(object: &str) -> String {
    let kinds = kinds();
    let read = format!(
        "[{{{kinds}}}].exists(kinds,\n  \
         {object}.metadata.?ownerReferences.orValue([]).exists(o,\n  \
         o.?controller.orValue(false) && o.kind in kinds && o.apiVersion.startsWith(kinds[o.kind][0] + '/')))"
    );
    where_there_is(object, read)
}

/// What is read of `oldObject` is nothing where there is none.
fn list_where_there_is(object: &str, read: String) -> String {
    match object {
        "oldObject" => format!("oldObject == null ? [] : {read}"),
        _ => read,
    }
}

/// What is read of `oldObject` holds where there is one.
fn where_there_is(object: &str, read: String) -> String {
    match object {
        "oldObject" => format!("(oldObject != null &&\n{read})"),
        _ => read,
    }
}

/// Whether `object` says so, and did not say the same before.
pub(super) fn claims() -> String {
    format!(
        "({} &&\n(oldObject == null || ({}) != ({})))",
        is_operated("object"),
        controllers("object"),
        controllers("oldObject")
    )
}

/// Whether the operator asks whose object controls this one, as `object` or `oldObject` says: whoever may
/// update the status of such objects, which users may not.
///
/// Ask it late, as [`trusted`].
pub(super) fn by_operator(object: &str) -> String {
    let kinds = kinds();
    let read = format!(
        "[{{{kinds}}}].exists(kinds,\n  \
         {object}.metadata.?ownerReferences.orValue([]).exists(o,\n  \
         o.?controller.orValue(false) && o.kind in kinds && o.apiVersion.startsWith(kinds[o.kind][0] + '/') &&\n  \
         authorizer.group(kinds[o.kind][0]).resource(kinds[o.kind][1]).subresource('status')\n  \
         .namespace(request.namespace).check('update').allowed()))"
    );
    where_there_is(object, read)
}

/// Whether a controller of Kubernetes' own asks: one that adopts and releases pods, or collects what has no
/// owner.
pub(super) fn by_kubernetes() -> String {
    format!("request.userInfo.username.startsWith('{KUBERNETES}')")
}

/// Variables about the operator's object that controls this one, or did, and who asks.
pub(super) fn operators() -> Vec<Variable> {
    vec![
        variable("trusted", trusted()),
        variable("claimed", is_operated("object")),
        variable("wasClaimed", is_operated("oldObject")),
        variable("operated", by_operator("object")),
        variable("wasOperated", by_operator("oldObject")),
    ]
}

/// Variables about whom an object is of, and was.
pub(super) fn ownership() -> Vec<Variable> {
    vec![
        variable("owners", owners("object")),
        variable("oldOwners", owners("oldObject")),
        variable("controllers", controllers("object")),
        variable("oldControllers", controllers("oldObject")),
    ]
}

/// Whether a request deletes `oldObject` without what is its, or the same was arranged for before.
pub(super) const ORPHANS: &str = "dyn(request).?options.?propagationPolicy.orValue('') == 'Orphan' ||\n\
    dyn(request).?options.?orphanDependents.orValue(false) ||\n\
    'orphan' in oldObject.metadata.?finalizers.orValue([])";

/// What is deleted and has a finalizer stays, and so does what runs by it: `own` are those `f` of Kubernetes
/// that do no harm. Others may have theirs where `besides` holds, and keep what was there when it had GPUs.
pub(super) fn no_finalizer_but(own: &str, besides: &str) -> Validation {
    validation(
        format!(
            "!variables.gpu ||\n\
             object.metadata.?finalizers.orValue([]).all(f, {own} ||\n  \
             (variables.wasGpu && f in oldObject.metadata.?finalizers.orValue([]))) ||\n\
             {} || {besides} || variables.trusted",
            by_kubernetes()
        ),
        "what has GPUs would run on when it is deleted and has a finalizer: leave finalizers out",
    )
}

/// Group and plural of each kind of the table, as the entries of a map.
fn kinds() -> String {
    let mut kinds: Vec<String> = COMPOSITES
        .iter()
        .map(|kind| format!("'{}': ['{}', '{}']", kind.kind, kind.group(), kind.plural))
        .collect();
    kinds.dedup();
    kinds.join(", ")
}

/// The annotations of `object` or `oldObject`; `path` leads to the holder of the metadata.
pub(super) fn annotations(object: &str, path: &str) -> String {
    let read = format!("{object}{path}.?metadata.?annotations.orValue({{}})");
    if object == "oldObject" {
        format!("oldObject == null ? {{}} : {read}")
    } else {
        read
    }
}

/// Whether the annotations at hand hold one of ours.
pub(super) fn has_internal(annotations: &str) -> String {
    format!("({annotations}).exists(k, k.startsWith('{INTERNAL_PREFIX}'))")
}

/// Whether our annotations are the same in both maps, but for a key `k` that `may_set` or `may_drop`
/// lets pass.
pub(super) fn same_internal(new: &str, old: &str, may_set: &str, may_drop: &str) -> String {
    format!(
        "{new}.all(k, !k.startsWith('{INTERNAL_PREFIX}') || (k in {old} && {old}[k] == {new}[k]) || {may_set}) &&\n\
         {old}.all(k, !k.startsWith('{INTERNAL_PREFIX}') || k in {new} || {may_drop})"
    )
}

/// Whether the pod spec at `spec` gets devices by dynamic resource allocation: by claims, or by the
/// resource that Kubernetes derives from the name of a DeviceClass.
pub(super) fn has_claims(spec: &str) -> String {
    format!(
        "(size({spec}.?resourceClaims.orValue([])) > 0 ||\n\
         ({spec}.containers + {spec}.?initContainers.orValue([])).exists(c,\n  \
         c.?resources.?limits.orValue({{}}).exists(k, k.startsWith('deviceclass.resource.kubernetes.io/')) ||\n  \
         c.?resources.?requests.orValue({{}}).exists(k, k.startsWith('deviceclass.resource.kubernetes.io/'))))"
    )
}

/// Whether our scheduling gate holds the pods of the spec at `spec` back.
pub(super) fn is_gated(spec: &str) -> String {
    format!("{spec}.?schedulingGates.orValue([]).exists(g, g.name == '{GATE}')")
}

/// The patches that add our scheduling gate to the pod spec at `spec`, whose JSON pointer is
/// `path`.
pub(super) fn add_gate(spec: &str, path: &str) -> String {
    format!(
        "({gated} ? [] :\n  \
         (has({spec}.schedulingGates) ? [] : [JSONPatch{{op: 'add', path: '{path}/schedulingGates', value: []}}]) +\n  \
         [JSONPatch{{op: 'add', path: '{path}/schedulingGates/-', value: {{'name': '{GATE}'}}}}])",
        gated = is_gated(spec)
    )
}

/// The JSON pointer of an annotation.
pub(super) fn pointer(annotation: &str) -> String {
    format!(
        "/metadata/annotations/{}",
        annotation.replace('~', "~0").replace('/', "~1")
    )
}

/// `add` of a JSON patch needs the map to be there.
pub(super) const WITH_ANNOTATIONS: &str = "(has(object.metadata.annotations) ? [] :\n  \
    [JSONPatch{op: 'add', path: '/metadata/annotations', value: {}}])";

/// Whether the controller itself asks.
pub(super) fn by_controller() -> String {
    format!("request.userInfo.username == '{CONTROLLER_USER}'")
}

/// Whether the controller asks, or somebody who may break the glass.
///
/// Ask it last: `||` then spares the authorizer every request that is in order.
pub(super) fn trusted() -> String {
    format!(
        "{} ||\nauthorizer.group('prorata.dev').resource('queuedjobs').namespace(request.namespace).check('bypass').allowed()",
        by_controller()
    )
}
