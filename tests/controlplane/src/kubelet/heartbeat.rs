//! What each node tells of itself.

use std::io::{self, Write as _};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::CutOff;

/// Where kubelets keep their Leases.
const LEASES: &str = "kube-node-lease";

/// Renews the Lease of every node that is on the network, again and again, and says that it is ready
/// where somebody has said otherwise.
pub(super) async fn run(client: Client, every: Duration, cut_off: watch::Receiver<CutOff>) {
    let nodes: Api<Node> = Api::all(client.clone());
    let leases: Api<Lease> = Api::namespaced(client, LEASES);
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Whoever does not reach the API server tries again.
        let Ok(all) = nodes.list(&ListParams::default()).await else {
            continue;
        };
        let silent = cut_off.borrow().clone();
        let told = all
            .iter()
            .filter(|node| !silent.contains(&node.name_any()))
            .map(|node| tell(&nodes, &leases, node));
        for result in join_all(told).await {
            if let Err(error) = result {
                let _ = writeln!(io::stderr(), "fake kubelet: heartbeat: {error}");
            }
        }
    }
}

async fn tell(nodes: &Api<Node>, leases: &Api<Lease>, node: &Node) -> kube::Result<()> {
    let (name, now) = (node.name_any(), Timestamp::now());
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": name },
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": 40,
            "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
        },
    });
    let params = PatchParams::apply("fake-kubelet").force();
    leases.patch(&name, &params, &Patch::Apply(lease)).await?;
    if is_ready(node) {
        return Ok(());
    }
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let ready = json!({
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    });
    let status = Patch::Strategic(json!({ "status": { "conditions": [ready] } }));
    let params = PatchParams::default();
    nodes.patch_status(&name, &params, &status).await.map(drop)
}

fn is_ready(node: &Node) -> bool {
    let status = node.status.as_ref();
    let mut conditions = status
        .into_iter()
        .flat_map(|s| s.conditions.iter().flatten());
    conditions.any(|c| c.type_ == "Ready" && c.status == "True")
}
