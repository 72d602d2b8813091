//! The agents of all nodes: each tells in its GpuNode which pods have which GPU, by what the kubelet
//! gave them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use prorata::api::gpunode::{Gpu, GpuPod};
use prorata::api::{GpuNode, GpuNodeSpec, labels};
use prorata_controlplane::Kubelet;
use serde_json::json;
use tokio::task::JoinHandle;

/// How often they look.
const INTERVAL: Duration = Duration::from_millis(500);

/// Dropping it ends them all, as when their DaemonSet is deleted.
pub(crate) struct Agents(JoinHandle<()>);

impl Agents {
    /// Starts one on every node that has cards which are not partitioned. It has told nothing yet.
    pub(crate) async fn start(admin: &Client, kubelet: &Arc<Kubelet>) -> Self {
        let nodes: Api<Node> = Api::all(admin.clone());
        let nodes = nodes.list(&ListParams::default()).await.unwrap().items;
        let api: Api<GpuNode> = Api::all(admin.clone());
        let mut cards = BTreeMap::new();
        for node in &nodes {
            let Some(count) = node.labels().get(labels::GPU_COUNT) else {
                continue;
            };
            let name = node.name_any();
            if api.get_opt(&name).await.unwrap().is_none() {
                let object = GpuNode::new(&name, GpuNodeSpec::default());
                api.create(&PostParams::default(), &object).await.unwrap();
            }
            cards.insert(name, count.parse().unwrap());
        }
        let kubelet = Arc::clone(kubelet);
        Self(tokio::spawn(look(admin.clone(), kubelet, cards)))
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Writes whatever is new to it.
async fn look(admin: Client, kubelet: Arc<Kubelet>, cards: BTreeMap<String, u32>) {
    let api: Api<GpuNode> = Api::all(admin.clone());
    let pods: Api<Pod> = Api::all(admin);
    let mut told: BTreeMap<String, Vec<Gpu>> = BTreeMap::new();
    loop {
        let known = pods.list(&ListParams::default()).await.unwrap().items;
        let named = |uid: &str| {
            let pod = known.iter().find(|pod| pod.uid().as_deref() == Some(uid))?;
            Some((pod.namespace()?, pod.name_any()))
        };
        let mut now = BTreeMap::new();
        for (node, count) in &cards {
            let gpus = (0..*count).map(|index| Gpu {
                index,
                ..Gpu::default()
            });
            now.insert(node.clone(), gpus.collect::<Vec<Gpu>>());
        }
        for grant in kubelet.grants() {
            let Some(gpus) = now.get_mut(&grant.node) else {
                continue;
            };
            // A pod that the API server does not know any more is gone in a moment.
            let Some((namespace, name)) = named(&grant.uid) else {
                continue;
            };
            for card in grant.ids.iter().filter_map(|id| card(id)) {
                gpus[card].pods.push(GpuPod {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    uid: Some(grant.uid.clone()),
                    slots: 1,
                    ..GpuPod::default()
                });
            }
        }
        for (node, gpus) in now {
            if told.get(&node) != Some(&gpus) {
                let status = Patch::Merge(json!({ "status": { "gpus": gpus } }));
                let params = PatchParams::default();
                let written = api.patch_status(&node, &params, &status).await;
                written.unwrap();
                told.insert(node, gpus);
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The number of the card that `GPU-node-0001-1::3` is a slot of.
fn card(id: &str) -> Option<usize> {
    let (card, _) = id.split_once("::")?;
    card.rsplit_once('-')?.1.parse().ok()
}
