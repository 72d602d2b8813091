//! From nothing to the first Job of a tenant's user.

use std::time::{Duration, Instant};

use kube::api::{Api, PostParams};
use prorata::api::Tenant;
use serde_json::json;

use crate::cluster::from;
use crate::tenancy::world::{World, first_job, tenant};

/// How long the first Job of one tenant may take.
const ONE_WITHIN: Duration = Duration::from_secs(5);
/// How long those of fifty may take, all made at once.
const FIFTY_WITHIN: Duration = Duration::from_secs(60);

/// `vision` first, which all other parts of this test go on with; then as many as are asked for.
pub(crate) async fn from_nothing_to_the_first_job(world: &World) {
    let took = make(world, &["vision".to_owned()]).await;
    println!("from nothing to the first Job admitted, one tenant: {took:.2?}");
    assert!(took <= ONE_WITHIN, "{took:?}");
    let Ok(count) = std::env::var("PRORATA_TENANTS") else {
        return;
    };
    let names: Vec<String> = (0..count.parse::<usize>().unwrap())
        .map(|number| format!("team{number:03}"))
        .collect();
    let took = make(world, &names).await;
    println!("from nothing to the first Job admitted, {count} tenants at once: {took:.2?}");
    assert!(names.len() > 50 || took <= FIFTY_WITHIN, "{took:?}");
}

/// Creates Tenants, and as the user of each a Job in its production namespace. How long until the
/// last of these is admitted.
async fn make(world: &World, names: &[String]) -> Duration {
    let mut users = Vec::new();
    for name in names {
        users.push(world.client(&format!("{name}-user")).await);
    }
    let clock = Instant::now();
    let tenants: Api<Tenant> = Api::all(world.cluster.admin.clone());
    let guaranteed = if names.len() == 1 { 8 } else { 0 };
    for name in names {
        let tenant = from(tenant(name, guaranteed, &json!({})));
        tenants
            .create(&PostParams::default(), &tenant)
            .await
            .unwrap();
    }
    // However many wait, they ask no more often together.
    let pause = Duration::from_millis(50) * u32::try_from(names.len().div_ceil(10)).unwrap();
    // There are not GPUs for all at once, so each Job is ended once it was admitted.
    let firsts = names.iter().zip(&users).map(|(name, user)| async move {
        let namespace = format!("ml-{name}-prod");
        first_job(user, &world.cluster.admin, &namespace, pause).await;
        let jobs: Api<k8s_openapi::api::batch::v1::Job> = Api::namespaced(user.clone(), &namespace);
        jobs.delete("first", &kube::api::DeleteParams::background())
            .await
            .unwrap();
    });
    futures::future::join_all(firsts).await;
    clock.elapsed()
}
