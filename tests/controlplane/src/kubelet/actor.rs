//! The task that follows nodes and pods, and gives each pod a task of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use super::devices::{Devices, Rejection, Shortage};
use super::life::{self, Shared, Stage};
use super::writer::Writer;
use super::{KubeletOptions, status};

/// Label of a node: into how many slots each of its cards is split.
const REPLICAS: &str = "nvidia.com/gpu.replicas";

/// The wish that a pod ends now.
pub(super) struct Finish {
    pub(super) uid: String,
    /// Dropped when the pod has ended.
    pub(super) done: oneshot::Sender<()>,
}

/// The state of all kubelets.
pub(super) struct Actor {
    shared: Shared,
    options: KubeletOptions,
    rejections: Arc<Mutex<Vec<Rejection>>>,
    /// By UID.
    lives: BTreeMap<String, Life>,
    /// The UIDs of pods that are past their end.
    ended: BTreeSet<String>,
    /// Pods that were seen before their node was.
    homeless: Vec<Pod>,
    /// While a new list is read: the pods that are in it.
    listed: BTreeSet<String>,
    pods_started: u32,
    tasks: JoinSet<()>,
}

/// What is known of a pod.
struct Life {
    finish: mpsc::UnboundedSender<oneshot::Sender<()>>,
    /// The other end, until the pod is first seen: its end can be asked for before that.
    inbox: Option<mpsc::UnboundedReceiver<oneshot::Sender<()>>>,
    pod: Option<Pod>,
    task: Option<AbortHandle>,
    leaving: bool,
}

impl Actor {
    pub(super) fn new(
        writer: Writer,
        options: KubeletOptions,
        rejections: Arc<Mutex<Vec<Rejection>>>,
        devices: Arc<Mutex<Devices>>,
    ) -> Self {
        let writer = Arc::new(writer);
        Self {
            shared: Shared { writer, devices },
            options,
            rejections,
            lives: BTreeMap::new(),
            ended: BTreeSet::new(),
            homeless: Vec::new(),
            listed: BTreeSet::new(),
            pods_started: 0,
            tasks: JoinSet::new(),
        }
    }

    /// Runs until it is aborted. A watch that breaks is repeated by itself, more and more slowly.
    pub(super) async fn run(
        mut self,
        client: Client,
        mut requests: mpsc::UnboundedReceiver<Finish>,
    ) {
        let bound = watcher::Config::default().fields("spec.nodeName!=");
        let nodes = watcher(Api::<Node>::all(client.clone()), watcher::Config::default());
        let pods = watcher(Api::<Pod>::all(client), bound);
        let (mut nodes, mut pods) = (pin!(nodes.default_backoff()), pin!(pods.default_backoff()));
        loop {
            tokio::select! {
                Some(event) = nodes.next() => event.into_iter().for_each(|e| self.node_changed(e)),
                Some(event) = pods.next() => event.into_iter().for_each(|e| self.pod_changed(e)),
                Some(request) = requests.recv() => self.finish(request),
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    fn node_changed(&mut self, event: Event<Node>) {
        match event {
            Event::Apply(node) | Event::InitApply(node) => {
                let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
                let amounts = allocatable.map(life::amounts).unwrap_or_default();
                let per_card = node.labels().get(REPLICAS).and_then(|n| n.parse().ok());
                let (name, per_card) = (node.name_any(), per_card.unwrap_or(1));
                self.devices(|devices| devices.set_allocatable(&name, amounts, per_card));
                for pod in std::mem::take(&mut self.homeless) {
                    self.begin(pod);
                }
            }
            Event::Delete(node) => self.devices(|devices| devices.remove_node(&node.name_any())),
            Event::Init | Event::InitDone => {}
        }
    }

    fn pod_changed(&mut self, event: Event<Pod>) {
        match event {
            Event::Apply(pod) => self.observe(pod),
            Event::Delete(pod) => self.forget(&pod.uid().unwrap_or_default()),
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.extend(pod.uid());
                self.observe(pod);
            }
            Event::InitDone => self.forget_unlisted(),
        }
    }

    fn observe(&mut self, pod: Pod) {
        match life::stage(&pod) {
            Stage::Alive => self.begin(pod),
            Stage::Leaving => self.leave(pod),
            Stage::Over => self.forget(&pod.uid().unwrap_or_default()),
        }
    }

    /// Admits a pod that is seen for the first time, and runs it.
    fn begin(&mut self, pod: Pod) {
        let uid = pod.uid().unwrap_or_default();
        let (node, wanted) = (life::node(&pod).to_owned(), life::devices(&pod));
        if !self.devices(|devices| devices.knows(&node)) {
            self.homeless.push(pod);
            return;
        }
        let life = self.lives.entry(uid.clone()).or_default();
        let Some(inbox) = life.inbox.take() else {
            return;
        };
        life.pod = Some(pod.clone());
        let task = match self.devices(|devices| devices.admit(&node, &uid, &wanted)) {
            Ok(()) => {
                let ip = self.next_ip();
                self.tasks.spawn(self.shared.clone().live(pod, ip, inbox))
            }
            Err(shortage) => self.reject(pod, shortage),
        };
        if let Some(life) = self.lives.get_mut(&uid) {
            life.task = Some(task);
        }
    }

    fn reject(&mut self, pod: Pod, shortage: Shortage) -> AbortHandle {
        let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
        let node = life::node(&pod).to_owned();
        let (resource, requested, free) = shortage.clone();
        let rejection = Rejection {
            pod: name,
            node,
            resource,
            requested,
            free,
        };
        self.rejections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(rejection);
        let writer = Arc::clone(&self.shared.writer);
        let task = async move {
            let status = status::rejected(&shortage);
            writer.patch_status(&pod, status).await;
        };
        self.tasks.spawn(task)
    }

    fn leave(&mut self, pod: Pod) {
        let life = self.lives.entry(pod.uid().unwrap_or_default()).or_default();
        if std::mem::replace(&mut life.leaving, true) {
            return;
        }
        life.inbox = None;
        life.pod = Some(pod.clone());
        let task = self.shared.clone().leave(pod, self.options.termination);
        if let Some(running) = life.task.replace(self.tasks.spawn(task)) {
            running.abort();
        }
    }

    /// A pod has ended, or is gone: nothing is left to do for it.
    fn forget(&mut self, uid: &str) {
        self.homeless
            .retain(|pod| pod.metadata.uid.as_deref() != Some(uid));
        self.ended.insert(uid.to_owned());
        let Some(life) = self.lives.remove(uid) else {
            return;
        };
        if let Some(task) = life.task {
            task.abort();
        }
        if let Some(pod) = life.pod {
            self.shared.release(&pod);
        }
    }

    /// A watch that was broken does not tell of the pods that went meanwhile.
    fn forget_unlisted(&mut self) {
        let seen = self.lives.iter().filter(|(_, life)| life.pod.is_some());
        let gone = seen.filter(|(uid, _)| !self.listed.contains(*uid));
        for uid in gone.map(|(uid, _)| uid.clone()).collect::<Vec<_>>() {
            self.forget(&uid);
        }
    }

    fn finish(&mut self, request: Finish) {
        if self.ended.contains(&request.uid) {
            return;
        }
        let life = self.lives.entry(request.uid).or_default();
        // When nobody receives any more, the pod has ended already.
        let _ = life.finish.send(request.done);
    }

    fn devices<T>(&self, action: impl FnOnce(&mut Devices) -> T) -> T {
        action(
            &mut self
                .shared
                .devices
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Unique among the first 16 million pods.
    fn next_ip(&mut self) -> Ipv4Addr {
        self.pods_started += 1;
        Ipv4Addr::from_bits(
            Ipv4Addr::new(10, 0, 0, 0).to_bits() | (self.pods_started & 0x00ff_ffff),
        )
    }
}

impl Default for Life {
    fn default() -> Self {
        let (finish, inbox) = mpsc::unbounded_channel();
        Self {
            finish,
            inbox: Some(inbox),
            pod: None,
            task: None,
            leaving: false,
        }
    }
}
