//! The admission policies on a real API server, by requests of an administrator, of a user and of
//! our controller: each rule seen to hold, and nothing beyond the rules touched.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod guards;
mod jobs;
mod objects;
mod sharing;

use crate::cluster::requests::{create, forget_what_always_differs, json, suspend};
use crate::cluster::{Cluster, from, job, pod};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use prorata_controlplane::Options;
use serde_json::{Value, json};

/// One control plane for all: each takes seconds to start, and a namespace keeps rules apart.
#[tokio::test]
async fn the_policies_hold_on_a_real_api_server() {
    let Some(cluster) = Cluster::start(Options::default()).await else {
        return;
    };
    let before = untouched(&cluster, "before").await;
    let in_force = cluster.install().await;
    eprintln!("installed and in force after {in_force:?}");
    assert_eq!(
        untouched(&cluster, "after").await,
        before,
        "what is not ours is stored as without us"
    );

    jobs::a_new_job_waits(&cluster).await;
    jobs::its_user_holds_and_releases_it(&cluster).await;
    jobs::only_the_controller_starts_it(&cluster).await;
    jobs::the_places_of_a_started_job_stay(&cluster).await;
    jobs::applying_again_changes_nothing(&cluster).await;
    jobs::a_job_may_start_in_part(&cluster).await;
    jobs::jobs_of_other_controllers_are_refused(&cluster).await;
    guards::annotations_of_ours_are_nobody_elses(&cluster).await;
    jobs::nodes_are_not_chosen_by_users(&cluster).await;
    guards::pods_wait_by_their_gate(&cluster).await;
    guards::a_pod_stays_with_what_made_it(&cluster).await;
    guards::a_job_has_no_finalizer_of_its_users(&cluster).await;
    guards::who_may_break_the_glass_passes_the_guards(&cluster).await;
    sharing::annotations_become_a_slot(&cluster).await;
    sharing::what_is_no_share_is_refused(&cluster).await;
    sharing::nobody_forges_what_mps_is_told(&cluster).await;
    objects::queued_jobs_are_the_controllers(&cluster).await;
    objects::housekeeping_goes_on(&cluster).await;
    objects::tenants_are_checked_by_server_and_reader_alike(&cluster).await;
}

/// What the API server stores of objects that are none of our business, without what differs
/// between any two objects.
async fn untouched(cluster: &Cluster, round: &str) -> Vec<Value> {
    let (free, red) = (format!("free-{round}"), format!("red-{round}"));
    cluster.namespace(&free, None).await;
    cluster.namespace(&red, Some("red")).await;
    let mut cron = json(&job("suspended", 0));
    cron["spec"]["suspend"] = json!(true);
    let mut stored = Vec::new();
    for (namespace, jobs, pods) in [
        (
            &free,
            vec![job("gpu", 8), job("cpu", 0)],
            vec![pod("gpu", 1), pod("cpu", 0)],
        ),
        (&red, vec![job("cpu", 0), from(cron)], vec![pod("cpu", 0)]),
    ] {
        let (job_api, pod_api): (Api<Job>, Api<Pod>) = (
            Api::namespaced(cluster.alice.clone(), namespace),
            Api::namespaced(cluster.alice.clone(), namespace),
        );
        for job in &jobs {
            stored.push(json(&create(&job_api, job).await));
        }
        for pod in &pods {
            stored.push(json(&create(&pod_api, pod).await));
        }
        let toggled = suspend(&job_api, "cpu", true).await;
        stored.push(json(&toggled)["spec"]["suspend"].clone());
    }
    stored.iter_mut().for_each(forget_what_always_differs);
    stored
}
