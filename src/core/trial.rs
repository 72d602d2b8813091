//! Could this job start now, and if not, why not? One answer for the tournament and for people.

use alloc::vec::Vec;

use crate::cluster::Cluster;
use crate::id::NodeId;
use crate::job::{Kind, Shape};
use crate::node::NodeState;
use crate::placement;
use crate::reason::Reason;
use crate::resource::{Resource, Resources};
use crate::tenant::{Tenant, TenantState};

/// The node of each task of a job of this kind, if it could start now, or the first [`Reason`] against it.
pub(crate) fn attempt(
    cluster: &Cluster,
    tenant: &TenantState,
    kind: &Kind,
) -> Result<Vec<NodeId>, Reason> {
    let Kind { shape, held } = *kind;
    let spec = tenant.spec.as_ref().ok_or(Reason::UnknownTenant)?;
    let request = shape.request().ok_or(Reason::InvalidRequest)?;
    within_limit(spec, &request)?;
    let quota = has_quota(spec, &tenant.usage, &request);
    let placed = cluster.rooms.place(&shape);
    match placed {
        Ok(nodes) if quota.is_ok() && !held => Ok(nodes),
        _ => {
            possible(cluster, &shape)?;
            let held = if held { Err(Reason::Suspended) } else { Ok(()) };
            held.and(quota)?;
            placed.map_err(|shortage| short(cluster, &shape, &request, shortage.best))
        }
    }
}

fn within_limit(tenant: &Tenant, request: &Resources) -> Result<(), Reason> {
    let Some((resource, limit)) = tenant.limit.passed_by(request) else {
        return Ok(());
    };
    Err(Reason::ExceedsMaxQuota {
        resource,
        request: request.get(resource),
        limit,
    })
}

fn has_quota(tenant: &Tenant, usage: &Resources, request: &Resources) -> Result<(), Reason> {
    let with = usage.checked_add(request).ok_or(Reason::InvalidRequest)?;
    // What is not asked for cannot stand in the way, even where the limit has been lowered.
    let asked = |r: Resource| request.get(r) > 0;
    let capped = |r: Resource| Some((r, tenant.limit.get(r)?));
    let mut caps = Resource::ALL
        .into_iter()
        .filter(|r| asked(*r))
        .filter_map(capped);
    let Some((resource, limit)) = caps.find(|(r, limit)| with.get(*r) > *limit) else {
        return Ok(());
    };
    Err(Reason::QuotaFull {
        resource,
        used: usage.get(resource),
        request: request.get(resource),
        limit,
    })
}

/// Whether the nodes could run it if nothing else ran.
fn possible(cluster: &Cluster, shape: &Shape) -> Result<(), Reason> {
    let offers = || cluster.nodes.values().filter_map(NodeState::offer);
    let request = shape.task.get(Resource::Gpu);
    let largest = offers().map(|o| o.get(Resource::Gpu)).max().unwrap_or(0);
    if request > largest {
        return Err(Reason::NoSuchGpu { request, largest });
    }
    let gang = shape.gang;
    match placement::best(shape, offers()) {
        best if best < gang => Err(Reason::ExceedsCapacity { gang, best }),
        _ => Ok(()),
    }
}

fn short(cluster: &Cluster, shape: &Shape, request: &Resources, best: u32) -> Reason {
    let gang = shape.gang;
    let (request, free) = (
        request.get(Resource::Gpu),
        cluster.rooms.total().get(Resource::Gpu),
    );
    if request > 0 && request <= free {
        Reason::Fragmented {
            request,
            free,
            gang,
            best,
        }
    } else {
        Reason::CapacityFull { gang, best }
    }
}
