//! Every kubelet of the cluster at once, without containers.

mod actor;
mod devices;
mod heartbeat;
mod life;
mod status;
mod writer;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use devices::{Allocation, Grant, Rejection};

use crate::error::{Error, Result};
use actor::{Actor, Finish};
use devices::Devices;
use writer::Writer;

/// The annotation of a pod that ends by itself: after how many seconds, as a decimal number.
pub const RUN_SECONDS: &str = "prorata.dev/test-run-seconds";

/// The annotation of a pod that takes its own time to end once it is deleted: how many seconds, as
/// a decimal number.
pub const TERMINATION_SECONDS: &str = "prorata.dev/test-termination-seconds";

/// How the fake kubelet behaves.
#[derive(Clone, Debug)]
pub struct KubeletOptions {
    /// How long a pod takes to end once it is deleted.
    pub termination: Duration,
    /// How many writes are under way at once.
    pub writes_in_flight: usize,
    /// How slots are chosen of cards that are split.
    pub allocation: Allocation,
    /// How often each node tells that it is there, if at all.
    pub heartbeat: Option<Duration>,
}

/// Plays the kubelet of every node: runs pods that are bound, ends them on demand or after the
/// time in their annotation, and removes them after their deletion. A pod for which its node has
/// no GPU, slot of one or MIG instance left becomes Failed, as a kubelet would have it. Dropping this stops all of it.
pub struct Kubelet {
    client: Client,
    requests: mpsc::UnboundedSender<Finish>,
    rejections: Arc<Mutex<Vec<Rejection>>>,
    devices: Arc<Mutex<Devices>>,
    cut_off: watch::Sender<CutOff>,
    _tasks: JoinSet<()>,
}

/// The nodes that reach the API server no more.
type CutOff = BTreeSet<String>;

/// How long the watch may lag behind the API server.
const FINISH_WITHIN: Duration = Duration::from_secs(30);

impl Default for KubeletOptions {
    fn default() -> Self {
        Self {
            termination: Duration::ZERO,
            writes_in_flight: 16,
            allocation: Allocation::default(),
            heartbeat: None,
        }
    }
}

impl Kubelet {
    /// Starts it in the current tokio runtime, with an administrator's client.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(client: Client, options: KubeletOptions) -> Self {
        let (requests, inbox) = mpsc::unbounded_channel();
        let rejections = Arc::default();
        let devices = Arc::new(Mutex::new(Devices::new(options.allocation)));
        let (known, handed_out) = (Arc::clone(&rejections), Arc::clone(&devices));
        let cut_off = watch::Sender::new(CutOff::new());
        let writer = Writer::new(
            client.clone(),
            options.writes_in_flight,
            cut_off.subscribe(),
        );
        let mut tasks = JoinSet::new();
        if let Some(every) = options.heartbeat {
            tasks.spawn(heartbeat::run(client.clone(), every, cut_off.subscribe()));
        }
        let actor = Actor::new(writer, options, known, handed_out);
        tasks.spawn(actor.run(client.clone(), inbox));
        Self {
            client,
            requests,
            rejections,
            devices,
            cut_off,
            _tasks: tasks,
        }
    }

    /// Cuts a node off the network: it tells nothing and hears nothing, and its pods run on.
    pub fn cut_off(&self, node: &str) {
        self.cut_off
            .send_modify(|nodes| _ = nodes.insert(node.to_owned()));
    }

    /// Ends that: what the node has to tell is told.
    pub fn reconnect(&self, node: &str) {
        self.cut_off.send_modify(|nodes| _ = nodes.remove(node));
    }

    /// Which devices each pod has now.
    #[must_use]
    pub fn grants(&self) -> Vec<Grant> {
        let devices = self.devices.lock();
        devices.unwrap_or_else(PoisonError::into_inner).grants()
    }

    /// Ends every pod of a Job that is bound to a node, successfully, and returns how many they
    /// were once the API server knows. Pods that are not bound yet are left alone.
    ///
    /// # Errors
    ///
    /// When the pods cannot be listed, or are not ended within half a minute.
    pub async fn finish(&self, namespace: &str, job: &str) -> Result<usize> {
        let of_job = format!("batch.kubernetes.io/job-name={job}");
        self.finish_all(namespace, job, ListParams::default().labels(&of_job))
            .await
    }

    /// The same for the pod of this name.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not ended within half a minute.
    pub async fn finish_pod(&self, namespace: &str, pod: &str) -> Result<usize> {
        let named = format!("metadata.name={pod}");
        self.finish_all(namespace, pod, ListParams::default().fields(&named))
            .await
    }

    async fn finish_all(&self, namespace: &str, name: &str, selector: ListParams) -> Result<usize> {
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace)
            .list(&selector)
            .await?;
        let mut replies = Vec::new();
        for pod in pods.items.iter().filter(|pod| life::is_due(pod)) {
            let (done, reply) = oneshot::channel();
            let uid = pod.uid().unwrap_or_default();
            if self.requests.send(Finish { uid, done }).is_ok() {
                replies.push(reply);
            }
        }
        let count = replies.len();
        // A reply is never sent: the pod's task lets go of its end when the pod has ended.
        let all = async {
            for reply in replies {
                let _ = reply.await;
            }
        };
        let late = |_| Error::NotFinished(format!("{namespace}/{name}"));
        timeout(FINISH_WITHIN, all).await.map_err(late)?;
        Ok(count)
    }

    /// The pods that were bound to a node without room for them. A test asserts that there are none.
    #[must_use]
    pub fn rejections(&self) -> Vec<Rejection> {
        self.rejections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
