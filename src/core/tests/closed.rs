//! A node whose shared GPUs take nobody new for now.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use prorata_core::{
    Decision, Event, Job, JobId, Mode, Node, Policy, Resource, Resources, Scheduler, Tenant, Time,
};

fn node(closed: bool) -> Node {
    let mut node = Node {
        allocatable: Resources::gpus(1).with(Resource::Cpu, 8_000),
        closed,
        ..Node::new("a")
    };
    node.gpus.mode = Mode::TimeSlice(4);
    node
}

fn job(name: &str, gpu: u64) -> Job {
    let task = Resources::ZERO
        .with(Resource::Gpu, gpu)
        .with(Resource::Cpu, 1_000);
    Job::new(JobId::new("red", name, name), "red".into(), 1, task)
}

fn admitted(scheduler: &mut Scheduler) -> Vec<String> {
    let decisions = scheduler.cycle(Time::ZERO).decisions;
    let admitted = decisions.iter().filter_map(|decision| match decision {
        Decision::Admit(id, ..) => Some(id.name().to_owned()),
        _ => None,
    });
    admitted.collect()
}

#[test]
fn it_keeps_whom_it_has_gives_no_slot_and_counts_as_capacity() {
    let mut scheduler = Scheduler::new(Policy::default());
    let observe = |scheduler: &mut Scheduler, event| scheduler.observe(Time::ZERO, event);
    observe(&mut scheduler, Event::NodeSeen(node(false)));
    observe(&mut scheduler, Event::TenantChanged(Tenant::new("red")));
    observe(&mut scheduler, Event::JobSubmitted(job("first", 250)));
    assert_eq!(admitted(&mut scheduler), ["first"]);
    let capacity = scheduler.snapshot().capacity();

    observe(&mut scheduler, Event::NodeSeen(node(true)));
    observe(&mut scheduler, Event::JobSubmitted(job("second", 250)));
    observe(&mut scheduler, Event::JobSubmitted(job("without", 0)));
    assert_eq!(admitted(&mut scheduler), ["without"]);
    let snapshot = scheduler.snapshot();
    assert_eq!(snapshot.capacity(), capacity);
    assert_eq!(snapshot.violations(), []);
    let first = job("first", 250).id;
    assert!(snapshot.holds_places(&first));

    observe(&mut scheduler, Event::NodeSeen(node(false)));
    assert_eq!(admitted(&mut scheduler), ["second"]);
}
