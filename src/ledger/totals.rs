//! The lines of a bill added up: by tenant, cost centre, user, job, model or environment.

use std::collections::BTreeMap;

use crate::bill::{Bill, GPU_HOUR, Kind, Line, UNALLOCATED};
use crate::record::{Extract, Hold, Why};

/// What idle time is charged to where nobody pays for it.
pub const IDLE: &str = "__idle__";
/// What is nobody's in particular: discounts, and amounts that nobody is there to pay.
pub const NOBODY: &str = "__nobody__";
/// What services and monthly amounts are charged to where lines are added up by something else than
/// who pays.
pub const SHARED: &str = "__shared__";

/// By what lines are added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Who owes them.
    #[default]
    Tenant,
    /// Its cost centre.
    CostCenter,
    /// Its department.
    Department,
    /// The namespace.
    Namespace,
    /// The environment of a tenant.
    Environment,
    /// Who created the jobs.
    User,
    /// The job: `NAMESPACE/NAME`.
    Job,
    /// The model of the GPUs.
    Model,
    /// The PriorityClass.
    PriorityClass,
}

impl By {
    /// Everything that there is to add up by.
    pub const ALL: [Self; 9] = [
        Self::Tenant,
        Self::CostCenter,
        Self::Department,
        Self::Namespace,
        Self::Environment,
        Self::User,
        Self::Job,
        Self::Model,
        Self::PriorityClass,
    ];

    /// Its name, in small letters: `cost-center`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::CostCenter => "cost-center",
            Self::Department => "department",
            Self::Namespace => "namespace",
            Self::Environment => "environment",
            Self::User => "user",
            Self::Job => "job",
            Self::Model => "model",
            Self::PriorityClass => "priority-class",
        }
    }

    /// The one of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.name() == name)
    }
}

/// Lines added up. Times are thousandths of a GPU times milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// In millionths of the currency.
    pub micros: i128,
    /// Of those, for GPUs that were held.
    pub held_micros: i128,
    /// How long GPUs were held.
    pub held: u128,
    /// How long GPUs were idle.
    pub idle: u128,
    /// For how much of the time held it is known how busy they were.
    pub measured: u128,
    /// How busy they were then: all of that time would be fully busy.
    pub busy: u128,
    /// How long they were held by starts that had to leave for another job.
    pub preempted: u128,
    /// By how many such starts, on however many nodes each.
    pub preemptions: u64,
    /// How long they were held by starts whose end nobody saw.
    pub estimated: u128,
}

impl Sum {
    /// Adds a line of the bill of this extract.
    pub fn add(&mut self, extract: &Extract, line: &Line) {
        self.micros += line.micros;
        match line.kind {
            Kind::Held(index) => {
                self.held += line.gpu_time;
                self.held_micros += line.micros;
                if let Some(hold) = extract.holds.get(index) {
                    self.hold(hold, line.gpu_time);
                }
            }
            _ => self.idle += line.gpu_time,
        }
    }

    fn hold(&mut self, hold: &Hold, time: u128) {
        if let Some(busy_milli) = hold.busy_milli {
            let known = hold.measured.map_or(time, |known| time.min(known.into()));
            self.measured += known;
            self.busy += known * u128::from(busy_milli.min(1000)) / 1000;
        }
        if hold.end.is_some_and(|end| end.why == Why::Preempted) {
            self.preempted += time;
            self.preemptions += 1;
        }
        if hold.end.is_some_and(|end| end.estimated) {
            self.estimated += time;
        }
    }

    /// How busy GPUs were where that is known, in thousandths.
    #[must_use]
    pub fn busy_milli(&self) -> Option<u128> {
        (self.measured > 0).then(|| self.busy * 1000 / self.measured)
    }
}

/// Lines added up, the dearest first, of equal ones by name.
#[must_use]
pub fn totals<'a>(
    extract: &Extract,
    lines: impl IntoIterator<Item = &'a Line>,
    by: By,
) -> Vec<(String, Sum)> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for line in lines {
        sums.entry(key(extract, line, by))
            .or_default()
            .add(extract, line);
    }
    let mut sums: Vec<(String, Sum)> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.micros));
    sums
}

/// What of the time that GPUs were held is a tenant's, in thousandths; all of it where none was held.
#[must_use]
pub fn coverage_milli(extract: &Extract, bill: &Bill) -> u128 {
    let mut all = Sum::default();
    let mut attributed = Sum::default();
    for line in bill
        .lines
        .iter()
        .filter(|line| matches!(line.kind, Kind::Held(_)))
    {
        all.add(extract, line);
        if line.tenant() != Some(UNALLOCATED) {
            attributed.add(extract, line);
        }
    }
    match all.held {
        0 => 1000,
        held => attributed.held * 1000 / held,
    }
}

/// GPU-hours with one decimal, rounded: `1,234.5`.
#[must_use]
pub fn gpu_hours(time: u128) -> String {
    let tenths = (time * 10 + GPU_HOUR / 2) / GPU_HOUR;
    format!("{}.{}", crate::money::thousands(tenths / 10), tenths % 10)
}

/// GPU-hours to the millionth, for programs.
#[must_use]
pub fn exact_gpu_hours(time: u128) -> String {
    let micros = (time * 1_000_000 + GPU_HOUR / 2) / GPU_HOUR;
    crate::money::exact(i128::try_from(micros).unwrap_or(i128::MAX))
}

/// Thousandths as a percentage with one decimal: `62.5 %`.
#[must_use]
pub fn percent(milli: u128) -> String {
    format!("{}.{} %", milli / 10, milli % 10)
}

fn key(extract: &Extract, line: &Line, by: By) -> String {
    let hold = match line.kind {
        Kind::Held(index) => extract.holds.get(index),
        _ => None,
    };
    let nobody = || match line.kind {
        Kind::Idle => IDLE,
        Kind::Discount => NOBODY,
        _ if line.payer.tenant.is_empty() => NOBODY,
        _ => SHARED,
    };
    let of_hold = |name: &dyn Fn(&Hold) -> String| {
        hold.map_or_else(|| nobody().to_owned(), |hold| named(&name(hold)))
    };
    let of_payer = |name: &str| match line.tenant() {
        None => nobody().to_owned(),
        Some(_) => named(name),
    };
    match by {
        By::Tenant => of_payer(line.tenant().unwrap_or_default()),
        By::CostCenter => of_payer(&line.payer.cost_center),
        By::Department => of_payer(&line.payer.department),
        By::Namespace => of_hold(&|hold| hold.payer.namespace.clone()),
        By::Environment => of_hold(&|hold| hold.payer.environment.clone()),
        By::User => of_hold(&|hold| hold.payer.user.clone()),
        By::Job => of_hold(&|hold| format!("{}/{}", hold.payer.namespace, hold.job)),
        By::PriorityClass => of_hold(&|hold| hold.priority_class.clone()),
        By::Model if line.model.is_empty() => nobody().to_owned(),
        By::Model => line.model.clone(),
    }
}

fn named(name: &str) -> String {
    match name {
        "" => UNALLOCATED.to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bill::bill;
    use crate::examples::{HOUR, hold, prices, stock};
    use crate::record::End;

    fn book() -> Extract {
        let mut red = hold("red", "n1", 2000, 0, Some(HOUR));
        red.busy_milli = Some(250);
        let mut left = hold("red", "n1", 1000, HOUR, Some(2 * HOUR));
        left.end = left.end.map(|end| End {
            why: Why::Preempted,
            ..end
        });
        let nobody = hold("", "n1", 1000, 0, None);
        Extract {
            until_ms: 2 * HOUR,
            kept_until_ms: 2 * HOUR,
            holds: vec![red, left, nobody],
            stock: vec![stock("n1", 4000, 0, None)],
            ..Extract::default()
        }
    }

    #[test]
    fn lines_are_added_up_by_who_and_what() {
        let (book, file) = (book(), prices("prices: [{model: a, hourly: 1}]"));
        let bill = bill(&book, &file).unwrap();
        let by = |by| -> Vec<(String, i128)> {
            let totals = totals(&book, &bill.lines, by).into_iter();
            totals
                .map(|(name, sum)| (name, sum.micros / 1_000_000))
                .collect()
        };
        let is = |list: &[(&str, i128)]| -> Vec<_> {
            list.iter().map(|(n, m)| ((*n).to_owned(), *m)).collect()
        };
        assert_eq!(
            by(By::Tenant),
            is(&[(IDLE, 3), ("red", 3), (UNALLOCATED, 2)])
        );
        assert_eq!(
            by(By::User),
            is(&[(IDLE, 3), ("red-user", 3), ("-user", 2)])
        );
        assert_eq!(
            by(By::Job),
            is(&[(IDLE, 3), ("ml-red/train", 3), ("ml-/train", 2)])
        );
        assert_eq!(by(By::Model), is(&[("a", 8)]));
        // 3 of 5 GPU-hours that were held are a tenant's.
        assert_eq!(coverage_milli(&book, &bill), 600);
        let (_, red) = totals(&book, &bill.lines, By::Tenant)[1];
        assert_eq!(
            (red.busy_milli(), red.preemptions, gpu_hours(red.preempted)),
            (Some(250), 1, "1.0".to_owned())
        );
        assert_eq!(gpu_hours(red.measured), "2.0");
    }

    #[test]
    fn times_are_written_for_people_and_for_programs() {
        assert_eq!(gpu_hours(GPU_HOUR * 12_345 + GPU_HOUR / 20), "12,345.1");
        assert_eq!(exact_gpu_hours(GPU_HOUR / 3), "0.333333");
        assert_eq!(percent(625), "62.5 %");
    }
}
