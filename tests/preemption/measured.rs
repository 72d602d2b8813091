//! What the controller that has played all the stories tells Prometheus of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::controller::get;
use crate::outage::world::{NODES, World, gang};

/// In seconds: the API server tells each watch now and then where it stands.
const HEARD_WITHIN: f64 = 120.0;
/// Every ten seconds, or less often where that takes long: others come first.
const FORETOLD_WITHIN: Duration = Duration::from_secs(150);

/// Series by name, with the labels as Prometheus writes them.
pub(super) struct Scraped(BTreeMap<String, f64>);

impl Scraped {
    pub(super) async fn read(world: &World) -> Self {
        let address = world.site.health;
        let text = tokio::task::spawn_blocking(move || get(address, "/metrics").unwrap());
        let text = text.await.unwrap();
        let lines = text.lines().filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let value = value.parse().ok()?;
            (name.starts_with("prorata_")).then(|| (name.to_owned(), value))
        });
        Self(lines.collect())
    }

    fn one(&self, name: &str) -> f64 {
        let value = self.0.get(name).copied();
        value.unwrap_or_else(|| panic!("no series {name} among {:?}", self.0.keys()))
    }

    /// Of all series of this name that have a label with this value.
    pub(super) fn sum(&self, name: &str, label: &str) -> f64 {
        let start = format!("{name}{{");
        let of = self
            .0
            .iter()
            .filter(|(series, _)| series.starts_with(&start) && series.contains(label));
        of.map(|(_, value)| value).sum()
    }

    fn scored(&self, name: &str, quantile: &str) -> f64 {
        self.one(&format!(
            "prorata_forecasts_{name}_total{{quantile=\"{quantile}\"}}"
        ))
    }
}

/// A Job that waits is told when it starts, and that is held against what happened.
pub(crate) async fn a_forecast_is_scored_when_its_job_starts(world: &World) {
    super::eviction::fill(world, "ahead").await;
    world.submit("red", &gang("foretold", 4)).await;
    world
        .until_within(
            "it is foretold when it starts",
            FORETOLD_WITHIN,
            async || {
                let record = world.record("red", "foretold").await;
                record.is_some_and(|record| record.status.is_some_and(|s| s.forecast.is_some()))
            },
        )
        .await;
    let told = world.record("red", "foretold").await.unwrap();
    let told = told.status.unwrap().forecast.unwrap();
    assert!(told.p50 <= told.p90, "{told:?}");
    // Whoever was told something before it has started by now, and is counted.
    let before = Scraped::read(world).await;
    world.complete("red", "ahead-1").await;
    world.until_running("red", "foretold", &[NODES[0]; 4]).await;
    world
        .until_within("it counts", FORETOLD_WITHIN, async || {
            let now = Scraped::read(world).await;
            ["0.5", "0.9"].iter().all(|quantile| {
                now.scored("scored", quantile) == before.scored("scored", quantile) + 1.0
            })
        })
        .await;
    let now = Scraped::read(world).await;
    let gained = |name, quantile| now.scored(name, quantile) - before.scored(name, quantile);
    let (p50, p90) = (gained("covered", "0.5"), gained("covered", "0.9"));
    assert!((0.0..=1.0).contains(&p50) && (p50..=1.0).contains(&p90));
    let loss = gained("pinball_seconds", "0.5") + gained("pinball_seconds", "0.9");
    assert!(loss > 0.0, "nobody foretells to the nanosecond");
    world.complete("red", "foretold").await;
    world.complete("red", "ahead-2").await;
}

/// Counters say what has happened, and gauges that it is over.
pub(crate) async fn all_that_happened_was_measured(world: &World, starts: usize) {
    world.submit("red", &gang("measured", 9)).await;
    world
        .until("it is measured that it waits", async || {
            let now = Scraped::read(world).await;
            let waiting = "prorata_pending_workloads{tenant=\"red\",reason=\"ExceedsCapacity\"}";
            now.0.get(waiting) == Some(&1.0)
                && now.sum("prorata_resource_pending", "resource=\"gpu\"") == 9.0
        })
        .await;
    super::eviction::delete(world, "red", "measured").await;
    world
        .until("nothing waits, and nothing is held", async || {
            let now = Scraped::read(world).await;
            now.sum("prorata_pending_workloads", "") == 0.0
                && now.sum("prorata_resource_usage", "resource=\"gpu\"") == 0.0
        })
        .await;

    let now = Scraped::read(world).await;
    let admitted = now.sum("prorata_admitted_workloads_total", "");
    let waited = now.sum("prorata_admission_wait_time_seconds_count", "");
    assert_eq!(admitted, waited);
    assert_eq!(admitted, f64::from(u32::try_from(starts).unwrap()));
    for rule in ["reclaim", "fair-share", "priority"] {
        let label = format!("rule=\"{rule}\"");
        assert!(
            now.sum("prorata_evicted_workloads_total", &label) >= 1.0,
            "{rule}"
        );
    }
    let asked = "prorata_extender_request_duration_seconds_count{verb=\"filter\",code=\"200\"}";
    assert!(now.one(asked) > 0.0);
    assert!(now.sum("prorata_writes_total", "done") >= admitted);
    assert_eq!(now.one("prorata_leader"), 1.0);
    assert_eq!(now.one("prorata_extender_requests_shed_total"), 0.0);
    assert_eq!(now.one("prorata_resource_capacity{resource=\"gpu\"}"), 8.0);
    let owned = "prorata_resource_guaranteed{tenant=\"lab\",resource=\"gpu\"}";
    assert_eq!(now.one(owned), 4.0);
    for (name, age) in now
        .0
        .iter()
        .filter(|(n, _)| n.starts_with("prorata_watch_age"))
    {
        assert!(*age < HEARD_WITHIN, "{name}: {age}");
    }
}
