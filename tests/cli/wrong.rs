//! What goes wrong, and what people are told then.

use std::time::Instant;

use super::world::{World, run};

pub(crate) async fn no_cluster_is_told_as_such(world: &World) {
    let ran = run("list", "").await;
    ran.failed(2, "no way to a cluster");
    let ran = run("list --kubeconfig /nonexistent", "").await;
    ran.failed(2, "name a kubeconfig by --kubeconfig");
    let dead = world.file(
        "dead.kubeconfig",
        "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n\
         clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: a, user: {}}]\n",
    );
    let clock = Instant::now();
    let ran = run(&format!("list --kubeconfig {}", dead.display()), "").await;
    ran.failed(1, "cannot list queuedjobs.prorata.dev in namespace default");
    assert!(
        ran.err.contains("refused") && ran.err.contains("--context"),
        "{ran:?}"
    );
    assert!(clock.elapsed().as_secs() < 30, "{:?}", clock.elapsed());
    let ran = run(
        &format!("list --context other --kubeconfig {}", dead.display()),
        "",
    )
    .await;
    ran.failed(2, "no way to a cluster");
}

pub(crate) async fn an_api_server_without_prorata_is_told_as_such(world: &World) {
    let ran = world.admin("list").await;
    ran.failed(1, "Prorata is not installed here");
}

pub(crate) async fn missing_rights_are_named(world: &World) {
    let share = world.alice("share").await;
    assert!(share.good().contains("red      8      -"), "{share:?}");
    let told = "note: without what is due to each tenant: you may not list tenants.prorata.dev in the cluster\n\
                note: without the cluster's capacity: you may not list nodes in the cluster\n";
    assert_eq!(share.err, told);
    let explained = world.alice("explain waits -n red").await;
    assert!(
        explained.good().contains("position 1 of 1"),
        "{explained:?}"
    );
    assert!(
        explained.err.contains("you may not list events"),
        "{explained:?}"
    );
}

pub(crate) async fn an_unknown_job_is_told_as_such(world: &World) {
    let ran = world.alice("explain wait -n red").await;
    ran.failed(
        1,
        "there is no job wait in namespace red\n  help: did you mean `waits`?",
    );
}
