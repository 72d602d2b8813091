//! Names that Prorata gives meaning to: labels, annotations, users and resources.
//!
//! Whoever may write a name decides: an administrator owns a namespace and its labels, and only the
//! admission policies and the controller the annotations under [`INTERNAL_PREFIX`].

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Label of a namespace; its value is the name of the tenant that owns the namespace. A label of
/// this name on a pod or Job means nothing.
pub const TENANT: &str = "prorata.dev/tenant";

/// Label of a namespace and of what the controller keeps in it: the Tenant that has it as an
/// environment. [`TENANT`] then names the child that the environment is.
pub const TEAM: &str = "prorata.dev/team";

/// Label beside [`TEAM`]: the name of the environment.
pub const ENVIRONMENT: &str = "prorata.dev/environment";

/// Label of such a namespace: who pays for it.
pub const COST_CENTER: &str = "prorata.dev/cost-center";

/// Label of such a namespace: where its team belongs.
pub const DEPARTMENT: &str = "prorata.dev/department";

/// Label of such a namespace: the rules under which its data are kept.
pub const COMPLIANCE: &str = "prorata.dev/compliance";

/// Label of such a namespace, `"true"` where the file systems of its containers are read-only.
pub const READ_ONLY_ROOT: &str = "prorata.dev/read-only-root";

/// Label of such a namespace: the RuntimeClass of its pods.
pub const RUNTIME_CLASS: &str = "prorata.dev/runtime-class";

/// Label of whatever the controller keeps for a Tenant; the value is [`MANAGER`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Who keeps it, and the field manager of those writes.
pub const MANAGER: &str = "prorata";

/// Annotation of what the controller keeps: the fingerprint of what it last wrote there.
pub const PLAN: &str = "internal.prorata.dev/plan";

/// Prefix of what only the admission policies and the controller may write.
pub const INTERNAL_PREFIX: &str = "internal.prorata.dev/";

/// Annotation of an admission policy: the resource of whole GPUs that it looks for.
pub const POLICY_RESOURCE: &str = "internal.prorata.dev/gpu-resource";

/// Label that Kubernetes gives the pods of a Job, and knows them by: the Job's UID.
pub const JOB_UID: &str = "batch.kubernetes.io/controller-uid";

/// Prefix of the labels by which Kubeflow's operators know the pods that they make.
pub const KUBEFLOW_PREFIX: &str = "training.kubeflow.org/";

/// Annotation of a Job, `"true"` while its user holds it.
pub const HELD: &str = "internal.prorata.dev/held";

/// Annotation of a Job: the epoch of the admission that released it.
pub const EPOCH: &str = "internal.prorata.dev/epoch";

/// Annotation of a Job or pod in the queue: the name of the user who created it.
pub const CREATED_BY: &str = "internal.prorata.dev/created-by";

/// Scheduling gate of a pod that waits in the queue. In the template of a Job it says that the
/// Job's pods wait, and not the Job.
pub const GATE: &str = "prorata.dev/queue";

/// Annotation of a Job: `none` when each of its pods may start alone, or how many must start
/// together for the others to follow one by one. Of a pod: the name of the gang that it starts with.
pub const GANG: &str = "prorata.dev/gang";

/// Annotation of a pod that names a gang: how many pods that has.
pub const GANG_SIZE: &str = "prorata.dev/gang-size";

/// Annotation of a pod without a controller, `"true"` where its user lets it be evicted although
/// nobody makes it anew.
pub const PREEMPTIBLE: &str = "prorata.dev/preemptible";

/// Annotation of a Job: it ends by then, as in `1h30m`, so it may fill a gap before a reservation.
pub const MAX_DURATION: &str = "prorata.dev/max-duration";

/// Annotation of a Job: when it last saved its work, in RFC 3339. What it did before is not lost
/// when it is evicted.
pub const CHECKPOINTED_AT: &str = "prorata.dev/checkpointed-at";

/// Annotation of a Job: the PriorityClass by which the queue orders it, instead of the one that its
/// pod template names. Unlike that one it can be changed.
pub const PRIORITY_CLASS: &str = "prorata.dev/priority-class";

/// Annotation of a pod: the share of one GPU that it asks for, in thousandths: `250m`.
pub const GPU_SHARE: &str = "prorata.dev/gpu-share";

/// Annotation of a pod: the memory of one GPU that it asks for: `8Gi`.
pub const GPU_MEMORY: &str = "prorata.dev/gpu-memory";

/// Annotation of a pod: what kind of work it is, as a table of measured pairs calls it.
pub const WORK: &str = "prorata.dev/work";

/// Annotation of a pod that shares a GPU: the percentage of the card's processors that MPS lets it
/// use at most.
pub const MPS_THREADS: &str = "internal.prorata.dev/mps-threads";

/// Annotation of such a pod: the memory that MPS lets it have at most, as in `0=8192M`.
pub const MPS_MEMORY: &str = "internal.prorata.dev/mps-memory";

/// Annotation of such a pod: 0, or 1 where its PriorityClass is below normal.
pub const MPS_PRIORITY: &str = "internal.prorata.dev/mps-priority";

/// Label of a node: how many GPUs it has.
pub const GPU_COUNT: &str = "nvidia.com/gpu.count";

/// Label of a node: the memory of each GPU, in MiB.
pub const GPU_MIB: &str = "nvidia.com/gpu.memory";

/// Label of a node: into how many slots each GPU is split.
pub const GPU_REPLICAS: &str = "nvidia.com/gpu.replicas";

/// Label of a node: how its slots are shared, `time-slicing` or `mps`; `none` where they are not.
pub const SHARING_STRATEGY: &str = "nvidia.com/gpu.sharing-strategy";

/// Label of a node: the configuration of NVIDIA's device plugin that is in force there.
pub const PLUGIN_CONFIG: &str = "nvidia.com/device-plugin.config";

/// Label of a node: the configuration of NVIDIA's MIG manager that is to be in force there.
pub const MIG_CONFIG: &str = "nvidia.com/mig.config";

/// Label of a node: the model of its GPUs, as NVIDIA's feature discovery names it.
pub const GPU_MODEL: &str = "nvidia.com/gpu.product";

/// Label of a node: the pool that it is of. Also the key of the taint of a pool that a Tenant has
/// alone, and a label of that Tenant's namespaces.
pub const NODE_POOL: &str = prorata_core::pool::LABEL;

/// Namespace of our own objects.
pub const NAMESPACE: &str = "prorata-system";

/// Name of the ConfigMap that says which PriorityClasses each tenant may use.
pub const CLASSES: &str = "prorata-priority-classes";

/// Name of the ConfigMap that says which node pools there are for one tenant alone.
pub const POOLS: &str = "prorata-node-pools";

/// Name of the controller's service account and of its role.
pub const CONTROLLER: &str = "prorata-controller";

/// The controller as the API server sees it.
pub const CONTROLLER_USER: &str = "system:serviceaccount:prorata-system:prorata-controller";

/// Namespace of the agents on GPU nodes.
pub const AGENT_NAMESPACE: &str = "prorata-agent";

/// Name of the agents' service account and of its role.
pub const AGENT: &str = "prorata-agent";

/// For whom the token is by which agents know the controller.
pub const AGENT_AUDIENCE: &str = "prorata-agent";

/// An agent as the API server sees it.
pub const AGENT_USER: &str = "system:serviceaccount:prorata-agent:prorata-agent";

/// The resource that NVIDIA's device plugin offers; the default of what we manage.
pub const GPU_RESOURCE: &str = "nvidia.com/gpu";

/// Metadata of an object of ours in the cluster.
#[must_use]
pub fn metadata(name: &str) -> ObjectMeta {
    let common = [
        ("app.kubernetes.io/name", "prorata"),
        ("app.kubernetes.io/part-of", "prorata"),
    ];
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(
            common
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        ),
        ..Default::default()
    }
}
