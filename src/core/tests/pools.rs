//! Pools: whoever has one shares no node with anybody else, whatever happens around it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use common::draw::Draw;
use prorata_core::needs::Toleration;
use prorata_core::{
    Decision, Event, Job, JobId, Limits, Needs, Node, NodeId, Policy, Preemption, Resource,
    Resources, Scheduler, Snapshot, TaskId, Tenant, TenantId, Time, pool,
};

/// Two of a pool each, one of them in two parts, and two without.
const TENANTS: [(&str, Option<&str>, Option<&str>); 6] = [
    ("bank", None, Some("pci")),
    ("clinic", None, Some("hipaa")),
    ("clinic-dev", Some("clinic"), None),
    ("clinic-prod", Some("clinic"), Some("hipaa")),
    ("lab", None, None),
    ("school", None, None),
];
const LEAVES: [&str; 5] = ["bank", "clinic-dev", "clinic-prod", "lab", "school"];
const POOLS: [Option<&str>; 3] = [None, Some("hipaa"), Some("pci")];

fn tenant((name, parent, pool): (&str, Option<&str>, Option<&str>), guaranteed: u64) -> Tenant {
    Tenant {
        parent: parent.map(TenantId::from),
        pool: pool.map(Into::into),
        guaranteed: Resources::gpus(guaranteed),
        limit: Limits::NONE,
        ..Tenant::new(name)
    }
}

fn node(name: &str, gpus: u64, pool: Option<&str>) -> Node {
    let label = pool.map(|pool| (pool::LABEL.into(), pool.into()));
    Node {
        allocatable: Resources::gpus(gpus),
        labels: Arc::new(label.into_iter().collect()),
        ..Node::new(name)
    }
}

/// Whose pool the work of a tenant belongs to, and whose a node is.
fn pool_of(tenant: &str) -> Option<&'static str> {
    match tenant {
        "bank" => Some("pci"),
        "clinic" | "clinic-dev" | "clinic-prod" => Some("hipaa"),
        _ => None,
    }
}

/// A cluster that changes at random.
struct World {
    core: Scheduler,
    draw: Draw,
    now: Time,
    nodes: BTreeMap<NodeId, Option<&'static str>>,
    jobs: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let policy = Policy {
            preemption: Preemption {
                enabled: true,
                min_runtime: Duration::from_secs(draw.below(4)),
                loss_budget: None,
                fair_share: draw.chance(70),
            },
            reserve_after: draw.chance(50).then_some(Duration::from_secs(5)),
            ..Policy::default()
        };
        let mut world = Self {
            core: Scheduler::new(policy),
            draw,
            now: Time::ZERO,
            nodes: BTreeMap::new(),
            jobs: 0,
        };
        for spec in TENANTS {
            let guaranteed = world.draw.below(4);
            world.tell(Event::TenantChanged(tenant(spec, guaranteed)));
        }
        (0..6).for_each(|number| world.see_node(number));
        world
    }

    fn tell(&mut self, event: Event) {
        self.core.observe(self.now, event);
    }

    fn see_node(&mut self, number: u64) {
        let name = format!("n{number}");
        let pool = POOLS[usize::try_from(number % 3).unwrap()];
        let node = node(&name, 4 + number, pool);
        self.nodes.insert(node.id.clone(), pool);
        self.tell(Event::NodeSeen(node));
    }

    /// A job that would go anywhere, by what it says itself.
    fn submit(&mut self) {
        let number = self.draw.below(LEAVES.len().try_into().unwrap());
        let tenant = LEAVES[usize::try_from(number).unwrap()];
        self.jobs += 1;
        let id = JobId::new(tenant, &format!("{:04}", self.jobs), "");
        let (gang, gpus) = (1 + self.draw.below(3), 1 + self.draw.below(4));
        let gang = u32::try_from(gang).unwrap();
        let needs = Needs {
            tolerations: vec![Toleration::default()],
            ..Needs::default()
        };
        let job = Job {
            priority: i32::try_from(self.draw.below(3)).unwrap(),
            submitted: self.now,
            needs: Arc::new(needs),
            ..Job::new(id, tenant.into(), gang, Resources::gpus(gpus))
        };
        self.tell(Event::JobSubmitted(job));
    }

    /// Something happens: jobs come and end, pods start, nodes are lost and come back.
    fn step(&mut self) {
        self.now = self.now + Duration::from_secs(1);
        match self.draw.below(10) {
            0..5 => self.submit(),
            5..8 => {
                let held: Vec<TaskId> = self.core.snapshot().held().map(|(task, _)| task).collect();
                if !held.is_empty() {
                    let index = self.draw.below(held.len().try_into().unwrap());
                    let job = held[usize::try_from(index).unwrap()].job.clone();
                    for task in held.into_iter().filter(|task| task.job == job) {
                        self.tell(Event::TaskFinished(task));
                    }
                }
            }
            8 => {
                let lost = NodeId::from(&*format!("n{}", self.draw.below(6)));
                self.nodes.remove(&lost);
                let held = self.core.snapshot();
                let held = held.held().filter(|(_, slot)| slot.node == lost);
                let gone: Vec<TaskId> = held.map(|(task, _)| task).collect();
                self.tell(Event::NodeGone(lost));
                for task in gone {
                    self.tell(Event::TaskFinished(task));
                }
            }
            _ => {
                let number = self.draw.below(6);
                self.see_node(number);
            }
        }
    }

    /// Carries decisions out: pods start where they were to, and those of victims end.
    fn carry_out(&mut self, decisions: &[Decision]) {
        for decision in decisions {
            match decision {
                Decision::Admit(id, placement) => {
                    for (index, slot) in (0..).zip(placement.slots()) {
                        let job = id.clone();
                        let bound = Event::TaskBound(TaskId { job, index }, slot.node.clone());
                        self.tell(bound);
                    }
                }
                Decision::Evict { victim, .. } => {
                    let snapshot = self.core.snapshot();
                    let tasks: Vec<u32> = snapshot.places(victim).map(|(index, _)| index).collect();
                    for index in tasks {
                        let job = victim.clone();
                        self.tell(Event::TaskFinished(TaskId { job, index }));
                    }
                }
            }
        }
    }

    /// Whose work is on each node.
    fn occupants(snapshot: &Snapshot) -> BTreeMap<NodeId, BTreeSet<Option<&'static str>>> {
        let mut all: BTreeMap<NodeId, BTreeSet<_>> = BTreeMap::new();
        for (task, slot) in snapshot.held() {
            let pool = pool_of(task.job.namespace());
            all.entry(slot.node.clone()).or_default().insert(pool);
        }
        all
    }
}

/// With preemption and lost nodes, at every moment. How much happened is checked too: a world in
/// which nobody is evicted shows nothing.
#[test]
fn whoever_has_a_pool_shares_no_node() {
    let (mut admitted, mut evicted) = (BTreeMap::new(), BTreeMap::new());
    for seed in 0..200 {
        let mut world = World::new(seed);
        for _ in 0..60 {
            world.step();
            let cycle = world.core.cycle(world.now);
            let snapshot = world.core.snapshot();
            assert_eq!(snapshot.violations(), [], "seed {seed}");
            for (node, pools) in World::occupants(&snapshot) {
                let of_node = world.nodes.get(&node).copied();
                let alone = of_node.is_none_or(|pool| pools == BTreeSet::from([pool]));
                assert!(alone, "seed {seed}: {pools:?} on {node} of {of_node:?}");
            }
            for decision in &cycle.decisions {
                let (count, id) = match decision {
                    Decision::Admit(id, _) => (&mut admitted, id),
                    Decision::Evict { victim, .. } => (&mut evicted, victim),
                };
                *count.entry(pool_of(id.namespace())).or_insert(0) += 1;
            }
            world.carry_out(&cycle.decisions);
        }
    }
    let both = [&admitted, &evicted];
    let often = |counts: &BTreeMap<Option<&str>, u32>| POOLS.iter().all(|pool| counts[pool] > 20);
    assert!(both.into_iter().all(often), "{admitted:?} {evicted:?}");
}

fn admitted(core: &mut Scheduler, now: u64) -> Vec<String> {
    let decisions = core.cycle(Time::from_millis(now)).decisions;
    let admitted = decisions.into_iter().filter_map(|decision| match decision {
        Decision::Admit(id, placement) => Some(format!("{} on {placement}", id.name())),
        Decision::Evict { .. } => None,
    });
    admitted.collect()
}

fn job(tenant: &str, name: &str, gpus: u64) -> Event {
    let id = JobId::new(tenant, name, name);
    Event::JobSubmitted(Job::new(id, tenant.into(), 1, Resources::gpus(gpus)))
}

fn end(tenant: &str, name: &str) -> Event {
    let job = JobId::new(tenant, name, name);
    Event::TaskFinished(TaskId { job, index: 0 })
}

/// A pool is given to a tenant while others run on its nodes.
#[test]
fn nobody_comes_to_strangers_until_they_have_left() {
    let mut core = Scheduler::new(Policy::default());
    let tell = |core: &mut Scheduler, event| core.observe(Time::ZERO, event);
    for event in [
        Event::NodeSeen(node("a", 4, Some("hipaa"))),
        Event::TenantChanged(Tenant::new("clinic")),
        Event::TenantChanged(Tenant::new("lab")),
        job("lab", "first", 1),
    ] {
        tell(&mut core, event);
    }
    // A label alone sets nothing apart.
    assert_eq!(admitted(&mut core, 1), ["first on a[0]"]);

    let claims = tenant(("clinic", None, Some("hipaa")), 0);
    tell(&mut core, Event::TenantChanged(claims));
    tell(&mut core, job("clinic", "second", 1));
    tell(&mut core, job("lab", "third", 1));
    assert_eq!(admitted(&mut core, 2), [""; 0]);
    let reason = |core: &Scheduler, tenant, name| {
        let verdict = core.snapshot().verdict(&JobId::new(tenant, name, name));
        format!("{:?}", verdict.unwrap())
    };
    assert!(reason(&core, "clinic", "second").contains("CapacityFull"));
    assert!(reason(&core, "lab", "third").contains("NodesDedicated"));

    tell(&mut core, end("lab", "first"));
    assert_eq!(admitted(&mut core, 3), ["second on a[0]"]);

    // It has no pool any more: whoever comes next waits until its work has left.
    tell(&mut core, Event::TenantChanged(Tenant::new("clinic")));
    let claims = tenant(("lab", None, Some("hipaa")), 0);
    tell(&mut core, Event::TenantChanged(claims));
    assert_eq!(admitted(&mut core, 4), [""; 0]);
    tell(&mut core, end("clinic", "second"));
    assert_eq!(admitted(&mut core, 5), ["third on a[0]"]);
    assert_eq!(core.snapshot().violations(), []);
}

/// Two that are not above each other claim one pool: it is nobody's until one of them gives way.
#[test]
fn a_pool_that_two_claim_is_nobodys() {
    let mut core = Scheduler::new(Policy::default());
    let tell = |core: &mut Scheduler, event| core.observe(Time::ZERO, event);
    tell(&mut core, Event::NodeSeen(node("a", 4, Some("hipaa"))));
    for name in ["clinic", "hospital"] {
        let claims = tenant((name, None, Some("hipaa")), 0);
        tell(&mut core, Event::TenantChanged(claims));
        tell(&mut core, job(name, name, 1));
    }
    assert_eq!(admitted(&mut core, 1), [""; 0]);
    tell(&mut core, Event::TenantGone("clinic".into()));
    assert_eq!(admitted(&mut core, 2), ["hospital on a[0]"]);
}

/// What it has is not lent, and what others have is not for it: it waits beside idle nodes.
#[test]
fn room_elsewhere_is_no_room() {
    let mut core = Scheduler::new(Policy::default());
    let tell = |core: &mut Scheduler, event| core.observe(Time::ZERO, event);
    let mut plain = node("b", 8, None);
    plain.allocatable = plain.allocatable.with(Resource::Cpu, 1_000);
    for event in [
        Event::NodeSeen(node("a", 1, Some("hipaa"))),
        Event::NodeSeen(plain),
        Event::TenantChanged(tenant(("clinic", None, Some("hipaa")), 8)),
        job("clinic", "large", 2),
        job("clinic", "small", 1),
    ] {
        tell(&mut core, event);
    }
    assert_eq!(admitted(&mut core, 1), ["small on a[0]"]);
    let large = JobId::new("clinic", "large", "large");
    let reason = core.snapshot().verdict(&large).unwrap();
    let text = format!("{reason:?}");
    assert!(text.contains("NodesDedicated"), "{text}");
}
