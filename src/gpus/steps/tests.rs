use super::*;

const LIMITS: Limits = Limits {
    drain: Duration::from_secs(60),
    switch: Duration::from_secs(30),
};

/// A node, its device plugin and its agent; each look takes a second.
struct World {
    now: i64,
    seen: Seen,
    /// When its last pod leaves by itself; those that may be evicted leave two seconds after that is asked.
    stays_until: i64,
    evicted: Option<i64>,
    /// How long the plugin offers nothing after it was told something else; `None`: for ever.
    plugin: Option<i64>,
    switched: Option<i64>,
    has_agent: bool,
    notices: Vec<String>,
}

impl World {
    fn new(wanted: &str) -> Self {
        let exclusive = Some("exclusive".to_owned());
        Self {
            now: 1_000_000,
            seen: Seen {
                wanted: Some(wanted.to_owned()),
                offered: exclusive.clone(),
                told: exclusive,
                takes_work: true,
                left: 2,
                ..Seen::default()
            },
            stays_until: 0,
            evicted: None,
            plugin: Some(5),
            switched: None,
            has_agent: true,
            notices: Vec::new(),
        }
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_second(self.now).unwrap()
    }

    fn config(&self) -> Option<&String> {
        self.seen.configured.get(PLUGIN_CONFIG)
    }

    /// What changes by itself within a second.
    fn pass(&mut self) {
        self.now += 1;
        self.seen.takes_work = !self.seen.is_cordoned;
        let left = |at: Option<i64>| at.is_some_and(|at| at + 2 <= self.now);
        if left(self.evicted) && self.stays_until <= self.now {
            self.seen.left = 0;
        }
        if let Some(at) = self.switched {
            let is_up = self.plugin.is_some_and(|delay| at + delay <= self.now);
            self.seen.offered = self.config().filter(|_| is_up).cloned();
            if self.has_agent {
                self.seen.told.clone_from(&self.seen.offered);
            }
        }
    }

    fn step(&mut self) -> Action {
        let action = next(&self.seen, LIMITS, self.at());
        match action.clone() {
            Action::Wait => {}
            Action::Record(after) => {
                let told = notice(self.seen.record.as_ref(), after.as_ref());
                self.notices.extend(told.map(|notice| notice.reason));
                self.seen.record = after;
            }
            Action::Cordon(is_cordoned) => self.seen.is_cordoned = is_cordoned,
            Action::Drain => drop(self.evicted.get_or_insert(self.now)),
            Action::Label(labels) => {
                assert!(
                    self.seen.is_cordoned && self.seen.left == 0,
                    "a pod could lose its card"
                );
                self.seen.configured.extend(labels);
                self.switched = Some(self.now);
            }
        }
        action
    }

    /// Lets so many seconds pass, and does what is to be done.
    fn run(&mut self, seconds: u32) -> &mut Self {
        for _ in 0..seconds {
            self.pass();
            let mut steps = 0;
            while !matches!(self.step(), Action::Wait | Action::Drain) {
                steps += 1;
                assert!(steps < 20, "it goes round in circles: {:?}", self.seen);
            }
        }
        self
    }

    fn stands(&self) -> Option<(Step, Option<&str>)> {
        let record = self.seen.record.as_ref()?;
        Some((record.step, record.reason.as_deref()))
    }
}

#[test]
fn a_node_is_emptied_before_it_is_switched_and_opened_when_that_is_seen() {
    let mut world = World::new("timeslice-4");
    world.run(60);
    assert_eq!(world.stands(), Some((Step::Done, None)));
    assert_eq!(world.config().map(String::as_str), Some("timeslice-4"));
    assert!(!world.seen.is_cordoned);
    assert_eq!(world.notices, ["RepartitionBegan", "Repartitioned"]);
    assert_eq!(world.step(), Action::Wait, "it stays so");
    world.seen.wanted = Some("exclusive".to_owned());
    world.run(60);
    assert_eq!(world.config().map(String::as_str), Some("exclusive"));
    assert_eq!(world.stands(), Some((Step::Done, None)));
}

#[test]
fn what_somebody_else_had_cordoned_stays_cordoned() {
    let mut world = World::new("mps-4");
    world.seen.is_cordoned = true;
    world.run(60);
    assert_eq!(world.stands(), Some((Step::Done, None)));
    assert!(world.seen.is_cordoned);
}

#[test]
fn pods_that_do_not_leave_keep_their_cards_and_the_node_is_opened_again() {
    let mut world = World::new("timeslice-4");
    world.stays_until = i64::MAX;
    world.run(90);
    assert_eq!(world.stands(), Some((Step::Failed, Some("NotEmpty"))));
    assert!(!world.seen.is_cordoned);
    assert_eq!(world.config(), None);
    assert_eq!(world.notices, ["RepartitionBegan", "RepartitionFailed"]);
    // It is tried again when somebody asks for it anew.
    (world.stays_until, world.seen.wanted) = (0, None);
    world.run(3);
    assert_eq!(world.stands(), None);
    world.seen.wanted = Some("timeslice-4".to_owned());
    world.run(60);
    assert_eq!(world.stands(), Some((Step::Done, None)));
}

#[test]
fn a_plugin_that_does_not_follow_leaves_the_node_closed_and_can_be_taken_back() {
    let mut world = World::new("timeslice-4");
    world.plugin = None;
    world.run(90);
    assert_eq!(world.stands(), Some((Step::Await, Some("NotOffered"))));
    assert!(world.seen.is_cordoned);
    let reported = world
        .notices
        .iter()
        .filter(|reason| *reason == "RepartitionStalled");
    assert_eq!(reported.count(), 1);
    let mut late = World {
        plugin: Some(40),
        ..world
    };
    late.run(30);
    assert_eq!(
        late.stands(),
        Some((Step::Done, None)),
        "it goes on by itself"
    );

    let mut back = World::new("timeslice-4");
    back.plugin = None;
    back.run(90);
    back.seen.wanted = Some("exclusive".to_owned());
    back.plugin = Some(5);
    back.run(30);
    assert_eq!(back.stands(), Some((Step::Done, None)));
    assert_eq!(back.config().map(String::as_str), Some("exclusive"));
    assert!(!back.seen.is_cordoned);
}

#[test]
fn without_the_word_of_its_agent_a_node_stays_closed() {
    let mut world = World::new("mps-8");
    (world.has_agent, world.seen.told) = (false, None);
    world.run(90);
    assert_eq!(world.stands(), Some((Step::Verify, Some("NotSeen"))));
    assert!(world.seen.is_cordoned);
    world.has_agent = true;
    world.run(3);
    assert_eq!(world.stands(), Some((Step::Done, None)));
}

#[test]
fn until_the_switch_it_can_be_taken_back_and_from_then_on_it_is_finished() {
    let mut world = World::new("timeslice-4");
    world.stays_until = i64::MAX;
    world.run(10);
    assert_eq!(world.stands(), Some((Step::Drain, None)));
    world.seen.wanted = None;
    world.run(2);
    assert_eq!((world.stands(), world.seen.is_cordoned), (None, false));
    assert_eq!(world.notices, ["RepartitionBegan", "RepartitionCancelled"]);

    let mut world = World::new("timeslice-4");
    while world.switched.is_none() {
        world.run(1);
    }
    world.seen.wanted = None;
    world.run(30);
    assert_eq!(world.stands(), Some((Step::Done, None)));
}

#[test]
fn another_wish_on_the_way_is_followed() {
    let mut world = World::new("timeslice-4");
    world.stays_until = world.now + 20;
    world.run(10);
    world.seen.wanted = Some("mps-4".to_owned());
    world.run(60);
    assert_eq!(world.config().map(String::as_str), Some("mps-4"));
    assert_eq!(world.stands(), Some((Step::Done, None)));
}

#[test]
fn whoever_opens_the_node_on_the_way_has_it_emptied_again() {
    let mut world = World::new("timeslice-4");
    world.stays_until = world.now + 10;
    world.run(5);
    assert_eq!(world.stands(), Some((Step::Drain, None)));
    (world.seen.is_cordoned, world.seen.takes_work) = (false, true);
    (world.stays_until, world.evicted) = (world.now + 20, None);
    world.run(60);
    assert_eq!(world.stands(), Some((Step::Done, None)));
}

#[test]
fn what_demand_wants_goes_on_without_a_spec_and_gives_way_to_one() {
    let mut world = World::new("timeslice-4");
    world.seen.wanted = None;
    assert_eq!(world.step(), Action::Wait);
    let demand = on_demand("exclusive".into(), "timeslice-4".into(), false, world.at());
    world.seen.record = Some(demand);
    world.run(60);
    assert_eq!(world.stands(), Some((Step::Done, None)));
    assert_eq!(world.config().map(String::as_str), Some("timeslice-4"));

    let mut world = World::new("exclusive");
    world.seen.record = Some(on_demand(
        "exclusive".into(),
        "timeslice-4".into(),
        false,
        world.at(),
    ));
    world.run(10);
    assert_eq!((world.stands(), world.seen.is_cordoned), (None, false));
    assert_eq!(world.config(), None);
}

fn on_demand_to(to: &str) -> World {
    let mut world = World::new(to);
    world.seen.wanted = None;
    let demand = on_demand("exclusive".into(), to.into(), false, world.at());
    world.seen.record = Some(demand);
    world
}

#[test]
fn what_only_demand_wants_and_does_not_come_is_taken_back() {
    let mut world = on_demand_to("mps-4");
    world.plugin = None;
    while !world.seen.record.as_ref().unwrap().taken_back {
        world.run(1);
    }
    world.plugin = Some(5);
    world.run(30);
    assert_eq!(world.stands(), Some((Step::Failed, Some(NOT_SWITCHED))));
    assert_eq!(world.config().map(String::as_str), Some("exclusive"));
    assert!(!world.seen.is_cordoned);
    assert_eq!(world.notices, ["RepartitionStalled", "RepartitionFailed"]);
    assert_eq!(world.step(), Action::Wait, "it is over");

    // Nor does what was before: then somebody has to look.
    let mut world = on_demand_to("mps-4");
    world.plugin = None;
    world.run(120);
    assert_eq!(world.stands(), Some((Step::Await, Some("NotOffered"))));
    assert!(world.seen.is_cordoned && world.seen.record.as_ref().unwrap().is_stalled());
    assert_eq!(world.notices, ["RepartitionStalled"; 2]);
    // Somebody does, and wants what was wanted before.
    (world.plugin, world.seen.wanted) = (Some(5), Some("mps-4".to_owned()));
    world.run(30);
    assert_eq!(world.stands(), Some((Step::Done, None)));
    assert_eq!(world.config().map(String::as_str), Some("mps-4"));
}

#[test]
fn what_is_taken_back_stays_closed_while_there_are_pods_that_got_past_the_cordon() {
    let mut world = on_demand_to("mps-4");
    world.plugin = None;
    while world.stands() != Some((Step::Await, None)) {
        world.run(1);
    }
    (world.seen.left, world.evicted, world.stays_until) = (1, None, i64::MAX);
    world.run(120);
    assert!(world.seen.record.as_ref().unwrap().taken_back);
    assert_eq!(world.stands(), Some((Step::Drain, Some("NotEmpty"))));
    assert!(world.seen.is_cordoned && world.seen.record.as_ref().unwrap().is_stalled());
    (world.seen.left, world.plugin) = (0, Some(5));
    world.run(30);
    assert_eq!(world.stands(), Some((Step::Failed, Some(NOT_SWITCHED))));
    assert!(!world.seen.is_cordoned);
    assert_eq!(world.config().map(String::as_str), Some("exclusive"));
}

#[test]
fn an_agent_that_does_not_see_what_demand_wants_has_it_taken_back() {
    let mut world = on_demand_to("mps-4");
    world.has_agent = false;
    world.run(45);
    let record = world.seen.record.clone().unwrap();
    assert!(record.taken_back, "{record:?}");
    world.has_agent = true;
    world.run(30);
    assert_eq!(world.stands(), Some((Step::Failed, Some(NOT_SWITCHED))));
    assert!(!world.seen.is_cordoned);
}

#[test]
fn instances_are_the_mig_managers_to_make_and_to_remove() {
    let seen = Seen::default();
    let to = labels(&seen, "mig-1g.10gb");
    assert_eq!(to[MIG_CONFIG], "all-1g.10gb");
    assert!(!labels(&seen, "mps-4").contains_key(MIG_CONFIG));
    let divided = Seen {
        configured: to,
        ..Seen::default()
    };
    assert_eq!(labels(&divided, "exclusive")[MIG_CONFIG], "all-disabled");
}
