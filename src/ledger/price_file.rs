//! The price file, field by field, and what is wrong with one. It is never fetched: prices are what
//! an administrator wrote, with where they come from.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use crate::chargeback::{Chargeback, Fixed, Idle, Service, Split};
use crate::owned::{Owned, YEAR_HOURS};
use crate::price::{Price, PriceError, Prices, Rate};
use crate::problem::Problem;

mod fields;

use fields::{Fields, Text};

/// Its version.
pub const API_VERSION: &str = "config.prorata.dev/v1alpha1";
/// Its kind.
pub const KIND: &str = "Prices";

/// A price file that is in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceFile {
    /// In which currency (ISO 4217).
    pub currency: String,
    /// What GPUs cost.
    pub prices: Prices,
    /// Who pays for what nobody in particular held.
    pub chargeback: Chargeback,
    /// The machines of one's own whose price was worked out, by model and pool.
    pub owned: Vec<(String, Owned)>,
}

impl PriceFile {
    /// Reads one; `file` is for the messages.
    ///
    /// # Errors
    /// All that is wrong with it that can be told at once.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let written: File =
            serde_saphyr::from_str(text).map_err(|error| vec![Problem::of_yaml(file, &error)])?;
        let mut reader = Fields::new(file);
        let read = reader.file(&written);
        match reader.problems.is_empty() {
            true => Ok(read),
            false => {
                reader.problems.sort_by_key(Problem::place);
                Err(reader.problems)
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    api_version: Text,
    kind: Text,
    currency: Text,
    source: Option<Text>,
    prices: Spanned<Vec<Spanned<Entry>>>,
    chargeback: Option<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Entry {
    model: Text,
    pool: Option<Text>,
    priority_class: Option<Text>,
    hourly: Option<Text>,
    factor: Option<Text>,
    owned: Option<Spanned<Machines>>,
    from: Option<Text>,
    until: Option<Text>,
    source: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Machines {
    capex: Text,
    years: Text,
    opex: Text,
    gpus: Option<Text>,
    hours: Option<Text>,
    target_utilisation: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    idle: Option<Text>,
    #[serde(default)]
    shared_services: Vec<Spanned<Shared>>,
    #[serde(default)]
    fixed: Vec<Spanned<Monthly>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Shared {
    name: Text,
    #[serde(default)]
    tenants: Vec<Text>,
    #[serde(default)]
    namespaces: Vec<Text>,
    split: Option<Text>,
    #[serde(default)]
    weights: BTreeMap<String, Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Monthly {
    name: Text,
    monthly: Text,
    split: Option<Text>,
    #[serde(default)]
    weights: BTreeMap<String, Text>,
}

impl Fields<'_> {
    fn file(&mut self, written: &File) -> PriceFile {
        self.is("apiVersion", &written.api_version, API_VERSION);
        self.is("kind", &written.kind, KIND);
        let currency = &written.currency;
        let is_code =
            currency.value.len() == 3 && currency.value.bytes().all(|b| b.is_ascii_uppercase());
        if !is_code {
            let what = format!("`{}` is not a currency", currency.value);
            self.wrong(
                currency.referenced,
                "currency",
                what,
                "write three capitals (ISO 4217), such as EUR",
            );
        }
        if written.prices.value.is_empty() {
            let remedy = "add one, such as `- {model: NVIDIA-L4, hourly: 0.80}`";
            self.wrong(written.prices.referenced, "prices", "has no price", remedy);
        }
        let (mut prices, mut owned) = (Vec::new(), Vec::new());
        for (index, entry) in written.prices.value.iter().enumerate() {
            let path = format!("prices[{index}]");
            let (price, machines) = self.price(&path, entry, written.source.as_ref());
            owned.extend(machines.map(|machines| (named(&price), machines)));
            prices.push(price);
        }
        PriceFile {
            currency: currency.value.clone(),
            prices: self.prices(written, prices),
            chargeback: written
                .chargeback
                .as_ref()
                .map(|c| self.chargeback(c))
                .unwrap_or_default(),
            owned,
        }
    }

    fn prices(&mut self, written: &File, prices: Vec<Price>) -> Prices {
        Prices::new(prices).unwrap_or_else(|error| {
            let (index, field, remedy) = match error {
                PriceError::Backwards { index, .. } => (index, ".until", "let it end on a later day; `until` is the first day on which it no longer counts"),
                PriceError::Twice { index, .. } => (index, "", "let the earlier one end where the later begins: `until:` and `from:`"),
            };
            let entry = &written.prices.value[index];
            let at = entry.value.until.as_ref().filter(|_| !field.is_empty());
            let at = at.map_or(entry.referenced, |until| until.referenced);
            self.wrong(at, &format!("prices[{index}]{field}"), error.to_string(), remedy);
            Prices::default()
        })
    }

    fn price(
        &mut self,
        path: &str,
        entry: &Spanned<Entry>,
        source: Option<&Text>,
    ) -> (Price, Option<Owned>) {
        let written = &entry.value;
        let machines = written
            .owned
            .as_ref()
            .map(|m| self.machines(&format!("{path}.owned"), m));
        let rates = [
            written
                .hourly
                .as_ref()
                .map(|text| Rate::Hourly(self.money(&format!("{path}.hourly"), text))),
            written
                .factor
                .as_ref()
                .map(|text| Rate::Factor(self.factor(&format!("{path}.factor"), text))),
            machines.map(|machines| Rate::Hourly(machines.hourly_micros().unwrap_or_default())),
        ];
        let rates: Vec<Rate> = rates.into_iter().flatten().collect();
        if rates.len() != 1 {
            let what = format!("has {} of `hourly`, `factor` and `owned`", rates.len());
            self.wrong(entry.referenced, path, what, "write exactly one of them");
        }
        if written.factor.is_some() && written.pool.is_none() && written.priority_class.is_none() {
            let remedy = "add `pool:` or `priorityClass:`, or write `hourly:` instead";
            self.wrong(entry.referenced, path, "is a factor of nothing", remedy);
        }
        let text = |text: &Option<Text>| text.as_ref().map(|text| text.value.clone());
        let price = Price {
            model: written.model.value.clone(),
            pool: text(&written.pool),
            priority_class: text(&written.priority_class),
            rate: rates.first().copied().unwrap_or(Rate::Hourly(0)),
            from_ms: written
                .from
                .as_ref()
                .map_or(0, |day| self.day(&format!("{path}.from"), day)),
            until_ms: written
                .until
                .as_ref()
                .map(|day| self.day(&format!("{path}.until"), day)),
            source: written
                .source
                .as_ref()
                .or(source)
                .map(|text| text.value.clone())
                .unwrap_or_default(),
        };
        (price, machines)
    }

    fn machines(&mut self, path: &str, written: &Spanned<Machines>) -> Owned {
        let machines = &written.value;
        let field = |name: &str| format!("{path}.{name}");
        let owned = Owned {
            capex_micros: self.money(&field("capex"), &machines.capex),
            years_milli: self.thousandths(&field("years"), &machines.years, (1, 100_000)),
            opex_micros: self.money(&field("opex"), &machines.opex),
            gpus: machines
                .gpus
                .as_ref()
                .map_or(1, |text| self.number(&field("gpus"), text, (1, 1_000_000))),
            hours: machines.hours.as_ref().map_or(YEAR_HOURS, |text| {
                self.number(&field("hours"), text, (1, 8784))
            }),
            utilisation_milli: self
                .percent(&field("targetUtilisation"), &machines.target_utilisation),
        };
        if owned.hourly_micros().is_none() && self.problems.is_empty() {
            self.wrong(
                written.referenced,
                path,
                "comes to more than can be counted",
                "correct its amounts",
            );
        }
        owned
    }

    fn chargeback(&mut self, written: &Written) -> Chargeback {
        let known = [("separate", Idle::Separate), ("shared", Idle::Shared)];
        let idle = written
            .idle
            .as_ref()
            .and_then(|text| self.word("chargeback.idle", text, &known));
        let services = written.shared_services.iter().enumerate();
        let services = services
            .map(|(index, service)| {
                self.service(&format!("chargeback.sharedServices[{index}]"), service)
            })
            .collect();
        let fixed = written.fixed.iter().enumerate();
        let fixed = fixed.map(|(index, fixed)| {
            let path = format!("chargeback.fixed[{index}]");
            let fixed = &fixed.value;
            Fixed {
                name: fixed.name.value.clone(),
                monthly_micros: self.money(&format!("{path}.monthly"), &fixed.monthly),
                split: self.split(
                    &path,
                    (fixed.split.as_ref(), fixed.name.referenced),
                    &fixed.weights,
                ),
            }
        });
        Chargeback {
            idle: idle.unwrap_or_default(),
            services,
            fixed: fixed.collect(),
        }
    }

    fn service(&mut self, path: &str, written: &Spanned<Shared>) -> Service {
        let service = &written.value;
        if service.tenants.is_empty() && service.namespaces.is_empty() {
            let remedy = "add `tenants: [NAME]` or `namespaces: [NAME]`";
            self.wrong(
                written.referenced,
                path,
                "names nobody who works for all",
                remedy,
            );
        }
        let names = |list: &[Text]| list.iter().map(|text| text.value.clone()).collect();
        Service {
            name: service.name.value.clone(),
            tenants: names(&service.tenants),
            namespaces: names(&service.namespaces),
            split: self.split(
                path,
                (service.split.as_ref(), written.referenced),
                &service.weights,
            ),
        }
    }

    fn split(
        &mut self,
        path: &str,
        (text, at): (Option<&Text>, Location),
        weights: &BTreeMap<String, Text>,
    ) -> Split {
        let known = [("usage", 0), ("evenly", 1), ("weight", 2)];
        let word = text.map_or(Some(0), |text| {
            self.word(&format!("{path}.split"), text, &known)
        });
        let weights: BTreeMap<String, u64> = weights
            .iter()
            .map(|(tenant, text)| {
                let weight: u32 = self.number(
                    &format!("{path}.weights.{tenant}"),
                    text,
                    (0, 1_000_000_000),
                );
                (tenant.clone(), weight.into())
            })
            .collect();
        match word {
            Some(2) if weights.values().all(|weight| *weight == 0) => {
                let remedy = "add `weights: {TENANT: 2, TENANT: 1}`";
                self.wrong(at, path, "is split by weight, but nobody has one", remedy);
            }
            Some(0 | 1) if !weights.is_empty() => {
                self.wrong(
                    at,
                    path,
                    "has weights that do not count",
                    "write `split: weight`, or leave them out",
                );
            }
            _ => {}
        }
        match word {
            Some(2) => Split::Weight(weights),
            Some(1) => Split::Evenly,
            _ => Split::Usage,
        }
    }
}

fn named(price: &Price) -> String {
    match &price.pool {
        Some(pool) => format!("{} in pool {pool}", price.model),
        None => price.model.clone(),
    }
}

#[cfg(test)]
mod tests;
