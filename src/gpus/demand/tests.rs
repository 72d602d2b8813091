use std::sync::Arc;

use super::*;
use prorata_core::{Event, Gpus, Mode, Policy, Resources, Scheduler, Tenant};

const TERMS: Terms = Terms {
    switch: Duration::from_secs(120),
    stays: Duration::from_secs(3600),
};
const GIB: u64 = 1 << 30;

struct World {
    core: Scheduler,
    now: Time,
    nodes: BTreeSet<NodeId>,
}

impl World {
    /// Nodes of four cards of 40 GiB each.
    fn new(nodes: &[(&str, Mode)]) -> Self {
        let mut core = Scheduler::new(Policy::default());
        core.observe(Time::ZERO, Event::TenantChanged(Tenant::new("red")));
        for (name, mode) in nodes {
            let node = Node {
                allocatable: Resources::gpus(4),
                gpus: Gpus {
                    mode: mode.clone(),
                    memory: 40 * GIB,
                    ..Gpus::default()
                },
                ..Node::new(name)
            };
            core.observe(Time::ZERO, Event::NodeSeen(node));
        }
        Self {
            core,
            now: Time::ZERO,
            nodes: nodes.iter().map(|(name, _)| NodeId::from(*name)).collect(),
        }
    }

    fn submit(&mut self, name: &str, gang: u32, milli: u64, gib: u64) -> &mut Self {
        self.submit_as(name, gang, milli, gib, |job| job)
    }

    fn submit_as(
        &mut self,
        name: &str,
        gang: u32,
        milli: u64,
        gib: u64,
        change: impl Fn(Job) -> Job,
    ) -> &mut Self {
        let task = Resources::ZERO
            .with(Resource::Gpu, milli)
            .with(Resource::GpuMemory, gib * GIB);
        let id = JobId::new("red", name, name);
        let job = change(Job::new(id, "red".into(), gang, task));
        self.core.observe(self.now, Event::JobSubmitted(job));
        let _ = self.core.cycle(self.now);
        self
    }

    fn best_of(&self, modes: &[&str], before: Option<&str>) -> Option<Change> {
        let modes = modes.iter().map(|mode| mode.parse().unwrap()).collect();
        let before = before.map(NodeId::from);
        let snapshot = self.core.snapshot();
        best(
            &snapshot,
            self.now,
            (&self.nodes, &modes),
            TERMS,
            before.as_ref(),
        )
    }

    fn best(&self) -> Option<(String, String)> {
        let change = self.best_of(&["exclusive", "timeslice-4", "mps-8"], None)?;
        Some((change.node.to_string(), change.to.to_string()))
    }
}

fn to(node: &str, mode: &str) -> Option<(String, String)> {
    Some((node.to_owned(), mode.to_owned()))
}

#[test]
fn shares_that_wait_get_an_idle_node_and_no_other() {
    let mut world = World::new(&[("a", Mode::Exclusive), ("b", Mode::Exclusive)]);
    assert_eq!(world.best(), None, "nobody waits");
    world.submit("runs", 4, 1000, 0);
    world.submit("share", 4, 250, 0);
    // A minute of work would be lost on the other.
    world.now = Time::from_millis(60_000);
    assert_eq!(world.best(), to("b", "timeslice-4"));
    let change = world.best_of(&["timeslice-4"], None).unwrap();
    assert_eq!(
        (change.gains, change.worth, change.costs),
        (1000, 3600, 480)
    );
}

#[test]
fn slots_are_as_large_as_they_have_to_be() {
    let mut world = World::new(&[("a", Mode::Exclusive)]);
    world.submit("large", 16, 250, 10);
    assert_eq!(
        world.best(),
        to("a", "timeslice-4"),
        "an eighth is too small"
    );
    let mut world = World::new(&[("a", Mode::Exclusive)]);
    world.submit("greedy", 16, 100, 20);
    assert_eq!(world.best(), None, "a quarter has ten GiB");
}

#[test]
fn whole_cards_that_wait_get_a_node_of_slots() {
    let mut world = World::new(&[("a", Mode::TimeSlice(4)), ("b", Mode::TimeSlice(4))]);
    world.submit("whole", 4, 1000, 0);
    assert_eq!(world.best(), to("a", "exclusive"));
    let mut world = World::new(&[("a", Mode::TimeSlice(4)), ("b", Mode::TimeSlice(4))]);
    world.submit("too-large-a-gang", 8, 1000, 0);
    assert_eq!(world.best(), None, "one node would not do");
}

#[test]
fn whoever_runs_there_counts_unless_there_is_room_elsewhere() {
    let mut world = World::new(&[("a", Mode::Exclusive)]);
    world.submit("runs", 3, 1000, 0).submit("share", 8, 250, 0);
    assert_eq!(world.best(), None, "three cards lost for two");
    let mut world = World::new(&[("a", Mode::Exclusive), ("b", Mode::Exclusive)]);
    world.submit("runs", 3, 1000, 0).submit("more", 3, 1000, 0);
    world.submit("share", 16, 250, 0);
    let change = world.best_of(&["timeslice-4"], None).unwrap();
    assert_eq!(change.gains, 4000 - 2000, "one of three finds room");
}

#[test]
fn work_that_would_be_lost_is_part_of_the_price() {
    let mut world = World::new(&[("a", Mode::Exclusive), ("b", Mode::Exclusive)]);
    world.submit("long", 1, 1000, 0).submit("other", 4, 1000, 0);
    world.submit("share", 16, 250, 0);
    assert!(world.best().is_some());
    world.now = Time::from_millis(4 * 3600 * 1000);
    assert_eq!(world.best(), None, "four hours of one card");
    let job = JobId::new("red", "long", "long");
    let saved = Event::JobCheckpointed(job, world.now);
    world.core.observe(world.now, saved);
    assert!(world.best().is_some(), "it has saved its work");
}

#[test]
fn nobody_is_moved_who_may_not_be() {
    let protected = |job: Job| Job {
        protected: true,
        ..job
    };
    let mut world = World::new(&[("a", Mode::Exclusive)]);
    world.submit_as("runs", 1, 1000, 0, protected);
    world.submit("share", 16, 250, 0);
    assert_eq!(world.best(), None);
    let mut world = World::new(&[("a", Mode::Exclusive)]);
    let guest = Event::PodBound(
        "pod".into(),
        "a".into(),
        Resources::gpus(1),
        Default::default(),
    );
    world.core.observe(Time::ZERO, guest);
    world.submit("share", 16, 250, 0);
    assert_eq!(
        world.best(),
        None,
        "the queue cannot evict what is not its own"
    );
}

#[test]
fn who_waits_for_something_else_is_no_demand() {
    let elsewhere = |job: Job| {
        let mut needs = prorata_core::Needs::clone(&job.needs);
        needs.selector = vec![("zone".into(), "far".into())];
        Job {
            needs: Arc::new(needs),
            ..job
        }
    };
    let mut world = World::new(&[("a", Mode::Exclusive)]);
    world.submit_as("far", 16, 250, 0, elsewhere);
    assert_eq!(world.best(), None);
    let held = |job: Job| Job {
        hold: Some(prorata_core::Hold::User),
        ..job
    };
    world.submit_as("held", 16, 250, 0, held);
    assert_eq!(world.best(), None);
}

#[test]
fn the_node_that_was_proposed_stays_proposed() {
    let mut world = World::new(&[("a", Mode::Exclusive), ("b", Mode::Exclusive)]);
    world.submit("share", 16, 250, 0);
    let node = |before| world.best_of(&["timeslice-4"], before).unwrap().node;
    assert_eq!(node(None), "a".into());
    assert_eq!(node(Some("b")), "b".into());
}

#[test]
fn demand_has_lasted_only_while_the_same_is_wanted() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let change = |mode: &str| Change {
        node: "a".into(),
        from: Partition::Exclusive,
        to: mode.parse().unwrap(),
        gains: 1,
        worth: 1,
        costs: 0,
    };
    let known = Demand {
        to: "mps-4".to_owned(),
        since: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(10)),
    };
    assert_eq!(since(&change("mps-4"), None, None, at(10)), at(10));
    assert_eq!(since(&change("mps-4"), Some(&known), None, at(70)), at(10));
    assert_eq!(since(&change("mps-8"), Some(&known), None, at(80)), at(80));
    let changed = |second| since(&change("mps-4"), Some(&known), Some(at(second)), at(90));
    assert_eq!((changed(5), changed(60)), (at(10), at(60)));
}
