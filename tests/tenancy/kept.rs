//! What the controller keeps stays as the Tenant wants it, and is written only when it is not.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use prorata::api::State;
use prorata::leader::Tenure;
use prorata::tenancy::{Keeper, Kind, Settings};
use serde_json::{Value, json};

use crate::cluster::requests::{create, eventually};
use crate::tenancy::world::{World, job};

/// Every object that is kept for a Tenant, with its version.
async fn versions(world: &World, team: &str) -> BTreeMap<String, String> {
    let params = ListParams::default().labels(&format!("prorata.dev/team={team}"));
    let mut versions = BTreeMap::new();
    for kind in Kind::ALL {
        for object in world.objects(kind, None).list(&params).await.unwrap() {
            let name = format!(
                "{kind:?} {}/{}",
                object.namespace().unwrap_or_default(),
                object.name_any()
            );
            // The queue writes what a child holds.
            let version = match kind {
                Kind::Tenant => object.metadata.generation.unwrap().to_string(),
                Kind::ResourceQuota => object.data["spec"].to_string(),
                _ => object.resource_version().unwrap(),
            };
            versions.insert(name, version);
        }
    }
    versions
}

/// Neither another look at a Tenant nor another controller, which begins with nothing, writes
/// anything, or so much as asks to.
pub(crate) async fn nothing_is_written_twice(world: &World) {
    world.until_provisioned("vision").await;
    let before = versions(world, "vision").await;
    assert_eq!(before.len(), 3 * (2 + 3 + 3), "{before:?}");
    let asked = world.writes("vision");
    assert!(asked >= before.len(), "the audit log has {asked} writes");
    let touch = json!({ "metadata": { "annotations": { "touched": "1" } } });
    merge(world, Kind::Tenant, None, "vision", touch).await;
    let relabel = json!({ "metadata": { "labels": { "somebody": "elses" } } });
    merge(world, Kind::Tenant, None, "vision-dev", relabel).await;
    let controller = &world.cluster.controller;
    let another = Keeper::new(controller.clone(), controller.clone(), Settings::default());
    let ended = tokio::time::timeout(Duration::from_secs(2), another.run(Tenure::default())).await;
    assert!(ended.is_err(), "the other controller has ended");
    assert_eq!(versions(world, "vision").await, before);
    assert_eq!(world.writes("vision"), asked);
}

/// Deleted, widened, narrowed or relabelled: it is put right, and an Event says so.
pub(crate) async fn what_others_change_is_corrected_and_told(world: &World) {
    let namespace = Some("ml-vision-dev");
    let binding = world.objects(Kind::RoleBinding, namespace);
    binding
        .delete("prorata-users", &DeleteParams::default())
        .await
        .unwrap();
    let subjects = json!({ "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory" }] });
    merge(
        world,
        Kind::RoleBinding,
        namespace,
        "prorata-admins",
        subjects,
    )
    .await;
    let narrowed = json!({ "spec": { "podSelector": { "matchLabels": { "a": "b" } } } });
    merge(
        world,
        Kind::NetworkPolicy,
        namespace,
        "prorata-default-deny",
        narrowed,
    )
    .await;
    let relabelled =
        json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "privileged" } } });
    merge(world, Kind::Namespace, None, "ml-vision-dev", relabelled).await;
    let raised = json!({ "spec": { "guaranteed": { "gpu": "100" } } });
    merge(world, Kind::Tenant, None, "vision-dev", raised).await;
    eventually("all is as the Tenant wants it", || async {
        let admins = binding.get_opt("prorata-admins").await.unwrap();
        let deny = world
            .objects(Kind::NetworkPolicy, namespace)
            .get("prorata-default-deny")
            .await
            .unwrap();
        let labels = world
            .objects(Kind::Namespace, None)
            .get("ml-vision-dev")
            .await
            .unwrap();
        let child = world
            .objects(Kind::Tenant, None)
            .get("vision-dev")
            .await
            .unwrap();
        binding.get_opt("prorata-users").await.unwrap().is_some()
            && admins.is_some_and(|admins| admins.data["subjects"][0]["name"] == "vision-admin")
            && deny.data["spec"]["podSelector"] == json!({})
            && labels.labels()["pod-security.kubernetes.io/enforce"] == "baseline"
            && child.data["spec"]["guaranteed"]["gpu"] == "2"
    })
    .await;
    let events: Api<Event> = Api::all(world.cluster.admin.clone());
    eventually("an Event says so", || async {
        let told = events.list(&ListParams::default()).await.unwrap();
        let mut told = told
            .iter()
            .filter(|event| event.reason.as_deref() == Some("DriftCorrected"));
        told.any(|event| {
            event
                .regarding
                .as_ref()
                .is_some_and(|tenant| tenant.name.as_deref() == Some("vision"))
        })
    })
    .await;
}

/// `prod` goes from the Tenant: its namespace and people stay, and what it owned is the others'. What
/// runs there runs on, and nothing new starts.
pub(crate) async fn a_former_environment_keeps_its_data_and_owns_nothing(world: &World) {
    let jobs: Api<Job> = Api::namespaced(world.client("vision-user").await, "ml-vision-prod");
    create(&jobs, &job("stays", 1)).await;
    eventually("it is admitted", || async {
        world.state("ml-vision-prod", "stays").await == Some(State::Admitted)
    })
    .await;
    let environments = json!({ "spec": { "environments": [{ "name": "dev", "percent": 100 }] } });
    merge(world, Kind::Tenant, None, "vision", environments).await;
    world.until_provisioned("vision").await;
    let (_, message) = world.provisioned("vision").await.unwrap();
    assert!(
        message.contains("ml-vision-prod, ml-vision-staging is of no environment any more"),
        "{message}"
    );
    let tenants = world.objects(Kind::Tenant, None);
    let spec = |object: &kube::core::DynamicObject| object.data["spec"].clone();
    let prod = spec(&tenants.get("vision-prod").await.unwrap());
    assert_eq!(
        (&prod["guaranteed"], &prod["limit"]),
        (&Value::Null, &json!({ "gpu": "0" }))
    );
    assert_eq!(
        spec(&tenants.get("vision-dev").await.unwrap())["guaranteed"]["gpu"],
        "8"
    );
    let bindings = world.objects(Kind::RoleBinding, Some("ml-vision-prod"));
    assert!(bindings.get_opt("prorata-users").await.unwrap().is_some());
    create(&jobs, &job("late", 1)).await;
    eventually("it waits", || async {
        world.state("ml-vision-prod", "late").await == Some(State::Waiting)
    })
    .await;
    let stays = world.state("ml-vision-prod", "stays").await;
    assert_eq!(stays, Some(State::Admitted));
}

async fn merge(world: &World, kind: Kind, namespace: Option<&str>, name: &str, change: Value) {
    let api = world.objects(kind, namespace);
    api.patch(name, &PatchParams::default(), &Patch::Merge(change))
        .await
        .unwrap();
}
