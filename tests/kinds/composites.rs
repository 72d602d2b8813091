//! Objects of operators: held whole at their top, started whole, and stopped whole.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use prorata::api::State;
use serde_json::{Value, json};

use super::operators::{object, of, owner};
use super::pods::{running, running_when, until_empty, until_running};
use crate::cluster::requests::{json as manifest, message, patch};
use crate::cluster::{from, pod};
use crate::outage::world::{NODES, World, gang};

/// A pod template with so many GPUs.
pub(crate) fn template(gpus: u32) -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": manifest(&pod("x", gpus))["spec"]})
}

/// Jobs of a JobSet: so many, each of so many pods.
pub(crate) fn jobs(name: &str, replicas: u32, pods: u32, gpus: u32) -> Value {
    json!({
        "name": name, "replicas": replicas,
        "template": {"spec": {
            "parallelism": pods, "completions": pods, "completionMode": "Indexed", "backoffLimit": 0,
            "template": template(gpus),
        }},
    })
}

/// What the project's webhook would fill in is written out.
pub(crate) fn job_set(jobs: &[Value]) -> Value {
    json!({
        "replicatedJobs": jobs,
        "successPolicy": {"operator": "All"},
        "startupPolicy": {"startupPolicyOrder": "AnyOrder"},
        "network": {"enableDNSHostnames": false},
    })
}

/// A driver without GPUs, and workers with one each.
pub(crate) fn workers(replicas: u32, pods: u32) -> Value {
    job_set(&[jobs("driver", 1, 1, 0), jobs("workers", replicas, pods, 1)])
}

pub(crate) async fn submit(world: &World, namespace: &str, kind: &str, name: &str, spec: &Value) {
    let api = of(&world.cluster.alice, namespace, kind);
    let made = object(kind, name, spec);
    let made = api.create(&PostParams::default(), &made).await.unwrap();
    assert!(is_suspended(&made), "{made:?}");
}

pub(crate) fn is_suspended(object: &DynamicObject) -> bool {
    let spec = &object.data["spec"];
    spec["suspend"] == true || spec["runPolicy"]["suspend"] == true
}

pub(crate) async fn child_jobs(world: &World, namespace: &str) -> Vec<Job> {
    let jobs: Api<Job> = Api::namespaced(world.cluster.admin.clone(), namespace);
    jobs.list(&ListParams::default()).await.unwrap().items
}

/// Ends the pods of every Job here.
async fn finish(world: &World, namespace: &str) {
    for job in child_jobs(world, namespace).await {
        world
            .kubelet
            .finish(namespace, &job.name_any())
            .await
            .unwrap();
    }
}

pub(crate) async fn delete(world: &World, namespace: &str, kind: &str, name: &str) {
    let api = of(&world.cluster.alice, namespace, kind);
    api.delete(name, &DeleteParams::background()).await.unwrap();
    until_empty(world, namespace).await;
}

fn places(nodes: &[(&'static str, usize)]) -> Vec<&'static str> {
    let each = nodes
        .iter()
        .flat_map(|(node, count)| std::iter::repeat_n(*node, *count));
    each.collect()
}

/// Nodes of the pods with GPUs that are bound, in order: as the record plans them.
pub(crate) async fn assert_as_planned(world: &World, namespace: &str, name: &str) {
    let record = world.record(namespace, name).await.unwrap();
    let admission = record.spec.admission.unwrap();
    let mut planned: Vec<String> = admission.placement.into_iter().map(|p| p.node).collect();
    planned.sort();
    let pods = world.pods(namespace).await;
    let with_gpus = pods.iter().filter(|pod| {
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let limits = container.resources.as_ref().and_then(|r| r.limits.as_ref());
        limits.is_some_and(|limits| limits.contains_key("nvidia.com/gpu"))
    });
    let mut nodes: Vec<String> = with_gpus
        .filter_map(|pod| pod.spec.as_ref()?.node_name.clone())
        .collect();
    nodes.sort();
    assert_eq!(nodes, planned);
}

/// It waits as a whole, starts as a whole where it was planned, and is over as a whole.
pub(crate) async fn a_job_set_waits_and_starts_whole(world: &World) {
    world.namespace("sets", Some("red")).await;
    world.namespace("first", Some("red")).await;
    world.submit("first", &gang("before", 5)).await;
    running_when(world, "first", 5).await;
    submit(world, "sets", "JobSet", "train", &workers(2, 3)).await;
    world
        .until_stands("sets", "train", State::Waiting, "CapacityFull")
        .await;
    let record = world.record("sets", "train").await.unwrap();
    assert_eq!(
        (record.spec.gang, record.spec.job.kind.as_str()),
        (6, "JobSet")
    );
    world
        .until("its Jobs are made, suspended as it is", async || {
            let jobs = child_jobs(world, "sets").await;
            let held = |job: &Job| job.spec.as_ref().unwrap().suspend == Some(true);
            jobs.len() == 3 && jobs.iter().all(held)
        })
        .await;
    assert!(running(world, "sets").await.is_empty());
    its_parts_may_not_ask_for_more(world).await;
    world.complete("first", "before").await;
    running_when(world, "sets", 7).await;
    assert_as_planned(world, "sets", "train").await;
    world
        .until_told_of("JobSet", "sets", "train", "Admitted", "")
        .await;
    finish(world, "sets").await;
    world
        .until_stands("sets", "train", State::Finished, "Finished")
        .await;
    delete(world, "sets", "JobSet", "train").await;
}

/// What its parts ask for is decided with the whole, though Kubernetes lets a suspended Job be edited.
async fn its_parts_may_not_ask_for_more(world: &World) {
    let (jobs, as_user) = (world.jobs("sets"), PostParams::default());
    for mut part in child_jobs(world, "sets").await {
        let spec = part.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
        let resources = spec.containers[0].resources.get_or_insert_default();
        let limits = resources.limits.get_or_insert_default();
        limits.insert("nvidia.com/gpu".to_owned(), Quantity("8".to_owned()));
        let name = part.name_any();
        let error = jobs.replace(&name, &as_user, &part).await.unwrap_err();
        assert!(message(&error).contains("leave the resources"), "{error}");
    }
}

/// Its user holds and releases it by its own field, and starts it by none.
pub(crate) async fn its_user_holds_it(world: &World) {
    submit(world, "sets", "JobSet", "held", &workers(1, 2)).await;
    running_when(world, "sets", 3).await;
    let sets = of(&world.cluster.alice, "sets", "JobSet");
    let suspend = |to: bool| json!({"spec": {"suspend": to}});
    patch(&sets, "held", suspend(true)).await.unwrap();
    world
        .until_stands("sets", "held", State::Held, "Suspended")
        .await;
    running_when(world, "sets", 0).await;
    let released = patch(&sets, "held", suspend(false)).await.unwrap();
    assert!(is_suspended(&released), "it waits for its turn");
    running_when(world, "sets", 3).await;
    let more = json!({"spec": {"replicatedJobs": [jobs("workers", 9, 9, 1)]}});
    let error = patch(&sets, "held", more).await.unwrap_err();
    assert!(message(&error).contains("are decided"), "{error}");
    delete(world, "sets", "JobSet", "held").await;
}

/// Suspended for who owns its places, and started again with all its pods.
pub(crate) async fn it_makes_room_and_comes_back(world: &World) {
    submit(world, "sets", "JobSet", "lent", &workers(2, 3)).await;
    running_when(world, "sets", 7).await;
    world.namespace("owner", Some("lab")).await;
    world.submit("owner", &gang("claim", 4)).await;
    running_when(world, "owner", 4).await;
    running_when(world, "sets", 0).await;
    world
        .until_stands("sets", "lent", State::Waiting, "BackoffAfterPreemption")
        .await;
    world
        .until_told_of("JobSet", "sets", "lent", "Evicted", "tenant lab")
        .await;
    world.complete("owner", "claim").await;
    running_when(world, "sets", 7).await;
    assert_as_planned(world, "sets", "lent").await;
    delete(world, "sets", "JobSet", "lent").await;
}

/// Its Jobs allow for no failure at all.
pub(crate) async fn a_lost_node_fails_nothing(world: &World) {
    let spec = job_set(&[jobs("workers", 1, 3, 1)]);
    submit(world, "sets", "JobSet", "strict", &spec).await;
    until_running(world, "sets", &places(&[(NODES[0], 3)])).await;
    world.cluster.set_ready(NODES[0], "Unknown").await;
    world
        .until("it runs elsewhere", async || {
            let all = running(world, "sets").await;
            all.iter().filter(|node| *node == NODES[1]).count() == 3
        })
        .await;
    world
        .until_told_of("JobSet", "sets", "strict", "Requeued", "is lost")
        .await;
    world.cluster.set_ready(NODES[0], "True").await;
    until_running(world, "sets", &places(&[(NODES[1], 3)])).await;
    finish(world, "sets").await;
    world
        .until_stands("sets", "strict", State::Finished, "Finished")
        .await;
    for job in child_jobs(world, "sets").await {
        assert_eq!(job.status.unwrap().failed, None, "no pod counts as failed");
    }
    delete(world, "sets", "JobSet", "strict").await;
}

/// A PyTorchJob whose roles ask for different amounts.
pub(crate) fn torch(master: u32, workers: u32, gpus: u32) -> Value {
    json!({
        "pytorchReplicaSpecs": {
            "Master": {"replicas": 1, "template": template(master)},
            "Worker": {"replicas": workers, "template": template(gpus)},
        },
    })
}

/// An operator that makes pods itself: they carry no gate, and Filter tells each its node.
pub(crate) async fn pods_of_an_operator_start_whole(world: &World) {
    world.namespace("torch", Some("red")).await;
    world.submit("first", &gang("again", 5)).await;
    running_when(world, "first", 5).await;
    submit(world, "torch", "PyTorchJob", "net", &torch(1, 5, 1)).await;
    world
        .until_stands("torch", "net", State::Waiting, "CapacityFull")
        .await;
    world.complete("first", "again").await;
    until_running(world, "torch", &places(&[(NODES[0], 4), (NODES[1], 2)])).await;
    assert_as_planned(world, "torch", "net").await;
    for pod in world.pods("torch").await {
        assert!(
            !pod.annotations()
                .contains_key("internal.prorata.dev/created-by")
        );
    }
    // It leaves as a whole for who owns its places, and comes back as a whole.
    world.submit("owner", &gang("both", 4)).await;
    running_when(world, "owner", 4).await;
    running_when(world, "torch", 0).await;
    world.complete("owner", "both").await;
    running_when(world, "torch", 6).await;
    delete(world, "torch", "PyTorchJob", "net").await;
}

/// Each place is as large as the largest pod's, and that is told.
pub(crate) async fn unequal_pods_get_equal_places(world: &World) {
    submit(world, "torch", "PyTorchJob", "mixed", &torch(1, 1, 3)).await;
    until_running(world, "torch", &NODES).await;
    let record = world.record("torch", "mixed").await.unwrap();
    assert_eq!((record.spec.gang, record.spec.gpus.as_str()), (2, "6"));
    assert_as_planned(world, "torch", "mixed").await;
    delete(world, "torch", "PyTorchJob", "mixed").await;
}

/// Its JobSet says which pods it consists of, and is suspended as it is.
pub(crate) async fn a_train_job_is_held_above_its_job_set(world: &World) {
    world.namespace("trainer", Some("red")).await;
    let spec = json!({"made": workers(1, 3)});
    submit(world, "trainer", "TrainJob", "tune", &spec).await;
    running_when(world, "trainer", 4).await;
    let record = world.record("trainer", "tune").await.unwrap();
    assert_eq!(
        (record.spec.gang, record.spec.job.kind.as_str()),
        (3, "TrainJob")
    );
    assert_as_planned(world, "trainer", "tune").await;
    let sets = of(&world.cluster.alice, "trainer", "JobSet");
    let set = sets.get("tune").await.unwrap();
    let ours = |key: &String| key.starts_with("internal.prorata.dev/");
    assert!(!set.annotations().keys().any(ours), "it is nobody's job");
    forge_a_job_set(world, "tune").await;
    finish(world, "trainer").await;
    world
        .until_stands("trainer", "tune", State::Finished, "Finished")
        .await;
    delete(world, "trainer", "TrainJob", "tune").await;
}

/// What was suspended before anybody could know goes on at once.
pub(crate) async fn a_train_job_without_gpus_is_let_go(world: &World) {
    let spec = json!({"made": job_set(&[jobs("driver", 1, 1, 0)])});
    submit(world, "trainer", "TrainJob", "plain", &spec).await;
    running_when(world, "trainer", 1).await;
    assert!(world.record("trainer", "plain").await.is_none());

    // Its operator makes it anew, with GPUs, and it has no places for them.
    let trains = of(&world.cluster.alice, "trainer", "TrainJob");
    let now = json!({"spec": {"made": workers(1, 3)}});
    patch(&trains, "plain", now).await.unwrap();
    let sets = of(&world.cluster.alice, "trainer", "JobSet");
    let background = DeleteParams::background();
    sets.delete("plain", &background).await.unwrap();
    world
        .until("it has places", async || {
            let record = world.record("trainer", "plain").await;
            record.is_some_and(|record| record.spec.admission.is_some())
        })
        .await;
    running_when(world, "trainer", 4).await;
    assert_as_planned(world, "trainer", "plain").await;
    delete(world, "trainer", "TrainJob", "plain").await;
}

/// A TrainJob is what is made of it: what asks for nothing would have it go on at once.
async fn forge_a_job_set(world: &World, of_train: &str) {
    let trains = of(&world.cluster.alice, "trainer", "TrainJob");
    let train = trains.get(of_train).await.unwrap();
    let owners = json!([owner(&train, "TrainJob")]);
    let sets = of(&world.cluster.alice, "trainer", "JobSet");
    let mut forged = object("JobSet", "forged", &job_set(&[jobs("driver", 1, 1, 0)]));
    forged.data["spec"]["suspend"] = json!(true);
    sets.create(&PostParams::default(), &forged).await.unwrap();
    let join = json!({"metadata": {"ownerReferences": owners}});
    let error = patch(&sets, "forged", join).await.unwrap_err();
    assert!(message(&error).contains("only the operator"), "{error}");
    sets.delete("forged", &DeleteParams::background())
        .await
        .unwrap();
    forged.metadata.owner_references = from(owners);
    let error = sets.create(&PostParams::default(), &forged).await;
    let error = message(&error.unwrap_err());
    assert!(error.contains("only the operator"), "{error}");
}

/// Begun before a restart of the controller, and looked at after it.
pub(crate) async fn begin(world: &World) {
    submit(world, "sets", "JobSet", "lasts", &workers(1, 3)).await;
    running_when(world, "sets", 4).await;
}

pub(crate) async fn a_restart_changes_nothing(world: &World) {
    let before = world.record("sets", "lasts").await.unwrap();
    let pods = running(world, "sets").await;
    world.submit("owner", &gang("fits", 4)).await;
    running_when(world, "owner", 4).await;
    assert_eq!(running(world, "sets").await, pods);
    let after = world.record("sets", "lasts").await.unwrap();
    assert_eq!(after.spec.admission, before.spec.admission);
    world.complete("owner", "fits").await;
    finish(world, "sets").await;
    world
        .until_stands("sets", "lasts", State::Finished, "Finished")
        .await;
    delete(world, "sets", "JobSet", "lasts").await;
}

/// A kind that goes takes its objects with it, and the queue goes on.
pub(crate) async fn a_kind_may_go(world: &World) {
    submit(world, "torch", "PyTorchJob", "last", &torch(1, 1, 1)).await;
    running_when(world, "torch", 2).await;
    let mut kubectl = world
        .cluster
        .plane
        .kubectl(prorata_controlplane::User::Admin);
    let output = kubectl
        .args(["delete", "crd", "pytorchjobs.kubeflow.org"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    // Nobody owns the pods that are left; they take their room until they are gone.
    let pods: Api<Pod> = Api::namespaced(world.cluster.admin.clone(), "torch");
    for pod in world.pods("torch").await {
        let _ = pods.delete(&pod.name_any(), &DeleteParams::default()).await;
    }
    until_empty(world, "torch").await;
    world.submit("owner", &gang("goes-on", 8)).await;
    running_when(world, "owner", 8).await;
    world.complete("owner", "goes-on").await;
}
