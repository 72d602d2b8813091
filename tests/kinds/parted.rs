//! Whose part is what, and that it stays so.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams, PropagationPolicy};
use prorata::api::State;
use serde_json::{Value, json};

use super::composites::{child_jobs, delete, submit, torch, workers};
use super::operators::{object, of, owner};
use super::pods::{running, running_when};
use crate::cluster::requests::{json as manifest, message, patch};
use crate::cluster::{from, job, pod};
use crate::outage::world::{World, gang};

/// Only operators make parts, and nobody becomes one later.
pub(crate) async fn forged_owners_get_no_places(world: &World) {
    submit(world, "sets", "JobSet", "true", &workers(1, 4)).await;
    running_when(world, "sets", 5).await;
    let set = of(&world.cluster.alice, "sets", "JobSet")
        .get("true")
        .await
        .unwrap();
    let owners = json!([owner(&set, "JobSet")]);

    forged_parts_are_refused(world, &owners).await;
    parts_stay_with_their_whole(world).await;
    finalizers_come_before_no_gpus(world).await;
    let jobs = world.jobs("sets");

    world.submit("sets", &gang("waits", 8)).await;
    world
        .until_stands("sets", "waits", State::Waiting, "CapacityFull")
        .await;
    let join = json!({"metadata": {"ownerReferences": owners}});
    let error = patch(&jobs, "waits", join.clone()).await.unwrap_err();
    assert!(message(&error).contains("leave ownerReferences"), "{error}");

    let pods: Api<Pod> = Api::namespaced(world.cluster.alice.clone(), "sets");
    let mut alone = manifest(&pod("alone", 8));
    alone["metadata"]["ownerReferences"] = join["metadata"]["ownerReferences"].clone();
    pods.create(&PostParams::default(), &from(alone))
        .await
        .unwrap();
    let waits = world.pod("sets", "alone").await;
    assert!(
        waits.spec.unwrap().scheduling_gates.is_some(),
        "it queues alone"
    );
    world
        .until("it queues alone", async || {
            world.record("sets", "alone").await.is_some()
        })
        .await;
    let record = world.record("sets", "true").await.unwrap();
    assert_eq!(record.spec.gang, 4);
    assert_eq!(running(world, "sets").await.len(), 5, "nobody else got in");
    jobs.delete("waits", &DeleteParams::background())
        .await
        .unwrap();
    let now = DeleteParams::default().grace_period(0);
    pods.delete("alone", &now).await.unwrap();
    // Whoever says that its pods are to go may delete a part.
    let part = workers_job(world).await.name_any();
    jobs.delete(&part, &DeleteParams::background())
        .await
        .unwrap();
    delete(world, "sets", "JobSet", "true").await;
}

/// Nor is there one from the time before it asked for any.
async fn finalizers_come_before_no_gpus(world: &World) {
    let nets = of(&world.cluster.alice, "sets", "PyTorchJob");
    let mut plain = object("PyTorchJob", "later", &torch(0, 1, 0));
    plain.metadata.finalizers = Some(vec!["example.com/never".to_owned()]);
    plain.data["spec"]["runPolicy"] = json!({"suspend": true});
    nets.create(&PostParams::default(), &plain).await.unwrap();
    let asks = json!({"spec": torch(0, 1, 1)});
    let error = message(&patch(&nets, "later", asks.clone()).await.unwrap_err());
    assert!(error.contains("leave finalizers out"), "{error}");
    let none = json!({"metadata": {"finalizers": null}});
    patch(&nets, "later", none).await.unwrap();
    patch(&nets, "later", asks).await.unwrap();
    nets.delete("later", &DeleteParams::background())
        .await
        .unwrap();
}

async fn workers_job(world: &World) -> Job {
    let mut children = child_jobs(world, "sets").await.into_iter();
    let workers = |job: &Job| job.name_any().contains("workers");
    children.find(workers).unwrap()
}

/// Or they would run on when their JobSet is suspended for others.
async fn parts_stay_with_their_whole(world: &World) {
    let nobodys = json!({"metadata": {"ownerReferences": null}});
    let part = workers_job(world).await;
    let child = part.name_any();
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c"});
    let mut more = json!(part.owner_references());
    more.as_array_mut().unwrap().push(config);
    let more = json!({"metadata": {"ownerReferences": more}});
    for change in [nobodys.clone(), more] {
        let error = patch(&world.jobs("sets"), &child, change).await;
        let error = message(&error.unwrap_err());
        assert!(error.contains("only the operator"), "{error}");
    }
    let pods: Api<Pod> = Api::namespaced(world.cluster.alice.clone(), "sets");
    let theirs = pods.list(&ListParams::default()).await.unwrap().items;
    let asks = |pod: &&Pod| format!("{:?}", pod.spec).contains("nvidia.com/gpu");
    let worker = theirs.iter().find(asks).unwrap().name_any();
    let error = message(&patch(&pods, &worker, nobodys).await.unwrap_err());
    assert!(error.contains("with what made it"), "{error}");

    let sets = of(&world.cluster.alice, "sets", "JobSet");
    for finalizer in ["orphan", "example.com/never"] {
        let later = json!({"metadata": {"finalizers": [finalizer]}});
        let error = message(&patch(&sets, "true", later.clone()).await.unwrap_err());
        assert!(error.contains("leave finalizers out"), "{error}");
        let error = patch(&world.jobs("sets"), &child, later).await;
        let error = message(&error.unwrap_err());
        assert!(error.contains("leave finalizers out"), "{error}");
    }
    let alone = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    let whole = "makes room for others as a whole";
    let error = message(&sets.delete("true", &alone).await.unwrap_err());
    assert!(error.contains(whole), "{error}");
    // Of a Job of which nothing is said Kubernetes leaves the pods.
    for params in [alone, DeleteParams::default()] {
        let error = message(
            &world
                .jobs("sets")
                .delete(&child, &params)
                .await
                .unwrap_err(),
        );
        assert!(error.contains(whole), "{error}");
    }
}

/// Of Jobs and pods that say whose they are, with and without GPUs, running and suspended.
async fn forged_parts_are_refused(world: &World, owners: &Value) {
    let owned = |object: &Value, suspend: bool| {
        let mut object = object.clone();
        object["metadata"]["ownerReferences"] = owners.clone();
        if suspend {
            object["spec"]["suspend"] = json!(true);
        }
        object
    };
    let forged = manifest(&gang("forged", 1));
    let jobs = world.jobs("sets");
    let pods: Api<Pod> = Api::namespaced(world.cluster.alice.clone(), "sets");
    refused(&jobs, owned(&forged, false), "only the queue starts a Job").await;
    // Suspended, the operator would start it with its own.
    refused(&jobs, owned(&forged, true), "only the operator").await;
    // Without GPUs it would be waited for, and what it asks for taken for what the whole does.
    let plain = manifest(&job("plain", 0));
    refused(&jobs, owned(&plain, false), "only the operator").await;
    let plain = manifest(&pod("plain", 0));
    refused(&pods, owned(&plain, false), "only the operator").await;
}

async fn refused<K>(api: &Api<K>, object: Value, words: &str)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + serde::Serialize,
{
    let answer = api.create(&PostParams::default(), &from(object)).await;
    let error = message(&answer.unwrap_err());
    assert!(error.contains(words), "{error}");
}
