//! What is due to a tenant over time: the schedules and grants of its spec.

use std::collections::BTreeSet;

use prorata_core::resource::Amount as Shown;
use prorata_core::{Limits, Resource, Resources, Tenant, Weight};
use prorata_simulator::calendar::{Change, Grant, Hours, Terms, moment, overlap};
use prorata_simulator::quantity;

use super::tenant::amounts;
use crate::api::{self, Amount, Due, Schedule, TenantSpec};
use crate::tenancy::Wrong;

const MOMENT: &str = "write one such as 2026-12-24T18:00:00Z";

/// What is due over time to a tenant that is `base` otherwise.
///
/// # Errors
/// Every field that is wrong.
pub fn terms(base: Tenant, spec: &TenantSpec) -> Result<Terms, Vec<Wrong>> {
    let mut reader = Reader::default();
    let all = spec.schedules.iter().enumerate();
    let hours: Vec<Hours> = all
        .filter_map(|(index, schedule)| reader.hours(&format!("spec.schedules[{index}]"), schedule))
        .collect();
    let all = spec.grants.iter().enumerate();
    let grants: Vec<Grant> = all
        .filter_map(|(index, grant)| reader.grant(&format!("spec.grants[{index}]"), grant))
        .collect();
    if reader.wrong.is_empty() {
        reader.clash(spec, &hours);
    }
    let terms = Terms {
        base,
        hours,
        grants,
    };
    if reader.wrong.is_empty() {
        reader.exceed(&terms);
    }
    match reader.wrong.is_empty() {
        true => Ok(terms),
        false => Err(reader.wrong),
    }
}

/// Schedules and grants, and what is wrong with them.
#[derive(Default)]
struct Reader {
    wrong: Vec<Wrong>,
    names: BTreeSet<String>,
}

impl Reader {
    fn tell(&mut self, field: String, what: impl Into<String>, remedy: impl Into<String>) {
        let (what, remedy) = (what.into(), remedy.into());
        self.wrong.push(Wrong {
            field,
            what,
            remedy,
        });
    }

    /// The texts of our readers say what is wrong, and after a semicolon what would be right.
    fn tell_of(&mut self, field: String, error: &str) {
        let (what, remedy) = error
            .split_once("; ")
            .unwrap_or((error, "write something else"));
        self.tell(field, what, remedy);
    }

    fn name(&mut self, path: &str, name: &str) {
        if !self.names.insert(name.to_owned()) {
            let what = format!("`{name}` is the name of another schedule or grant too");
            self.tell(format!("{path}.name"), what, "name each otherwise");
        }
    }

    fn hours(&mut self, path: &str, written: &Schedule) -> Option<Hours> {
        self.name(path, &written.name);
        let change = Change {
            weight: self.weight(path, written.weight.as_ref()),
            guaranteed: self.due(&format!("{path}.guaranteed"), &written.guaranteed),
            lending_limit: self.due(&format!("{path}.lendingLimit"), &written.lending_limit),
            limit: self.due(&format!("{path}.limit"), &written.limit),
        };
        let span = (written.from.as_str(), written.to.as_str());
        let days = written.days.iter().map(|day| day.name());
        let read = Hours::read(&written.name, days, span, &written.time_zone, change);
        read.map_err(|error| self.tell_of(format!("{path}.{}", error.field()), &error.to_string()))
            .ok()
    }

    fn weight(&mut self, path: &str, written: Option<&Amount>) -> Option<Weight> {
        let read = quantity::parse_weight(written?.as_str());
        read.map_err(|error| self.tell_of(format!("{path}.weight"), &error.to_string()))
            .ok()
    }

    fn grant(&mut self, path: &str, written: &api::Grant) -> Option<Grant> {
        self.name(path, &written.name);
        let mut read = |field: &str, text: &str| {
            let at = moment(text);
            if at.is_none() {
                let what = format!("`{text}` is no moment");
                self.tell(format!("{path}.{field}"), what, MOMENT);
            }
            at
        };
        let from = written.from.as_ref().map(|from| read("from", from));
        let until = read("until", &written.until);
        let more = |limits: Limits| {
            let add = |sum: Resources, r| sum.with(r, limits.get(r).unwrap_or_default());
            Resource::ALL.into_iter().fold(Resources::ZERO, add)
        };
        let guaranteed = more(self.due(&format!("{path}.guaranteed"), &written.guaranteed));
        let limit = more(self.due(&format!("{path}.limit"), &written.limit));
        let (from, until) = match from {
            Some(from) => (Some(from?), until?),
            None => (None, until?),
        };
        if from.is_some_and(|from| from >= until) {
            let field = format!("{path}.until");
            self.tell(field, "is not after from", "write a later moment");
        }
        Some(Grant {
            name: written.name.clone(),
            from,
            until,
            weight: self.weight(path, written.weight.as_ref()),
            guaranteed,
            limit,
        })
    }

    fn due(&mut self, path: &str, due: &Due) -> Limits {
        let read = amounts("", &due.amounts());
        let read = read.map_err(|(field, error)| {
            let resource = field.rsplit('.').next().unwrap_or_default();
            self.tell_of(format!("{path}.{resource}"), &error.to_string());
        });
        let all = read.unwrap_or_default().into_iter();
        all.fold(Limits::NONE, |limits, (r, amount)| limits.with(r, amount))
    }

    /// Hours that are not told apart by the clock on one wall.
    fn clash(&mut self, spec: &TenantSpec, hours: &[Hours]) {
        let mut zones = spec.schedules.iter().map(|schedule| &schedule.time_zone);
        if let Some(first) = zones.next()
            && let Some(other) = zones.position(|zone| zone != first)
        {
            let field = format!("spec.schedules[{}].timeZone", other + 1);
            let what = format!("is not `{first}`, as that of the first");
            self.tell(field, what, "write the same in all of them");
        } else if let Some((one, other)) = overlap(hours) {
            let what = format!("overlaps spec.schedules[{one}]");
            let remedy = "change their days, from or to, so that one of them goes on at a time";
            self.tell(format!("spec.schedules[{other}]"), what, remedy);
        }
    }

    /// What is guaranteed and never given would be a lie.
    fn exceed(&mut self, terms: &Terms) {
        let exceeds = |tenant: &Tenant| tenant.limit.passed_by(&tenant.guaranteed);
        if terms.is_fixed() || exceeds(&terms.base).is_some() {
            return;
        }
        let found = terms
            .variants()
            .into_iter()
            .find_map(|tenant| Some((exceeds(&tenant)?, tenant)));
        if let Some(((r, limit), tenant)) = found {
            let owned = Shown(r, tenant.guaranteed.get(r));
            let what = format!(
                "bring the guarantee to {owned} {r}, above the limit of {}",
                Shown(r, limit)
            );
            let field = match terms.hours.is_empty() {
                true => "spec.grants",
                false => "spec.schedules",
            };
            self.tell(
                field.to_owned(),
                what,
                "raise `limit` there too, or guarantee less",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate;

    fn read(yaml: &str) -> Result<Terms, Vec<String>> {
        let spec: TenantSpec = serde_saphyr::from_str(yaml).unwrap();
        let base = translate::tenant("red", &spec).unwrap();
        let texts = |wrong: Vec<Wrong>| wrong.iter().map(ToString::to_string).collect();
        terms(base, &spec).map_err(texts)
    }

    #[test]
    fn reads_schedules_and_grants() {
        let terms = read(
            "guaranteed: {gpu: 16}\n\
             schedules: [{name: night, days: [Mon, Fri], from: '20:00', to: '08:00', timeZone: Europe/Berlin, guaranteed: {gpu: 32}, weight: 2}]\n\
             grants: [{name: paper, until: 2026-12-24T18:00:00Z, weight: 1/2, guaranteed: {gpu: 4, cpu: 8}, reason: a deadline}]",
        )
        .unwrap();
        let now = moment("2026-05-01T21:00:00Z").unwrap();
        let tenant = terms.at(now);
        assert_eq!(
            tenant.guaranteed,
            Resources::gpus(36).with(Resource::Cpu, 8000)
        );
        let weight = tenant.weight;
        assert_eq!((weight.numerator(), weight.denominator()), (5, 2));
        assert_eq!(terms.in_force(now), ["night", "paper"]);
        // The whole of every day.
        let all = read("schedules: [{name: all, guaranteed: {gpu: 1}}]").unwrap();
        assert_eq!(all.at(now).guaranteed, Resources::gpus(1));
        assert_eq!(all.next_change(now), None);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_field() {
        let first = |yaml: &str| read(yaml).unwrap_err().remove(0);
        let schedule = |text: &str| format!("schedules: [{{name: a, {text}}}]");
        for (yaml, wanted) in [
            (schedule("timeZone: Europe/Atlantis"), "spec.schedules[0].timeZone: is no time zone"),
            (schedule("from: '25:00'"), "spec.schedules[0].from: is no time of day"),
            (schedule("from: '08:00', to: '08:00'"), "spec.schedules[0].to: is when these hours begin"),
            (schedule("weight: x"), "spec.schedules[0].weight: "),
            (schedule("limit: {gpu: x}"), "spec.schedules[0].limit.gpu: "),
            (
                "schedules: [{name: a}, {name: b, from: '20:00', to: '08:00'}]".to_owned(),
                "spec.schedules[1]: overlaps spec.schedules[0]",
            ),
            (
                "schedules: [{name: a, days: [Mon]}, {name: b, days: [Tue], timeZone: Asia/Tokyo}]".to_owned(),
                "spec.schedules[1].timeZone: is not `UTC`",
            ),
            (
                "schedules: [{name: a, days: [Mon]}, {name: a, days: [Tue]}]".to_owned(),
                "spec.schedules[1].name: `a` is the name of another",
            ),
            (
                "grants: [{name: a, until: 2026-05-02T00:00:00Z, weight: 1/0}]".to_owned(),
                "spec.grants[0].weight: `1/0` is not a weight",
            ),
            ("grants: [{name: a, until: tomorrow}]".to_owned(), "spec.grants[0].until: `tomorrow` is no moment"),
            (
                "grants: [{name: a, from: 2026-05-02T00:00:00Z, until: 2026-05-01T00:00:00Z}]".to_owned(),
                "spec.grants[0].until: is not after from",
            ),
            (
                "limit: {gpu: 4}\ngrants: [{name: a, until: 2026-05-02T00:00:00Z, guaranteed: {gpu: 5}}]".to_owned(),
                "spec.grants: bring the guarantee to 5 gpu, above the limit of 4",
            ),
        ] {
            let said = first(&yaml);
            assert!(said.starts_with(wanted), "{yaml}: {said}");
        }
    }
}
