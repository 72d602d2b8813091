//! Nodes that another tenant has alone: what she tries to get there.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use prorata::api::labels::NODE_POOL;
use serde_json::{Value, json};

use super::Row;
use super::world::{World, job_manifest, pod_manifest};
use crate::cluster::from;
use crate::cluster::requests::{create, eventually};

const APART: &str = "\
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: apart}
spec:
  compliance: {class: hipaa, nodePool: hipaa}
  environments: [{name: prod, percent: 100}]
";

pub(crate) async fn attacks(world: &World) -> Vec<Row> {
    let wildcard = json!([{ "operator": "Exists" }]);
    let with = |mut manifest: Value, pointer: &str, field: &str, value: &Value| {
        manifest.pointer_mut(pointer).unwrap()[field] = value.clone();
        manifest
    };
    let tolerant = with(
        pod_manifest("tolerant", 0),
        "/spec",
        "tolerations",
        &wildcard,
    );
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    // Nobody minds before somebody has nodes alone.
    let tried: Pod = from(tolerant.clone());
    world.hers::<Pod>().create(&dry, &tried).await.unwrap();
    world.cluster.apply(APART);
    eventually("the pool is known", || async {
        world.hers::<Pod>().create(&dry, &tried).await.is_err()
    })
    .await;
    let job = with(
        job_manifest("tolerant", 1),
        "/spec/template/spec",
        "tolerations",
        &wildcard,
    );
    let selector = json!({ NODE_POOL: "hipaa" });
    let selects = with(
        pod_manifest("selects", 0),
        "/spec",
        "nodeSelector",
        &selector,
    );
    let named = with(
        pod_manifest("named", 0),
        "/spec",
        "nodeName",
        &json!("node-0001"),
    );
    vec![
        world
            .refuses::<Pod>(
                "a toleration of every taint, where another tenant has nodes alone",
                tolerant,
            )
            .await,
        world.refuses::<Job>("the same in a Job", job).await,
        world
            .refuses::<Pod>("the label of those nodes in `nodeSelector`", selects)
            .await,
        world
            .refuses::<Pod>("`nodeName`, which asks no taint", named)
            .await,
        added(world).await,
    ]
}

/// Tolerations can be added for as long as a pod is there.
async fn added(world: &World) -> Row {
    create(&world.hers::<Pod>(), &from::<Pod>(pod_manifest("plain", 0))).await;
    let before = world.hers::<Pod>().get("plain").await.unwrap();
    let mut more = json!(before.spec.unwrap().tolerations.unwrap_or_default());
    more.as_array_mut()
        .unwrap()
        .push(json!({ "operator": "Exists" }));
    let change = json!({ "spec": { "tolerations": more } });
    let added = world
        .row(
            "tolerations added to a pod that is there",
            world.refused_change::<Pod>("plain", change).await,
        )
        .await;
    world.remove::<Pod>("plain").await;
    added
}
