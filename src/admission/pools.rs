//! Nodes that are set apart for one tenant: its pods go there alone, and nobody else's do. The core
//! sees to that for jobs with GPUs; these policies do for every pod.

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, MutatingAdmissionPolicy, ParamKind, ValidatingAdmissionPolicy,
};

use super::isolation::{extend, looks_up, trusted};
use super::{all, condition, mutating_policy, requests, validating_policy, validation, variable};
use crate::api::GROUP;
use crate::api::labels::NODE_POOL;

/// Name of the policy that sends the pods of a tenant with a pool there.
pub(super) const SENT: &str = "prorata-pods-pooled";
/// Name of the policy by which they go nowhere else.
pub(super) const HELD: &str = "prorata-pools-held";
/// Name of the policy by which nobody else goes there.
pub(super) const CLOSED: &str = "prorata-pools-closed";
/// Name of the policy by which a pool has one tenant, whose parameters are the Tenants.
pub(super) const CLAIMED: &str = "prorata-pools-claimed";

/// The specs of pods, and of the pods of Jobs: what those would be refused for is told at once.
const SPEC: &str =
    "request.resource.resource == 'pods' ? dyn(object).spec : dyn(object).spec.template.spec";

/// Pods and Jobs as they are created.
fn work() -> MatchResources {
    let mut constraints = requests("", &["v1"], &["pods"], &["CREATE"]);
    let jobs = requests("batch", &["v1"], &["jobs"], &["CREATE"]);
    extend(&mut constraints, jobs);
    constraints
}

/// The pool of the namespace.
fn own_pool() -> String {
    format!("namespaceObject.metadata.?labels[?'{NODE_POOL}'].orValue('')")
}

/// The label of the nodes that a pod spec selects.
fn selected(spec: &str) -> String {
    format!("{spec}.?nodeSelector[?'{NODE_POOL}']")
}

/// A new pod selects the nodes of its pool and tolerates their taint, whoever made it.
pub(super) fn send() -> MutatingAdmissionPolicy {
    let pool = own_pool();
    let pointer = NODE_POOL.replace('/', "~1");
    let selects = selected("object.spec");
    let patch = format!(
        "(has(object.spec.nodeSelector) ? [] : [JSONPatch{{op: 'add', path: '/spec/nodeSelector', value: {{}}}}]) +\n\
         ({selects}.hasValue() ? [] :\n  \
         [JSONPatch{{op: 'add', path: '/spec/nodeSelector/{pointer}', value: {pool}}}]) +\n\
         (has(object.spec.tolerations) ? [] : [JSONPatch{{op: 'add', path: '/spec/tolerations', value: []}}]) +\n\
         [JSONPatch{{op: 'add', path: '/spec/tolerations/-', value: {{'key': '{NODE_POOL}', 'operator': 'Equal', 'value': {pool}}}}}]"
    );
    let pods = requests("", &["v1"], &["pods"], &["CREATE"]);
    mutating_policy(SENT, pods, Vec::new(), patch)
}

/// Nothing leads a pod out of its pool. Here nobody is trusted: an administrator who wants a pod
/// elsewhere creates it in another namespace.
pub(super) fn hold() -> ValidatingAdmissionPolicy {
    validating_policy(
        HELD,
        work(),
        Vec::new(),
        vec![
            variable("spec", SPEC),
            variable("pool", own_pool()),
            variable("isPod", "request.resource.resource == 'pods'"),
        ],
        vec![
            validation(
                format!(
                    "{}.orValue(variables.isPod ? '' : variables.pool) == variables.pool",
                    selected("variables.spec")
                ),
                "the work of this tenant runs on the nodes of its pool alone: remove prorata.dev/node-pool from \
                 nodeSelector",
            ),
            validation(
                "!has(variables.spec.nodeName)",
                "the work of this tenant runs on the nodes of its pool alone: remove nodeName; to narrow the choice, \
                 use nodeSelector",
            ),
        ],
    )
}

/// Nobody else selects the nodes of a pool, tolerates their taint, or names a node past it. The
/// parameter is the ConfigMap in which the controller says which pools there are.
pub(super) fn close() -> ValidatingAdmissionPolicy {
    let mut constraints = work();
    // What a pod tolerates can be added to for as long as it is there.
    extend(
        &mut constraints,
        requests("", &["v1"], &["pods"], &["UPDATE"]),
    );
    let changes = |field: &str| {
        format!(
            "dyn(object).spec.?{field}.orValue(null) != dyn(oldObject).spec.?{field}.orValue(null)"
        )
    };
    let is_new = format!(
        "request.operation == 'CREATE' ||\n{} ||\n{} ||\n{}",
        changes("tolerations"),
        changes("nodeSelector"),
        changes("affinity"),
    );
    let reaches = |spec: &str| {
        format!(
            "(has({spec}.nodeSelector) && {selects}.hasValue()) ||\n\
             (has({spec}.tolerations) && {spec}.tolerations.exists(t, !has(t.key) || t.key in ['', '{NODE_POOL}'])) ||\n\
             (has({spec}.affinity) &&\n{affinity}.exists(t, t.?matchExpressions.orValue([]).exists(e, e.key == '{NODE_POOL}'))) ||\n\
             (request.operation == 'CREATE' && has({spec}.nodeName))",
            selects = selected(spec),
            affinity = terms(spec),
        )
    };
    let reaches = format!(
        "request.resource.resource == 'pods'\n  ? {}\n  : {}",
        reaches("dyn(object).spec"),
        reaches("dyn(object).spec.template.spec"),
    );
    let mut policy = validating_policy(
        CLOSED,
        constraints,
        vec![all("reaches-for-a-pool", &[&is_new, &reaches])],
        vec![
            variable("spec", SPEC),
            variable(
                "pools",
                format!(
                    "params.?data.orValue({{}}).map(pool, pool).filter(pool, pool != {})",
                    own_pool()
                ),
            ),
            trusted(),
        ],
        closed(),
    );
    looks_up(&mut policy);
    policy
}

fn closed() -> Vec<k8s_openapi::api::admissionregistration::v1::Validation> {
    let tolerates = format!(
        "t.?key.orValue('') == '' ||\n  \
         (t.key == '{NODE_POOL}' && (t.?operator.orValue('Equal') != 'Equal' || t.?value.orValue('') in variables.pools))"
    );
    // What excludes values reaches for none.
    let reaches = format!(
        "e.key == '{NODE_POOL}' && (e.operator == 'In' ? e.?values.orValue([]).exists(v, v in variables.pools) :\n  \
         e.operator != 'NotIn' && e.operator != 'DoesNotExist')"
    );
    vec![
        validation(
            format!(
                "variables.pools.size() == 0 || !variables.spec.?tolerations.orValue([]).exists(t,\n  {tolerates}) ||\nvariables.trusted"
            ),
            "the nodes of a pool are for one tenant alone: name the keys of the taints that this tolerates, and not \
             prorata.dev/node-pool",
        ),
        validation(
            format!(
                "variables.pools.size() == 0 || (!({}.orValue('') in variables.pools) &&\n!{}.exists(t,\n  \
                 t.?matchExpressions.orValue([]).exists(e,\n  {reaches}))) ||\nvariables.trusted",
                selected("variables.spec"),
                terms("variables.spec")
            ),
            "the nodes of a pool are for one tenant alone: remove prorata.dev/node-pool from nodeSelector and affinity",
        ),
        validation(
            "variables.pools.size() == 0 || request.operation != 'CREATE' || !has(variables.spec.nodeName) || variables.trusted",
            "the nodes of a pool are for one tenant alone, and nodeName would pass their taint: remove it; to narrow \
             the choice, use nodeSelector",
        ),
    ]
}

/// The terms of the node affinity that a pod spec requires.
fn terms(spec: &str) -> String {
    format!(
        "{spec}.?affinity.?nodeAffinity.?requiredDuringSchedulingIgnoredDuringExecution.?nodeSelectorTerms.orValue([])"
    )
}

/// A pool has one tenant, and those right below it. Where two are told at the same moment, the core
/// gives the pool to neither.
pub(super) fn claim() -> ValidatingAdmissionPolicy {
    let pool = |object: &str| format!("{object}.spec.?compliance.?nodePool.orValue('')");
    let tenants = requests(GROUP, &["v1alpha1"], &["tenants"], &["CREATE", "UPDATE"]);
    let mut policy = validating_policy(
        CLAIMED,
        tenants,
        vec![condition(
            "claims-a-pool",
            format!(
                "{new} != '' && (oldObject == null || {old} != {new} ||\n\
                 oldObject.spec.?parent.orValue('') != object.spec.?parent.orValue(''))",
                new = pool("object"),
                old = pool("oldObject")
            ),
        )],
        Vec::new(),
        vec![validation(
            format!(
                "{} != {} ||\n\
                 params.metadata.name in [object.metadata.name, object.spec.?parent.orValue('')] ||\n\
                 params.spec.?parent.orValue('') == object.metadata.name",
                pool("params"),
                pool("object")
            ),
            "another Tenant has the nodes of this pool alone: name another in spec.compliance.nodePool",
        )],
    );
    by_tenant(&mut policy);
    // Until the API server has read all Tenants it would refuse each, and the core has the last word.
    if let Some(spec) = &mut policy.spec {
        spec.failure_policy = Some("Ignore".to_owned());
    }
    policy
}

/// Each Tenant is a parameter of the policy.
fn by_tenant(policy: &mut ValidatingAdmissionPolicy) {
    if let Some(spec) = &mut policy.spec {
        spec.param_kind = Some(ParamKind {
            api_version: Some(format!("{GROUP}/v1alpha1")),
            kind: Some("Tenant".to_owned()),
        });
    }
}
