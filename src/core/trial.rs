//! Could this job start now, and if not, why not? One set of checks for the tournament and for
//! people, so that an explanation cannot drift from what was decided.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use crate::cluster::Cluster;
use crate::id::JobId;
use crate::job::{Ask, Hold, Kind, Shape};
use crate::node::{NodeState, Spec};
use crate::placement::Bounds;
use crate::policy::Order;
use crate::reason::{Outlook, Reason};
use crate::resource::{Resource, Resources};
use crate::rooms::{Board, Slots};
use crate::standing::JobState;
use crate::survey::{possible, short, survey};
use crate::tenant::Tenant;
use crate::time::Time;
use crate::tree::Seat;

/// A job that could start now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fit {
    /// What its tenant is charged at most.
    pub(crate) request: Resources,
    pub(crate) bounds: Bounds,
}

/// Where room for a task was found: how many could start, by what each is charged.
pub(crate) type Found = BTreeMap<u64, Slots>;

/// Whether a job of this kind could start now, with room as it was found. `holder`: it has the
/// reservation.
pub(crate) fn fit(
    cluster: &Cluster,
    seat: Seat,
    kind: &Kind,
    found: &Found,
    now: Time,
    holder: bool,
) -> Option<Fit> {
    let tenant = described(cluster, seat).ok()?;
    fit_of(cluster, (seat, tenant), kind, found, now, holder)
}

/// The same, where its tenant is known to be one that may have jobs.
pub(crate) fn fit_of(
    cluster: &Cluster,
    (seat, tenant): (Seat, &Tenant),
    kind: &Kind,
    found: &Found,
    now: Time,
    holder: bool,
) -> Option<Fit> {
    if kind.hold.is_some() || tenant.exhausted {
        return None;
    }
    let reserved = holder || ends_in_time(cluster, kind, now);
    // Wherever there is room, or only as dear as it must be.
    let (mut cheapest, mut dearest, mut sum) = (None, 0, 0);
    for (charge, slots) in found {
        sum += if reserved { slots.all } else { slots.open };
        if cheapest.is_none() && sum >= u64::from(kind.shape.gang) {
            cheapest = Some(*charge);
        }
        dearest = *charge;
    }
    let cheapest = cheapest?;
    let at_most = |charge_max: u64| {
        let task = kind.shape.task.with(Resource::Gpu, charge_max);
        let request = task.checked_mul(kind.shape.gang)?;
        let allowed = quota(cluster, tenant, seat, kind, &request).is_ok();
        let bounds = Bounds {
            reserved,
            charge_max,
        };
        allowed.then_some(Fit { request, bounds })
    };
    let dear = at_most(dearest);
    dear.or_else(|| at_most(cheapest).filter(|_| cheapest < dearest))
}

/// Whether the job will be gone before the job with the reservation needs its nodes.
fn ends_in_time(cluster: &Cluster, kind: &Kind, now: Time) -> bool {
    let until = cluster
        .reservation
        .as_ref()
        .and_then(|reservation| reservation.until);
    let end = kind.span.map(|span| now + span.at_most());
    until.zip(end).is_some_and(|(until, end)| end <= until)
}

/// Why a job waits.
pub(crate) fn why(cluster: &Cluster, state: &JobState, now: Time) -> Reason {
    let kind = state.job.kind();
    let reason = match refusal(cluster, state, &kind) {
        Err(reason) => reason,
        Ok(seat) => shortage(cluster, seat, state, &kind, now),
    };
    match reason {
        Reason::CapacityFull { gang, best } | Reason::Fragmented { gang, best, .. }
            if cluster.policy.order == Order::Drf
                && cluster.evicted.contains_key(&state.job.id) =>
        {
            Reason::BackoffAfterPreemption { gang, best }
        }
        reason => reason,
    }
}

/// What a waiting job can look forward to: what [`why`] says of it, without a look at what is free.
pub(crate) fn outlook(cluster: &Cluster, state: &JobState) -> Outlook {
    let refused = refusal(cluster, state, &state.job.kind());
    refused.map_or_else(|reason| reason.outlook(), |_| Outlook::Waiting)
}

/// Whether nothing but room stands in the way of a waiting job, whose board this is. It costs no look
/// at the nodes.
pub(crate) fn lacks_only_room(cluster: &Cluster, state: &JobState, board: &Board) -> bool {
    let kind = state.job.kind();
    let gang = u64::from(kind.shape.gang);
    let cheapest = |asked: &Resources| {
        let charge = board.least_charge_when_empty();
        charge.map_or(*asked, |charge| charged(asked, charge, kind.shape.gang))
    };
    let possible = || {
        // Which reason it is counts for nobody here.
        let could = board.slots_when_empty() >= gang;
        could.then_some(()).ok_or(Reason::InvalidRequest)
    };
    checked(cluster, state, &kind, cheapest, possible).is_ok()
}

/// Whether a waiting job comes after all others' that would borrow.
pub(crate) fn is_deferred(cluster: &Cluster, state: &JobState) -> bool {
    let seat = cluster.tree.seat(&state.job.tenant);
    let asked = state.job.kind().shape.request();
    let both = seat.zip(asked);
    both.is_some_and(|(seat, asked)| cluster.tree.defers(seat, &asked, &state.job.task))
}

/// What stands in the way before room is looked for; otherwise, the seat of its tenant.
fn refusal(cluster: &Cluster, state: &JobState, kind: &Kind) -> Result<Seat, Reason> {
    let cheapest = |asked: &Resources| cheapest(cluster, &kind.shape, asked);
    let possible = || possible(cluster, &kind.shape);
    checked(cluster, state, kind, cheapest, possible)
}

/// The same, where it is told what a gang is charged at least, and whether empty nodes could run it.
fn checked(
    cluster: &Cluster,
    state: &JobState,
    kind: &Kind,
    cheapest: impl Fn(&Resources) -> Resources,
    possible: impl Fn() -> Result<(), Reason>,
) -> Result<Seat, Reason> {
    let seat = cluster
        .tree
        .seat(&state.job.tenant)
        .ok_or(Reason::UnknownTenant)?;
    let tenant = described(cluster, seat)?;
    let asked = kind.shape.request().ok_or(Reason::InvalidRequest)?;
    let least = cheapest(&asked);
    ever_allowed(cluster, tenant, seat, kind, &least)?;
    possible()?;
    attainable(cluster, seat, &least)?;
    if tenant.exhausted {
        return Err(Reason::BudgetExhausted);
    }
    held(kind)?;
    quota(cluster, tenant, seat, kind, &least)?;
    Ok(seat)
}

/// The tenant at a seat, if it is one that may have jobs.
pub(crate) fn described(cluster: &Cluster, seat: Seat) -> Result<&Arc<Tenant>, Reason> {
    let state = cluster.tenants.get(cluster.tree.id(seat));
    let spec = state
        .and_then(|state| state.spec.as_ref())
        .ok_or(Reason::UnknownTenant)?;
    if cluster.tree.is_leaf(seat) {
        Ok(spec)
    } else {
        Err(Reason::TenantNotLeaf)
    }
}

fn held(kind: &Kind) -> Result<(), Reason> {
    match kind.hold {
        None => Ok(()),
        Some(Hold::User) => Err(Reason::Suspended),
        Some(Hold::Dependency) => Err(Reason::DependencyGate),
        Some(Hold::Incomplete(present)) => Err(Reason::GangIncomplete {
            gang: kind.shape.gang,
            present,
        }),
    }
}

fn ever_allowed(
    cluster: &Cluster,
    tenant: &Tenant,
    seat: Seat,
    kind: &Kind,
    request: &Resources,
) -> Result<(), Reason> {
    let exceeds = |resource, limit| Reason::ExceedsMaxQuota {
        resource,
        request: request.get(resource),
        limit,
    };
    if let Some((resource, limit)) = cluster.tree.never(seat, request) {
        return Err(exceeds(resource, limit));
    }
    let own = |r: &Resource| counts(cluster, *r) && request.get(*r) > tenant.guaranteed.get(*r);
    match Resource::ALL.into_iter().find(own) {
        Some(r) if !kind.preemptible => Err(exceeds(r, tenant.guaranteed.get(r))),
        _ => Ok(()),
    }
}

/// Whether the cluster offers a resource as a whole: memory of GPUs is counted card by card alone.
fn counts(cluster: &Cluster, resource: Resource) -> bool {
    cluster.capacity.get(resource) > 0
}

/// Whether its tenant could hold as much if nobody else held anything.
fn attainable(cluster: &Cluster, seat: Seat, request: &Resources) -> Result<(), Reason> {
    let potential = cluster.tree.potential(seat);
    let exceeds = |r: &Resource| counts(cluster, *r) && request.get(*r) > potential.get(*r);
    match Resource::ALL.into_iter().find(exceeds) {
        None => Ok(()),
        Some(resource) => Err(Reason::ExceedsMaxQuota {
            resource,
            request: request.get(resource),
            limit: potential.get(resource),
        }),
    }
}

/// Whether its tenant, and those above it, may hold this much more.
pub(crate) fn quota(
    cluster: &Cluster,
    tenant: &Tenant,
    seat: Seat,
    kind: &Kind,
    request: &Resources,
) -> Result<(), Reason> {
    let tree = &cluster.tree;
    let full = |seat: Seat, resource, limit| Reason::QuotaFull {
        tenant: tree.id(seat).clone(),
        resource,
        used: tree.usage(seat).get(resource),
        request: request.get(resource),
        limit,
    };
    if !kind.preemptible {
        let rest = tenant.guaranteed.beyond(tree.usage(seat));
        let short = |r: &Resource| counts(cluster, *r) && request.get(*r) > rest.get(*r);
        if let Some(r) = Resource::ALL.into_iter().find(short) {
            return Err(full(seat, r, tenant.guaranteed.get(r)));
        }
    }
    if let Some(over) = tree.over_limit(seat, request) {
        return Err(full(over.seat, over.resource, over.limit));
    }
    match tree.withheld(seat, request, &cluster.free) {
        None => Ok(()),
        Some((resource, room)) => Err(Reason::Withheld {
            resource,
            request: request.get(resource),
            room,
        }),
    }
}

/// What a gang is charged at least, wherever it goes.
fn cheapest(cluster: &Cluster, shape: &Shape, asked: &Resources) -> Resources {
    let Some(ask) = Ask::of(&shape.task, &shape.needs) else {
        return *asked;
    };
    let charge = |spec: &Spec| {
        let room = &spec.room;
        let others = &shape.needs.others;
        let fits = spec.allows(&shape.needs)
            && room.times(&shape.task, &ask) > 0
            && others.fits_in(&spec.node.others);
        fits.then(|| cluster.policy.charge(room.model(), room.milli_for(&ask)))
    };
    let charges = cluster
        .nodes
        .values()
        .filter_map(NodeState::open)
        .filter_map(charge);
    match charges.min() {
        Some(charge) => charged(asked, charge, shape.gang),
        None => *asked,
    }
}

/// What a gang is charged that asks for this, where each task's GPUs are charged so much.
fn charged(asked: &Resources, charge: u64, gang: u32) -> Resources {
    asked.with(Resource::Gpu, charge.saturating_mul(gang.into()))
}

/// Why there is no room for a job that its tenant may have.
fn shortage(cluster: &Cluster, seat: Seat, state: &JobState, kind: &Kind, now: Time) -> Reason {
    let shape = &kind.shape;
    let holder = is_holder(cluster, &state.job.id);
    let reserved = holder || ends_in_time(cluster, kind, now);
    let survey = survey(cluster, shape, reserved);
    let gang = shape.gang;
    let best = u32::try_from(survey.best.min(gang.into())).unwrap_or(gang);
    if state.nominated.is_some() {
        return Reason::WaitingForPreemption { gang, best };
    }
    if fit(cluster, seat, kind, &survey.found, now, holder).is_some() {
        return Reason::NotYetEvaluated;
    }
    if survey.best >= gang.into() {
        let dear = survey.found.keys().next_back().copied().unwrap_or_default();
        let request = shape
            .task
            .with(Resource::Gpu, dear)
            .checked_mul(gang)
            .unwrap_or_default();
        let tenant = described(cluster, seat);
        let refused = tenant.and_then(|tenant| quota(cluster, tenant, seat, kind, &request));
        return refused.err().unwrap_or(Reason::NotYetEvaluated);
    }
    if survey.unpromised >= gang.into()
        && let Some(ahead) = promised_to(cluster, &state.job.id)
    {
        return behind(cluster, seat, state, ahead);
    }
    if let Some(short) = short(cluster, shape) {
        return short;
    }
    let request = state.job.milli_gpu();
    if request > 0 && request <= survey.free {
        let free = survey.free;
        return Reason::Fragmented {
            request,
            free,
            gang,
            best,
        };
    }
    Reason::CapacityFull { gang, best }
}

pub(crate) fn is_holder(cluster: &Cluster, job: &JobId) -> bool {
    cluster.reservation.as_ref().is_some_and(|r| r.job == *job)
}

/// The job for which room is kept: that with the reservation, or the first that waits for others
/// to leave.
fn promised_to(cluster: &Cluster, but: &JobId) -> Option<JobId> {
    let reserved = cluster.reservation.as_ref().map(|r| r.job.clone());
    let nominated = || cluster.nominees.iter().find(|id| *id != but).cloned();
    reserved.filter(|job| job != but).or_else(nominated)
}

fn behind(cluster: &Cluster, seat: Seat, state: &JobState, ahead: JobId) -> Reason {
    let theirs = cluster.jobs.get(&ahead).map(|other| &other.job.tenant);
    let asked = state.job.task;
    match theirs
        .filter(|theirs| **theirs != state.job.tenant)
        .and_then(|t| cluster.tree.seat(t))
    {
        None => Reason::BehindHigherPriority { ahead },
        Some(theirs) => Reason::ShareExceeded {
            ahead,
            share: cluster.tree.share_now(seat, &asked),
            theirs: cluster.tree.share_now(theirs, &asked),
        },
    }
}
