//! A machine that is made up, and the agent on it.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use prorata_fake_nvml::{Machine, STATE, library};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A machine with a driver, processes and containers.
pub(crate) struct Bench {
    dir: TempDir,
}

impl Bench {
    /// This machine.
    pub(crate) fn new(machine: &Machine) -> Self {
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(bench.path("proc")).unwrap();
        fs::create_dir(bench.path("containers")).unwrap();
        for card in &machine.cards {
            let node = card.numa_node.map_or(-1, i64::from);
            bench.pci(&card.pci_bus_id, node);
        }
        bench.change(machine);
        bench
    }

    /// The machine is another one from now on.
    pub(crate) fn change(&self, machine: &Machine) {
        machine.write(&self.path("machine.json")).unwrap();
    }

    /// A card, as the kernel shows it: by a domain of four digits, in small letters.
    fn pci(&self, bus_id: &str, numa_node: i64) {
        let name = bus_id.strip_prefix("0000").unwrap().to_ascii_lowercase();
        let dir = self.path("pci").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("numa_node"), format!("{numa_node}\n")).unwrap();
    }

    /// A process that keeps whoever asks for its control group waiting.
    pub(crate) fn process_that_hangs(&self, pid: u32) {
        let dir = self.path("proc").join(pid.to_string());
        fs::create_dir_all(&dir).unwrap();
        let made = Command::new("mkfifo").arg(dir.join("cgroup")).status();
        assert!(made.unwrap().success());
    }

    /// A process in a control group.
    pub(crate) fn process(&self, pid: u32, groups: &str) {
        let dir = self.path("proc").join(pid.to_string());
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("cgroup"), groups).unwrap();
    }

    /// A container, as the kubelet names it.
    pub(crate) fn container(&self, namespace: &str, pod: &str, container: &str, id: &str) {
        let name = format!("{pod}_{namespace}_{container}-{id}.log");
        fs::write(self.path("containers").join(name), "").unwrap();
    }

    /// The same, linked to its log as the kubelet does, which shows the pod's UID.
    pub(crate) fn container_of(&self, (namespace, pod, uid): (&str, &str, &str), id: &str) {
        let name = format!("{pod}_{namespace}_main-{id}.log");
        let log = format!("/var/log/pods/{namespace}_{pod}_{uid}/main/0.log");
        symlink(log, self.path("containers").join(name)).unwrap();
    }

    /// The agent, on this machine.
    pub(crate) fn agent(&self, arguments: &[&str]) -> Command {
        let mut agent = Command::new(env!("CARGO_BIN_EXE_prorata"));
        agent.arg("agent").arg("--nvml").arg(library());
        agent.arg("--proc").arg(self.path("proc"));
        agent.arg("--containers").arg(self.path("containers"));
        agent.arg("--pci").arg(self.path("pci"));
        agent.arg("--kubelet").arg(self.kubelet());
        agent.args(arguments);
        agent.env(STATE, self.path("machine.json"));
        agent
    }

    /// What a single look prints.
    pub(crate) fn once(&self, arguments: &[&str]) -> Output {
        self.agent(&[&["--once"], arguments].concat())
            .output()
            .unwrap()
    }

    /// The same for programs.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.once(&[&["-o", "json"], arguments].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Where the kubelet listens, if there is one.
    pub(crate) fn kubelet(&self) -> PathBuf {
        self.path("kubelet.sock")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// An agent that goes on looking; it ends with this.
pub(crate) struct Running {
    child: Child,
    address: String,
}

impl Running {
    /// Starts one that looks every 50 milliseconds, unless the arguments say how often.
    pub(crate) fn start(bench: &Bench, arguments: &[&str]) -> Self {
        let mut fixed = vec!["--address", "127.0.0.1:0"];
        if !arguments.contains(&"--interval") {
            fixed.extend(["--interval", "50ms"]);
        }
        let mut agent = bench.agent(&[&fixed, arguments].concat());
        let mut child = agent.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let rest = line.split_once("address=")?.1;
            Some(rest.split_whitespace().next()?.to_owned())
        });
        // A full pipe would stop it.
        thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| eprintln!("{line}"));
        });
        Self {
            child,
            address: address.expect("it tells its address"),
        }
    }

    /// Where it answers.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What it answers: the status and the body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.get_with(path, "")
    }

    /// The same to whoever shows this token.
    pub(crate) fn get_as(&self, path: &str, token: &str) -> (u16, String) {
        self.get_with(path, &format!("Authorization: Bearer {token}\r\n"))
    }

    fn get_with(&self, path: &str, header: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: agent\r\n{header}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split_whitespace().nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        (status, body)
    }

    /// Waits until the metrics show it; they are given back.
    pub(crate) fn until(&self, what: &str, shows: impl Fn(&Metrics) -> bool) -> Metrics {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, body) = self.get("/metrics");
            let metrics = Metrics(body);
            if status == 200 && shows(&metrics) {
                return metrics;
            }
            assert!(Instant::now() < deadline, "{what}: {}", metrics.0);
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its number among processes.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an agent measures, as Prometheus reads it.
pub(crate) struct Metrics(pub(crate) String);

impl Metrics {
    /// The value of the line of this name that has all these labels.
    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{value}\""))
            .collect();
        let line = self.0.lines().find(|line| {
            let named = line.strip_prefix(name);
            named.is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        line?.rsplit(' ').next()?.parse().ok()
    }
}
