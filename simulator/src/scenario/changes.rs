//! What of a tenant's shares changes over time: the schedules and grants of a `Tenant` object.

use prorata_core::{Limits, Resource, Resources, Tenant};
use serde::Deserialize;

use super::fields::Fields;
use super::file::Amounts;
use super::written::{Text, Written};
use crate::calendar::{Change, Grant, Hours, Terms, moment, overlap};
use crate::split::parted;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScheduleText {
    name: Text,
    #[serde(default)]
    days: Vec<Text>,
    from: Option<Text>,
    to: Option<Text>,
    time_zone: Option<Text>,
    weight: Option<Text>,
    guaranteed: Option<Written<Amounts>>,
    lending_limit: Option<Written<Amounts>>,
    limit: Option<Written<Amounts>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GrantText {
    name: Text,
    from: Option<Text>,
    until: Text,
    weight: Option<Text>,
    guaranteed: Option<Written<Amounts>>,
    limit: Option<Written<Amounts>>,
}

/// What is due over time to a tenant that is `base` otherwise.
pub(super) fn terms(
    fields: &mut Fields<'_>,
    base: &Tenant,
    (schedules, grants): (&[ScheduleText], &[GrantText]),
) -> Terms {
    let all = schedules.iter().enumerate();
    let hours: Vec<Hours> = all
        .filter_map(|(index, written)| hours(fields, &format!("spec.schedules[{index}]"), written))
        .collect();
    if let Some((one, other)) = overlap(&hours)
        && let Some(written) = schedules.get(other)
    {
        let what = format!("overlaps spec.schedules[{one}]");
        let remedy = "change their days, from or to, so that one of them goes on at a time";
        let field = format!("spec.schedules[{other}]");
        fields.wrong(written.name.referenced, &field, what, remedy);
    }
    let all = grants.iter().enumerate();
    let grants = all
        .filter_map(|(index, written)| grant(fields, &format!("spec.grants[{index}]"), written))
        .collect();
    Terms {
        base: base.clone(),
        hours,
        grants,
    }
}

fn hours(fields: &mut Fields<'_>, path: &str, written: &ScheduleText) -> Option<Hours> {
    let change = Change {
        weight: written
            .weight
            .as_ref()
            .map(|weight| fields.weight(&format!("{path}.weight"), Some(weight))),
        guaranteed: caps(
            fields,
            &format!("{path}.guaranteed"),
            written.guaranteed.as_ref(),
        ),
        lending_limit: caps(
            fields,
            &format!("{path}.lendingLimit"),
            written.lending_limit.as_ref(),
        ),
        limit: caps(fields, &format!("{path}.limit"), written.limit.as_ref()),
    };
    let text = |text: &Option<Text>, usual: &str| {
        text.as_ref()
            .map_or_else(|| usual.to_owned(), |text| text.value.clone())
    };
    let (from, to) = (text(&written.from, "00:00"), text(&written.to, "24:00"));
    let zone = text(&written.time_zone, "UTC");
    let days = written.days.iter().map(|day| day.value.as_str());
    let read = Hours::read(&written.name.value, days, (&from, &to), &zone, change);
    read.map_err(|error| {
        let text = error.to_string();
        let (what, remedy) = text.split_once("; ").unwrap_or((&text, ""));
        let field = format!("{path}.{}", error.field());
        fields.wrong(written.name.referenced, &field, what, remedy);
    })
    .ok()
}

fn grant(fields: &mut Fields<'_>, path: &str, written: &GrantText) -> Option<Grant> {
    let mut read = |field: &str, text: &Text| {
        let at = moment(&text.value);
        if at.is_none() {
            let what = format!("`{}` is no moment", text.value);
            let remedy = "write one such as 2026-12-24T18:00:00Z";
            fields.wrong(text.referenced, &format!("{path}.{field}"), what, remedy);
        }
        at
    };
    let from = written.from.as_ref().map(|from| read("from", from));
    let until = read("until", &written.until);
    let more = |limits: Limits| {
        let add = |sum: Resources, r| sum.with(r, limits.get(r).unwrap_or_default());
        Resource::ALL.into_iter().fold(Resources::ZERO, add)
    };
    let guaranteed = caps(
        fields,
        &format!("{path}.guaranteed"),
        written.guaranteed.as_ref(),
    );
    let limit = caps(fields, &format!("{path}.limit"), written.limit.as_ref());
    let weight = written.weight.as_ref();
    let weight = weight.map(|weight| fields.weight(&format!("{path}.weight"), Some(weight)));
    Some(Grant {
        name: written.name.value.clone(),
        from: match from {
            Some(from) => Some(from?),
            None => None,
        },
        until: until?,
        weight,
        guaranteed: more(guaranteed),
        limit: more(limit),
    })
}

fn caps(fields: &mut Fields<'_>, field: &str, written: Option<&Written<Amounts>>) -> Limits {
    let amounts = fields.amounts(field, written);
    let add = |limits: Limits, (r, amount, _): &(Resource, u64, _)| limits.with(*r, *amount);
    amounts.iter().fold(Limits::NONE, add)
}

/// What an environment is due over time, whose tenant has these terms: its part of each guarantee.
/// `index` is its place among the environments, which have these weights.
pub(super) fn of_environment(team: &Terms, base: &Tenant, index: usize, weights: &[u32]) -> Terms {
    let own = |r: Resource, amount: u64| {
        let parts = parted(r, amount, weights);
        parts.get(index).copied().unwrap_or_default()
    };
    let hours = team.hours.iter().map(|hours| {
        let part = |limits: Limits, r| match hours.change.guaranteed.get(r) {
            Some(amount) => limits.with(r, own(r, amount)),
            None => limits,
        };
        let mut hours = hours.clone();
        hours.change = Change {
            guaranteed: Resource::ALL.into_iter().fold(Limits::NONE, part),
            ..Change::default()
        };
        hours
    });
    let grants = team.grants.iter().map(|grant| {
        let part = |sum: Resources, r| sum.with(r, own(r, grant.guaranteed.get(r)));
        Grant {
            guaranteed: Resource::ALL.into_iter().fold(Resources::ZERO, part),
            limit: Resources::ZERO,
            weight: None,
            ..grant.clone()
        }
    });
    Terms {
        base: base.clone(),
        hours: hours.collect(),
        grants: grants.collect(),
    }
}
