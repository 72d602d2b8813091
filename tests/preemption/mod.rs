//! Who has to leave for whom, in a real cluster; what becomes of jobs whose nodes are lost or
//! whose pods kube-scheduler cannot place; and what a crash between any two writes changes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod apart;
mod churn;
mod crash;
mod eviction;
mod foretold;
mod kept;
mod loss;
mod measured;
mod tree;
mod whole;

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use prorata::api::labels::EPOCH;
use prorata_controlplane::nodes;

use crate::cluster::controller::replay_all;
use crate::outage::world::{NODES, TERMINATION, World};

/// Short, so that tests need not wait for what nobody waits for.
const PATIENCE: &str = "\
preemption: {victimTimeout: 6s}
nodeLostAfter: 1s
bindingTimeout: 4s
decisionLog: {path: DIRECTORY/decisions.jsonl, files: 99}
";

/// For how long nobody has to leave who has started, in the last of these stories.
const MIN_RUNTIME: Duration = Duration::from_secs(8);

/// Tenants beside the one that every world has, which is guaranteed nothing.
const TENANTS: &str = "\
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: lab}
spec: {guaranteed: {gpu: 4}}
---
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: blue}
spec: {}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: urgent}
value: 1000
preemptionPolicy: Never
";

/// Whoever leaves is waited for, or another would have to leave instead where pods take long to end.
const PATIENT: &str = "preemption: {victimTimeout: 120s}\n";

/// One control plane for all of it; each leaves no pod behind.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_leave_for_others_and_nothing_is_lost() {
    let Some(mut world) = start(TERMINATION, PATIENCE).await else {
        return;
    };
    let controller = world.controller().await;
    eviction::a_guarantee_is_claimed_back(&world).await;
    eviction::tenants_show_what_they_hold(&world).await;
    eviction::a_tenant_with_less_of_its_share_gets_it(&world).await;
    tree::what_is_not_lent_stays_free(&world).await;
    tree::a_child_claims_what_its_parent_owns(&world).await;
    eviction::a_higher_priority_of_the_same_tenant_goes_first(&world).await;
    eviction::whoever_saved_its_work_last_leaves(&world).await;
    foretold::what_if_tells_what_happens_then(&world).await;
    eviction::a_class_that_is_not_allowed_is_told(&world).await;
    eviction::a_victim_that_does_not_end_blocks_nobody_else(&world).await;
    loss::a_node_is_lost_before_its_pods_come(&world).await;
    loss::a_node_is_lost_while_its_pods_come(&world).await;
    loss::a_node_is_lost_under_its_pods(&world).await;
    loss::what_only_kube_scheduler_knows_is_told_and_takes_no_room(&world).await;
    apart::pods_that_repel_each_other_are_planned_apart(&world).await;
    apart::too_many_that_repel_each_other_are_told_so(&world).await;
    apart::a_node_whose_pods_repel_a_job_is_avoided(&world).await;
    let more = whole::add_nodes(&world).await;
    whole::a_gang_of_64_starts_whole(&world).await;
    whole::a_gang_of_64_that_a_node_refuses_is_whole_elsewhere(&world).await;
    whole::a_gang_of_64_outlives_its_node(&world).await;
    whole::remove_nodes(&world, &more).await;
    churn::nothing_flaps(&world).await;
    measured::a_forecast_is_scored_when_its_job_starts(&world).await;
    let starts = starts(&world).await;
    measured::all_that_happened_was_measured(&world, starts).await;
    drop(controller);
    kept::configure(&world, "{victimTimeout: 60s}");
    let controller = world.controller().await;
    kept::room_that_is_being_left_is_kept(&world).await;
    drop(controller);
    let rule = format!("{{minRuntime: {}s}}", MIN_RUNTIME.as_secs());
    kept::configure(&world, &rule);
    let controller = world.controller().await;
    kept::who_has_just_started_stays_for_a_while(&world).await;
    world.assert_healthy();
    drop(controller);
    let replayed = replay_all(world.cluster.plane.directory(), "decisions.jsonl");
    eprintln!("replayed {replayed:?} decisions");
    let starts = self::starts(&world).await;
    eprintln!("{starts} starts");
    assert!(
        replayed.iter().sum::<usize>() >= starts,
        "{replayed:?} for {starts} starts"
    );
}

/// How many admissions there were, by the number of the last: each is a decision.
async fn starts(world: &World) -> usize {
    let jobs: Api<Job> = Api::all(world.cluster.admin.clone());
    let jobs = jobs.list(&ListParams::default()).await.unwrap();
    let epochs = jobs
        .items
        .iter()
        .filter_map(|job| job.annotations().get(EPOCH));
    epochs.map(|epoch| epoch.parse().unwrap()).max().unwrap()
}

/// Two control planes, because most of it is waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_write_changes_nothing() {
    let mut worlds = Vec::new();
    for gpus in crash::GANGS {
        let shape = nodes::Shape {
            gpus: u32::try_from(gpus).unwrap(),
            ..nodes::Shape::default()
        };
        let guarantee = format!("gpu: {gpus}");
        let fleet = NODES.map(|name| (name.to_owned(), shape.clone()));
        let world = World::start_on(fleet, Duration::ZERO, PATIENT).await;
        let Some(world) = world else {
            return;
        };
        populate(&world, &TENANTS.replace("gpu: 4", &guarantee)).await;
        worlds.push(world);
    }
    crash::a_crash_after_any_write_changes_nothing(&worlds).await;
    worlds.iter_mut().for_each(World::assert_healthy);
}

/// A world with all tenants and a namespace of each.
async fn start(termination: Duration, configuration: &str) -> Option<World> {
    let world = World::start_with(termination, configuration).await?;
    populate(&world, TENANTS).await;
    Some(world)
}

async fn populate(world: &World, tenants: &str) {
    world.cluster.apply(tenants);
    for (namespace, tenant) in [("red", "red"), ("lab", "lab"), ("blue", "blue")] {
        world.namespace(namespace, Some(tenant)).await;
    }
}
