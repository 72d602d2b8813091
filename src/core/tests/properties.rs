//! Properties of the core under any sequence of facts, however strange.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use proptest::prelude::*;
use prorata_core::{
    Cycle, Decision, Event, Job, JobId, Limits, Node, NodeId, Order, Placement, Policy, Reason,
    Resource, Resources, Scheduler, Snapshot, TaskId, Tenant, Time, Verdict, Weight,
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

fn node() -> impl Strategy<Value = Node> {
    let schedulable = prop::bool::weighted(0.8);
    (node_id(), 0..9_u64, 0..17_u64, schedulable).prop_map(|(id, gpus, cpus, schedulable)| Node {
        id,
        allocatable: amounts(gpus, cpus),
        schedulable,
    })
}

fn tenant() -> impl Strategy<Value = Tenant> {
    let limit = prop::option::of(0..12_u64);
    let parts = (
        prop::sample::select(&TENANTS),
        0..3_u32,
        1..3_u32,
        0..6_u64,
        limit,
    );
    parts.prop_map(|(name, above, below, owned, limit)| Tenant {
        id: name.into(),
        weight: Weight::new(above, NonZeroU32::new(below).unwrap()),
        guaranteed: Resources::gpus(owned),
        limit: limit.map_or(Limits::NONE, |gpus| {
            Limits::NONE.with(Resource::Gpu, gpus * 1000)
        }),
    })
}

fn job() -> impl Strategy<Value = Job> {
    let task = (0..4_u64, 0..4_u64).prop_map(|(gpus, cpus)| amounts(gpus, cpus));
    let held = prop::bool::weighted(0.1);
    let parts = (job_id(), -1..2_i32, 0..3_u64, 0..6_u32, task, held);
    parts.prop_map(|(id, priority, submitted, gang, task, held)| Job {
        tenant: id.namespace().into(),
        submitted: Time::from_millis(submitted),
        id,
        priority,
        gang,
        task,
        held,
    })
}

fn placement() -> impl Strategy<Value = Placement> {
    let slot = (node_id(), 0..4_u32).prop_map(|(node, device)| prorata_core::Slot {
        node,
        devices: [device].into_iter().collect(),
    });
    prop::collection::vec(slot, 0..5).prop_map(|slots| slots.into_iter().collect())
}

/// Any fact at all, true or not.
fn any_fact() -> impl Strategy<Value = Event> {
    let takes = (0..3_u64, 0..3_u64).prop_map(|(gpus, cpus)| amounts(gpus, cpus));
    let pod = || prop::sample::select(&["p", "q"]).prop_map(prorata_core::PodId::from);
    prop_oneof![
        4 => node().prop_map(Event::NodeSeen),
        1 => node_id().prop_map(Event::NodeGone),
        3 => tenant().prop_map(Event::TenantChanged),
        1 => prop::sample::select(&TENANTS).prop_map(|name| Event::TenantGone(name.into())),
        12 => job().prop_map(Event::JobSubmitted),
        2 => job_id().prop_map(Event::JobWithdrawn),
        1 => (job_id(), placement()).prop_map(|(job, at)| Event::JobAdmitted(job, at)),
        4 => (task_id(), node_id()).prop_map(|(task, node)| Event::TaskBound(task, node)),
        4 => task_id().prop_map(Event::TaskFinished),
        1 => (pod(), node_id(), takes).prop_map(|(p, node, takes)| Event::PodBound(p, node, takes)),
        1 => pod().prop_map(Event::PodGone),
        2 => job_id().prop_map(Event::DecisionFailed),
    ]
}

/// Bursts of facts; a cycle follows each.
fn bursts() -> impl Strategy<Value = Vec<Vec<Event>>> {
    prop::collection::vec(prop::collection::vec(any_fact(), 0..12), 1..12)
}

fn scheduler(order: Order) -> Scheduler {
    Scheduler::new(Policy { order })
}

fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Drf), Just(Order::Fifo)]
}

/// Observes every burst and cycles after it; `check` sees the state before, and the outcome.
fn run(
    order: Order,
    bursts: &[Vec<Event>],
    mut check: impl FnMut(&Snapshot, &Cycle, &Snapshot) -> Result<(), TestCaseError>,
) -> Result<Scheduler, TestCaseError> {
    let mut scheduler = scheduler(order);
    for (now, burst) in (1..).zip(bursts) {
        for fact in burst {
            scheduler.observe(fact.clone());
        }
        let before = scheduler.snapshot();
        let cycle = scheduler.cycle(Time::from_millis(now));
        check(&before, &cycle, &scheduler.snapshot())?;
    }
    Ok(scheduler)
}

/// What the admissions of one cycle take, per node.
fn taken(before: &Snapshot, cycle: &Cycle) -> BTreeMap<NodeId, Resources> {
    let mut taken: BTreeMap<NodeId, Resources> = BTreeMap::new();
    for Decision::Admit(id, placement) in &cycle.decisions {
        let task = before.job(id).unwrap().task;
        for slot in placement.slots() {
            let sum = taken.entry(slot.node.clone()).or_default();
            *sum = sum.checked_add(&task).unwrap();
        }
    }
    taken
}

/// How many more tasks of the job's kind the free room would take.
fn room_for(snapshot: &Snapshot, job: &Job) -> u32 {
    let times = |node: &&str| job.task.times_in(&snapshot.free(&NodeId::from(*node)));
    NODES.iter().map(times).fold(0, u32::saturating_add)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn admissions_fit_into_what_was_free(order in orders(), bursts in bursts()) {
        run(order, &bursts, |before, cycle, _| {
            for (node, amount) in taken(before, cycle) {
                prop_assert!(amount.fits_in(&before.free(&node)), "{amount:?} on {node}");
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_gang_is_admitted_whole_and_once(order in orders(), bursts in bursts()) {
        run(order, &bursts, |before, cycle, _| {
            let mut seen = Vec::new();
            for Decision::Admit(id, placement) in &cycle.decisions {
                let gang = usize::try_from(before.job(id).unwrap().gang).unwrap();
                prop_assert_eq!(placement.slots().len(), gang);
                prop_assert!(matches!(before.verdict(id), Some(Verdict::Waiting(_))));
                prop_assert!(!seen.contains(id));
                seen.push(id.clone());
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_admission_passes_a_limit(order in orders(), bursts in bursts()) {
        run(order, &bursts, |before, cycle, after| {
            for Decision::Admit(id, _) in &cycle.decisions {
                let job = before.job(id).unwrap();
                let tenant = after.tenants().find(|t| t.id == job.tenant).unwrap();
                let gpus = after.usage(&tenant.id).get(Resource::Gpu);
                let asks = job.task.get(Resource::Gpu) > 0;
                prop_assert!(!asks || tenant.limit.get(Resource::Gpu).is_none_or(|cap| gpus <= cap));
            }
            Ok(())
        })?;
    }

    /// False facts may overfill a node or a GPU. The sums hold all the same.
    #[test]
    fn sums_and_indexes_always_hold(order in orders(), bursts in bursts()) {
        run(order, &bursts, |_, _, after| {
            let mut violations = after.violations();
            violations.retain(|v| !["capacity", "one task per GPU"].contains(&v.rule));
            prop_assert_eq!(violations, []);
            Ok(())
        })?;
    }

    #[test]
    fn nothing_that_fits_is_left_waiting(order in orders(), bursts in bursts()) {
        run(order, &bursts, |_, _, after| {
            for job in after.jobs() {
                let reason = match after.verdict(&job.id) {
                    Some(Verdict::Waiting(reason)) => reason,
                    _ => continue,
                };
                prop_assert_ne!(reason, Reason::NotYetEvaluated);
                if matches!(reason, Reason::CapacityFull { .. } | Reason::Fragmented { .. }) {
                    prop_assert!(room_for(after, job) < job.gang, "{} waits: {reason}", job.id);
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn the_same_facts_give_the_same_answers(order in orders(), bursts in bursts()) {
        let mut first = Vec::new();
        let one = run(order, &bursts, |_, cycle, _| { first.push(cycle.clone()); Ok(()) })?;
        let mut second = Vec::new();
        let two = run(order, &bursts, |_, cycle, _| { second.push(cycle.clone()); Ok(()) })?;
        prop_assert_eq!(first, second);
        prop_assert_eq!(one.snapshot(), two.snapshot());
    }

    #[test]
    fn a_restart_knows_what_was_known(order in orders(), bursts in bursts()) {
        let live = run(order, &bursts, |_, _, _| Ok(()))?;
        let snapshot = live.snapshot();
        let mut restarted = scheduler(order);
        for fact in snapshot.facts() {
            restarted.observe(fact);
        }
        let cycle = restarted.cycle(snapshot.decided());
        prop_assert_eq!(cycle.decisions, []);
        prop_assert_eq!(restarted.snapshot(), snapshot);
    }

    #[test]
    fn a_relist_changes_nothing(order in orders(), bursts in bursts()) {
        let mut live = run(order, &bursts, |_, _, _| Ok(()))?;
        let before = live.snapshot();
        for fact in before.facts() {
            live.observe(fact);
        }
        prop_assert_eq!(&live.snapshot(), &before);
        let cycle = live.cycle(before.decided());
        prop_assert_eq!(cycle, Cycle::default());
    }

    #[test]
    fn the_order_of_a_list_does_not_matter(
        order in orders(),
        nodes in prop::collection::vec(node(), 1..5),
        tenants in prop::collection::vec(tenant(), 1..4),
        jobs in prop::collection::vec(job(), 1..20).prop_shuffle(),
        seed in any::<u64>(),
    ) {
        let list = |jobs: &[Job]| {
            let mut scheduler = scheduler(order);
            nodes.iter().cloned().map(Event::NodeSeen).for_each(|e| scheduler.observe(e));
            tenants.iter().cloned().map(Event::TenantChanged).for_each(|e| scheduler.observe(e));
            jobs.iter().cloned().map(Event::JobSubmitted).for_each(|e| scheduler.observe(e));
            scheduler.cycle(Time::ZERO)
        };
        let mut unique: BTreeMap<JobId, Job> = BTreeMap::new();
        unique.extend(jobs.iter().map(|job| (job.id.clone(), job.clone())));
        let sorted: Vec<Job> = unique.into_values().collect();
        let mut shuffled = sorted.clone();
        let length = shuffled.len();
        shuffled.rotate_left(usize::try_from(seed % 97).unwrap() % length);
        shuffled.reverse();
        prop_assert_eq!(list(&sorted), list(&shuffled));
    }

    /// Remove the obstacle that a reason names, and the verdict is another one.
    #[test]
    fn reasons_tell_the_truth(order in orders(), bursts in bursts()) {
        let live = run(order, &bursts, |_, _, _| Ok(()))?;
        let snapshot = live.snapshot();
        for job in snapshot.jobs() {
            let Some(Verdict::Waiting(reason)) = snapshot.verdict(&job.id) else { continue };
            let mut world = live.clone();
            remedy(&snapshot, job, &reason).into_iter().for_each(|fact| world.observe(fact));
            let _ = world.cycle(Time::from_millis(1000));
            let after = world.snapshot();
            let code = match after.verdict(&job.id) {
                Some(Verdict::Waiting(after)) => Some(after.code()),
                _ => None,
            };
            prop_assert_ne!(code, Some(reason.code()), "{} {}", job.id, reason);
        }
    }
}

/// Facts that remove the obstacle, for this job alone.
fn remedy(snapshot: &Snapshot, job: &Job, reason: &Reason) -> Vec<Event> {
    let tenant = || snapshot.tenants().find(|t| t.id == job.tenant).cloned();
    let others = snapshot.jobs().filter(|other| other.id != job.id);
    let alone = others.map(|other| Event::JobWithdrawn(other.id.clone()));
    let mut facts: Vec<Event> = alone.collect();
    facts.push(match reason {
        Reason::UnknownTenant => Event::TenantChanged(Tenant::new(job.tenant.as_str())),
        Reason::InvalidRequest => Event::JobSubmitted(Job {
            gang: 1,
            task: Resources::gpus(1),
            ..job.clone()
        }),
        Reason::ExceedsMaxQuota { .. } | Reason::QuotaFull { .. } => Event::TenantChanged(Tenant {
            limit: Limits::NONE,
            ..tenant().unwrap()
        }),
        Reason::Suspended => Event::JobSubmitted(Job {
            held: false,
            ..job.clone()
        }),
        _ => Event::NodeSeen(Node {
            id: "large".into(),
            allocatable: amounts(1000, 1000),
            schedulable: true,
        }),
    });
    facts
}

/// The user stops a job just as one of its pods is bound: the pod holds its place until it is gone.
#[test]
fn a_task_that_is_bound_while_its_job_leaves_holds_its_place() {
    let mut world = scheduler(Order::Drf);
    let id = JobId::new("red", "train", "uid");
    let job = Job {
        id: id.clone(),
        tenant: "red".into(),
        priority: 0,
        submitted: Time::ZERO,
        gang: 2,
        task: Resources::gpus(1),
        held: false,
    };
    world.observe(Event::NodeSeen(Node {
        id: "a".into(),
        allocatable: Resources::gpus(2),
        schedulable: true,
    }));
    world.observe(Event::TenantChanged(Tenant::new("red")));
    world.observe(Event::JobSubmitted(job.clone()));
    let _ = world.cycle(Time::ZERO);
    let task = |index| TaskId {
        job: id.clone(),
        index,
    };
    world.observe(Event::TaskBound(task(0), "a".into()));
    world.observe(Event::JobSubmitted(Job { held: true, ..job }));
    assert_eq!(world.snapshot().free(&"a".into()), Resources::gpus(1));
    world.observe(Event::TaskBound(task(1), "a".into()));
    assert_eq!(world.snapshot().free(&"a".into()), Resources::ZERO);
    world.observe(Event::TaskFinished(task(0)));
    world.observe(Event::TaskFinished(task(1)));
    assert_eq!(world.snapshot().free(&"a".into()), Resources::gpus(2));
}
