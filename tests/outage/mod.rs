//! What an outage of ours blocks, and what goes on; and what users see of the queue while it works:
//! Jobs that are not ours, unknown tenants, holds, Jobs that cannot be planned, deletions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod away;
mod queue;
mod victims;
pub(crate) mod world;

use std::time::Duration;

use world::{TERMINATION, World};

/// One control plane for all of it: our controller runs once, is killed, and comes back at the end.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_blocks_gpu_pods_and_nothing_else() {
    let Some(mut world) = World::start(Duration::ZERO).await else {
        return;
    };
    let mut controller = world.controller().await;
    controller.kill().unwrap();

    away::what_has_no_gpus_is_stored_as_without_us_and_runs(&world).await;
    away::a_gpu_job_of_a_tenant_waits(&world).await;
    away::a_gpu_pod_without_tenant_waits_for_the_extender(&world).await;

    let _controller = world.controller().await;
    away::what_waited_goes_on(&world).await;
    world.assert_healthy();
}

/// One control plane for all of it, with our controller running; each leaves no pod behind.
#[tokio::test(flavor = "multi_thread")]
async fn users_see_where_they_stand() {
    let Some(mut world) = World::start(TERMINATION).await else {
        return;
    };
    let _controller = world.controller().await;

    queue::gpu_jobs_without_tenant_take_only_what_is_not_promised(&world).await;
    queue::an_unknown_tenant_is_named(&world).await;
    queue::a_user_holds_a_new_job(&world).await;
    queue::a_user_holds_a_running_job(&world).await;
    queue::what_cannot_be_planned_says_why(&world).await;
    queue::a_job_goes_where_its_template_lets_it(&world).await;
    queue::a_plan_whose_node_repels_its_pods_is_made_anew(&world).await;
    queue::a_deleted_job_frees_its_gpus_with_its_last_pod(&world).await;
    queue::a_plan_whose_node_is_gone_is_made_anew(&world).await;
    queue::a_job_that_may_not_start_holds_nothing(&world).await;
    queue::who_may_break_the_glass_gets_what_is_free(&world).await;
    world.assert_healthy();
}
