//! A job that has been let go keeps its places, seen or not, until its tasks are known to be gone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use prorata_core::{
    Decision, Event, Job, JobId, Node, Policy, Preemption, Resources, Scheduler, TaskId, Tenant,
    Time,
};

/// Tenant `blue` is guaranteed what `red/guest` borrows on the only node.
fn borrowed() -> Scheduler {
    let mut scheduler = Scheduler::new(Policy {
        preemption: Preemption {
            enabled: true,
            ..Preemption::default()
        },
        ..Policy::default()
    });
    let node = Node {
        allocatable: Resources::gpus(2),
        ..Node::new("a")
    };
    let blue = Tenant {
        guaranteed: Resources::gpus(2),
        ..Tenant::new("blue")
    };
    observe(&mut scheduler, Event::NodeSeen(node));
    observe(&mut scheduler, Event::TenantChanged(Tenant::new("red")));
    observe(&mut scheduler, Event::TenantChanged(blue));
    observe(&mut scheduler, Event::JobSubmitted(job("red", "guest")));
    assert_eq!(decided(&mut scheduler), ["admit guest"]);
    scheduler
}

/// Two tasks of one GPU each.
fn job(tenant: &str, name: &str) -> Job {
    let id = JobId::new(tenant, name, name);
    Job::new(id, tenant.into(), 2, Resources::gpus(1))
}

fn observe(scheduler: &mut Scheduler, event: Event) {
    scheduler.observe(Time::ZERO, event);
    assert_eq!(scheduler.snapshot().violations(), []);
}

fn decided(scheduler: &mut Scheduler) -> Vec<String> {
    let decisions = scheduler.cycle(Time::ZERO).decisions.into_iter();
    let told = decisions.map(|decision| match decision {
        Decision::Admit(id, _) => format!("admit {}", id.name()),
        Decision::Evict { victim, .. } => format!("evict {}", victim.name()),
    });
    told.collect()
}

fn ended(index: u32) -> Event {
    let job = job("red", "guest").id;
    Event::TaskFinished(TaskId { job, index })
}

#[test]
fn what_was_not_let_go_is_free_when_it_is_evicted() {
    let mut scheduler = borrowed();
    observe(&mut scheduler, Event::JobSubmitted(job("blue", "owner")));
    assert_eq!(decided(&mut scheduler), ["evict guest", "admit owner"]);
}

#[test]
fn what_was_let_go_is_free_when_its_last_task_is_gone() {
    let mut scheduler = borrowed();
    let guest = job("red", "guest").id;
    observe(&mut scheduler, Event::JobReleased(guest.clone()));
    observe(&mut scheduler, Event::JobSubmitted(job("blue", "owner")));
    assert_eq!(decided(&mut scheduler), ["evict guest"]);
    assert!(scheduler.snapshot().holds_places(&guest));
    observe(&mut scheduler, ended(0));
    assert!(decided(&mut scheduler).is_empty());
    observe(&mut scheduler, ended(1));
    assert_eq!(decided(&mut scheduler), ["admit owner"]);
}

#[test]
fn who_takes_over_knows_what_was_let_go() {
    let mut scheduler = borrowed();
    let guest = job("red", "guest").id;
    observe(&mut scheduler, Event::JobReleased(guest.clone()));
    observe(&mut scheduler, Event::JobWithdrawn(guest.clone()));
    let mut next = Scheduler::new(scheduler.snapshot().policy().clone());
    for fact in scheduler.snapshot().facts() {
        observe(&mut next, fact);
    }
    assert!(next.snapshot().holds_places(&guest));
    observe(&mut next, ended(0));
    observe(&mut next, ended(1));
    assert!(next.snapshot().job(&guest).is_none());
}

#[test]
fn a_refused_start_has_let_nothing_go() {
    let mut scheduler = borrowed();
    let guest = job("red", "guest").id;
    observe(&mut scheduler, Event::JobReleased(guest.clone()));
    observe(&mut scheduler, Event::DecisionFailed(guest.clone()));
    assert!(!scheduler.snapshot().holds_places(&guest));
}
