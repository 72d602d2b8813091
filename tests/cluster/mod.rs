//! A real control plane with exactly what `prorata install` prints, for tests of the live shell.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub(crate) mod controller;
pub(crate) mod requests;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use prorata::api::QueuedJob;
use prorata_controlplane::{Binaries, ControlPlane, Options, User};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A control plane and those who speak to it.
pub(crate) struct Cluster {
    /// The programs.
    pub(crate) plane: ControlPlane,
    /// May do everything.
    pub(crate) admin: Client,
    /// May write Jobs, pods and QueuedJobs in every namespace, as a user of one may there.
    pub(crate) alice: Client,
    /// Our controller, under the role that we install.
    pub(crate) controller: Client,
}

impl Cluster {
    /// Starts one, without anything of ours; `None` when there is nothing to start.
    pub(crate) async fn start(options: Options) -> Option<Self> {
        let plane = ControlPlane::start_or_skip(options).await?;
        let cluster = Self {
            admin: plane.client(User::Admin),
            alice: plane.client(User::Alice),
            controller: plane.client(User::Controller),
            plane,
        };
        cluster.let_alice_work().await;
        Some(cluster)
    }

    /// Applies what `prorata install` prints, and waits until every policy is in force.
    pub(crate) async fn install(&self) -> Duration {
        let clock = Instant::now();
        self.apply(&prorata(&["install"]));
        self.until_in_force().await;
        clock.elapsed()
    }

    /// Waits until every policy is in force.
    pub(crate) async fn until_in_force(&self) {
        self.namespace("prorata-probe", Some("probe")).await;
        let refused = |error: Option<String>| error.is_some_and(|e| e.contains("denied request"));
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut marked = pod("probe", 1);
        let ours = ("internal.prorata.dev/probe".to_owned(), String::new());
        marked.metadata.annotations = Some([ours].into());
        while !(self.job_waits().await
            && self.pod_waits().await
            && refused(self.error_of(&marked).await)
            && refused(self.error_of(&queued_job("probe", "probe", 1)).await))
        {
            assert!(
                Instant::now() < deadline,
                "the policies are not in force after 30 s"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// `kubectl apply` by an administrator.
    pub(crate) fn apply(&self, manifests: &str) -> String {
        let mut kubectl = self
            .plane
            .kubectl(User::Admin)
            .args(["apply", "--filename", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl can be started");
        kubectl
            .stdin
            .take()
            .unwrap()
            .write_all(manifests.as_bytes())
            .unwrap();
        let output = kubectl.wait_with_output().unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "kubectl apply: {err}");
        format!("{out}{err}")
    }

    /// kubectl as nobody in particular.
    pub(crate) fn kubectl_alone(&self) -> Command {
        Binaries::find_or_build().unwrap().kubectl()
    }

    /// Creates a namespace, of a tenant or of none.
    pub(crate) async fn namespace(&self, name: &str, tenant: Option<&str>) {
        let labels = tenant.map_or(json!({}), |tenant| json!({ "prorata.dev/tenant": tenant }));
        let namespace: Namespace = from(json!({ "metadata": { "name": name, "labels": labels } }));
        let api: Api<Namespace> = Api::all(self.admin.clone());
        api.create(&PostParams::default(), &namespace)
            .await
            .unwrap();
    }

    /// Has a node say whether it is ready, as its kubelet or Kubernetes' node-lifecycle controller would.
    pub(crate) async fn set_ready(&self, node: &str, ready: &str) {
        let nodes: Api<Node> = Api::all(self.admin.clone());
        let condition = json!({ "type": "Ready", "status": ready, "reason": "Test" });
        let status = Patch::Strategic(json!({ "status": { "conditions": [condition] } }));
        let params = PatchParams::default();
        nodes.patch_status(node, &params, &status).await.unwrap();
    }

    async fn let_alice_work(&self) {
        let verbs = [
            "get", "list", "watch", "create", "update", "patch", "delete",
        ];
        let role: ClusterRole = from(json!({
            "metadata": { "name": "team" },
            "rules": [{
                "apiGroups": ["", "batch", "prorata.dev"],
                "resources": ["jobs", "jobs/status", "pods", "queuedjobs"],
                "verbs": verbs,
            }],
        }));
        let binding: ClusterRoleBinding = from(json!({
            "metadata": { "name": "team" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "team" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": User::Alice.name() }],
        }));
        let (roles, bindings): (Api<ClusterRole>, Api<ClusterRoleBinding>) =
            (Api::all(self.admin.clone()), Api::all(self.admin.clone()));
        roles.create(&PostParams::default(), &role).await.unwrap();
        bindings
            .create(&PostParams::default(), &binding)
            .await
            .unwrap();
    }

    async fn job_waits(&self) -> bool {
        let api: Api<Job> = Api::namespaced(self.alice.clone(), "prorata-probe");
        // Refused while only the validating policies are in force.
        let stored = api.create(&dry_run(), &job("probe", 1)).await;
        stored.is_ok_and(|job| job.spec.unwrap().suspend == Some(true))
    }

    async fn pod_waits(&self) -> bool {
        let api: Api<Pod> = Api::namespaced(self.alice.clone(), "prorata-probe");
        let stored = api.create(&dry_run(), &pod("probe", 1)).await;
        stored.is_ok_and(|pod| pod.spec.unwrap().scheduling_gates.is_some())
    }

    async fn error_of<R>(&self, object: &R) -> Option<String>
    where
        R: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Serialize,
        R: DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<R> = Api::namespaced(self.alice.clone(), "prorata-probe");
        api.create(&dry_run(), object)
            .await
            .err()
            .map(|error| error.to_string())
    }
}

/// What our own binary prints.
pub(crate) fn prorata(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_prorata"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A Job as a user writes one, of one pod with so many GPUs; with none it does not name them.
pub(crate) fn job(name: &str, gpus: u32) -> Job {
    from(json!({
        "metadata": { "name": name },
        "spec": { "template": { "spec": pod_spec(gpus) } },
    }))
}

/// A bare pod with so many GPUs.
pub(crate) fn pod(name: &str, gpus: u32) -> Pod {
    from(json!({ "metadata": { "name": name }, "spec": pod_spec(gpus) }))
}

/// A `QueuedJob` as the controller writes one.
pub(crate) fn queued_job(name: &str, uid: &str, epoch: i64) -> QueuedJob {
    from(json!({
        "apiVersion": "prorata.dev/v1alpha1",
        "kind": "QueuedJob",
        "metadata": {
            "name": name,
            "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": true }],
        },
        "spec": {
            "job": { "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid },
            "tenant": "red", "priority": 0, "gang": 1, "gpus": "1",
            "requests": { "nvidia.com/gpu": "1" },
            "admission": { "epoch": epoch, "placement": [{ "node": "a", "devices": [0] }] },
        },
    }))
}

/// The typed object of a manifest.
pub(crate) fn from<R: DeserializeOwned>(manifest: Value) -> R {
    serde_json::from_value(manifest).unwrap()
}

fn pod_spec(gpus: u32) -> Value {
    let limits = if gpus == 0 {
        json!({})
    } else {
        json!({ "nvidia.com/gpu": gpus.to_string() })
    };
    json!({
        "restartPolicy": "Never",
        "containers": [{ "name": "main", "image": "none", "resources": { "limits": limits } }],
    })
}

fn dry_run() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}
