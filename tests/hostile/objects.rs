//! The queue's own objects and identities.

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::Role;
use kube::Resource;
use kube::api::{Api, DeleteParams, PostParams};
use prorata::api::{QueuedJob, Tenant};
use serde_json::{Value, json};

use super::Row;
use super::world::{World, refusal};
use crate::cluster::requests::patch;
use crate::cluster::{from, queued_job};

pub(crate) async fn attacks(world: &World) -> Vec<Row> {
    let face = serde_json::to_value(queued_job("hers", "1", 5)).unwrap();
    let name = world.faces("red").await[0].metadata.name.clone().unwrap();
    let faces = world.hers::<QueuedJob>();
    let deleted = refusal(faces.delete(&name, &DeleteParams::default()).await);
    let tenants: Api<Tenant> = Api::all(world.user().clone());
    let richer = json!({ "spec": { "guaranteed": { "gpu": 16 } } });
    let bypass =
        json!([{ "apiGroups": ["prorata.dev"], "resources": ["queuedjobs"], "verbs": ["bypass"] }]);
    let bypass = json!({ "metadata": { "name": "bypass" }, "rules": bypass });
    let anonymous = |text: String| text.replace(&name, "…");
    vec![
        world
            .refuses::<QueuedJob>("writing a QueuedJob", face)
            .await,
        world
            .row("deleting its QueuedJob", anonymous(deleted))
            .await,
        world
            .row(
                "raising its own guarantee",
                refusal(patch(&tenants, "red", richer).await),
            )
            .await,
        world
            .row(
                "granting itself the right to break the glass",
                grant(world, bypass).await,
            )
            .await,
        world
            .row(
                "a namespace of its own, without tenant",
                refusal(new_namespace(world).await),
            )
            .await,
        world
            .row(
                "speaking as the controller",
                refusal(impersonate(world).await),
            )
            .await,
        world
            .row(
                "a token of the controller's account",
                refusal(token(world).await),
            )
            .await,
    ]
}

/// The API server goes on about what she may do at length.
async fn grant(world: &World, role: Value) -> String {
    let said = world.refused::<Role>(role).await;
    let known = "is attempting to grant RBAC permissions not currently held";
    assert!(said.contains(known), "{said}");
    format!("refused: user \"alice\" … {known}")
}

async fn new_namespace(world: &World) -> kube::Result<Namespace> {
    let namespaces: Api<Namespace> = Api::all(world.user().clone());
    let namespace = from(json!({ "metadata": { "name": "free" } }));
    namespaces.create(&PostParams::default(), &namespace).await
}

async fn impersonate(world: &World) -> kube::Result<Value> {
    let path = QueuedJob::url_path(&(), Some("red"));
    let mut request = http::Request::get(path).body(Vec::new()).unwrap();
    let user = prorata::api::labels::CONTROLLER_USER.parse().unwrap();
    request.headers_mut().insert("Impersonate-User", user);
    world.user().request(request).await
}

async fn token(world: &World) -> kube::Result<TokenRequest> {
    let accounts: Api<ServiceAccount> = Api::namespaced(world.user().clone(), "prorata-system");
    let request = from(json!({ "spec": { "audiences": [] } }));
    let params = PostParams::default();
    accounts
        .create_token_request("prorata-controller", &params, &request)
        .await
}
