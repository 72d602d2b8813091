//! Properties of the core under any sequence of facts, however strange.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use prorata_core::{
    Cycle, Decision, Event, Gpus, Hold, Instance, Job, JobId, Limits, Mode, Node, NodeId, Order,
    Others, Placement, Policy, Preemption, Reason, Resource, Resources, Scheduler, Slot, Snapshot,
    TaskId, Tenant, TenantId, Time, Verdict, Weight, pool,
};

const TENANTS: [&str; 3] = ["blue", "green", "red"];
const NODES: [&str; 4] = ["a", "b", "c", "d"];
const JOBS: [&str; 8] = ["1", "2", "3", "4", "5", "6", "7", "8"];

fn amounts(gpus: u64, cpus: u64) -> Resources {
    Resources::gpus(gpus).with(Resource::Cpu, cpus * 1000)
}

fn job_id() -> impl Strategy<Value = JobId> {
    let names = (prop::sample::select(&TENANTS), prop::sample::select(&JOBS));
    names.prop_map(|(tenant, job)| JobId::new(tenant, job, "uid"))
}

fn node_id() -> impl Strategy<Value = NodeId> {
    prop::sample::select(&NODES).prop_map(NodeId::from)
}

fn task_id() -> impl Strategy<Value = TaskId> {
    (job_id(), 0..5_u32).prop_map(|(job, index)| TaskId { job, index })
}

/// How a node shares its GPUs, which it keeps for good.
fn mode(node: &NodeId) -> Mode {
    let instance = |profile: &str, milli| Instance {
        profile: profile.into(),
        milli,
        memory: 10 << 30,
    };
    match node.as_str() {
        "b" => Mode::Fractional,
        "c" => Mode::Mps(4),
        "d" => Mode::Mig([instance("1g", 142), instance("3g", 428)].into()),
        _ => Mode::Exclusive,
    }
}

fn node() -> impl Strategy<Value = Node> {
    let schedulable = prop::bool::weighted(0.8);
    let parts = (node_id(), 0..9_u64, 0..17_u64, schedulable, a_pool());
    parts.prop_map(|(id, gpus, cpus, schedulable, pool)| Node {
        allocatable: amounts(gpus, cpus),
        gpus: Gpus {
            mode: mode(&id),
            ..Gpus::default()
        },
        schedulable,
        labels: Arc::new(
            pool.map(|pool| (pool::LABEL.into(), pool.into()))
                .into_iter()
                .collect(),
        ),
        ..Node::new(id.as_str())
    })
}

/// A pool, rarely.
fn a_pool() -> impl Strategy<Value = Option<&'static str>> {
    prop::option::weighted(0.2, prop::sample::select(&["p", "q"]))
}

fn tenant() -> impl Strategy<Value = Tenant> {
    let capped = || prop::option::weighted(0.3, 0..12_u64);
    let parts = (
        prop::sample::select(&TENANTS),
        prop::option::weighted(0.3, prop::sample::select(&TENANTS)),
        0..3_u32,
        1..3_u32,
        0..6_u64,
        capped(),
        capped(),
        prop::bool::weighted(0.1),
        a_pool(),
        prop::bool::weighted(0.1),
    );
    let caps = |limit: Option<u64>| {
        limit.map_or(Limits::NONE, |gpus| {
            Limits::NONE.with(Resource::Gpu, gpus * 1000)
        })
    };
    parts.prop_map(
        move |(name, parent, above, below, owned, limit, lend, exhausted, pool, deferred)| Tenant {
            id: name.into(),
            parent: parent.map(TenantId::from),
            weight: Weight::new(above, NonZeroU32::new(below).unwrap()),
            guaranteed: Resources::gpus(owned),
            limit: caps(limit),
            lending_limit: caps(lend),
            exhausted,
            pool: pool.map(Into::into),
            deferred,
        },
    )
}

fn job() -> impl Strategy<Value = Job> {
    let share = prop::sample::select(&[0_u64, 0, 0, 250, 500]);
    let task = (0..4_u64, 0..4_u64, share).prop_map(|(gpus, cpus, share)| match share {
        0 => amounts(gpus, cpus),
        milli => amounts(0, cpus).with(Resource::Gpu, milli),
    });
    let hold = prop_oneof![
        9 => Just(None),
        1 => Just(Some(Hold::User)),
    ];
    let span = prop::option::weighted(0.3, (1..9_u64).prop_map(Duration::from_millis));
    let parts = (job_id(), -1..2_i32, 0..3_u64, 0..6_u32, task, hold, span);
    parts.prop_map(
        |(id, priority, submitted, gang, task, hold, max_duration)| {
            let tenant = id.namespace().into();
            Job {
                priority,
                submitted: Time::from_millis(submitted),
                hold,
                max_duration,
                ..Job::new(id, tenant, gang, task)
            }
        },
    )
}

fn placement() -> impl Strategy<Value = Placement> {
    let slot = (node_id(), 0..4_u32)
        .prop_map(|(node, device)| Slot::whole(node, [device].into_iter().collect()));
    prop::collection::vec(slot, 0..5).prop_map(|slots| slots.into_iter().collect())
}

/// Any fact at all, true or not.
fn any_fact() -> impl Strategy<Value = Event> {
    let takes = (0..3_u64, 0..3_u64).prop_map(|(gpus, cpus)| amounts(gpus, cpus));
    let devices = prop::collection::vec(0..5_u32, 1..3).prop_map(|all| all.into_iter().collect());
    let pod = || prop::sample::select(&["p", "q"]).prop_map(prorata_core::PodId::from);
    prop_oneof![
        4 => node().prop_map(Event::NodeSeen),
        1 => node_id().prop_map(Event::NodeGone),
        3 => tenant().prop_map(Event::TenantChanged),
        1 => prop::sample::select(&TENANTS).prop_map(|name| Event::TenantGone(name.into())),
        12 => job().prop_map(Event::JobSubmitted),
        2 => job_id().prop_map(Event::JobWithdrawn),
        1 => (job_id(), placement()).prop_map(|(job, at)| Event::JobAdmitted(job, at, Time::ZERO)),
        1 => (job_id(), placement()).prop_map(|(job, at)| Event::JobNominated(job, at)),
        1 => job_id().prop_map(Event::JobEvicted),
        1 => (node_id(), 0..9_u32, any::<bool>())
            .prop_map(|(node, device, works)| Event::DeviceHealth(node, device, works)),
        1 => job_id().prop_map(|job| Event::JobCheckpointed(job, Time::from_millis(2))),
        2 => job_id().prop_map(Event::JobReleased),
        4 => (task_id(), node_id()).prop_map(|(task, node)| Event::TaskBound(task, node)),
        4 => task_id().prop_map(Event::TaskFinished),
        2 => (node_id(), prop::collection::vec((task_id(), devices), 0..4))
            .prop_map(|(node, seen)| Event::DevicesSeen(node, seen)),
        1 => (pod(), node_id(), takes).prop_map(|(p, node, takes)| Event::PodBound(p, node, takes, Others::NONE)),
        1 => (pod(), prop::sample::select(&TENANTS))
            .prop_map(|(p, tenant)| Event::PodCharged(p, tenant.into())),
        1 => pod().prop_map(Event::PodGone),
        2 => job_id().prop_map(Event::DecisionFailed),
    ]
}

/// Bursts of facts; a cycle follows each.
fn bursts() -> impl Strategy<Value = Vec<Vec<Event>>> {
    prop::collection::vec(prop::collection::vec(any_fact(), 0..12), 1..12)
}

fn policies() -> impl Strategy<Value = Policy> {
    let orders = prop::sample::select(&[
        Order::Drf,
        Order::Drf,
        Order::Drf,
        Order::Fifo,
        Order::Priority,
        Order::Srtf,
        Order::Las,
    ]);
    let reserve = prop::option::weighted(0.3, Just(Duration::from_millis(3)));
    let parts = (orders, any::<bool>(), 0..3_u64, reserve);
    parts.prop_map(|(order, enabled, min_runtime, reserve_after)| Policy {
        order,
        reserve_after,
        preemption: Preemption {
            enabled,
            min_runtime: Duration::from_millis(min_runtime),
            loss_budget: None,
            fair_share: true,
        },
        ..Policy::default()
    })
}

/// Observes every burst and cycles after it; `check` sees the state before, and the outcome.
fn run(
    policy: &Policy,
    bursts: &[Vec<Event>],
    mut check: impl FnMut(&Snapshot, &Cycle, &Snapshot) -> Result<(), TestCaseError>,
) -> Result<Scheduler, TestCaseError> {
    let mut scheduler = Scheduler::new(policy.clone());
    for (now, burst) in (1..).map(Time::from_millis).zip(bursts) {
        for fact in burst {
            scheduler.observe(now, fact.clone());
        }
        let before = scheduler.snapshot();
        let cycle = scheduler.cycle(now);
        check(&before, &cycle, &scheduler.snapshot())?;
    }
    Ok(scheduler)
}

/// The jobs that a cycle starts, where.
fn admissions(cycle: &Cycle) -> impl Iterator<Item = (&JobId, &Placement)> {
    cycle
        .decisions
        .iter()
        .filter_map(|decision| match decision {
            Decision::Admit(job, placement) => Some((job, placement)),
            Decision::Evict { .. } => None,
        })
}

/// The jobs that leave in a cycle.
fn evicted(cycle: &Cycle) -> impl Iterator<Item = &JobId> {
    cycle
        .decisions
        .iter()
        .filter_map(|decision| match decision {
            Decision::Evict { victim, .. } => Some(victim),
            Decision::Admit(..) => None,
        })
}

/// What the admissions of one cycle take, per node.
fn taken(before: &Snapshot, cycle: &Cycle) -> BTreeMap<NodeId, Resources> {
    let mut taken: BTreeMap<NodeId, Resources> = BTreeMap::new();
    for (id, placement) in admissions(cycle) {
        let task = before.job(id).unwrap().task;
        for slot in placement.slots() {
            let sum = taken.entry(slot.node.clone()).or_default();
            *sum = sum.checked_add(&slot.takes(&task)).unwrap();
        }
    }
    taken
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// What nobody holds, whoever it was promised to.
    #[test]
    fn admissions_fit_into_what_was_unused(policy in policies(), bursts in bursts()) {
        run(&policy, &bursts, |before, cycle, after| {
            for (node, amount) in taken(before, cycle) {
                // A place that an eviction of this very cycle freed was assumed and not bound.
                let unused = before.unused(&node).unwrap();
                let evicts = evicted(cycle).next().is_some();
                prop_assert!(evicts || amount.fits_in(&unused), "{amount:?} on {node}");
                prop_assert!(before.is_overfull(&node) || !after.is_overfull(&node), "{node}");
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_gang_is_admitted_whole_and_once(policy in policies(), bursts in bursts()) {
        run(&policy, &bursts, |before, cycle, _| {
            let mut seen = Vec::new();
            for (id, placement) in admissions(cycle) {
                let gang = usize::try_from(before.job(id).unwrap().gang).unwrap();
                prop_assert_eq!(placement.slots().len(), gang);
                // One that nobody had begun to start may leave and come back in one cycle.
                let waits = matches!(before.verdict(id), Some(Verdict::Waiting(_)));
                prop_assert!(waits || evicted(cycle).any(|victim| victim == id));
                prop_assert!(!seen.contains(id));
                seen.push(id.clone());
            }
            Ok(())
        })?;
    }

    /// Whom somebody leaves for waited, and is promised a place or has one; who leaves had one.
    #[test]
    fn an_eviction_has_a_purpose(policy in policies(), bursts in bursts()) {
        run(&policy, &bursts, |before, cycle, after| {
            for decision in &cycle.decisions {
                let Decision::Evict { victim, preemptor, .. } = decision else { continue };
                prop_assert!(policy.preemption.enabled);
                prop_assert!(before.holds_places(victim), "{victim}");
                let waits = matches!(before.verdict(preemptor), Some(Verdict::Waiting(_)));
                prop_assert!(waits || evicted(cycle).any(|victim| victim == preemptor));
                let promised = match after.verdict(preemptor) {
                    Some(Verdict::Waiting(why)) => why.code() == "WaitingForPreemption",
                    _ => true,
                };
                prop_assert!(promised, "{preemptor}");
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_admission_passes_a_limit(policy in policies(), bursts in bursts()) {
        run(&policy, &bursts, |before, cycle, after| {
            for (id, _) in admissions(cycle) {
                let job = before.job(id).unwrap();
                let asks = job.task.get(Resource::Gpu) > 0;
                let mut above = after.tenants().find(|t| t.id == job.tenant);
                for _ in 0..TENANTS.len() {
                    let Some(tenant) = above else { break };
                    let gpus = |at: &Snapshot| at.tree_usage(&tenant.id).map(|u| u.get(Resource::Gpu));
                    let (used, had) = (gpus(after), gpus(before));
                    let within = tenant.limit.get(Resource::Gpu).is_none_or(|cap| used <= Some(cap));
                    prop_assert!(!asks || within || used <= had, "{} {id}", tenant.id);
                    above = after.tenants().find(|t| Some(&t.id) == tenant.parent.as_ref());
                }
            }
            Ok(())
        })?;
    }

    /// False facts may overfill a node or a GPU, and put work beside that of others. The sums hold all
    /// the same.
    #[test]
    fn sums_and_indexes_always_hold(policy in policies(), bursts in bursts()) {
        run(&policy, &bursts, |_, _, after| {
            let mut violations = after.violations();
            let by_facts = ["capacity of a node and its devices", "who shares no node with others"];
            violations.retain(|v| !by_facts.contains(&v.rule));
            prop_assert_eq!(violations, []);
            Ok(())
        })?;
    }

    #[test]
    fn every_job_that_could_start_is_looked_at(policy in policies(), bursts in bursts()) {
        run(&policy, &bursts, |_, cycle, after| {
            let evicts = evicted(cycle).next().is_some();
            for (job, reason) in after.waiting() {
                prop_assert!(evicts || reason != Reason::NotYetEvaluated, "{}", job.id);
            }
            Ok(())
        })?;
    }

    #[test]
    fn the_same_facts_give_the_same_answers(policy in policies(), bursts in bursts()) {
        let mut first = Vec::new();
        let one = run(&policy, &bursts, |_, cycle, _| { first.push(cycle.clone()); Ok(()) })?;
        let mut second = Vec::new();
        let two = run(&policy, &bursts, |_, cycle, _| { second.push(cycle.clone()); Ok(()) })?;
        prop_assert_eq!(first, second);
        prop_assert_eq!(one.snapshot(), two.snapshot());
    }

    #[test]
    fn a_restart_knows_what_was_known(policy in policies(), bursts in bursts()) {
        // A promise on a record is taken as it stands, also one that no scheduler gave.
        let honest = |event: &Event| !matches!(event, Event::JobNominated(..));
        let bursts: Vec<Vec<Event>> = bursts
            .into_iter()
            .map(|burst| burst.into_iter().filter(honest).collect())
            .collect();
        let live = run(&policy, &bursts, |_, _, _| Ok(()))?;
        let snapshot = live.snapshot();
        let mut restarted = Scheduler::new(policy);
        for fact in snapshot.facts() {
            restarted.observe(snapshot.decided(), fact);
        }
        prop_assert_eq!(restarted.snapshot().facts(), snapshot.facts());
    }

    #[test]
    fn a_relist_changes_nothing(policy in policies(), bursts in bursts()) {
        let mut live = run(&policy, &bursts, |_, _, _| Ok(()))?;
        let before = live.snapshot();
        for fact in before.facts() {
            live.observe(before.decided(), fact);
        }
        prop_assert_eq!(&live.snapshot(), &before);
    }
}

/// The user stops a job just as one of its pods is bound: the pod holds its place until it is gone.
#[test]
fn a_task_that_is_bound_while_its_job_leaves_holds_its_place() {
    let mut scheduler = Scheduler::new(Policy::default());
    let id = JobId::new("red", "train", "uid");
    let job = Job::new(id.clone(), "red".into(), 2, Resources::gpus(1));
    let node = Node {
        allocatable: Resources::gpus(2),
        ..Node::new("a")
    };
    let free = |scheduler: &Scheduler| scheduler.snapshot().free(&"a".into());
    let mut world = |event| {
        scheduler.observe(Time::ZERO, event);
        let _ = scheduler.cycle(Time::ZERO);
        free(&scheduler)
    };
    world(Event::NodeSeen(node));
    world(Event::TenantChanged(Tenant::new("red")));
    world(Event::JobSubmitted(job.clone()));
    let task = |index| TaskId {
        job: id.clone(),
        index,
    };
    world(Event::TaskBound(task(0), "a".into()));
    let hold = Some(Hold::User);
    let held = Event::JobSubmitted(Job { hold, ..job });
    assert_eq!(world(held), Resources::gpus(1));
    assert_eq!(
        world(Event::TaskBound(task(1), "a".into())),
        Resources::ZERO
    );
    world(Event::TaskFinished(task(0)));
    assert_eq!(world(Event::TaskFinished(task(1))), Resources::gpus(2));
}
