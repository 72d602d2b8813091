//! Tenants under a parent, and what is lent of what a tenant owns.

use kube::api::Api;
use prorata::api::{State, Tenant};
use serde_json::json;

use super::eviction::fill;
use crate::cluster::requests::patch;
use crate::outage::world::{NODES, World, gang};

/// A department that owns the cluster, and its institute, which owns nothing itself.
const DEPARTMENT: &str = "\
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: department}
spec: {guaranteed: {gpu: 8}}
---
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: institute}
spec: {parent: department}
";

async fn change(world: &World, tenant: &str, spec: serde_json::Value) {
    let tenants: Api<Tenant> = Api::all(world.cluster.admin.clone());
    let change = json!({ "spec": spec });
    patch::<Tenant>(&tenants, tenant, change).await.unwrap();
}

/// The tenant lab lends one of its four GPUs, though it uses none.
pub(crate) async fn what_is_not_lent_stays_free(world: &World) {
    change(world, "lab", json!({ "lendingLimit": { "gpu": 1 } })).await;
    world.submit("red", &gang("borrows", 4)).await;
    world.until_running("red", "borrows", &[NODES[0]; 4]).await;
    world.submit("red", &gang("more", 2)).await;
    world
        .until_stands("red", "more", State::Waiting, "Withheld")
        .await;
    world.submit("red", &gang("one", 1)).await;
    world.until_running("red", "one", &[NODES[1]]).await;
    change(world, "lab", json!({ "lendingLimit": null })).await;
    world.until_running("red", "more", &[NODES[1]; 2]).await;
    for job in ["borrows", "more", "one"] {
        world.complete("red", job).await;
    }
}

/// What a parent owns is its children's, and no other's: without it half would be due to the institute.
pub(crate) async fn a_child_claims_what_its_parent_owns(world: &World) {
    change(world, "lab", json!({ "guaranteed": null })).await;
    world.cluster.apply(DEPARTMENT);
    world.namespace("institute", Some("institute")).await;
    fill(world, "grown").await;
    for (job, node, left) in [
        ("claims-half", NODES[1], "grown-2"),
        ("claims-all", NODES[0], "grown-1"),
    ] {
        world.submit("institute", &gang(job, 4)).await;
        world.until_running("institute", job, &[node; 4]).await;
        let why = "it leaves for a job of tenant institute";
        world.until_told("red", left, "Evicted", why).await;
    }
    for job in ["claims-half", "claims-all"] {
        world.complete("institute", job).await;
    }
    for job in ["grown-1", "grown-2"] {
        world.complete("red", job).await;
    }
    change(world, "department", json!({ "guaranteed": null })).await;
    change(world, "lab", json!({ "guaranteed": { "gpu": 4 } })).await;
}
