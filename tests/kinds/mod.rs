//! Every kind of workload on a real control plane: how it is held, how it is counted, and how it
//! goes on. Two nodes of four GPUs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod composites;
mod evictions;
mod families;
mod lost;
mod operators;
mod outliving;
mod overlooked;
mod parted;
mod parts;
pub(crate) mod pods;
mod removed;
mod table;

use std::time::Duration;

use crate::outage::world::World;
use prorata_controlplane::JobSets;
use tokio::sync::Mutex;

/// One control plane at a time: two would be slow enough to disturb each other.
static TURN: Mutex<()> = Mutex::const_new(());

/// Short, so that the test need not wait for what nobody waits for.
const PATIENCE: &str = "preemption: {victimTimeout: 12s}\n";

/// A tenant that owns half of the cluster, beside the one that owns nothing.
const LAB: &str = "\
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: lab}
spec: {guaranteed: {gpu: 4}}
";

/// One control plane for all of it, with our controller running; each leaves no pod behind.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_waits_runs_and_leaves() {
    let _turn = TURN.lock().await;
    let Some(mut world) = World::start_with(Duration::ZERO, PATIENCE).await else {
        return;
    };
    world.cluster.apply(LAB);
    let mut controller = world.controller().await;

    parts::begin_a_cron_job(&world).await;
    pods::a_bare_pod_waits_runs_and_is_over(&world).await;
    pods::a_bare_pod_that_may_not_be_lost_stays_within_the_guarantee(&world).await;
    pods::what_can_never_run_says_so(&world).await;
    pods::pods_of_a_deployment_start_one_by_one(&world).await;
    pods::a_stateful_set_starts_as_a_gang(&world).await;
    pods::a_forged_owner_joins_no_gang(&world).await;
    pods::a_pod_without_tenant_goes_where_little_is_left(&world).await;
    pods::what_is_resized_in_place_counts_as_it_is_now(&world).await;
    parts::each_pod_of_a_job_may_start_alone(&world).await;
    parts::a_pod_that_is_made_anew_and_finds_no_place_has_its_job_start_anew(&world).await;
    parts::a_minimum_starts_together_and_the_others_follow(&world).await;
    parts::a_job_that_is_too_large_is_told_so_and_may_start_in_part(&world).await;
    parts::a_waiting_job_may_become_smaller(&world).await;

    evictions::pods_of_a_deployment_make_room(&world).await;
    evictions::a_gang_of_pods_makes_room_whole(&world).await;
    evictions::a_disruption_budget_delays_its_own_pods_alone_and_not_for_ever(&world).await;

    pods::begin(&world).await;
    controller.kill().unwrap();
    let _controller = world.controller().await;
    pods::a_restart_changes_nothing(&world).await;
    parts::jobs_of_a_cron_job_are_held_like_any_other(&world).await;
    world.assert_healthy();
}

/// Kinds that come after the controller has started, with the operators that know them.
#[tokio::test(flavor = "multi_thread")]
async fn objects_of_operators_wait_run_and_leave_whole() {
    let _turn = TURN.lock().await;
    let Some(job_sets) = JobSets::find_or_skip() else {
        return;
    };
    let patience = format!("{PATIENCE}nodeLostAfter: 1s\n");
    let Some(mut world) = World::start_with(crate::outage::world::TERMINATION, &patience).await
    else {
        return;
    };
    world.cluster.apply(LAB);
    let mut controller = world.controller().await;
    let mut operators = operators::start(&world, &job_sets).await;

    composites::a_job_set_waits_and_starts_whole(&world).await;
    composites::its_user_holds_it(&world).await;
    composites::it_makes_room_and_comes_back(&world).await;
    composites::a_lost_node_fails_nothing(&world).await;
    parted::forged_owners_get_no_places(&world).await;
    composites::pods_of_an_operator_start_whole(&world).await;
    outliving::pods_that_run_on_are_ended_in_the_end(&world).await;
    families::every_kind_of_the_table_starts_whole(&world).await;
    composites::unequal_pods_get_equal_places(&world).await;
    composites::a_train_job_is_held_above_its_job_set(&world).await;
    composites::a_train_job_without_gpus_is_let_go(&world).await;

    composites::begin(&world).await;
    controller.kill().unwrap();
    let mut controller = world.controller().await;
    composites::a_restart_changes_nothing(&world).await;
    composites::a_kind_may_go(&world).await;
    removed::begin(&world).await;
    controller.kill().unwrap();
    removed::what_waits_goes_free(&world).await;
    operators.job_sets.check().unwrap();
    world.assert_healthy();
}

/// A cluster of which kube-scheduler looks at a part for each pod.
#[tokio::test(flavor = "multi_thread")]
async fn pods_whose_nodes_are_overlooked_are_told_them() {
    let _turn = TURN.lock().await;
    let Some(job_sets) = JobSets::find_or_skip() else {
        return;
    };
    let fleet = overlooked::fleet();
    let Some(mut world) = World::start_on(fleet, Duration::ZERO, "bindingTimeout: 10s\n").await
    else {
        return;
    };
    overlooked::look_at_a_part(&mut world).await;
    let _controller = world.controller().await;
    let mut operators = operators::start(&world, &job_sets).await;
    overlooked::every_pod_comes_to_its_node(&world).await;
    overlooked::a_node_that_is_refused_is_avoided(&world).await;
    operators.job_sets.check().unwrap();
    world.assert_healthy();
}

/// A control plane that finds out by itself which nodes are there.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_outlives_its_node() {
    let _turn = TURN.lock().await;
    let Some(job_sets) = JobSets::find_or_skip() else {
        return;
    };
    let Some(mut world) = lost::start().await else {
        return;
    };
    let mut controller = world.controller().await;
    let mut operators = operators::start(&world, &job_sets).await;
    lost::begin(&world).await;
    lost::a_node_that_is_silent_for_a_moment_keeps_its_pods(&world).await;
    lost::what_ran_on_a_silent_node_runs_elsewhere(&world).await;
    lost::what_cannot_be_made_anew_takes_no_room(&world).await;
    let before = lost::stayed(&world).await;
    controller.kill().unwrap();
    let _controller = world.controller().await;
    lost::a_restart_moves_nothing(&world, &before).await;
    lost::what_is_known_to_be_off_is_made_anew(&world).await;
    lost::a_node_that_is_back_is_used_again(&world).await;
    operators.job_sets.check().unwrap();
    world.assert_healthy();
}
