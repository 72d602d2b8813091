//! A real Prometheus, for as long as a test runs.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a program is there; if not, that is told loudly, and in CI it is a failure.
pub(crate) fn found_or_skip(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let must = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
            assert!(
                !must,
                "there is no `{program}` on $PATH: `apt-get install prometheus`"
            );
            eprintln!(
                "\nSKIPPED, NOT TESTED: no `{program}` on $PATH; `apt-get install prometheus`\n"
            );
            false
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

/// A running Prometheus. Dropping it ends it.
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes these jobs each second, by these rules.
    pub(crate) fn start(targets: &[(&str, &str)], rules: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let jobs: String = targets
            .iter()
            .map(|(job, address)| {
                format!("  - job_name: {job}\n    static_configs: [{{targets: ['{address}']}}]\n")
            })
            .collect();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n{jobs}",
            rules.display()
        );
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            address,
            _directory: directory,
        }
    }

    /// Waits until every target has been scraped.
    pub(crate) fn until_scraped(&self, targets: &[(&str, &str)]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let up = self.try_get("/api/v1/query?query=sum(up)");
            let value = up
                .as_ref()
                .map(|up| up["data"]["result"][0]["value"][1].clone());
            if value == Some(Value::from(targets.len().to_string())) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "not scraped: {up:?}, {:?}",
                self.try_get("/api/v1/targets")
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Every name that was scraped.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let names = self.get("/api/v1/label/__name__/values");
        let names = names["data"].as_array().unwrap().iter();
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    }

    /// What it answers to a query, as of now.
    pub(crate) fn ask(&self, query: &str) -> Value {
        self.get(&format!("/api/v1/query?query={}", escaped(query)))
    }

    /// The same as soon as there is something in it, for rates need two scrapes; in the end, nothing.
    pub(crate) fn until_answered(&self, query: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let answer = self.ask(query);
            let is_empty = answer["data"]["result"]
                .as_array()
                .is_none_or(Vec::is_empty);
            if !is_empty || Instant::now() > deadline {
                return answer;
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// What it answers.
    pub(crate) fn get(&self, path: &str) -> Value {
        self.try_get(path).unwrap()
    }

    fn try_get(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: prometheus\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
