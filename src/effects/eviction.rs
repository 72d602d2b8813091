//! Evictions of pods, in which PodDisruptionBudgets have a say; and what is done when they have had it
//! for too long.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// Asks the pod of this name and UID to leave, and no later one of the name.
///
/// The client's own call sends the options under a name that the API server does not know, and they are
/// lost on the way.
///
/// # Errors
/// 404 and 409 when it is gone, or another by now; 429 while a PodDisruptionBudget says no.
pub(crate) async fn evict(api: &Api<Pod>, name: &str, uid: &str) -> kube::Result<()> {
    let preconditions = Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    };
    let eviction = Eviction {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            preconditions: Some(preconditions),
            ..DeleteOptions::default()
        }),
    };
    let params = PostParams::default();
    let answer: kube::Result<Value> = api
        .create_subresource("eviction", name, &params, &eviction)
        .await;
    answer.map(drop)
}

/// Says of the pod of this name and UID that it is ended for others, as an eviction does of itself.
///
/// # Errors
/// 404 and 409 when it is gone, or another by now.
pub(super) async fn announce(api: &Api<Pod>, name: &str, uid: &str) -> kube::Result<()> {
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByProrata",
        "message": "its place is another's, and a PodDisruptionBudget has put that off for long enough",
        "lastTransitionTime": Timestamp::now(),
    });
    let said = json!({"metadata": {"uid": uid}, "status": {"conditions": [condition]}});
    let (params, patch) = (PatchParams::default(), Patch::Strategic(said));
    api.patch_status(name, &params, &patch).await.map(drop)
}

/// Deletes the pod of this name and UID, whatever budgets say; answers with it while it has its grace
/// period.
///
/// # Errors
/// 404 and 409 when it is gone, or another by now.
pub(super) async fn delete(api: &Api<Pod>, name: &str, uid: &str) -> kube::Result<Option<Pod>> {
    let preconditions = kube::api::Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    };
    let params = DeleteParams {
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    Ok(api.delete(name, &params).await?.left())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use axum::body::{Body, to_bytes};
    use axum::http::{Request, Response};
    use kube::Client;
    use serde_json::json;
    use tower::service_fn;

    use super::*;

    #[tokio::test]
    async fn which_pod_is_meant_reaches_the_api_server() {
        let sent = Arc::new(Mutex::new(Value::Null));
        let heard = sent.clone();
        let service = service_fn(move |request: Request<kube::client::Body>| {
            let heard = heard.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = to_bytes(Body::new(request.into_body()), usize::MAX).await;
                let body: Value = serde_json::from_slice(&body.unwrap()).unwrap();
                *heard.lock().unwrap() = json!([path, body["deleteOptions"]["preconditions"]]);
                let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
                Ok::<_, Infallible>(Response::new(Body::from(status.to_string())))
            }
        });
        let api = Api::namespaced(Client::new(service, "default"), "red");
        evict(&api, "p", "1a2b").await.unwrap();
        let path = "/api/v1/namespaces/red/pods/p/eviction";
        assert_eq!(*sent.lock().unwrap(), json!([path, {"uid": "1a2b"}]));
    }
}
