//! The places that one job or pod holds, who pays for them, and why they become free.

use std::collections::BTreeSet;
use std::sync::Arc;

use prorata_core::{NodeId, PodId, Resource, Slot, Snapshot, TenantId};
use prorata_ledger::entry::{Held, PlaceId};
use prorata_ledger::record::{End, Payer, Why};

use crate::api::{Admission, labels};
use crate::observed::Observed;
use crate::translate::{self, JobView};

/// The kind of what was admitted by nobody.
const POD: &str = "Pod";

/// A place that is held.
pub(super) struct Place {
    pub(super) id: PlaceId,
    /// How much of a GPU, in thousandths.
    gpu_milli: u64,
    /// Since when, as far as an object says so.
    pub(super) since_ms: Option<u64>,
}

/// The places of a job whose admission is on record, and of a pod that only takes room. Once a start
/// holds places it does until they are free, whatever becomes of its record: `open` are those so far.
pub(super) fn of(
    uid: &str,
    open: &[Arc<Held>],
    observed: &Observed,
    snapshot: &Snapshot,
) -> Vec<Place> {
    let known = |epoch| open.iter().any(|held| held.id.epoch == epoch);
    let mut places = of_job(uid, known, observed, snapshot);
    places.extend(of_pod(uid, observed, snapshot));
    places
}

fn of_job(
    uid: &str,
    known: impl Fn(i64) -> bool,
    observed: &Observed,
    snapshot: &Snapshot,
) -> Vec<Place> {
    let Some(plan) = observed.plan(uid) else {
        return Vec::new();
    };
    let record = observed.record(uid);
    let admission = record.and_then(|record| record.spec.admission.as_ref());
    let is_recorded = admission.is_some_and(|admission| admission.epoch == plan.epoch());
    let since_ms = record.and_then(|record| Some(record.admitted()?.as_millis()));
    let places = snapshot.places(plan.job()).filter(|(_, slot)| slot.gpu > 0);
    let place = |(seat, slot): (u32, &prorata_core::Slot)| Place {
        id: PlaceId {
            job_uid: uid.to_owned(),
            epoch: plan.epoch(),
            seat,
            node: slot.node.to_string(),
        },
        gpu_milli: slot.gpu,
        since_ms,
    };
    match is_recorded || known(plan.epoch()) {
        true => places.map(place).collect(),
        false => Vec::new(),
    }
}

fn of_pod(uid: &str, observed: &Observed, snapshot: &Snapshot) -> Option<Place> {
    let (node, takes) = snapshot.taken_by(&PodId::from(uid))?;
    let gpu_milli = takes.get(Resource::Gpu);
    let pod = observed.pod(uid);
    // Where its job's admission is over and still on record, that was charged for it so far.
    let was_admitted = |job: &str| {
        let record = observed.record(job);
        let is_recorded = record.is_some_and(|record| record.spec.admission.is_some());
        is_recorded && observed.plan(job).is_none()
    };
    let is_left = pod.is_some_and(|pod| pod.job.as_deref().is_some_and(was_admitted));
    let bound = pod.and_then(|pod| pod.bound).filter(|_| !is_left);
    (gpu_milli > 0).then(|| Place {
        id: PlaceId {
            job_uid: uid.to_owned(),
            epoch: 0,
            seat: 0,
            node: node.to_string(),
        },
        gpu_milli,
        since_ms: bound.map(prorata_core::Time::as_millis),
    })
}

/// The places of the admission on record that are free when this process begins to see, with their
/// ends: the job is over, or left before anything was known, or has to leave at once.
pub(super) fn over(
    uid: &str,
    observed: &Observed,
    snapshot: &Snapshot,
    (now_ms, gpu_resource): (u64, &str),
) -> Vec<(Arc<Held>, End)> {
    let Some((view, record)) = observed.job(uid).zip(observed.record(uid)) else {
        return Vec::new();
    };
    let admission = record.spec.admission.as_ref();
    let ran = |admission: &&Admission| !view.has_ended || view.epoch == Some(admission.epoch);
    let since = record.admitted().or(view.begun);
    let (Some(admission), Some(since)) = (admission.filter(ran), since) else {
        return Vec::new();
    };
    let task = translate::task(&record.spec, gpu_resource);
    let gpu_milli = task.map(|task| task.get(Resource::Gpu)).unwrap_or_default();
    let held: BTreeSet<u32> = of_job(uid, |_| false, observed, snapshot)
        .iter()
        .map(|place| place.id.seat)
        .collect();
    let place = |(seat, slot): (u32, &Slot)| {
        let place = Place {
            id: PlaceId {
                job_uid: uid.to_owned(),
                epoch: admission.epoch,
                seat,
                node: slot.node.to_string(),
            },
            gpu_milli: if slot.gpu > 0 { slot.gpu } else { gpu_milli },
            since_ms: None,
        };
        let held = self::held(place, since.as_millis(), observed)?;
        let end = ended(&held, view, (observed, snapshot), now_ms);
        let from_ms = held.from_ms.min(end.at_ms);
        (held.gpu_milli > 0).then(|| (Arc::new(Held { from_ms, ..held }), end))
    };
    let placement = translate::placement(&admission.placement);
    let seats = (0..).zip(placement.slots());
    let free = seats.filter(|(seat, _)| !held.contains(seat));
    free.filter_map(place).collect()
}

/// How a place ended that was free when this process began to see. Who has to leave from then on held
/// it until then.
fn ended(
    held: &Held,
    view: &JobView,
    (observed, snapshot): (&Observed, &Snapshot),
    now_ms: u64,
) -> End {
    let leaver = observed.leaver(&held.id.job_uid);
    let was_seen = leaver.is_some_and(|leaver| leaver.by.is_some());
    let why = match leaver {
        Some(_) => Why::Preempted,
        None => why(held, observed, snapshot),
    };
    let told = view.ended.filter(|_| view.has_ended);
    told.map_or(
        End {
            at_ms: now_ms,
            why,
            estimated: !was_seen,
        },
        |ended| End {
            at_ms: ended.as_millis().min(now_ms),
            why: Why::Finished,
            estimated: false,
        },
    )
}

/// All that the ledger is to say of a place; `None` where its job or pod is gone meanwhile.
pub(super) fn held(place: Place, from_ms: u64, observed: &Observed) -> Option<Held> {
    let node = observed.node(&NodeId::from(place.id.node.as_str()));
    let pool = node.and_then(|node| node.labels.get(labels::NODE_POOL));
    let Object {
        namespace,
        kind,
        name,
        user,
        priority_class,
    } = object(&place.id, observed)?;
    Some(Held {
        from_ms,
        model: node
            .map(|node| node.gpus.model.to_string())
            .unwrap_or_default(),
        pool: pool.map(|pool| pool.to_string()).unwrap_or_default(),
        mode: node
            .map(|node| node.gpus.mode.to_string())
            .unwrap_or_default(),
        gpu_milli: place.gpu_milli,
        payer: Payer {
            namespace: namespace.clone(),
            user,
            ..payer(&namespace, observed)
        },
        kind,
        job: name,
        priority_class,
        id: place.id,
    })
}

/// What of the user's holds a place.
struct Object {
    namespace: String,
    kind: String,
    name: String,
    user: String,
    priority_class: String,
}

impl Object {
    fn of(view: &JobView) -> Self {
        Self {
            namespace: view.id.namespace().to_owned(),
            kind: view.form.kind().to_owned(),
            name: view.id.name().to_owned(),
            user: view.creator.clone().unwrap_or_default(),
            priority_class: view.priority_class.clone().unwrap_or_default(),
        }
    }
}

fn object(id: &PlaceId, observed: &Observed) -> Option<Object> {
    if id.epoch > 0 {
        return observed.job(&id.job_uid).map(Object::of);
    }
    let pod = observed.pod(&id.job_uid)?;
    let owner = pod.job.as_deref().and_then(|owner| observed.job(owner));
    let owner = owner.filter(|owner| owner.id.namespace() == pod.namespace);
    Some(owner.map_or_else(
        || {
            Object {
                namespace: pod.namespace.clone(),
                kind: POD.to_owned(),
                name: pod.name.clone(),
                user: pod
                    .gated
                    .as_ref()
                    .map(|gated| gated.creator.clone())
                    .unwrap_or_default(),
                priority_class: String::new(),
            }
        },
        Object::of,
    ))
}

/// Who pays for what is in a namespace: the team, and its environment where it has some.
fn payer(namespace: &str, observed: &Observed) -> Payer {
    let Some(tenant) = observed.namespaces().get(namespace) else {
        return Payer::default();
    };
    let view = observed.tenants().get(tenant);
    let account = view.map(|view| view.account.clone()).unwrap_or_default();
    let team = account
        .team
        .as_deref()
        .map_or(tenant.clone(), TenantId::from);
    let of_team = observed.tenants().get(&team).map(|view| &view.account);
    let of_team = of_team.cloned().unwrap_or_default();
    let first = |own: Option<String>, teams: Option<String>| own.or(teams).unwrap_or_default();
    Payer {
        tenant: team.to_string(),
        environment: account.environment.unwrap_or_default(),
        cost_center: first(account.cost_center, of_team.cost_center),
        department: first(account.department, of_team.department),
        ..Payer::default()
    }
}

/// Why a place has become free that nobody left for another.
pub(super) fn why(held: &Held, observed: &Observed, snapshot: &Snapshot) -> Why {
    match observed.job(&held.id.job_uid) {
        Some(view) if view.has_ended => Why::Finished,
        Some(view) if view.is_leaving || view.is_held => Why::Withdrawn,
        Some(view) if snapshot.job(&view.id).is_some() => Why::Requeued,
        // Of a pod that ends the API server says what it says of one that is deleted.
        _ if held.id.epoch == 0 || held.kind == POD => Why::Finished,
        None => Why::Withdrawn,
        Some(_) => Why::Unknown,
    }
}
