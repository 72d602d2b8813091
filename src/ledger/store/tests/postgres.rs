//! A PostgreSQL of the tests' own, in a directory that goes with it, on a socket there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long it may take to begin.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A server that ends with this.
pub(super) struct Postgres {
    directory: TempDir,
    server: Child,
}

impl Postgres {
    /// Starts one; `None` where none is installed, which is a failure where `CI` is set.
    pub(super) fn start_or_skip() -> Option<Self> {
        let Some(programs) = programs() else {
            let text = "PostgreSQL is not installed: apt-get install postgresql";
            assert!(std::env::var_os("CI").is_none(), "{text}");
            eprintln!("SKIPPED, NOT TESTED: the ledger in PostgreSQL. {text}");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o777)).unwrap();
        let data = root.join("data");
        let mut initdb = as_nobody(&programs.join("initdb"));
        initdb.args(["--username=book", "--auth=trust", "--no-sync", "--pgdata"]);
        let made = initdb.arg(&data).output().unwrap();
        let error = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "initdb: {error}");
        let mut server = as_nobody(&programs.join("postgres"));
        server.args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"]);
        let server = server.arg(root).arg("-D").arg(&data).stderr(Stdio::null());
        let server = server.stdout(Stdio::null()).spawn().unwrap();
        let mut postgres = Self { directory, server };
        postgres.wait();
        Some(postgres)
    }

    /// Makes a database, and returns its address.
    pub(super) fn database(&self, name: &str) -> String {
        let made = self.psql(&format!("CREATE DATABASE {name}"));
        assert!(made, "CREATE DATABASE {name}");
        let socket = self
            .directory
            .path()
            .display()
            .to_string()
            .replace('/', "%2F");
        format!("postgres://book@{socket}/{name}")
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + READY_WITHIN;
        while !self.psql("SELECT 1") {
            let ended = self.server.try_wait().unwrap();
            assert!(ended.is_none(), "PostgreSQL has ended: {ended:?}");
            assert!(Instant::now() < deadline, "PostgreSQL does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn psql(&self, statement: &str) -> bool {
        let mut psql = Command::new("psql");
        psql.arg("--host").arg(self.directory.path());
        psql.args([
            "--username=book",
            "--dbname=postgres",
            "--quiet",
            "--command",
        ]);
        let psql = psql
            .arg(statement)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        psql.status().unwrap().success()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A fast shutdown. The program that drops root's rights is the server itself by then.
        let server = self.server.id().to_string();
        let _ = Command::new("kill").args(["-INT", &server]).status();
        let _ = self.server.wait();
    }
}

/// Where its programs are: the newest of Debian's, or wherever the shell finds them.
fn programs() -> Option<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = debian.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all: Vec<PathBuf> = debian.collect();
    all.sort();
    all.reverse();
    all.extend(std::env::split_paths(&path));
    let mut all = all.into_iter();
    all.find(|directory| directory.join("initdb").exists() && directory.join("postgres").exists())
}

/// PostgreSQL refuses to run as root.
fn as_nobody(program: &Path) -> Command {
    let id = Command::new("id").arg("-u").output().unwrap();
    if String::from_utf8_lossy(&id.stdout).trim() != "0" {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]);
    command.arg(program).env("LC_ALL", "C").current_dir("/");
    command
}
