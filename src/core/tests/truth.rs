//! Explanations are true: remove the obstacle that a reason names, and the verdict changes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::draw::{self, Draw, USUAL};
use common::{World, for_seeds};
use prorata_core::needs::{Effect, Labels, Taint, Text};
use prorata_core::reason::Outlook;
use prorata_core::{
    Event, Gpus, Hold, Home, Job, JobId, Limits, Mode, Needs, Node, Policy, Reason, Resource,
    Resources, Snapshot, TaskId, Tenant, TenantId, Time, Verdict, pool,
};

/// A world at rest with obstacles of every kind strewn in.
fn world(seed: u64) -> World {
    let mut draw = Draw::new(seed ^ 0x7_2011);
    let mut setting = draw::setting(seed, USUAL);
    for tenant in &mut setting.tenants {
        tenant.exhausted = draw.chance(10);
    }
    for (number, tenant) in setting.tenants.iter_mut().enumerate() {
        tenant.pool = draw.chance(10).then(|| format!("pool-{number}").into());
    }
    for node in &mut setting.nodes {
        if draw.chance(25) {
            let pool = format!("pool-{}", draw.below(3));
            node.labels = labels([(pool::LABEL.into(), pool.into())]);
        }
        if draw.chance(15) {
            let taint = Taint {
                key: "team".into(),
                value: "x".into(),
                effect: Effect::NoSchedule,
            };
            node.taints = [taint].into();
        }
        node.gpus = Gpus {
            model: if draw.chance(50) { "A" } else { "B" }.into(),
            mode: if draw.chance(30) {
                Mode::Fractional
            } else {
                Mode::Exclusive
            },
            ..Gpus::default()
        };
    }
    for (number, node) in (0..).zip(&mut setting.nodes) {
        node.others = [("hca".into(), number % 5)].into_iter().collect();
    }
    let above = setting.tenants[0].id.clone();
    for (number, job) in setting.waiting.iter_mut().enumerate() {
        strew(&mut draw, job, number, &above);
    }
    let policy = Policy {
        reserve_after: draw.chance(50).then_some(Duration::from_secs(1)),
        ..Policy::default()
    };
    let mut world = World::of(policy, &setting);
    world.settle();
    world.now = Time::from_millis(5000);
    world.settle();
    world
}

fn strew(draw: &mut Draw, job: &mut Job, number: usize, above: &TenantId) {
    let roll = draw.below(100);
    let id = |tenant: &TenantId| JobId::new(tenant.as_str(), &format!("s{number}"), "");
    match roll {
        0..5 => job.hold = Some(Hold::User),
        5..8 => job.hold = Some(Hold::Dependency),
        8..11 => job.hold = Some(Hold::Incomplete(0)),
        11..14 => job.gang = 0,
        14..18 => job.tenant = "ghost".into(),
        18..22 => job.tenant = above.clone(),
        22..30 => {
            let needs = Needs {
                models: vec!["B".into()],
                ..Needs::default()
            };
            job.needs = Arc::new(needs);
        }
        30..34 => job.gang = 60,
        34..38 => job.task = job.task.with(Resource::Gpu, 9000),
        38..44 => job.task = job.task.with(Resource::Gpu, 500),
        54..60 => {
            let hca = ("hca".into(), 1 + (roll - 54));
            let needs = Needs {
                others: [hca].into_iter().collect(),
                ..Needs::default()
            };
            job.needs = Arc::new(needs);
        }
        44..48 => {
            let needs = Needs {
                selector: vec![("zone".into(), "north".into())],
                ..Needs::default()
            };
            job.needs = Arc::new(needs);
        }
        48..54 => job.max_duration = Some(Duration::from_secs(60)),
        _ => {}
    }
    job.id = id(&job.tenant);
}

/// Facts that remove the obstacle that the reason names.
fn remedy(snapshot: &Snapshot, job: &Job, reason: &Reason) -> Vec<Event> {
    let resubmitted = |job: Job| vec![Event::JobSubmitted(job)];
    let all = |change: &dyn Fn(&mut Tenant)| {
        let changed = |tenant: &Tenant| {
            let mut tenant = tenant.clone();
            change(&mut tenant);
            Event::TenantChanged(tenant)
        };
        snapshot.tenants().map(changed).collect::<Vec<Event>>()
    };
    match reason {
        Reason::UnknownTenant => {
            vec![Event::TenantChanged(Tenant::new(job.tenant.as_str()))]
        }
        Reason::TenantNotLeaf => all(&|tenant| tenant.parent = None),
        Reason::InvalidRequest => resubmitted(Job {
            gang: 1,
            ..job.clone()
        }),
        Reason::BudgetExhausted => all(&|tenant| tenant.exhausted = false),
        Reason::Suspended | Reason::DependencyGate | Reason::GangIncomplete { .. } => {
            resubmitted(Job {
                hold: None,
                ..job.clone()
            })
        }
        Reason::ExceedsMaxQuota { .. } | Reason::QuotaFull { .. } if !job.preemptible => {
            all(&|tenant| {
                tenant.limit = Limits::NONE;
                if tenant.id == job.tenant {
                    tenant.guaranteed = large();
                }
            })
        }
        Reason::ExceedsMaxQuota { .. } | Reason::QuotaFull { .. } | Reason::Withheld { .. } => {
            all(&|tenant| {
                tenant.limit = Limits::NONE;
                tenant.lending_limit = Limits::NONE;
            })
        }
        Reason::WaitingForPreemption { .. } => panic!("all that were evicted are gone"),
        Reason::BehindHigherPriority { ahead } | Reason::ShareExceeded { ahead, .. } => {
            vec![Event::JobWithdrawn(ahead.clone())]
        }
        Reason::BackoffAfterPreemption { .. } => resubmitted(Job::new(
            JobId::new("nobody", "arrives", ""),
            "nobody".into(),
            1,
            Resources::gpus(1),
        )),
        Reason::NodesDedicated { .. }
        | Reason::NoSuchGpu { .. }
        | Reason::NoSuchNode { .. }
        | Reason::NoSuchResource { .. }
        | Reason::ExceedsCapacity { .. }
        | Reason::ResourceFull { .. }
        | Reason::Fragmented { .. }
        | Reason::CapacityFull { .. } => vec![Event::NodeSeen(roomy(snapshot, job))],
        Reason::NotYetEvaluated => panic!("{} could start", job.id),
    }
}

fn large() -> Resources {
    Resources::gpus(500)
        .with(Resource::Cpu, 900_000)
        .with(Resource::Memory, 1 << 40)
}

fn labels(all: impl IntoIterator<Item = (Text, Text)>) -> Arc<Labels> {
    Arc::new(all.into_iter().collect())
}

/// A node on which there is room for the job, and that suits it and is where its work belongs.
fn roomy(snapshot: &Snapshot, job: &Job) -> Node {
    let selector = job.needs.selector.iter().cloned();
    let pool = match &job.needs.home {
        Home::Of(owner) => snapshot.tenants().find(|tenant| tenant.id == *owner),
        _ => None,
    };
    let pool = pool.and_then(|tenant| Some((pool::LABEL.into(), tenant.pool.clone()?)));
    let share = !job.task.get(Resource::Gpu).is_multiple_of(1000);
    Node {
        allocatable: large(),
        labels: labels(selector.chain(pool)),
        others: [("hca".into(), 1000)].into_iter().collect(),
        gpus: Gpus {
            model: "B".into(),
            mode: if share {
                Mode::Fractional
            } else {
                Mode::Exclusive
            },
            ..Gpus::default()
        },
        ..Node::new("roomy")
    }
}

#[test]
fn without_the_obstacle_the_verdict_changes() {
    let seen = std::cell::RefCell::new(BTreeMap::<&'static str, u32>::new());
    for_seeds("PRORATA_WORLDS", 400, |seed| {
        let world = world(seed);
        let snapshot = world.snapshot();
        for (job, reason) in snapshot.waiting() {
            *seen.borrow_mut().entry(reason.code()).or_default() += 1;
            assert_eq!(
                snapshot.verdict(&job.id),
                Some(Verdict::Waiting(reason.clone()))
            );
            let mut other = world.clone();
            other.evictions = 0;
            other.jobs += 1;
            let facts = remedy(&snapshot, job, &reason);
            facts.into_iter().for_each(|fact| other.observe(fact));
            other.step();
            other.step();
            let verdict = other.snapshot().verdict(&job.id);
            let same = match (&verdict, &reason) {
                // Another may come before it now, or withhold another resource.
                (
                    Some(Verdict::Waiting(after)),
                    Reason::BehindHigherPriority { .. } | Reason::ShareExceeded { .. },
                ) => *after == reason,
                (Some(Verdict::Waiting(after)), _) => after.code() == reason.code(),
                _ => false,
            };
            assert!(!same, "{}: {reason}; then {verdict:?}", job.id);
        }
    });
    // A test that met few reasons would say little.
    let met = seen.into_inner();
    if std::env::var_os("PRORATA_SEED").is_none() {
        assert!(met.len() >= 16, "{met:?}");
    }
}

/// Those that were evicted take their time to leave: the job says that it waits for that.
#[test]
fn whoever_is_said_to_wait_for_its_turn_waits_for_nothing_else() {
    for_seeds("PRORATA_WORLDS", 400, |seed| {
        let snapshot = world(seed).snapshot();
        let in_turn = |reason: &Reason| reason.outlook() == Outlook::Waiting;
        let told = snapshot.waiting().filter(|(_, reason)| in_turn(reason));
        let told: Vec<&JobId> = told.map(|(job, _)| &job.id).collect();
        let together: Vec<&JobId> = snapshot.in_turn().map(|job| &job.id).collect();
        let one_by_one = snapshot.jobs().map(|job| &job.id);
        let one_by_one = one_by_one.filter(|id| snapshot.awaits_turn(id));
        assert_eq!(together, told);
        assert_eq!(one_by_one.collect::<Vec<_>>(), told);
    });
}

#[test]
fn waiting_for_preemption_ends_when_the_victims_are_gone() {
    let mut world = World::new(Policy::default());
    let gpu = |tenant: &str, name: &str, gpus| {
        let id = JobId::new(tenant, name, "");
        Job::new(id, tenant.into(), 1, Resources::gpus(gpus))
    };
    let node = Node {
        allocatable: Resources::gpus(2),
        ..Node::new("n")
    };
    world.observe(Event::NodeSeen(node));
    for tenant in ["a", "b"] {
        world.observe(Event::TenantChanged(Tenant::new(tenant)));
    }
    world.submit(gpu("a", "large", 2));
    world.settle();
    world.submit(gpu("b", "small", 1));
    assert_eq!(world.scheduler.cycle(world.now).decisions.len(), 1);
    let small = JobId::new("b", "small", "");
    let waiting = Reason::WaitingForPreemption { gang: 1, best: 0 };
    let verdict = world.snapshot().verdict(&small);
    assert_eq!(verdict, Some(Verdict::Waiting(waiting)));
    let large = TaskId {
        job: JobId::new("a", "large", ""),
        index: 0,
    };
    world.observe(Event::TaskFinished(large));
    world.settle();
    assert_eq!(world.snapshot().verdict(&small), Some(Verdict::Running));
}
