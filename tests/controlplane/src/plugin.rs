//! NVIDIA's device plugin of every node at once, with its config-manager and feature discovery, as far
//! as the API server sees them.
//!
//! The label that names a configuration has them restart: the node offers nothing for a while, and
//! then what the configuration says; the resource that was offered before stays, with nothing of it.
//! Pods are not evicted. A configuration that there is not changes nothing, for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::GPU;
use crate::error::Result;

/// What the names of all that it offers begin with.
const VENDOR: &str = "nvidia.com/";
/// Label of a node: the configuration that is to be in force.
const CONFIG: &str = "nvidia.com/device-plugin.config";
/// Label of a node: how many cards it has.
const COUNT: &str = "nvidia.com/gpu.count";
const STRATEGY: &str = "nvidia.com/gpu.sharing-strategy";
const REPLICAS: &str = "nvidia.com/gpu.replicas";

/// How the device plugin behaves.
#[derive(Clone, Debug)]
pub struct PluginOptions {
    /// The names of its configurations: `exclusive`, `timeslice-4`, `mps-4`.
    pub configurations: BTreeSet<String>,
    /// How long it takes until it has noticed the label, and again until it offers something.
    pub restart: Duration,
    /// How much longer it waits for the MPS daemon.
    pub mps: Duration,
}

impl Default for PluginOptions {
    fn default() -> Self {
        Self {
            configurations: ["exclusive", "timeslice-4", "mps-4"]
                .map(str::to_owned)
                .into(),
            restart: Duration::from_millis(500),
            mps: Duration::from_secs(1),
        }
    }
}

/// Plays the device plugin of every node that says how many cards it has and which configuration is
/// in force there. Dropping this stops it.
pub struct DevicePlugin {
    plugin: Plugin,
    task: JoinHandle<()>,
}

impl DevicePlugin {
    /// Starts it in the current tokio runtime, with an administrator's client. What nodes say when
    /// they are first seen is in force.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(client: Client, options: PluginOptions) -> Self {
        let plugin = Plugin {
            client,
            options,
            busy: Arc::default(),
        };
        let actor = Actor {
            plugin: plugin.clone(),
            in_force: BTreeMap::new(),
            switches: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        Self {
            plugin,
            task: tokio::spawn(actor.run()),
        }
    }

    /// Has the plugin of a node go away and come back, as when its DaemonSet is updated: meanwhile the
    /// kubelet offers nothing of its devices, and pods keep what they have. Returns when it is back.
    ///
    /// # Errors
    ///
    /// When the API server does not answer, or there is no such node.
    pub async fn restart(&self, node: &str) -> Result<()> {
        let api: Api<Node> = Api::all(self.plugin.client.clone());
        let offered = api.get(node).await?.status.unwrap_or_default().capacity;
        let offered = offered.unwrap_or_default().into_iter();
        let devices: BTreeMap<String, String> = offered
            .filter(|(resource, _)| resource.starts_with(VENDOR))
            .map(|(resource, amount)| (resource, amount.0))
            .collect();
        let none: BTreeMap<&String, &str> = devices.keys().map(|key| (key, "0")).collect();
        for amounts in [json!(none), json!(devices)] {
            let status = Patch::Merge(json!({ "status": { "allocatable": amounts } }));
            api.patch_status(node, &PatchParams::default(), &status)
                .await?;
            sleep(self.plugin.options.restart).await;
        }
        Ok(())
    }

    /// Nodes that were switched while pods had GPUs there, with these pods: kubelet would have given
    /// their cards out a second time. A test asserts that there are none.
    #[must_use]
    pub fn switched_busy(&self) -> Vec<String> {
        let busy = self.plugin.busy.lock();
        busy.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for DevicePlugin {
    fn drop(&mut self) {
        // The switches under way belong to this one and end with it.
        self.task.abort();
    }
}

struct Actor {
    plugin: Plugin,
    /// What each node's label said last.
    in_force: BTreeMap<String, String>,
    switches: BTreeMap<String, AbortHandle>,
    tasks: JoinSet<()>,
}

impl Actor {
    async fn run(mut self) {
        let api: Api<Node> = Api::all(self.plugin.client.clone());
        let nodes = watcher(api, watcher::Config::default()).default_backoff();
        let mut nodes = pin!(nodes.applied_objects());
        loop {
            tokio::select! {
                Some(node) = nodes.next() => node.into_iter().for_each(|node| self.seen(&node)),
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    fn seen(&mut self, node: &Node) {
        let (name, labels) = (node.name_any(), node.labels());
        let cards = labels.get(COUNT).and_then(|count| count.parse().ok());
        let Some((config, cards)) = labels.get(CONFIG).zip(cards) else {
            return;
        };
        let before = self.in_force.insert(name.clone(), config.clone());
        if before.is_none_or(|before| before == *config) {
            return;
        }
        let Some(offer) = self.plugin.offer(config, cards) else {
            return;
        };
        let switch = self
            .tasks
            .spawn(self.plugin.clone().switch(name.clone(), offer));
        // The last word counts.
        if let Some(earlier) = self.switches.insert(name, switch) {
            earlier.abort();
        }
    }
}

#[derive(Clone)]
struct Plugin {
    client: Client,
    options: PluginOptions,
    busy: Arc<Mutex<Vec<String>>>,
}

/// What a node offers, and says of it.
struct Offer {
    resource: String,
    count: u32,
    strategy: &'static str,
    replicas: u32,
}

impl Plugin {
    fn offer(&self, config: &str, cards: u32) -> Option<Offer> {
        let known = self.options.configurations.get(config)?;
        let (strategy, replicas) = match known.rsplit_once('-') {
            None if known == "exclusive" => ("none", 1),
            Some(("timeslice", replicas)) => ("time-slicing", replicas.parse().ok()?),
            Some(("mps", replicas)) => ("mps", replicas.parse().ok()?),
            _ => return None,
        };
        let suffix = if replicas > 1 { ".shared" } else { "" };
        Some(Offer {
            resource: format!("{GPU}{suffix}"),
            count: cards * replicas,
            strategy,
            replicas,
        })
    }

    async fn switch(self, node: String, offer: Offer) {
        sleep(self.options.restart).await;
        let busy = self.pods_with_gpus(&node).await;
        if !busy.is_empty() {
            let mut known = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
            known.push(format!("{node}: {}", busy.join(", ")));
        }
        self.offers(&node, BTreeMap::new()).await;
        let mps = match offer.strategy {
            "mps" => self.options.mps,
            _ => Duration::ZERO,
        };
        sleep(self.options.restart + mps).await;
        let labels = json!({ STRATEGY: offer.strategy, REPLICAS: offer.replicas.to_string() });
        let labels = json!({ "metadata": { "labels": labels } });
        let api: Api<Node> = Api::all(self.client.clone());
        // Whoever removes the node meanwhile has no use for it.
        let _ = api
            .patch(&node, &PatchParams::default(), &Patch::Merge(labels))
            .await;
        self.offers(&node, BTreeMap::from([(offer.resource, offer.count)]))
            .await;
    }

    /// The node offers this of GPUs, and nothing of what it offered before.
    async fn offers(&self, node: &str, amounts: BTreeMap<String, u32>) {
        let all = [GPU.to_owned(), format!("{GPU}.shared")];
        let amounts: BTreeMap<String, String> = all
            .into_iter()
            .map(|resource| {
                let amount = amounts.get(&resource).copied().unwrap_or_default();
                (resource, amount.to_string())
            })
            .collect();
        let status = json!({ "status": { "capacity": amounts, "allocatable": amounts } });
        let api: Api<Node> = Api::all(self.client.clone());
        let _ = api
            .patch_status(node, &PatchParams::default(), &Patch::Merge(status))
            .await;
    }

    async fn pods_with_gpus(&self, node: &str) -> Vec<String> {
        let api: Api<Pod> = Api::all(self.client.clone());
        let fields = format!("spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed");
        let pods = api.list(&ListParams::default().fields(&fields)).await;
        let pods = pods.into_iter().flat_map(|pods| pods.items);
        pods.filter(has_gpus).map(|pod| pod.name_any()).collect()
    }
}

fn has_gpus(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let limits = containers.filter_map(|container| container.resources.as_ref()?.limits.as_ref());
    let mut names = limits.flat_map(BTreeMap::keys);
    names.any(|name| name.starts_with(GPU))
}
