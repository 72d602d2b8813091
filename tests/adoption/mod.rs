//! A cluster that was in use before the queue came: what ran keeps its nodes and is charged to its
//! tenant, and what was suspended waits. Two nodes of four GPUs; pods take two seconds to end.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::Api;
use prorata::api::{State, Tenant};
use prorata_controlplane::{Kubelet, KubeletOptions, Options, User, nodes};
use serde_json::{Value, json};

use crate::cluster::controller::Site;
use crate::cluster::requests::{create, patch, suspend, suspended};
use crate::cluster::{Cluster, pod};
use crate::outage::world::{NODES, TERMINATION, World, gang, phase, with};

const TENANTS: &str = "\
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: red}
spec: {}
---
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: blue}
spec: {}
---
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: lab}
spec: {guaranteed: {gpu: 4}}
";

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_before_the_queue_came_is_its_tenants() {
    let Some(mut world) = used_before().await else {
        return;
    };
    let pods = uids(&world, "early").await;
    world.cluster.install().await;
    world.cluster.apply(TENANTS);
    belongs_to(&world, "early", "red").await;
    let config = world.site.scheduler_config().clone();
    world.cluster.plane.start_scheduler(&config).await.unwrap();
    let mut controller = world.controller().await;

    a_running_job_is_taken_up(&world).await;
    a_bare_pod_is_charged(&world).await;
    a_suspended_job_waits(&world).await;
    assert_eq!(uids(&world, "early").await, pods, "nobody is disturbed");
    so_is_what_ran_before_its_namespace_had_a_tenant(&world).await;

    controller.kill().unwrap();
    let _controller = world.controller().await;
    the_bare_pod_tells_who_has_most(&world).await;
    it_ends_and_it_waits_like_any_other(&world).await;
    what_is_logged_is_read_by_programs(&world);
    world.assert_healthy();
}

/// Each line is an object that says when, how important it is, who says it, and what.
fn what_is_logged_is_read_by_programs(world: &World) {
    let file = world
        .cluster
        .plane
        .directory()
        .join("prorata-controller.log");
    let log = std::fs::read_to_string(file).unwrap();
    let lines = log.lines().map(serde_json::from_str);
    let lines: Vec<Value> = lines.map(Result::unwrap).collect();
    for line in &lines {
        let when = line["timestamp"].as_str().unwrap();
        assert!(when.parse::<Timestamp>().is_ok(), "{line}");
        assert!(
            line["level"].is_string() && line["target"].is_string(),
            "{line}"
        );
    }
    let told = |line: &&Value| line["fields"]["message"] == "admitted";
    let admitted = lines.iter().find(told).expect("what was admitted");
    assert!(admitted["fields"]["epoch"].is_number(), "{admitted}");
    assert!(admitted["fields"]["job"].is_string(), "{admitted}");
}

/// A cluster without anything of ours: `early` has a Job of two pods that run, one that its user
/// has suspended, and a bare pod.
async fn used_before() -> Option<World> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let shape = nodes::Shape {
        gpus: 4,
        ..nodes::Shape::default()
    };
    let fleet = NODES.map(|name| (name.to_owned(), shape.clone()));
    nodes::create_all(&cluster.admin, fleet).await.unwrap();
    let site = Site::prepare_with(&cluster.plane, "logging: {format: json}\n");
    let stock = format!(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n\
         leaderElection: {{leaderElect: false}}\nclientConnection: {{kubeconfig: {}}}\n",
        cluster.plane.kubeconfig(User::Scheduler).display()
    );
    let file = cluster.plane.directory().join("stock-scheduler.yaml");
    std::fs::write(&file, stock).unwrap();
    cluster.plane.start_scheduler(&file).await.unwrap();
    let options = KubeletOptions {
        termination: TERMINATION,
        ..KubeletOptions::default()
    };
    let kubelet = Kubelet::start(cluster.admin.clone(), options);
    let world = World {
        cluster,
        kubelet,
        without_us: Vec::new(),
        site,
    };
    world.namespace("early", None).await;
    world.submit("early", &gang("trains", 2)).await;
    let suspended = [("/spec", "suspend", json!(true))];
    world
        .submit("early", &with(&gang("stopped", 6), &suspended))
        .await;
    let alone: Api<Pod> = Api::namespaced(world.cluster.alice.clone(), "early");
    create(&alone, &pod("bare", 1)).await;
    world
        .until("all run that may", async || {
            let pods = world.pods("early").await;
            pods.len() == 3 && pods.iter().all(|pod| phase(pod) == "Running")
        })
        .await;
    Some(world)
}

async fn uids(world: &World, namespace: &str) -> Vec<String> {
    let pods = world.pods(namespace).await;
    pods.iter().filter_map(ResourceExt::uid).collect()
}

async fn belongs_to(world: &World, namespace: &str, tenant: &str) {
    let namespaces: Api<Namespace> = Api::all(world.cluster.admin.clone());
    let label = json!({"metadata": {"labels": {"prorata.dev/tenant": tenant}}});
    patch(&namespaces, namespace, label).await.unwrap();
}

/// What a tenant holds, as its status shows it.
async fn until_holds(world: &World, tenant: &str, gpus: &str) {
    let tenants: Api<Tenant> = Api::all(world.cluster.admin.clone());
    world
        .until(&format!("{tenant} holds {gpus} GPUs"), async || {
            let status = tenants.get(tenant).await.unwrap().status;
            let used = status.and_then(|status| status.used.get("gpu").cloned());
            used.as_deref() == Some(gpus)
        })
        .await;
}

/// It is on record where it runs, and in the queue that people see.
async fn a_running_job_is_taken_up(world: &World) {
    world
        .until("it is in the queue", async || {
            let stands = world.stands("early", "trains").await;
            stands.is_some_and(|(state, _)| state == State::Admitted)
        })
        .await;
    let record = world.record("early", "trains").await.unwrap().spec;
    let placement = record.admission.unwrap().placement;
    let mut planned: Vec<String> = placement.into_iter().map(|place| place.node).collect();
    planned.sort();
    assert_eq!(planned, world.nodes_of("early", "trains").await);
    assert_eq!((record.gang, record.tenant.as_str()), (2, "red"));
    let kubeconfig = world.cluster.plane.kubeconfig(User::Alice);
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    let list = ["list", "-n", "early", "-o", "name", &kubeconfig];
    let listed = crate::cluster::prorata(&list);
    assert_eq!(listed, "job.batch/trains\njob.batch/stopped\n");
}

/// No job of the queue's, and one GPU of its tenant's.
async fn a_bare_pod_is_charged(world: &World) {
    until_holds(world, "red", "3").await;
    assert!(world.record("early", "bare").await.is_none());
}

async fn a_suspended_job_waits(world: &World) {
    world
        .until_stands("early", "stopped", State::Waiting, "CapacityFull")
        .await;
}

/// Jobs of no tenant run beside the queue; then one of them has a tenant.
async fn so_is_what_ran_before_its_namespace_had_a_tenant(world: &World) {
    world.namespace("late", None).await;
    world.submit("late", &gang("runs", 2)).await;
    world
        .until("it runs beside the queue", async || {
            world.nodes_of("late", "runs").await.len() == 2
        })
        .await;
    assert!(world.record("late", "runs").await.is_none());
    belongs_to(world, "late", "blue").await;
    until_holds(world, "blue", "2").await;
    world
        .until("it is in the queue", async || {
            let stands = world.stands("late", "runs").await;
            stands.is_some_and(|(state, _)| state == State::Admitted)
        })
        .await;
}

/// Three GPUs are left, and four are claimed. Both tenants have a Job of two pods; with its bare pod
/// red has more, so its Job goes, and keeps its age.
async fn the_bare_pod_tells_who_has_most(world: &World) {
    let created = world.job("early", "trains").await.creation_timestamp();
    world.namespace("lab", Some("lab")).await;
    world.submit("lab", &gang("claims", 4)).await;
    world
        .until("what is guaranteed runs", async || {
            world.nodes_of("lab", "claims").await.len() == 4
        })
        .await;
    assert!(suspended(&world.job("early", "trains").await));
    assert!(!suspended(&world.job("late", "runs").await));
    let said = world.events("early", "trains").await;
    assert!(
        said.iter()
            .any(|(reason, note)| reason == "Evicted"
                && note.contains("claims what it is guaranteed")),
        "{said:?}"
    );
    world.complete("lab", "claims").await;
    world
        .until("it runs again", async || {
            world.nodes_of("early", "trains").await.len() == 2
        })
        .await;
    let again = world.job("early", "trains").await;
    assert_eq!(again.creation_timestamp(), created);
    assert_eq!(again.status.unwrap().failed, None);
}

async fn it_ends_and_it_waits_like_any_other(world: &World) {
    world.complete("late", "runs").await;
    until_holds(world, "blue", "0").await;
    let jobs: Api<Job> = world.jobs("early");
    suspend(&jobs, "trains", true).await;
    world
        .until_stands("early", "trains", State::Held, "Suspended")
        .await;
    // The one that waited has the room now.
    world
        .until("the one that was suspended runs", async || {
            world.nodes_of("early", "stopped").await.len() == 6
        })
        .await;
    suspend(&jobs, "trains", false).await;
    world
        .until_stands("early", "trains", State::Waiting, "CapacityFull")
        .await;
    world.complete("early", "stopped").await;
    world
        .until("it runs again", async || {
            world.nodes_of("early", "trains").await.len() == 2
        })
        .await;
    world.complete("early", "trains").await;
}
