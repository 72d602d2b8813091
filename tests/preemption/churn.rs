//! Jobs come and go for a while: nobody is evicted again and again, and all of them end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use prorata::api::QueuedJob;
use serde_json::json;

use crate::outage::world::{World, gang, is_complete, with};

/// How long Jobs keep coming; `PRORATA_CHURN_SECONDS` says otherwise.
const CHURN: Duration = Duration::from_secs(20);
/// A Job leaves at most so often, however long others come.
const EVICTIONS_MAX: i32 = 4;

pub(crate) async fn nothing_flaps(world: &World) {
    let said = std::env::var("PRORATA_CHURN_SECONDS").ok();
    let span = said.and_then(|text| text.parse().ok());
    let span = span.map_or(CHURN, Duration::from_secs);
    let began = Instant::now();
    let mut names = Vec::new();
    for number in 0.. {
        if began.elapsed() >= span {
            break;
        }
        let namespace = ["red", "lab", "blue"][number % 3];
        let name = format!("churn-{number:03}");
        let seconds = json!({ "annotations": { "prorata.dev/test-run-seconds": "2" } });
        let job = gang(&name, [1, 4, 2, 3][number % 4]);
        let job = with(&job, &[("/spec/template", "metadata", seconds)]);
        world.submit(namespace, &job).await;
        names.push((namespace, name));
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
    let patience = span * 2 + Duration::from_secs(60);
    loop {
        let mut left = Vec::new();
        for (namespace, name) in &names {
            if !is_complete(&world.job(namespace, name).await) {
                left.push(format!("{namespace}/{name}"));
            }
        }
        if left.is_empty() {
            break;
        }
        assert!(began.elapsed() < span + patience, "never end: {left:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let evictions = evictions(world).await;
    eprintln!(
        "{} Jobs over within {:?}; {} evictions, of one Job at most {}",
        names.len(),
        began.elapsed(),
        evictions.values().sum::<i32>(),
        evictions.values().max().unwrap_or(&0),
    );
    for (name, times) in evictions {
        assert!(times <= EVICTIONS_MAX, "{name} left {times} times");
    }
    let records: Api<QueuedJob> = Api::all(world.cluster.admin.clone());
    let records = records.list(&ListParams::default()).await.unwrap();
    let churned = records
        .items
        .iter()
        .filter(|record| record.spec.job.name.starts_with("churn-"));
    for record in churned {
        assert_eq!(record.spec.promise, [], "{}", record.name_any());
    }
}

/// How often each Job left for another.
async fn evictions(world: &World) -> BTreeMap<String, i32> {
    let events: Api<Event> = Api::all(world.cluster.admin.clone());
    let events = events.list(&ListParams::default()).await.unwrap().items;
    let mut times = BTreeMap::new();
    for event in events {
        let name = event.regarding.and_then(|job| job.name).unwrap_or_default();
        if event.reason.as_deref() == Some("Evicted") && name.starts_with("churn-") {
            // One that is repeated is counted in a series.
            *times.entry(name).or_default() += event.series.map_or(1, |series| series.count);
        }
    }
    times
}
