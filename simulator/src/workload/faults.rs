//! Nodes that fail: as the scenario says, and as their pools' mean time between failures draws it.

use std::time::Duration;

use prorata_core::{NodeId, Time};
use rand_distr::{Distribution, Exp1};

use super::generator::{generator, scaled};
use crate::scenario::{Pool, Scenario};

/// A node is not there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// From when.
    pub at: Time,
    /// Which.
    pub node: NodeId,
    /// Until when; `None`: for good.
    pub until: Option<Time>,
}

/// How often the nodes of a pool fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures {
    /// The mean time that a node is up between two failures; exponential.
    pub mtbf: Duration,
    /// How long it is then away.
    pub repair: Duration,
}

/// All faults of a scenario, by time and then by node. Those of one node do not overlap. Failures
/// are drawn up to the scenario's `until`; a checked scenario that has any says one.
#[must_use]
pub fn faults(scenario: &Scenario, seed: u64) -> Vec<Fault> {
    let end = Time::ZERO + scenario.until.unwrap_or_default();
    let drawn = scenario
        .pools
        .iter()
        .flat_map(|pool| failures(pool, seed, end));
    let mut faults: Vec<Fault> = scenario.faults.iter().cloned().chain(drawn).collect();
    faults.sort_by(|a, b| (&a.node, a.at).cmp(&(&b.node, b.at)));
    faults.dedup_by(|later, earlier| joined(earlier, later));
    faults.sort();
    faults
}

fn failures(pool: &Pool, seed: u64, end: Time) -> Vec<Fault> {
    let Some(Failures { mtbf, repair }) = pool.failures else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    for node in pool.nodes() {
        let mut random = generator(seed, &["failures", node.id.as_str()]);
        let mut up = Time::ZERO;
        loop {
            let span: f64 = Exp1.sample(&mut random);
            let at = up + scaled(mtbf, span);
            if at >= end {
                break;
            }
            up = at + repair;
            faults.push(Fault {
                at,
                node: node.id.clone(),
                until: Some(up),
            });
        }
    }
    faults
}

/// Whether the later fault begins before the earlier is over; that one then ends with both.
fn joined(earlier: &mut Fault, later: &Fault) -> bool {
    let overlap = earlier.node == later.node && earlier.until.is_none_or(|until| later.at <= until);
    if overlap {
        earlier.until = earlier.until.zip(later.until).map(|(a, b)| a.max(b));
    }
    overlap
}
