//! Who leaves, what is said about it, and when the room is given away. Two nodes of four GPUs;
//! pods take two seconds to end.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use prorata::api::{State, Tenant};
use serde_json::json;

use crate::cluster::requests::{patch, suspend, suspended};
use crate::outage::world::{NODES, World, gang, with};

/// Pods that take longer to end than anybody waits for them.
pub(crate) fn slow_to_end() -> serde_json::Value {
    json!({ "annotations": { "prorata.dev/test-termination-seconds": "30" } })
}

pub(crate) async fn a_guarantee_is_claimed_back(world: &World) {
    fill(world, "claim").await;
    let created = world.job("red", "claim-2").await.creation_timestamp();
    world.submit("lab", &gang("mine", 4)).await;
    // The newest has lost the least work.
    world
        .until(
            "its room is given away when its last pod is gone",
            async || {
                let is_started = !suspended(&world.job("lab", "mine").await);
                let left = world.pods_of("red", "claim-2").await;
                assert!(!is_started || left == 0, "mine starts beside {left} pods");
                is_started
            },
        )
        .await;
    world.until_running("lab", "mine", &[NODES[1]; 4]).await;
    world.until_running("red", "claim-1", &[NODES[0]; 4]).await;
    let why = "it leaves for a job of tenant lab, whose tenant claims what it is guaranteed; \
         it queues again, with its age kept, once its pods have ended";
    let told = ("Evicted".to_owned(), why.to_owned());
    world
        .until("who left is told for whom", async || {
            world.events("red", "claim-2").await.contains(&told)
        })
        .await;
    world
        .until("its condition says that it waits", async || {
            let condition = world.condition("red", "claim-2").await;
            condition.is_some_and(|[status, ..]| status == "False")
        })
        .await;
    world
        .until("it waits", async || {
            let stands = world.stands("red", "claim-2").await;
            stands.is_some_and(|(state, reason)| {
                state == State::Waiting
                    && (reason == "CapacityFull" || reason.starts_with("Backoff"))
            })
        })
        .await;
    let record = world.record("red", "claim-2").await.unwrap().spec;
    assert_eq!(record.admission, None);
    assert_eq!(record.eviction.unwrap().rule, "reclaim");

    world.complete("lab", "mine").await;
    world.until_running("red", "claim-2", &[NODES[1]; 4]).await;
    let again = world.job("red", "claim-2").await;
    assert_eq!(again.creation_timestamp(), created, "the same Job");
    assert_eq!(
        again.status.unwrap().failed,
        None,
        "its backoffLimit is untouched"
    );
    let record = world.record("red", "claim-2").await.unwrap().spec;
    assert_eq!(record.eviction, None, "forgotten with the next admission");
    world.complete("red", "claim-1").await;
    world.complete("red", "claim-2").await;
}

/// Two gangs of the tenant red hold both nodes.
pub(crate) async fn fill(world: &World, name: &str) {
    for (number, node) in (1..).zip(NODES) {
        let job = format!("{name}-{number}");
        world.submit("red", &gang(&job, 4)).await;
        world.until_running("red", &job, &[node; 4]).await;
    }
}

pub(crate) async fn tenants_show_what_they_hold(world: &World) {
    let tenants: Api<Tenant> = Api::all(world.cluster.admin.clone());
    let shows = async |name: &str, used: &str, running: u32, ready: (&str, &str)| {
        let status = tenants.get(name).await.unwrap().status.unwrap_or_default();
        let condition = status.conditions.iter().find(|c| c.type_ == "Ready");
        status.used.get("gpu").is_some_and(|gpus| gpus == used)
            && status.running == running
            && condition.is_some_and(|c| (c.status.as_str(), c.reason.as_str()) == ready)
    };
    world.submit("red", &gang("shown", 3)).await;
    world.until_running("red", "shown", &[NODES[0]; 3]).await;
    world
        .until("it shows what it holds", async || {
            shows("red", "3", 1, ("True", "Ready")).await
        })
        .await;
    world.complete("red", "shown").await;
    world
        .until("it shows that it holds nothing", async || {
            shows("red", "0", 0, ("True", "Ready")).await
        })
        .await;
    patch::<Tenant>(&tenants, "blue", json!({ "spec": { "parent": "blue" } }))
        .await
        .unwrap();
    world
        .until("a circle is told", async || {
            shows("blue", "0", 0, ("False", "Circle")).await
        })
        .await;
    patch::<Tenant>(&tenants, "blue", json!({ "spec": { "parent": null } }))
        .await
        .unwrap();
    world
        .until("and that it is none any more", async || {
            shows("blue", "0", 0, ("True", "Ready")).await
        })
        .await;
    let version = tenants.get("blue").await.unwrap().resource_version();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let later = tenants.get("blue").await.unwrap().resource_version();
    assert_eq!(version, later, "nothing is written while nothing happens");
}

pub(crate) async fn a_tenant_with_less_of_its_share_gets_it(world: &World) {
    fill(world, "share").await;
    world.submit("blue", &gang("due", 4)).await;
    world.until_running("blue", "due", &[NODES[1]; 4]).await;
    let why = "a job of tenant blue, whose tenant has less";
    world.until_told("red", "share-2", "Evicted", why).await;
    // Each has half now: nobody leaves any more.
    world.submit("blue", &gang("more", 4)).await;
    world.until_waiting("blue", "more").await;
    world.complete("blue", "due").await;
    delete(world, "blue", "more").await;
    world.until_running("red", "share-2", &[NODES[1]; 4]).await;
    world.complete("red", "share-1").await;
    world.complete("red", "share-2").await;
}

pub(crate) async fn a_higher_priority_of_the_same_tenant_goes_first(world: &World) {
    fill(world, "rank").await;
    let urgent = [("/spec/template/spec", "priorityClassName", json!("urgent"))];
    world
        .submit("red", &with(&gang("urgent", 4), &urgent))
        .await;
    world.until_running("red", "urgent", &[NODES[1]; 4]).await;
    let why = "it leaves for job urgent, which has a higher priority within the same tenant";
    world
        .until("who left is told for whom", async || {
            let said = world.events("red", "rank-2").await;
            said.iter()
                .any(|(reason, note)| reason == "Evicted" && note.starts_with(why))
        })
        .await;
    world.complete("red", "urgent").await;
    world.until_running("red", "rank-2", &[NODES[1]; 4]).await;
    world.complete("red", "rank-1").await;
    world.complete("red", "rank-2").await;
}

/// The older one has run for longer, and would stay if it had not saved its work since.
pub(crate) async fn whoever_saved_its_work_last_leaves(world: &World) {
    for (round, by) in [("noted", "annotation"), ("touched", "status")] {
        fill(world, round).await;
        // Kubernetes keeps whole seconds.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        let older = format!("{round}-1");
        let now = Timestamp::now();
        let jobs = world.jobs("red");
        match by {
            "annotation" => {
                let said = json!({ "prorata.dev/checkpointed-at": now });
                let change = json!({ "metadata": { "annotations": said } });
                patch::<Job>(&jobs, &older, change).await.unwrap();
            }
            _ => {
                let saved = json!({
                    "type": "prorata.dev/Checkpointed", "status": "True", "lastTransitionTime": now,
                });
                let change = json!({ "status": { "conditions": [saved] } });
                let change = Patch::Strategic(change);
                jobs.patch_status(&older, &PatchParams::default(), &change)
                    .await
                    .unwrap();
            }
        }
        world.submit("lab", &gang(round, 4)).await;
        world.until_running("lab", round, &[NODES[0]; 4]).await;
        let newer = format!("{round}-2");
        world.until_running("red", &newer, &[NODES[1]; 4]).await;
        assert!(suspended(&world.job("red", &older).await), "{by}");
        world.complete("lab", round).await;
        world.until_running("red", &older, &[NODES[0]; 4]).await;
        world.complete("red", &older).await;
        world.complete("red", &newer).await;
    }
}

pub(crate) async fn a_class_that_is_not_allowed_is_told(world: &World) {
    let tenants: Api<Tenant> = Api::all(world.cluster.admin.clone());
    let allow = async |classes: serde_json::Value| {
        let change = json!({ "spec": { "priorityClasses": classes } });
        patch::<Tenant>(&tenants, "red", change).await.unwrap();
    };
    // At its creation the API server would refuse it; what is queued already is told.
    let urgent = [
        ("/spec/template/spec", "priorityClassName", json!("urgent")),
        ("/spec", "suspend", json!(true)),
    ];
    world.submit("red", &with(&gang("vain", 1), &urgent)).await;
    allow(json!([])).await;
    world
        .until_stands("red", "vain", State::Waiting, "InvalidRequest")
        .await;
    let message = world.record("red", "vain").await.unwrap().status.unwrap();
    assert_eq!(
        message.message,
        "tenant red may not use PriorityClass urgent: name none in spec.template"
    );
    allow(json!(["urgent"])).await;
    world
        .until_stands("red", "vain", State::Held, "Suspended")
        .await;
    suspend(&world.jobs("red"), "vain", false).await;
    world.until_running("red", "vain", &[NODES[0]]).await;
    world.complete("red", "vain").await;
    allow(json!(null)).await;
}

/// Its pods keep their room, and the one that was to get it finds other room.
pub(crate) async fn a_victim_that_does_not_end_blocks_nobody_else(world: &World) {
    world.submit("red", &gang("ends", 4)).await;
    world.until_running("red", "ends", &[NODES[0]; 4]).await;
    let slow = [("/spec/template", "metadata", slow_to_end())];
    let stays = with(&gang("stays", 4), &slow);
    world.submit("red", &stays).await;
    world.until_running("red", "stays", &[NODES[1]; 4]).await;
    world.submit("lab", &gang("claims", 4)).await;
    world.until_running("lab", "claims", &[NODES[0]; 4]).await;
    assert_eq!(world.pods_of("red", "stays").await, 4, "they do not end");
    assert_eq!(world.pods_of("red", "ends").await, 0);
    let queued = world.stands("red", "stays").await.unwrap();
    assert_eq!(queued, (State::Waiting, "Evicted".to_owned()));

    // In the end they go, and both queue for what is left.
    world
        .until("one of both runs again", async || {
            let ends = world.nodes_of("red", "ends").await;
            ends == [NODES[1]; 4] || world.nodes_of("red", "stays").await == [NODES[1]; 4]
        })
        .await;
    for job in ["ends", "stays"] {
        delete(world, "red", job).await;
    }
    world.complete("lab", "claims").await;
}

/// Deletes a Job, and waits until its pods are gone.
pub(crate) async fn delete(world: &World, namespace: &str, job: &str) {
    let jobs: Api<Job> = world.jobs(namespace);
    jobs.delete(job, &DeleteParams::background()).await.unwrap();
    world
        .until(&format!("{namespace}/{job} is gone"), async || {
            world.pods_of(namespace, job).await == 0
        })
        .await;
}
