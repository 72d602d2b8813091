//! The pods of what is queued as pods: which of them are on a node, and their eviction.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use super::super::cluster::{Cluster, Scope};
use super::super::failure::Failure;
use super::super::queue::Entry;
use super::super::report::{Object, Outcome, Report};
use crate::effects;
use crate::translate::{PodView, gang_uid_of_job};

/// The pods of the entry that run on the node, or are on their way there.
pub(super) async fn on_node(
    cluster: &Cluster,
    entry: &Entry,
    node: &str,
) -> Result<Vec<Pod>, Failure> {
    let scope = Scope::Namespace(entry.namespace.clone());
    let mut pods: Vec<Pod> = cluster.list(&scope, ListParams::default()).await?;
    pods.retain(|pod| is_of(pod, entry) && is_on(pod, node));
    Ok(pods)
}

/// Evicts them, and reports those that now leave. The next look finds the others.
pub(super) async fn evict(
    cluster: &Cluster,
    entry: &Entry,
    node: &str,
    report: &mut Report,
) -> Result<(), Failure> {
    let api: Api<Pod> = Api::namespaced(cluster.client().clone(), &entry.namespace);
    for pod in on_node(cluster, entry, node).await? {
        if pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let name = pod.name_any();
        let uid = pod.uid().unwrap_or_default();
        match effects::evict(&api, &name, &uid).await {
            Ok(()) => tell(report, &pod, Outcome::Evicted, "is evicted")?,
            // Gone, another by now, or put off by its PodDisruptionBudget.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 429) => {}
            Err(error) => {
                let attempt = format!("evict pod {}/{name}", entry.namespace);
                return Err(Failure::api(&attempt, error));
            }
        }
    }
    Ok(())
}

/// Reports what became of a pod, in words that follow its name.
pub(super) fn tell(
    report: &mut Report,
    pod: &Pod,
    outcome: Outcome,
    words: &str,
) -> Result<(), Failure> {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let object = Object::named::<Pod>(Some(&namespace), &name);
    report.tell(object, outcome, format!("{namespace}/{name} {words}"))
}

/// Whether the pod is queued as this: alone, or in its gang.
fn is_of(pod: &Pod, entry: &Entry) -> bool {
    let view = PodView::new(pod, &entry.gpu_resource);
    let gang = view.gated.as_ref().and_then(|gated| match gated.job() {
        Some(job) => Some(gang_uid_of_job(job)),
        None => gated.gang_uid(&view.namespace),
    });
    view.uid == entry.uid || gang.is_some_and(|gang| gang == entry.uid)
}

fn is_on(pod: &Pod, node: &str) -> bool {
    let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let status = pod.status.as_ref();
    let nominated = status.and_then(|status| status.nominated_node_name.as_deref());
    let phase = status.and_then(|status| status.phase.as_deref());
    let is_over = matches!(phase, Some("Succeeded" | "Failed"));
    !is_over && bound.or(nominated) == Some(node)
}

#[cfg(test)]
mod tests {
    use super::super::super::queue::tests::entry;
    use super::*;
    use crate::api::labels;
    use serde_json::{Value, json};

    #[test]
    fn a_pod_is_where_it_runs_or_is_on_its_way_to() {
        let on_a = |spec: Value, status: Value| {
            let pod =
                json!({"metadata": {"name": "p", "uid": "p"}, "spec": spec, "status": status});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            assert!(is_of(&pod, &entry("p", 0, json!({}))));
            assert!(!is_of(&pod, &entry("other", 0, json!({}))));
            is_on(&pod, "a")
        };
        let spec = |node: Value| json!({"containers": [], "nodeName": node});
        assert!(on_a(spec(json!("a")), json!({"phase": "Running"})));
        assert!(!on_a(spec(json!("a")), json!({"phase": "Succeeded"})));
        assert!(on_a(spec(Value::Null), json!({"nominatedNodeName": "a"})));
        assert!(!on_a(spec(json!("b")), json!({"nominatedNodeName": "a"})));
    }

    #[test]
    fn a_gang_is_found_by_whatever_name_its_gpus_have() {
        let member = |gpus: &str| {
            let pod = json!({
                "metadata": {
                    "name": "p", "namespace": "lab", "uid": "p",
                    "annotations": {labels::CREATED_BY: "alice", labels::GANG: "g", labels::GANG_SIZE: "2"},
                },
                "spec": {"containers": [{"name": "c", "resources": {"limits": {gpus: "1"}}}]},
                "status": {},
            });
            serde_json::from_value::<Pod>(pod).unwrap()
        };
        for gpus in [labels::GPU_RESOURCE, "amd.com/gpu"] {
            let view = PodView::new(&member(gpus), gpus);
            let gang = view.gated.unwrap().gang_uid("lab").unwrap();
            let mut gang = entry(&gang, 0, json!({}));
            gang.gpu_resource = gpus.to_owned();
            assert!(is_of(&member(gpus), &gang), "{gpus}");
            assert!(!is_of(&member("example.com/other"), &gang), "{gpus}");
        }
    }
}
