//! What reaches other tenants without asking for a GPU, or would keep one for ever: device
//! variables, PriorityClasses before which others give way, and grace periods without an end.

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, NamedRuleWithOperations, ParamKind, ValidatingAdmissionPolicy, Variable,
};

use super::{cel, condition, requests, validating_policy, validation, variable};
use crate::api::labels::{self, CREATED_BY};

/// Name of the policy that has a parameter.
pub(super) const PRIORITIES: &str = "prorata-priorities";

/// Name of the policy that holds the controller to the pods of its queue.
pub(super) const DELETES: &str = "prorata-controller-deletes";

/// Longest grace period of a pod with GPUs, in seconds: so long a preemptor waits for a victim.
const GRACE_SECONDS_MAX: u32 = 900;

const POD: &str = "object.spec";
const TEMPLATE: &str = "object.spec.template.spec";

/// The variable by which NVIDIA's runtime hands out cards that nobody asked for, with a value that
/// hands out some.
const NAMES_DEVICES: &str = "c.?env.orValue([]).exists(e,\n  \
    e.name == 'NVIDIA_VISIBLE_DEVICES' && !(e.?value.orValue('?') in ['', 'none', 'void']))";

/// The pods of a tenant, and containers that are added to them later.
pub(super) fn pods(gpu_resource: &str) -> ValidatingAdmissionPolicy {
    let mut constraints = requests("", &["v1"], &["pods"], &["CREATE"]);
    let later = requests("", &["v1"], &["pods/ephemeralcontainers"], &["UPDATE"]);
    extend(&mut constraints, later);
    guard("prorata-pods-isolated", constraints, POD, gpu_resource)
}

/// The Jobs of a tenant: what their pods would be refused for is told at once.
pub(super) fn jobs(gpu_resource: &str) -> ValidatingAdmissionPolicy {
    let constraints = requests("batch", &["v1"], &["jobs"], &["CREATE"]);
    guard("prorata-jobs-isolated", constraints, TEMPLATE, gpu_resource)
}

fn guard(
    name: &str,
    constraints: MatchResources,
    spec: &str,
    gpu_resource: &str,
) -> ValidatingAdmissionPolicy {
    let containers = format!("({spec}.containers + {spec}.?initContainers.orValue([]))");
    let later = format!("{spec}.?ephemeralContainers.orValue([])");
    let names_devices =
        format!("({containers}.exists(c, {NAMES_DEVICES}) ||\n{later}.exists(c, {NAMES_DEVICES}))");
    let stays = format!("{spec}.?terminationGracePeriodSeconds.orValue(30) > {GRACE_SECONDS_MAX}");
    validating_policy(
        name,
        constraints,
        // What concerns nobody costs one expression.
        vec![condition(
            "names-devices-or-stays-long",
            format!("{stays} ||\n{names_devices}"),
        )],
        vec![trusted()],
        vec![
            validation(
                format!("!{names_devices} || variables.trusted"),
                "NVIDIA_VISIBLE_DEVICES would take GPUs past the queue: remove it, and ask for GPUs in the \
                 containers' limits",
            ),
            validation(
                format!(
                    "!({stays}) ||\n!{} || variables.trusted",
                    cel::asks_for_gpus(spec, gpu_resource)
                ),
                "GPUs must be free for others within 15 minutes: set terminationGracePeriodSeconds to 900 or less",
            ),
        ],
    )
}

/// A pod that is deleted goes within the same time, whatever its deletion says.
pub(super) fn deletions() -> ValidatingAdmissionPolicy {
    let mut constraints = requests("", &["v1"], &["pods"], &["DELETE"]);
    let evictions = requests("", &["v1"], &["pods/eviction"], &["CREATE"]);
    extend(&mut constraints, evictions);
    let grace = "request.operation == 'DELETE'\n  \
        ? dyn(request).?options.?gracePeriodSeconds.orValue(0)\n  \
        : dyn(object).?deleteOptions.?gracePeriodSeconds.orValue(0)";
    validating_policy(
        "prorata-pods-deleted",
        constraints,
        vec![condition(
            "with-a-grace-period-of-its-own",
            format!("({grace}) > {GRACE_SECONDS_MAX}"),
        )],
        vec![trusted()],
        vec![validation(
            "variables.trusted",
            "GPUs must be free for others within 15 minutes: delete with a grace period of 900 seconds or less",
        )],
    )
}

/// The controller deletes pods that came into the queue by themselves, once their place is another's and
/// a PodDisruptionBudget has kept them for long enough; those of a tenant that run on with GPUs when what they
/// are of is over, and may deny that by now; and no other pod, wherever it is.
pub(super) fn deletes(gpu_resource: &str) -> ValidatingAdmissionPolicy {
    let is_queued = format!("'{CREATED_BY}' in oldObject.metadata.?annotations.orValue({{}})");
    let is_tenants = format!(
        "'{}' in namespaceObject.metadata.?labels.orValue({{}})",
        labels::TENANT
    );
    let asks = cel::asks_for_gpus("oldObject.spec", gpu_resource);
    validating_policy(
        DELETES,
        requests("", &["v1"], &["pods"], &["DELETE"]),
        vec![condition("by-the-controller", cel::by_controller())],
        Vec::new(),
        vec![validation(
            format!("{is_queued} ||\n({is_tenants} &&\n({asks}))"),
            "Prorata deletes no pod but those that wait in its queue by themselves, and those of a tenant with GPUs",
        )],
    )
}

/// kube-scheduler evicts pods of lower priority for any pod, so a class of its own choice would give
/// a tenant the room of all others. The parameter is the ConfigMap in which the controller says which
/// are whose.
pub(super) fn priorities() -> ValidatingAdmissionPolicy {
    let mut constraints = requests("", &["v1"], &["pods"], &["CREATE"]);
    extend(
        &mut constraints,
        requests("batch", &["v1"], &["jobs"], &["CREATE"]),
    );
    let class = "request.resource.resource == 'pods'\n  \
        ? dyn(object).spec.?priorityClassName.orValue('')\n  \
        : dyn(object).spec.template.spec.?priorityClassName.orValue('')";
    let tenant = format!(
        "namespaceObject.metadata.?labels[?'{}'].orValue('')",
        labels::TENANT
    );
    let mut policy = validating_policy(
        PRIORITIES,
        constraints,
        vec![condition("names-a-class", format!("({class}) != ''"))],
        vec![
            variable("class", class),
            variable("its", format!("params.?data[?({tenant})]")),
            trusted(),
        ],
        vec![validation(
            "(variables.its.hasValue() ? variables.class in variables.its.value().split(',') : !variables.class.startsWith('system-')) ||\n\
             variables.trusted",
            "this PriorityClass is not the tenant's to use: name one of spec.priorityClasses of its Tenant, or none",
        )],
    );
    looks_up(&mut policy);
    policy
}

/// The parameter of a policy is a ConfigMap in which the controller tells what it knows of Tenants.
pub(super) fn looks_up(policy: &mut ValidatingAdmissionPolicy) {
    if let Some(spec) = &mut policy.spec {
        spec.param_kind = Some(ParamKind {
            api_version: Some("v1".to_owned()),
            kind: Some("ConfigMap".to_owned()),
        });
    }
}

pub(super) fn trusted() -> Variable {
    variable("trusted", cel::trusted())
}

pub(super) fn extend(constraints: &mut MatchResources, more: MatchResources) {
    let more: Vec<NamedRuleWithOperations> = more.resource_rules.unwrap_or_default();
    constraints
        .resource_rules
        .get_or_insert_default()
        .extend(more);
}
