//! Objects of operators that wait when everything of ours is removed.

use k8s_openapi::api::core::v1::Pod;
use prorata::api::State;
use serde_json::json;

use super::composites::{is_suspended, submit, workers};
use super::operators::of;
use super::pods::{running, running_when};
use crate::cluster::from;
use crate::cluster::requests::create;
use crate::deploy::removed::uninstall;
use crate::outage::world::{World, gang};

/// Nobody takes part in it but who removes it: the controller has ended.
pub(crate) async fn begin(world: &World) {
    world.submit("first", &gang("all", 8)).await;
    running_when(world, "first", 8).await;
    submit(world, "sets", "JobSet", "waits", &workers(1, 2)).await;
    world
        .until_stands("sets", "waits", State::Waiting, "CapacityFull")
        .await;
}

/// They go free, each by its own field; what its user holds stays.
pub(crate) async fn what_waits_goes_free(world: &World) {
    submit(world, "sets", "JobSet", "unseen", &workers(1, 2)).await;
    let made = json!({"made": workers(1, 2)});
    submit(world, "trainer", "TrainJob", "unseen", &made).await;
    let sets = of(&world.cluster.alice, "sets", "JobSet");
    let mut held = sets.get("unseen").await.unwrap();
    held.metadata = from(json!({"name": "mine"}));
    held.data.as_object_mut().unwrap().remove("status");
    create(&sets, &held).await;

    let output = uninstall(&world.cluster, &["--yes"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    for (namespace, kind, name) in [
        ("sets", "JobSet", "waits"),
        ("sets", "JobSet", "unseen"),
        ("trainer", "TrainJob", "unseen"),
    ] {
        let object = of(&world.cluster.alice, namespace, kind).get(name).await;
        assert!(!is_suspended(&object.unwrap()), "{kind} {name}: {told}");
    }
    assert!(is_suspended(&sets.get("mine").await.unwrap()), "{told}");
    // Its operator has been told: it makes the pods, and nothing of ours holds them.
    world
        .until("its operator makes its pods", async || {
            let all = world.pods("sets").await;
            let is_gated = |pod: &Pod| pod.spec.as_ref().unwrap().scheduling_gates.is_some();
            all.len() == 6 && !all.iter().any(is_gated)
        })
        .await;
    assert_eq!(running(world, "first").await.len(), 8, "what runs goes on");
}
