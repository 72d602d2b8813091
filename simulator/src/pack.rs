//! Packing: how much of a cluster's GPUs a growing load gets, and how much of the rest nobody can
//! use, under each way to place.
//!
//! The protocol is that of the curves of Weng et al., *Beware of Fragmentation* (USENIX ATC 2023).
//! All pods of a list arrive once, in an order that is drawn from the seed; then more of them,
//! each drawn from the whole list, until the GPUs that were asked for reach the inflation times
//! the cluster's. Each is placed at once by the core that places everything else, or has failed:
//! it is not tried again, and nothing ever ends.

use std::ops::ControlFlow;
use std::sync::Arc;

use prorata_core::{
    Cycle, Decision, Event, Job, JobId, Mix, NodeId, Order, Place, Policy, Preemption, Scheduler,
    Tenant, Time,
};

use crate::run::Interrupted;

mod arrivals;
mod curve;
mod input;
mod rows;

pub use curve::{Curve, Point, Spread, spread};
pub use input::{Input, Pod, read};
pub use rows::csv;

use arrivals::Arrivals;

/// Way to place, with its name on the command line and in tables. The seed of [`Place::Random`]
/// is that of the run.
pub const PLACES: [(&str, Place); 5] = [
    ("random", Place::Random(0)),
    ("first-fit", Place::FirstFit),
    ("best-fit", Place::BestFit),
    ("fgd", Place::Fgd),
    ("prorata", Place::Prorata),
];

/// What is asked for is at most this many thousandths of the cluster's GPUs.
pub const INFLATION_MAX: u32 = 10_000;

/// Percent of the pods that the typical ones make up, as published.
const TYPICAL_PERCENT: u64 = 95;

/// Whose the pods are, all of them.
const TENANT: &str = "pods";

/// Packs the pods as they arrive under one seed, up to `inflation` thousandths of the cluster's
/// GPUs. `poll` is asked before each pod, and may stop the run.
///
/// # Errors
/// When `poll` stopped it.
pub fn pack(
    input: &Input,
    place: Place,
    seed: u64,
    inflation: u64,
    poll: &dyn Fn() -> ControlFlow<()>,
) -> Result<Curve, Interrupted> {
    let place = match place {
        Place::Random(_) => Place::Random(seed),
        other => other,
    };
    let mut cluster = Packed::new(input, place);
    let mut curve = Curve::new(input.capacity(), inflation);
    for pod in Arrivals::new(&input.pods, seed) {
        if poll().is_break() {
            return Err(Interrupted);
        }
        if !curve.arrives(pod.milli(), cluster.standing()) {
            break;
        }
        cluster.offer(pod);
    }
    Ok(curve)
}

/// A cluster that fills.
struct Packed {
    scheduler: Scheduler,
    now: Time,
    /// The tasks by which fragmentation is measured, whatever the policy goes by.
    typical: Mix,
    standing: Standing,
}

/// How full a cluster is.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Milli-GPU that placed pods asked for.
    allocated: u64,
    /// Milli-GPU that are free and that typical pods cannot use, in millionths.
    fragments: u64,
}

impl Packed {
    fn new(input: &Input, place: Place) -> Self {
        let typical = input.mix(TYPICAL_PERCENT);
        let policy = Policy {
            order: Order::Fifo,
            place,
            preemption: Preemption {
                enabled: false,
                ..Preemption::default()
            },
            mix: Arc::new(input.mix(known_percent(place))),
            ..Policy::default()
        };
        let mut scheduler = Scheduler::new(policy);
        scheduler.observe(Time::ZERO, Event::TenantChanged(Tenant::new(TENANT)));
        for node in &input.nodes {
            scheduler.observe(Time::ZERO, Event::NodeSeen(node.clone()));
        }
        let snapshot = scheduler.snapshot();
        let nodes = input.nodes.iter();
        let fragments = nodes.map(|node| snapshot.fragments_on(&node.id, &typical));
        let standing = Standing {
            allocated: 0,
            fragments: fragments.sum(),
        };
        Self {
            scheduler,
            now: Time::ZERO,
            typical,
            standing,
        }
    }

    const fn standing(&self) -> Standing {
        self.standing
    }

    /// Places a pod, or forgets it.
    fn offer(&mut self, pod: &Pod) {
        self.now = Time::from_millis(self.now.as_millis() + 1);
        // Numbered, because a pod can arrive several times.
        let id = JobId::new(TENANT, &pod.name, &self.now.as_millis().to_string());
        let job = Job {
            submitted: self.now,
            needs: pod.needs.clone(),
            ..Job::new(id.clone(), TENANT.into(), 1, pod.task)
        };
        self.scheduler.observe(self.now, Event::JobSubmitted(job));
        let before = self.scheduler.snapshot();
        match node_of(&self.scheduler.cycle(self.now)) {
            Some(node) => {
                let after = self.scheduler.snapshot();
                self.standing.allocated += pod.milli();
                self.standing.fragments += after.fragments_on(&node, &self.typical);
                self.standing.fragments -= before.fragments_on(&node, &self.typical);
            }
            None => self.scheduler.observe(self.now, Event::JobWithdrawn(id)),
        }
    }
}

/// Of how many percent of the pods a way to place knows. FGD is as published; Prorata's own
/// profits from knowing the rare ones too, which are those that fit nowhere else.
const fn known_percent(place: Place) -> u64 {
    match place {
        Place::Prorata => 100,
        _ => TYPICAL_PERCENT,
    }
}

/// Where the only job that waited went.
fn node_of(cycle: &Cycle) -> Option<NodeId> {
    cycle.decisions.iter().find_map(|decision| match decision {
        Decision::Admit(_, placement) => Some(placement.slot(0)?.node.clone()),
        Decision::Evict { .. } => None,
    })
}
