//! The properties that dominant resource fairness is proven to have, on a pool that is as good
//! as divisible: one large node, and tasks that are small beside it (Ghodsi et al., *Dominant
//! Resource Fairness*, NSDI 2011, §3).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroU32;

use proptest::prelude::*;
use prorata_core::{
    Event, Job, JobId, Node, Policy, Preemption, Resource, Resources, Scheduler, Tenant, TenantId,
    Time, Weight,
};

/// So much of each resource there is.
const POOL: u64 = 60_000;

/// A task of at most 1/100 of the pool, in milli-CPU and bytes.
type Task = (u64, u64);

fn task() -> impl Strategy<Value = Task> {
    (60..600_u64, 60..600_u64)
}

fn amounts((cpu, memory): Task) -> Resources {
    Resources::ZERO
        .with(Resource::Cpu, cpu)
        .with(Resource::Memory, memory)
}

/// How many tasks each tenant has when the pool is full; tenants want more than there is.
fn share(tenants: &[(Task, u32)]) -> Vec<u64> {
    let policy = Policy {
        preemption: Preemption {
            enabled: false,
            ..Preemption::default()
        },
        ..Policy::default()
    };
    let mut scheduler = Scheduler::new(policy);
    let node = Node {
        allocatable: amounts((POOL, POOL)),
        ..Node::new("pool")
    };
    let mut observe = |event| scheduler.observe(Time::ZERO, event);
    observe(Event::NodeSeen(node));
    for (number, (task, weight)) in tenants.iter().enumerate() {
        let id = TenantId::from(&*format!("t{number}"));
        observe(Event::TenantChanged(Tenant {
            weight: Weight::new(*weight, NonZeroU32::MIN),
            ..Tenant::new(id.as_str())
        }));
        let most = POOL / task.0.max(task.1) + 1;
        for job in 0..most {
            let name = JobId::new(id.as_str(), &format!("{job:05}"), "");
            observe(Event::JobSubmitted(Job::new(
                name,
                id.clone(),
                1,
                amounts(*task),
            )));
        }
    }
    let _ = scheduler.cycle(Time::ZERO);
    let snapshot = scheduler.snapshot();
    let count = |(number, (task, _)): (usize, &(Task, u32))| {
        let usage = snapshot.usage(&format!("t{number}").as_str().into());
        usage.get(Resource::Cpu) / task.0
    };
    tenants.iter().enumerate().map(count).collect()
}

/// Tasks that a tenant could run on its part of the pool alone.
fn alone(task: Task, weight: u32, all: u32) -> u64 {
    let part = POOL * u64::from(weight) / u64::from(all);
    part / task.0.max(task.1)
}

fn tenants() -> impl Strategy<Value = Vec<(Task, u32)>> {
    prop::collection::vec((task(), 1..4_u32), 2..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nobody has less than on its own part of the pool. A task is no fluid: one may be missing.
    #[test]
    fn sharing_is_worth_it(tenants in tenants()) {
        let all: u32 = tenants.iter().map(|(_, weight)| weight).sum();
        for ((task, weight), got) in tenants.iter().zip(share(&tenants)) {
            let alone = alone(*task, *weight, all);
            prop_assert!(got + 1 >= alone, "{got} tasks, alone {alone}");
        }
    }

    /// Nobody could do more with what another of its weight has, by more than a task.
    #[test]
    fn nobody_envies(tasks in prop::collection::vec(task(), 2..5)) {
        let tenants: Vec<(Task, u32)> = tasks.iter().map(|task| (*task, 1)).collect();
        let counts = share(&tenants);
        for (mine, own) in tasks.iter().zip(&counts) {
            for (other, count) in tasks.iter().zip(&counts) {
                let theirs = (other.0 * count, other.1 * count);
                let could = (theirs.0 / mine.0).min(theirs.1 / mine.1);
                // The last task of the other may be one that does not fit any more for this one.
                let last = (other.0.max(other.1)).div_ceil(mine.0.min(mine.1)).max(1);
                prop_assert!(could <= own + 1 + last, "{own} tasks, with the other's {could}");
            }
        }
    }

    /// Who asks for more than it needs does not get more tasks done, but for one by rounding.
    #[test]
    fn lying_does_not_pay(tenants in tenants(), more in (0..200_u64, 0..200_u64)) {
        let honest = share(&tenants)[0];
        let mut lying = tenants;
        let ((cpu, memory), _) = &mut lying[0];
        (*cpu, *memory) = (*cpu + more.0, *memory + more.1);
        prop_assert!(share(&lying)[0] <= honest + 1);
    }

    /// Nothing is left over that somebody could use.
    #[test]
    fn nothing_is_wasted(tenants in tenants()) {
        let counts = share(&tenants);
        let used = tenants.iter().zip(&counts);
        let (cpu, memory) = used.fold((0, 0), |(cpu, memory), ((task, _), count)| {
            (cpu + task.0 * count, memory + task.1 * count)
        });
        for ((cpu_each, memory_each), _) in &tenants {
            let fits = cpu + cpu_each <= POOL && memory + memory_each <= POOL;
            prop_assert!(!fits, "{cpu} and {memory} of {POOL} are used");
        }
    }

    /// Twice the weight, twice the dominant share, but for one task.
    #[test]
    fn weights_are_kept(task in task(), weight in 1..5_u32) {
        let counts = share(&[(task, weight), (task, 1)]);
        let (much, little) = (counts[0], counts[1] * u64::from(weight));
        prop_assert!(much.abs_diff(little) <= u64::from(weight), "{counts:?}");
    }
}
