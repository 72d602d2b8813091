//! With our policies in force, and no process of ours running.

use std::time::Instant;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use prorata::api::State;

use super::world::{GOES_ON_WITHIN, NODES, World, gang, is_complete, node, phase, plain, stored};
use crate::cluster::pod;
use crate::cluster::requests::{create, suspended};

/// Of namespaces without tenant and of a tenant's alike.
pub(crate) async fn what_has_no_gpus_is_stored_as_without_us_and_runs(world: &World) {
    for (namespace, tenant) in [("free", None), ("red", Some("red"))] {
        world.namespace(namespace, tenant).await;
        let stored = plain(&world.cluster, namespace).await;
        assert_eq!(stored, world.without_us[..2], "in {namespace}");
        world
            .until("the pods run", async || {
                !world.nodes_of(namespace, "cpu").await.is_empty()
            })
            .await;
        world.complete(namespace, "cpu").await;
        world
            .until("the bare pod has run", async || {
                phase(&world.pod(namespace, "cpu").await) == "Succeeded"
            })
            .await;
    }
}

/// A gang that fits on one node.
pub(crate) async fn a_gpu_job_of_a_tenant_waits(world: &World) {
    assert!(suspended(&world.submit("red", &gang("train", 4)).await));
}

/// kube-scheduler says so itself. A Job of such a namespace is stored as without us.
pub(crate) async fn a_gpu_pod_without_tenant_waits_for_the_extender(world: &World) {
    let created = world.submit("free", &gang("gpu", 5)).await;
    assert_eq!(stored(&created), world.without_us[2]);
    let background = kube::api::DeleteParams::background();
    world.jobs("free").delete("gpu", &background).await.unwrap();

    let pods: Api<Pod> = Api::namespaced(world.cluster.alice.clone(), "free");
    create(&pods, &pod("gpu", 4)).await;
    world
        .until("kube-scheduler says what it waits for", async || {
            let said = said_of(world, "gpu").await;
            said.iter().any(|(reason, note)| {
                reason == "FailedScheduling" && note.contains("connection refused")
            })
        })
        .await;
    let waiting = world.pod("free", "gpu").await;
    assert_eq!((phase(&waiting), node(&waiting)), ("Pending", None));
    let conditions = waiting.status.unwrap().conditions.unwrap();
    assert_eq!(
        conditions[0].reason.as_deref(),
        Some("SchedulerError"),
        "{conditions:?}"
    );
    assert!(
        suspended(&world.job("red", "train").await),
        "the tenant's Job waits"
    );
    assert_eq!(world.pods_of("red", "train").await, 0);
    assert!(
        world.record("red", "train").await.is_none(),
        "nobody is there to write one"
    );
}

/// Within seconds of our return. The gang has its place before any pod without tenant gets one:
/// whoever comes follows for as long as the Lease of the one that was killed lasts, and lets none
/// through until it is decided.
pub(crate) async fn what_waited_goes_on(world: &World) {
    let back = Instant::now();
    world.until_running("red", "train", &[NODES[0]; 4]).await;
    world
        .until("the pod runs", async || {
            phase(&world.pod("free", "gpu").await) == "Running"
        })
        .await;
    let waited = back.elapsed();
    assert!(waited < GOES_ON_WITHIN, "{waited:?}");
    assert_eq!(node(&world.pod("free", "gpu").await), Some(NODES[1]));
    world
        .until_stands("red", "train", State::Admitted, "Admitted")
        .await;
    world.complete("red", "train").await;
    assert!(is_complete(&world.job("red", "train").await));
}

/// Reason and note of every Event about a pod of the namespace without tenant.
async fn said_of(world: &World, pod: &str) -> Vec<(String, String)> {
    let api: Api<k8s_openapi::api::events::v1::Event> =
        Api::namespaced(world.cluster.admin.clone(), "free");
    let events = api.list(&ListParams::default()).await.unwrap().items;
    let about = events.into_iter().filter(|e| {
        let regarding = e.regarding.as_ref();
        regarding
            .is_some_and(|o| o.kind.as_deref() == Some("Pod") && o.name.as_deref() == Some(pod))
    });
    about
        .map(|e| (e.reason.unwrap_or_default(), e.note.unwrap_or_default()))
        .collect()
}
