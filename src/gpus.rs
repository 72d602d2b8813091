//! What the agents on GPU nodes say, as far as the controller acts on it: which pods disturb each
//! other, how GPUs are divided, and whether an agent says anything any more.
//!
//! An agent is believed about its own node alone: a pod that it names has to be there. What it has
//! said counts for nothing while it is silent.

pub mod agents;
pub mod demand;
pub mod noise;
pub mod occupants;
pub mod partition;
pub mod repartition;
pub mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::{Either, select};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use prorata_core::NodeId;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::api::gpunode::Repartition;
use crate::api::{GpuNode, labels};
use crate::config::{self, Action};
use crate::effects::{Notice, Writer};
use crate::leader::Tenure;
use crate::view::Views;
use crate::watch::Change;
use noise::{Case, Key};

/// What there is to be read of the agents, as it was last heard.
#[derive(Clone)]
pub struct Heard {
    nodes: Store<GpuNode>,
    pods: Store<Pod>,
}

impl Heard {
    /// What the agents say of their nodes.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<GpuNode>> {
        self.nodes.state()
    }

    /// What the agent of one node says.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<Arc<GpuNode>> {
        self.nodes.get(&ObjectRef::new(name))
    }

    /// The nodes among these whose agents say nothing, and why.
    #[must_use]
    pub fn silent(&self, nodes: &[Arc<GpuNode>]) -> BTreeMap<String, &'static str> {
        let pods = self.pods.state();
        let names = nodes.iter().map(|node| node.name_any());
        agents::silent(names, pods.iter().map(AsRef::as_ref))
    }
}

/// A tick whenever something else is heard of a node, or of an agent's pod. Nothing is heard while
/// nobody waits for them.
pub struct News {
    nodes: Ticks,
    pods: Ticks,
}

/// Begins to hear what the agents say.
#[must_use]
pub fn hear(reads: &Client) -> (Heard, News) {
    let (nodes, of_nodes) = mirror::<GpuNode>(
        Api::all(reads.clone()),
        watcher::Config::default(),
        "GpuNodes",
    );
    let (pods, of_pods) = mirror::<Pod>(
        Api::namespaced(reads.clone(), labels::AGENT_NAMESPACE),
        watcher::Config::default().labels(agents::SELECTOR),
        "the agents' pods",
    );
    let news = News {
        nodes: of_nodes,
        pods: of_pods,
    };
    (Heard { nodes, pods }, news)
}

/// Follows what the agents say.
pub struct Follower {
    reads: Client,
    heard: Heard,
    writer: Writer,
    views: Views,
    tenure: Tenure,
    noise: config::Noise,
    inbox: mpsc::Sender<Change>,
    /// What has been noticed, with the pod to blame.
    known: BTreeMap<Key, Option<Blamed>>,
    closed: BTreeSet<NodeId>,
    disturbing: BTreeSet<(String, NodeId)>,
    /// The versions of GpuNodes whose pods the loop knows.
    counted: BTreeMap<String, String>,
    /// Nodes whose agents cannot be right, and why.
    disbelieved: BTreeMap<String, String>,
}

/// A pod that is to blame, and that is there.
#[derive(Clone, Debug)]
struct Blamed {
    uid: String,
    tenant: Option<String>,
}

impl Follower {
    /// One that has heard nothing, and reports. It reads by the client, tells people by the writer,
    /// and the loop by its inbox which nodes take nobody new.
    #[must_use]
    pub fn new(
        (reads, heard): (Client, Heard),
        writer: Writer,
        views: Views,
        inbox: mpsc::Sender<Change>,
    ) -> Self {
        Self {
            reads,
            heard,
            writer,
            views,
            tenure: Tenure::default(),
            noise: config::Noise::default(),
            inbox,
            known: BTreeMap::new(),
            closed: BTreeSet::new(),
            disturbing: BTreeSet::new(),
            counted: BTreeMap::new(),
            disbelieved: BTreeMap::new(),
        }
    }

    /// The same, which does this about noise, and tells people while this tenure lasts.
    #[must_use]
    pub fn acting(self, noise: config::Noise, tenure: Tenure) -> Self {
        Self {
            noise,
            tenure,
            ..self
        }
    }

    /// Follows for ever. What cannot be listed is tried again, and nobody waits for it.
    pub async fn run(mut self, News { nodes, pods }: News) {
        let (mut of_nodes, mut of_pods) = (nodes, pods);
        loop {
            // A burst is looked at once.
            match select(of_nodes.next(), of_pods.next()).await {
                Either::Left((Some(()), _)) | Either::Right((Some(()), _)) => {}
                Either::Left((None, _)) | Either::Right((None, _)) => return,
            }
            while let Some(Some(())) = of_nodes.next().now_or_never() {}
            while let Some(Some(())) = of_pods.next().now_or_never() {}
            self.look(&self.heard.nodes()).await;
        }
    }

    async fn look(&mut self, nodes: &[Arc<GpuNode>]) {
        let silent = self.heard.silent(nodes);
        self.count(nodes).await;
        let heard = nodes
            .iter()
            .filter(|node| !silent.contains_key(&node.name_any()));
        let cases: Vec<Case> = heard.flat_map(|node| noise::cases(node)).collect();
        let keys: BTreeSet<Key> = cases.iter().map(Case::key).collect();
        self.known.retain(|key, _| keys.contains(key));
        for case in &cases {
            if !self.known.contains_key(&case.key()) {
                let blamed = self.notice(case).await;
                self.known.insert(case.key(), blamed);
            }
        }
        let noisy = self.known.iter();
        let noisy = noisy.map(|(key, blamed)| {
            let tenant = blamed.as_ref().and_then(|blamed| blamed.tenant.clone());
            (key.node.clone(), tenant)
        });
        let metrics = self.views.metrics();
        let stalled = nodes.iter().filter(|node| is_stalled(node));
        let stalled = stalled.map(|node| node.name_any()).collect();
        metrics.gpu_nodes(noisy.collect(), silent.into_keys().collect(), stalled);
        self.close(&cases).await;
        self.set_apart().await;
    }

    /// Tells the loop which GPUs pods have, and people where that cannot be.
    async fn count(&mut self, nodes: &[Arc<GpuNode>]) {
        let Some(snapshot) = self.snapshot() else {
            return;
        };
        let offers: BTreeMap<&str, &prorata_core::Node> = snapshot
            .nodes()
            .map(|node| (node.id.as_str(), node))
            .collect();
        for node in nodes {
            let (name, version) = (node.name_any(), node.resource_version());
            let version = version.unwrap_or_default();
            let Some(offers) = offers.get(name.as_str()) else {
                continue;
            };
            // What offers nothing now may be believed when it does again.
            if self.counted.get(&name) == Some(&version) || offers.cards() == 0 {
                continue;
            }
            match occupants::of(node, offers) {
                Ok(pods) => {
                    self.disbelieved.remove(&name);
                    // The loop may have ended; then so does this.
                    let node = NodeId::from(name.as_str());
                    let _ = self.inbox.send(Change::Occupied(node, pods)).await;
                }
                Err(why) => self.disbelieve(&name, why).await,
            }
            self.counted.insert(name, version);
        }
        let there: BTreeSet<String> = nodes.iter().map(|node| node.name_any()).collect();
        self.counted.retain(|name, _| there.contains(name));
    }

    async fn disbelieve(&mut self, node: &str, why: String) {
        if self.disbelieved.get(node) == Some(&why) {
            return;
        }
        warn!(node, why, "the agent cannot be right");
        if self.tenure.is_held() {
            let message = format!(
                "its GpuNode says {why}: what its agent says of pods on GPUs counts for nothing until it can be right"
            );
            let notice = Notice {
                reason: "GpuNodeDisbelieved".to_owned(),
                message,
            };
            self.writer.tell(about(node), notice).await;
        }
        self.disbelieved.insert(node.to_owned(), why);
    }

    fn snapshot(&self) -> Option<prorata_core::Snapshot> {
        let view = self.views.latest();
        view.as_ref().as_ref().map(|view| view.snapshot.clone())
    }

    /// Tells those whom it concerns; answers with the pod that is to blame, if it is there.
    async fn notice(&self, case: &Case) -> Option<Blamed> {
        let tells = self.tenure.is_held() && case.is_fresh(Timestamp::now());
        if tells {
            self.tell_others(case).await;
        }
        let one = case.noise.offender.as_ref()?;
        let there = self.pod_there(case, &one.namespace, &one.name, one.uid.as_deref());
        let Some(about) = there.await else {
            warn!(
                node = case.node,
                namespace = one.namespace,
                pod = one.name,
                "the agent blames a pod that is not there"
            );
            return None;
        };
        let uid = about.uid.clone().unwrap_or_default();
        if tells {
            let mut notice = case.to_offender()?;
            if self.noise.action == Action::MoveAtRestart {
                notice.message +=
                    "; the next time its job is started on another node, if there is one";
            }
            self.writer.tell(about, notice).await;
        }
        let views = self.views.latest();
        let view = views.as_ref().as_ref();
        let tenant = view.and_then(|view| view.namespaces.get(&one.namespace));
        Some(Blamed {
            uid,
            tenant: tenant.map(ToString::to_string),
        })
    }

    /// Tells the users of the pods that are disturbed, and the administrators of the node.
    async fn tell_others(&self, case: &Case) {
        let what = case.noise.contention.name();
        info!(
            node = case.node,
            gpu = case.gpu,
            what,
            "pods disturb each other"
        );
        let notice = case.to_administrators();
        self.writer.tell(about(&case.node), notice).await;
        for pod in &case.noise.disturbed {
            let there = self.pod_there(case, &pod.namespace, &pod.name, None);
            if let Some(about) = there.await {
                self.writer.tell(about, case.to_disturbed()).await;
            }
        }
    }

    /// A pod on the case's node; `None` where it is not there, or that cannot be learnt.
    async fn pod_there(
        &self,
        case: &Case,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
    ) -> Option<ObjectReference> {
        let pods: Api<Pod> = Api::namespaced(self.reads.clone(), namespace);
        let fields = format!("metadata.name={name},spec.nodeName={}", case.node);
        let found = pods
            .list(&ListParams::default().fields(&fields))
            .await
            .ok()?;
        let pod = found.items.into_iter().next()?;
        let is_it = uid.is_none() || pod.metadata.uid.as_deref() == uid;
        is_it.then(|| pod.object_ref(&()))
    }

    /// Tells the loop which nodes take nobody new on their shared GPUs.
    async fn close(&mut self, cases: &[Case]) {
        if self.noise.action != Action::StopSharing {
            return;
        }
        let noisy: BTreeSet<NodeId> = cases.iter().map(|case| case.node.as_str().into()).collect();
        if noisy != self.closed {
            self.closed.clone_from(&noisy);
            // The loop may have ended; then so does this.
            let _ = self.inbox.send(Change::Closed(noisy)).await;
        }
    }

    /// Tells the loop which pods are to blame, so that their jobs are started elsewhere.
    async fn set_apart(&mut self) {
        if self.noise.action != Action::MoveAtRestart {
            return;
        }
        let blamed = self.known.iter().filter_map(|(key, blamed)| {
            let uid = blamed.as_ref()?.uid.clone();
            Some((uid, NodeId::from(key.node.as_str())))
        });
        let blamed: BTreeSet<(String, NodeId)> = blamed.collect();
        if blamed != self.disturbing {
            self.disturbing.clone_from(&blamed);
            let change = Change::Disturbing(blamed, self.noise.moved_for);
            // The loop may have ended; then so does this.
            let _ = self.inbox.send(change).await;
        }
    }
}

fn is_stalled(node: &GpuNode) -> bool {
    let status = node.status.as_ref();
    let record = status.and_then(|status| status.repartition.as_ref());
    record.is_some_and(Repartition::is_stalled)
}

/// A node, for an Event.
fn about(node: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Node".to_owned()),
        name: Some(node.to_owned()),
        // As the kubelet's own Events have it.
        uid: Some(node.to_owned()),
        ..ObjectReference::default()
    }
}

type Ticks = BoxStream<'static, ()>;

/// A copy of what there is, and a tick whenever it has changed.
fn mirror<K>(api: Api<K>, config: watcher::Config, what: &'static str) -> (Store<K>, Ticks)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    K: Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let events = watcher(api, config).default_backoff();
    let events = events.modify(|object| object.managed_fields_mut().clear());
    let ticks = events.reflect(writer).filter_map(move |event| async move {
        use watcher::Event::{Apply, Delete, InitDone};
        match event {
            Ok(Apply(_) | Delete(_) | InitDone) => Some(()),
            Ok(_) => None,
            Err(error) => {
                warn!(%error, "a watch of {what} broke off");
                None
            }
        }
    });
    (store, ticks.boxed())
}
