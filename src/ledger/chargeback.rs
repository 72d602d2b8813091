//! Who is to pay for what nobody in particular held.

use std::collections::BTreeMap;

use crate::record::Payer;

/// How costs of nobody in particular are shared out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chargeback {
    /// What becomes of idle time.
    pub idle: Idle,
    /// Tenants and namespaces that work for all others.
    pub services: Vec<Service>,
    /// Amounts that are due each month.
    pub fixed: Vec<Fixed>,
}

/// What becomes of idle time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// It stays a cost of the fleet, in lines of its own.
    #[default]
    Separate,
    /// Tenants pay for it in proportion to what they paid for GPUs of the same model and pool.
    Shared,
}

/// A tenant or a namespace that works for all others, who pay for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What it is called in a bill.
    pub name: String,
    /// These tenants.
    pub tenants: Vec<String>,
    /// These namespaces, whoever's they are.
    pub namespaces: Vec<String>,
    /// Who pays how much of it.
    pub split: Split,
}

/// An amount that is due each month, such as a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// What it is called in a bill.
    pub name: String,
    /// In a month, in millionths of the currency.
    pub monthly_micros: u64,
    /// Who pays how much of it.
    pub split: Split,
}

/// Who pays how much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// In proportion to what each tenant's own GPUs cost.
    #[default]
    Usage,
    /// All tenants that held GPUs alike.
    Evenly,
    /// In proportion to these weights, whether or not they held any.
    Weight(BTreeMap<String, u64>),
}

impl Service {
    /// Whether a payer is this service.
    #[must_use]
    pub fn is(&self, payer: &Payer) -> bool {
        self.tenants.contains(&payer.tenant) || self.namespaces.contains(&payer.namespace)
    }
}
