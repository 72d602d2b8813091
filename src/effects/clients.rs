//! Clients of MPS leave before their pods are killed: one that is killed at work may take all others on
//! its GPU with it. The agent on the node terminates them; the GpuNode's spec says of which pods.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::Api;
use kube::api::{Patch, PatchParams};
use prorata_core::NodeId;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Writer;
use crate::api::GpuNode;
use crate::api::gpunode::{ENDING_MAX, Ended, Ending, Gpu};

/// How long an agent may take.
const ENDED_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Writers of one GpuNode that may come between before it is given up.
const RACES_MAX: u32 = 5;

/// Why the clients of a pod have not been terminated. Then nobody on that GPU is killed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The agent cannot.
    #[error("clients of MPS on node {node} cannot be terminated: {why}")]
    Failed {
        node: String,
        why: String,
        beside: BTreeSet<String>,
    },
    /// It says nothing.
    #[error("the agent on node {node} has not terminated clients of MPS within {ENDED_WITHIN:?}")]
    Silent {
        node: String,
        beside: BTreeSet<String>,
    },
    /// Others write all the time.
    #[error("the GpuNode {0} is written by others all the time")]
    Races(String, BTreeSet<String>),
}

impl Error {
    /// UIDs of the other pods on the same GPUs.
    pub(super) const fn beside(&self) -> &BTreeSet<String> {
        match self {
            Self::Failed { beside, .. } | Self::Silent { beside, .. } | Self::Races(_, beside) => {
                beside
            }
        }
    }
}

/// Pods whose clients are to be ended.
struct Wanted {
    pods: BTreeSet<String>,
    /// The others on the same GPUs.
    beside: BTreeSet<String>,
}

impl Writer {
    /// Waits until the agents have terminated the clients of these pods, by node. A node without an
    /// agent, and a pod on no GPU with MPS, is not waited for.
    ///
    /// # Errors
    /// When an agent cannot, or does not in time: then the pods are not to be killed.
    pub(super) async fn end_clients(&self, pods: &[(NodeId, String)]) -> kube::Result<()> {
        let mut by_node: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (node, uid) in pods {
            if self.may_have_clients(node.as_str()) {
                by_node.entry(node.as_str()).or_default().insert(uid);
            }
        }
        let nodes = by_node.iter().map(|(node, pods)| self.end_on(node, pods));
        futures::future::try_join_all(nodes).await?;
        Ok(())
    }

    /// Whether a node has GPUs with MPS, as far as its agent has been heard.
    fn may_have_clients(&self, node: &str) -> bool {
        let heard = self.heard.as_ref().and_then(|heard| heard.node(node));
        let status = heard.as_ref().and_then(|node| node.status.as_ref());
        status.is_none_or(|status| status.gpus.iter().any(has_mps))
    }

    async fn end_on(&self, node: &str, pods: &BTreeSet<&str>) -> kube::Result<()> {
        let api: Api<GpuNode> = Api::all(self.client.clone());
        let Some(wanted) = ask(&api, node, pods).await? else {
            return Ok(());
        };
        let until = Instant::now() + ENDED_WITHIN;
        loop {
            let object = api.get_opt(node).await?;
            let status = object.and_then(|object| object.status).unwrap_or_default();
            let (node, beside) = (node.to_owned(), wanted.beside.clone());
            match progress(&status.ended, &wanted.pods) {
                Some(Ok(())) => return Ok(()),
                Some(Err(why)) => return Err(failed(Error::Failed { node, why, beside })),
                None if Instant::now() >= until => {
                    return Err(failed(Error::Silent { node, beside }));
                }
                None => sleep(LOOK_EVERY).await,
            }
        }
    }
}

/// Has the agent terminate the clients of those of the pods that are on GPUs with MPS; answers with
/// these, if there are any.
async fn ask(
    api: &Api<GpuNode>,
    node: &str,
    pods: &BTreeSet<&str>,
) -> kube::Result<Option<Wanted>> {
    let mut beside = BTreeSet::new();
    for _ in 0..RACES_MAX {
        let Some(object) = api.get_opt(node).await? else {
            return Ok(None);
        };
        let status = object.status.unwrap_or_default();
        let wanted = clients(&status.gpus, pods);
        if wanted.pods.is_empty() {
            return Ok(None);
        }
        beside.clone_from(&wanted.beside);
        let asked = asked(&object.spec.end_clients_of, &status.ended, &wanted.pods);
        if asked == object.spec.end_clients_of {
            return Ok(Some(wanted));
        }
        let version = object.metadata.resource_version;
        let patch = json!({
            "metadata": {"resourceVersion": version},
            "spec": {"endClientsOf": asked},
        });
        match api
            .patch(node, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Ok(_) => {
                super::fault::after_write();
                return Ok(Some(wanted));
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error),
        }
    }
    Err(failed(Error::Races(node.to_owned(), beside)))
}

/// Those of the pods that are on a GPU with MPS, and who is there beside them. A pod without UID is
/// none that anybody knows.
fn clients(gpus: &[Gpu], pods: &BTreeSet<&str>) -> Wanted {
    let uids = |gpu: &Gpu| -> BTreeSet<String> {
        let uids = gpu.pods.iter().map(|pod| pod.uid.clone());
        uids.map(Option::unwrap_or_default).collect()
    };
    let is_wanted = |uid: &String| pods.contains(uid.as_str());
    let cards = gpus.iter().filter(|gpu| has_mps(gpu)).map(uids);
    let shared = cards.filter(|uids| uids.iter().any(is_wanted));
    let (pods, beside) = shared.flatten().partition(is_wanted);
    Wanted { pods, beside }
}

fn has_mps(gpu: &Gpu) -> bool {
    let mode = gpu.mode.as_deref();
    mode.is_some_and(|mode| mode == "mps" || mode.starts_with("mps-"))
}

/// What the spec is to say: what it says, without those that have ended, and these. Those that could not
/// be ended are tried again only when they are taken out once.
fn asked(before: &[String], ended: &[Ended], wanted: &BTreeSet<String>) -> Vec<String> {
    let is_over = |uid: &String| ended.iter().any(|one| one.uid == *uid);
    let open = before
        .iter()
        .filter(|uid| !is_over(uid) || wanted.contains(*uid));
    let mut asked: Vec<String> = open.cloned().collect();
    let new: Vec<String> = wanted
        .iter()
        .filter(|uid| !asked.contains(uid))
        .cloned()
        .collect();
    asked.extend(new);
    let surplus = asked.len().saturating_sub(ENDING_MAX);
    asked.drain(..surplus);
    asked
}

/// Whether all have ended, or one could not; `None` while some are still to be.
fn progress(ended: &[Ended], wanted: &BTreeSet<String>) -> Option<Result<(), String>> {
    let of = |uid: &String| ended.iter().find(|one| one.uid == *uid);
    let known: Vec<&Ended> = wanted.iter().filter_map(of).collect();
    let failed = known.iter().find(|one| one.how == Ending::Failed);
    if let Some(one) = failed {
        return Some(Err(one.message.clone().unwrap_or_default()));
    }
    (known.len() == wanted.len()).then_some(Ok(()))
}

fn failed(error: Error) -> kube::Error {
    kube::Error::Service(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::gpunode::GpuPod;

    fn gpu(mode: &str, uids: &[&str]) -> Gpu {
        let pod = |uid: &&str| GpuPod {
            uid: Some((*uid).to_owned()),
            ..GpuPod::default()
        };
        Gpu {
            mode: Some(mode.to_owned()),
            pods: uids.iter().map(pod).collect(),
            ..Gpu::default()
        }
    }

    fn ended(uid: &str, how: Ending) -> Ended {
        Ended {
            uid: uid.to_owned(),
            how,
            message: Some("why".to_owned()),
        }
    }

    fn owned(uids: &[&str]) -> Vec<String> {
        uids.iter().map(|&uid| uid.to_owned()).collect()
    }

    #[test]
    fn only_pods_on_gpus_with_mps_have_clients() {
        let gpus = [
            gpu("mps-4", &["a", "b"]),
            gpu("mps-4", &["d"]),
            gpu("timeslice-4", &["c"]),
        ];
        let found = clients(&gpus, &["a", "c", "elsewhere"].into());
        assert_eq!(found.pods, ["a".to_owned()].into());
        assert_eq!(found.beside, ["b".to_owned()].into());
    }

    #[test]
    fn those_that_have_ended_are_asked_for_no_more() {
        let wanted = ["new".to_owned()].into();
        let over = [ended("old", Ending::Terminated)];
        let asked = asked(&owned(&["old", "open"]), &over, &wanted);
        assert_eq!(asked, owned(&["open", "new"]));
    }

    #[test]
    fn all_have_to_end_and_one_that_cannot_is_told() {
        let wanted = ["a".to_owned(), "b".to_owned()].into();
        let a = ended("a", Ending::Terminated);
        assert_eq!(progress(std::slice::from_ref(&a), &wanted), None);
        let both = [a.clone(), ended("b", Ending::NoClients)];
        assert_eq!(progress(&both, &wanted), Some(Ok(())));
        let one_cannot = [a, ended("b", Ending::Failed)];
        assert_eq!(progress(&one_cannot, &wanted), Some(Err("why".to_owned())));
    }
}
