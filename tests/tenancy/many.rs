//! From nothing to the first Job of a tenant's user.

use std::time::{Duration, Instant};

use kube::api::{Api, PostParams};
use prorata::tenancy::Kind;
use serde_json::{Value, json};

use crate::cluster::from;
use crate::tenancy::world::{World, first_job, tenant};

/// How long the first Job of one tenant may take.
const ONE_WITHIN: Duration = Duration::from_secs(5);
/// How long those of fifty may take, all made at once.
const FIFTY_WITHIN: Duration = Duration::from_secs(60);

/// `vision` first, which all other parts of this test go on with; then as many as are asked for.
pub(crate) async fn from_nothing_to_the_first_job(world: &mut World) {
    let mut names = vec!["vision".to_owned()];
    let took = make(world, &names).await;
    println!("from nothing to the first Job admitted, one tenant: {took:.2?}");
    assert!(took <= ONE_WITHIN, "{took:?}");
    if let Ok(count) = std::env::var("PRORATA_TENANTS") {
        let numbers = 0..count.parse::<usize>().unwrap();
        let more: Vec<String> = numbers.map(|number| format!("team{number:03}")).collect();
        let took = make(world, &more).await;
        println!("from nothing to the first Job admitted, {count} tenants at once: {took:.2?}");
        assert!(more.len() > 50 || took <= FIFTY_WITHIN, "{took:?}");
        names.extend(more);
    }
    a_second_run_writes_nothing(world, &names).await;
}

/// Neither who applies the same once more nor another controller has anything written, or so much as
/// asked for.
async fn a_second_run_writes_nothing(world: &mut World, names: &[String]) {
    let manifests: Vec<String> = names
        .iter()
        .map(|name| manifest(name).to_string())
        .collect();
    for name in names {
        world.until_provisioned(name).await;
    }
    let before = quiet(world, names.len()).await;
    world.cluster.apply(&manifests.join("\n---\n"));
    world.restart().await;
    let after = quiet(world, names.len()).await;
    assert_eq!(after.len(), before.len(), "{:?}", &after[before.len()..]);
    // Tenants are looked at in the order of their names, so all have been when this one is written for.
    world.cluster.apply(&manifest("zz-last").to_string());
    world.until_provisioned("zz-last").await;
    // What is due to each changes with how many there are, and is shown.
    let (is_last, is_shown) = (
        |about: &Value| about.to_string().contains("zz-last"),
        |about: &Value| about["subresource"] == "status",
    );
    let after = quiet(world, names.len()).await;
    let news = &after[before.len()..];
    let (last, others): (Vec<&Value>, Vec<&Value>) = news.iter().partition(|about| is_last(about));
    let others: Vec<_> = others.iter().filter(|about| !is_shown(about)).collect();
    println!(
        "a second run, {} tenants: {} writes, and {} for one that is new",
        names.len(),
        others.len(),
        last.len()
    );
    assert!(others.is_empty(), "{others:?}");
    assert!(last.len() >= 3 * (2 + 3 + 3), "{last:?}");
}

/// What the controller has asked to write of what it keeps, once it asks for nothing more: neither
/// its Lease, nor Events, nor who it is. What many tenants hold is compared less often than what few do.
async fn quiet(world: &World, tenants: usize) -> Vec<Value> {
    let pause = Duration::from_millis(50) * u32::try_from(tenants).unwrap();
    let pause = pause.max(Duration::from_secs(3));
    let others = ["leases", "events", "selfsubjectreviews"];
    let asked = || {
        let mut asked = world.asked_to_write();
        asked.retain(|about| !others.iter().any(|kind| about["resource"] == *kind));
        asked
    };
    let mut before = asked();
    loop {
        tokio::time::sleep(pause).await;
        let now = asked();
        if now.len() == before.len() {
            return now;
        }
        before = now;
    }
}

/// A Tenant of this name. There are not GPUs for all to own some.
fn manifest(name: &str) -> Value {
    tenant(name, if name == "vision" { 8 } else { 0 }, &json!({}))
}

/// Creates Tenants, and as the user of each a Job in its production namespace. How long until the
/// last of these is admitted.
async fn make(world: &World, names: &[String]) -> Duration {
    let mut users = Vec::new();
    for name in names {
        users.push(world.client(&format!("{name}-user")).await);
    }
    let clock = Instant::now();
    let tenants = world.objects(Kind::Tenant, None);
    for name in names {
        tenants
            .create(&PostParams::default(), &from(manifest(name)))
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
