//! Every kind and version of the table whose operator makes pods itself: the same for each, by the
//! fields that the table says.

use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use prorata::api::State;
use prorata::kinds::{COMPOSITES, Composite, Templates};
use serde_json::json;

use super::composites::{is_suspended, template};
use super::operators::{object_of_version, of_version};
use super::pods::{running_when, until_empty};
use crate::outage::world::{World, gang};

pub(crate) async fn every_kind_of_the_table_starts_whole(world: &World) {
    world.namespace("families", Some("red")).await;
    let mut seen = 0;
    for kind in &COMPOSITES {
        if let Templates::Replicas(field) = kind.templates {
            it_waits_starts_and_ends_whole(world, kind, field).await;
            seen += 1;
        }
    }
    assert_eq!(seen, 7, "all but TrainJob and JobSet");
}

/// Three pods, of which two would find room.
async fn it_waits_starts_and_ends_whole(world: &World, kind: &Composite, field: &str) {
    let before = format!("before-{}-{}", kind.plural, kind.version());
    world.submit("first", &gang(&before, 6)).await;
    running_when(world, "first", 6).await;
    let roles = json!({
        "Master": {"replicas": 1, "template": template(1)},
        "Worker": {"replicas": 2, "template": template(1)},
    });
    let api = of_version(&world.cluster.alice, "families", kind);
    let name = format!("net-{}", kind.version());
    let made = object_of_version(kind, &name, &json!({ field: roles }));
    let made = api.create(&PostParams::default(), &made).await.unwrap();
    assert!(is_suspended(&made), "{made:?}");
    world
        .until_stands("families", &name, State::Waiting, "CapacityFull")
        .await;
    let record = world.record("families", &name).await.unwrap().spec;
    assert_eq!((record.gang, record.job.kind.as_str()), (3, kind.kind));
    assert_eq!(world.pods("families").await.len(), 0, "{name}");

    world.complete("first", &before).await;
    running_when(world, "families", 3).await;
    for pod in world.pods("families").await {
        let pod = pod.name_any();
        world.kubelet.finish_pod("families", &pod).await.unwrap();
    }
    world
        .until_stands("families", &name, State::Finished, "Finished")
        .await;
    api.delete(&name, &DeleteParams::background())
        .await
        .unwrap();
    until_empty(world, "families").await;
    world
        .until("its record is gone", async || {
            world.record("families", &name).await.is_none()
        })
        .await;
}
