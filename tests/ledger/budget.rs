//! Budgets that are spent while jobs run: who is told, what waits, and that whatever runs goes on.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::routing::post;
use axum::{Json, Router};
use axum_server::tls_rustls::RustlsConfig;
use prorata::api::{State, Tenant};
use prorata_controlplane::nodes::Shape;
use prorata_controlplane::{ControlPlane, Process};
use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::controller::get;
use crate::outage::world::{NODES, World, gang};

/// A GPU costs a unit in each second. `blocks` holds one and has spent its budget after 50 s, `lowers`
/// holds three and has after 40 s: from one threshold to the next are 4 s at least.
const TENANTS: &str = "\
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: blocks}
spec: {guaranteed: {gpu: 1}, budget: {monthly: 50, currency: EUR, policy: BlockNew}}
---
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: lowers}
spec: {guaranteed: {gpu: 1}, budget: {monthly: 120, currency: EUR, policy: LowerPriority}}
---
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: other}
spec: {}
";
const PRICES: &str = "\
apiVersion: config.prorata.dev/v1alpha1
kind: Prices
currency: EUR
prices: [{model: T4, hourly: 3600}]
";
/// Until both budgets are spent, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_is_spent_is_told_and_holds_back_only_what_is_new() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name).display().to_string();
    fs::write(place("prices.yaml"), PRICES).unwrap();
    let hook = TcpListener::bind("127.0.0.1:0").unwrap();
    let configuration = format!(
        "ledger: {{url: \"sqlite://{}\", heartbeat: 1s}}\n\
         budgets: {{prices: {}, every: 500ms, webhook: \"https://{}/hook\"}}\n",
        place("ledger.db"),
        place("prices.yaml"),
        hook.local_addr().unwrap()
    );
    let shape = Shape {
        gpus: 4,
        labels: [("nvidia.com/gpu.product".to_owned(), "T4".to_owned())].into(),
        ..Shape::default()
    };
    let fleet = NODES.map(|name| (name.to_owned(), shape.clone()));
    let Some(mut world) = World::start_on(fleet, Duration::ZERO, &configuration).await else {
        return;
    };
    let heard = listen(&world.cluster.plane, hook).await;
    world.cluster.apply(TENANTS);
    for tenant in ["blocks", "lowers", "other"] {
        world.namespace(tenant, Some(tenant)).await;
    }
    let _controller = controller(&world).await;
    world.submit("blocks", &gang("runs", 1)).await;
    world.submit("lowers", &gang("runs", 3)).await;
    world.submit("other", &gang("runs", 4)).await;
    let running = all_running(&world).await;

    everybody_is_told(&world, &heard).await;
    what_is_new_waits_for_the_next_month(&world).await;
    what_would_borrow_comes_last_and_nobody_leaves(&world, &running).await;
    world.assert_healthy();
}

/// Who trusts the authority that the listener's certificate is from.
async fn controller(world: &World) -> Process {
    let plane = &world.cluster.plane;
    let authority = plane.authority().certificate().display().to_string();
    let trusts = [("SSL_CERT_FILE", &*authority)];
    world.site.start_in(plane, &trusts).await
}

type Heard = Arc<Mutex<Vec<Value>>>;

/// Keeps what is posted to it, over TLS.
async fn listen(plane: &ControlPlane, hook: TcpListener) -> Heard {
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = plane.authority().issue_server("hook", &["127.0.0.1"]);
    let server = server.unwrap();
    let tls = RustlsConfig::from_pem_file(server.certificate, server.key).await;
    let heard = Heard::default();
    let kept = heard.clone();
    let keep = post(move |Json(told): Json<Value>| async move {
        kept.lock().unwrap().push(told);
    });
    let routes = Router::new().route("/hook", keep).into_make_service();
    hook.set_nonblocking(true).unwrap();
    let serve = axum_server::from_tcp_rustls(hook, tls.unwrap()).unwrap();
    tokio::spawn(serve.serve(routes));
    heard
}

/// The UID of each pod that runs, once all eight GPUs are held.
async fn all_running(world: &World) -> BTreeMap<String, String> {
    world
        .until("all GPUs are held", async || {
            running(world).await.len() == 8
        })
        .await;
    running(world).await
}

async fn running(world: &World) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for namespace in ["blocks", "lowers", "other"] {
        for pod in world.pods(namespace).await {
            if crate::outage::world::phase(&pod) == "Running" {
                let uid = pod.metadata.uid.unwrap();
                all.insert(format!("{namespace}/{}", pod.metadata.name.unwrap()), uid);
            }
        }
    }
    all
}

/// What was posted about a tenant, in order: of each the threshold and what was spent.
fn told(heard: &Heard, tenant: &str) -> Vec<(String, f64)> {
    let heard = heard.lock().unwrap();
    let about = heard.iter().filter(|told| told["tenant"] == tenant);
    let one = |told: &Value| {
        assert_eq!(told["currency"], "EUR", "{told}");
        let spent = told["spent"].as_str().unwrap().parse().unwrap();
        (told["threshold"].as_str().unwrap().to_owned(), spent)
    };
    // A forecast is made from the fourth day of a month on.
    let all = about.map(one).filter(|(what, _)| what != "forecast");
    all.collect()
}

/// Each threshold once and in its order, by an Event, by the webhook, and in the metrics.
async fn everybody_is_told(world: &World, heard: &Heard) {
    for (tenant, budget) in [("lowers", 120.0), ("blocks", 50.0)] {
        let what = format!("all of {tenant}'s budget is spent");
        let is_spent = async || told(heard, tenant).iter().any(|(what, _)| what == "100");
        world.until_within(&what, PATIENCE, is_spent).await;
        let told = told(heard, tenant);
        let names: Vec<&str> = told.iter().map(|(what, _)| &**what).collect();
        assert_eq!(names, ["80", "90", "100"], "{tenant}: {told:?}");
        for (threshold, spent) in &told {
            let percent: f64 = threshold.parse().unwrap();
            assert!(spent * 100.0 >= percent * budget, "{tenant}: {told:?}");
        }
        let reasons = ["BudgetUsed80", "BudgetUsed90", "BudgetSpent"];
        for reason in reasons {
            world
                .until_told_of("Tenant", "default", tenant, reason, "")
                .await;
        }
        let events = world.events_of("Tenant", "default", tenant).await;
        for reason in reasons {
            let count = events.iter().filter(|(of, _)| of == reason).count();
            assert_eq!(count, 1, "{reason}: {events:?}");
        }
        let address = world.site.health;
        let metrics = tokio::task::spawn_blocking(move || get(address, "/metrics").unwrap());
        let line = format!("prorata_budget_used_ratio{{tenant=\"{tenant}\"}} ");
        let metrics = metrics.await.unwrap();
        let ratio = metrics.lines().find_map(|text| text.strip_prefix(&*line));
        let ratio: f64 = ratio
            .unwrap_or_else(|| panic!("{metrics}"))
            .parse()
            .unwrap();
        assert!(ratio >= 1.0, "{tenant}: {ratio}");
    }
}

async fn what_is_new_waits_for_the_next_month(world: &World) {
    let shown = async |tenant: &str, policy: &str| {
        let api: kube::Api<Tenant> = kube::Api::all(world.cluster.admin.clone());
        let status = api.get(tenant).await.unwrap().status.unwrap();
        let mut conditions = status.conditions.iter();
        conditions.any(|c| c.type_ == "BudgetSpent" && c.status == "True" && c.reason == policy)
    };
    for (tenant, policy) in [("blocks", "BlockNew"), ("lowers", "LowerPriority")] {
        world
            .until("the Tenant shows it", async || shown(tenant, policy).await)
            .await;
    }
    world.submit("blocks", &gang("new", 1)).await;
    world
        .until_stands("blocks", "new", State::Waiting, "BudgetExhausted")
        .await;
}

/// By shares `lowers` would be next, and its running jobs would leave if its weight were nothing.
async fn what_would_borrow_comes_last_and_nobody_leaves(
    world: &World,
    running_before: &BTreeMap<String, String>,
) {
    world.submit("lowers", &gang("more", 1)).await;
    world
        .until_stands("lowers", "more", State::Waiting, "CapacityFull")
        .await;
    world.submit("other", &gang("more", 1)).await;
    world
        .until_stands("other", "more", State::Waiting, "CapacityFull")
        .await;
    assert_eq!(
        &running(world).await,
        running_before,
        "whatever runs goes on"
    );
    // A GPU becomes free that nobody owns who may start.
    world.complete("blocks", "runs").await;
    world
        .until("other's next runs", async || {
            world.nodes_of("other", "more").await.len() == 1
        })
        .await;
    world
        .until_stands("blocks", "new", State::Waiting, "BudgetExhausted")
        .await;
    world
        .until_stands("lowers", "more", State::Waiting, "CapacityFull")
        .await;
    let after = running(world).await;
    let lost = |name: &&String| !name.starts_with("blocks/") && !after.contains_key(*name);
    let lost: Vec<&String> = running_before.keys().filter(lost).collect();
    assert!(lost.is_empty(), "{lost:?}");
}
