//! Our controller as a process of its own, and kube-scheduler with the extender that it serves.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use prorata_controlplane::{ControlPlane, Process, User};

/// How long the controller may take until it has listed everything.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Where the controller listens, and the files that it and kube-scheduler need.
pub(crate) struct Site {
    pub(crate) extender: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) config: PathBuf,
    pub(crate) scheduler_config: PathBuf,
}

impl Site {
    /// Writes certificates and configurations into the directory of the control plane.
    pub(crate) fn prepare(plane: &ControlPlane) -> Self {
        Self::prepare_with(plane, "")
    }

    /// The same with more lines of configuration for our controller, where `DIRECTORY` stands for that
    /// of the control plane. The Lease is short unless they say how long it is.
    pub(crate) fn prepare_with(plane: &ControlPlane, more: &str) -> Self {
        let election = if more.contains("leaderElection:") {
            ""
        } else {
            "leaderElection: {leaseDuration: 3s, renewDeadline: 2s, retryPeriod: 500ms}\n"
        };
        let directory = plane.directory();
        let more = more.replace("DIRECTORY", &directory.display().to_string());
        let (extender, health) = (free_address(), free_address());
        let authority = plane.authority();
        let server = authority
            .issue_server("extender", &["127.0.0.1", "localhost"])
            .unwrap();
        let client = authority.issue_client("kube-scheduler").unwrap();
        let tls = directory.join("scheduler-tls");
        fs::create_dir_all(&tls).unwrap();
        fs::copy(&client.certificate, tls.join("tls.crt")).unwrap();
        fs::copy(&client.key, tls.join("tls.key")).unwrap();
        fs::copy(authority.certificate(), tls.join("ca.crt")).unwrap();
        let config = directory.join("prorata.yaml");
        let text = format!(
            "apiVersion: config.prorata.dev/v1alpha1\nkind: Configuration\n\
             extender:\n  address: {extender}\n  tls:\n    certFile: {}\n    keyFile: {}\n    clientCaFile: {}\n\
             health:\n  address: {health}\n\
             {election}{more}",
            server.certificate.display(),
            server.key.display(),
            authority.certificate().display(),
        );
        fs::write(&config, text).unwrap();
        let scheduler_config = directory.join("kube-scheduler.yaml");
        let text = super::prorata(&[
            "install",
            "scheduler-config",
            &format!("--extender-url=https://{extender}"),
            &format!("--tls-dir={}", tls.display()),
            &format!(
                "--kubeconfig={}",
                plane.kubeconfig(User::Scheduler).display()
            ),
            "--qps=5000",
            "--burst=10000",
            "--no-leader-election",
            "--max-backoff=2",
        ]);
        fs::write(&scheduler_config, text).unwrap();
        Self {
            extender,
            health,
            config,
            scheduler_config,
        }
    }

    /// The same with the usual times for the Lease: a machine that is busy with what is measured may
    /// take longer than those of tests allow.
    pub(crate) fn unhurried(self) -> Self {
        let text = fs::read_to_string(&self.config).unwrap();
        let lines = text.lines();
        let lines = lines.filter(|line| !line.starts_with("leaderElection:"));
        fs::write(
            &self.config,
            lines.fold(String::new(), |text, line| text + line + "\n"),
        )
        .unwrap();
        self
    }

    /// The configuration that makes kube-scheduler ask the extender.
    pub(crate) fn scheduler_config(&self) -> &PathBuf {
        &self.scheduler_config
    }

    /// Starts the controller under the role that we install, and returns at once.
    pub(crate) fn launch(&self, plane: &ControlPlane) -> Process {
        self.launch_in(plane, &[])
    }

    /// The same with environment variables.
    pub(crate) fn launch_in(&self, plane: &ControlPlane, variables: &[(&str, &str)]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prorata"));
        command.arg("controller").arg("--config").arg(&self.config);
        command
            .arg("--kubeconfig")
            .arg(plane.kubeconfig(User::Controller));
        command.envs(variables.iter().copied());
        Process::start("prorata-controller", command, plane.directory(), false).unwrap()
    }

    /// Starts the controller, and returns when it answers.
    pub(crate) async fn start(&self, plane: &ControlPlane) -> Process {
        self.start_in(plane, &[]).await
    }

    /// The same with environment variables.
    pub(crate) async fn start_in(
        &self,
        plane: &ControlPlane,
        variables: &[(&str, &str)],
    ) -> Process {
        let mut process = self.launch_in(plane, variables);
        let deadline = Instant::now() + READY_WITHIN;
        while !self.is_ready().await {
            process.check().unwrap();
            assert!(
                Instant::now() < deadline,
                "not ready:\n{}",
                process.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        process
    }

    /// Where the extender listens.
    pub(crate) const fn extender(&self) -> SocketAddr {
        self.extender
    }

    async fn is_ready(&self) -> bool {
        let address = self.health;
        let asked = tokio::task::spawn_blocking(move || get(address, "/readyz"));
        asked
            .await
            .unwrap()
            .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }
}

/// The answer to a plain HTTP request, headers and all.
pub(crate) fn get(address: SocketAddr, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Plays every decision log in a directory again whose name begins so, and returns how many decisions
/// there were in each: all the same.
pub(crate) fn replay_all(directory: &Path, prefix: &str) -> Vec<usize> {
    let files = fs::read_dir(directory).unwrap().flatten();
    let files = files.filter(|file| file.file_name().to_string_lossy().starts_with(prefix));
    let replayed = files.map(|file| {
        let path = file.path().display().to_string();
        let said = super::prorata(&["sim", "replay", &path]);
        let count = said
            .strip_prefix("the same ")
            .and_then(|rest| rest.split(' ').next());
        count
            .and_then(|count| count.parse().ok())
            .unwrap_or_else(|| panic!("{path}: {said}"))
    });
    replayed.collect()
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}
