//! The tree of tenants as administrators describe it: what is wrong with it, and what each tenant
//! is shown to hold. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use prorata_core::resource::Amount;
use prorata_core::{Resource, Resources, Snapshot, Tenant, TenantId};

use crate::api::TenantStatus;
use crate::translate::TenantView;

mod due;

pub use due::{notice, on_the_wall, outlook, reference};

/// Type of the condition that says whether a tenant stands where its administrator put it.
pub const READY: &str = "Ready";

/// Type of the condition that says whether there is as much as the tenants are guaranteed.
pub const COVERED: &str = "GuaranteeCovered";

/// What is wrong with a tenant's place in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody describes its parent.
    UnknownParent(TenantId),
    /// Whoever follows its parents never arrives at the top.
    Circle,
    /// Another has the pool that it claims, and neither is above the other.
    PoolClaimed(TenantId),
    /// Those below it are guaranteed more than it is.
    GuaranteesAbove {
        /// Of which resource.
        resource: Resource,
        /// What it is guaranteed.
        own: u64,
        /// What they are guaranteed together.
        below: u64,
    },
}

impl Fault {
    /// A stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownParent(_) => "UnknownParent",
            Self::Circle => "Circle",
            Self::PoolClaimed(_) => "PoolClaimed",
            Self::GuaranteesAbove { .. } => "GuaranteesAboveParent",
        }
    }

    /// What is wrong, what follows, and what to do about it.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::UnknownParent(parent) => format!(
                "no Tenant is called {parent}, so it stands at the top: describe {parent}, or correct spec.parent"
            ),
            Self::Circle => "its parents form a circle, so it stands at the top: leave out the \
                 parent of one tenant of the circle"
                .to_owned(),
            Self::PoolClaimed(other) => format!(
                "Tenant {other} claims the same spec.compliance.nodePool, so nothing new of either starts \
                 there: name another pool in one of them"
            ),
            Self::GuaranteesAbove {
                resource: r,
                own,
                below,
            } => format!(
                "those below it are guaranteed {} {r} together and it only {}, so theirs counts: \
                 raise its guarantee, or lower theirs",
                Amount(*r, *below),
                Amount(*r, *own)
            ),
        }
    }
}

/// Tenants by name.
pub type Tenants<'a> = BTreeMap<&'a TenantId, &'a Tenant>;

/// What is wrong with the tree, by tenant; the first fault of each.
#[must_use]
pub fn faults(tenants: &Tenants<'_>) -> BTreeMap<TenantId, Fault> {
    let fault = |(id, tenant): (&&TenantId, &&Tenant)| {
        let fault = unknown_parent(tenants, tenant)
            .or_else(|| is_below_itself(tenants, tenant).then_some(Fault::Circle))
            .or_else(|| pool_claimed(tenants, tenant))
            .or_else(|| overpromised(tenants, tenant))?;
        Some(((*id).clone(), fault))
    };
    tenants.iter().filter_map(fault).collect()
}

fn unknown_parent(tenants: &Tenants<'_>, tenant: &Tenant) -> Option<Fault> {
    let parent = tenant.parent.as_ref()?;
    (!tenants.contains_key(parent)).then(|| Fault::UnknownParent(parent.clone()))
}

fn is_below_itself(tenants: &Tenants<'_>, tenant: &Tenant) -> bool {
    above(tenants, tenant).take(tenants.len() + 1).count() > tenants.len()
}

/// The tenants above one, from its parent on; for ever where they form a circle.
fn above<'a>(tenants: &Tenants<'a>, tenant: &Tenant) -> impl Iterator<Item = &'a Tenant> {
    let parent = |tenant: &Tenant| tenants.get(tenant.parent.as_ref()?).copied();
    std::iter::successors(parent(tenant), move |tenant| parent(tenant))
}

fn pool_claimed(tenants: &Tenants<'_>, tenant: &Tenant) -> Option<Fault> {
    let pool = tenant.pool.as_ref()?;
    let is_below = |tenant: &Tenant, other: &Tenant| {
        let mut above = above(tenants, tenant).take(tenants.len());
        above.any(|above| above.id == other.id)
    };
    let rival = tenants.values().find(|other| {
        let claims = other.pool.as_ref() == Some(pool) && other.id != tenant.id;
        claims && !is_below(other, tenant) && !is_below(tenant, other)
    })?;
    Some(Fault::PoolClaimed(rival.id.clone()))
}

fn overpromised(tenants: &Tenants<'_>, tenant: &Tenant) -> Option<Fault> {
    let below = guaranteed_below(tenants, &tenant.id);
    let is_less = |r: &Resource| (1..below.get(*r)).contains(&tenant.guaranteed.get(*r));
    let resource = Resource::ALL.into_iter().find(is_less)?;
    Some(Fault::GuaranteesAbove {
        resource,
        own: tenant.guaranteed.get(resource),
        below: below.get(resource),
    })
}

/// What those right below a tenant are guaranteed together.
fn guaranteed_below(tenants: &Tenants<'_>, parent: &TenantId) -> Resources {
    let children = tenants
        .values()
        .filter(|tenant| tenant.parent.as_ref() == Some(parent));
    children.fold(Resources::ZERO, |sum, child| {
        sum.checked_add(&child.guaranteed).unwrap_or(sum)
    })
}

/// What the status of each tenant is to show. `now` is when conditions change that do.
#[must_use]
pub fn statuses(
    views: &BTreeMap<TenantId, TenantView>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> BTreeMap<TenantId, TenantStatus> {
    let understood = views.values().filter_map(|view| view.tenant.as_ref().ok());
    let tenants: Tenants<'_> = understood.map(|tenant| (&tenant.id, tenant)).collect();
    let faults = faults(&tenants);
    let to_come = due::to_come(views, now);
    let held = held(&tenants, snapshot);
    let short = shortage(&tenants, &faults, snapshot);
    let status = |(id, view): (&TenantId, &TenantView)| {
        let held = held.get(id).copied().unwrap_or_default();
        let mut conditions = vec![ready(view, faults.get(id), to_come.get(id))];
        let tenant = view.tenant.as_ref().ok();
        if tenant.is_some_and(|tenant| !tenant.guaranteed.is_zero()) {
            conditions.push(covered(short.as_deref()));
        }
        for condition in &mut conditions {
            condition.observed_generation = Some(view.generation);
            condition.last_transition_time = Time(since(condition, view, now));
        }
        // Others of ours write conditions too, and a merge replaces the list.
        let own = |shown: &&Condition| ![READY, COVERED].contains(&shown.type_.as_str());
        conditions.extend(view.status.conditions.iter().filter(own).cloned());
        let borrowed = snapshot.borrowed(id).unwrap_or_default();
        let guaranteed = tenant.map_or(Resources::ZERO, |tenant| {
            let below = guaranteed_below(&tenants, id);
            let more = |all: Resources, r| all.with(r, below.get(r).max(tenant.guaranteed.get(r)));
            Resource::ALL.into_iter().fold(Resources::ZERO, more)
        });
        let status = TenantStatus {
            observed_generation: Some(view.generation),
            used: amounts(&held.used),
            guaranteed: amounts(&guaranteed),
            borrowed: amounts(&borrowed),
            share: snapshot.share(id).map(|share| match share.per_mille() {
                Some(n) => format!("{}.{:03}", n / 1000, n % 1000),
                None => "∞".to_owned(),
            }),
            running: held.running,
            waiting: held.waiting,
            in_force: view
                .terms
                .as_ref()
                .ok()
                .and_then(|terms| due::in_force(terms, now)),
            conditions,
        };
        (id.clone(), status)
    };
    views.iter().map(status).collect()
}

/// What a tenant and all below it hold.
#[derive(Clone, Copy, Default)]
struct Held {
    used: Resources,
    running: u32,
    waiting: u32,
}

impl Held {
    fn add(&mut self, other: &Self) {
        self.used = self.used.checked_add(&other.used).unwrap_or(self.used);
        self.running += other.running;
        self.waiting += other.waiting;
    }
}

fn held(tenants: &Tenants<'_>, snapshot: &Snapshot) -> BTreeMap<TenantId, Held> {
    let mut own: BTreeMap<TenantId, Held> = BTreeMap::new();
    for id in tenants.keys() {
        own.entry((*id).clone()).or_default().used = snapshot.usage(id);
    }
    for job in snapshot.jobs() {
        if let Some(held) = own.get_mut(&job.tenant) {
            match snapshot.holds_places(&job.id) {
                true => held.running += 1,
                false => held.waiting += 1,
            }
        }
    }
    let mut all = own.clone();
    for (id, held) in &own {
        let mut passed = BTreeSet::from([id]);
        for tenant in above(tenants, tenants[id]) {
            if !passed.insert(&tenant.id) {
                break;
            }
            if let Some(sum) = all.get_mut(&tenant.id) {
                sum.add(held);
            }
        }
    }
    all
}

/// Of which resource the nodes have less than all tenants are guaranteed, as a sentence.
fn shortage(
    tenants: &Tenants<'_>,
    faults: &BTreeMap<TenantId, Fault>,
    snapshot: &Snapshot,
) -> Option<String> {
    let stands_at_the_top = |tenant: &&&Tenant| {
        let fault = faults.get(&tenant.id);
        let uprooted = matches!(fault, Some(Fault::Circle | Fault::UnknownParent(_)));
        tenant.parent.is_none() || uprooted
    };
    let owned = |tenant: &&Tenant, r| {
        let below = guaranteed_below(tenants, &tenant.id);
        u128::from(tenant.guaranteed.get(r).max(below.get(r)))
    };
    let capacity = snapshot.capacity();
    Resource::ALL.into_iter().find_map(|r| {
        let top = tenants.values().filter(stands_at_the_top);
        let promised: u128 = top.map(|tenant| owned(tenant, r)).sum();
        let promised = u64::try_from(promised).unwrap_or(u64::MAX);
        (promised > capacity.get(r)).then(|| {
            format!(
                "the tenants are guaranteed {} {r} together, and the nodes that take work have {}: \
                 until there are more nodes, or less is guaranteed, not all guarantees can be kept",
                Amount(r, promised),
                Amount(r, capacity.get(r))
            )
        })
    })
}

fn ready(
    view: &TenantView,
    fault: Option<&Fault>,
    to_come: Option<&(Timestamp, Fault)>,
) -> Condition {
    let terms = match &view.terms {
        Ok(terms) => terms,
        Err(wrong) => return condition(READY, "False", "Misread", wrong.clone()),
    };
    match (fault, to_come) {
        (Some(fault), _) => condition(READY, "False", fault.code(), fault.sentence()),
        (None, Some((at, fault))) => {
            let from = on_the_wall(Some(terms), *at);
            let sentence = format!("from {from} on, {}", fault.sentence());
            condition(READY, "False", fault.code(), sentence)
        }
        (None, None) => condition(READY, "True", "Ready", String::new()),
    }
}

fn covered(short: Option<&str>) -> Condition {
    match short {
        Some(short) => condition(COVERED, "False", "CapacityTooSmall", short.to_owned()),
        None => condition(COVERED, "True", "Covered", String::new()),
    }
}

fn condition(kind: &str, status: &str, reason: &str, message: String) -> Condition {
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        observed_generation: None,
    }
}

/// Since when a condition has the status that it has.
fn since(condition: &Condition, view: &TenantView, now: Timestamp) -> Timestamp {
    let shown = &view.status.conditions;
    let same = shown
        .iter()
        .find(|c| c.type_ == condition.type_ && c.status == condition.status);
    same.map_or(now, |shown| shown.last_transition_time.0)
}

/// Every resource, also those of which there is nothing: what a merge does not name stays.
fn amounts(amounts: &Resources) -> BTreeMap<String, String> {
    let shown = [Resource::Gpu, Resource::Cpu, Resource::Memory];
    let text = |r: Resource| (r.name().to_owned(), text(r, amounts.get(r)));
    shown.map(text).into()
}

fn text(resource: Resource, amount: u64) -> String {
    let units = [(30, "Gi"), (20, "Mi"), (10, "Ki")];
    let fits = |(shift, _): &&(u32, &str)| amount > 0 && amount.trailing_zeros() >= *shift;
    match units.iter().find(fits) {
        Some((shift, suffix)) if resource == Resource::Memory => {
            format!("{}{suffix}", amount >> shift)
        }
        _ => Amount(resource, amount).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prorata_core::{Event, Job, JobId, Node, Policy, Scheduler};
    use prorata_simulator::calendar::Terms;

    fn tenant(name: &str, parent: &str, gpus: u64) -> Tenant {
        Tenant {
            parent: (!parent.is_empty()).then(|| parent.into()),
            guaranteed: Resources::gpus(gpus),
            ..Tenant::new(name)
        }
    }

    fn faults_of(tenants: &[Tenant]) -> Vec<(String, &'static str)> {
        let tenants = tenants.iter().map(|tenant| (&tenant.id, tenant)).collect();
        let faults = faults(&tenants);
        faults
            .iter()
            .map(|(id, fault)| (id.to_string(), fault.code()))
            .collect()
    }

    #[test]
    fn a_tree_without_faults_has_none() {
        let tree = [
            tenant("lab", "", 8),
            tenant("a", "lab", 4),
            tenant("b", "lab", 4),
            tenant("free", "", 0),
            tenant("c", "free", 4),
        ];
        assert_eq!(faults_of(&tree), []);
    }

    #[test]
    fn circles_unknown_parents_and_too_much_below_are_found() {
        let tree = [
            tenant("a", "b", 0),
            tenant("b", "a", 0),
            tenant("c", "a", 0),
            tenant("self", "self", 0),
            tenant("lost", "nowhere", 0),
            tenant("lab", "", 4),
            tenant("x", "lab", 3),
            tenant("y", "lab", 2),
        ];
        let found = [
            ("a", "Circle"),
            ("b", "Circle"),
            ("c", "Circle"),
            ("lab", "GuaranteesAboveParent"),
            ("lost", "UnknownParent"),
            ("self", "Circle"),
        ];
        let found = found.map(|(id, code)| (id.to_owned(), code));
        assert_eq!(faults_of(&tree), found);
        let gpus = Fault::GuaranteesAbove {
            resource: Resource::Gpu,
            own: 4000,
            below: 5000,
        };
        assert!(gpus.sentence().contains("5 gpu together and it only 4"));
    }

    #[test]
    fn a_pool_has_one_tenant_with_those_below_it() {
        let with = |name: &str, parent: &str, pool: &str| Tenant {
            pool: Some(pool.into()),
            ..tenant(name, parent, 0)
        };
        let shared = [
            with("clinic", "", "hipaa"),
            tenant("ward", "clinic", 0),
            with("lab", "ward", "hipaa"),
            with("bank", "", "pci"),
        ];
        assert_eq!(faults_of(&shared), []);
        let claimed = [with("clinic", "", "hipaa"), with("other", "", "hipaa")];
        let both = ["clinic", "other"].map(|id| (id.to_owned(), "PoolClaimed"));
        assert_eq!(faults_of(&claimed), both);
    }

    fn view(tenant: Tenant) -> (TenantId, TenantView) {
        let view = TenantView {
            account: crate::translate::Account::default(),
            id: tenant.id.clone(),
            version: 1,
            generation: 3,
            uid: None,
            terms: Ok(Terms::fixed(tenant.clone())),
            tenant: Ok(tenant.clone()),
            classes: None,
            status: TenantStatus::default(),
        };
        (tenant.id, view)
    }

    #[test]
    fn a_status_counts_all_below_and_changes_only_with_what_it_shows() {
        let mut core = Scheduler::new(Policy::default());
        let node = Node {
            allocatable: Resources::gpus(4).with(Resource::Memory, 64 << 30),
            ..Node::new("a")
        };
        let tree = [tenant("lab", "", 6), tenant("red", "lab", 1)];
        let time = prorata_core::Time::ZERO;
        core.observe(time, Event::NodeSeen(node));
        for tenant in &tree {
            core.observe(time, Event::TenantChanged(tenant.clone()));
        }
        for (name, gpus) in [("runs", 3), ("waits", 4)] {
            let id = JobId::new("red", name, name);
            let task = Resources::gpus(gpus).with(Resource::Memory, 2 << 30);
            let job = Job::new(id, "red".into(), 1, task);
            core.observe(time, Event::JobSubmitted(job));
        }
        let _ = core.cycle(time);
        let mut views: BTreeMap<_, _> = tree.into_iter().map(view).collect();
        let now = Timestamp::UNIX_EPOCH;
        let first = statuses(&views, &core.snapshot(), now);
        let red = &first[&TenantId::from("red")];
        assert_eq!((red.running, red.waiting), (1, 1));
        assert_eq!(red.used["gpu"], "3");
        assert_eq!(red.used["memory"], "2Gi");
        assert_eq!(red.borrowed["gpu"], "2");
        let lab = &first[&TenantId::from("lab")];
        assert_eq!((lab.running, lab.used["gpu"].as_str()), (1, "3"));
        let covered = lab.conditions.iter().find(|c| c.type_ == COVERED).unwrap();
        assert_eq!(covered.status, "False");
        assert!(covered.message.contains("guaranteed 6 gpu together"));

        for (id, view) in &mut views {
            view.status = first[id].clone();
        }
        let later = Timestamp::from_second(60).unwrap();
        assert_eq!(statuses(&views, &core.snapshot(), later), first);
    }
}
