//! Claims of devices by DRA, which nobody counts: in what she makes, and in what others make of it.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use super::Row;
use super::world::{World, job_manifest, pod_manifest};
use crate::cluster::from;
use crate::cluster::requests::{create, eventually};

/// A CronJob makes Jobs at the beginning of a minute.
const CRON_WITHIN: Duration = Duration::from_secs(100);

pub(crate) async fn attacks(world: &World) -> Vec<Row> {
    let mut pod = pod_manifest("claims", 0);
    pod["spec"]["resourceClaims"] = dra_claims();
    let mut job = job_manifest("claims", 0);
    job["spec"]["template"]["spec"]["resourceClaims"] = dra_claims();
    let mut derived = pod_manifest("derived", 0);
    derived["spec"]["containers"][0]["resources"] =
        json!({ "limits": { "deviceclass.resource.kubernetes.io/gpu": "1" } });
    vec![
        world.refuses::<Pod>("a DRA claim in a pod", pod).await,
        world.refuses::<Job>("a DRA claim in a Job", job).await,
        world
            .refuses::<Pod>("a DeviceClass by its resource name", derived)
            .await,
        world
            .row(
                "a DRA claim in the template of a Deployment",
                by_deployment(world).await,
            )
            .await,
        world
            .row("in that of a CronJob", by_cron_job(world).await)
            .await,
    ]
}

/// What users claim devices by.
fn dra_claims() -> Value {
    json!([{ "name": "gpu", "resourceClaimTemplateName": "gpu" }])
}

/// What its ReplicaSet is told.
async fn by_deployment(world: &World) -> String {
    let labels = json!({ "app": "claims" });
    let mut spec = pod_manifest("claims", 0)["spec"].clone();
    spec["resourceClaims"] = dra_claims();
    spec["restartPolicy"] = json!("Always");
    let deployment = json!({
        "metadata": { "name": "claims" },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec },
        },
    });
    let all = world.hers::<Deployment>();
    create(&all, &from(deployment)).await;
    let failed = async || {
        let status = all.get("claims").await.unwrap().status?;
        let failed = |c: &DeploymentCondition| c.type_ == "ReplicaFailure";
        status.conditions?.into_iter().find(failed)?.message
    };
    eventually("its ReplicaSet is refused", || async {
        failed().await.is_some()
    })
    .await;
    let told = failed().await.unwrap();
    world.remove::<Deployment>("claims").await;
    never_made(&told)
}

/// What the controller of CronJobs is told; the next minute has to begin first.
async fn by_cron_job(world: &World) -> String {
    let mut spec = job_manifest("claims", 0)["spec"].clone();
    spec["template"]["spec"]["resourceClaims"] = dra_claims();
    let cron = json!({
        "metadata": { "name": "claims" },
        "spec": { "schedule": "* * * * *", "jobTemplate": { "spec": spec } },
    });
    create(&world.hers::<CronJob>(), &from(cron)).await;
    let events: Api<Event> = world.admins("red");
    let about = ListParams::default().fields("reason=FailedCreate,regarding.kind=CronJob");
    let began = Instant::now();
    let told = loop {
        let told = events.list(&about).await.unwrap().items;
        if let Some(note) = told.into_iter().find_map(|event| event.note) {
            break note;
        }
        assert!(began.elapsed() < CRON_WITHIN, "it makes a Job, or none");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let jobs = world.hers::<Job>().list(&ListParams::default()).await;
    let made = |job: &Job| !job.owner_references().is_empty();
    assert!(!jobs.unwrap().iter().any(made));
    world.remove::<CronJob>("claims").await;
    never_made(&told)
}

fn never_made(told: &str) -> String {
    let said = told
        .rsplit_once("denied request: ")
        .expect("a refusal of ours");
    format!("accepted, and nothing is made of it: {}", said.1.trim())
}
