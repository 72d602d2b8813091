//! Writes about pods: of those that wait in the queue themselves, and where others are to go.

use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use prorata_core::{JobId, NodeId};
use serde_json::json;

use super::{Writer, eviction, fault};
use crate::api::labels;
use crate::translate::PodView;

/// Writes about pods of one job under way at the same time.
const WRITES_MAX: usize = 8;

/// A pod, and no later one of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// Its name, in the namespace of its job.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// What is done to the pods of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodsWrite {
    /// Each is told its node and let go.
    LetGo(Vec<(PodName, NodeId)>),
    /// Each is told its node: kube-scheduler tries it, and has not looked at that one.
    Nominate(Vec<(PodName, NodeId)>),
    /// Each is asked to leave. A PodDisruptionBudget may say no for now.
    Evict(Vec<PodName>),
    /// Each is deleted: a PodDisruptionBudget has said no for long enough.
    Delete(Vec<PodName>),
    /// Each is deleted: what it is of is over.
    End(Vec<PodName>),
}

impl PodsWrite {
    /// How many requests it takes; to end a pod, two: it is told why.
    pub(super) fn requests(&self) -> u32 {
        let requests = match self {
            Self::LetGo(pods) | Self::Nominate(pods) => pods.len(),
            Self::Evict(pods) | Self::End(pods) => pods.len(),
            Self::Delete(pods) => 2 * pods.len(),
        };
        u32::try_from(requests).unwrap_or(u32::MAX)
    }
}

impl Writer {
    /// Does it to every pod, and answers with those that were written and the first failure.
    pub(super) async fn pods(
        &self,
        job: &JobId,
        write: PodsWrite,
    ) -> (Vec<PodView>, kube::Result<()>) {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), job.namespace());
        match write {
            PodsWrite::LetGo(pods) => {
                let writes = pods.iter().map(|(pod, node)| self.let_go(&api, pod, node));
                collect(writes).await
            }
            PodsWrite::Nominate(pods) => {
                let writes = pods
                    .iter()
                    .map(|(pod, node)| self.nominate_unbound(&api, pod, node));
                collect(writes).await
            }
            PodsWrite::Evict(pods) => collect(pods.iter().map(|pod| evict(&api, pod))).await,
            PodsWrite::Delete(pods) => collect(pods.iter().map(|pod| delete(&api, pod))).await,
            PodsWrite::End(pods) => collect(pods.iter().map(|pod| self.end(&api, pod))).await,
        }
    }

    /// The node first, so that kube-scheduler knows it when it first sees the pod.
    async fn let_go(
        &self,
        api: &Api<Pod>,
        pod: &PodName,
        node: &NodeId,
    ) -> kube::Result<Option<PodView>> {
        nominate(api, pod, node).await?;
        let metadata = json!({"uid": pod.uid});
        let params = PatchParams::default();
        let gate = json!({"name": labels::GATE, "$patch": "delete"});
        let open = json!({"metadata": metadata, "spec": {"schedulingGates": [gate]}});
        let written = api
            .patch(&pod.name, &params, &Patch::Strategic(open))
            .await?;
        fault::after_write();
        Ok(Some(PodView::new(&written, &self.gpu_resource)))
    }

    async fn end(&self, api: &Api<Pod>, pod: &PodName) -> kube::Result<Option<PodView>> {
        let answer = eviction::delete(api, &pod.name, &pod.uid).await;
        fault::after_write();
        match answer {
            Ok(leaving) => Ok(leaving.map(|pod| PodView::new(&pod, &self.gpu_resource))),
            Err(error) => left(Err(error)),
        }
    }

    /// A pod that has a node by now takes no other: that is news to come, as if it had gone.
    async fn nominate_unbound(
        &self,
        api: &Api<Pod>,
        pod: &PodName,
        node: &NodeId,
    ) -> kube::Result<Option<PodView>> {
        match nominate(api, pod, node).await {
            Err(kube::Error::Api(mut status)) if status.code == 422 => {
                status.code = 409;
                Err(kube::Error::Api(status))
            }
            written => Ok(Some(PodView::new(&written?, &self.gpu_resource))),
        }
    }
}

async fn nominate(api: &Api<Pod>, pod: &PodName, node: &NodeId) -> kube::Result<Pod> {
    let metadata = json!({"uid": pod.uid});
    let nominated = json!({"metadata": metadata, "status": {"nominatedNodeName": node.as_str()}});
    let params = PatchParams::default();
    let written = api
        .patch_status(&pod.name, &params, &Patch::Merge(nominated))
        .await?;
    fault::after_write();
    Ok(written)
}

async fn evict(api: &Api<Pod>, pod: &PodName) -> kube::Result<Option<PodView>> {
    let answer = eviction::evict(api, &pod.name, &pod.uid).await;
    fault::after_write();
    left(answer)
}

/// As an eviction ends it: whoever counts failures does not count this one.
async fn delete(api: &Api<Pod>, pod: &PodName) -> kube::Result<Option<PodView>> {
    let answer = eviction::announce(api, &pod.name, &pod.uid).await;
    fault::after_write();
    if answer.is_err() {
        return left(answer);
    }
    let answer = eviction::delete(api, &pod.name, &pod.uid).await;
    fault::after_write();
    left(answer.map(drop))
}

/// Whoever is gone, or another by now, has left.
fn left(answer: kube::Result<()>) -> kube::Result<Option<PodView>> {
    match answer {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
        answer => answer.map(|()| None),
    }
}

/// One that fails keeps no other from being tried.
async fn collect<F>(writes: impl Iterator<Item = F>) -> (Vec<PodView>, kube::Result<()>)
where
    F: Future<Output = kube::Result<Option<PodView>>>,
{
    let writes: Vec<F> = writes.collect();
    let answers = stream::iter(writes).buffer_unordered(WRITES_MAX);
    let answers: Vec<kube::Result<Option<PodView>>> = answers.collect().await;
    let mut written = Vec::new();
    let mut failure = Ok(());
    for answer in answers {
        match answer {
            Ok(pod) => written.extend(pod),
            Err(error) if failure.is_ok() => failure = Err(error),
            Err(_) => {}
        }
    }
    (written, failure)
}
