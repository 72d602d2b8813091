//! Bodies as kube-scheduler 1.37.1 sent them, recorded on the wire, and others made from them.

use serde_json::{Value, json};

/// About the pod with index 0 of the Job `red/train`, whose template names two nodes.
pub(crate) const POD_OF_JOB: &str = include_str!("recorded/filter-pod-of-job.json");
/// About the pod `free/z`, of two GPUs, when the second node alone had room.
pub(crate) const BARE_POD: &str = include_str!("recorded/filter-bare-pod.json");
/// About a pod, by a kube-scheduler whose configuration lacks `nodeCacheCapable`.
pub(crate) const WHOLE_NODES: &str = include_str!("recorded/filter-whole-nodes.json");
/// Whom to evict for a pod of a higher PriorityClass.
pub(crate) const PREEMPT: &str = include_str!("recorded/preempt.json");

/// UID of the Job `red/train` in the recordings.
pub(crate) const TRAIN: &str = "561912c9-325a-4588-b49c-983bf4e86186";

/// A pod of this Job.
pub(crate) fn of_job(namespace: &str, job_uid: &str, index: u32, names: &[&str]) -> String {
    let mut body = read(POD_OF_JOB);
    body["NodeNames"] = json!(names);
    let metadata = &mut body["Pod"]["metadata"];
    metadata["namespace"] = json!(namespace);
    metadata["uid"] = json!(format!("pod-{index}"));
    metadata["ownerReferences"][0]["uid"] = json!(job_uid);
    metadata["annotations"]["batch.kubernetes.io/job-completion-index"] = json!(index.to_string());
    body.to_string()
}

/// A pod that nothing made.
pub(crate) fn bare(namespace: &str, gpus: u32, names: &[&str]) -> String {
    let mut body = read(BARE_POD);
    body["NodeNames"] = json!(names);
    body["Pod"]["metadata"]["namespace"] = json!(namespace);
    with_gpus(body, gpus)
}

/// The same question about a pod of so many GPUs.
pub(crate) fn with_gpus(mut body: Value, gpus: u32) -> String {
    let amount = json!({ "nvidia.com/gpu": gpus.to_string() });
    body["Pod"]["spec"]["containers"][0]["resources"] =
        json!({ "limits": amount, "requests": amount });
    body.to_string()
}

/// Whom to evict, where there are very many to choose from.
pub(crate) fn preempt_among(nodes: u32) -> String {
    let mut body = read(PREEMPT);
    let victims = body["NodeNameToMetaVictims"]["node-0001"].clone();
    body["NodeNameToMetaVictims"] = (0..nodes)
        .map(|n| (format!("node-{n:05}"), victims.clone()))
        .collect();
    body.to_string()
}

pub(crate) fn read(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}
