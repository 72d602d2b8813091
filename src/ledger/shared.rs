//! What is nobody's in particular, shared out as the price file says: services, idle time, and what
//! is due each month. Each amount is divided exactly.

use std::collections::BTreeMap;

use crate::bill::{Bill, Kind, Line};
use crate::chargeback::{Chargeback, Idle, Service, Split};
use crate::period::Period;
use crate::record::Payer;
use crate::share::divide;

/// Adds the lines of services and of what is due each month, and divides idle time where tenants pay
/// for it. Where nobody is there to pay, a cost stays where it is.
pub(super) fn share_out(bill: &mut Bill, chargeback: &Chargeback) {
    let parties = Parties::of(&bill.lines, &chargeback.services);
    let mut more: Vec<Line> = chargeback
        .services
        .iter()
        .flat_map(|s| service(&bill.lines, s, &parties))
        .collect();
    if chargeback.idle == Idle::Shared {
        bill.lines = std::mem::take(&mut bill.lines)
            .into_iter()
            .flat_map(|line| idle(line, &parties))
            .collect();
    }
    for fixed in &chargeback.fixed {
        let micros = in_period(fixed.monthly_micros, bill.period);
        bill.fixed_micros += micros;
        let kind = Kind::Fixed(fixed.name.clone());
        let parts = parties.divide(micros, &fixed.split);
        let parts = parts.unwrap_or_else(|| vec![(Payer::default(), micros)]);
        more.extend(
            parts
                .into_iter()
                .map(|(payer, micros)| line(kind.clone(), payer, micros)),
        );
    }
    more.retain(|line| line.micros != 0);
    bill.lines.extend(more);
}

/// The tenants that pay for what is nobody's in particular, and what their own GPUs cost.
struct Parties {
    /// Who pays, by tenant.
    payers: BTreeMap<String, Payer>,
    /// What each paid for GPUs of a model and a pool.
    paid: BTreeMap<(String, String), BTreeMap<String, u128>>,
}

impl Parties {
    fn of(lines: &[Line], services: &[Service]) -> Self {
        let (mut payers, mut paid) = (
            BTreeMap::new(),
            BTreeMap::<_, BTreeMap<String, u128>>::new(),
        );
        for line in lines {
            let tenant = &line.payer.tenant;
            if tenant.is_empty() || services.iter().any(|service| service.is(&line.payer)) {
                continue;
            }
            payers.insert(tenant.clone(), of_tenant(&line.payer));
            let of_kind = paid
                .entry((line.model.clone(), line.pool.clone()))
                .or_default();
            *of_kind.entry(tenant.clone()).or_default() += line.micros.unsigned_abs();
        }
        Self { payers, paid }
    }

    /// An amount in parts; `None` where nobody is there to pay.
    fn divide(&self, micros: i128, split: &Split) -> Option<Vec<(Payer, i128)>> {
        match split {
            Split::Usage => self
                .by(micros, &self.usage())
                .or_else(|| self.divide(micros, &Split::Evenly)),
            Split::Evenly => self.by(
                micros,
                &self
                    .payers
                    .keys()
                    .map(|tenant| (tenant.clone(), 1))
                    .collect(),
            ),
            Split::Weight(weights) => self.by(
                micros,
                &weights
                    .iter()
                    .map(|(t, w)| (t.clone(), u128::from(*w)))
                    .collect(),
            ),
        }
    }

    fn usage(&self) -> BTreeMap<String, u128> {
        let mut sums = BTreeMap::new();
        for (tenant, micros) in self.paid.values().flatten() {
            *sums.entry(tenant.clone()).or_default() += micros;
        }
        sums
    }

    fn by(&self, micros: i128, weights: &BTreeMap<String, u128>) -> Option<Vec<(Payer, i128)>> {
        let parts = divide(micros, &weights.values().copied().collect::<Vec<_>>())?;
        let payer = |tenant: &String| {
            let absent = || Payer {
                tenant: tenant.clone(),
                ..Payer::default()
            };
            self.payers.get(tenant).cloned().unwrap_or_else(absent)
        };
        Some(weights.keys().map(payer).zip(parts).collect())
    }
}

/// What a service's GPUs cost is given back to it, and its parts are charged.
fn service(lines: &[Line], service: &Service, parties: &Parties) -> Vec<Line> {
    let kind = Kind::Service(service.name.clone());
    let mut passed_on: BTreeMap<Payer, i128> = BTreeMap::new();
    for line in lines
        .iter()
        .filter(|line| matches!(line.kind, Kind::Held(_)) && service.is(&line.payer))
    {
        *passed_on.entry(of_tenant(&line.payer)).or_default() += line.micros;
    }
    let Some(parts) = parties.divide(passed_on.values().sum(), &service.split) else {
        return Vec::new();
    };
    let back = passed_on
        .into_iter()
        .map(|(payer, micros)| (payer, -micros));
    back.chain(parts)
        .map(|(payer, micros)| line(kind.clone(), payer, micros))
        .collect()
}

/// Idle time in parts: by what tenants paid for the same GPUs, or else for any.
fn idle(line: Line, parties: &Parties) -> Vec<Line> {
    if line.kind != Kind::Idle {
        return vec![line];
    }
    let same = parties.paid.get(&(line.model.clone(), line.pool.clone()));
    let weights = same
        .cloned()
        .filter(|paid| paid.values().any(|p| *p > 0))
        .unwrap_or_else(|| parties.usage());
    let time = i128::try_from(line.gpu_time).unwrap_or(i128::MAX);
    let (Some(parts), Some(times)) = (
        parties.by(line.micros, &weights),
        parties.by(time, &weights),
    ) else {
        return vec![line];
    };
    let part = |((payer, micros), (_, time)): ((Payer, i128), (Payer, i128))| Line {
        payer,
        micros,
        gpu_time: time.unsigned_abs(),
        ..line.clone()
    };
    parts.into_iter().zip(times).map(part).collect()
}

/// What of a monthly amount is due in a period: in proportion to the time of each month, rounded.
fn in_period(monthly_micros: u64, period: Period) -> i128 {
    let part = |month: Period| {
        let (time, all) = (period.within(month).length_ms(), month.length_ms());
        let exact = u128::from(monthly_micros) * u128::from(time);
        (exact + u128::from(all) / 2) / u128::from(all)
    };
    i128::try_from(period.months().map(part).sum::<u128>()).unwrap_or(i128::MAX)
}

fn of_tenant(payer: &Payer) -> Payer {
    Payer {
        tenant: payer.tenant.clone(),
        cost_center: payer.cost_center.clone(),
        department: payer.department.clone(),
        ..Payer::default()
    }
}

fn line(kind: Kind, payer: Payer, micros: i128) -> Line {
    Line {
        kind,
        payer,
        model: String::new(),
        pool: String::new(),
        gpu_time: 0,
        hourly_micros: 0,
        micros,
    }
}
