//! A control plane with two nodes of four GPUs, two tenants, and our own binary as its users run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use prorata_controlplane::{Kubelet, KubeletOptions, Options, Process, User, nodes};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::cluster::controller::Site;
use crate::cluster::requests::create;

const PATIENCE: Duration = Duration::from_secs(60);

/// Two tenants; red owns half of the cluster.
const TENANTS: &str = "
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: red}
spec: {guaranteed: {gpu: 4}}
---
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: blue}
spec: {limit: {gpu: 6}}
";

/// All that runs, but our controller.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) kubelet: Kubelet,
    site: Site,
}

/// What our binary did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    pub(crate) async fn start() -> Option<Self> {
        let cluster = Cluster::start(Options::default()).await?;
        let site = Site::prepare(&cluster.plane);
        // What is asked here of the order must not depend on who is evicted meanwhile.
        let config =
            std::fs::read_to_string(&site.config).unwrap() + "preemption: {minRuntime: 1h}\n";
        std::fs::write(&site.config, config).unwrap();
        let kubelet = Kubelet::start(cluster.admin.clone(), KubeletOptions::default());
        Some(Self {
            cluster,
            kubelet,
            site,
        })
    }

    /// Installs what we install, makes nodes, tenants and namespaces, and starts our controller.
    pub(crate) async fn install(&mut self) -> Process {
        self.cluster.install().await;
        self.cluster.apply(TENANTS);
        self.cluster.namespace("red", Some("red")).await;
        self.cluster.namespace("blue", Some("blue")).await;
        let shape = nodes::Shape {
            gpus: 4,
            ..nodes::Shape::default()
        };
        nodes::create(&self.cluster.admin, 2, &shape).await.unwrap();
        let config = self.site.scheduler_config().clone();
        self.cluster.plane.start_scheduler(&config).await.unwrap();
        self.site.start(&self.cluster.plane).await
    }

    /// Our binary as an administrator runs it.
    pub(crate) async fn admin(&self, line: &str) -> Ran {
        self.run(User::Admin, line).await
    }

    /// Our binary as a member of a team runs it, who sees the jobs of every namespace, and neither
    /// tenants nor nodes.
    pub(crate) async fn alice(&self, line: &str) -> Ran {
        self.run(User::Alice, line).await
    }

    async fn run(&self, user: User, line: &str) -> Ran {
        let line = format!("{line} --kubeconfig {}", self.kubeconfig(user).display());
        run(&line, "").await
    }

    pub(crate) fn kubeconfig(&self, user: User) -> &Path {
        self.cluster.plane.kubeconfig(user)
    }

    /// A file in the directory of the control plane.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.cluster.plane.directory().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn jobs(&self, namespace: &str) -> Api<Job> {
        Api::namespaced(self.cluster.alice.clone(), namespace)
    }

    /// Creates a Job of so many pods with so many GPUs each.
    pub(crate) async fn submit(&self, namespace: &str, name: &str, pods: u32, gpus: u32) {
        create(&self.jobs(namespace), &gang(name, pods, gpus)).await;
    }

    /// The job of this name as `list -o json` shows it.
    pub(crate) async fn listed(&self, namespace: &str, name: &str) -> Option<Value> {
        let list = "list -o json --state waiting,admitted,held,finished";
        let all = self.admin(&format!("{list} -n {namespace}")).await.json();
        let mut all = all.as_array().unwrap().clone().into_iter();
        all.find(|entry| entry["name"] == name)
    }

    /// Deletes every Job of a namespace, and waits until the queue has forgotten them.
    pub(crate) async fn clear(&self, namespace: &str) {
        let (delete, all) = (DeleteParams::background(), ListParams::default());
        let admin = &self.cluster.admin;
        let jobs: Api<Job> = Api::namespaced(admin.clone(), namespace);
        jobs.delete_collection(&delete, &all).await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        let pods: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(self.cluster.admin.clone(), namespace);
        loop {
            let line =
                format!("list -o name -n {namespace} --state waiting,admitted,held,finished");
            let listed = self.admin(&line).await;
            let gone = pods.list(&all).await.unwrap().items.is_empty();
            if listed.out.is_empty() && gone {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "jobs of {namespace} are still there"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a field of a job, as `list -o json` shows it, has this value.
    pub(crate) async fn until_field(
        &self,
        namespace: &str,
        name: &str,
        field: &str,
        value: &Value,
    ) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let entry = self.listed(namespace, name).await;
            if entry.as_ref().is_some_and(|entry| entry[field] == *value) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{field} of {namespace}/{name}: {entry:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the controller says that a tenant holds so much.
    pub(crate) async fn until_share(&self, tenant: &str, milli_gpus: &Value) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = self.admin("share -o json").await.json();
            let mut all = all.as_array().unwrap().iter();
            let found = all
                .find(|holding| holding["tenant"] == *tenant)
                .unwrap()
                .clone();
            if found["heldMilliGpus"] == *milli_gpus && found["borrowedMilliGpus"].is_number() {
                return;
            }
            assert!(Instant::now() < deadline, "{found}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a job stands so.
    pub(crate) async fn until(&self, namespace: &str, name: &str, standing: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let entry = self.listed(namespace, name).await;
            let stands = entry.as_ref().is_some_and(|entry| {
                [&entry["state"], &entry["reason"]]
                    .iter()
                    .any(|it| **it == *standing)
            });
            if stands {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{namespace}/{name} is not {standing}: {entry:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Ran {
    /// It did what it was asked to, and what it printed.
    pub(crate) fn good(&self) -> &str {
        assert_eq!(self.code, 0, "{self:?}");
        &self.out
    }

    /// It failed with this exit code, printed nothing, and said this.
    pub(crate) fn failed(&self, code: i32, because: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        assert!(self.err.contains(because), "wanted `{because}`: {self:?}");
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.good()).unwrap()
    }
}

/// Runs our binary with these arguments and this input.
pub(crate) async fn run(line: &str, input: &str) -> Ran {
    let (line, input) = (line.to_owned(), input.to_owned());
    let ran = tokio::task::spawn_blocking(move || blocking(&line, &input));
    let output = ran.await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

fn blocking(line: &str, input: &str) -> Output {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut command = Command::new(env!("CARGO_BIN_EXE_prorata"));
    command
        .args(line.split_whitespace())
        .env_remove("KUBECONFIG")
        .env("HOME", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// A Job of so many pods with so many GPUs each.
pub(crate) fn gang(name: &str, pods: u32, gpus: u32) -> Job {
    let mut job = crate::cluster::job(name, gpus);
    let spec = job.spec.as_mut().unwrap();
    let pods = i32::try_from(pods).unwrap();
    (spec.parallelism, spec.completions) = (Some(pods), Some(pods));
    job
}
