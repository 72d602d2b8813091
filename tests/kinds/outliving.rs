//! Pods that run on although what they are of is over, as `cleanPodPolicy: None` has it.

use std::time::{Duration, Instant};

use prorata::api::State;
use serde_json::json;

use super::composites::{delete, submit, template};
use super::pods::running_when;
use crate::outage::world::{World, gang};

/// As the controller is told here.
const LEFT_ALONE: Duration = Duration::from_secs(12);

/// Its master has ended, and with it all of it; the workers would go on for ever, and no queue could
/// claim their GPUs back.
pub(crate) async fn pods_that_run_on_are_ended_in_the_end(world: &World) {
    world.namespace("after", Some("red")).await;
    let spec = json!({
        "runPolicy": {"cleanPodPolicy": "None"},
        "pytorchReplicaSpecs": {
            "Master": {"replicas": 1, "template": template(0)},
            "Worker": {"replicas": 8, "template": template(1)},
        },
    });
    submit(world, "after", "PyTorchJob", "served", &spec).await;
    running_when(world, "after", 9).await;
    let master = "served-master-0";
    let over = Instant::now();
    world.kubelet.finish_pod("after", master).await.unwrap();
    world
        .until_stands("after", "served", State::Finished, "Finished")
        .await;
    world.submit("owner", &gang("claims", 4)).await;
    world.until_waiting("owner", "claims").await;
    world
        .until_told_of(
            "PyTorchJob",
            "after",
            "served",
            "PodsEnded",
            "victimTimeout",
        )
        .await;
    let after = over.elapsed();
    assert!(after > LEFT_ALONE, "they had time to end: {after:?}");
    running_when(world, "after", 0).await;
    running_when(world, "owner", 4).await;
    world.complete("owner", "claims").await;
    delete(world, "after", "PyTorchJob", "served").await;
}
