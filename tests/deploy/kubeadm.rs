//! The cluster's own kube-scheduler, configured by the very commands that docs/deploy.md has for kubeadm:
//! only addresses and paths are another machine's.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use prorata_controlplane::{Kubelet, KubeletOptions, Options, User, nodes};

use super::cluster_wide::{job, running_pods, team};
use super::{kubectl, read, root, running, text};
use crate::cluster::controller::{Site, free_address};
use crate::cluster::requests::eventually;
use crate::cluster::{Cluster, prorata};

/// Where the commands put what kube-scheduler reads.
const DIRECTORY: &str = "/etc/kubernetes/prorata";
const SERVICE: &str = "prorata.prorata-system.svc";

#[tokio::test(flavor = "multi_thread")]
async fn the_clusters_own_scheduler_asks_by_address_and_knows_by_name() {
    let Some(mut cluster) = Cluster::start(Options::default()).await else {
        return;
    };
    let base = root().join("deploy/kustomize/base");
    let base = base.to_str().unwrap();
    text(kubectl(
        &cluster,
        &["apply", "--server-side", "-k", base],
        "",
    ));
    cluster.apply(&prorata(&["install", "certificates"]));
    cluster.until_in_force().await;

    let site = site(&cluster).await;
    let config = site.scheduler_config.clone();
    cluster.plane.start_scheduler(&config).await.unwrap();
    let shape = nodes::Shape::default();
    nodes::create(&cluster.admin, 2, &shape).await.unwrap();
    let _kubelet = Kubelet::start(cluster.admin.clone(), KubeletOptions::default());
    let _controller = site.start(&cluster.plane).await;
    cluster.apply(&team());
    cluster.apply(&job("train", 2, 8).replace("prorata-scheduler", "default-scheduler"));
    let pods: Api<Pod> = Api::namespaced(cluster.admin.clone(), "red");
    eventually("both pods run", || async {
        running_pods(&pods).await.len() == 2
    })
    .await;
}

/// The extender with the certificate that was installed, which names no address.
async fn site(cluster: &Cluster) -> Site {
    let directory = cluster.plane.directory();
    let tls = running::secret(cluster, "prorata-extender-tls", directory).await;
    let (extender, health) = (free_address(), free_address());
    let file = |name: &str| tls.join(name).display().to_string();
    let config = format!(
        "apiVersion: config.prorata.dev/v1alpha1\nkind: Configuration\n\
         extender:\n  address: {extender}\n  tls: {{certFile: {}, keyFile: {}, clientCaFile: {}}}\n\
         health: {{address: {health}}}\n",
        file("tls.crt"),
        file("tls.key"),
        file("ca.crt"),
    );
    let scheduler_config = follow_the_page(cluster, directory);
    let (text, address) = (
        fs::read_to_string(&scheduler_config).unwrap(),
        extender.to_string(),
    );
    let line = text
        .lines()
        .find(|line| line.contains("urlPrefix"))
        .unwrap();
    let url = line.trim().trim_start_matches("- ");
    assert!(text.contains(SERVICE), "{text}");
    let kubeconfig = cluster.plane.kubeconfig(User::Scheduler);
    let text = running::replaced(
        text.clone(),
        &[
            (url, &format!("urlPrefix: https://{address}")),
            (
                "/etc/kubernetes/scheduler.conf",
                kubeconfig.to_str().unwrap(),
            ),
        ],
    );
    fs::write(&scheduler_config, text).unwrap();
    Site {
        extender,
        health,
        config: running::write(directory, "kubeadm.yaml", &config),
        scheduler_config,
    }
}

/// Runs the commands of the page, as an administrator, and answers with the file that they leave.
fn follow_the_page(cluster: &Cluster, directory: &Path) -> PathBuf {
    let page = read("docs/deploy.md");
    let begin = page.find(&format!("mkdir -p {DIRECTORY}")).unwrap();
    let commands = page[begin..].split("```").next().unwrap();
    let (bin, made) = (directory.join("bin"), directory.join("kubernetes"));
    fs::create_dir_all(&bin).unwrap();
    let kubectl = cluster.plane.kubectl(User::Admin);
    symlink(kubectl.get_program(), bin.join("kubectl")).unwrap();
    symlink(env!("CARGO_BIN_EXE_prorata"), bin.join("prorata")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c"]);
    shell.arg(commands.replace(DIRECTORY, made.to_str().unwrap()));
    shell.env("PATH", path);
    shell.env("KUBECONFIG", cluster.plane.kubeconfig(User::Admin));
    text(shell.output().unwrap());
    let config = made.join("config.yaml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace(DIRECTORY, made.to_str().unwrap())).unwrap();
    config
}
