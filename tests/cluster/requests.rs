//! Requests that tests of the live shell make, in few words.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use prorata::api::labels::EPOCH;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Cluster;

/// A namespace of the tenant red.
pub(crate) struct Space {
    /// Its name.
    pub(crate) name: String,
}

impl Space {
    /// Its objects of a kind, as a client sees them.
    pub(crate) fn of<R>(&self, client: &Client) -> Api<R>
    where
        R: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(client.clone(), &self.name)
    }
}

/// Creates one.
pub(crate) async fn namespace(cluster: &Cluster, name: &str) -> Space {
    cluster.namespace(name, Some("red")).await;
    Space {
        name: name.to_owned(),
    }
}

/// Creates an object that nobody objects to.
pub(crate) async fn create<R>(api: &Api<R>, object: &R) -> R
where
    R: Resource + Clone + Serialize + DeserializeOwned + Debug,
{
    api.create(&PostParams::default(), object).await.unwrap()
}

/// Creates an object, and is refused with a message that says so.
pub(crate) async fn refused<R>(api: &Api<R>, object: &R, because: &str)
where
    R: Resource + Clone + Serialize + DeserializeOwned + Debug,
{
    let error = api
        .create(&PostParams::default(), object)
        .await
        .unwrap_err();
    assert!(
        message(&error).contains(because),
        "wanted `{because}`, got {error}"
    );
}

/// Merges a change.
pub(crate) async fn patch<R>(api: &Api<R>, name: &str, change: Value) -> kube::Result<R>
where
    R: Resource + Clone + DeserializeOwned + Debug,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(change))
        .await
}

/// Sets `suspend`.
pub(crate) async fn suspend(jobs: &Api<Job>, name: &str, to: bool) -> Job {
    patch(jobs, name, json!({ "spec": { "suspend": to } }))
        .await
        .unwrap()
}

/// What the controller does to start a Job: one patch with the plan in it.
pub(crate) async fn start(jobs: &Api<Job>, name: &str) -> Job {
    let change = json!({
        "metadata": { "annotations": { EPOCH: "7" } },
        "spec": {
            "suspend": false,
            "template": {
                "metadata": { "annotations": { EPOCH: "7" } },
                "spec": { "affinity": pinned_to("a") },
            },
        },
    });
    patch(jobs, name, change).await.unwrap()
}

/// An affinity as our plan has it.
pub(crate) fn pinned_to(node: &str) -> Value {
    let field = json!({ "key": "metadata.name", "operator": "In", "values": [node] });
    let terms = json!({ "nodeSelectorTerms": [{ "matchFields": [field] }] });
    json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": terms } })
}

/// A pod that the Job controller made.
pub(crate) async fn pod_of(pods: &Api<Pod>, job: &str) -> Pod {
    let selector = ListParams::default().labels(&format!("job-name={job}"));
    for _ in 0..200 {
        if let Some(pod) = pods.list(&selector).await.unwrap().items.pop() {
            return pod;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no pod of {job}");
}

/// Waits until something holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within 30 s: {what}");
}

/// A request as a controller of Kubernetes itself makes it.
pub(crate) async fn request_as(
    cluster: &Cluster,
    controller: &str,
    mut request: http::Request<Vec<u8>>,
) -> kube::Result<Value> {
    let user = format!("system:serviceaccount:kube-system:{controller}");
    request
        .headers_mut()
        .insert("Impersonate-User", user.parse().unwrap());
    cluster.admin.request(request).await
}

/// The manifest of an object.
pub(crate) fn json<R: Serialize>(object: &R) -> Value {
    serde_json::to_value(object).unwrap()
}

/// Removes what differs between any two objects of the same manifest.
pub(crate) fn forget_what_always_differs(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for key in [
                "uid",
                "resourceVersion",
                "creationTimestamp",
                "namespace",
                "managedFields",
            ] {
                fields.remove(key);
            }
            for key in ["controller-uid", "batch.kubernetes.io/controller-uid"] {
                fields.remove(key);
            }
            fields.values_mut().for_each(forget_what_always_differs);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_what_always_differs),
        _ => {}
    }
}

/// Whether a Job is suspended.
pub(crate) fn suspended(job: &Job) -> bool {
    job.spec.as_ref().unwrap().suspend == Some(true)
}

/// What a Job is annotated with, in order.
pub(crate) fn annotations(job: &Job) -> Vec<(&str, &str)> {
    let all: Option<&BTreeMap<String, String>> = job.metadata.annotations.as_ref();
    all.into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

/// What the API server said.
pub(crate) fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
