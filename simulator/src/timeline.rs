//! How things stand between the tenants from moment to moment, and `timeline.csv`.

use prorata_core::{Reason, Resource, Resources, Time, reason::Outlook};

use crate::fairness::gpus;
use crate::metrics::{float, rounded};
use crate::run::Run;
use crate::scenario::{Scenario, order_name};

/// A timeline has at most so many moments.
pub const MOMENTS_MAX: usize = 2_000;

/// How things stand from a moment on.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// From when.
    pub at: Time,
    /// What the nodes that take work offer.
    pub capacity: Resources,
    /// What the jobs of each tenant have and want, in the scenario's order. Only leaves have jobs.
    pub tenants: Vec<Standing>,
    /// The GPUs that each tenant is entitled to.
    pub entitled: Vec<f64>,
    /// Milli-GPU that are free, but that typical tasks cannot use, as looked up last.
    pub fragments: Option<u64>,
}

/// What a tenant has and wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What its running jobs hold; a task on a slot of a card holds all of the slot.
    pub held: Resources,
    /// What its running jobs hold and its waiting jobs ask for, those left out that can never
    /// start.
    pub wanted: Resources,
    /// How many of its jobs wait and could start some day.
    pub waiting: u32,
    /// The milli-GPU that those ask for, by what is in their way.
    pub obstructed: [u64; Obstacle::ALL.len()],
}

/// What keeps idle GPUs from a job that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Too few are free, or not together.
    Fit,
    /// A limit, or what others do not lend.
    Quota,
    /// They are kept for a job that comes first.
    Kept,
}

impl Obstacle {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fit, Self::Quota, Self::Kept];

    /// What a reason comes down to; `None` for a job that is held. One whose reason nobody has
    /// asked for does not fit, nor does one whose nodes are gone for now.
    #[must_use]
    pub fn of(reason: Option<&Reason>) -> Option<Self> {
        match reason {
            Some(reason) if reason.outlook() == Outlook::Held => None,
            Some(
                Reason::QuotaFull { .. }
                | Reason::Withheld { .. }
                | Reason::ExceedsMaxQuota { .. }
                | Reason::BudgetExhausted,
            ) => Some(Self::Quota),
            Some(
                Reason::WaitingForPreemption { .. }
                | Reason::BehindHigherPriority { .. }
                | Reason::ShareExceeded { .. },
            ) => Some(Self::Kept),
            _ => Some(Self::Fit),
        }
    }
}

impl Moment {
    pub(crate) fn new(tenants: usize) -> Self {
        Self {
            at: Time::ZERO,
            capacity: Resources::ZERO,
            tenants: vec![Standing::default(); tenants],
            entitled: vec![0.0; tenants],
            fragments: None,
        }
    }
}

impl Standing {
    /// Both together.
    ///
    /// # Panics
    /// Beyond 2⁶⁴, which a checked scenario does not reach.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let sum = |a: &Resources, b| a.checked_add(b).expect("less than 2^64 is asked for");
        let mut obstructed = self.obstructed;
        for (sum, more) in obstructed.iter_mut().zip(other.obstructed) {
            *sum += more;
        }
        Self {
            held: sum(&self.held, &other.held),
            wanted: sum(&self.wanted, &other.wanted),
            waiting: self.waiting + other.waiting,
            obstructed,
        }
    }

    pub(crate) fn less(&self, other: &Self) -> Self {
        let mut obstructed = self.obstructed;
        for (sum, less) in obstructed.iter_mut().zip(other.obstructed) {
            *sum -= less;
        }
        Self {
            held: self.held.beyond(&other.held),
            wanted: self.wanted.beyond(&other.wanted),
            waiting: self.waiting - other.waiting,
            obstructed,
        }
    }

    /// Milli-GPU that its waiting jobs ask for.
    #[must_use]
    pub fn queued(&self) -> u64 {
        let (wanted, held) = (self.wanted.get(Resource::Gpu), self.held.get(Resource::Gpu));
        wanted.saturating_sub(held)
    }
}

/// Moments as they come: every change, until they are too many, and then the last state within
/// each cell of a grid, from the beginning of the cell on.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    rows: Vec<Moment>,
    /// Milliseconds; 0: every change.
    cell: u64,
}

impl Timeline {
    /// From its moment on, this is how things stand.
    pub(crate) fn push(&mut self, moment: &Moment) {
        let mut moment = moment.clone();
        moment.at = self.cell_of(moment.at);
        self.rows.pop_if(|last| last.at == moment.at);
        let same = |last: &Moment| {
            Moment {
                at: moment.at,
                ..last.clone()
            } == moment
        };
        if self.rows.last().is_some_and(same) {
            return;
        }
        self.rows.push(moment);
        if self.rows.len() > MOMENTS_MAX {
            self.thin();
        }
    }

    pub(crate) fn rows(self) -> Vec<Moment> {
        self.rows
    }

    fn cell_of(&self, at: Time) -> Time {
        match self.cell {
            0 => at,
            cell => Time::from_millis(at.as_millis() / cell * cell),
        }
    }

    /// Widens the grid until half of the moments are left.
    fn thin(&mut self) {
        while self.rows.len() > MOMENTS_MAX / 2 {
            self.cell = (self.cell * 2).max(1000);
            let mut thinned: Vec<Moment> = Vec::new();
            for mut moment in std::mem::take(&mut self.rows) {
                moment.at = self.cell_of(moment.at);
                thinned.pop_if(|last| last.at == moment.at);
                thinned.push(moment);
            }
            self.rows = thinned;
        }
    }
}

/// The bytes of `timeline.csv`: a row for each order and moment, with four columns for each
/// tenant. All amounts are GPUs.
///
/// # Errors
/// Never in practice: it writes to memory.
pub fn csv(scenario: &Scenario, runs: &[Run]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let fixed = [
        "order",
        "at_ms",
        "capacity",
        "held",
        "waiting_jobs",
        "queued",
        "fragments",
    ];
    let mut header = fixed.map(str::to_owned).to_vec();
    for tenant in &scenario.tenants {
        let columns = ["held", "entitled", "wanted", "waiting_jobs"];
        header.extend(columns.map(|column| format!("{}.{column}", tenant.id)));
    }
    writer.write_record(&header)?;
    for run in runs {
        for moment in &run.timeline {
            writer.write_record(row(run, moment))?;
        }
    }
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}

fn row(run: &Run, moment: &Moment) -> Vec<String> {
    let all = moment
        .tenants
        .iter()
        .fold(Standing::default(), |sum, one| sum.plus(one));
    let milli = |milli: u64| rounded(float(milli.into()) / 1000.0).to_string();
    let mut row = vec![
        order_name(run.order).to_owned(),
        moment.at.as_millis().to_string(),
        gpus(&moment.capacity).to_string(),
        gpus(&all.held).to_string(),
        all.waiting.to_string(),
        milli(all.queued()),
        moment.fragments.map_or_else(String::new, milli),
    ];
    for (standing, entitled) in moment.tenants.iter().zip(&moment.entitled) {
        row.extend([
            gpus(&standing.held).to_string(),
            rounded(*entitled).to_string(),
            gpus(&standing.wanted).to_string(),
            standing.waiting.to_string(),
        ]);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_timeline_keeps_the_last_state_of_each_cell() {
        let mut timeline = Timeline::default();
        let mut moment = Moment::new(1);
        for i in 0..10_000_u32 {
            moment.at = Time::from_millis(u64::from(i) * 500);
            moment.tenants[0].waiting = i;
            timeline.push(&moment);
        }
        let rows = timeline.rows();
        assert!((500..=MOMENTS_MAX).contains(&rows.len()), "{}", rows.len());
        let cell = rows[1].at.as_millis() - rows[0].at.as_millis();
        for row in &rows[..rows.len() - 1] {
            let last = (row.at.as_millis() + cell) / 500 - 1;
            assert_eq!(u64::from(row.tenants[0].waiting), last);
        }
    }
}
