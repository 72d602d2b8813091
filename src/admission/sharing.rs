//! Pods that share a GPU: by annotation they say how large a slot has to be, and get one; MPS is told
//! to let them have no more.
//!
//! The slot goes to the container that names it, or to the first. What MPS is told stands in
//! annotations of ours, which the container's environment refers to: it can only tighten what the
//! device plugin allows.

use k8s_openapi::api::admissionregistration::v1::{MutatingAdmissionPolicy, Validation, Variable};

use super::{cel, condition, mutating_policy, requests, validation, variable};
use crate::api::labels::{GPU_MEMORY, GPU_SHARE, MPS_MEMORY, MPS_PRIORITY, MPS_THREADS};
use crate::api::resources;

const POD: &str = "object.spec";

/// What is read of a share: thousandths of a card that is split in two at least.
const SHARE: &str = "^([1-9]|[1-9][0-9]|[1-4][0-9][0-9]|500)m$";
/// What is read of memory.
const MEMORY: &str = "^[1-9][0-9]{0,6}(Mi|Gi)$";

/// Each annotation with the variable by which MPS hears of it.
const CAPS: [(&str, &str); 3] = [
    (MPS_THREADS, "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"),
    (MPS_MEMORY, "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"),
    (MPS_PRIORITY, "CUDA_MPS_CLIENT_PRIORITY"),
];

/// A pod with a slot says what MPS is to let it have.
pub(super) fn cap(gpu_resource: &str) -> MutatingAdmissionPolicy {
    let (keys, names) = (list(CAPS.map(|(key, _)| key)), map(CAPS));
    let patch = format!(
        "{annotations} +\n\
         variables.told.map(k, JSONPatch{{op: 'add', path: '/metadata/annotations/' + jsonpatch.escapeKey(k), value: variables.mps[k]}}) +\n\
         (has(variables.container.env) ? [] : [JSONPatch{{op: 'add', path: variables.path + '/env', value: []}}]) +\n\
         variables.told.filter(k, !variables.container.?env.orValue([]).exists(e, e.name == variables.names[k]))\n  \
         .map(k, JSONPatch{{op: 'add', path: variables.path + '/env/-', value: {{'name': dyn(variables.names[k]),\n  \
         'valueFrom': dyn({{'fieldRef': {{'fieldPath': \"metadata.annotations['\" + k + \"']\"}}}})}}}})",
        annotations = cel::WITH_ANNOTATIONS,
    );
    let mut policy = mutating_policy(
        "prorata-pods-shared",
        requests("", &["v1"], &["pods"], &["CREATE"]),
        vec![condition(
            "has-a-slot",
            has_slot(POD, "object", "", gpu_resource),
        )],
        patch,
    );
    if let Some(spec) = &mut policy.spec {
        spec.variables = Some(vec![
            variable("annotations", cel::annotations("object", "")),
            variable("slot", "true"),
            mps(),
            variable("names", names),
            variable("told", format!("{keys}.filter(k, k in variables.mps)")),
            variable("at", at(POD, gpu_resource)),
            variable("place", "variables.at < 0 ? 0 : variables.at"),
            variable("path", "'/spec/containers/' + string(variables.place)"),
            variable("container", format!("{POD}.containers[variables.place]")),
        ]);
    }
    policy
}

/// The patches that add a slot to the first container of the pod spec at `spec`, whose JSON pointer
/// is `path`, where annotations ask for one and no container names it.
pub(super) fn add_slot(spec: &str, path: &str, holder: &str, gpu_resource: &str) -> String {
    let first = format!("{spec}.containers[0]");
    let path = format!("{path}/containers/0/resources");
    let slots = resources::slots(gpu_resource);
    let part = |field: &str| {
        format!(
            "({first}.?resources.?{field}.hasValue() ? [] : [JSONPatch{{op: 'add', path: '{path}/{field}', value: {{}}}}]) +\n  \
             [JSONPatch{{op: 'add', path: '{path}/{field}/' + jsonpatch.escapeKey('{slots}'), value: '1'}}]"
        )
    };
    format!(
        "({asks} && {at} < 0\n  \
         ? (has({first}.resources) ? [] : [JSONPatch{{op: 'add', path: '{path}', value: {{}}}}]) +\n  \
         {limits} +\n  {requests}\n  \
         : [])",
        asks = says(&cel::annotations("object", holder)),
        at = at(spec, gpu_resource),
        limits = part("limits"),
        requests = part("requests"),
    )
}

/// Whether the annotations at hand ask for a slot.
pub(super) fn says(annotations: &str) -> String {
    format!("['{GPU_SHARE}', '{GPU_MEMORY}'].exists(k, k in {annotations})")
}

/// Whether a pod of this spec asks for GPUs, or its annotations, those of the metadata at `holder`,
/// do.
pub(super) fn asks(spec: &str, holder: &str, gpu_resource: &str) -> String {
    format!(
        "{} ||\n{}",
        cel::asks_for_gpus(spec, gpu_resource),
        says(&cel::annotations("object", holder))
    )
}

/// What guards look at of the pod spec at `spec`, whose metadata are at `holder`. They have the
/// variables `new`, and `annotations` and `oldAnnotations` under the names `now` and `before`.
pub(super) fn variables(
    spec: &str,
    holder: &str,
    (now, before): (&str, &str),
    gpu_resource: &str,
) -> Vec<Variable> {
    let named = |what: &str| {
        let names = |map: &str| format!("c.?resources.?{map}.orValue({{}}).exists(k, {what})");
        format!(
            "({spec}.containers + {spec}.?initContainers.orValue([])).filter(c,\n  {} ||\n  {})",
            names("limits"),
            names("requests")
        )
    };
    let slots = resources::slots(gpu_resource);
    let asked = |spec: &str| {
        format!(
            "({spec}.containers + {spec}.?initContainers.orValue([])).map(c,\n  \
             [c.?resources.?limits.orValue({{}}), c.?resources.?requests.orValue({{}})])"
        )
    };
    // What waits may be edited.
    let asks_anew = format!(
        "variables.new ||\n{} !=\n{}",
        asked(spec),
        asked(&spec.replacen("object", "oldObject", 1))
    );
    vec![
        variable("asksAnew", asks_anew),
        variable("slot", has_slot(spec, "object", holder, gpu_resource)),
        variable("withSlot", named(&format!("k == '{slots}'"))),
        variable("withCard", named(&format!("k == '{gpu_resource}'"))),
        variable(
            "withInstance",
            named(&format!("k.startsWith('{}')", resources::INSTANCES)),
        ),
        // What was there before is not looked at again: it could not even be deleted.
        variable(
            "shareChanges",
            format!(
                "variables.new || ['{GPU_SHARE}', '{GPU_MEMORY}'].exists(k, {now}[?k] != {before}[?k])"
            ),
        ),
    ]
}

/// What is wrong with a pod or template that shares a GPU; `now` are its annotations, and `place`
/// says where they are.
pub(super) fn validations(now: &str, place: &str, gpu_resource: &str) -> Vec<Validation> {
    let slots = resources::slots(gpu_resource);
    let said = |text: &str| text.replace("PLACE", place).replace("SLOT", &slots);
    vec![
        validation(
            format!(
                "!variables.shareChanges || !({}) || size(variables.withSlot) > 0",
                says(now)
            ),
            &said(
                "an annotation PLACE asks for a part of a GPU, and no container has it: add the limit SLOT: 1 to one of \
                 them (to a Job or pod of a tenant it is added when it is created, to parts of other objects it is not)",
            ),
        ),
        validation(
            format!(
                "!variables.asksAnew || size(variables.withSlot) == 0 ||\n\
                 (size(variables.withSlot) == 1 && variables.withSlot.all(c, string(c.?resources.?limits[?'{slots}'].orValue(dyn('0'))) == '1'))"
            ),
            &said(
                "a pod has one slot of a GPU: give the limit SLOT: 1 to one container, and say by annotation \
                 prorata.dev/gpu-share or prorata.dev/gpu-memory how large it has to be",
            ),
        ),
        validation(
            "!variables.asksAnew ||\n[size(variables.withSlot) > 0, size(variables.withCard) > 0, size(variables.withInstance) > 0].filter(b, b).size() <= 1",
            &said(
                "a pod has whole GPUs, a slot of one (limit SLOT, or annotation PLACE) or MIG instances: keep one of \
                 these in its containers' limits",
            ),
        ),
        validation(
            format!(
                "!variables.shareChanges || {now}[?'{GPU_SHARE}'].orValue('1m').matches('{SHARE}')"
            ),
            &said(
                "annotation prorata.dev/gpu-share PLACE is a share of one GPU in thousandths, from 1m to 500m, as in \
                 \"250m\": for more, ask for a whole one in the containers' limits",
            ),
        ),
        validation(
            format!(
                "!variables.shareChanges || {now}[?'{GPU_MEMORY}'].orValue('1Mi').matches('{MEMORY}')"
            ),
            &said(
                "annotation prorata.dev/gpu-memory PLACE is memory of one GPU in Mi or Gi, as in \"8Gi\"",
            ),
        ),
    ]
}

/// What MPS is to let a pod have, by annotation: what it asks for, and nothing that is not understood.
pub(super) fn mps() -> Variable {
    let share = format!("variables.annotations[?'{GPU_SHARE}'].orValue('')");
    let memory = format!("variables.annotations[?'{GPU_MEMORY}'].orValue('')");
    let milli = format!("int({share}.replace('m', ''))");
    let mib = format!(
        "int({memory}.substring(0, size({memory}) - 2)) * ({memory}.endsWith('Gi') ? 1024 : 1)"
    );
    variable(
        "mps",
        format!(
            "!variables.slot ? {{}} : {{\n  \
             ?'{MPS_THREADS}': {share}.matches('{SHARE}') ? optional.of({milli} < 10 ? '1' : string({milli} / 10)) : optional.none(),\n  \
             ?'{MPS_MEMORY}': {memory}.matches('{MEMORY}') ? optional.of('0=' + string({mib}) + 'M') : optional.none(),\n  \
             '{MPS_PRIORITY}': object.spec.?priority.orValue(0) < 0 ? '1' : '0'}}"
        ),
    )
}

/// Whether `k`, one of our annotations, says what MPS is told anyway.
pub(super) const IS_CAP: &str =
    "(k in variables.mps && variables.new && variables.annotations[k] == variables.mps[k])";

/// Whether the pod has a slot, or asks for one.
fn has_slot(spec: &str, object: &str, holder: &str, gpu_resource: &str) -> String {
    format!(
        "{spec}.containers.exists(c,\n  {}) ||\n{}",
        names_slot(gpu_resource),
        says(&cel::annotations(object, holder)),
    )
}

/// Whether the pod has anything else than whole GPUs, or asks for it.
pub(super) fn has_parts(spec: &str, holder: &str, gpu_resource: &str) -> String {
    let is_part = format!(
        "k == '{}' || k.startsWith('{}')",
        resources::slots(gpu_resource),
        resources::INSTANCES
    );
    format!(
        "({spec}.containers + {spec}.?initContainers.orValue([])).exists(c,\n  \
         c.?resources.?limits.orValue({{}}).exists(k, {is_part}) ||\n  \
         c.?resources.?requests.orValue({{}}).exists(k, {is_part})) ||\n{}",
        says(&cel::annotations("object", holder)),
    )
}

/// Whether the container `c` names a slot.
fn names_slot(gpu_resource: &str) -> String {
    let slots = resources::slots(gpu_resource);
    format!(
        "'{slots}' in c.?resources.?limits.orValue({{}}) ||\n  \
         '{slots}' in c.?resources.?requests.orValue({{}})"
    )
}

/// The first container of the pod spec at `spec` that names a slot, by its place from 0; -1 where
/// none does.
fn at(spec: &str, gpu_resource: &str) -> String {
    format!(
        "{spec}.containers.map(c,\n  {}).indexOf(true)",
        names_slot(gpu_resource)
    )
}

/// A list of texts.
fn list(texts: [&str; 3]) -> String {
    format!("['{}']", texts.join("', '"))
}

/// A map of texts.
fn map(entries: [(&str, &str); 3]) -> String {
    let entries = entries.map(|(key, value)| format!("'{key}': '{value}'"));
    format!("{{{}}}", entries.join(", "))
}
