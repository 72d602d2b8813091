//! Room that is promised to a job, while those that were evicted for it are still leaving.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::cluster::Cluster;
use crate::id::NodeId;
use crate::job::{Job, Placement, Slot};

/// Whether a promise can still come true: its tenant may hold it, its nodes take work of this
/// kind, and somebody is still leaving or its places are free.
pub(crate) fn is_possible(cluster: &Cluster, job: &Job, placement: &Placement) -> bool {
    let tree = &cluster.tree;
    let tenant = cluster.tenants.get(&job.tenant);
    let spec = tenant.and_then(|tenant| tenant.spec.as_ref());
    let open = spec.is_some_and(|spec| !spec.exhausted);
    let seat = tree.seat(&job.tenant);
    let allowed = seat.is_some_and(|seat| !tree.is_over_limit(seat, &job.task));
    let suits = placement.slots().all(|slot| {
        let node = cluster.nodes.get(&slot.node);
        let spec = node.and_then(|node| node.open());
        spec.is_some_and(|spec| spec.allows(&job.needs))
    });
    let comes_free = !cluster.leaving.is_empty() || is_free(cluster, job, placement);
    open && allowed && suits && comes_free
}

/// Whether all places of a promise are free.
pub(crate) fn is_free(cluster: &Cluster, job: &Job, placement: &Placement) -> bool {
    let mut on: BTreeMap<&NodeId, Vec<&Slot>> = BTreeMap::new();
    for slot in placement.slots() {
        on.entry(&slot.node).or_default().push(slot);
    }
    on.into_iter().all(|(node, slots)| {
        let node = cluster.nodes.get(node);
        node.is_some_and(|node| node.can_hold(job, &slots))
    })
}
