//! What is to be written for one Tenant. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;
use tracing::warn;

use crate::api::{Tenant, labels};
use crate::tenancy::object::{Kind, Wanted, title};
use crate::tenancy::plan::{Part, Plan, Settings, Wrong};
use crate::tenancy::store::{Key, Store};
use crate::tenancy::{Comparison, Difference};

/// Type of the condition that says whether all that a Tenant wants is there.
pub(super) const PROVISIONED: &str = "Provisioned";

/// What is to be written for one Tenant.
pub(super) struct Work {
    /// Its name.
    pub(super) team: String,
    /// The Tenant, if there still is one.
    pub(super) tenant: Option<Tenant>,
    /// Objects that are missing or not as they are wanted.
    pub(super) writes: Vec<Wanted>,
    /// Objects that are not wanted any more.
    pub(super) removals: Vec<Removal>,
    /// What somebody else changed or took away, in a few words each.
    pub(super) drift: Vec<(Key, String)>,
    /// What is in the way because it is somebody else's, in a few words each.
    pub(super) foreign: Vec<String>,
    /// What the Tenant says when all is done; `None` where it says nothing of the sort.
    pub(super) condition: Option<Condition>,
}

/// An object that is to go, and no later one of its name.
#[derive(Clone, Debug)]
pub(super) struct Removal {
    pub(super) key: Key,
    pub(super) uid: Option<String>,
}

impl Removal {
    fn of((key, object): (&Key, &DynamicObject)) -> Self {
        Self {
            key: key.clone(),
            uid: object.uid(),
        }
    }
}

impl Work {
    /// What there is to do; `None` for nothing.
    pub(super) fn of(team: &str, store: &Store, settings: &Settings) -> Option<Self> {
        let Some(object) = store.tenant(team) else {
            return Self::without_tenant(team, store);
        };
        let tenant: Tenant = match object.clone().try_parse() {
            Ok(tenant) => tenant,
            Err(error) => {
                warn!(tenant = team, %error, "a Tenant cannot be read");
                return None;
            }
        };
        let left = store.left(team);
        if tenant.spec.environments.is_empty() && left.is_empty() {
            return None;
        }
        let uid = object.metadata.uid.as_deref();
        let work = match Plan::new((team, uid), &tenant.spec, &left, settings) {
            Ok(plan) => Self::for_plan(team, tenant, &plan, store),
            Err(wrong) => Self::refused(team, tenant, &wrong),
        };
        work.is_some().then_some(work)
    }

    /// Nobody gets into what is left of a Tenant that is gone. Its data stay, as they were bounded.
    fn without_tenant(team: &str, store: &Store) -> Option<Self> {
        let bindings = store
            .of_team(team)
            .filter(|((kind, ..), _)| *kind == Kind::RoleBinding);
        let work = Self {
            removals: bindings.map(Removal::of).collect(),
            ..Self::nothing(team, None)
        };
        work.is_some().then_some(work)
    }

    fn refused(team: &str, tenant: Tenant, wrong: &[Wrong]) -> Self {
        let texts: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        let condition = condition(&tenant, "False", "Misread", texts.join("; "));
        Self {
            condition,
            ..Self::nothing(team, Some(tenant))
        }
    }

    fn for_plan(team: &str, tenant: Tenant, plan: &Plan, store: &Store) -> Self {
        let Comparison {
            missing,
            changed,
            foreign,
            unwanted,
            ..
        } = Comparison::new(team, plan, store);
        let mut drift = Vec::new();
        if is_provisioned(&tenant) {
            drift.extend(
                missing
                    .iter()
                    .map(|object| (object.key(), format!("{} was deleted", object.title()))),
            );
        }
        drift.extend(
            changed
                .iter()
                .filter_map(|(object, differences)| changed_by_others(object, differences, store)),
        );
        let foreign: Vec<String> = foreign.iter().map(in_the_way).collect();
        let condition = match foreign.is_empty() {
            true => condition(&tenant, "True", "Provisioned", sentence(plan)),
            false => condition(&tenant, "False", "Refused", foreign.join("; ")),
        };
        Self {
            writes: missing
                .into_iter()
                .chain(changed.into_iter().map(|(object, _)| object))
                .collect(),
            removals: store
                .of_team(team)
                .filter(|(key, _)| unwanted.contains(key))
                .map(Removal::of)
                .collect(),
            drift,
            foreign,
            condition,
            ..Self::nothing(team, Some(tenant))
        }
    }

    fn nothing(team: &str, tenant: Option<Tenant>) -> Self {
        Self {
            team: team.to_owned(),
            tenant,
            writes: Vec::new(),
            removals: Vec::new(),
            drift: Vec::new(),
            foreign: Vec::new(),
            condition: None,
        }
    }

    fn is_some(&self) -> bool {
        !(self.writes.is_empty() && self.removals.is_empty() && self.foreign.is_empty())
            || self.condition.is_some()
    }
}

/// What somebody else did to an object that had been written as it is wanted.
fn changed_by_others(
    wanted: &Wanted,
    differences: &[Difference],
    store: &Store,
) -> Option<(Key, String)> {
    let written = store.find(wanted)?.annotations().get(labels::PLAN);
    let first = differences.first()?;
    let by_others = written.is_some_and(|plan| plan == wanted.fingerprint());
    let told = format!("{} was changed ({})", wanted.title(), first.path);
    by_others.then(|| (wanted.key(), told))
}

/// Whether all was there that the Tenant as it is now wants.
fn is_provisioned(tenant: &Tenant) -> bool {
    shown(tenant).is_some_and(|shown| {
        shown.status == "True" && shown.observed_generation == tenant.metadata.generation
    })
}

fn shown(tenant: &Tenant) -> Option<&Condition> {
    let conditions = &tenant.status.as_ref()?.conditions;
    conditions.iter().find(|shown| shown.type_ == PROVISIONED)
}

fn in_the_way(wanted: &Wanted) -> String {
    let remedy = match wanted.kind {
        Kind::Tenant => "call the environment otherwise, or the other Tenant",
        Kind::Namespace => "name another in spec.environments[].namespace",
        _ => "delete it, or give it its labels back",
    };
    format!("{} is not this Tenant's: {remedy}", wanted.title())
}

fn sentence(plan: &Plan) -> String {
    let names = |is_left, is_moved| {
        let of_kind = |part: &&Part| (part.is_left, plan.is_moved(part)) == (is_left, is_moved);
        let parts = plan.parts.iter().filter(of_kind);
        let names: Vec<&str> = parts.map(|part| part.namespace.as_str()).collect();
        names.join(", ")
    };
    let (open, left, moved) = (names(false, false), names(true, false), names(true, true));
    let open = if open.is_empty() {
        open
    } else {
        format!("in {open}")
    };
    let left = match left.is_empty() {
        true => left,
        false => format!(
            "{left} is of no environment any more: it is kept, and starts nothing on GPUs; delete it when its data \
             are not needed"
        ),
    };
    let moved = match moved.is_empty() {
        true => moved,
        false => format!(
            "{moved} is of an environment that has another namespace now: it is kept, and draws on that one's share; \
             delete it when its data are not needed"
        ),
    };
    let parts = [open, left, moved];
    let parts: Vec<String> = parts.into_iter().filter(|text| !text.is_empty()).collect();
    match parts.is_empty() {
        true => "no environment".to_owned(),
        false => parts.join("; "),
    }
}

/// The condition, if the Tenant does not show it yet.
pub(super) fn condition(
    tenant: &Tenant,
    status: &str,
    reason: &str,
    message: String,
) -> Option<Condition> {
    let shown = shown(tenant);
    let generation = tenant.metadata.generation;
    let is_same = |shown: &Condition| {
        (
            shown.status.as_str(),
            shown.reason.as_str(),
            &shown.message,
            shown.observed_generation,
        ) == (status, reason, &message, generation)
    };
    if shown.is_some_and(is_same) {
        return None;
    }
    let since = shown.filter(|shown| shown.status == status);
    Some(Condition {
        type_: PROVISIONED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: since.map_or_else(
            || Time(Timestamp::now()),
            |s| s.last_transition_time.clone(),
        ),
        observed_generation: generation,
    })
}

/// `Kind namespace/name` of an object that is not wanted.
pub(super) fn title_of(key: &Key) -> String {
    title(key.0, key.1.as_deref(), &key.2)
}
