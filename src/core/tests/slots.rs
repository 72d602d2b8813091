//! Cards that are split into slots: what pods take of them that are nobody's tasks, and what tasks
//! hold whose node offers nothing just now.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use prorata_core::job::Shape;
use prorata_core::{
    Decision, Devices, Event, Gpus, Job, JobId, Mode, Node, Others, Part, Placement, Policy,
    Resource, Resources, Scheduler, Slot, Tenant, Time,
};

const GIB: u64 = 1 << 30;

/// A node of so many cards of 48 GiB.
fn node(mode: Mode, cards: u64) -> Node {
    Node {
        allocatable: Resources::gpus(cards),
        gpus: Gpus {
            mode,
            memory: 48 * GIB,
            ..Gpus::default()
        },
        ..Node::new("n")
    }
}

fn share(milli: u64) -> Resources {
    Resources::ZERO.with(Resource::Gpu, milli)
}

fn job(name: &str, milli: u64) -> Job {
    let id = JobId::new("red", name, name);
    Job::new(id, "red".into(), 1, share(milli))
}

fn scheduler(facts: Vec<Event>) -> Scheduler {
    let mut core = Scheduler::new(Policy::default());
    let red = Event::TenantChanged(Tenant::new("red"));
    for fact in facts.into_iter().chain([red]) {
        core.observe(Time::ZERO, fact);
    }
    core
}

/// How many jobs of this share start.
fn started(core: &mut Scheduler, milli: u64) -> usize {
    for number in 0..100 {
        let job = job(&format!("job-{number:02}"), milli);
        core.observe(Time::ZERO, Event::JobSubmitted(job));
    }
    let decisions = core.cycle(Time::ZERO).decisions;
    let admits = decisions.iter();
    admits
        .filter(|decision| matches!(decision, Decision::Admit(..)))
        .count()
}

#[test]
fn a_pod_that_is_nobodys_task_takes_its_slot_and_not_the_card() {
    for (pods, left) in [(0, 8), (1, 7), (3, 5), (4, 4), (5, 3)] {
        let bound = (0..pods).map(|pod| {
            let pod = format!("pod-{pod}");
            Event::PodBound(pod.as_str().into(), "n".into(), share(250), Others::NONE)
        });
        let node = Event::NodeSeen(node(Mode::Mps(4), 2));
        let mut core = scheduler([node].into_iter().chain(bound).collect());
        assert_eq!(started(&mut core, 100), left, "beside {pods}");
        assert_eq!(core.snapshot().violations(), []);
    }
}

/// 48 slots of 20 thousandths leave 40 of a card: no slot, for there is no memory for one.
#[test]
fn a_card_has_no_more_slots_than_it_is_split_into() {
    let mut core = scheduler(vec![Event::NodeSeen(node(Mode::Mps(48), 1))]);
    assert_eq!(started(&mut core, 1), 48);
}

/// The device plugin is away while everything is listed anew.
#[test]
fn whoever_asked_for_less_than_a_slot_still_holds_all_of_it_on_a_node_that_is_away() {
    let holder = job("holder", 100);
    let recorded: Placement = [Slot {
        part: Part {
            milli: 250,
            memory: 0,
        },
        gpu: 250,
        charge: 250,
        ..Slot::whole("n".into(), Devices::first(1))
    }]
    .into_iter()
    .collect();
    let mut core = scheduler(vec![
        Event::NodeSeen(node(Mode::TimeSlice(4), 0)),
        Event::JobSubmitted(holder.clone()),
        Event::JobAdmitted(holder.id, recorded, Time::ZERO),
    ]);
    assert_eq!(started(&mut core, 100), 0, "there is nothing to be had");
    core.observe(Time::ZERO, Event::NodeSeen(node(Mode::TimeSlice(4), 1)));
    let admitted = core.cycle(Time::ZERO).decisions.len();
    assert_eq!(admitted, 3);
    assert_eq!(core.snapshot().violations(), []);
    let used = core.snapshot().usage(&"red".into());
    assert_eq!(used.get(Resource::Gpu), 1000);
}

#[test]
fn readers_are_told_whether_there_is_a_slot() {
    let core = scheduler(vec![
        Event::NodeSeen(node(Mode::Mps(4), 1)),
        Event::PodBound("p".into(), "n".into(), share(500), Others::NONE),
    ]);
    let (snapshot, n) = (core.snapshot(), "n".into());
    let asking = |milli, memory| {
        let task = share(milli).with(Resource::GpuMemory, memory);
        Shape::new(task, 1)
    };
    assert!(snapshot.gives(&n, &asking(250, 12 * GIB)));
    assert!(!snapshot.gives(&n, &asking(251, 0)));
    assert!(!snapshot.gives(&n, &asking(1, 13 * GIB)));
    assert!(snapshot.gives(&n, &Shape::new(Resources::gpus(1), 1)));
    assert_eq!(snapshot.milli_on(&n, &asking(100, 0)), 250);
    assert_eq!(snapshot.has_gpus(&n, &asking(100, 0), 0), Some(true));
    assert_eq!(snapshot.has_gpus(&n, &asking(100, 0), 250), Some(true));
    assert_eq!(snapshot.has_gpus(&n, &asking(100, 0), 500), Some(false));
    assert_eq!(snapshot.has_gpus(&"m".into(), &asking(100, 0), 0), None);
}
