//! What is due to tenants over time: what is shown and told of it, and what will be wrong. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::tz::TimeZone;
use prorata_core::{Limits, Resource, Resources, Tenant, TenantId, Weight};
use prorata_simulator::calendar::Terms;

use super::{Fault, Tenants, amounts, overpromised, text};
use crate::api::{GROUP, InForce};
use crate::effects::Notice;
use crate::translate::TenantView;

/// As many moments of a family are looked at.
const MOMENTS_MAX: usize = 1024;

/// What is due now; nothing where that never changes.
pub(super) fn in_force(terms: &Terms, now: Timestamp) -> Option<InForce> {
    (!terms.is_fixed()).then(|| {
        let tenant = terms.at(now);
        InForce {
            names: terms.in_force(now).into_iter().map(str::to_owned).collect(),
            weight: weight(tenant.weight),
            guaranteed: amounts(&tenant.guaranteed),
            lending_limit: caps(&tenant.lending_limit),
            limit: caps(&tenant.limit),
            until: terms.next_change(now).map(|at| at.to_string()),
        }
    })
}

fn caps(limits: &Limits) -> BTreeMap<String, String> {
    let shown = [Resource::Gpu, Resource::Cpu, Resource::Memory];
    let cap = |r: Resource| Some((r.name().to_owned(), text(r, limits.get(r)?)));
    shown.into_iter().filter_map(cap).collect()
}

fn weight(weight: Weight) -> String {
    match weight.denominator() {
        1 => weight.numerator().to_string(),
        below => format!("{}/{below}", weight.numerator()),
    }
}

/// What is told of a tenant when something else is due than what was shown of it last: which hours and
/// grants have begun or ended, and what follows.
#[must_use]
pub fn notice(
    view: &TenantView,
    before: Option<&InForce>,
    after: Option<&InForce>,
) -> Option<Notice> {
    let names = |of: Option<&InForce>| -> BTreeSet<String> {
        of.into_iter()
            .flat_map(|of| of.names.iter().cloned())
            .collect()
    };
    let (ended, began) = (names(before), names(after));
    let told = |names: &BTreeSet<String>, but: &BTreeSet<String>, verb: &str| {
        let names = names.difference(but);
        names
            .map(|name| format!("{name} {verb}"))
            .collect::<Vec<_>>()
    };
    let mut said = told(&ended, &began, "ended");
    said.extend(told(&began, &ended, "began"));
    if said.is_empty() {
        return None;
    }
    let base = view.terms.as_ref().ok().map(|terms| shown(&terms.base));
    let now = view.tenant.as_ref().ok().map(shown);
    let (before, now) = (before.or(base.as_ref()), after.or(now.as_ref()));
    let mut message = said.join("; ");
    if let Some((before, now)) = before.zip(now) {
        let changes = changes(before, now);
        if !changes.is_empty() {
            message = format!("{message}: {}", changes.join(", "));
        }
    }
    let until = after.and_then(|after| after.until.as_ref()?.parse::<Timestamp>().ok());
    if let Some(until) = until {
        message = format!(
            "{message}, until {}",
            on_the_wall(view.terms.as_ref().ok(), until)
        );
    }
    let reason = "TermsChanged".to_owned();
    Some(Notice { reason, message })
}

/// A tenant as it is shown.
fn shown(tenant: &Tenant) -> InForce {
    InForce {
        weight: weight(tenant.weight),
        guaranteed: amounts(&tenant.guaranteed),
        lending_limit: caps(&tenant.lending_limit),
        limit: caps(&tenant.limit),
        ..InForce::default()
    }
}

/// What differs, such as `guaranteed gpu 16 → 32`.
fn changes(before: &InForce, after: &InForce) -> Vec<String> {
    let mut changes = Vec::new();
    if before.weight != after.weight {
        changes.push(format!("weight {} → {}", before.weight, after.weight));
    }
    for (name, before, after) in [
        ("guaranteed", &before.guaranteed, &after.guaranteed),
        ("lendingLimit", &before.lending_limit, &after.lending_limit),
        ("limit", &before.limit, &after.limit),
    ] {
        let resources: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for resource in resources {
            let of = |amounts: &BTreeMap<String, String>| {
                amounts
                    .get(resource)
                    .map_or_else(|| "none".to_owned(), Clone::clone)
            };
            let (before, after) = (of(before), of(after));
            if before != after {
                changes.push(format!("{name} {resource} {before} → {after}"));
            }
        }
    }
    changes
}

/// A moment by the clock that the tenant's hours go by, such as `2026-05-02 08:00 Europe/Berlin`.
#[must_use]
pub fn on_the_wall(terms: Option<&Terms>, at: Timestamp) -> String {
    let zone = terms.and_then(|terms| terms.hours.first());
    let zone = zone.map_or(TimeZone::UTC, |hours| hours.zone.clone());
    let name = zone.iana_name().unwrap_or("UTC").to_owned();
    let local = zone.to_datetime(at);
    match local.second() {
        0 => format!("{} {name}", local.strftime("%Y-%m-%d %H:%M")),
        _ => format!("{} {name}", local.strftime("%Y-%m-%d %H:%M:%S")),
    }
}

/// What an Event about a tenant is about.
#[must_use]
pub fn reference(view: &TenantView) -> ObjectReference {
    ObjectReference {
        api_version: Some(format!("{GROUP}/v1alpha1")),
        kind: Some("Tenant".to_owned()),
        name: Some(view.id.to_string()),
        uid: view.uid.clone(),
        ..ObjectReference::default()
    }
}

/// Parents who will be guaranteed less than those right below them, from when on. What environments
/// are due is their tenants' split at every moment, so it is nothing to look at.
pub(super) fn to_come(
    views: &BTreeMap<TenantId, TenantView>,
    now: Timestamp,
) -> BTreeMap<TenantId, (Timestamp, Fault)> {
    let mut families: BTreeMap<&TenantId, Vec<&TenantView>> = BTreeMap::new();
    for view in views.values() {
        if let Some(parent) = view
            .terms
            .as_ref()
            .ok()
            .and_then(|terms| terms.base.parent.as_ref())
        {
            families.entry(parent).or_default().push(view);
        }
    }
    let fault = |(parent, children): (&TenantId, Vec<&TenantView>)| {
        let is_environment =
            |child: &&TenantView| child.account.team.as_deref() == Some(parent.as_str());
        if children.iter().all(is_environment) {
            return None;
        }
        let parent = views.get(parent)?;
        let family: Option<Vec<&Terms>> = std::iter::once(parent)
            .chain(children)
            .map(|view| view.terms.as_ref().ok())
            .collect();
        Some((parent.id.clone(), of_family(&family?, now)?))
    };
    families.into_iter().filter_map(fault).collect()
}

/// The first moment at which a tenant is guaranteed less than those below it. It is the first.
fn of_family(family: &[&Terms], now: Timestamp) -> Option<(Timestamp, Fault)> {
    let moments: BTreeSet<Timestamp> = family.iter().flat_map(|terms| terms.moments(now)).collect();
    moments.into_iter().take(MOMENTS_MAX).find_map(|at| {
        let then: Vec<Tenant> = family.iter().map(|terms| terms.at(at)).collect();
        let tenants: Tenants<'_> = then.iter().map(|tenant| (&tenant.id, tenant)).collect();
        Some((at, overpromised(&tenants, then.first()?)?))
    })
}

/// What is due next and from when on, for people: `2026-05-01 20:00 UTC: 24 gpu guaranteed (night)`.
#[must_use]
pub fn outlook(terms: &Terms, now: Timestamp, lines: usize) -> Vec<String> {
    let mut told = Vec::new();
    let mut at = now;
    while told.len() < lines {
        let tenant = terms.at(at);
        let names = terms.in_force(at);
        let why = match names.is_empty() {
            true => "as usual".to_owned(),
            false => names.join(", "),
        };
        let when = match told.is_empty() {
            true => "now".to_owned(),
            false => on_the_wall(Some(terms), at),
        };
        told.push(format!("{when}: {} ({why})", due(&tenant)));
        let Some(next) = terms.next_change(at) else {
            break;
        };
        at = next;
    }
    told
}

fn due(tenant: &Tenant) -> String {
    let list = |amounts: &mut dyn Iterator<Item = (Resource, u64)>| {
        let text = |(r, amount): (Resource, u64)| format!("{} {}", text(r, amount), r.name());
        amounts.map(text).collect::<Vec<_>>().join(", ")
    };
    let owned = |owned: &Resources| list(&mut owned.iter().filter(|(_, amount)| *amount > 0));
    let caps = Resource::ALL.into_iter();
    let limit = list(&mut caps.filter_map(|r| Some((r, tenant.limit.get(r)?))));
    let mut parts = Vec::new();
    let guaranteed = owned(&tenant.guaranteed);
    if !guaranteed.is_empty() {
        parts.push(format!("{guaranteed} guaranteed"));
    }
    if !limit.is_empty() {
        parts.push(format!("at most {limit}"));
    }
    if tenant.weight != Weight::ONE {
        parts.push(format!("weight {}", weight(tenant.weight)));
    }
    match parts.is_empty() {
        true => "nothing guaranteed".to_owned(),
        false => parts.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api;
    use serde_json::{Value, json};

    fn view(name: &str, spec: &Value) -> TenantView {
        let object = json!({
            "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name}, "spec": spec,
        });
        let object: api::Tenant = serde_json::from_value(object).unwrap();
        TenantView::new(&object)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn night(owned: u64) -> Value {
        json!([{
            "name": "night", "from": "20:00", "to": "08:00", "timeZone": "Europe/Berlin", "guaranteed": {"gpu": owned},
        }])
    }

    #[test]
    fn a_night_is_shown_and_told() {
        let mut red = view(
            "red",
            &json!({"guaranteed": {"gpu": 16}, "schedules": night(32)}),
        );
        let terms = red.terms.clone().unwrap();
        let day = in_force(&terms, at("2026-05-01T12:00:00Z"));
        let evening = at("2026-05-01T18:00:00Z");
        let night = in_force(&terms, evening).unwrap();
        assert_eq!(night.names, ["night"]);
        assert_eq!(night.guaranteed["gpu"], "32");
        assert_eq!(night.until.as_deref(), Some("2026-05-02T06:00:00Z"));
        red.bring_to(evening);
        let told = notice(&red, day.as_ref(), Some(&night)).unwrap();
        assert_eq!(told.reason, "TermsChanged");
        assert_eq!(
            told.message,
            "night began: guaranteed gpu 16 → 32, until 2026-05-02 08:00 Europe/Berlin"
        );
        let ended = notice(&red, Some(&night), day.as_ref()).unwrap();
        let wanted = "night ended: guaranteed gpu 32 → 16, until 2026-05-01 20:00 Europe/Berlin";
        assert_eq!(ended.message, wanted);
        assert_eq!(notice(&red, Some(&night), Some(&night)), None);
        // Whoever was never shown before is told what has begun, and nothing where nothing has.
        assert!(
            notice(&red, None, Some(&night))
                .unwrap()
                .message
                .contains("16 → 32")
        );
        assert_eq!(notice(&red, None, day.as_ref()), None);
        // The schedule is taken out.
        red = view("red", &json!({"guaranteed": {"gpu": 16}}));
        let gone = notice(&red, Some(&night), None).unwrap();
        assert_eq!(gone.message, "night ended: guaranteed gpu 32 → 16");
    }

    #[test]
    fn what_never_changes_is_not_shown() {
        let view = view("red", &json!({"guaranteed": {"gpu": 16}}));
        assert_eq!(in_force(&view.terms.unwrap(), Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn a_parent_that_will_own_less_than_its_children_is_found() {
        let family = |owned: u64| {
            let child =
                json!({"parent": "lab", "guaranteed": {"gpu": 4}, "schedules": night(owned)});
            let all = [
                view("lab", &json!({"guaranteed": {"gpu": 8}})),
                view("red", &child),
            ];
            let all = all.into_iter().map(|view| (view.id.clone(), view));
            to_come(&all.collect(), at("2026-05-01T12:00:00Z"))
        };
        assert_eq!(family(8), BTreeMap::new());
        let found = &family(9)[&TenantId::from("lab")];
        assert_eq!(found.0, at("2026-05-01T18:00:00Z"));
        assert_eq!(found.1.code(), "GuaranteesAboveParent");
    }

    #[test]
    fn the_outlook_goes_on_from_now() {
        let spec = json!({"guaranteed": {"gpu": 16}, "limit": {"gpu": 40}, "schedules": night(32)});
        let terms = view("red", &spec).terms.unwrap();
        assert_eq!(
            outlook(&terms, at("2026-05-01T12:00:00Z"), 3),
            [
                "now: 16 gpu guaranteed, at most 40 gpu (as usual)",
                "2026-05-01 20:00 Europe/Berlin: 32 gpu guaranteed, at most 40 gpu (night)",
                "2026-05-02 08:00 Europe/Berlin: 16 gpu guaranteed, at most 40 gpu (as usual)",
            ]
        );
    }
}
