//! What the newest view shows, measured when somebody asks.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use prorata_core::reason::Outlook;
use prorata_core::{Resource, Resources, Snapshot, TenantId};
use prorata_simulator::forecast::Score;

use super::{Metrics, Tenant, Watched};
use crate::cli::queue::Seen;
use crate::cli::shares::{Holding, tree};
use crate::clock::Clock;
use crate::view::Views;
use crate::watch::Kind;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Waiting {
    tenant: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Amount {
    tenant: String,
    resource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Whole {
    resource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Quantile {
    quantile: &'static str,
}

type Amounts<L> = Family<L, Gauge<f64, AtomicU64>>;

/// The measures of the picture: nothing but the age of what is known where there is none yet.
pub(super) fn registry(metrics: &Metrics, views: &Views) -> Registry {
    let mut registry = Registry::with_prefix("prorata");
    let ages = Amounts::<Watched>::default();
    let expected = |kind: &Kind| views.heard().is_expected(*kind);
    for kind in Kind::ALL.into_iter().filter(expected) {
        let age = views.heard().last(kind).elapsed().as_secs_f64();
        let kind = kind.to_string();
        ages.get_or_create(&Watched { kind }).set(age);
    }
    let help = "Since the API server was last heard about a kind that it serves";
    registry.register_with_unit("watch_age", help, Unit::Seconds, ages);
    forecasts(&mut registry, views.scored().get());
    if let Some(view) = views.latest().as_ref() {
        jobs(&mut registry, metrics, &view.snapshot);
        tenants(&mut registry, metrics, &view.snapshot);
    }
    registry
}

/// How good forecasts were, by quantile.
fn forecasts(registry: &mut Registry, score: Score) {
    let scored = Family::<Quantile, Counter>::default();
    let covered = Family::<Quantile, Counter>::default();
    let loss = Family::<Quantile, Counter<f64, AtomicU64>>::default();
    for (quantile, tally) in [("0.5", score.p50), ("0.9", score.p90)] {
        let label = Quantile { quantile };
        scored.get_or_create(&label).inc_by(tally.count);
        covered.get_or_create(&label).inc_by(tally.covered);
        loss.get_or_create(&label).inc_by(tally.pinball_seconds);
    }
    let help = "Jobs that started after it had been foretold when";
    registry.register("forecasts_scored", help, scored);
    let help = "Of these, those that started no later than foretold";
    registry.register("forecasts_covered", help, covered);
    let help = "Sum of their pinball losses";
    registry.register_with_unit("forecasts_pinball", help, Unit::Seconds, loss);
}

fn jobs(registry: &mut Registry, metrics: &Metrics, snapshot: &Snapshot) {
    let (waiting, requested) = (Family::<Waiting, Gauge>::default(), Amounts::default());
    let (longest, now) = (Amounts::<Tenant>::default(), Clock::default().now());
    for (job, reason) in snapshot.waiting() {
        let tenant = metrics.tenant(&job.tenant);
        let all = job.task.checked_mul(job.gang).unwrap_or_default();
        add(&requested, &tenant, &all);
        if reason.outlook() == Outlook::Waiting {
            let shown = longest.get_or_create(&Tenant {
                tenant: tenant.clone(),
            });
            let waited = now.since(job.submitted).as_secs_f64();
            shown.set(shown.get().max(waited));
        }
        let reason = reason.code();
        waiting.get_or_create(&Waiting { tenant, reason }).inc();
    }
    let help = "Jobs that wait, by reason";
    registry.register("pending_workloads", help, waiting);
    let help = "What jobs that wait ask for: GPUs, cores, bytes";
    registry.register("resource_pending", help, requested);
    let help = "How long the first of a tenant's jobs has waited that start when it is their turn";
    registry.register_with_unit("pending_longest", help, Unit::Seconds, longest);
}

fn tenants(registry: &mut Registry, metrics: &Metrics, snapshot: &Snapshot) {
    let (used, owned) = (Amounts::default(), Amounts::default());
    let (limited, entitled) = (Amounts::default(), Amounts::default());
    let shares = Amounts::<Tenant>::default();
    for tenant in snapshot.tenants() {
        let (id, label) = (&tenant.id, metrics.tenant(&tenant.id));
        add(&used, &label, &snapshot.usage(id));
        add(&owned, &label, &tenant.guaranteed);
        for resource in Resource::ALL {
            if let Some(limit) = tenant.limit.get(resource) {
                add_one(&limited, &label, resource, limit);
            }
        }
        shares
            .get_or_create(&Tenant { tenant: label })
            .set(share(snapshot, id));
    }
    for (tenant, gpus) in due(snapshot) {
        let label = metrics.tenant(&tenant.as_str().into());
        add_one(&entitled, &label, Resource::Gpu, gpus);
    }
    let capacity = Amounts::<Whole>::default();
    for (resource, amount) in snapshot.capacity().iter() {
        let label = Whole {
            resource: resource.name(),
        };
        capacity.get_or_create(&label).set(units(resource, amount));
    }
    let help = "What jobs of a tenant hold: GPUs, cores, bytes";
    registry.register("resource_usage", help, used);
    let help = "What a tenant is guaranteed: GPUs, cores, bytes";
    registry.register("resource_guaranteed", help, owned);
    let help = "What a tenant never exceeds: GPUs, cores, bytes";
    registry.register("resource_limit", help, limited);
    let help = "What a tenant would hold if every tenant wanted all that it may have: GPUs";
    registry.register("resource_entitled", help, entitled);
    let help = "What the nodes that take new work offer: GPUs, cores, bytes";
    registry.register("resource_capacity", help, capacity);
    let help = "Weighted dominant share of what a tenant borrows";
    registry.register_with_unit(
        "weighted_share",
        help,
        Unit::Other("ratio".to_owned()),
        shares,
    );
}

/// What is due to each tenant, as `prorata share` shows it, in thousandths of a GPU.
fn due(snapshot: &Snapshot) -> impl Iterator<Item = (String, u64)> {
    let tenants = snapshot.tenants().map(Holding::known).collect();
    let capacity = snapshot.capacity().get(Resource::Gpu);
    let all = tree(tenants, &Seen::default(), Some(capacity)).into_iter();
    all.filter_map(|holding| Some((holding.tenant, holding.entitled_milli_gpus?)))
}

/// Tenants that are not told apart add up.
fn add(amounts: &Amounts<Amount>, tenant: &str, all: &Resources) {
    for (resource, amount) in all.iter().filter(|(_, amount)| *amount > 0) {
        add_one(amounts, tenant, resource, amount);
    }
}

fn add_one(amounts: &Amounts<Amount>, tenant: &str, resource: Resource, amount: u64) {
    let label = Amount {
        tenant: tenant.to_owned(),
        resource: resource.name(),
    };
    amounts
        .get_or_create(&label)
        .inc_by(units(resource, amount));
}

/// An infinite share is one of weight 0.
fn share(snapshot: &Snapshot, tenant: &TenantId) -> f64 {
    let share = snapshot.share(tenant);
    let thousandths = share.map(|share| share.per_mille());
    thousandths.map_or(0.0, |thousandths| {
        thousandths.map_or(f64::INFINITY, |n| n as f64 / 1000.0)
    })
}

fn units(resource: Resource, amount: u64) -> f64 {
    amount as f64 / resource.scale() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::View;
    use prorata_core::{Event, Job, JobId, Limits, Node, Policy, Scheduler, Tenant as Team, Time};

    /// Of six GPUs one job holds four, of which two are its tenant's own; another waits for four.
    #[test]
    fn shows_who_holds_and_who_waits() {
        let mut core = Scheduler::new(Policy::default());
        let node = Node {
            allocatable: Resources::gpus(6),
            ..Node::new("a")
        };
        let red = Team {
            guaranteed: Resources::gpus(2),
            limit: Limits::NONE.with(Resource::Gpu, 5_000),
            ..Team::new("red")
        };
        let job = |tenant: &str, name: &str| {
            let id = JobId::new(tenant, name, &format!("{tenant}-{name}"));
            Job::new(id, tenant.into(), 2, Resources::gpus(2))
        };
        for fact in [
            Event::NodeSeen(node),
            Event::TenantChanged(red),
            Event::TenantChanged(Team::new("blue")),
            Event::JobSubmitted(job("red", "first")),
            Event::JobSubmitted(job("blue", "second")),
        ] {
            core.observe(Time::ZERO, fact);
        }
        assert_eq!(core.cycle(Time::ZERO).decisions.len(), 1);
        let views = Views::default();
        views.publish(View::of(core.snapshot()));
        let text = Metrics::default().render(&views).unwrap();
        for line in [
            "prorata_pending_workloads{tenant=\"blue\",reason=\"CapacityFull\"} 1",
            "prorata_resource_pending{tenant=\"blue\",resource=\"gpu\"} 4.0",
            "prorata_resource_usage{tenant=\"red\",resource=\"gpu\"} 4.0",
            "prorata_resource_guaranteed{tenant=\"red\",resource=\"gpu\"} 2.0",
            "prorata_resource_limit{tenant=\"red\",resource=\"gpu\"} 5.0",
            "prorata_resource_entitled{tenant=\"red\",resource=\"gpu\"} 4.0",
            "prorata_resource_entitled{tenant=\"blue\",resource=\"gpu\"} 2.0",
            "prorata_resource_capacity{resource=\"gpu\"} 6.0",
            "prorata_weighted_share_ratio{tenant=\"red\"} 0.334",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
        }
        // It was submitted in 1970.
        assert!(
            text.contains("prorata_pending_longest_seconds{tenant=\"blue\"} 1"),
            "{text}"
        );
    }

    /// Or whoever is woken by old news would be, wherever an operator is not installed.
    #[test]
    fn of_kinds_that_are_not_served_nothing_is_shown() {
        let views = Views::default();
        let ages = || {
            let text = Metrics::default().render(&views).unwrap();
            let of = |line: &&str| line.starts_with("prorata_watch_age_seconds{");
            text.lines()
                .filter(of)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let own = Kind::ALL
            .into_iter()
            .filter(|kind| kind.composite().is_none());
        assert_eq!(ages().len(), own.count());
        let operators = Kind::ALL
            .into_iter()
            .find(|kind| kind.composite().is_some());
        let kind = operators.unwrap();
        views.heard().serves(kind, true);
        let label = format!("kind=\"{kind}\"");
        assert!(
            ages().iter().any(|line| line.contains(&label)),
            "{:?}",
            ages()
        );
        views.heard().serves(kind, false);
        assert!(!ages().iter().any(|line| line.contains(&label)));
    }
}
