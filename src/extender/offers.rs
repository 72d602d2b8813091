//! Pods that are not the queue's, and the nodes that each was told it may take.
//!
//! kube-scheduler says which node it chose only by binding the pod, and asks about the next pod
//! before that. On a node where places are planned whose pods are still to come, it would see room
//! that is neither its to give nor ours. There, a pod that may be on its way counts as if it were
//! bound, until it is seen or long enough has passed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use prorata_core::job::Shape;
use prorata_core::{NodeId, PodId, Resource};
use tokio::time::Instant;

use super::BOUND_WITHIN;
use crate::view::View;

/// Pods that are remembered; the oldest is forgotten first.
const PODS_MAX: usize = 256;

/// Pods that may be on their way.
#[derive(Debug, Default)]
pub struct Offers(Mutex<VecDeque<Offer>>);

#[derive(Debug)]
struct Offer {
    pod: PodId,
    shape: Shape,
    nodes: Vec<NodeId>,
    at: Instant,
}

impl Offers {
    /// Milli-GPUs that other pods may be about to take, on the nodes with places that are still to
    /// be filled.
    pub fn pending(&self, view: &View, pod: &str, now: Instant) -> BTreeMap<NodeId, u64> {
        let mut offers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        offers.retain(|offer| {
            now.duration_since(offer.at) < BOUND_WITHIN && !view.snapshot.counts(&offer.pod)
        });
        let mut pending = BTreeMap::new();
        if offers.iter().all(|offer| offer.pod.as_str() == pod) {
            return pending;
        }
        let plans = view.plans.values().filter(|plan| !plan.is_full());
        let open = plans.flat_map(|plan| {
            let seats = (0..plan.seats()).filter(|seat| !plan.is_taken(*seat));
            seats.filter_map(|seat| plan.node(seat))
        });
        pending.extend(open.map(|node| (node.clone(), 0)));
        for offer in offers.iter().filter(|offer| offer.pod.as_str() != pod) {
            for node in &offer.nodes {
                if let Some(taken) = pending.get_mut(node) {
                    let milli = view.snapshot.milli_on(node, &offer.shape);
                    *taken = taken.saturating_add(milli);
                }
            }
        }
        pending
    }

    /// The pod was told that it may take any of these.
    pub fn told<'a>(
        &self,
        pod: &str,
        shape: &Shape,
        nodes: impl Iterator<Item = &'a str>,
        now: Instant,
    ) {
        let nodes: Vec<NodeId> = nodes.map(NodeId::from).collect();
        let mut offers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        offers.retain(|offer| offer.pod.as_str() != pod);
        if nodes.is_empty() || shape.task.get(Resource::Gpu) == 0 {
            return;
        }
        while offers.len() >= PODS_MAX {
            offers.pop_front();
        }
        offers.push_back(Offer {
            pod: PodId::from(pod),
            shape: shape.clone(),
            nodes,
            at: now,
        });
    }
}
