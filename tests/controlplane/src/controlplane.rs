//! The control plane as a whole.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use tempfile::TempDir;

use crate::authority::{Authority, TokenKeys};
use crate::error::{Context, Error, Result};
use crate::flags::Site;
use crate::ports::Ports;
use crate::process::Process;
use crate::user::{Tokens, User};
use crate::{Binaries, Program};

/// What a control plane consists of, beyond etcd and the API server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The controllers that kube-controller-manager runs; it does not run at all without any.
    pub controllers: Vec<String>,
    /// Whether the API server writes an audit log of who asked for what.
    pub audit: bool,
    /// After how long without a heartbeat a node is lost, in whole seconds; its pods are deleted as
    /// long after that. Without it nobody but the test says how nodes are.
    pub nodes_lost_after: Option<Duration>,
}

/// A running control plane. Dropping it ends every program and removes every file.
pub struct ControlPlane {
    /// In the order of their start; they end in reverse.
    processes: Vec<(Program, Process)>,
    binaries: Binaries,
    site: Site,
    authority: Authority,
    accounts: BTreeMap<User, Account>,
    started_in: Duration,
    directory: TempDir,
}

/// How one user reaches the API server.
struct Account {
    kubeconfig: PathBuf,
    config: Config,
}

/// The controllers that Jobs, namespaces, quotas and disruption budgets need.
const CONTROLLERS: [&str; 9] = [
    "cronjob-controller",
    "disruption-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "pod-garbage-collector-controller",
    "resourcequota-controller",
    "serviceaccount-controller",
    "ttl-after-finished-controller",
];

/// One line per request: who did what, and whether it was allowed.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

/// Every name under which the API server is reached, the first address of the services included.
const API_SERVER_NAMES: [&str; 5] = [
    "127.0.0.1",
    "localhost",
    "kubernetes.default",
    "kubernetes.default.svc",
    "10.96.0.1",
];

/// How long a program may take until it is ready, on a slow machine.
const READY_WITHIN: Duration = Duration::from_secs(60);

impl Default for Options {
    fn default() -> Self {
        Self {
            controllers: CONTROLLERS.map(str::to_owned).to_vec(),
            audit: false,
            nodes_lost_after: None,
        }
    }
}

impl ControlPlane {
    /// Starts etcd, the API server and, if any controller is asked for, kube-controller-manager,
    /// and returns when they are ready. Builds the programs first if they are not there yet.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when the programs can neither be found nor built; otherwise what
    /// the program that failed has logged last.
    pub async fn start(options: Options) -> Result<Self> {
        let binaries = tokio::task::spawn_blocking(Binaries::find_or_build)
            .await
            .expect("the search for the programs does not panic")?;
        let plane = match Self::launch(&binaries, &options).await {
            // Another process was faster to take a port that had been free.
            Err(Error::Died { log, .. }) if log.contains("address already in use") => {
                Self::launch(&binaries, &options).await?
            }
            plane => plane?,
        };
        let _ = writeln!(
            io::stderr(),
            "control plane ready in {:.1} s",
            plane.started_in.as_secs_f64()
        );
        Ok(plane)
    }

    /// Starts a control plane for a test, which ends early when this is `None`: nothing is there
    /// to start, and that has been said loudly. Where the variable `CI` is set, the test fails.
    ///
    /// # Panics
    ///
    /// When a control plane does not start, for any other reason or in CI.
    pub async fn start_or_skip(options: Options) -> Option<Self> {
        match Self::start(options).await {
            Ok(plane) => Some(plane),
            Err(error @ Error::Missing) if !in_ci() => {
                // The macro's output would be held back by the test runner.
                let _ = writeln!(io::stderr(), "\nSKIPPED, NOT TESTED: {error}\n");
                None
            }
            Err(error) => panic!("no control plane: {error}"),
        }
    }

    /// How long it took until everything was ready, without building.
    #[must_use]
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// A client without a limit of its own. It belongs to the current tokio runtime.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn client(&self, user: User) -> kube::Client {
        let config = self.accounts[&user].config.clone();
        kube::Client::try_from(config).expect("the files of this control plane are well formed")
    }

    /// The kubeconfig of a user, for programs that are started on their own.
    #[must_use]
    pub fn kubeconfig(&self, user: User) -> &Path {
        &self.accounts[&user].kubeconfig
    }

    /// kubectl as a user, of the version of the server; the arguments are still to be added.
    #[must_use]
    pub fn kubectl(&self, user: User) -> Command {
        let mut command = self.binaries.kubectl();
        command.arg("--kubeconfig").arg(self.kubeconfig(user));
        command
    }

    /// The authority that signed the API server's certificate, to issue others.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The directory with the logs (`NAME.log`), certificates and data; it goes with this value.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The audit log: one JSON object per line and request, when [`Options::audit`] asked for it.
    #[must_use]
    pub fn audit_log(&self) -> &Path {
        &self.site.audit_log
    }

    /// Starts kube-scheduler with a configuration file, and returns when it is ready. The file
    /// names [`kubeconfig`](Self::kubeconfig) of [`User::Scheduler`] and switches leader election off.
    ///
    /// # Errors
    ///
    /// When it ends, or is not ready in time, with the end of its log.
    pub async fn start_scheduler(&mut self, config: &Path) -> Result<()> {
        self.stop_scheduler();
        let flags = self.site.scheduler(config);
        self.run(Program::Scheduler, &flags).await
    }

    /// Ends the API server and starts it again, with all that it had stored.
    ///
    /// # Errors
    ///
    /// When it does not come back.
    pub async fn restart_api_server(&mut self, options: &Options) -> Result<()> {
        self.processes
            .retain(|(program, _)| *program != Program::ApiServer);
        let flags = self.site.api_server(options);
        self.run(Program::ApiServer, &flags).await
    }

    /// Ends kube-scheduler, if it runs.
    pub fn stop_scheduler(&mut self) {
        self.processes
            .retain(|(program, _)| *program != Program::Scheduler);
    }

    /// The process id of a program.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn pid(&self, program: Program) -> Result<u32> {
        self.process(program).map(Process::pid)
    }

    /// The processor time that a program took since it was started, in user and kernel mode.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn cpu_time(&self, program: Program) -> Result<Duration> {
        self.process(program)?.cpu_time()
    }

    /// The memory of a program that is in RAM.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn resident_bytes(&self, program: Program) -> Result<u64> {
        self.process(program)?.resident_bytes()
    }

    /// An error with the end of its log, when any program has ended by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Died`] for the first one that did.
    pub fn check(&mut self) -> Result<()> {
        self.processes
            .iter_mut()
            .try_for_each(|(_, process)| process.check())
    }

    async fn launch(binaries: &Binaries, options: &Options) -> Result<Self> {
        let clock = Instant::now();
        let mut plane = Self::prepare(binaries).await?;
        plane.spawn(Program::Etcd, &plane.site.etcd())?;
        plane
            .run(Program::ApiServer, &plane.site.api_server(options))
            .await?;
        if !options.controllers.is_empty() {
            let kubeconfig = plane.kubeconfig(User::ControllerManager);
            let flags = plane.site.controller_manager(options, kubeconfig);
            plane.run(Program::ControllerManager, &flags).await?;
        }
        plane.started_in = clock.elapsed();
        Ok(plane)
    }

    /// Writes every file, and starts nothing.
    async fn prepare(binaries: &Binaries) -> Result<Self> {
        let directory = TempDir::with_prefix("prorata-").when("make a temporary directory")?;
        let authority = Authority::create(directory.path())?;
        let site = site(directory.path(), &authority)?;
        let url = format!("https://127.0.0.1:{}", site.ports.api_server);
        let tokens = Tokens::random();
        write(&site.tokens, &tokens.csv())?;
        write(&site.audit_policy, AUDIT_POLICY)?;
        let mut accounts = BTreeMap::new();
        for (user, text) in tokens.kubeconfigs(&url, authority.certificate()) {
            let kubeconfig = directory.path().join(user.file_name());
            write(&kubeconfig, &text)?;
            let config = config(&kubeconfig).await?;
            accounts.insert(user, Account { kubeconfig, config });
        }
        Ok(Self {
            processes: Vec::new(),
            binaries: binaries.clone(),
            site,
            authority,
            accounts,
            started_in: Duration::ZERO,
            directory,
        })
    }

    fn spawn(&mut self, program: Program, flags: &[String]) -> Result<()> {
        let mut command = self.binaries.command(program);
        command.args(flags);
        // Only our own build of the programs knows to end with its input.
        let ends_with_input = !matches!(self.binaries, Binaries::Assets(_));
        let directory = self.directory.path();
        let process = Process::start(program.name(), command, directory, ends_with_input)?;
        self.processes.push((program, process));
        Ok(())
    }

    /// Starts a program that serves HTTPS, and waits until it is ready.
    async fn run(&mut self, program: Program, flags: &[String]) -> Result<()> {
        self.spawn(program, flags)?;
        let client = self.health_client(program)?;
        let deadline = Instant::now() + READY_WITHIN;
        while !healthy(&client, program).await {
            self.check()?;
            if Instant::now() > deadline {
                let log = self.process(program)?.log_tail();
                return Err(Error::Late {
                    program: program.to_string(),
                    seconds: READY_WITHIN.as_secs(),
                    log,
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Whoever answered may be another process that holds the port.
        self.check()
    }

    fn health_client(&self, program: Program) -> Result<kube::Client> {
        let ports = &self.site.ports;
        let port = match program {
            Program::Etcd => ports.etcd,
            Program::ApiServer => ports.api_server,
            Program::ControllerManager => ports.controller_manager,
            Program::Scheduler => ports.scheduler,
        };
        let mut config = self.accounts[&User::Admin].config.clone();
        config.cluster_url = format!("https://127.0.0.1:{port}")
            .parse()
            .expect("a well formed URL");
        config.default_retry = false;
        Ok(kube::Client::try_from(config)?)
    }

    fn process(&self, program: Program) -> Result<&Process> {
        let mut all = self.processes.iter();
        let found = all.find(|(running, _)| *running == program);
        let process = found.map(|(_, process)| process);
        process.ok_or_else(|| Error::NotRunning(program.to_string()))
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // A vector would drop its first element first.
        while self.processes.pop().is_some() {}
    }
}

fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty())
}

fn site(directory: &Path, authority: &Authority) -> Result<Site> {
    Ok(Site {
        directory: directory.to_owned(),
        ports: Ports::free()?,
        authority: authority.certificate().to_owned(),
        server: authority.issue_server("kubernetes", &API_SERVER_NAMES)?,
        token_keys: TokenKeys::create(directory)?,
        tokens: directory.join("tokens.csv"),
        audit_policy: directory.join("audit-policy.yaml"),
        audit_log: directory.join("audit.log"),
    })
}

async fn config(kubeconfig: &Path) -> Result<Config> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}

async fn healthy(client: &kube::Client, program: Program) -> bool {
    let path = if program == Program::ControllerManager {
        "/healthz"
    } else {
        "/readyz"
    };
    let request = http::Request::get(path)
        .body(Vec::new())
        .expect("a well formed request");
    client.request_text(request).await.is_ok()
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).when(format_args!("write {}", path.display()))
}
