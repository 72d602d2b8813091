//! Tenants with environments on a real control plane: made from nothing, kept, isolated, left.
//!
//! `PRORATA_TENANTS=50` makes so many at once and prints how long that takes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command;
mod confined;
mod isolation;
mod kept;
mod many;
mod pools;
mod terms;
mod world;

use world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_made_kept_isolated_and_left() {
    let Some(mut world) = World::start().await else {
        return;
    };
    many::from_nothing_to_the_first_job(&mut world).await;
    kept::nothing_is_written_twice(&world).await;
    kept::what_others_change_is_corrected_and_told(&world).await;
    isolation::each_role_may_do_what_the_table_says(&world).await;
    confined::the_controller_leaves_alone_what_is_not_its_own(&world).await;
    command::plan_apply_adopt_export_and_delete(&world).await;
    kept::a_former_environment_keeps_its_data_and_owns_nothing(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_more_for_a_while_and_less_for_good() {
    let Some(world) = World::start().await else {
        return;
    };
    terms::a_grant_takes_effect_and_ends_within_seconds(&world).await;
    terms::a_downward_edit_evicts_nobody_and_admits_nothing_new(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_its_pool_alone() {
    let Some(world) = World::start_with(pools::PATIENCE).await else {
        return;
    };
    pools::whoever_has_a_pool_shares_no_node(&world).await;
}
