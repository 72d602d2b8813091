//! Past the queue: starting what waits, and choosing nodes.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Resource;
use kube::api::{Api, Patch, PatchParams};
use prorata::api::labels::{EPOCH, GATE};
use serde_json::{Value, json};

use super::Row;
use super::world::{World, job_manifest, pod_manifest, refusal};
use crate::cluster::from;
use crate::cluster::requests::{create, eventually, patch, pinned_to, suspend, suspended};

pub(crate) async fn attacks(world: &World) -> Vec<Row> {
    let gated = create(&world.hers::<Pod>(), &from(pod_manifest("gated", 8))).await;
    assert!(is_gated(&gated));
    let mut rows = vec![unsuspend(world).await];
    let ungated = json!({ "spec": { "schedulingGates": null } });
    rows.push(
        world
            .row(
                "removing the gate of its pod",
                world.refused_change::<Pod>("gated", ungated).await,
            )
            .await,
    );
    rows.extend(nodes(world).await);
    rows.extend(bindings(world).await);
    rows.extend(forgeries(world).await);
    rows.extend(labels(world).await);
    rows.push(other_scheduler(world).await);
    world.remove::<Pod>("gated").await;
    rows
}

async fn unsuspend(world: &World) -> Row {
    let started = suspend(&world.hers::<Job>(), "waits", false).await;
    assert!(suspended(&started));
    world
        .row(
            "un-suspending its Job",
            "accepted, and changes nothing: `suspend` is `true` again, and it waits",
        )
        .await
}

async fn nodes(world: &World) -> Vec<Row> {
    let mut bound = pod_manifest("bound", 8);
    bound["spec"]["nodeName"] = json!("node-0001");
    let mut in_template = job_manifest("bound", 8);
    in_template["spec"]["template"]["spec"]["nodeName"] = json!("node-0001");
    let mut pinned = job_manifest("pinned", 8);
    pinned["spec"]["template"]["spec"]["affinity"] = pinned_to("node-0001");
    vec![
        world
            .refuses::<Pod>("`spec.nodeName` on a pod", bound)
            .await,
        world
            .refuses::<Job>("`spec.nodeName` in the template of a Job", in_template)
            .await,
        world
            .refuses::<Job>("a node's name in the affinity of a Job", pinned)
            .await,
    ]
}

/// By her own rights; and with a right that nobody should give her.
async fn bindings(world: &World) -> Vec<Row> {
    let first = world
        .row("creating a binding", refusal(bind(world).await))
        .await;
    world.grant("pods/binding", "create").await;
    let allowed = || async { !refusal(bind(world).await).contains("alice") };
    eventually("the right is in force", allowed).await;
    let second = refusal(bind(world).await);
    world.take_back("pods/binding").await;
    vec![
        first,
        world
            .row("the same with the right to create bindings", second)
            .await,
    ]
}

async fn bind(world: &World) -> kube::Result<Value> {
    let body = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "gated" },
        "target": { "apiVersion": "v1", "kind": "Node", "name": "node-0001" },
    });
    let path = format!("{}/gated/binding", Pod::url_path(&(), Some("red")));
    let request = http::Request::post(path).header("Content-Type", "application/json");
    let body = serde_json::to_vec(&body).unwrap();
    world.user().request(request.body(body).unwrap()).await
}

async fn forgeries(world: &World) -> Vec<Row> {
    let mark = json!({ "metadata": { "annotations": { EPOCH: "9" } } });
    let mut on_template = job_manifest("marked", 8);
    on_template["spec"]["template"]["metadata"] = mark["metadata"].clone();
    let status = json!({ "status": { "nominatedNodeName": "node-0001" } });
    let (params, patch) = (PatchParams::default(), Patch::Merge(status));
    let nominated = world
        .hers::<Pod>()
        .patch_status("gated", &params, &patch)
        .await;
    vec![
        world
            .row(
                "forging our annotations on its Job",
                world.refused_change::<Job>("waits", mark.clone()).await,
            )
            .await,
        world
            .row(
                "on its pod",
                world.refused_change::<Pod>("gated", mark).await,
            )
            .await,
        world
            .refuses::<Job>("on the template of a Job", on_template)
            .await,
        world
            .row("naming a node in its pod's status", refusal(nominated))
            .await,
    ]
}

async fn labels(world: &World) -> Vec<Row> {
    let mut theirs = job_manifest("theirs", 8);
    let label = json!({ "prorata.dev/tenant": "blue" });
    theirs["metadata"]["labels"] = label.clone();
    theirs["spec"]["template"]["metadata"] = json!({ "labels": label });
    create(&world.hers::<Job>(), &from::<Job>(theirs)).await;
    eventually("it waits as red's", || async {
        let faces = world.faces("red").await;
        faces
            .iter()
            .any(|face| face.spec.job.name == "theirs" && face.spec.tenant == "red")
    })
    .await;
    world.remove::<Job>("theirs").await;
    let namespaces: Api<Namespace> = Api::all(world.user().clone());
    let relabel = json!({ "metadata": { "labels": { "prorata.dev/tenant": "blue" } } });
    let relabelled = patch(&namespaces, "red", relabel).await;
    vec![
        world
            .row(
                "another tenant's label on its Job and pods",
                "accepted, and means nothing: the Job waits as its namespace's tenant",
            )
            .await,
        world
            .row(
                "another tenant's label on its namespace",
                refusal(relabelled),
            )
            .await,
    ]
}

async fn other_scheduler(world: &World) -> Row {
    let mut elsewhere = job_manifest("elsewhere", 8);
    elsewhere["spec"]["template"]["spec"]["schedulerName"] = json!("hers");
    let stored = create(&world.hers::<Job>(), &from::<Job>(elsewhere)).await;
    assert!(suspended(&stored));
    let mut pod = pod_manifest("elsewhere", 8);
    pod["spec"]["schedulerName"] = json!("hers");
    assert!(is_gated(
        &create(&world.hers::<Pod>(), &from::<Pod>(pod)).await
    ));
    world.remove::<Job>("elsewhere").await;
    world.remove::<Pod>("elsewhere").await;
    world
        .row(
            "another `schedulerName`",
            "accepted, and changes nothing: the Job is suspended and the pod gated as any other",
        )
        .await
}

fn is_gated(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref().unwrap();
    let mut gates = spec.scheduling_gates.iter().flatten();
    gates.any(|gate| gate.name == GATE)
}
