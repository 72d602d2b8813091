//! What is due to a tenant over time, on a real control plane.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Api, DeleteParams, ListParams};
use prorata::api::{State, Tenant};
use serde_json::json;

use crate::cluster::requests::{create, eventually};
use crate::tenancy::world::{World, job, tenant};

/// How soon a change has to take effect, and to be told.
const WITHIN: Duration = Duration::from_secs(5);

/// A second job starts when a grant begins, and a third does not when it has ended.
pub(crate) async fn a_grant_takes_effect_and_ends_within_seconds(world: &World) {
    let (from, until) = soon();
    let (jobs, asked) = until_it_waits(world, from, until).await;
    let started = measured(from, "the second starts", async || {
        world.state("ml-late-dev", "second").await == Some(State::Admitted)
    });
    let began = measured(from, "its beginning is told", async || {
        told(world)
            .await
            .iter()
            .any(|note| note.starts_with("deadline began: guaranteed gpu 0 → 1, limit gpu 1 → 2"))
    });
    let (started, began) = futures::join!(started, began);
    assert_eq!(in_force(world).await.unwrap().names, ["deadline"]);

    let ended = measured(until, "its end is told", async || {
        told(world)
            .await
            .iter()
            .any(|note| note.starts_with("deadline ended: guaranteed gpu 1 → 0, limit gpu 2 → 1"))
    })
    .await;
    println!("a grant: in effect after {started:?}, told after {began:?}, its end after {ended:?}");
    create(&jobs, &job("third", 1)).await;
    eventually("the third waits", || async {
        world.state("ml-late-dev", "third").await == Some(State::Waiting)
    })
    .await;
    // Nobody leaves for what is over.
    for name in ["first", "second"] {
        assert_eq!(
            world.state("ml-late-dev", name).await,
            Some(State::Admitted)
        );
    }
    let shown = in_force(world).await.unwrap();
    assert_eq!((shown.names, shown.until), (Vec::new(), None));
    // Its environment has its part of the grant from the start: nothing was written for it.
    assert_eq!(world.writes("late"), asked);
    leave_nothing(world, &jobs).await;
}

/// A tenant that holds three GPUs is left with one: all three go on, and the next one starts when they
/// are free and not before.
pub(crate) async fn a_downward_edit_evicts_nobody_and_admits_nothing_new(world: &World) {
    let due = |guaranteed: u32, limit: u32| {
        let rest = json!({
            "limit": { "gpu": limit },
            "environments": [{ "name": "dev", "percent": 100 }],
        });
        tenant("less", guaranteed, &rest).to_string()
    };
    world.cluster.apply(&due(3, 3));
    world.until_provisioned("less").await;
    let jobs: Api<Job> = Api::namespaced(world.cluster.admin.clone(), "ml-less-dev");
    let stands = async |name: &str, state: State| {
        eventually(&format!("{name} is {state:?}"), || async {
            world.state("ml-less-dev", name).await == Some(state)
        })
        .await;
    };
    for name in ["a", "b", "c"] {
        create(&jobs, &job(name, 1)).await;
        stands(name, State::Admitted).await;
    }
    world.cluster.apply(&due(0, 1));
    eventually("its child owns nothing any more", || async {
        let tenants: Api<Tenant> = Api::all(world.cluster.admin.clone());
        let child = tenants.get("less-dev").await.unwrap();
        let owned = child.spec.guaranteed.gpu;
        owned.is_none_or(|owned| owned.as_str() == "0")
    })
    .await;
    create(&jobs, &job("d", 1)).await;
    stands("d", State::Waiting).await;
    for (gone, rest) in [("a", &["b", "c"][..]), ("b", &["c"])] {
        jobs.delete(gone, &DeleteParams::background())
            .await
            .unwrap();
        eventually("it is gone", || async {
            jobs.get_opt(gone).await.unwrap().is_none()
        })
        .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        for name in rest {
            assert_eq!(
                world.state("ml-less-dev", name).await,
                Some(State::Admitted),
                "{name}"
            );
        }
        assert_eq!(world.state("ml-less-dev", "d").await, Some(State::Waiting));
    }
    jobs.delete("c", &DeleteParams::background()).await.unwrap();
    stands("d", State::Admitted).await;
}

/// From when until when there is more, in whole seconds.
fn soon() -> (Timestamp, Timestamp) {
    let from = Timestamp::from_second(Timestamp::now().as_second() + 15).unwrap();
    (from, from + SignedDuration::from_secs(8))
}

/// One of two jobs runs, before the grant begins; and how much the controller has written by then.
async fn until_it_waits(world: &World, from: Timestamp, until: Timestamp) -> (Api<Job>, usize) {
    let rest = json!({
        "limit": { "gpu": 1 },
        "environments": [{ "name": "dev", "percent": 100 }],
        "grants": [{
            "name": "deadline", "from": from.to_string(), "until": until.to_string(),
            "guaranteed": { "gpu": 1 }, "limit": { "gpu": 1 }, "reason": "a paper",
        }],
    });
    world.cluster.apply(&tenant("late", 0, &rest).to_string());
    world.until_provisioned("late").await;
    let jobs: Api<Job> = Api::namespaced(world.cluster.admin.clone(), "ml-late-dev");
    for name in ["first", "second"] {
        create(&jobs, &job(name, 1)).await;
    }
    eventually("one starts", || async {
        world.state("ml-late-dev", "first").await == Some(State::Admitted)
    })
    .await;
    eventually("the other waits", || async {
        world.state("ml-late-dev", "second").await == Some(State::Waiting)
    })
    .await;
    eventually("what is due is shown", || async {
        in_force(world).await.is_some()
    })
    .await;
    let asked = world.writes("late");
    assert!(Timestamp::now() < from, "it took too long to get ready");
    let shown = in_force(world).await.unwrap();
    assert_eq!(
        (shown.names, shown.limit["gpu"].as_str()),
        (Vec::new(), "1")
    );
    let until_shown = shown.until.unwrap().parse::<Timestamp>().unwrap();
    assert_eq!(until_shown.as_second(), from.as_second());
    (jobs, asked)
}

async fn leave_nothing(world: &World, jobs: &Api<Job>) {
    for name in ["first", "second", "third"] {
        jobs.delete(name, &DeleteParams::background())
            .await
            .unwrap();
    }
    let pods: Api<Pod> = Api::namespaced(world.cluster.admin.clone(), "ml-late-dev");
    eventually("its pods are gone", || async {
        let pods = pods.list(&ListParams::default()).await.unwrap();
        pods.items.is_empty()
    })
    .await;
}

async fn in_force(world: &World) -> Option<prorata::api::InForce> {
    let tenants: Api<Tenant> = Api::all(world.cluster.admin.clone());
    tenants.get("late").await.unwrap().status?.in_force
}

/// What has been said about the tenant's terms.
async fn told(world: &World) -> Vec<String> {
    let events: Api<Event> = Api::namespaced(world.cluster.admin.clone(), "default");
    let events = events.list(&ListParams::default()).await.unwrap().items;
    let is_ours = |event: &Event| {
        let about = event.regarding.as_ref();
        let about = about.is_some_and(|about| {
            (about.kind.as_deref(), about.name.as_deref()) == (Some("Tenant"), Some("late"))
        });
        about && event.reason.as_deref() == Some("TermsChanged")
    };
    events
        .into_iter()
        .filter(is_ours)
        .filter_map(|event| event.note)
        .collect()
}

/// How long after a moment something holds, which it must not before, and must soon after.
async fn measured(moment: Timestamp, what: &str, holds: impl AsyncFn() -> bool) -> Duration {
    loop {
        let is_so = holds().await;
        let after = Timestamp::now().duration_since(moment);
        if is_so {
            assert!(after >= SignedDuration::ZERO, "{what}: {after:?}");
            return Duration::try_from(after).unwrap_or_default();
        }
        assert!(
            after < SignedDuration::try_from(WITHIN).unwrap(),
            "not within {WITHIN:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
