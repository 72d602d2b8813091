//! How much of their budgets tenants have used up.

use std::sync::atomic::AtomicU64;

use kube::ResourceExt;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Metrics, Tenant};
use crate::budgets::Assessed;

#[derive(Clone, Debug, Default)]
pub(super) struct Budgets {
    used: Family<Tenant, Gauge<f64, AtomicU64>>,
    forecast: Family<Tenant, Gauge<f64, AtomicU64>>,
    cost: Family<Tenant, Gauge<f64, AtomicU64>>,
}

impl Budgets {
    pub(super) fn register(self, registry: &mut Registry) {
        let help = "What a tenant has spent of its budget for this month";
        registry.register("budget_used_ratio", help, self.used);
        let help = "What it will have spent when the month ends, if it goes on like this";
        registry.register("budget_forecast_ratio", help, self.forecast);
        let help = "What a tenant has cost this month so far, in the currency of the prices";
        registry.register("cost_this_month", help, self.cost);
    }
}

impl Metrics {
    /// This is what tenants have cost this month so far, in millionths.
    pub fn costs(&self, spent: &[(String, i128)]) {
        let cost = &self.0.counted.budgets.cost;
        cost.clear();
        for (name, micros) in spent {
            let tenant = self.tenant(&name.as_str().into());
            let units = *micros as f64 / 1e6;
            cost.get_or_create(&Tenant { tenant }).inc_by(units);
        }
    }

    /// This is how budgets stand.
    pub fn budgets(&self, assessed: &[Assessed]) {
        let budgets = &self.0.counted.budgets;
        budgets.used.clear();
        budgets.forecast.clear();
        for one in assessed {
            let label = Tenant {
                tenant: self.tenant(&one.tenant.name_any().as_str().into()),
            };
            let standing = &one.standing;
            let ratio = |micros: i128| micros as f64 / standing.budget_micros.max(1) as f64;
            budgets
                .used
                .get_or_create(&label)
                .set(ratio(standing.spent_micros));
            if let Some(micros) = standing.forecast_micros {
                budgets.forecast.get_or_create(&label).set(ratio(micros));
            }
        }
    }
}
