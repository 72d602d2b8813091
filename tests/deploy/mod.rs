//! What is in `deploy/`: rendered, linted, compared, read strictly by a real API server, installed,
//! run, upgraded and removed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster_wide;
mod image;
mod kubeadm;
mod other_resource;
pub(crate) mod removed;
mod rendered;
mod rights;
mod running;
mod upgraded;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use prorata_controlplane::{Helm, User};
use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::Cluster;

/// helm, and a place for its files.
struct Chart {
    helm: Helm,
    home: TempDir,
}

impl Chart {
    fn find_or_skip() -> Option<Self> {
        let helm = Helm::find_or_skip()?;
        let home = tempfile::tempdir().unwrap();
        Some(Self { helm, home })
    }

    /// helm on our chart: the action, the release where it wants one, the chart, and the rest.
    fn helm(&self, action: &[&str], rest: &[&str]) -> Output {
        self.helm_on(&root().join("deploy/helm/prorata"), action, rest)
    }

    fn helm_on(&self, chart: &Path, action: &[&str], rest: &[&str]) -> Output {
        let mut helm = self.helm.command(self.home.path());
        helm.args(action).arg(chart);
        helm.args(["--namespace", "prorata-system"]).args(rest);
        helm.output().unwrap()
    }

    /// The chart rendered with more values.
    fn render(&self, rest: &[&str]) -> String {
        text(self.helm(&["template", "prorata"], rest))
    }

    /// helm on the release in a cluster.
    fn release(&self, cluster: &Cluster, action: &str, rest: &[&str]) -> String {
        let kubeconfig = cluster.plane.kubeconfig(User::Admin).to_str().unwrap();
        let rest = [&["--kubeconfig", kubeconfig], rest].concat();
        if action == "uninstall" {
            let mut helm = self.helm.command(self.home.path());
            helm.args([action, "prorata", "--namespace", "prorata-system"]);
            return text(helm.args(rest).output().unwrap());
        }
        text(self.helm(&[action, "prorata"], &rest))
    }

    /// Installs a version of the chart that lacks things which ours has.
    fn install_older(&self, cluster: &Cluster, rest: &[&str]) {
        let older = upgraded::older(self.home.path());
        let kubeconfig = cluster.plane.kubeconfig(User::Admin).to_str().unwrap();
        let rest = [&["--kubeconfig", kubeconfig], rest].concat();
        text(self.helm_on(&older, &["install", "prorata"], &rest));
    }
}

/// What a program that must succeed prints.
fn text(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// kubectl with a manifest on its standard input.
fn kubectl(cluster: &Cluster, arguments: &[&str], manifests: &str) -> Output {
    let mut kubectl: Command = cluster.plane.kubectl(User::Admin);
    kubectl.args(arguments);
    kubectl.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut kubectl = kubectl.stderr(Stdio::piped()).spawn().unwrap();
    let mut input = kubectl.stdin.take().unwrap();
    let manifests = manifests.to_owned();
    let written = std::thread::spawn(move || input.write_all(manifests.as_bytes()));
    let output = kubectl.wait_with_output().unwrap();
    let _ = written.join().unwrap();
    output
}

/// A stream of YAML as its objects.
fn objects(stream: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(stream).unwrap();
    let filled = documents.into_iter().filter(|document| !document.is_null());
    filled.collect()
}

/// The object of a kind and name.
fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// Compares a file with what it should be; `BLESS=1` writes it.
fn compare(file: &str, wanted: &str) {
    let path = root().join(file);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, wanted).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == wanted,
        "{file} is not what it should be; `BLESS=1 cargo test --test live deploy` records it"
    );
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    let path: PathBuf = root().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
