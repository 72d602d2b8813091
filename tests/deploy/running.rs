//! What the installed ConfigMaps and Secrets say, run as processes here: only addresses and paths
//! are another machine's.

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::Api;
use prorata_controlplane::User;

use crate::cluster::controller::{Site, free_address};
use crate::cluster::{Cluster, prorata};

const ACCOUNT: &str = "system:serviceaccount:prorata-system:prorata-scheduler";

/// Makes the certificates as an administrator does, and reads everything back from the cluster.
pub(crate) async fn site(cluster: &Cluster) -> Site {
    cluster.apply(&prorata(&["install", "certificates", "--name=127.0.0.1"]));
    let directory = cluster.plane.directory();
    let tls = secret(cluster, "prorata-extender-tls", directory).await;
    let scheduler_tls = secret(cluster, "prorata-scheduler-tls", directory).await;
    let (extender, health) = (free_address(), free_address());
    let config = write(
        directory,
        "deployed.yaml",
        &replaced(
            config_map(cluster, "prorata-controller", "prorata.yaml").await,
            &[
                ("0.0.0.0:8443", &extender.to_string()),
                ("0.0.0.0:8080", &health.to_string()),
                ("/etc/prorata/tls", tls.to_str().unwrap()),
                ("/etc/prorata/probe", scheduler_tls.to_str().unwrap()),
                ("prorata.prorata-system.svc:8443", &extender.to_string()),
            ],
        ),
    );
    let kubeconfig = kubeconfig(cluster);
    let client = format!("clientConnection: {{kubeconfig: {}}}", kubeconfig.display());
    let scheduler_config = write(
        directory,
        "deployed-scheduler.yaml",
        &replaced(
            config_map(cluster, "prorata-scheduler", "config.yaml").await,
            &[
                ("prorata.prorata-system.svc:8443", &extender.to_string()),
                ("/etc/kubernetes/prorata", scheduler_tls.to_str().unwrap()),
                ("clientConnection: {}", &client),
            ],
        ),
    );
    Site {
        extender,
        health,
        config,
        scheduler_config,
    }
}

/// The second scheduler's account, with no right but those that the chart gives it.
fn kubeconfig(cluster: &Cluster) -> PathBuf {
    let admin = fs::read_to_string(cluster.plane.kubeconfig(User::Admin)).unwrap();
    let groups = "[\"system:serviceaccounts\", \"system:authenticated\"]";
    let user = format!("    as: {ACCOUNT}\n    as-groups: {groups}\n    token:");
    let text = replaced(admin, &[("    token:", &user)]);
    write(
        cluster.plane.directory(),
        "prorata-scheduler.kubeconfig",
        &text,
    )
}

/// The files of a Secret, in a directory of its name.
pub(super) async fn secret(cluster: &Cluster, name: &str, directory: &Path) -> PathBuf {
    let secrets: Api<Secret> = Api::namespaced(cluster.admin.clone(), "prorata-system");
    let directory = directory.join(name);
    fs::create_dir_all(&directory).unwrap();
    for (file, bytes) in secrets.get(name).await.unwrap().data.unwrap() {
        fs::write(directory.join(file), bytes.0).unwrap();
    }
    directory
}

async fn config_map(cluster: &Cluster, name: &str, key: &str) -> String {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.admin.clone(), "prorata-system");
    maps.get(name).await.unwrap().data.unwrap()[key].clone()
}

/// Replaces what must be there.
pub(super) fn replaced(text: String, pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "no {from} in {text}");
        text.replace(from, to)
    })
}

pub(super) fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    path
}
