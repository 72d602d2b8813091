//! A cluster with our controller, and people who are nobody until a Tenant names them.

use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::DynamicObject;
use kube::{Client, Config};
use prorata::api::labels::CONTROLLER_USER;
use prorata::api::{QueuedJob, State, Tenant};
use prorata::tenancy::Kind;
use prorata_controlplane::{Kubelet, KubeletOptions, Options, Process, User, nodes};
use serde_json::{Value, json};

use crate::cluster::controller::{Site, get};
use crate::cluster::requests::eventually;
use crate::cluster::{Cluster, from};

/// The cluster, and the queue that runs in it.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    _kubelet: Kubelet,
    site: Site,
    controller: Process,
}

impl World {
    /// Four nodes of eight GPUs, and no Tenant.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with("").await
    }

    /// The same with more lines of configuration for our controller.
    pub(crate) async fn start_with(configuration: &str) -> Option<Self> {
        let options = Options {
            audit: true,
            ..Options::default()
        };
        let mut cluster = Cluster::start(options).await?;
        cluster.install().await;
        nodes::create(&cluster.admin, 4, &nodes::Shape::default())
            .await
            .unwrap();
        let site = Site::prepare_with(&cluster.plane, configuration);
        let config = site.scheduler_config().clone();
        cluster.plane.start_scheduler(&config).await.unwrap();
        let kubelet = Kubelet::start(cluster.admin.clone(), KubeletOptions::default());
        let controller = site.start(&cluster.plane).await;
        Some(Self {
            cluster,
            _kubelet: kubelet,
            site,
            controller,
        })
    }

    /// Ends the controller, and starts another, which knows nothing of what the first has seen.
    pub(crate) async fn restart(&mut self) {
        self.controller.kill().unwrap();
        self.controller = self.site.start(&self.cluster.plane).await;
        let health = self.site.health;
        eventually("it leads", || async move {
            let metrics = tokio::task::spawn_blocking(move || get(health, "/metrics"));
            let metrics = metrics.await.unwrap().unwrap_or_default();
            metrics.lines().any(|line| line == "prorata_leader 1")
        })
        .await;
    }

    /// A client of somebody who has no rights but those that a Tenant gives.
    pub(crate) async fn client(&self, user: &str) -> Client {
        let file = Kubeconfig::read_from(self.cluster.plane.kubeconfig(User::Admin)).unwrap();
        let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .unwrap();
        config.auth_info.impersonate = Some(user.to_owned());
        Client::try_from(config).unwrap()
    }

    /// Objects of a kind, as an administrator reaches them.
    pub(crate) fn objects(&self, kind: Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        let client = self.cluster.admin.clone();
        match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &kind.resource()),
            None => Api::all_with(client, &kind.resource()),
        }
    }

    /// What a Tenant's condition says, once it is about the Tenant as it is now.
    pub(crate) async fn provisioned(&self, tenant: &str) -> Option<(bool, String)> {
        let api: Api<Tenant> = Api::all(self.cluster.admin.clone());
        let tenant = api.get(tenant).await.unwrap();
        let status = tenant.status?;
        let shown = status
            .conditions
            .into_iter()
            .find(|shown| shown.type_ == "Provisioned")?;
        let is_current = shown.observed_generation == tenant.metadata.generation;
        is_current.then(|| (shown.status == "True", shown.message))
    }

    /// How many requests to write what a Tenant wants the controller has made so far.
    pub(crate) fn writes(&self, team: &str) -> usize {
        let kept = Kind::ALL.map(|kind| kind.resource().plural);
        let asked = self.asked_to_write().into_iter();
        let is_about = |about: &Value| {
            kept.iter().any(|resource| about["resource"] == **resource)
                && about["subresource"].is_null()
                && [&about["namespace"], &about["name"]]
                    .iter()
                    .any(|text| text.as_str().is_some_and(|text| text.contains(team)))
        };
        asked.filter(is_about).count()
    }

    /// What the controller has asked to write so far, in order.
    pub(crate) fn asked_to_write(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(self.cluster.plane.audit_log()).unwrap();
        let about = |line: &str| {
            let mut request: Value = serde_json::from_str(line).unwrap();
            let is_write = ["create", "update", "patch", "delete"]
                .iter()
                .any(|verb| request["verb"] == *verb);
            let is_ours = request["user"]["username"] == CONTROLLER_USER;
            (is_write && is_ours).then(|| request["objectRef"].take())
        };
        // The last line may not be written to its end.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole.lines().filter_map(about).collect()
    }

    /// Where a Job stands in the queue.
    pub(crate) async fn state(&self, namespace: &str, job: &str) -> Option<State> {
        let faces: Api<QueuedJob> = Api::namespaced(self.cluster.admin.clone(), namespace);
        let faces = faces.list(&ListParams::default()).await.unwrap();
        let face = faces.into_iter().find(|face| face.spec.job.name == job)?;
        face.status?.state
    }

    /// Waits until all that a Tenant wants is there.
    pub(crate) async fn until_provisioned(&self, tenant: &str) {
        eventually("all is there that the Tenant wants", || async {
            self.provisioned(tenant).await.is_some_and(|(all, _)| all)
        })
        .await;
    }
}

/// A Tenant with one user of its own, `NAME-user`, and the rest of the spec.
pub(crate) fn tenant(name: &str, gpus: u32, rest: &Value) -> Value {
    let mut spec = json!({
        "guaranteed": { "gpu": gpus },
        "environments": [{ "name": "dev" }, { "name": "staging" }, { "name": "prod" }],
        "members": {
            "admins": [{ "user": format!("{name}-admin") }],
            "users": [{ "user": format!("{name}-user") }, { "user": format!("{name}-other") }],
            "viewers": [{ "user": format!("{name}-viewer") }],
        },
    });
    for (key, value) in rest.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({ "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": name }, "spec": spec })
}

/// A Job of one pod with so many GPUs, as a user writes one.
pub(crate) fn job(name: &str, gpus: u32) -> Job {
    let limits = match gpus {
        0 => json!({}),
        _ => json!({ "nvidia.com/gpu": gpus.to_string() }),
    };
    let container = json!({ "name": "main", "image": "none", "resources": { "limits": limits } });
    from(json!({
        "metadata": { "name": name },
        "spec": { "template": { "spec": { "restartPolicy": "Never", "containers": [container] } } },
    }))
}

/// Creates a Job as soon as its user may, and waits until the queue has admitted it; it looks again
/// after each pause.
pub(crate) async fn first_job(client: &Client, admin: &Client, namespace: &str, pause: Duration) {
    let clock = Instant::now();
    let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
    let deadline = clock + Duration::from_secs(300);
    while let Err(error) = jobs.create(&PostParams::default(), &job("first", 1)).await {
        assert!(Instant::now() < deadline, "{namespace}: {error}");
        tokio::time::sleep(pause).await;
    }
    let faces: Api<QueuedJob> = Api::namespaced(admin.clone(), namespace);
    loop {
        let list = faces.list(&Default::default()).await.unwrap();
        let admitted =
            |face: &QueuedJob| face.status.as_ref().and_then(|s| s.state) == Some(State::Admitted);
        if list.iter().any(admitted) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{namespace}: the first Job is not admitted"
        );
        tokio::time::sleep(pause).await;
    }
}
