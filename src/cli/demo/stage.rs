//! The cluster of the demo: what is real, what is played, and how it is looked at.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use kube::Client;
use kube::api::{Api, PostParams};
use prorata_controlplane::{
    ControlPlane, Kubelet, KubeletOptions, Options, Process, RUN_SECONDS, User, nodes,
};
use serde_json::json;

use super::arrivals::{Submission, TEAMS};
use super::scene::Scene;
use crate::api::{Tenant, labels};
use crate::cli::cluster::{Cluster, Scope};
use crate::cli::failure::{Failure, chain};
use crate::cli::queue::{self, Seen};
use crate::cli::shares::{Holding, tree};
use crate::install::{self, scheduler::SchedulerConfig};

/// GPUs of each node.
const GPUS: u32 = 8;

/// How long the API server may take until it goes by our policies.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(60);

/// Finished Jobs go after so many seconds, so that the queue shows what is alive.
const KEPT_SECONDS: i32 = 10;

/// The cluster. Dropping it ends every program, and removes every file.
pub(super) struct Stage {
    plane: ControlPlane,
    controller: Process,
    _kubelet: Kubelet,
    cluster: Cluster,
    capacity: u64,
}

impl Stage {
    /// Starts everything, and says on standard error how far it has come.
    pub(super) async fn set(count: u32) -> Result<Self, Failure> {
        tell("starting etcd, kube-apiserver and kube-controller-manager");
        let mut plane = ControlPlane::start(Options::default())
            .await
            .map_err(plane_failure)?;
        let client = plane.client(User::Admin);
        tell("installing Prorata: definitions, admission policies, roles");
        let config = SchedulerConfig::default();
        let manifests = install::render(&config).map_err(|error| Failure::new(chain(&error)))?;
        apply(&plane, &manifests)?;
        apply(&plane, &namespaces())?;
        in_force(&client).await?;
        apply(&plane, &tenants(count))?;
        tell(&format!(
            "making {count} nodes of {GPUS} GPUs, and starting kube-scheduler and the controller"
        ));
        let shape = nodes::Shape {
            gpus: GPUS,
            labels: [(labels::GPU_MODEL.to_owned(), "made-up".to_owned())].into(),
            ..nodes::Shape::default()
        };
        nodes::create(&client, count, &shape)
            .await
            .map_err(plane_failure)?;
        let kubelet = Kubelet::start(client.clone(), KubeletOptions::default());
        let site = Site::write(&plane)?;
        plane
            .start_scheduler(&site.scheduler)
            .await
            .map_err(plane_failure)?;
        Ok(Self {
            controller: site.controller(&plane)?,
            plane,
            _kubelet: kubelet,
            cluster: Cluster::new(client, TEAMS[0]),
            capacity: u64::from(count) * u64::from(GPUS) * 1000,
        })
    }

    /// What a newcomer can do with it.
    pub(super) fn introduction(&self) -> String {
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("prorata"));
        let program = program.display();
        format!(
            "A real control plane, made-up nodes, three teams. In another terminal:\n  \
             export KUBECONFIG={}\n  kubectl get queuedjobs -A\n  {program} list -A\n  {program} share\n  \
             {program} explain JOB -n TEAM\n",
            self.kubeconfig().display()
        )
    }

    /// An error, when a program has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        self.plane.check().map_err(plane_failure)?;
        self.controller.check().map_err(plane_failure)
    }

    /// What there is to see now.
    pub(super) async fn look(&self) -> Result<Scene, Failure> {
        let entries = queue::read(&self.cluster, &Scope::All).await?;
        let tenants: Vec<Tenant> = self.cluster.list_all().await?;
        let tenants = tenants.iter().map(Holding::of).collect();
        let seen = Seen {
            entries,
            is_all: true,
        };
        Ok(Scene {
            capacity: self.capacity,
            teams: tree(tenants, &seen, Some(self.capacity)),
            queue: seen.entries,
            now: k8s_openapi::jiff::Timestamp::now(),
            kubeconfig: self.kubeconfig().display().to_string(),
            ..Scene::default()
        })
    }

    /// Creates a Job as its team would.
    pub(super) async fn submit(&self, submission: &Submission) -> Result<(), Failure> {
        let api: Api<Job> = Api::namespaced(self.cluster.client().clone(), submission.team);
        let created = api.create(&PostParams::default(), &job(submission)?).await;
        created
            .map(drop)
            .map_err(|error| Failure::api("submit a job", error))
    }

    fn kubeconfig(&self) -> &Path {
        self.plane.kubeconfig(User::Admin)
    }
}

/// The files of kube-scheduler and the controller.
struct Site {
    config: PathBuf,
    scheduler: PathBuf,
}

impl Site {
    fn write(plane: &ControlPlane) -> Result<Self, Failure> {
        let (extender, health) = (free_address()?, free_address()?);
        let (directory, authority) = (plane.directory(), plane.authority());
        let server = authority
            .issue_server("extender", &["127.0.0.1", "localhost"])
            .map_err(plane_failure)?;
        let client = authority
            .issue_client("kube-scheduler")
            .map_err(plane_failure)?;
        let site = Self {
            config: directory.join("prorata.yaml"),
            scheduler: directory.join("kube-scheduler.yaml"),
        };
        let tls_dir = directory.join("scheduler-tls");
        let copy = |from: &Path, name: &str| fs::copy(from, tls_dir.join(name)).map(drop);
        fs::create_dir_all(&tls_dir)
            .and_then(|()| copy(&client.certificate, "tls.crt"))
            .and_then(|()| copy(&client.key, "tls.key"))
            .and_then(|()| copy(authority.certificate(), "ca.crt"))
            .map_err(|error| Failure::new(format!("certificates: {error}")))?;
        let text = json!({
            "apiVersion": crate::config::API_VERSION,
            "kind": crate::config::KIND,
            "extender": {
                "address": extender,
                "tls": {
                    "certFile": server.certificate,
                    "keyFile": server.key,
                    "clientCaFile": authority.certificate(),
                },
            },
            "health": {"address": health},
        });
        store(&site.config, &text.to_string())?;
        let config = SchedulerConfig {
            extender_url: format!("https://{extender}"),
            tls_dir,
            kubeconfig: plane.kubeconfig(User::Scheduler).to_owned(),
            leader_election: false,
            backoff_max: Some(Duration::from_secs(2)),
            ..SchedulerConfig::default()
        };
        let text = config
            .render()
            .map_err(|error| Failure::new(chain(&error)))?;
        store(&site.scheduler, &text)?;
        Ok(site)
    }

    /// This very program, in its other role.
    fn controller(&self, plane: &ControlPlane) -> Result<Process, Failure> {
        let program = std::env::current_exe();
        let program = program.map_err(|error| Failure::new(format!("this program: {error}")))?;
        let mut command = Command::new(program);
        command
            .arg("controller")
            .arg("--config")
            .arg(&self.config)
            .arg("--kubeconfig")
            .arg(plane.kubeconfig(User::Controller));
        Process::start("prorata-controller", command, plane.directory(), false)
            .map_err(plane_failure)
    }
}

fn store(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

fn free_address() -> Result<SocketAddr, Failure> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    address.map_err(|error| Failure::new(format!("no free port: {error}")))
}

fn tell(step: &str) {
    eprintln!("demo: {step}");
}

fn plane_failure(error: prorata_controlplane::Error) -> Failure {
    Failure::new(error.to_string())
}

fn apply(plane: &ControlPlane, manifests: &str) -> Result<(), Failure> {
    let mut kubectl = plane.kubectl(User::Admin);
    kubectl.args(["apply", "--filename", "-"]);
    kubectl
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let ran = kubectl.spawn().and_then(|mut child| {
        if let Some(mut input) = child.stdin.take() {
            input.write_all(manifests.as_bytes())?;
        }
        child.wait_with_output()
    });
    match ran {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Failure::new(format!(
            "kubectl apply: {}",
            String::from_utf8_lossy(&output.stderr)
        ))),
        Err(error) => Err(Failure::new(format!("kubectl: {error}"))),
    }
}

fn namespaces() -> String {
    let namespace = |team: &str| {
        format!(
            "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {team}, labels: {{{}: {team}}}}}\n",
            labels::TENANT
        )
    };
    TEAMS.map(namespace).concat()
}

/// Two teams own a quarter of the GPUs each, the third one owns none.
fn tenants(nodes: u32) -> String {
    let quarter = nodes * GPUS / 4;
    let tenant = |team: &str| {
        let spec = match team == TEAMS[2] {
            true => "{}".to_owned(),
            false => format!("{{guaranteed: {{gpu: {quarter}}}}}"),
        };
        format!(
            "---\napiVersion: prorata.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {team}}}\nspec: {spec}\n"
        )
    };
    TEAMS.map(tenant).concat()
}

/// Waits until a new Job would be queued.
async fn in_force(client: &Client) -> Result<(), Failure> {
    let api: Api<Job> = Api::namespaced(client.clone(), TEAMS[0]);
    let probe = job(&Submission {
        team: TEAMS[0],
        name: "probe".to_owned(),
        pods: 1,
        gpus: 1,
        seconds: 1,
    })?;
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let deadline = Instant::now() + IN_FORCE_WITHIN;
    loop {
        let stored = api.create(&dry_run, &probe).await;
        let suspended = |job: Job| job.spec.is_some_and(|spec| spec.suspend == Some(true));
        if stored.is_ok_and(suspended) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::new("the admission policies are not in force"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn job(submission: &Submission) -> Result<Job, Failure> {
    let limits = json!({ labels::GPU_RESOURCE: submission.gpus.to_string() });
    let job = json!({
        "metadata": {"name": submission.name},
        "spec": {
            "parallelism": submission.pods,
            "completions": submission.pods,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {
                "metadata": {"annotations": {RUN_SECONDS: submission.seconds.to_string()}},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "main", "image": "none", "resources": {"limits": limits}}],
                },
            },
        },
    });
    serde_json::from_value(job).map_err(|error| Failure::new(error.to_string()))
}
