//! Two tenants on two nodes: `red`, whose user is hostile, and `blue`, who must not feel it.

use std::fmt::Debug;
use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use prorata::api::{QueuedJob, State, Tenant};
use prorata_controlplane::{Kubelet, KubeletOptions, Options, Process, nodes};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Row, row};
use crate::cluster::controller::Site;
use crate::cluster::requests::{create, eventually, message};
use crate::cluster::{Cluster, from};

/// The cluster, the queue that runs in it, and who is in it.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    _kubelet: Kubelet,
    pub(crate) controller: Process,
    /// Of blue, before the next attempt.
    before: Mutex<Option<Victim>>,
}

/// What blue has: if any of it moves, an attack has succeeded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Victim {
    running: Vec<String>,
    used: Option<String>,
    waiting: Vec<String>,
}

/// Budgets are heeded for a while, and so that a test can wait for it.
const PATIENCE: &str = "preemption: {victimTimeout: 20s}\n";

const TENANTS: &str = "\
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: red}
spec: {priorityClasses: [normal]}
---
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: blue}
spec: {}
---
apiVersion: v1
kind: Namespace
metadata: {name: blue, labels: {prorata.dev/tenant: blue}}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: normal}
value: 0
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: urgent}
value: 1000000
";

impl World {
    /// red holds one of two nodes and blue most of the other; each has a Job that waits for a whole one.
    pub(crate) async fn start() -> Option<Self> {
        let mut options = Options::default();
        // It fills in the role `admin`.
        options
            .controllers
            .push("clusterrole-aggregation-controller".to_owned());
        let makers = ["deployment-controller", "replicaset-controller"];
        options.controllers.extend(makers.map(str::to_owned));
        let mut cluster = Cluster::start(options).await?;
        cluster.install().await;
        only_her_own_namespace(&cluster).await;
        cluster.apply(TENANTS);
        nodes::create(&cluster.admin, 2, &nodes::Shape::default())
            .await
            .unwrap();
        let site = Site::prepare_with(&cluster.plane, PATIENCE);
        let config = site.scheduler_config().clone();
        cluster.plane.start_scheduler(&config).await.unwrap();
        let kubelet = Kubelet::start(cluster.admin.clone(), KubeletOptions::default());
        let controller = site.start(&cluster.plane).await;
        let world = Self {
            cluster,
            _kubelet: kubelet,
            controller,
            before: Mutex::default(),
        };
        for (tenant, gpus) in [("blue", 6), ("red", 8)] {
            create(&world.admins::<Job>(tenant), &job("runs", gpus)).await;
            eventually("it runs", || async {
                world.running(tenant).await.len() == 1
            })
            .await;
        }
        for tenant in ["blue", "red"] {
            create(&world.admins::<Job>(tenant), &job("waits", 8)).await;
            eventually("it waits", || async {
                world.waiting(tenant).await == ["waits"]
            })
            .await;
        }
        eventually("blue's use is shown", || async {
            world.used("blue").await.as_deref() == Some("6")
        })
        .await;
        world.remember().await;
        Some(world)
    }

    /// Objects in red's namespace, as red's user reaches them.
    pub(crate) fn hers<R>(&self) -> Api<R>
    where
        R: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.user().clone(), "red")
    }

    /// Objects in a namespace, as an administrator reaches them.
    pub(crate) fn admins<R>(&self, namespace: &str) -> Api<R>
    where
        R: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.cluster.admin.clone(), namespace)
    }

    /// red's user.
    pub(crate) fn user(&self) -> &Client {
        &self.cluster.alice
    }

    /// What came of an attempt, by which blue has lost nothing.
    pub(crate) async fn row(&self, attack: &str, observed: impl Into<String>) -> Row {
        self.assert_unharmed(attack).await;
        row(attack, observed)
    }

    /// Creates an object as red's user, is refused, and has harmed nobody.
    pub(crate) async fn refuses<R>(&self, attack: &str, manifest: Value) -> Row
    where
        R: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        R: Clone + Serialize + DeserializeOwned + Debug,
    {
        self.row(attack, self.refused::<R>(manifest).await).await
    }

    /// Blue has what it had before, also when whoever decides has had its time.
    pub(crate) async fn assert_unharmed_later(&self, after: &str) {
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.assert_unharmed(after).await;
    }

    async fn assert_unharmed(&self, after: &str) {
        let now = Some(self.victim().await);
        assert_eq!(now, *self.before.lock().unwrap(), "after {after}");
    }

    /// From now on blue is to have what it has now.
    pub(crate) async fn remember(&self) {
        let now = self.victim().await;
        *self.before.lock().unwrap() = Some(now);
    }

    /// What blue has.
    pub(crate) async fn victim(&self) -> Victim {
        Victim {
            running: self.running("blue").await,
            used: self.used("blue").await,
            waiting: self.waiting("blue").await,
        }
    }

    /// The UIDs of a tenant's running pods.
    pub(crate) async fn running(&self, namespace: &str) -> Vec<String> {
        let pods = self
            .admins::<Pod>(namespace)
            .list(&ListParams::default())
            .await
            .unwrap();
        let runs =
            |pod: &Pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running");
        let mut uids: Vec<String> = pods
            .iter()
            .filter(|pod| runs(pod))
            .filter_map(ResourceExt::uid)
            .collect();
        uids.sort();
        uids
    }

    /// What a tenant is shown to use, in GPUs.
    pub(crate) async fn used(&self, tenant: &str) -> Option<String> {
        let tenants: Api<Tenant> = Api::all(self.cluster.admin.clone());
        let status = tenants.get(tenant).await.unwrap().status?;
        status.used.get("gpu").cloned()
    }

    /// The jobs of a tenant that wait.
    pub(crate) async fn waiting(&self, namespace: &str) -> Vec<String> {
        let faces = self.faces(namespace).await;
        let waits =
            |face: &&QueuedJob| face.status.as_ref().and_then(|s| s.state) == Some(State::Waiting);
        let mut names: Vec<String> = faces
            .iter()
            .filter(waits)
            .map(|face| face.spec.job.name.clone())
            .collect();
        names.sort();
        names
    }

    /// The records of a namespace.
    pub(crate) async fn faces(&self, namespace: &str) -> Vec<QueuedJob> {
        let faces = self.admins::<QueuedJob>(namespace);
        faces.list(&ListParams::default()).await.unwrap().items
    }

    /// Creates an object as red's user, and is refused.
    pub(crate) async fn refused<R>(&self, manifest: Value) -> String
    where
        R: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        R: Clone + Serialize + DeserializeOwned + Debug,
    {
        let object: R = from(manifest);
        refusal(
            self.hers::<R>()
                .create(&PostParams::default(), &object)
                .await,
        )
    }

    /// Merges a change as red's user, and is refused.
    pub(crate) async fn refused_change<R>(&self, name: &str, change: Value) -> String
    where
        R: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        R: Clone + DeserializeOwned + Debug,
    {
        let (params, patch) = (PatchParams::default(), Patch::Merge(change));
        refusal(self.hers::<R>().patch(name, &params, &patch).await)
    }

    /// Gives red's user one more right in her namespace.
    pub(crate) async fn grant(&self, resource: &str, verb: &str) {
        let name = resource.replace('/', "-");
        let rules = json!([{ "apiGroups": [""], "resources": [resource], "verbs": [verb] }]);
        let role: Role = from(json!({ "metadata": { "name": name }, "rules": rules }));
        create(&self.admins::<Role>("red"), &role).await;
        let binding: RoleBinding = from(json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice" }],
        }));
        create(&self.admins::<RoleBinding>("red"), &binding).await;
    }

    /// Takes that right back.
    pub(crate) async fn take_back(&self, resource: &str) {
        let name = resource.replace('/', "-");
        self.remove::<RoleBinding>(&name).await;
        self.remove::<Role>(&name).await;
    }

    /// Removes what an attack was allowed to create.
    pub(crate) async fn remove<R>(&self, name: &str)
    where
        R: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        R: Clone + DeserializeOwned + Debug,
    {
        let api = self.admins::<R>("red");
        api.delete(name, &DeleteParams::background()).await.unwrap();
        eventually("it is gone", || async {
            api.get_opt(name).await.unwrap().is_none()
        })
        .await;
    }
}

/// What the API server says to an attempt that it must not let pass.
pub(crate) fn refusal<T: Debug>(result: kube::Result<T>) -> String {
    let error = result.expect_err("an attack succeeded");
    let text = message(&error);
    let said = text
        .rsplit_once("denied request: ")
        .map_or(text.as_str(), |(_, said)| said);
    format!("refused: {}", said.trim().replace('|', "\\|"))
}

/// A Job of one pod with so many GPUs.
pub(crate) fn job(name: &str, gpus: u32) -> Job {
    from(job_manifest(name, gpus))
}

pub(crate) fn job_manifest(name: &str, gpus: u32) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": { "backoffLimit": 0, "template": { "spec": pod_spec(gpus) } },
    })
}

pub(crate) fn pod_manifest(name: &str, gpus: u32) -> Value {
    json!({ "metadata": { "name": name }, "spec": pod_spec(gpus) })
}

fn pod_spec(gpus: u32) -> Value {
    let limits = match gpus {
        0 => json!({}),
        _ => json!({ "nvidia.com/gpu": gpus.to_string() }),
    };
    json!({
        "restartPolicy": "Never",
        "containers": [{ "name": "main", "image": "none", "resources": { "limits": limits } }],
    })
}

/// Takes the rights of other tests from the user, and makes her the administrator of one namespace.
async fn only_her_own_namespace(cluster: &Cluster) {
    let (roles, bindings): (Api<ClusterRole>, Api<ClusterRoleBinding>) = (
        Api::all(cluster.admin.clone()),
        Api::all(cluster.admin.clone()),
    );
    bindings
        .delete("team", &DeleteParams::default())
        .await
        .unwrap();
    roles
        .delete("team", &DeleteParams::default())
        .await
        .unwrap();
    cluster.namespace("red", Some("red")).await;
    let binding: RoleBinding = from(json!({
        "metadata": { "name": "admin" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice" }],
    }));
    let here: Api<RoleBinding> = Api::namespaced(cluster.admin.clone(), "red");
    create(&here, &binding).await;
    let hers: Api<Pod> = Api::namespaced(cluster.alice.clone(), "red");
    eventually("she may work", || async {
        hers.list(&ListParams::default()).await.is_ok()
    })
    .await;
    let elsewhere: Api<Pod> = Api::namespaced(cluster.alice.clone(), "default");
    eventually("and nowhere else", || async {
        elsewhere.list(&ListParams::default()).await.is_err()
    })
    .await;
}
