//! What a tenant, a cost centre or the whole fleet comes to in a period, beside the period before, a
//! budget and a guarantee.

use std::collections::BTreeMap;

use crate::advice::{Advice, advice};
use crate::bill::{Bill, Kind, Line};
use crate::budget::{Standing, forecast};
use crate::fleet::held;
use crate::levels::Levels;
use crate::period::{DAY, Period};
use crate::price::Gpus;
use crate::price_file::PriceFile;
use crate::record::{Extract, Hold};
use crate::totals::{By, Sum, totals};

/// What is known of a tenant beside the book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Team {
    /// Its monthly budget in millionths, and in which currency.
    pub budget: Option<(u64, String)>,
    /// Its guarantee in thousandths of a GPU.
    pub guaranteed_milli: Option<u64>,
}

/// All that accounts are made of.
#[derive(Clone, Copy, Debug)]
pub struct Books<'a> {
    /// What the book says of the period.
    pub extract: &'a Extract,
    /// What that cost.
    pub bill: &'a Bill,
    /// The same of the period before, where there is any.
    pub before: Option<(&'a Extract, &'a Bill)>,
    /// At which prices.
    pub file: &'a PriceFile,
    /// What is known of tenants beside that, by name.
    pub teams: &'a BTreeMap<String, Team>,
}

/// Whose account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Everybody's, and what is nobody's.
    Fleet,
    /// A tenant's.
    Tenant(String),
    /// That of all tenants of a cost centre.
    CostCenter(String),
}

/// What somebody comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Whose.
    pub who: Who,
    /// What people call them.
    pub name: String,
    /// All of it.
    pub sum: Sum,
    /// What the period before came to, in millionths.
    pub before_micros: Option<i128>,
    /// The budget of a tenant for a month.
    pub budget: Option<Standing>,
    /// In which other currency its budget is, so that it cannot be compared.
    pub other_currency: Option<String>,
    /// What the period will come to; `None` where it is over, or has hardly begun.
    pub forecast_micros: Option<i128>,
    /// What a tenant held above its guarantee, as thousandths of a GPU times milliseconds.
    pub borrowed: Option<u128>,
    /// What is not for GPUs that were held: names and millionths.
    pub others: Vec<(String, i128)>,
    /// By model.
    pub models: Vec<(String, Sum)>,
    /// By job, the dearest first.
    pub jobs: Vec<(String, Sum)>,
    /// By user, the dearest first.
    pub users: Vec<(String, Sum)>,
    /// What the GPUs cost that were held on each day, in millionths, by the day's first moment.
    pub days: Vec<(u64, u128)>,
    /// What they could do.
    pub advice: Vec<Advice>,
}

impl Books<'_> {
    /// The whole period, of which the bill may only know a part.
    #[must_use]
    pub const fn period(&self) -> Period {
        Period { from_ms: self.extract.from_ms, until_ms: self.extract.until_ms }
    }

    /// Everybody who owes something, tenants before cost centres.
    #[must_use]
    pub fn everybody(&self) -> Vec<Who> {
        let owed: Vec<&Line> = self.bill.lines.iter().filter(|line| line.tenant().is_some()).collect();
        let named = |by| totals(self.extract, owed.iter().copied(), by).into_iter().map(|(name, _)| name);
        let tenants = named(By::Tenant).map(Who::Tenant);
        tenants.chain(named(By::CostCenter).map(Who::CostCenter)).collect()
    }

    /// What somebody comes to.
    #[must_use]
    pub fn account(&self, who: &Who) -> Account {
        let lines: Vec<&Line> = self.bill.lines.iter().filter(|line| who.owes(line)).collect();
        let held: Vec<&Line> = lines.iter().copied().filter(|line| matches!(line.kind, Kind::Held(_))).collect();
        let sum = added(self.extract, &lines);
        let by = |by| totals(self.extract, held.iter().copied(), by);
        let team = match who {
            Who::Tenant(name) => self.teams.get(name),
            _ => None,
        };
        let budget = team.and_then(|team| team.budget.as_ref()).filter(|_| self.period().is_month());
        let (same, other): (Vec<_>, Vec<_>) = budget.into_iter().partition(|(_, currency)| *currency == self.bill.currency);
        let now_ms = self.bill.period.until_ms;
        Account {
            name: self.name(who),
            before_micros: self.before.map(|(extract, bill)| {
                added(extract, &bill.lines.iter().filter(|line| who.owes(line)).collect::<Vec<_>>()).micros
            }),
            budget: same.first().map(|(micros, _)| Standing::of(*micros, sum.micros, self.period(), now_ms)),
            other_currency: other.first().map(|(_, currency)| currency.clone()),
            forecast_micros: forecast(sum.micros, self.period(), now_ms).filter(|_| now_ms < self.period().until_ms),
            borrowed: team.and_then(|team| team.guaranteed_milli).map(|milli| self.levels(who).above(milli)),
            others: others(&lines),
            models: totals(self.extract, lines.iter().copied().filter(|line| !line.model.is_empty()), By::Model),
            jobs: by(By::Job),
            users: by(By::User),
            days: self.days(&held),
            advice: self.advice(who),
            sum,
            who: who.clone(),
        }
    }

    /// What people call somebody.
    #[must_use]
    pub fn name(&self, who: &Who) -> String {
        match who {
            Who::Fleet => "All GPUs".to_owned(),
            Who::Tenant(name) => self.extract.names.get(name).unwrap_or(name).clone(),
            Who::CostCenter(name) => name.clone(),
        }
    }

    fn levels(&self, who: &Who) -> Levels {
        let is_theirs = |hold: &&Hold| matches!(who, Who::Tenant(name) if hold.payer.tenant == *name);
        Levels::of(self.extract.holds.iter().filter(is_theirs), self.bill.period)
    }

    fn advice(&self, who: &Who) -> Vec<Advice> {
        let of_tenant = |name: &String| {
            let guaranteed = self.teams.get(name).and_then(|team| team.guaranteed_milli);
            advice(self.extract, self.bill, name, guaranteed)
        };
        match who {
            Who::Tenant(name) => of_tenant(name),
            Who::Fleet | Who::CostCenter(_) => {
                let tenants = totals(self.extract, self.bill.lines.iter().filter(|line| who.owes(line)), By::Tenant);
                let mut advice: Vec<Advice> = tenants.iter().flat_map(|(name, _)| of_tenant(name)).collect();
                advice.sort_by_key(|advice| std::cmp::Reverse(advice.micros));
                advice
            }
        }
    }

    fn days(&self, lines: &[&Line]) -> Vec<(u64, u128)> {
        let mut days: Vec<(u64, u128)> = days(self.bill.period).map(|day| (day.from_ms, 0)).collect();
        for line in lines {
            let Kind::Held(index) = line.kind else { continue };
            let Some(hold) = self.extract.holds.get(index) else { continue };
            for (day_ms, sum) in &mut days {
                let day = Period { from_ms: *day_ms, until_ms: *day_ms + DAY };
                *sum += self.cost(hold, held(hold, self.bill.period).within(day));
            }
        }
        days
    }

    /// What a hold cost in a part of its time, rounded down.
    fn cost(&self, hold: &Hold, part: Period) -> u128 {
        if part.length_ms() == 0 {
            return 0;
        }
        let gpus = Gpus { model: &hold.id.model, pool: &hold.pool, priority_class: &hold.priority_class };
        let one = self.file.prices.weigh(gpus, part.from_ms, part.until_ms);
        let one = one.ok().flatten().unwrap_or_default();
        one.saturating_mul(u128::from(hold.gpu_milli)) / crate::bill::GPU_HOUR
    }
}

impl Who {
    /// Whether a line is theirs.
    #[must_use]
    pub fn owes(&self, line: &Line) -> bool {
        match self {
            Self::Fleet => true,
            Self::Tenant(name) => line.tenant() == Some(name),
            Self::CostCenter(name) if name == crate::bill::UNALLOCATED => {
                line.tenant().is_some() && line.payer.cost_center.is_empty()
            }
            Self::CostCenter(name) => line.payer.cost_center == *name,
        }
    }
}

/// The days of a period, the first and the last of which may be parts.
pub fn days(period: Period) -> impl Iterator<Item = Period> {
    let first = period.from_ms / DAY * DAY;
    let starts = std::iter::successors(Some(first), |day| Some(day + DAY));
    let starts = starts.take_while(move |day| *day < period.until_ms);
    starts.map(|from_ms| Period { from_ms, until_ms: from_ms + DAY })
}

fn added(extract: &Extract, lines: &[&Line]) -> Sum {
    let mut sum = Sum::default();
    for line in lines {
        sum.add(extract, line);
    }
    sum
}

fn others(lines: &[&Line]) -> Vec<(String, i128)> {
    let mut others: BTreeMap<&Kind, i128> = BTreeMap::new();
    for line in lines.iter().filter(|line| !matches!(line.kind, Kind::Held(_))) {
        *others.entry(&line.kind).or_default() += line.micros;
    }
    let name = |kind: &Kind| match kind {
        Kind::Held(_) | Kind::Idle => "Idle GPUs".to_owned(),
        Kind::Discount => "Discounts of PriorityClasses and pools".to_owned(),
        Kind::Service(name) => format!("Shared service: {name}"),
        Kind::Fixed(name) => name.clone(),
    };
    others.into_iter().map(|(kind, micros)| (name(kind), micros)).collect()
}

#[cfg(test)]
mod tests;
