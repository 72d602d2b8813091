//! The command line of each program.

use std::path::{Path, PathBuf};

use crate::authority::{Credentials, TokenKeys};
use crate::controlplane::Options;
use crate::ports::Ports;

/// Where everything that the command lines name is found.
pub(crate) struct Site {
    pub(crate) directory: PathBuf,
    pub(crate) ports: Ports,
    pub(crate) authority: PathBuf,
    pub(crate) server: Credentials,
    pub(crate) token_keys: TokenKeys,
    pub(crate) tokens: PathBuf,
    pub(crate) audit_policy: PathBuf,
    pub(crate) audit_log: PathBuf,
}

/// Requests per second that no test reaches: a limit inside a client would be what we measure.
const UNLIMITED: [&str; 2] = ["--kube-api-qps=5000", "--kube-api-burst=10000"];

impl Site {
    pub(crate) fn etcd(&self) -> Vec<String> {
        let client = format!("http://127.0.0.1:{}", self.ports.etcd);
        let peer = format!("http://127.0.0.1:{}", self.ports.etcd_peer);
        vec![
            file("data-dir", &self.directory.join("etcd")),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--log-level=warn".to_owned(),
            // The data lives no longer than the test.
            "--unsafe-no-fsync".to_owned(),
        ]
    }

    pub(crate) fn api_server(&self, options: &Options) -> Vec<String> {
        let mut flags = self.serving(self.ports.api_server);
        flags.extend([
            format!("--etcd-servers=http://127.0.0.1:{}", self.ports.etcd),
            file("service-account-key-file", &self.token_keys.public),
            file("service-account-signing-key-file", &self.token_keys.private),
            file("token-auth-file", &self.tokens),
        ]);
        flags.extend(API_SERVER.map(str::to_owned));
        if options.audit {
            flags.push(file("audit-policy-file", &self.audit_policy));
            flags.push(file("audit-log-path", &self.audit_log));
        }
        if let Some(after) = options.nodes_lost_after {
            let seconds = after.as_secs();
            let tolerated = |what| format!("--default-{what}-toleration-seconds={seconds}");
            flags.extend(["not-ready", "unreachable"].map(tolerated));
        }
        flags
    }

    pub(crate) fn controller_manager(&self, options: &Options, kubeconfig: &Path) -> Vec<String> {
        let mut flags = self.serving(self.ports.controller_manager);
        let mut controllers = options.controllers.clone();
        if let Some(after) = options.nodes_lost_after {
            controllers.extend(NODE_CONTROLLERS.map(str::to_owned));
            let seconds = after.as_secs();
            flags.extend([
                format!("--node-monitor-grace-period={seconds}s"),
                "--node-monitor-period=1s".to_owned(),
                // One node at a time would be lost ten seconds after another.
                "--node-eviction-rate=10".to_owned(),
            ]);
        }
        flags.extend([
            file("kubeconfig", kubeconfig),
            file("service-account-private-key-file", &self.token_keys.private),
            file("root-ca-file", &self.authority),
            format!("--controllers={}", controllers.join(",")),
            "--leader-elect=false".to_owned(),
            // Its own user may not create pods; the Job controller's service account may.
            "--use-service-account-credentials=true".to_owned(),
            "--concurrent-job-syncs=20".to_owned(),
        ]);
        flags.extend(UNLIMITED.map(str::to_owned));
        flags
    }

    pub(crate) fn scheduler(&self, config: &Path) -> Vec<String> {
        let mut flags = self.serving(self.ports.scheduler);
        flags.push(file("config", config));
        flags
    }

    fn serving(&self, port: u16) -> Vec<String> {
        vec![
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            file("tls-cert-file", &self.server.certificate),
            file("tls-private-key-file", &self.server.key),
            file("cert-dir", &self.directory),
        ]
    }
}

/// What says that a node is lost, and deletes its pods.
const NODE_CONTROLLERS: [&str; 2] = ["node-lifecycle-controller", "taint-eviction-controller"];

/// What the API server gets in every test.
const API_SERVER: [&str; 9] = [
    "--advertise-address=127.0.0.1",
    "--endpoint-reconciler-type=none",
    "--service-cluster-ip-range=10.96.0.0/16",
    "--service-account-issuer=https://kubernetes.default.svc",
    "--authorization-mode=RBAC",
    // Pods need no service account. Without the node lifecycle controller, nodes would keep
    // the taint "not ready" that the second plugin adds.
    "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
    "--event-ttl=10m",
    "--max-requests-inflight=3000",
    "--max-mutating-requests-inflight=1000",
];

fn file(flag: &str, path: &Path) -> String {
    format!("--{flag}={}", path.display())
}
