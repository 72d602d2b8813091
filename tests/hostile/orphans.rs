//! Keeping GPUs by parting what runs there from what made it, and would have to leave.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, PropagationPolicy};
use kube::{Resource, ResourceExt};
use prorata::api::labels::JOB_UID;
use prorata::api::{State, Tenant};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::immunity::deployment;
use super::world::{World, job, job_manifest};
use super::{Row, row};
use crate::cluster::requests::{create, eventually, patch};

/// What red runs at first is one pod of a Job. Blue is due more and more of what there is.
pub(crate) async fn attacks(world: &World) -> Vec<Row> {
    let mut rows = partings(world).await;
    rows.push(without_its_pods(world).await);
    rows.push(without_its_replica_set(world).await);
    rows
}

async fn partings(world: &World) -> Vec<Row> {
    let running = pod(world).await;
    let pod = running.name_any();
    let mut more = json!(running.owner_references());
    let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c" });
    more.as_array_mut().unwrap().push(config);
    let more = json!({ "metadata": { "ownerReferences": more } });
    let never = json!({ "metadata": { "finalizers": ["example.com/never"] } });
    let nobodys = json!({ "metadata": { "ownerReferences": null } });
    let unknown = json!({ "metadata": { "labels": { JOB_UID: null } } });
    let mut chosen = job_manifest("chosen", 8);
    chosen["spec"]["manualSelector"] = json!(true);
    chosen["spec"]["selector"] = json!({ "matchLabels": { "mine": "yes" } });
    chosen["spec"]["template"]["metadata"] = json!({ "labels": { "mine": "yes" } });
    let nobodys = world.refused_change::<Pod>(&pod, nobodys).await;
    let unknown = world.refused_change::<Pod>(&pod, unknown).await;
    let more = world.refused_change::<Pod>(&pod, more).await;
    let never = world.refused_change::<Job>("runs", never).await;
    vec![
        world
            .row("taking its Job from a pod that runs", nobodys)
            .await,
        world
            .row(
                "one more owner, that would keep it when its Job is deleted",
                more,
            )
            .await,
        world
            .row(
                "a finalizer on its Job, that would keep both when it is deleted",
                never,
            )
            .await,
        world
            .row(
                "taking from it the label by which its Job knows it",
                unknown,
            )
            .await,
        world
            .refuses::<Job>("a Job that knows its pods by labels of her choice", chosen)
            .await,
    ]
}

async fn without_its_pods(world: &World) -> Row {
    let before = pod(world).await.uid();
    delete_alone::<Job>(world, "runs").await;
    eventually("the pod goes on by itself", || async {
        let faces = world.faces("red").await;
        let jobs = |kind: &str| faces.iter().filter(|f| f.spec.job.kind == kind).count();
        let is_placed = faces.iter().any(|face| {
            let state = face.status.as_ref().and_then(|status| status.state);
            Some(&face.spec.job.uid) == before.as_ref() && state == Some(State::Admitted)
        });
        // The record of the Job goes with it.
        is_placed && (jobs("Pod"), jobs("Job")) == (1, 1)
    })
    .await;
    let pod = pod(world).await;
    assert_eq!((pod.uid(), pod.owner_references()), (before, &[][..]));
    assert_eq!(world.used("red").await.as_deref(), Some("8"));
    claims(world, 14, 2).await;
    assert!(world.running("red").await.is_empty());
    row(
        "deleting its Job without the pods (`--cascade=orphan`), against a tenant that takes back what it owns",
        "accepted, and no shield: each pod goes on by itself in the queue and is evicted; its GPUs go over within 30 seconds",
    )
}

async fn without_its_replica_set(world: &World) -> Row {
    create(&world.hers::<Deployment>(), &deployment("serve")).await;
    eventually("it has what nobody uses", || async {
        world.running("red").await.len() == 1
    })
    .await;
    let sets = world.hers::<ReplicaSet>();
    let set = sets.list(&ListParams::default()).await.unwrap().items[0].name_any();
    delete_alone::<Deployment>(world, "serve").await;
    delete_alone::<ReplicaSet>(world, &set).await;
    eventually("it is nobody's", || async {
        pod(world).await.owner_references().is_empty()
    })
    .await;
    create(&world.admins::<Job>("blue"), &job("rest", 2)).await;
    claims(world, 16, 3).await;
    assert!(world.running("red").await.is_empty());
    row(
        "deleting a Deployment and its ReplicaSet without the pod, against the same",
        "accepted, and no shield: the pod is evicted as before",
    )
}

/// Blue is due so many GPUs, and so many pods of it run within the time that anything may take here.
async fn claims(world: &World, gpus: u32, pods: usize) {
    let tenants: Api<Tenant> = Api::all(world.cluster.admin.clone());
    let due = json!({ "spec": { "guaranteed": { "gpu": gpus } } });
    patch(&tenants, "blue", due).await.unwrap();
    eventually("blue gets what it owns", || async {
        world.running("blue").await.len() == pods
    })
    .await;
}

/// Red's one pod.
async fn pod(world: &World) -> Pod {
    let pods = world.hers::<Pod>().list(&ListParams::default()).await;
    pods.unwrap().items.pop().expect("a pod")
}

/// Deletes an object without what is its.
async fn delete_alone<R>(world: &World, name: &str)
where
    R: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    R: Clone + DeserializeOwned + Debug,
{
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    let api = world.hers::<R>();
    api.delete(name, &params).await.unwrap();
    eventually("it is gone", || async {
        api.get_opt(name).await.unwrap().is_none()
    })
    .await;
}
