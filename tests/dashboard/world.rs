//! A control plane, our controller with its dashboard, two tenants, and people with tokens.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kube::{Client, Config};
use prorata_controlplane::{Kubelet, KubeletOptions, Options, Process, User, nodes};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;

use crate::cluster::controller::{Site, free_address};
use crate::cluster::requests::{create, eventually};
use crate::cluster::{Cluster, job, prorata};

/// Two tenants, one of which has a name that is more than a name.
const TENANTS: &str = "
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: red}
spec: {guaranteed: {gpu: 4}, budget: {monthly: 1000000, currency: EUR}, displayName: \"<script>window.hostile = 1</script>\", owner: \"'\\\"><img src=x onerror=window.hostile=1>\"}
---
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: blue}
spec: {budget: {monthly: 77777, currency: EUR}}
";

const PRICES: &str = "
apiVersion: config.prorata.dev/v1alpha1
kind: Prices
currency: EUR
prices: [{model: T4, hourly: 3600}]
";

/// A member of red, somebody of the platform, and somebody without any right.
const PEOPLE: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: member, namespace: red}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: platform, namespace: default}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: stranger, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: viewers, namespace: red}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: prorata-view}
subjects: [{kind: ServiceAccount, name: member, namespace: red}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: platform}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: prorata-view}
subjects: [{kind: ServiceAccount, name: platform, namespace: default}]
";

/// All of it.
pub(crate) struct World {
    cluster: Cluster,
    _kubelet: Kubelet,
    _controller: Process,
    address: SocketAddr,
    _directory: TempDir,
}

/// `prorata dashboard`, and where it is.
pub(crate) struct Ran {
    pub(crate) url: String,
    command: Child,
}

impl World {
    /// Two nodes of four GPUs: `runs` holds all eight, one Job of red and one of blue wait.
    pub(crate) async fn start() -> Option<Self> {
        let cluster = Cluster::start(Options::default()).await?;
        cluster.install().await;
        cluster.apply(&prorata(&["install", "dashboard"]));
        cluster.apply(TENANTS);
        cluster.namespace("red", Some("red")).await;
        cluster.namespace("blue", Some("blue")).await;
        cluster.apply(PEOPLE);
        let shape = nodes::Shape {
            gpus: 4,
            labels: [("nvidia.com/gpu.product".to_owned(), "T4".to_owned())].into(),
            ..nodes::Shape::default()
        };
        nodes::create(&cluster.admin, 2, &shape).await.unwrap();
        let address = free_address();
        let authority = cluster.plane.authority();
        let server = authority.issue_server("dashboard", &["127.0.0.1"]).unwrap();
        let directory = TempDir::new().unwrap();
        let place = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(place("prices.yaml"), PRICES).unwrap();
        let more = format!(
            "ledger: {{url: \"sqlite://{}\", heartbeat: 1s}}\n\
             budgets: {{prices: {}, every: 1s}}\n\
             dashboard:\n  address: {address}\n  cluster: a test\n  tls: {{certFile: {}, keyFile: {}}}\n\
             preemption: {{enabled: false}}\nbindingTimeout: 1h\n",
            place("ledger.db"),
            place("prices.yaml"),
            server.certificate.display(),
            server.key.display(),
        );
        let site = Site::prepare_with(&cluster.plane, &more);
        let kubelet = Kubelet::start(cluster.admin.clone(), KubeletOptions::default());
        let controller = site.start(&cluster.plane).await;
        let world = Self {
            cluster,
            _kubelet: kubelet,
            _controller: controller,
            address,
            _directory: directory,
        };
        world.fill().await;
        Some(world)
    }

    async fn fill(&self) {
        for (space, name, gpus) in [("red", "runs", 4), ("red", "runs-too", 4)] {
            self.submit(space, name, gpus).await;
            self.until(space, name, "Admitted").await;
        }
        self.submit("red", "waits", 2).await;
        self.submit("blue", "secret-project", 2).await;
        self.until("red", "waits", "CapacityFull").await;
        self.until("blue", "secret-project", "CapacityFull").await;
        let platform = self.token("default", "platform");
        eventually("the dashboard shows the queue", || async {
            let (code, html) = self.ask("/queue?state=Waiting", Some(&platform)).await;
            let rows = ["waits", "secret-project"]
                .iter()
                .all(|name| html.contains(name));
            code == 200 && rows && html.matches("CapacityFull</b>").count() == 2
        })
        .await;
    }

    async fn submit(&self, space: &str, name: &str, gpus: u32) {
        let jobs = kube::Api::namespaced(self.cluster.alice.clone(), space);
        create(&jobs, &job(name, gpus)).await;
    }

    async fn until(&self, space: &str, name: &str, standing: &str) {
        let what = format!("{space}/{name} is {standing}");
        eventually(&what, || async {
            let list = self.run(&["list", "-n", space, "--no-headers"]).await;
            let mut lines = list.lines();
            lines.any(|line| line.starts_with(&format!("{name} ")) && line.contains(standing))
        })
        .await;
    }

    /// What `prorata explain` says to an administrator.
    pub(crate) async fn explain(&self, name: &str, space: &str) -> String {
        self.run(&["explain", name, "-n", space]).await
    }

    async fn run(&self, arguments: &[&str]) -> String {
        let kubeconfig = self.cluster.plane.kubeconfig(User::Admin).to_str().unwrap();
        let line = [arguments, &["--kubeconfig", kubeconfig]].concat();
        let line: Vec<String> = line.into_iter().map(str::to_owned).collect();
        let ran = tokio::task::spawn_blocking(move || {
            prorata(&line.iter().map(String::as_str).collect::<Vec<_>>())
        });
        ran.await.unwrap()
    }

    /// Where the controller shows the dashboard.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// A token of a service account, from the API server itself.
    pub(crate) fn token(&self, space: &str, account: &str) -> String {
        let mut kubectl = self.cluster.plane.kubectl(User::Admin);
        let output = kubectl
            .args(["create", "token", account, "-n", space])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Takes away what the viewers of a namespace may do.
    pub(crate) fn revoke(&self, space: &str) {
        let mut kubectl = self.cluster.plane.kubectl(User::Admin);
        let output = kubectl
            .args(["delete", "rolebinding", "viewers", "-n", space])
            .output();
        assert!(output.unwrap().status.success());
    }

    /// Code and text of a page of the controller's.
    pub(crate) async fn ask(&self, path: &str, token: Option<&str>) -> (u16, String) {
        let authority = std::fs::read(self.cluster.plane.authority().certificate()).unwrap();
        let url = format!("{}{path}", self.url());
        get(&url, Some((token, &authority))).await
    }

    /// `prorata dashboard`, as Alice runs it.
    pub(crate) async fn command(&self) -> Ran {
        let kubeconfig = self.cluster.plane.kubeconfig(User::Alice);
        let mut command = Command::new(env!("CARGO_BIN_EXE_prorata"))
            .args(["dashboard", "--every", "1s", "--kubeconfig"])
            .arg(kubeconfig)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = command.stdout.take().unwrap();
        let url = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(printed).read_line(&mut line).unwrap();
            line.trim().to_owned()
        });
        let url = url.await.unwrap();
        assert!(url.starts_with("http://127.0.0.1:"), "{url}");
        Ran { url, command }
    }
}

/// Code and text of an answer, over TLS by a token where these are given.
pub(crate) async fn get(url: &str, safe: Option<(Option<&str>, &[u8])>) -> (u16, String) {
    let (base, path) = url.split_at(url.match_indices('/').nth(2).unwrap().0);
    let mut config = Config::new(base.parse().unwrap());
    if let Some((token, authority)) = safe {
        let authority = CertificateDer::from_pem_slice(authority).unwrap();
        config.root_cert = Some(vec![authority.to_vec()]);
        config.auth_info.token = token.map(|token| token.to_owned().into());
    }
    config.read_timeout = Some(Duration::from_secs(30));
    let client = Client::try_from(config).unwrap();
    let request = http::Request::get(path)
        .body(kube::client::Body::empty())
        .unwrap();
    let answer = client.send(request).await.unwrap();
    let (head, body) = answer.into_parts();
    let text = body.collect_bytes().await.unwrap();
    (
        head.status.as_u16(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

impl Ran {
    /// Ctrl-C; whether it ends well.
    pub(crate) fn interrupt(&mut self) -> bool {
        let pid = self.command.id().to_string();
        let told = Command::new("kill").args(["-INT", &pid]).status();
        assert!(told.unwrap().success());
        self.command.wait().unwrap().success()
    }
}

impl Drop for Ran {
    fn drop(&mut self) {
        let _ = self.command.kill();
        let _ = self.command.wait();
    }
}
