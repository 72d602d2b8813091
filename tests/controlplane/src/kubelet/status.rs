//! The statuses that a kubelet writes.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::devices::Shortage;

/// Every container runs, and the pod is ready.
pub(super) fn running(pod: &Pod, ip: Ipv4Addr) -> Value {
    let now = now();
    let state = json!({"running": {"startedAt": now}});
    json!({
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "startTime": now,
        "conditions": [
            condition("Initialized", "True", None),
            condition("Ready", "True", None),
            condition("ContainersReady", "True", None),
        ],
        "containerStatuses": containers(pod, true, &state),
    })
}

/// Every container ended with exit code 0.
pub(super) fn succeeded(pod: &Pod) -> Value {
    let now = now();
    let state = json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}});
    json!({
        "phase": "Succeeded",
        "conditions": [
            condition("Ready", "False", Some("PodCompleted")),
            condition("ContainersReady", "False", Some("PodCompleted")),
        ],
        "containerStatuses": containers(pod, false, &state),
    })
}

/// Every container was killed.
pub(super) fn failed(pod: &Pod) -> Value {
    let now = now();
    let state = json!({"terminated": {"exitCode": 137, "reason": "Error", "startedAt": now, "finishedAt": now}});
    json!({
        "phase": "Failed",
        "conditions": [
            condition("Ready", "False", Some("PodFailed")),
            condition("ContainersReady", "False", Some("PodFailed")),
        ],
        "containerStatuses": containers(pod, false, &state),
    })
}

/// What kubelet writes when its device manager cannot serve a pod.
pub(super) fn rejected((resource, requested, free): &Shortage) -> Value {
    json!({
        "phase": "Failed",
        "reason": "UnexpectedAdmissionError",
        "message": format!(
            "Allocate failed due to requested number of devices unavailable for {resource}. Requested: {requested}, Available: {free}"
        ),
        "startTime": now(),
    })
}

fn containers(pod: &Pod, running: bool, state: &Value) -> Vec<Value> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let status = containers.map(|container| {
        let image = container.image.as_deref().unwrap_or_default();
        json!({
            "name": container.name,
            "image": image,
            "imageID": image,
            "ready": running,
            "started": running,
            "restartCount": 0,
            "state": state,
            // Whose container says what it has may get more in its place.
            "resources": container.resources,
        })
    });
    status.collect()
}

fn condition(kind: &str, status: &str, reason: Option<&str>) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "lastTransitionTime": now()})
}

/// Kubernetes keeps whole seconds.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
