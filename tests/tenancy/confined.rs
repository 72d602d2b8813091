//! The controller has rights on namespaces, role bindings and Tenants; a policy holds it to those
//! that it keeps.

use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::core::DynamicObject;
use prorata::tenancy::Kind;
use serde_json::{Value, json};

use crate::cluster::requests::{eventually, message};
use crate::tenancy::world::{World, tenant};

pub(crate) async fn the_controller_leaves_alone_what_is_not_its_own(world: &World) {
    bindings_elsewhere_are_refused(world).await;
    other_namespaces_and_tenants_are_refused(world).await;
    a_namespace_of_the_same_name_is_not_taken_over(world).await;
    two_tenants_do_not_take_each_others_namespace(world).await;
}

/// The labels of what is kept for a team.
fn kept_for(team: &str) -> Value {
    json!({ "app.kubernetes.io/managed-by": "prorata", "prorata.dev/team": team })
}

async fn bindings_elsewhere_are_refused(world: &World) {
    let (ours, admin) = (kept_for("vision"), "prorata-tenant-admin");
    for (namespace, labels, role, words) in [
        ("kube-system", &ours, admin, "that Tenant's namespaces"),
        // A namespace without the label is of no team, and neither is an object with an empty one.
        ("kube-system", &kept_for(""), admin, "not Prorata's"),
        ("ml-vision-dev", &json!({}), admin, "not Prorata's"),
        (
            "ml-vision-dev",
            &ours,
            "cluster-admin",
            "is attempting to grant",
        ),
    ] {
        let group = "rbac.authorization.k8s.io";
        let binding = json!({
            "apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
            "metadata": { "name": "mallory", "labels": labels },
            "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": role },
            "subjects": [{ "apiGroup": group, "kind": "User", "name": "mallory" }],
        });
        let kind = Kind::RoleBinding;
        refused(world, kind, Some(namespace), "mallory", binding, words).await;
    }
}

async fn other_namespaces_and_tenants_are_refused(world: &World) {
    for (name, words) in [
        ("kube-system", "not Prorata's"),
        ("ml-blue-dev", "another Tenant's"),
    ] {
        let metadata = json!({ "name": name, "labels": kept_for("vision") });
        let taken = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
        refused(world, Kind::Namespace, None, name, taken, words).await;
    }
    for (team, words) in [("", "not Prorata's"), ("vision", "environments of another")] {
        let child = json!({
            "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant",
            "metadata": { "name": "mallory", "labels": kept_for(team) },
            "spec": { "guaranteed": { "gpu": 8 } },
        });
        refused(world, Kind::Tenant, None, "mallory", child, words).await;
    }
}

/// A Tenant that names the namespace of another: it is told, and nothing is written.
async fn two_tenants_do_not_take_each_others_namespace(world: &World) {
    let one =
        json!({ "environments": [{ "name": "dev", "percent": 100, "namespace": "ml-blue-dev" }] });
    world.cluster.apply(&tenant("teal", 2, &one).to_string());
    eventually("the Tenant says whose it is not", || async {
        let told = world.provisioned("teal").await;
        told.is_some_and(|(all, text)| {
            !all && text.contains("Namespace ml-blue-dev is not this Tenant's")
        })
    })
    .await;
    assert_eq!(world.writes("teal"), 0);
    let tenants = world.objects(Kind::Tenant, None);
    assert!(tenants.get_opt("teal-dev").await.unwrap().is_none());
    let namespaces = world.objects(Kind::Namespace, None);
    let namespace = namespaces.get("ml-blue-dev").await.unwrap();
    assert_eq!(
        kube::ResourceExt::labels(&namespace)["prorata.dev/team"],
        "blue"
    );
    tenants
        .delete("teal", &DeleteParams::default())
        .await
        .unwrap();
}

async fn a_namespace_of_the_same_name_is_not_taken_over(world: &World) {
    world.cluster.namespace("ml-audio-prod", None).await;
    let only_prod = json!({ "environments": [{ "name": "prod", "percent": 100 }] });
    world
        .cluster
        .apply(&tenant("audio", 2, &only_prod).to_string());
    eventually("the Tenant says what is in the way", || async {
        let told = world.provisioned("audio").await;
        told.is_some_and(|(all, text)| {
            !all && text.contains("Namespace ml-audio-prod")
                && text.contains("prorata tenant adopt")
        })
    })
    .await;
    let namespace = world
        .objects(Kind::Namespace, None)
        .get("ml-audio-prod")
        .await
        .unwrap();
    assert!(!kube::ResourceExt::labels(&namespace).contains_key("prorata.dev/team"));
    // Kubernetes removes it with its owner, though it learns of a new kind of object every 30 s only.
    let tenants = world.objects(Kind::Tenant, None);
    let owner = tenants.get("audio").await.unwrap().metadata.uid;
    let child = tenants.get("audio-prod").await.unwrap();
    let owners = child.metadata.owner_references.unwrap();
    assert_eq!(Some(&owners[0].uid), owner.as_ref());
    tenants
        .delete("audio", &DeleteParams::default())
        .await
        .unwrap();
}

/// Applies an object as the controller, and is refused.
async fn refused(
    world: &World,
    kind: Kind,
    namespace: Option<&str>,
    name: &str,
    body: Value,
    because: &str,
) {
    let client: Client = world.cluster.controller.clone();
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &kind.resource()),
        None => Api::all_with(client, &kind.resource()),
    };
    let params = PatchParams::apply("prorata").force();
    let error = api
        .patch(name, &params, &Patch::Apply(body))
        .await
        .unwrap_err();
    assert!(
        message(&error).contains(because),
        "wanted `{because}`, got {error}"
    );
}
