//! What people do from a shell, on a real control plane, with their own rights and no more.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod changing;
mod demo;
mod doctoring;
mod forms;
mod looking;
mod terminal;
pub(crate) mod world;
mod wrong;

use std::sync::Mutex;

use world::World;

/// One control plane at a time.
static MACHINE: Mutex<()> = Mutex::new(());

#[test]
fn a_newcomer_sees_the_demo() {
    let _machine = MACHINE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    demo::the_demo_runs_and_leaves_nothing_behind();
}

#[test]
fn a_newcomer_sees_the_demo_on_a_terminal() {
    let _machine = MACHINE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    demo::a_terminal_shows_shares_and_queue_live();
}

/// One control plane for all of it, with our controller running.
#[test]
fn people_work_with_the_queue() {
    let _machine = MACHINE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(work_with_the_queue());
}

async fn work_with_the_queue() {
    let Some(mut world) = World::start().await else {
        return;
    };
    wrong::no_cluster_is_told_as_such(&world).await;
    wrong::an_api_server_without_prorata_is_told_as_such(&world).await;
    doctoring::a_cluster_without_us_fails(&world).await;
    let _controller = world.install().await;

    looking::the_queue_is_listed_in_its_order(&world).await;
    looking::a_job_is_explained(&world).await;
    looking::shares_are_shown_as_a_tree(&world).await;
    forms::every_form_is_what_it_says(&world).await;
    forms::kubectl_finds_us_by_a_link(&world).await;
    forms::kubectl_shows_our_objects(&world).await;
    wrong::missing_rights_are_named(&world).await;
    wrong::an_unknown_job_is_told_as_such(&world).await;
    looking::who_is_ahead_is_named_with_a_moment(&world).await;
    world.clear("red").await;
    world.clear("blue").await;

    changing::a_file_is_submitted_whole_or_not_at_all(&world).await;
    changing::a_job_is_waited_for(&world).await;
    changing::a_job_is_held_and_resumed(&world).await;
    changing::a_job_gets_another_place_in_the_queue(&world).await;
    changing::a_node_is_drained(&world).await;
    doctoring::a_sound_installation_passes(&world).await;
    // The last: the controller may do nothing after it.
    doctoring::what_is_wrong_is_found(&world).await;
}
