//! Which tenants are drawn, each in its colour, and who is drawn together.

use std::collections::BTreeMap;

use plotters::style::RGBColor;
use prorata_core::TenantId;

use super::{Report, palette};
use crate::fairness::{gpus, hours};

/// The tenants that are drawn: all that have jobs, up to [`palette::TENANTS_MAX`] of them. Those
/// that ask for less are drawn together, as one more.
#[derive(Debug)]
pub(super) struct Cast {
    /// Positions in the scenario of those that have a colour.
    pub(super) members: Vec<usize>,
    names: Vec<String>,
    /// The number of each tenant with jobs.
    numbers: BTreeMap<TenantId, usize>,
    /// The same by the position in the scenario.
    by_position: Vec<Option<usize>>,
}

impl Cast {
    pub(super) fn of(report: &Report<'_>) -> Self {
        let tenants = &report.scenario.tenants;
        let mut asked: BTreeMap<&TenantId, f64> = BTreeMap::new();
        for fate in report.runs.first().iter().flat_map(|run| &run.jobs) {
            let hours = gpus(&fate.request()) * hours(fate.runtime);
            *asked.entry(&fate.job.tenant).or_default() += hours;
        }
        let with_jobs = (0..tenants.len()).filter(|i| asked.contains_key(&tenants[*i].id));
        let mut members: Vec<usize> = with_jobs.clone().collect();
        members.sort_by(|a, b| asked[&tenants[*b].id].total_cmp(&asked[&tenants[*a].id]));
        members.truncate(palette::TENANTS_MAX);
        members.sort_unstable();
        let rest = with_jobs.clone().count() - members.len();
        let mut names: Vec<String> = members.iter().map(|i| tenants[*i].id.to_string()).collect();
        if rest > 0 {
            names.push(format!("{rest} others"));
        }
        let number = |tenant: usize| {
            let own = members.iter().position(|member| *member == tenant);
            own.unwrap_or(members.len())
        };
        let mut by_position = vec![None; tenants.len()];
        for tenant in with_jobs.clone() {
            by_position[tenant] = Some(number(tenant));
        }
        let numbers = with_jobs.map(|i| (tenants[i].id.clone(), number(i)));
        Self {
            numbers: numbers.collect(),
            members,
            names,
            by_position,
        }
    }

    /// How many are drawn.
    pub(super) const fn len(&self) -> usize {
        self.names.len()
    }

    /// Who a tenant is drawn as.
    pub(super) fn number(&self, tenant: &TenantId) -> usize {
        self.numbers.get(tenant).copied().unwrap_or_default()
    }

    /// What those that are drawn have together, from what each tenant of the scenario has.
    pub(super) fn gather(&self, of: impl Iterator<Item = f64>) -> Vec<f64> {
        let mut sums = vec![0.0; self.len()];
        for (number, value) in self.by_position.iter().zip(of) {
            if let Some(number) = number {
                sums[*number] += value;
            }
        }
        sums
    }

    /// Names, in their order.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Colours, in the same order.
    pub(super) fn colours(&self) -> Vec<RGBColor> {
        let own = (0..self.members.len()).map(palette::tenant);
        let rest = std::iter::repeat(palette::OTHERS);
        own.chain(rest).take(self.len()).collect()
    }
}
