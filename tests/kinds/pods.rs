//! Pods that wait in the queue themselves.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use prorata::api::{QueuedJob, State};
use serde_json::{Value, json};

use crate::cluster::requests::{create, json as manifest, patch};
use crate::cluster::{from, pod};
use crate::outage::world::{NODES, World, gang, node, phase, with};

/// A pod of so many GPUs with these annotations, which runs until it is deleted.
pub(crate) fn annotated(name: &str, gpus: u32, annotations: &Value) -> Pod {
    let mut pod = manifest(&pod(name, gpus));
    pod["metadata"]["annotations"] = annotations.clone();
    from(pod)
}

/// The template of a controller's pods.
fn template(app: &str, gpus: u32, annotations: &Value) -> Value {
    let mut spec = manifest(&pod("x", gpus))["spec"].clone();
    spec["restartPolicy"] = json!("Always");
    json!({ "metadata": { "labels": { "app": app }, "annotations": annotations }, "spec": spec })
}

fn api(world: &World, namespace: &str) -> Api<Pod> {
    Api::namespaced(world.cluster.alice.clone(), namespace)
}

pub(crate) async fn delete(world: &World, namespace: &str, name: &str) {
    let now = DeleteParams::default().grace_period(0);
    api(world, namespace).delete(name, &now).await.unwrap();
    let what = format!("{namespace}/{name} is gone with its record");
    world
        .until(&what, async || {
            let pods = world.pods(namespace).await;
            let gone = pods.iter().all(|pod| pod.name_any() != name);
            gone && world.record(namespace, name).await.is_none_or(is_over)
        })
        .await;
}

/// Deletes a pod that is made anew under the same name, and waits for that.
async fn replace(world: &World, namespace: &str, name: &str) {
    let old = world.pod(namespace, name).await.uid();
    let now = DeleteParams::default().grace_period(0);
    api(world, namespace).delete(name, &now).await.unwrap();
    let what = format!("{namespace}/{name} is made anew");
    world
        .until(&what, async || {
            let pods = world.pods(namespace).await;
            pods.iter()
                .any(|pod| pod.name_any() == name && pod.uid() != old)
        })
        .await;
}

fn is_over(record: QueuedJob) -> bool {
    record.status.and_then(|status| status.state) == Some(State::Finished)
}

/// Nodes of the pods that run in a namespace, in order.
pub(crate) async fn running(world: &World, namespace: &str) -> Vec<String> {
    let pods = world.pods(namespace).await;
    let pods = pods.iter().filter(|pod| phase(pod) == "Running");
    let mut nodes: Vec<String> = pods
        .filter_map(|pod| node(pod).map(str::to_owned))
        .collect();
    nodes.sort();
    nodes
}

pub(crate) async fn until_running(world: &World, namespace: &str, on: &[&str]) {
    let what = format!("pods of {namespace} run on {on:?}");
    world
        .until(&what, async || running(world, namespace).await == on)
        .await;
}

pub(crate) async fn until_empty(world: &World, namespace: &str) {
    let what = format!("no pod is left in {namespace}");
    world
        .until(&what, async || world.pods(namespace).await.is_empty())
        .await;
}

/// How many records of a namespace are in each state: waiting, admitted.
async fn standing(world: &World, namespace: &str) -> (usize, usize) {
    let api: Api<QueuedJob> = Api::namespaced(world.cluster.alice.clone(), namespace);
    let all = api.list(&ListParams::default()).await.unwrap().items;
    let count = |state| {
        let of = |record: &&QueuedJob| record.status.as_ref().and_then(|s| s.state) == Some(state);
        all.iter().filter(of).count()
    };
    (count(State::Waiting), count(State::Admitted))
}

pub(crate) async fn a_bare_pod_waits_runs_and_is_over(world: &World) {
    world.namespace("bare", Some("red")).await;
    let free = json!({ "prorata.dev/preemptible": "true" });
    let first = create(&api(world, "bare"), &annotated("first", 4, &free)).await;
    until_running(world, "bare", &[NODES[0]]).await;
    let told = world.pod("bare", "first").await;
    assert_eq!(told.spec.unwrap().scheduling_gates, None);
    let record = world.record("bare", "first").await.unwrap();
    assert_eq!(record.spec.job.uid, first.uid().unwrap());
    assert_eq!(record.spec.admission.unwrap().placement[0].node, NODES[0]);

    create(&api(world, "bare"), &annotated("second", 4, &free)).await;
    until_running(world, "bare", &NODES).await;
    create(&api(world, "bare"), &annotated("third", 1, &free)).await;
    world
        .until_stands("bare", "third", State::Waiting, "CapacityFull")
        .await;
    let gates = world.pod("bare", "third").await.spec.unwrap();
    assert_eq!(gates.scheduling_gates.unwrap()[0].name, "prorata.dev/queue");
    world
        .until_told_of("Pod", "bare", "third", "CapacityFull", "")
        .await;

    delete(world, "bare", "second").await;
    until_running(world, "bare", &NODES).await;
    delete(world, "bare", "first").await;
    let done = json!({ "prorata.dev/preemptible": "true", "prorata.dev/test-run-seconds": "0.1" });
    create(&api(world, "bare"), &annotated("done", 4, &done)).await;
    world
        .until_stands("bare", "done", State::Finished, "Finished")
        .await;
    for name in ["third", "done"] {
        delete(world, "bare", name).await;
    }
}

/// Nobody would make it anew, so it cannot be asked to leave for those who own its place.
pub(crate) async fn a_bare_pod_that_may_not_be_lost_stays_within_the_guarantee(world: &World) {
    world.namespace("kept", Some("red")).await;
    create(&api(world, "kept"), &pod("kept", 1)).await;
    world
        .until_stands("kept", "kept", State::Waiting, "ExceedsMaxQuota")
        .await;
    let record = world.record("kept", "kept").await.unwrap();
    let message = record.status.unwrap().message;
    assert!(message.contains("prorata.dev/preemptible"), "{message}");
    let yes = json!({ "metadata": { "annotations": { "prorata.dev/preemptible": "true" } } });
    patch(&api(world, "kept"), "kept", yes).await.unwrap();
    until_running(world, "kept", &[NODES[0]]).await;
    delete(world, "kept", "kept").await;
}

pub(crate) async fn what_can_never_run_says_so(world: &World) {
    world.namespace("never", Some("red")).await;
    let free = json!({ "prorata.dev/preemptible": "true" });
    create(&api(world, "never"), &annotated("large", 5, &free)).await;
    world
        .until_stands("never", "large", State::Waiting, "NoSuchGpu")
        .await;
    let nameless = json!({ "prorata.dev/gang": "pair", "prorata.dev/preemptible": "true" });
    create(&api(world, "never"), &annotated("pair", 1, &nameless)).await;
    world
        .until_stands("never", "pair", State::Waiting, "InvalidRequest")
        .await;
    let record = world.record("never", "pair").await.unwrap();
    let message = record.status.unwrap().message;
    assert!(message.contains("prorata.dev/gang-size"), "{message}");
    delete(world, "never", "large").await;
    delete(world, "never", "pair").await;
    world
        .until("the record of a gang goes with it", async || {
            world.record("never", "pair").await.is_none()
        })
        .await;
}

pub(crate) async fn pods_of_a_deployment_start_one_by_one(world: &World) {
    world.namespace("served", Some("red")).await;
    let deployments: Api<Deployment> = Api::namespaced(world.cluster.admin.clone(), "served");
    create(&deployments, &deployment("serve", 5, 2)).await;
    let four = [NODES[0], NODES[0], NODES[1], NODES[1]];
    until_running(world, "served", &four).await;
    world
        .until("the fifth waits", async || {
            standing(world, "served").await == (1, 4)
        })
        .await;

    let pods = world.pods("served").await;
    let victim = pods.iter().find(|pod| phase(pod) == "Running").unwrap();
    delete(world, "served", &victim.name_any()).await;
    world
        .until("the one that waited runs, and another waits", async || {
            running(world, "served").await == four && standing(world, "served").await == (1, 4)
        })
        .await;
    let background = DeleteParams::background();
    deployments.delete("serve", &background).await.unwrap();
    until_empty(world, "served").await;
}

pub(crate) fn deployment(name: &str, replicas: u32, gpus: u32) -> Deployment {
    from(json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": template(name, gpus, &json!({})),
        },
    }))
}

pub(crate) fn stateful_set(name: &str, replicas: u32) -> StatefulSet {
    let gang = json!({ "prorata.dev/gang": name, "prorata.dev/gang-size": replicas.to_string() });
    from(json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "selector": { "matchLabels": { "app": name } },
            "template": template(name, 1, &gang),
        },
    }))
}

pub(crate) async fn a_stateful_set_starts_as_a_gang(world: &World) {
    world.namespace("sets", Some("red")).await;
    let free = json!({ "prorata.dev/preemptible": "true" });
    create(&api(world, "sets"), &annotated("before", 4, &free)).await;
    until_running(world, "sets", &[NODES[0]]).await;
    let sets: Api<StatefulSet> = Api::namespaced(world.cluster.admin.clone(), "sets");
    create(&sets, &stateful_set("ranks", 6)).await;
    world
        .until_stands("sets", "ranks", State::Waiting, "CapacityFull")
        .await;
    assert_eq!(running(world, "sets").await, [NODES[0]], "all or none");
    let record = world.record("sets", "ranks").await.unwrap();
    assert_eq!((record.spec.gang, record.spec.gpus.as_str()), (6, "6"));

    delete(world, "sets", "before").await;
    let (a, b) = (NODES[0], NODES[1]);
    let whole = running_when(world, "sets", 6).await;
    assert!(
        whole == [a, a, a, a, b, b] || whole == [a, a, b, b, b, b],
        "{whole:?}"
    );

    replace(world, "sets", "ranks-3").await;
    let again = running_when(world, "sets", 6).await;
    assert_eq!(again, whole, "its successor gets its place");
    sets.delete("ranks", &DeleteParams::background())
        .await
        .unwrap();
    until_empty(world, "sets").await;
    world
        .until("the record of the gang goes with it", async || {
            world.record("sets", "ranks").await.is_none()
        })
        .await;
}

pub(crate) async fn running_when(world: &World, namespace: &str, count: usize) -> Vec<String> {
    let what = format!("{count} pods of {namespace} run");
    world
        .until(&what, async || {
            running(world, namespace).await.len() == count
        })
        .await;
    running(world, namespace).await
}

/// A pod of alice's claims to be the set's. The gang waits for its own.
pub(crate) async fn a_forged_owner_joins_no_gang(world: &World) {
    world.namespace("forged", Some("red")).await;
    let sets: Api<StatefulSet> = Api::namespaced(world.cluster.admin.clone(), "forged");
    let mut small = manifest(&stateful_set("ranks", 2));
    small["spec"]["replicas"] = json!(1);
    let set = create(&sets, &from(small)).await;
    world
        .until_stands("forged", "ranks", State::Held, "GangIncomplete")
        .await;
    // The set disowns it, sooner or later.
    let gang = json!({
        "prorata.dev/gang": "ranks", "prorata.dev/gang-size": "2", "prorata.dev/preemptible": "true",
    });
    let mut forged = manifest(&annotated("forged", 1, &gang));
    forged["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "ranks",
        "uid": set.uid().unwrap(), "controller": true,
    }]);
    let params = PostParams::default();
    let pods = Api::<Pod>::namespaced(world.cluster.alice.clone(), "forged");
    pods.create(&params, &from(forged)).await.unwrap();
    let records: Api<QueuedJob> = Api::namespaced(world.cluster.alice.clone(), "forged");
    world
        .until("it waits as a gang of its own", async || {
            let all = records.list(&ListParams::default()).await.unwrap().items;
            let incomplete = |record: &&QueuedJob| {
                let status = record.status.as_ref();
                status.is_some_and(|status| status.reason == "GangIncomplete")
            };
            all.iter().filter(incomplete).count() == 2
        })
        .await;
    assert_eq!(running(world, "forged").await.len(), 0);
    sets.delete("ranks", &DeleteParams::background())
        .await
        .unwrap();
    delete(world, "forged", "forged").await;
    until_empty(world, "forged").await;
}

/// Nobody plans for it, and kube-scheduler would choose the emptier node: Prorata says which leaves more
/// room for gangs.
pub(crate) async fn a_pod_without_tenant_goes_where_little_is_left(world: &World) {
    world.namespace("first", Some("red")).await;
    world.submit("first", &gang("first", 2)).await;
    until_running(world, "first", &[NODES[0]; 2]).await;
    world.namespace("nobody", None).await;
    let pods = Api::<Pod>::namespaced(world.cluster.admin.clone(), "nobody");
    for (name, on) in [("second", &[NODES[0]; 1][..]), ("third", &[NODES[0]; 2])] {
        create(&pods, &pod(name, 1)).await;
        until_running(world, "nobody", on).await;
    }
    create(&pods, &pod("fourth", 1)).await;
    until_running(world, "nobody", &[NODES[0], NODES[0], NODES[1]]).await;
    let now = DeleteParams::default().grace_period(0);
    for name in ["second", "third", "fourth"] {
        pods.delete(name, &now).await.unwrap();
    }
    until_empty(world, "nobody").await;
    world.complete("first", "first").await;
}

/// What runs may get more CPU in its place: it is counted as it is now.
pub(crate) async fn what_is_resized_in_place_counts_as_it_is_now(world: &World) {
    world.namespace("resized", None).await;
    let pods = Api::<Pod>::namespaced(world.cluster.admin.clone(), "resized");
    let cpu = |amount: &str| json!({ "requests": { "cpu": amount }, "limits": { "cpu": amount } });
    let mut grows = manifest(&pod("grows", 0));
    grows["spec"]["nodeName"] = json!(NODES[0]);
    grows["spec"]["containers"][0]["resources"] = cpu("1");
    create(&pods, &from(grows)).await;
    until_running(world, "resized", &[NODES[0]]).await;
    world.namespace("sized", Some("red")).await;
    // As much CPU as all that a node of 128 has to spare beside the other.
    let asks = json!({ "cpu": "64", "nvidia.com/gpu": "1" });
    let container = "/spec/template/spec/containers/0";
    let asks = json!({ "requests": asks, "limits": asks });
    let job = |name: &str| with(&gang(name, 1), &[(container, "resources", asks.clone())]);
    world.submit("sized", &job("before")).await;
    until_running(world, "sized", &[NODES[0]]).await;
    world.complete("sized", "before").await;

    let larger = json!({ "name": "main", "resources": cpu("100") });
    let change = Patch::Strategic(json!({ "spec": { "containers": [larger] } }));
    let params = PatchParams::default();
    pods.patch_subresource("resize", "grows", &params, &change)
        .await
        .unwrap();
    world.submit("sized", &job("after")).await;
    until_running(world, "sized", &[NODES[1]]).await;
    world.complete("sized", "after").await;
    let now = DeleteParams::default().grace_period(0);
    pods.delete("grows", &now).await.unwrap();
    until_empty(world, "resized").await;
}

/// A gang runs, and a pod waits.
pub(crate) async fn begin(world: &World) {
    world.namespace("lasting", Some("red")).await;
    let sets: Api<StatefulSet> = Api::namespaced(world.cluster.admin.clone(), "lasting");
    create(&sets, &stateful_set("ranks", 6)).await;
    running_when(world, "lasting", 6).await;
    let free = json!({ "prorata.dev/preemptible": "true" });
    create(&api(world, "lasting"), &annotated("waits", 3, &free)).await;
    world
        .until_stands("lasting", "waits", State::Waiting, "CapacityFull")
        .await;
}

pub(crate) async fn a_restart_changes_nothing(world: &World) {
    world.namespace("after", Some("red")).await;
    let free = json!({ "prorata.dev/preemptible": "true" });
    create(&api(world, "after"), &annotated("small", 2, &free)).await;
    until_running(world, "after", &[NODES[1]]).await;
    assert_eq!(running(world, "lasting").await.len(), 6);
    delete(world, "after", "small").await;
    replace(world, "lasting", "ranks-0").await;
    running_when(world, "lasting", 6).await;
    let sets: Api<StatefulSet> = Api::namespaced(world.cluster.admin.clone(), "lasting");
    sets.delete("ranks", &DeleteParams::background())
        .await
        .unwrap();
    until_running(world, "lasting", &[NODES[0]]).await;
    delete(world, "lasting", "waits").await;
}
