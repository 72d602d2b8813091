//! Operators of workloads: the JobSet project's own controller, and stand-ins for Kubeflow's that make
//! of an object what those make of it: pods of a PyTorchJob and its kin, a JobSet of a TrainJob.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch,
    PatchParams, PostParams,
};
use kube::{Client, ResourceExt};
use prorata::kinds::{COMPOSITES, Composite, Templates};
use prorata_controlplane::{JobSets, Process, User};
use serde_json::{Value, json};

use crate::cluster::from;
use crate::outage::world::{World, phase};

/// What operators may do; what users may, as the roles that the projects publish have it: of a
/// status they may read, and nothing more.
const RIGHTS: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: operators}
rules:
- {apiGroups: [batch], resources: [jobs, jobs/status], verbs: ['*']}
- {apiGroups: [''], resources: [pods, services, events], verbs: ['*']}
- {apiGroups: [events.k8s.io], resources: [events], verbs: ['*']}
- apiGroups: [jobset.x-k8s.io, kubeflow.org, trainer.kubeflow.org]
  resources: ['*']
  verbs: ['*']
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: training}
rules:
- apiGroups: [jobset.x-k8s.io, kubeflow.org, trainer.kubeflow.org]
  resources: [jobsets, pytorchjobs, tfjobs, xgboostjobs, paddlejobs, jaxjobs, mpijobs, trainjobs]
  verbs: [create, delete, get, list, patch, update, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: operators}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: operators}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: 'system:serviceaccount:operators:operator'}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: training}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: training}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}]
";

/// A kind as far as the queue knows it, with any other field, in each version of the table.
fn definition(kind: &Composite) -> String {
    let singular = kind.kind.to_lowercase();
    let same = COMPOSITES.iter();
    let same = same.filter(|other| (other.group(), other.kind) == (kind.group(), kind.kind));
    let versions: String = same
        .enumerate()
        .map(|(n, kind)| version(kind, n == 0))
        .collect();
    format!(
        "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {plural}.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: {kind}, plural: {plural}, singular: {singular}}}
  versions:
{versions}",
        plural = kind.plural,
        group = kind.group(),
        kind = kind.kind,
    )
}

fn version(kind: &Composite, is_stored: bool) -> String {
    format!(
        "  - name: {}
    served: true
    storage: {is_stored}
    subresources: {{status: {{}}}}
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
",
        kind.version()
    )
}

fn known(kind: &str) -> &'static Composite {
    COMPOSITES.iter().find(|known| known.kind == kind).unwrap()
}

/// The kinds that are here; of one with two versions the first.
fn kinds() -> impl Iterator<Item = &'static Composite> {
    COMPOSITES
        .iter()
        .filter(|kind| std::ptr::eq(known(kind.kind), *kind))
}

fn resource(known: &Composite) -> ApiResource {
    let gvk = GroupVersionKind::gvk(known.group(), known.version(), known.kind);
    ApiResource::from_gvk_with_plural(&gvk, known.plural)
}

/// Objects of a kind in a namespace, as this client sees them.
pub(crate) fn of(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    of_version(client, namespace, known(kind))
}

/// The same in any version of it.
pub(crate) fn of_version(client: &Client, namespace: &str, kind: &Composite) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource(kind))
}

/// An object of a kind with this spec.
pub(crate) fn object(kind: &str, name: &str, spec: &Value) -> DynamicObject {
    object_of_version(known(kind), name, spec)
}

/// The same in any version of it.
pub(crate) fn object_of_version(kind: &Composite, name: &str, spec: &Value) -> DynamicObject {
    from(json!({
        "apiVersion": kind.api_version, "kind": kind.kind,
        "metadata": {"name": name}, "spec": spec,
    }))
}

/// A reference to what controls something.
pub(crate) fn owner(object: &DynamicObject, kind: &str) -> Value {
    json!({
        "apiVersion": known(kind).api_version, "kind": kind, "controller": true,
        "name": object.name_any(), "uid": object.uid(),
    })
}

/// Operators that run until this is dropped.
pub(crate) struct Operators {
    pub(crate) job_sets: Process,
    kubeflow: tokio::task::JoinHandle<()>,
}

impl Drop for Operators {
    fn drop(&mut self) {
        self.kubeflow.abort();
    }
}

/// Installs the kinds, after everything else is there, and starts their operators.
pub(crate) async fn start(world: &World, job_sets: &JobSets) -> Operators {
    let mut kubectl = world.cluster.plane.kubectl(User::Admin);
    let output = kubectl.arg("create").arg("--filename");
    let output = output.arg(job_sets.definition()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let others = kinds().filter(|kind| kind.kind != "JobSet").map(definition);
    let others: Vec<String> = others.collect();
    world
        .cluster
        .apply(&format!("{}---\n{}", others.join("---\n"), RIGHTS));
    world
        .until("the kinds are served", async || {
            let mut all = true;
            for kind in &COMPOSITES {
                let api = of_version(&world.cluster.alice, "default", kind);
                all &= api.list(&ListParams::default()).await.is_ok();
            }
            all
        })
        .await;
    let client = world.cluster.plane.client(User::Operator);
    Operators {
        job_sets: job_sets
            .start(&world.cluster.plane, User::Operator)
            .unwrap(),
        kubeflow: tokio::spawn(operate(client)),
    }
}

/// Looks at everything again and again, as whoever missed an event would. Whatever fails is tried
/// again.
async fn operate(client: Client) {
    loop {
        for kind in kinds() {
            let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource(kind));
            for object in all.list(&ListParams::default()).await.into_iter().flatten() {
                let _ = match kind.templates {
                    Templates::Made => make_job_set(&client, &object).await,
                    Templates::Replicas(field) => make_pods(&client, kind, field, &object).await,
                    // The project's own operator is here.
                    Templates::Jobs(_) => Ok(()),
                };
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The pods of a PyTorchJob or its kin while it is not suspended, none otherwise.
async fn make_pods(
    client: &Client,
    kind: &Composite,
    field: &str,
    object: &DynamicObject,
) -> kube::Result<()> {
    let namespace = object.namespace().unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let suspended = object.data["spec"]["runPolicy"]["suspend"] == true;
    let over = object.data["status"]["conditions"]
        .as_array()
        .is_some_and(|all| {
            all.iter()
                .any(|c| c["type"] == "Succeeded" && c["status"] == "True")
        });
    let selector = ListParams::default().labels(&format!("operated-by={}", object.name_any()));
    let there = pods.list(&selector).await?.items;
    let (mut succeeded, mut wanted) = (0, 0);
    // Where there is a master, its end is that of all.
    let mut has_led = false;
    for (role, group) in object.data["spec"][field].as_object().unwrap() {
        for index in 0..group["replicas"].as_u64().unwrap_or(1) {
            let name = format!("{}-{}-{index}", object.name_any(), role.to_lowercase());
            wanted += 1;
            match there.iter().find(|pod| pod.name_any() == name) {
                Some(pod) if phase(pod) == "Succeeded" => {
                    succeeded += 1;
                    has_led |= role == "Master";
                }
                Some(_) => {}
                None if suspended || over => {}
                None => {
                    let mut pod = group["template"].clone();
                    pod["metadata"]["name"] = json!(name);
                    pod["metadata"]["labels"]["operated-by"] = json!(object.name_any());
                    pod["metadata"]["ownerReferences"] = json!([owner(object, kind.kind)]);
                    pods.create(&PostParams::default(), &from(pod)).await?;
                }
            }
        }
    }
    if suspended {
        for pod in &there {
            pods.delete(&pod.name_any(), &DeleteParams::default())
                .await?;
        }
    }
    let is_over = over || has_led || succeeded == wanted;
    let active = if is_over || suspended { 0 } else { there.len() };
    let status = json!({
        "conditions": [
            {"type": "Suspended", "status": if suspended { "True" } else { "False" }},
            {"type": "Succeeded", "status": if is_over { "True" } else { "False" }},
        ],
        "replicaStatuses": {"Worker": {"active": active}},
    });
    show(client, kind.kind, object, status).await
}

/// The JobSet of a TrainJob, suspended as that is.
async fn make_job_set(client: &Client, object: &DynamicObject) -> kube::Result<()> {
    let namespace = object.namespace().unwrap();
    let sets = of(client, &namespace, "JobSet");
    let suspended = object.data["spec"]["suspend"] == true;
    let made = match sets.get_opt(&object.name_any()).await? {
        Some(made) => made,
        None => {
            let mut set = self::object("JobSet", &object.name_any(), &object.data["spec"]["made"]);
            set.data["spec"]["suspend"] = json!(suspended);
            let owner = json!([owner(object, "TrainJob")]);
            set.metadata.owner_references = from(owner);
            sets.create(&PostParams::default(), &set).await?
        }
    };
    if (made.data["spec"]["suspend"] == true) != suspended {
        let change = Patch::Merge(json!({"spec": {"suspend": suspended}}));
        let params = PatchParams::default();
        sets.patch(&object.name_any(), &params, &change).await?;
    }
    let mut conditions = made.data["status"]["conditions"].clone();
    for condition in conditions.as_array_mut().into_iter().flatten() {
        if condition["type"] == "Completed" {
            condition["type"] = json!("Complete");
        }
    }
    show(
        client,
        "TrainJob",
        object,
        json!({"conditions": conditions}),
    )
    .await
}

async fn show(
    client: &Client,
    kind: &str,
    object: &DynamicObject,
    status: Value,
) -> kube::Result<()> {
    if object.data["status"] == status {
        return Ok(());
    }
    let api = of(client, &object.namespace().unwrap(), kind);
    let (params, change) = (
        PatchParams::default(),
        Patch::Merge(json!({"status": status})),
    );
    api.patch_status(&object.name_any(), &params, &change)
        .await
        .map(drop)
}
