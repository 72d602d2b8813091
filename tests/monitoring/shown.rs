//! What a controller shows that has something to tell of everything: its own port, its own registry.

use std::net::TcpListener;
use std::time::Duration;

use prorata::api::BudgetPolicy;
use prorata::budgets::Assessed;
use prorata::health;
use prorata::view::{View, Views};
use prorata::watch::Kind;
use prorata_core::{
    Event, Job, JobId, Limits, Node, Policy, Resource, Resources, Scheduler, Tenant, Time,
};
use prorata_ledger::budget::Standing;

/// Serves it for as long as the test runs, and says where.
pub(crate) fn serve() -> String {
    let views = views();
    count(&views);
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(health::serve(address, views)).unwrap();
    });
    address.to_string()
}

/// Of six GPUs red holds four, two of them its own; blue waits for more than there is left.
fn views() -> Views {
    let mut core = Scheduler::new(Policy::default());
    let node = Node {
        allocatable: Resources::gpus(6),
        ..Node::new("a")
    };
    let tenant = |name: &str| Tenant {
        guaranteed: Resources::gpus(2),
        limit: Limits::NONE.with(Resource::Gpu, 5_000),
        ..Tenant::new(name)
    };
    let job = |tenant: &str, name: &str| {
        let id = JobId::new(tenant, name, &format!("{tenant}-{name}"));
        Job::new(id, tenant.into(), 2, Resources::gpus(2))
    };
    for fact in [
        Event::NodeSeen(node),
        Event::TenantChanged(tenant("red")),
        Event::TenantChanged(tenant("blue")),
        Event::JobSubmitted(job("red", "first")),
        Event::JobSubmitted(job("red", "next")),
    ] {
        core.observe(Time::ZERO, fact);
    }
    assert!(!core.cycle(Time::ZERO).decisions.is_empty());
    core.observe(Time::ZERO, Event::JobSubmitted(job("blue", "second")));
    assert!(core.cycle(Time::ZERO).decisions.is_empty());
    let views = Views::default();
    views.publish(View::of(core.snapshot()));
    views
}

/// Something of everything that is counted.
fn count(views: &Views) {
    let metrics = views.metrics();
    for path in ["/filter", "/prioritize", "/preempt"] {
        metrics.answered(path, 200, Duration::from_micros(80));
    }
    metrics.shed();
    metrics.refused("NotAdmitted");
    metrics.decided(Duration::from_millis(2));
    metrics.admitted(&"red".into(), Duration::from_secs(90));
    metrics.evicted(&"red".into(), "reclaim");
    metrics.written("done");
    metrics.listed(Kind::Job);
    metrics.broke_off(Kind::Job);
    metrics.leads(true);
    metrics.extender_answers(true);
    metrics.certificate("extender", 4_000_000_000);
    metrics.keeps_ledger(true);
    metrics.ledger_gap(Duration::from_secs(90));
    metrics.costs(&[("red".to_owned(), 900_000_000)]);
    let team = serde_json::json!({
        "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "red"}, "spec": {},
    });
    metrics.budgets(&[Assessed {
        tenant: serde_json::from_value(team).unwrap(),
        currency: "EUR".to_owned(),
        policy: BudgetPolicy::Notify,
        standing: Standing {
            budget_micros: 1_000_000_000,
            spent_micros: 900_000_000,
            forecast_micros: None,
        },
    }]);
    let noisy = vec![("a".to_owned(), Some("red".to_owned()))];
    metrics.gpu_nodes(noisy, ["b".to_owned()].into(), ["c".to_owned()].into());
}
