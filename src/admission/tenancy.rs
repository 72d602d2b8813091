//! What holds in the namespaces that the controller keeps for Tenants, and what holds the
//! controller to them.

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, MutatingAdmissionPolicy, ValidatingAdmissionPolicy,
};

use super::isolation::{extend, trusted};
use super::{cel, condition, mutating_policy, requests, validating_policy, validation, variable};
use crate::api::GROUP;
use crate::api::labels::{CREATED_BY, MANAGED_BY, MANAGER, READ_ONLY_ROOT, RUNTIME_CLASS, TEAM};
use crate::translate::KUBERNETES;

/// Name of the policy that holds the controller to what it keeps.
pub(super) const CONFINED: &str = "prorata-controller-confined";
/// Name of the policy that notes who created a Job.
pub(super) const STAMPED: &str = "prorata-jobs-stamped";
/// Name of the policy by which users leave each other's Jobs alone.
pub(super) const OWN_JOBS: &str = "prorata-jobs-owned";
/// Name of the policy about what a tenant's pods have to be.
pub(super) const HARDENED: &str = "prorata-pods-hardened";
/// Name of the policy about volumes.
pub(super) const VOLUMES: &str = "prorata-volumes";

/// The controller writes what carries its labels, and never takes over what does not: somebody
/// else's namespace, role binding or Tenant of the same name stays as it is.
pub(super) fn confine() -> ValidatingAdmissionPolicy {
    let operations = &["CREATE", "UPDATE", "DELETE"];
    let mut constraints = requests(
        "",
        &["v1"],
        &["namespaces", "resourcequotas", "limitranges"],
        operations,
    );
    for (group, version, resource) in [
        ("networking.k8s.io", "v1", "networkpolicies"),
        ("rbac.authorization.k8s.io", "v1", "rolebindings"),
        (GROUP, "v1alpha1", "tenants"),
    ] {
        extend(
            &mut constraints,
            requests(group, &[version], &[resource], operations),
        );
    }
    let labels = |object: &str| format!("{object}.metadata.?labels.orValue({{}})");
    let team = |object: &str| format!("{}[?'{TEAM}'].orValue('')", labels(object));
    let is_ours = |object: &str| {
        let labels = labels(object);
        format!(
            "({object} == null || ({labels}[?'{MANAGED_BY}'].orValue('') == '{MANAGER}' && {labels}[?'{TEAM}'].orValue('') != ''))"
        )
    };
    validating_policy(
        CONFINED,
        constraints,
        vec![condition("by-the-controller", cel::by_controller())],
        vec![variable(
            "team",
            team("(object == null ? oldObject : object)"),
        )],
        vec![
            validation(
                format!("{} && {}", is_ours("object"), is_ours("oldObject")),
                "this object is not Prorata's: rename it, or hand its namespace over by `prorata tenant adopt`",
            ),
            validation(
                format!(
                    "namespaceObject == null || {} == variables.team",
                    team("namespaceObject")
                ),
                "Prorata keeps objects of a Tenant in that Tenant's namespaces alone",
            ),
            validation(
                format!(
                    "object == null || oldObject == null || {} == variables.team",
                    team("oldObject")
                ),
                "this object is another Tenant's: name another namespace in spec.environments[].namespace, or call the \
                 environment otherwise",
            ),
            validation(
                "request.resource.resource != 'tenants' || object == null || object.spec.?parent.orValue('') == variables.team",
                "Prorata writes only Tenants that are environments of another",
            ),
        ],
    )
}

/// Whoever creates a Job is noted on it, whatever it asks for.
pub(super) fn stamp() -> MutatingAdmissionPolicy {
    let patch = format!(
        "{annotations} +\n[JSONPatch{{op: 'add', path: '{created_by}', value: request.userInfo.username}}]",
        annotations = cel::WITH_ANNOTATIONS,
        created_by = cel::pointer(CREATED_BY),
    );
    let jobs = requests("batch", &["v1"], &["jobs"], &["CREATE"]);
    mutating_policy(STAMPED, jobs, Vec::new(), patch)
}

/// Nobody changes and deletes Jobs but their own: no user, and no service account, wherever it is.
/// Kubernetes' own controllers do as they have to, and so does whoever has `manage` on the queue.
pub(super) fn own_jobs() -> ValidatingAdmissionPolicy {
    let user = "request.userInfo.username";
    let creator = format!(
        "{}[?'{CREATED_BY}'].orValue('')",
        "oldObject.metadata.?annotations.orValue({})"
    );
    validating_policy(
        OWN_JOBS,
        requests("batch", &["v1"], &["jobs"], &["UPDATE", "DELETE"]),
        vec![
            condition("of-somebody-else", format!("{creator} != {user}")),
            condition(
                "not-by-kubernetes-itself",
                format!(
                    "!{user}.startsWith('system:') ||\n\
                     ({user}.startsWith('system:serviceaccount:') && !{user}.startsWith('{KUBERNETES}'))"
                ),
            ),
        ],
        vec![trusted()],
        vec![validation(
            "authorizer.group('prorata.dev').resource('queuedjobs').namespace(request.namespace).check('manage').allowed() ||\n\
             variables.trusted",
            "this Job is somebody else's: ask whoever created it (annotation internal.prorata.dev/created-by), or an \
             admin of the tenant",
        )],
    )
}

/// What a Tenant says of its pods, as the labels of its namespaces repeat it: to ask every Tenant
/// at every pod would cost too much.
pub(super) fn hardened() -> ValidatingAdmissionPolicy {
    let mut constraints = requests("", &["v1"], &["pods"], &["CREATE"]);
    extend(
        &mut constraints,
        requests("batch", &["v1"], &["jobs"], &["CREATE"]),
    );
    let said = |label| format!("namespaceObject.metadata.?labels[?'{label}'].orValue('')");
    let spec =
        "request.resource.resource == 'pods' ? dyn(object).spec : dyn(object).spec.template.spec";
    let read_only = "c.?securityContext.?readOnlyRootFilesystem.orValue(false)";
    validating_policy(
        HARDENED,
        constraints,
        Vec::new(),
        vec![
            variable("spec", spec),
            variable(
                "readOnlyRoot",
                format!("{} == 'true'", said(READ_ONLY_ROOT)),
            ),
            variable("runtimeClass", said(RUNTIME_CLASS)),
            trusted(),
        ],
        vec![
            validation(
                format!(
                    "!variables.readOnlyRoot ||\n\
                     (variables.spec.containers + variables.spec.?initContainers.orValue([])).all(c, {read_only}) ||\n\
                     variables.trusted"
                ),
                "this tenant's containers have a read-only root: set securityContext.readOnlyRootFilesystem of each to \
                 true, and mount a volume where it writes",
            ),
            validation(
                "variables.runtimeClass == '' ||\n\
                 variables.spec.?runtimeClassName.orValue('') == variables.runtimeClass ||\n\
                 variables.trusted",
                "this tenant's pods run under one RuntimeClass: set runtimeClassName to spec.security.runtimeClass of its \
                 Tenant",
            ),
        ],
    )
}

/// A claim that names its volume could take one that another tenant has given back. Kubernetes lets
/// the name be set once by an update too, which is how it binds a claim itself.
pub(super) fn volumes() -> ValidatingAdmissionPolicy {
    let claims: MatchResources = requests(
        "",
        &["v1"],
        &["persistentvolumeclaims"],
        &["CREATE", "UPDATE"],
    );
    let volume = |object: &str| format!("{object}.spec.?volumeName.orValue('')");
    let (new, old) = (volume("object"), volume("oldObject"));
    validating_policy(
        VOLUMES,
        claims,
        vec![condition(
            "names-its-volume",
            format!("{new} != '' && (oldObject == null || {old} != {new})"),
        )],
        vec![trusted()],
        vec![validation(
            "request.userInfo.username in ['system:serviceaccount:kube-system:persistent-volume-binder', \
             'system:kube-controller-manager'] ||\nvariables.trusted",
            "which volume a claim gets is not a tenant's to choose: remove volumeName, and name a storageClassName",
        )],
    )
}
